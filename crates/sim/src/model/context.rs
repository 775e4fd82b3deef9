//! What actors can do: ask the counter, send commands and wait, read. An actor is a future that the schedule polls when
//! it chooses it; whatever has to wait gives the turn back.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use strata_codec::encode_command;
use strata_machine::View;
use strata_shard::Obstacle;
use strata_types::{
    Decision, Item, Operation, Reply, Request, RequestHeader, Slot, Timestamp, Transaction, TransactionCall,
    TransactionStatus,
};

use super::group::{ASTRAY, Answer, Noted, SEATS};
use super::history::{KEYS, NOTHING, Value};
use super::rows::WithoutIntents;
use super::rule::Rule;
use super::words::name_of;
use super::world::{Odd, World};

/// How many turns an actor waits for an answer before it does without.
const PATIENCE: u32 = 40;
/// How often it tries, so that every actor comes to an end.
const TRIES: u32 = 6;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Key(usize),
    /// All keys of a shard.
    Range(usize),
}

/// What a read has found: the values of all keys it was about.
pub(crate) type Values = [Value; KEYS];

/// Why a read has found nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRead {
    TooOld,
    GaveUp,
}

enum Looked {
    Values(Values),
    Obstacle(Obstacle),
}

/// What was sent, to be sent again.
pub(crate) struct Sent {
    pub(crate) what: &'static str,
    pub(crate) shard: usize,
    pub(crate) op: Option<usize>,
    pub(crate) command: Bytes,
    pub(crate) not_before: Timestamp,
    pub(crate) repeatable: bool,
}

/// An actor's hands.
#[derive(Clone)]
pub(crate) struct Context {
    world: Rc<RefCell<World>>,
}

impl Context {
    pub(crate) fn new(world: Rc<RefCell<World>>) -> Context {
        Context { world }
    }

