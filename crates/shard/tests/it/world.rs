//! A shard beside a model that keeps every version of every key for ever, and random schedules for both: each read at each
//! timestamp that is not below the horizon finds what the model says (SHARD-6), and who is blocked or refused is the one
//! that should be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use strata_codec::{KeyKind, decode_reply, encode_collect, encode_command};
use strata_machine::{CommandContext, Machine};
use strata_shard::testing::Rows;
use strata_shard::{Obstacle, ShardMachine, Unfinished, UnfinishedState};
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Expected, LogIndex, Mutation, Operation, Part, Prepared,
    Reply, Request, RequestHeader, Space, SpaceKey, SpaceRange, SpaceWrite, Term, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply, TransactionStatus,
};

const KEYS: u8 = 5;

fn key(number: u8) -> Bytes {
    // One of them is a beginning of the next one, and has a byte that is escaped.
    [&b"a"[..], b"a\x00", b"b", b"c", b"d"].map(Bytes::from_static)[usize::from(number % KEYS)].clone()
}

/// A value, or with 0 its absence.
fn value(number: u8) -> Option<Bytes> {
    (number > 0).then(|| Bytes::from(vec![b'0' + number]))
}

/// What a transaction has on the shard.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// How far behind the newest stamp it began.
    behind: u64,
    reads: Vec<u8>,
    range: Option<(u8, u8)>,
    writes: Vec<(u8, u8)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Later(u64),
    Write {
        key: u8,
        value: u8,
    },
    Compare {
        key: u8,
        holds: u8,
        value: u8,
    },
    Batch(Vec<(u8, u8)>),
    Commit(Wish),
    /// Others are prepared: at this many behind the stamp of the commit, or ahead of it.
    CommitLast {
        wish: Wish,
        ahead: i64,
    },
    Prepare(Wish),
    /// One that was sent before comes again.
    Again(usize),
    Resolve {
        pick: usize,
        commit_after: Option<u64>,
    },
    /// Of one that was resolved before, or never prepared.
    Abort(usize),
    Collect {
        above: u64,
        page: usize,
    },
}

pub(crate) fn schedule() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let wish = || {
        let range = option::weighted(0.3, (0..KEYS, 0..=KEYS));
        (0..6u64, vec(0..KEYS, 0..3), range, vec((0..KEYS, 0..4u8), 0..3))
            .prop_map(|(behind, reads, range, writes)| Wish { behind, reads, range, writes })
    };
    prop_oneof![
        4 => (0..3u64).prop_map(Step::Later),
        4 => (0..KEYS, 0..4u8).prop_map(|(key, value)| Step::Write { key, value }),
        2 => (0..KEYS, 0..4u8, 0..4u8).prop_map(|(key, holds, value)| Step::Compare { key, holds, value }),
        1 => vec((0..KEYS, 0..4u8), 0..4).prop_map(Step::Batch),
        3 => wish().prop_map(Step::Commit),
        2 => (wish(), -2..2i64).prop_map(|(wish, ahead)| Step::CommitLast { wish, ahead }),
        4 => wish().prop_map(Step::Prepare),
        1 => any::<usize>().prop_map(Step::Again),
        3 => (any::<usize>(), option::weighted(0.7, 0..3u64))
            .prop_map(|(pick, commit_after)| Step::Resolve { pick, commit_after }),
        1 => any::<usize>().prop_map(Step::Abort),
        2 => (0..8u64, 1..5usize).prop_map(|(above, page)| Step::Collect { above, page }),
    ]
}

/// Every version that there ever was, and who holds what.
#[derive(Default)]
struct Model {
    versions: BTreeMap<Bytes, BTreeMap<u64, Option<Bytes>>>,
    prepared: BTreeMap<TransactionId, (Part, u64)>,
    horizon: u64,
}

impl Model {
    fn at(&self, key: &Bytes, at: u64) -> Option<Bytes> {
        self.versions.get(key)?.range(..=at).next_back()?.1.clone()
    }

