//! One transaction, line by line.

use serde_json::json;
use strata_proto::v1;
use strata_types::{ConflictReason, ErrorCode, LockWait, Outcome};

use super::handle::{id_text, outcome, settle_hint};
use super::open::Open;
use crate::args::{KvCommand, TxnCommand};
use crate::commands::kv::{bounds, read_stdin};
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Session;

/// What lines about transactions work on: at most one at a time.
#[derive(Default)]
pub struct Transactor {
    open: Option<Open>,
    /// The age of a transaction that met another one: the next one keeps it, so that it gets through in the end.
    age: Option<u64>,
}

impl Transactor {
    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Rolls back what is open, and returns how that went. None: nothing was open.
    pub async fn give_up(&mut self) -> Option<Result<(), Failure>> {
        let open = self.open.take()?;
        Some(open.roll_back().await)
    }

    /// Carries out a step.
    pub async fn step(
        &mut self,
        session: &Session,
        command: &TxnCommand,
        encoding: Encoding,
    ) -> Result<Answer, Failure> {
        let result = match command {
            TxnCommand::Begin { read_only, at } => self.begin(session, *read_only, *at).await,
            TxnCommand::Getforupdate { key, no_wait, skip_locked, wait } => {
                let how = match (no_wait, skip_locked) {
                    (true, _) => LockWait::NoWait,
                    (_, true) => LockWait::SkipLocked,
                    (false, false) => LockWait::Wait,
                };
                let millis = wait.map_or(0, |wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1));
                self.open()?.lock(encoding.decode(key)?, how, millis, encoding).await
            }
            TxnCommand::Savepoint => self.open()?.savepoint().await,
            TxnCommand::Rollback { to } => match savepoint_of(to)? {
                Some(savepoint) => self.open()?.rollback_to(savepoint).await,
                None => self.rollback().await,
            },
            TxnCommand::Commit => self.commit().await,
            TxnCommand::Outcome { handle, settle } => outcome(session, handle, *settle).await,
        };
        self.note(result)
    }

    /// Carries out an operation on keys within the transaction.
    pub async fn key(&mut self, command: &KvCommand, encoding: Encoding) -> Result<Answer, Failure> {
        let result = match command {
            KvCommand::Get { reads, .. } | KvCommand::Scan { reads, .. } if reads.is_special() => {
                Err(Failure::usage("a transaction reads what was committed up to its own timestamp")
                    .hint("--level and --max-staleness are for reads outside of one"))
            }
            KvCommand::Get { key, .. } => self.open()?.get(encoding.decode(key)?, encoding).await,
            KvCommand::Put { key, value, .. } => {
                let value = match value {
                    Some(value) => encoding.decode(value)?,
                    None => read_stdin().await?,
                };
                self.open()?.put(encoding.decode(key)?, value).await
            }
            KvCommand::Del { key } => self.open()?.delete(encoding.decode(key)?).await,
            KvCommand::Scan { start, end, prefix, limit, keys_only, .. } => {
                let (start, end) = bounds(encoding, start.as_deref(), end.as_deref(), prefix.as_deref())?;
                self.open()?.scan(start, end, limit.unwrap_or(0), *keys_only, encoding).await
            }
            KvCommand::Cas { .. } => Err(Failure::usage("a transaction needs no cas")
                .hint("get the key and put it: the commit checks that it was not changed meanwhile")),
        };
        self.note(result)
    }

    fn open(&mut self) -> Result<&mut Open, Failure> {
        let none = || Failure::new("no transaction is open").hint("`begin` opens one");
        self.open.as_mut().ok_or_else(none)
    }

    /// Notes that the transaction is over, if it is.
    fn note(&mut self, result: Result<Answer, Failure>) -> Result<Answer, Failure> {
        if let Err(failure) = &result
            && is_end(failure)
            && let Some(open) = self.open.take()
        {
            self.age = Some(open.handle.age).filter(|age| *age > 0);
        }
        result
    }

    async fn begin(&mut self, session: &Session, read_only: bool, at: Option<u64>) -> Result<Answer, Failure> {
        if let Some(open) = &self.open {
            let id = id_text(&open.handle);
            return Err(
                Failure::new(format!("transaction {id} is open already")).hint("`commit` or `rollback` ends it")
            );
        }
        let stay = session.stay().await?;
        let age = self.age.filter(|_| !read_only);
        let request = v1::TxnBeginRequest { read_only, at, age, ..v1::TxnBeginRequest::default() };
        let call = stay.txn(request, |mut client, request| async move { client.begin(request).await });
        // One that nobody has the handle of ends by itself.
        let reply = call.await.map_err(Failure::of_read)?;
        let handle = reply.handle.unwrap_or_default();
        let (id, reads_at, age) = (id_text(&handle), handle.read_timestamp, handle.age);
        self.open = Some(Open { stay, handle });
        let text = format!("transaction {id} reads what was committed up to @{reads_at}");
        Ok(Answer::new(text, json!({ "id": id, "read_timestamp": reads_at, "age": age })))
    }

    async fn rollback(&mut self) -> Result<Answer, Failure> {
        self.open()?.roll_back().await?;
        (self.open, self.age) = (None, None);
        Ok(Answer::new("rolled back: nothing was written", json!({ "status": "aborted" })))
    }

    async fn commit(&mut self) -> Result<Answer, Failure> {
        let open = self.open()?;
        let handle = open.handle.clone();
        let request = v1::TxnCommitRequest { id: handle.id.clone(), handle: handle.anchor.map(|_| handle.clone()) };
        let call = open.stay.txn(request, |mut client, request| async move { client.commit(request).await });
        match call.await {
            Ok(reply) => {
                (self.open, self.age) = (None, None);
                let at = reply.timestamp;
                Ok(Answer::new(format!("committed at @{at}"), json!({ "status": "committed", "at": at })))
            }
            // Asked again it is told what became of it.
            Err(failure) if failure.outcome == Some(Outcome::Unknown) => Err(failure.hint(match handle.anchor {
                Some(_) => format!("`commit` asks again; {}", settle_hint(&handle)),
                None => "it has written nothing, so nothing is lost: `rollback` ends it".to_owned(),
            })),
            Err(failure) => {
                let age = handle.age;
                self.open = None;
                self.age = Some(age).filter(|age| failure.code == Some(ErrorCode::Conflict) && *age > 0);
                Err(failure)
            }
        }
    }
}