    /// The world, for as long as nothing is waited for.
    pub(crate) fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    /// Gives the turn back.
    pub(crate) async fn pause(&self) {
        let mut was_polled = false;
        poll_fn(|_| if std::mem::replace(&mut was_polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Gives the turn back, or does not.
    pub(crate) async fn dawdle(&self) {
        let pauses = self.world().dice.chance(500);
        if pauses {
            self.pause().await;
        }
    }

    /// A timestamp from the counter. Who waits at the same time may get the same one.
    pub(crate) async fn begin(&self) -> Timestamp {
        let question = self.world().counter.ask();
        self.pause().await;
        let at = {
            let mut world = self.world();
            let world = &mut *world;
            let deposed = world.is_without(Rule::MetaConfirms) && world.dice.chance(500);
            let answered = world.counter.last_answer;
            let is_old = world.is_without(Rule::FreshQuestion) && answered > Timestamp(0) && world.dice.chance(300);
            let shared = |dice: &mut crate::dice::Dice| dice.chance(300);
            if is_old { answered } else { world.counter.answer(question, deposed, || shared(&mut world.dice)) }
        };
        self.dawdle().await;
        at
    }

    /// Waits for the answer to a call.
    pub(crate) async fn answer(&self, call: usize) -> Option<Answer> {
        for _ in 0..PATIENCE {
            if let Some(answer) = self.world().calls[call].answer {
                return Some(answer);
            }
            self.pause().await;
        }
        None
    }

    /// Sends a call of a transaction until it is answered, and clears what blocks it out of the way.
    pub(crate) async fn transact(
        &self,
        shard: usize,
        op: Option<usize>,
        call: &TransactionCall,
        not_before: Timestamp,
    ) -> Option<Answer> {
        let command = command_of(Operation::Transact(Box::new(call.clone())), Timestamp(0));
        let what = name_of(call);
        let sent = self.world().send(what, shard, op, command.clone(), not_before, true);
        self.follow(Sent { what, shard, op, command, not_before, repeatable: true }, sent).await
    }

    /// Waits for the answer to what was sent; if it is blocked, clears the way and sends it again. If it may be
    /// repeated, also when there is no answer.
    pub(crate) async fn follow(&self, sent: Sent, mut call: usize) -> Option<Answer> {
        let Sent { what, shard, op, command, not_before, repeatable } = sent;
        for _ in 0..TRIES {
            let answer = self.answer(call).await;
            match answer {
                Some(Answer::Blocked(by)) => {
                    self.clear(shard, &by).await;
                }
                None if repeatable => {}
                answer => return answer,
            }
            let mut world = self.world();
            let stamp = world.calls[call].stamp;
            call = world.send(what, shard, op, command.clone(), not_before, repeatable);
            if world.is_without(Rule::NewStamp) && answer.is_some() {
                world.make_odd(call, Odd::Old(stamp));
            }
        }
        None
    }

    /// Finds out what has become of a transaction that is in the way, and resolves it there.
    pub(crate) async fn clear(&self, shard: usize, by: &Transaction) {
        if let Some(status) = self.push(by).await
            && let TransactionStatus::Decided(decision) = status
        {
            self.resolve(shard, by, decision).await;
        }
    }

    /// What has become of a transaction. Without a record it may still be committed: it has a while, and is aborted then.
    pub(crate) async fn push(&self, by: &Transaction) -> Option<TransactionStatus> {
        let anchor = self.world().shard_of_slot(by.anchor);
        for _ in 0..TRIES {
            let waits = self.world().dice.chance(600);
            if waits && let Some(status) = self.status(anchor, by).await {
                if let TransactionStatus::Decided(_) = status {
                    return Some(status);
                }
                self.pause().await;
                continue;
            }
            let call = TransactionCall::Abort { transaction: *by };
            let op = (by.id.0 - 1) as usize;
            let command = command_of(Operation::Transact(Box::new(call)), Timestamp(0));
            let sent = self.world().send("abort", anchor, Some(op), command, Timestamp(0), true);
            if let Some(Answer::Status(status)) = self.answer(sent).await {
                return Some(status);
            }
        }
        None
    }

    /// What the record of a transaction says, by a latest read.
    pub(crate) async fn status(&self, anchor: usize, by: &Transaction) -> Option<TransactionStatus> {
        let seat = self.barrier(anchor, None).await?;
        let mut world = self.world();
        let status = strata_shard::status(world.groups[anchor].rows(seat), by.id);
        world.note(|| format!("shard {anchor}: the record of operation {} says {status:?}", by.id.0 - 1));
        Some(status)
    }

    /// Has a shard resolve a decided transaction.
    pub(crate) async fn resolve(&self, shard: usize, by: &Transaction, decision: Decision) -> bool {
        let slot = Slot::of_key(&self.world().keys[shard]);
        let at = match decision {
            Decision::Committed(at) => at,
            Decision::Aborted => Timestamp(0),
        };
        let call = TransactionCall::Resolve { transaction: *by, slot, decision };
        let command = command_of(Operation::Transact(Box::new(call)), Timestamp(0));
        for _ in 0..TRIES {
            let sent = self.send_resolve(shard, (by.id.0 - 1) as usize, command.clone(), at);
            if let Some(answer) = self.answer(sent).await {
                return answer == Answer::Done;
            }
        }
        false
    }

    fn send_resolve(&self, shard: usize, op: usize, command: Bytes, at: Timestamp) -> usize {
        let mut world = self.world();
        if !world.is_without(Rule::ResolveRaisesClock) {
            return world.send("resolve", shard, Some(op), command, at, true);
        }
        let sent = world.send("resolve", shard, Some(op), command, Timestamp(0), true);
        world.make_odd(sent, Odd::Unraised(at));
        sent
    }

    /// Reads at a timestamp, or what there is now; whatever is in the way is pushed and resolved.
    pub(crate) async fn read(
        &self,
        shard: usize,
        at: Option<Timestamp>,
        target: Target,
    ) -> Result<(Values, Timestamp), NotRead> {
        for _ in 0..TRIES {
            let Some(seat) = self.barrier(shard, at).await else { continue };
            let (looked, beneath, clock) = {
                let world = self.world();
                let rows = world.groups[shard].rows(seat);
                let beneath = world.is_without(Rule::ResolveThenRead);
                let beneath = beneath.then(|| look(&world, &WithoutIntents(rows), at, target));
                let clock = world.groups[shard].seats.get(seat).map_or(Timestamp(0), |seat| seat.clock);
                (look(&world, rows, at, target), beneath, clock)
            };
            match looked {
                Looked::Values(values) => return Ok((values, clock)),
                Looked::Obstacle(Obstacle::TooOld { .. }) => return Err(NotRead::TooOld),
                Looked::Obstacle(Obstacle::Blocked(by)) => {
                    self.pause().await;
                    if let Some(Looked::Values(values)) = beneath
                        && let Some(TransactionStatus::Unknown) = self.push_gently(&by).await
                    {
                        return Ok((values, clock));
                    }
                    self.clear(shard, &by).await;
                }
            }
        }
        Err(NotRead::GaveUp)
    }

    async fn push_gently(&self, by: &Transaction) -> Option<TransactionStatus> {
        let anchor = self.world().shard_of_slot(by.anchor);
        self.status(anchor, by).await
    }

    /// Waits until a replica of a shard may be read: on a leader, or on a follower that has asked one. With a
    /// timestamp, nothing is written at or below it any more when that is the case.
    async fn barrier(&self, shard: usize, at: Option<Timestamp>) -> Option<usize> {
        let noted = {
            let mut world = self.world();
            let seat = world.any_leader(shard);
            let without = world.without;
            let group = &mut world.groups[shard];
            match at {
                Some(_) if group.seats[seat].open_term().is_none() => None,
                Some(at) => Some(group.begin_read(seat, at, without)),
                None => group.seats[seat].leads.map(|term| Noted { seat, term, number: 0 }),
            }
        };
        let Some(noted) = noted else {
            self.pause().await;
            return None;
        };
        self.dawdle().await;
        let index = self.confirm(shard, noted)?;
        self.dawdle().await;
        if !self.catch_up(shard, noted, index).await {
            return None;
        }
        let follower = {
            let mut world = self.world();
            let seat = world.dice.between(0, SEATS as u64 * 2) as usize;
            (seat < SEATS && seat != noted.seat).then_some(seat)
        };
        match follower {
            Some(seat) => self.follower(shard, noted, seat).await,
            None => Some(noted.seat),
        }
    }

    /// A round of the leader: how far the log must be applied, if a majority still follows it.
    fn confirm(&self, shard: usize, noted: Noted) -> Option<usize> {
        let world = self.world();
        let (group, seat) = (&world.groups[shard], &world.groups[shard].seats[noted.seat]);
        let is_confirmed = group.term == noted.term && seat.leads == Some(noted.term);
        if !is_confirmed && !world.is_without(Rule::ReadConfirms) {
            return None;
        }
        Some(seat.known)
    }

    /// Waits until the leader has applied what it must have.
    async fn catch_up(&self, shard: usize, noted: Noted, index: usize) -> bool {
        for _ in 0..PATIENCE {
            {
                let mut world = self.world();
                while world.apply(shard, noted.seat) {}
                let (group, seat) = (&world.groups[shard], &world.groups[shard].seats[noted.seat]);
                if seat.leads != Some(noted.term) {
                    return false;
                }
                let is_settled = group.is_settled(noted.seat) || world.is_without(Rule::OwnTermFirst);
                let is_complete = seat.in_flight.iter().all(|number| *number > noted.number);
                if is_settled && is_complete && seat.applied >= index {
                    return true;
                }
            }
            self.pause().await;
        }
        false
    }

    /// A follower catches up with its leader, by log id.
    async fn follower(&self, shard: usize, noted: Noted, seat: usize) -> Option<usize> {
        let index = self.world().groups[shard].seats[noted.seat].applied;
        for _ in 0..PATIENCE {
            self.dawdle().await;
            {
                let mut world = self.world();
                if world.is_without(Rule::LogId) && world.goes_astray(shard, seat, index) {
                    return Some(ASTRAY);
                }
                while world.apply(shard, seat) {}
                if world.groups[shard].seats[seat].applied >= index {
                    return Some(seat);
                }
            }
            self.pause().await;
        }
        None
    }
}

/// The bytes of a command.
pub(crate) fn command_of(operation: Operation, seen: Timestamp) -> Bytes {
    let header = RequestHeader { seen, ..RequestHeader::default() };
    encode_command(&Request { header, operation }).expect("a valid command")
}

fn look(world: &World, rows: &dyn View, at: Option<Timestamp>, target: Target) -> Looked {
    let header = RequestHeader { at, ..RequestHeader::default() };
    let value = |item: &Item| item.value[0];
    let mut values = [NOTHING; KEYS];
    match target {
        Target::Key(key) => match strata_shard::get(rows, &header, &world.keys[key]) {
            Ok(item) => values[key] = item.as_ref().map_or(0, value),
            Err(obstacle) => return Looked::Obstacle(obstacle),
        },
        Target::Range(shard) => match strata_shard::scan(rows, &header, b"a", Some(b"z"), 100, &|_| true) {
            Ok(Reply::Scan { items, .. }) => {
                (0..KEYS).filter(|key| world.shard_of(*key) == shard).for_each(|key| values[key] = 0);
                items.iter().for_each(|item| values[world.key_of(&item.key)] = value(item));
            }
            Ok(reply) => panic!("not the answer to a scan: {reply:?}"),
            Err(obstacle) => return Looked::Obstacle(obstacle),
        },
    }
    Looked::Values(values)
}