    fn all_at(&self, at: u64) -> BTreeMap<Bytes, Bytes> {
        self.versions.keys().filter_map(|key| Some((key.clone(), self.at(key, at)?))).collect()
    }

    fn write(&mut self, key: &Bytes, value: Option<Bytes>, at: u64) {
        let is_change = value.is_some() || self.at(key, at).is_some();
        if is_change {
            self.versions.entry(key.clone()).or_default().insert(at, value);
        }
    }

    fn changed(&self, key: &Bytes) -> u64 {
        self.versions.get(key).and_then(|versions| versions.keys().next_back().copied()).unwrap_or(0)
    }

    /// Those that keep a key from being read.
    fn writers(&self, key: &Bytes, prepared_until: u64) -> BTreeSet<TransactionId> {
        let writes = |part: &Part| part.writes.iter().any(|write| write.key.key == *key);
        let them = self.prepared.values().filter(|(part, stamp)| *stamp <= prepared_until && writes(part));
        them.map(|(part, _)| part.transaction.id).collect()
    }

    /// Those that keep a key from being written.
    fn holders(&self, key: &Bytes) -> BTreeSet<TransactionId> {
        let holds = |part: &Part| {
            let key = in_space(key);
            part.reads.contains(&key) || part.ranges.iter().any(|range| range.contains(&key))
        };
        let readers = self.prepared.values().filter(|(part, _)| holds(part)).map(|(part, _)| part.transaction.id);
        readers.chain(self.writers(key, u64::MAX)).collect()
    }

    /// What a part is answered instead of being carried out.
    fn refusal(&self, part: &Part) -> Option<Result<ConflictReason, BTreeSet<TransactionId>>> {
        let read_at = part.transaction.read_timestamp.0;
        if read_at < self.horizon {
            return Some(Ok(ConflictReason::TooOld));
        }
        let in_ranges = || {
            let all = (0..KEYS).map(key);
            all.filter(|key| part.ranges.iter().any(|range| range.contains(&in_space(key))))
        };
        let mut read = part.reads.iter().map(|key| key.key.clone()).chain(in_ranges());
        if read.any(|key| self.changed(&key) > read_at) {
            return Some(Ok(ConflictReason::Changed));
        }
        let read = part.reads.iter().map(|key| key.key.clone()).chain(in_ranges());
        let mut blockers: BTreeSet<_> = read.flat_map(|key| self.writers(&key, u64::MAX)).collect();
        blockers.extend(part.writes.iter().flat_map(|write| self.holders(&write.key.key)));
        (!blockers.is_empty()).then_some(Err(blockers))
    }
}

fn in_space(key: &Bytes) -> SpaceKey {
    SpaceKey { space: Space::default(), key: key.clone() }
}

/// Lets the schedule happen.
///
/// # Panics
/// When the shard does not do what the model says.
pub(crate) fn run(schedule: Vec<Step>) {
    let mut world = World { stamp: 3, ..World::default() };
    for step in schedule {
        world.step(step);
        world.check_rows();
        world.check_reads();
    }
    assert_eq!(world.view.0, world.twin.0, "SHARD-1");

    // SHARD-12: when everything is decided and the horizon has passed it, the newest values are all that is left.
    for id in world.model.prepared.keys().copied().collect::<Vec<_>>() {
        world.resolve(id, None);
    }
    world.collect(world.stamp + 1, 1000);
    world.check_reads();
    let left: BTreeSet<KeyKind> = world.view.0.keys().map(|key| KeyKind::of(key).unwrap()).collect();
    assert!(left.is_subset(&BTreeSet::from([KeyKind::Data, KeyKind::ShardState])), "{left:?}");
}

/// The shard, a twin that must stay equal to it, and the model.
#[derive(Default)]
struct World {
    view: Rows,
    twin: Rows,
    model: Model,
    index: u64,
    stamp: u64,
    ids: u128,
    sent: Vec<Part>,
    answers: BTreeMap<TransactionId, Reply>,
}

