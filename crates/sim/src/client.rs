//! Clients of the simulated cluster: they do what users do, and write down what they were told.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_check::{Answer, Call, History, OperationId};
use strata_router::{Kv as _, Router};
use strata_types::{
    ClientId, Error, ErrorCode, Expected, Operation, Outcome, ReadLevel, ReadPreference, Reply, Request, RequestHeader,
};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::overdue::in_time;
use crate::trace::{Trace, trace};

/// How long a client waits for one operation.
const DEADLINE: Duration = Duration::from_secs(3);
/// No operation takes longer than this, whoever notices its deadline.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Keys in use at the same time; few, so that operations meet.
const KEYS_AT_ONCE: u64 = 12;
/// After this time a fresh set of keys is used: the checker's cost grows with the history of one key.
const KEY_LIFE: Duration = Duration::from_secs(40);

/// What all clients share.
pub(crate) struct Record {
    start: Instant,
    history: Mutex<History>,
    acknowledged: Mutex<u64>,
    trace: Arc<Trace>,
    cluster: Weak<Cluster>,
}

impl Record {
    pub(crate) fn new(cluster: &Arc<Cluster>) -> Arc<Record> {
        let (start, trace, cluster) = (Instant::now(), cluster.trace.clone(), Arc::downgrade(cluster));
        Arc::new(Record { start, history: Mutex::default(), acknowledged: Mutex::default(), trace, cluster })
    }

    /// Something is broken.
    pub(crate) fn report(&self, violation: String) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.invariants.lock().report(violation);
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Operations that were answered with success.
    pub(crate) fn acknowledged(&self) -> u64 {
        *self.acknowledged.lock()
    }

    pub(crate) fn history(&self) -> History {
        self.history.lock().clone()
    }

    fn invoke(&self, client: ClientId, key: &str, call: Call) -> OperationId {
        self.invoke_at(client, key, call, self.now())
    }

    /// An operation began then.
    pub(crate) fn invoke_at(&self, client: ClientId, key: &str, call: Call, at: u64) -> OperationId {
        self.history.lock().invoke(client, key.to_owned(), call, at)
    }

    /// An operation has its answer, or was not applied.
    pub(crate) fn end(&self, id: OperationId, answer: Option<Answer>) {
        let at = self.now();
        let mut history = self.history.lock();
        match answer {
            Some(answer) => history.ok(id, answer, at),
            None => history.fail(id, at),
        }
    }

    fn finish(&self, id: OperationId, result: &Result<Answer, Error>) {
        if let Some(text) = result.as_ref().err().and_then(undeserved) {
            self.report(text);
        }
        let at = self.now();
        let mut history = self.history.lock();
        match result {
            Ok(answer) => {
                *self.acknowledged.lock() += 1;
                history.ok(id, answer.clone(), at);
            }
            Err(error) if error.outcome == Outcome::NotApplied => history.fail(id, at),
            Err(_) => history.unknown(id),
        }
    }
}

/// SIM-CLIENT-2: what no client of a run has deserved. All requests are right ones, and small.
pub(crate) fn undeserved(error: &Error) -> Option<String> {
    use ErrorCode::{CrossShard, IdentityRefused, Internal, InvalidArgument, TooLarge};
    let is_undeserved = matches!(error.code, CrossShard | IdentityRefused | Internal | InvalidArgument | TooLarge);
    is_undeserved.then(|| format!("SIM-CLIENT-2 right requests are not refused as wrong ones: {error}"))
}

