//! Why a transaction cannot commit, in types and in a sentence.

use std::fmt;

use crate::{Space, SpaceKey, Timestamp, TransactionId};

/// Why a transaction cannot commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConflictReason {
    /// What it has read was changed since.
    Changed,
    /// It was aborted, by itself or because it kept others waiting.
    Aborted,
    /// It began so long ago that what it has read is not kept any more.
    TooOld,
    /// An older transaction took its lock.
    Wounded,
    /// Another transaction has the lock, and waiting was not wanted or took too long.
    Locked,
}

/// Why a transaction cannot commit, and over what. A new one may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Why.
    pub reason: ConflictReason,
    /// The key over which, if there is one.
    pub key: Option<SpaceKey>,
    /// The other transaction, if it is known.
    pub rival: Option<TransactionId>,
    /// When what it has read was changed, if it was; or the timestamp below which nothing is kept.
    pub at: Timestamp,
}

/// Bytes of a key that a sentence shows.
const KEY_SHOWN_MAX: usize = 80;

impl fmt::Display for Conflict {
    /// A sentence: what happened, who did it, and whether to try again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map_or_else(|| "a key".to_owned(), shown);
        let at = self.at;
        let rival = |unknown: &str| match self.rival {
            Some(rival) => format!("transaction {rival}"),
            None => unknown.to_owned(),
        };
        match self.reason {
            ConflictReason::Changed => {
                let what = if self.key.is_some() { key } else { "what the transaction has read".to_owned() };
                let by = self.rival.map_or_else(String::new, |rival| format!(" by transaction {rival}"));
                write!(f, "{what} was changed{by} at {at}, after the transaction had read it")?;
            }
            ConflictReason::Aborted => {
                write!(f, "the transaction was aborted by {}", rival("another one that waited for it"))?;
            }
            ConflictReason::TooOld => {
                write!(
                    f,
                    "the transaction reads what was committed long ago, and nothing before {at} is kept any more"
                )?;
            }
            ConflictReason::Wounded => {
                write!(f, "{}, which is older, took the lock of {key}", rival("another transaction"))?;
            }
            ConflictReason::Locked => write!(f, "{} has the lock of {key}", rival("another transaction"))?,
        }
        f.write_str(match self.reason {
            ConflictReason::Changed | ConflictReason::Aborted => {
                "; nothing was written; try again with a new transaction"
            }
            ConflictReason::TooOld => "; nothing was written; try again with a new transaction, and end it sooner",
            ConflictReason::Wounded => "; nothing was written; try again with a new transaction of the same age",
            ConflictReason::Locked => "; try again later",
        })
    }
}

/// A key as a sentence shows it.
fn shown(key: &SpaceKey) -> String {
    let (bytes, more) = match key.key.get(..KEY_SHOWN_MAX) {
        Some(start) if key.key.len() > KEY_SHOWN_MAX => (start, "..."),
        _ => (&key.key[..], ""),
    };
    let space = match key.space == Space::default() {
        true => String::new(),
        false => format!(" of {}/{}", key.space.database, key.space.key_space),
    };
    format!("key `{}{more}`{space}", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorCode};

    #[test]
    fn a_conflict_names_the_key_the_rival_and_what_to_do() {
        let key = SpaceKey { space: Space::default(), key: b"acct/\xff1".to_vec().into() };
        let rival = Some(TransactionId(0xab));
        let of = |reason| Conflict { reason, key: Some(key.clone()), rival, at: Timestamp(7) };
        let sentence = |reason| Error::of_conflict(of(reason)).message;
        let reasons = [ConflictReason::Changed, ConflictReason::Wounded, ConflictReason::Locked];
        for text in reasons.map(sentence) {
            assert!(text.contains(r"key `acct/\xff1`"), "{text}");
            assert!(
                text.contains("transaction 000000000000000000000000000000ab") && text.contains("try again"),
                "{text}"
            );
        }
        assert!(sentence(ConflictReason::Changed).contains("changed by transaction"));
        assert!(sentence(ConflictReason::Changed).contains("at @7"));
        assert!(sentence(ConflictReason::TooOld).contains("nothing before @7 is kept"));
        assert_eq!(Error::of_conflict(of(ConflictReason::TooOld)).code, ErrorCode::SnapshotTooOld);
        assert_eq!(Error::of_conflict(of(ConflictReason::Aborted)).code, ErrorCode::Conflict);
        let long = Conflict {
            key: Some(SpaceKey { key: vec![b'k'; 8000].into(), ..key.clone() }),
            ..of(ConflictReason::Locked)
        };
        assert!(long.to_string().len() < 300, "a sentence is no place for long keys");
    }
}