impl World {
    fn apply(&mut self, command: &Bytes) -> Result<Reply, Error> {
        self.index += 1;
        let (term, index) = (Term(1), LogIndex(self.index));
        let context = CommandContext { term, index, position: 0, stamp: Timestamp(self.stamp) };
        let reply = ShardMachine.apply(&mut self.view, context, command);
        assert_eq!(ShardMachine.apply(&mut self.twin, context, command), reply, "SHARD-1");
        decode_reply(reply).unwrap()
    }

    fn operate(&mut self, operation: Operation) -> Reply {
        let request = Request { header: RequestHeader::default(), operation };
        self.apply(&encode_command(&request).unwrap()).unwrap()
    }

    fn transact(&mut self, call: TransactionCall) -> Reply {
        self.answer(call).unwrap()
    }

    fn answer(&mut self, call: TransactionCall) -> Result<Reply, Error> {
        let operation = Operation::Transact(Box::new(call));
        self.apply(&encode_command(&Request { header: RequestHeader::default(), operation }).unwrap())
    }

    /// Whether an operation went through; else it was blocked by one of those that it should be blocked by, and has
    /// changed nothing (SHARD-7).
    fn passes(&mut self, operation: Operation, blockers: &BTreeSet<TransactionId>) -> bool {
        let before = self.view.0.clone();
        match self.operate(operation) {
            Reply::Blocked { by } => {
                assert!(blockers.contains(&by.id), "blocked by {by:?} and not by {blockers:?}");
                assert_eq!(self.view.0, before, "blocked, and yet something was changed");
                false
            }
            reply => {
                assert!(blockers.is_empty(), "{reply:?} in spite of {blockers:?}");
                true
            }
        }
    }

    fn write(&mut self, writes: &[(u8, u8)], operation: Operation) {
        let blockers = writes.iter().flat_map(|(number, _)| self.model.holders(&key(*number))).collect();
        if self.passes(operation, &blockers) {
            for (number, new) in writes {
                self.model.write(&key(*number), value(*new), self.stamp);
            }
        }
    }

    fn compare(&mut self, of: u8, holds: u8, new: u8) {
        let of = key(of);
        let expected = value(holds).map_or(Expected::Absent, Expected::Value);
        let succeeds = self.model.at(&of, u64::MAX) == value(holds);
        let mut blockers = self.model.writers(&of, u64::MAX);
        if succeeds && blockers.is_empty() {
            blockers = self.model.holders(&of);
        }
        let operation = Operation::CompareAndSet { key: of.clone(), expected, value: value(new) };
        if self.passes(operation, &blockers) && succeeds {
            self.model.write(&of, value(new), self.stamp);
        }
    }

    fn part(&mut self, wish: &Wish) -> Part {
        self.ids += 1;
        let read_timestamp = Timestamp(self.stamp.saturating_sub(1 + wish.behind));
        let mut writes: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        writes.extend(wish.writes.iter().map(|(of, new)| (key(*of), value(*new))));
        let writes: Vec<SpaceWrite> =
            writes.into_iter().map(|(key, value)| SpaceWrite { key: in_space(&key), value }).collect();
        let anchor = in_space(writes.first().map_or(&key(0), |write| &write.key.key)).slot();
        let range = wish.range.map(|(start, end)| SpaceRange {
            space: Space::default(),
            start: key(start),
            end: (end < KEYS).then(|| key(end)),
        });
        let part = Part {
            transaction: Transaction { id: TransactionId(self.ids), anchor, read_timestamp, age: read_timestamp },
            slot: anchor,
            reads: wish.reads.iter().map(|number| in_space(&key(*number))).collect(),
            ranges: range.into_iter().collect(),
            writes,
            prepared: Prepared::default(),
        };
        self.sent.push(part.clone());
        part
    }