/// A conflict ends the transaction, unless it is only about a lock.
fn is_end(failure: &Failure) -> bool {
    let is_lock = failure.conflict.as_ref().is_some_and(|conflict| conflict.reason == ConflictReason::Locked);
    failure.code == Some(ErrorCode::Conflict) && !is_lock
}

/// `rollback`, `rollback 1` or `rollback to 1`.
fn savepoint_of(words: &[String]) -> Result<Option<u64>, Failure> {
    let number = match words {
        [] => return Ok(None),
        [number] => number,
        [to, number] if to == "to" => number,
        _ => return Err(not_a_savepoint()),
    };
    number.parse().map(Some).map_err(|_| not_a_savepoint())
}

fn not_a_savepoint() -> Failure {
    Failure::usage("expected nothing, or the number of a savepoint").hint("`rollback`, or for example `rollback to 1`")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::args::ReadArgs;
    use crate::failure::STATUS_USAGE;

    #[test]
    fn a_rollback_goes_all_the_way_or_to_a_savepoint() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(savepoint_of(&words("")), Ok(None));
        for line in ["1", "to 1"] {
            assert_eq!(savepoint_of(&words(line)), Ok(Some(1)));
        }
        for line in ["to", "from 1", "to one"] {
            assert!(savepoint_of(&words(line)).is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn steps_need_a_transaction() {
        let mut transactor = Transactor::default();
        let delete = KvCommand::Del { key: "k".to_owned() };
        let failure = transactor.key(&delete, Encoding::default()).await.expect_err("none is open");
        assert!(failure.hint.expect("a hint").contains("begin"));
        let reads = ReadArgs { max_staleness: Some(Duration::from_secs(1)), ..ReadArgs::default() };
        let get = KvCommand::Get { key: "k".to_owned(), reads };
        let failure = transactor.key(&get, Encoding::default()).await.expect_err("no bound applies in one");
        assert_eq!(failure.status, STATUS_USAGE);
        assert!(!transactor.is_open() && transactor.give_up().await.is_none());
    }

    #[test]
    fn a_conflict_ends_the_transaction_but_a_taken_lock_does_not() {
        use strata_types::{Conflict, Error, Timestamp};
        let of = |reason| {
            let conflict = Conflict { reason, key: None, rival: None, at: Timestamp(0) };
            Failure::from(Error::of_conflict(conflict))
        };
        assert!(is_end(&of(ConflictReason::Changed)) && is_end(&of(ConflictReason::Wounded)));
        assert!(!is_end(&of(ConflictReason::Locked)), "somebody else may ask again");
        assert!(!is_end(&Failure::new("anything else")));
    }
}