/// One client: one operation after the other.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) router: Arc<Router>,
    pub(crate) record: Arc<Record>,
    pub(crate) dice: Dice,
    /// Longest pause between two operations.
    pub(crate) think_max: Duration,
    /// How its reads are done that are for a leader. What they promise is the same.
    level: ReadLevel,
    writes: u64,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        router: Arc<Router>,
        record: Arc<Record>,
        dice: Dice,
        think_max: Duration,
        level: ReadLevel,
    ) -> Client {
        Client { id, router, record, dice, think_max, level, writes: 0 }
    }

    /// Works until told to stop.
    pub(crate) async fn work(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            let call = self.next_call();
            let key = some_key(&self.record, &mut self.dice);
            self.perform(&key, call).await;
            let pause = Duration::from_micros(self.dice.between(1_000, self.think_max.as_micros() as u64));
            tokio::time::sleep(pause).await;
        }
    }

    fn fresh_value(&mut self) -> Bytes {
        self.writes += 1;
        format!("c{}w{}", self.id.0, self.writes).into()
    }

    fn next_call(&mut self) -> Call {
        match self.dice.between(0, 9) {
            0..=3 => Call::Get,
            4..=6 => Call::Put { value: self.fresh_value() },
            7 => Call::Delete,
            _ => Call::CompareAndSet { expected: None, value: Some(self.fresh_value()) },
        }
    }

    /// One operation, written down on both ends. Returns what kept it from being done.
    pub(crate) async fn perform(&mut self, key: &str, mut call: Call) -> Option<ErrorCode> {
        if let Call::CompareAndSet { expected, .. } = &mut call
            && self.dice.chance(800)
        {
            // Mostly expect what is there, or it would hardly ever succeed.
            let read = self.record.invoke(self.id, key, Call::Get);
            let answer = self.ask(key, &Call::Get).await;
            self.record.finish(read, &answer);
            if let Ok(Answer::Value(value)) = answer {
                *expected = value;
            }
        }
        let id = self.record.invoke(self.id, key, call.clone());
        let result = self.ask(key, &call).await;
        self.record.finish(id, &result);
        match &result {
            Ok(answer) => trace!(self.record.trace, "{} {key} {call:?} -> {answer:?}", self.id),
            Err(error) => trace!(self.record.trace, "{} {key} {call:?} -> {error}", self.id),
        }
        result.err().map(|error| error.code)
    }

    async fn ask(&self, key: &str, call: &Call) -> Result<Answer, Error> {
        // Half of the reads are for any replica. Drawn from a copy, so that what is done does not depend on it.
        let prefer = if self.dice.clone().chance(500) { ReadPreference::Any } else { ReadPreference::Leader };
        let level = if prefer == ReadPreference::Leader { self.level } else { ReadLevel::Linearizable };
        let header = RequestHeader { prefer, level, ..RequestHeader::default() };
        let request = Request { header, operation: operation(key, call) };
        let asked = self.router.call(request, DEADLINE);
        let answered = in_time(ANSWER_MAX, asked, |text| self.record.report(text)).await;
        let reply = answered.unwrap_or_else(|| {
            Err(Error::unknown(ErrorCode::DeadlineExceeded, "nobody has noticed that the deadline passed"))
        })?;
        Ok(match (reply, call) {
            (Reply::Get { item, .. }, _) => Answer::Value(item.map(|item| item.value)),
            (Reply::Delete { existed, .. }, _) => Answer::Existed(existed),
            (Reply::CompareAndSet { succeeded: false, current, .. }, _) => {
                Answer::MismatchHolds(current.map(|item| item.value))
            }
            _ => Answer::Done,
        })
    }
}

/// One of the keys that are in use now.
pub(crate) fn some_key(record: &Record, dice: &mut Dice) -> String {
    let generation = record.start.elapsed().as_secs() / KEY_LIFE.as_secs();
    format!("k{}-{generation}", dice.between(0, KEYS_AT_ONCE - 1))
}

fn operation(key: &str, call: &Call) -> Operation {
    let key = Bytes::copy_from_slice(key.as_bytes());
    match call.clone() {
        Call::Get => Operation::Get { key },
        Call::Put { value } => Operation::Put { key, value },
        Call::Delete => Operation::Delete { key },
        Call::CompareAndSet { expected, value } => {
            let expected = expected.map_or(Expected::Absent, Expected::Value);
            Operation::CompareAndSet { key, expected, value }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_request_that_is_refused_as_a_wrong_one_is_found() {
        let refused = |code| undeserved(&Error::not_applied(code, "refused"));
        assert!(refused(ErrorCode::InvalidArgument).is_some_and(|text| text.starts_with("SIM-CLIENT-2")));
        assert!(refused(ErrorCode::Internal).is_some() && refused(ErrorCode::Unavailable).is_none());
    }
}