    /// SHARD-7, SHARD-10, SHARD-11
    fn begin(&mut self, call: TransactionCall, part: &Part) {
        let (before, refusal) = (self.view.0.clone(), self.model.refusal(part));
        let is_commit = matches!(call, TransactionCall::Commit(_));
        let reply = self.transact(call);
        match (&reply, refusal) {
            (Reply::Blocked { by }, Some(Err(blockers))) => assert!(blockers.contains(&by.id), "{by:?}"),
            (Reply::Transact(TransactionReply::Conflict(Conflict { reason, .. })), Some(Ok(expected))) => {
                assert_eq!(*reason, expected);
            }
            (Reply::Transact(TransactionReply::Committed { at }), None) if is_commit && at.0 == self.stamp => {
                for write in &part.writes {
                    self.model.write(&write.key.key, write.value.clone(), self.stamp);
                }
                self.answers.insert(part.transaction.id, reply);
                return;
            }
            (Reply::Transact(TransactionReply::Prepared { at }), None) if !is_commit && at.0 == self.stamp => {
                self.model.prepared.insert(part.transaction.id, (part.clone(), self.stamp));
                self.answers.insert(part.transaction.id, reply);
                return;
            }
            (reply, refusal) => panic!("{part:?} was answered {reply:?} and should be {refusal:?}"),
        }
        assert_eq!(self.view.0, before, "refused, and yet something was changed");
    }

    /// SHARD-8: what was carried out once is answered from the rows, as long as they are there.
    fn again(&mut self, pick: usize) {
        let Some(part) = self.sent.get(pick % self.sent.len().max(1)).cloned() else { return };
        let id = part.transaction.id;
        let before = self.view.0.clone();
        match self.answers.get(&id).cloned() {
            Some(first @ Reply::Transact(TransactionReply::Committed { .. })) => {
                let reply = self.transact(TransactionCall::Commit(part.clone()));
                let is_kept = part.transaction.read_timestamp.0 >= self.model.horizon;
                assert!(reply == first || !is_kept, "{reply:?} after {first:?}");
            }
            Some(first) => {
                let reply = self.transact(TransactionCall::Prepare(part));
                let is_held = self.model.prepared.contains_key(&id);
                let is_refused = matches!(reply, Reply::Transact(TransactionReply::Conflict(_)));
                assert!(if is_held { reply == first } else { is_refused }, "{reply:?} after {first:?}");
            }
            None => return,
        }
        assert_eq!(self.view.0, before, "it was there before, and yet something was changed");
    }

    fn resolve(&mut self, id: TransactionId, commit_after: Option<u64>) {
        let (part, prepared_at) = self.model.prepared.remove(&id).unwrap();
        let transaction = part.transaction;
        let commit_at = commit_after.map(|after| prepared_at + after);
        if let Some(at) = commit_at {
            self.stamp = self.stamp.max(at);
            for write in &part.writes {
                self.model.write(&write.key.key, write.value.clone(), at);
            }
        }
        let decision = commit_at.map_or(Decision::Aborted, |at| Decision::Committed(Timestamp(at)));
        let resolve = TransactionCall::Resolve { transaction, slot: part.slot, decision };
        for _ in 0..2 {
            assert_eq!(self.transact(resolve.clone()), Reply::Transact(TransactionReply::Done));
        }
    }

    /// SHARD-9, SHARD-10: with others prepared it commits as if it were alone, but not before them; and its record stays
    /// until it is forgotten.
    fn commit_last(&mut self, wish: &Wish, ahead: i64) {
        let part = self.part(wish);
        let (at, participants) = (Timestamp(self.stamp.saturating_add_signed(ahead)), vec![part.slot]);
        let part = Part { prepared: Prepared { at, participants }, ..part };
        let id = part.transaction.id;
        if at.0 > self.stamp {
            let before = self.view.0.clone();
            let error = self.answer(TransactionCall::Commit(part)).unwrap_err();
            assert_eq!((error.code, &self.view.0), (ErrorCode::InvalidArgument, &before), "SHARD-10");
            return;
        }
        self.begin(TransactionCall::Commit(part.clone()), &part);
        if self.answers.contains_key(&id) {
            let decided = TransactionStatus::Decided(Decision::Committed(Timestamp(self.stamp)));
            assert_eq!(self.transact(TransactionCall::Abort { transaction: part.transaction }), status(decided));
            let (slot, decision) = (part.slot, Decision::Aborted);
            self.transact(TransactionCall::Resolve { transaction: part.transaction, slot, decision });
            let open = |world: &World| strata_shard::unfinished(&world.view, usize::MAX).iter().any(is_committed(id));
            assert!(open(self), "somebody has to tell the others");
            self.transact(TransactionCall::Forget { transaction: part.transaction });
            assert!(!open(self));
        }
    }

