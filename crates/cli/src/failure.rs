//! What a user reads when something went wrong: one sentence, and the next step.

use std::fmt;
use std::io;

use strata_types::{Conflict, ConflictReason, Error, ErrorCode, Outcome};

/// Exit status of most failures. No failure has 0 (CLI-1).
pub const STATUS_FAILED: u8 = 1;
/// Exit status where what the user wrote makes no sense, be it a flag, a setting or a line: the same fails again.
pub const STATUS_USAGE: u8 = 2;
/// Exit status of "there is no such key" and "the condition did not hold", so that scripts can tell them apart.
pub const STATUS_NEGATIVE: u8 = 3;
/// Exit status of a transaction that cannot commit because of another one, so that scripts know when to begin anew.
pub const STATUS_CONFLICT: u8 = 4;
/// Exit status after a second signal.
pub const STATUS_INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// The stable code of an error of the cluster.
    pub code: Option<ErrorCode>,
    /// Whether a write was applied.
    pub outcome: Option<Outcome>,
    /// Of a transaction that cannot commit: why, and over what.
    pub conflict: Option<Box<Conflict>>,
    /// What else scripts are told: the members of an object.
    pub details: Option<Box<serde_json::Value>>,
    /// Exit status.
    pub status: u8,
}

impl Failure {
    /// A failure with nothing more to say.
    pub fn new(message: impl Into<String>) -> Failure {
        let message = message.into();
        let (hint, code, outcome, conflict, details) = (None, None, None, None, None);
        Failure { message, hint, code, outcome, conflict, details, status: STATUS_FAILED }
    }

    /// Of what the user wrote: it makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(message).status(STATUS_USAGE)
    }

    /// With the next step.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With another exit status.
    pub fn status(mut self, status: u8) -> Failure {
        self.status = status;
        self
    }

    /// Nothing was written.
    pub fn not_applied(mut self) -> Failure {
        self.outcome = Some(Outcome::NotApplied);
        self
    }

    /// With what else scripts are told: the members of an object.
    pub fn details(mut self, details: serde_json::Value) -> Failure {
        self.details = Some(Box::new(details));
        self
    }

    /// Of what only reads: whatever went wrong, nothing was changed.
    pub fn of_read(self) -> Failure {
        if self.outcome != Some(Outcome::Unknown) {
            return self;
        }
        let hint = match self.code.and_then(hint_of) {
            Some(hint) => format!("nothing was changed; {hint}"),
            None => "nothing was changed".to_owned(),
        };
        self.hint(hint).not_applied()
    }

    /// Nobody reads our output any more: end without a word.
    pub fn is_broken_pipe(&self) -> bool {
        self.message == BROKEN_PIPE
    }

    /// For `--format json`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "error": self.message,
            "hint": self.hint,
            "code": self.code.map(ErrorCode::name),
            "outcome": self.outcome.map(Outcome::name),
            "conflict": self.conflict.as_deref().map(conflict_json),
        });
        let details = self.details.as_deref().and_then(serde_json::Value::as_object);
        for (name, value) in details.into_iter().flatten() {
            json[name] = value.clone();
        }
        json
    }
}

fn conflict_json(conflict: &Conflict) -> serde_json::Value {
    let reason = match conflict.reason {
        ConflictReason::Changed => "changed",
        ConflictReason::Aborted => "aborted",
        ConflictReason::TooOld => "too_old",
        ConflictReason::Wounded => "wounded",
        ConflictReason::Locked => "locked",
    };
    serde_json::json!({
        "reason": reason,
        "key": conflict.key.as_ref().map(|key| crate::encoding::Encoding::default().to_json(&key.key)),
        "rival": conflict.rival.map(|rival| rival.to_string()),
        "at": conflict.at.0,
    })
}

const BROKEN_PIPE: &str = "nobody reads the output";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::new(BROKEN_PIPE)
        } else {
            Failure::new(error.to_string())
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let maybe = "it may or may not have been applied: read the key before you write again";
        let hint = match (error.outcome, hint_of(error.code)) {
            (Outcome::Unknown, Some(hint)) => Some(format!("{maybe}; {hint}")),
            (Outcome::Unknown, None) => Some(maybe.to_owned()),
            (Outcome::Applied | Outcome::NotApplied, hint) => hint.map(str::to_owned),
        };
        Failure {
            message: error.message,
            hint,
            code: Some(error.code),
            outcome: Some(error.outcome),
            status: if error.code == ErrorCode::Conflict { STATUS_CONFLICT } else { STATUS_FAILED },
            conflict: error.conflict,
            details: None,
        }
    }
}