    /// One that was never prepared nor committed: after its abort it is not committed, and once it was resolved it is not
    /// prepared any more.
    fn abort(&mut self, pick: usize) {
        let Some(part) = self.sent.get(pick % self.sent.len().max(1)).cloned() else { return };
        let (transaction, slot) = (part.transaction, part.slot);
        if self.answers.contains_key(&transaction.id) {
            return;
        }
        let decision = Decision::Aborted;
        let decided = self.transact(TransactionCall::Abort { transaction });
        let is_known = transaction.read_timestamp.0 >= self.model.horizon;
        let expected = if is_known { TransactionStatus::Decided(decision) } else { TransactionStatus::Unknown };
        assert_eq!(decided, status(expected));
        let prepared = Prepared { at: Timestamp(0), participants: vec![slot] };
        for part in [Part { prepared, ..part.clone() }, part.clone()] {
            let late = self.answer(TransactionCall::Commit(part));
            assert!(!matches!(late, Ok(Reply::Transact(TransactionReply::Committed { .. }))), "SHARD-9: {late:?}");
        }
        self.transact(TransactionCall::Resolve { transaction, slot, decision });
        let late = self.transact(TransactionCall::Prepare(part));
        assert!(matches!(late, Reply::Transact(TransactionReply::Conflict(_))), "SHARD-8: {late:?}");
    }

    /// SHARD-6: whatever is collected, and in however small pieces.
    fn collect(&mut self, horizon: u64, page: usize) {
        let horizon = Timestamp(horizon);
        let mut from = None;
        loop {
            let garbage = strata_shard::garbage(&self.view, horizon, from.as_ref(), page);
            let reply = self.apply(&encode_collect(horizon, &garbage.rows));
            assert_eq!(reply, Ok(Reply::Transact(TransactionReply::Done)));
            self.model.horizon = self.model.horizon.max(horizon.0);
            match garbage.resume {
                Some(next) => from = Some(next),
                None => return,
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Later(by) => self.stamp += by,
            Step::Write { key: of, value: new } => {
                let of_key = key(of);
                let operation = match value(new) {
                    Some(value) => Operation::Put { key: of_key, value },
                    None => Operation::Delete { key: of_key },
                };
                self.write(&[(of, new)], operation);
            }
            Step::Compare { key, holds, value } => self.compare(key, holds, value),
            Step::Batch(writes) => {
                let mutation = |(of, new): &(u8, u8)| match value(*new) {
                    Some(value) => Mutation::Put { key: key(*of), value },
                    None => Mutation::Delete { key: key(*of) },
                };
                let mutations = writes.iter().map(mutation).collect();
                self.write(&writes, Operation::Batch { mutations });
            }
            Step::Commit(wish) => {
                let part = self.part(&wish);
                self.begin(TransactionCall::Commit(part.clone()), &part);
            }
            Step::CommitLast { wish, ahead } => self.commit_last(&wish, ahead),
            Step::Prepare(wish) => {
                let part = self.part(&wish);
                self.begin(TransactionCall::Prepare(part.clone()), &part);
            }
            Step::Again(pick) => self.again(pick),
            Step::Resolve { pick, commit_after } => {
                let held: Vec<TransactionId> = self.model.prepared.keys().copied().collect();
                if let Some(id) = held.get(pick % held.len().max(1)) {
                    self.resolve(*id, commit_after);
                }
            }
            Step::Abort(pick) => self.abort(pick),
            Step::Collect { above, page } => self.collect((self.stamp + 2).saturating_sub(above), page),
        }
    }

    /// Every read at every timestamp.
    fn check_reads(&self) {
        for at in (0..=self.stamp + 1).map(Some).chain([None]) {
            let header = RequestHeader { at: at.map(Timestamp), ..RequestHeader::default() };
            let too_old = at.is_some_and(|at| at < self.model.horizon);
            let until = at.unwrap_or(u64::MAX);
            let check = |wrong: Obstacle, writers: &BTreeSet<TransactionId>| match wrong {
                Obstacle::TooOld { horizon } => assert!(too_old && horizon.0 == self.model.horizon, "at {at:?}"),
                Obstacle::Blocked(by) => assert!(!too_old && writers.contains(&by.id), "at {at:?}: {by:?}"),
            };
            let mut all_writers = BTreeSet::new();
            for key in (0..KEYS).map(key) {
                let writers = self.model.writers(&key, until);
                match strata_shard::get(&self.view, &header, &key) {
                    Ok(item) => {
                        assert!(!too_old && writers.is_empty(), "SHARD-11, SHARD-7: {key:?} at {at:?}: {item:?}");
                        assert_eq!(item.map(|item| item.value), self.model.at(&key, until), "SHARD-6: {key:?} {at:?}");
                    }
                    Err(obstacle) => check(obstacle, &writers),
                }
                all_writers.extend(writers);
            }
            for limit in [1, 100] {
                match self.scan(&header, limit) {
                    Ok(items) => {
                        assert!(!too_old && all_writers.is_empty(), "SHARD-11, SHARD-7: scan at {at:?}");
                        assert_eq!(items, self.model.all_at(until), "SHARD-6: scan at {at:?}");
                    }
                    Err(obstacle) => check(obstacle, &all_writers),
                }
            }
        }
    }

    /// All pages.
    fn scan(&self, header: &RequestHeader, limit: u32) -> Result<BTreeMap<Bytes, Bytes>, Obstacle> {
        let (mut all, mut start) = (BTreeMap::new(), Bytes::new());
        loop {
            let reply = strata_shard::scan(&self.view, header, &start, None, limit, &|_| true)?;
            let Reply::Scan { items, resume, .. } = reply else { panic!("not a scan: {reply:?}") };
            all.extend(items.into_iter().map(|item| (item.key, item.value)));
            match resume {
                Some(next) => start = next,
                None => return Ok(all),
            }
        }
    }

    /// SHARD-12: what is counted is there, and nobody holds anything who is not prepared.
    fn check_rows(&self) {
        let count = |kind| self.view.0.keys().filter(|key| KeyKind::of(key) == Some(kind)).count() as u64;
        let state = strata_shard::shard_state(&self.view);
        let ranged = self.model.prepared.values().filter(|(part, _)| !part.ranges.is_empty()).count() as u64;
        assert_eq!((state.prepared, count(KeyKind::Participant)), (self.model.prepared.len() as u64, state.prepared));
        assert_eq!((state.ranged, count(KeyKind::RangeLocks)), (ranged, ranged));
        let held: BTreeSet<&SpaceKey> = self.model.prepared.values().flat_map(|(part, _)| keys_of(part)).collect();
        assert_eq!(count(KeyKind::Intent), held.len() as u64, "{held:?}");
        let unfinished = strata_shard::unfinished(&self.view, usize::MAX);
        let parts = unfinished.iter().filter(|one| matches!(one.state, UnfinishedState::Prepared { .. }));
        assert!(parts.map(|one| one.transaction.id).eq(self.model.prepared.keys().copied()));
    }
}

fn status(status: TransactionStatus) -> Reply {
    Reply::Transact(TransactionReply::Status(status))
}

fn is_committed(id: TransactionId) -> impl Fn(&Unfinished) -> bool {
    move |one| one.transaction.id == id && matches!(one.state, UnfinishedState::Committed { .. })
}

fn keys_of(part: &Part) -> impl Iterator<Item = &SpaceKey> {
    part.reads.iter().chain(part.writes.iter().map(|write| &write.key))
}