fn hint_of(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::Unavailable | ErrorCode::NotLeader | ErrorCode::StaleRoute => {
            Some("is a majority of the nodes running? `strata cluster nodes` shows them")
        }
        ErrorCode::DeadlineExceeded => {
            Some("`strata cluster status` says how the cluster is; --timeout gives it more time")
        }
        ErrorCode::TooLarge => Some("keys may have 8 KiB, values 16 MiB, batches 16 MiB or 10,000 writes"),
        ErrorCode::CrossShard => Some("give the keys of a batch the same {hash tag}, such as {user:1}:name"),
        ErrorCode::Overloaded => Some("send less at once, or try again in a moment"),
        ErrorCode::DiskFull => Some("make room on that node's disk; reads go on, and writes resume by themselves"),
        ErrorCode::Corrupt => Some("that replica's files are damaged; the others serve: `strata cluster shards`"),
        ErrorCode::SessionExpired => Some("start over with a new session"),
        ErrorCode::IdentityRefused => Some("check --join, --expect and the data directory"),
        ErrorCode::NotReady => Some("the node is starting or stopping: try again in a moment, or ask another node"),
        ErrorCode::Refused => Some("`strata cluster nodes` shows the nodes and their states"),
        ErrorCode::MajorityAtRisk => Some("start the nodes that are down, and undrain those that may stay"),
        ErrorCode::ChangeUnderWay => Some("`strata cluster jobs` shows it; try again when it is done"),
        ErrorCode::Internal => Some("the node's log (stderr) says more: unless a disk fails there, this is a bug"),
        ErrorCode::Blocked => Some("a transaction is being committed there: try again in a moment"),
        ErrorCode::SnapshotTooOld => Some("`begin` reads what there is now"),
        // The sentence says what to do.
        ErrorCode::InvalidArgument | ErrorCode::Conflict => None,
        // The enum may grow.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_and_a_next_step() {
        let failure = Failure::from(Error::not_applied(ErrorCode::CrossShard, "the keys live on two shards"));
        let text = failure.to_string();
        assert!(text.starts_with("error: the keys live on two shards\nhint: give the keys"), "{text}");
        assert_eq!(failure.to_json()["code"], "cross_shard");
        assert_eq!(failure.to_json()["outcome"], "not applied");
    }

    #[test]
    fn a_conflict_has_a_status_of_its_own_and_all_that_is_known_of_it() {
        let key = strata_types::SpaceKey { space: strata_types::Space::default(), key: "acct/1".into() };
        let rival = Some(strata_types::TransactionId(7));
        let (reason, at) = (ConflictReason::Changed, strata_types::Timestamp(9));
        let failure = Failure::from(Error::of_conflict(Conflict { reason, key: Some(key), rival, at }));
        assert_eq!((failure.status, &failure.hint), (STATUS_CONFLICT, &None));
        assert!(failure.message.contains("acct/1") && failure.message.contains("try again"), "{failure}");
        let rival = format!("{:032x}", 7);
        let expected = serde_json::json!({ "reason": "changed", "key": "acct/1", "rival": rival, "at": 9 });
        assert_eq!(failure.to_json()["conflict"], expected);
    }

    #[test]
    fn what_only_reads_has_changed_nothing() {
        let late = || Failure::from(Error::unknown(ErrorCode::DeadlineExceeded, "no answer in time"));
        let read = late().of_read();
        assert_eq!(read.to_json()["outcome"], "not applied");
        let hint = read.hint.expect("a hint");
        assert!(hint.starts_with("nothing was changed; ") && hint.contains("--timeout"), "{hint}");
        assert!(!hint.contains("applied"), "{hint}");
        assert_eq!(late().to_json()["outcome"], "unknown", "of a write nobody can tell");
        let refused = Failure::from(Error::not_applied(ErrorCode::CrossShard, "the keys live on two shards"));
        assert_eq!(refused.clone().of_read(), refused);
    }

    #[test]
    fn scripts_are_told_the_details_beside_the_rest() {
        let json = Failure::new("no").details(serde_json::json!({ "succeeded": false, "current": null })).to_json();
        assert_eq!(json["error"], "no");
        assert_eq!(json["succeeded"], false);
        assert!(json.as_object().is_some_and(|members| members.contains_key("current")), "{json}");
    }

    #[test]
    fn an_unknown_outcome_is_said() {
        let failure = Failure::from(Error::unknown(ErrorCode::DeadlineExceeded, "no answer in time"));
        assert!(failure.hint.expect("a hint").starts_with("it may or may not have been applied"));
    }
}
