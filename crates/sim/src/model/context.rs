//! What actors can do: send commands and wait for what becomes of them. An actor is a future that the schedule polls when
//! it chooses it; whatever has to wait gives the turn back.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use strata_codec::encode_command;
use strata_types::{
    Decision, Operation, Reach, Request, RequestHeader, Slot, Timestamp, Transaction, TransactionCall,
    TransactionStatus,
};

use super::group::{Answer, Order};
use super::rule::Rule;
use super::words::name_of;
use super::world::{Odd, World};

/// How many turns an actor waits for an answer before it does without.
const PATIENCE: u32 = 40;
/// How often it tries, so that every actor comes to an end.
const TRIES: u32 = 6;

/// What was sent, to be sent again.
pub(crate) struct Sent {
    pub(crate) what: &'static str,
    pub(crate) shard: usize,
    pub(crate) op: Option<usize>,
    pub(crate) order: Order,
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
        let order = order_of(Operation::Transact(Box::new(call.clone())), Timestamp(0));
        let what = name_of(call);
        let sent = self.world().send(what, shard, op, order.clone(), not_before, true);
        self.follow(Sent { what, shard, op, order, not_before, repeatable: true }, sent).await
    }

    /// Waits for the answer to what was sent; if it is blocked, clears the way and sends it again. If it may be
    /// repeated, also when there is no answer.
    pub(crate) async fn follow(&self, sent: Sent, mut call: usize) -> Option<Answer> {
        let Sent { what, shard, op, order, not_before, repeatable } = sent;
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
            call = world.send(what, shard, op, order.clone(), not_before, repeatable);
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
            let order = order_of(Operation::Transact(Box::new(call)), Timestamp(0));
            let sent = self.world().send("abort", anchor, Some(op), order, Timestamp(0), true);
            match self.answer(sent).await {
                // Somebody met what it left: it is not committed, or its record would be kept.
                Some(Answer::Status(TransactionStatus::Unknown)) => {
                    return Some(TransactionStatus::Decided(Decision::Aborted));
                }
                Some(Answer::Status(status)) => return Some(status),
                _ => {}
            }
        }
        None
    }

    /// What the record of a transaction says, by a latest read.
    pub(crate) async fn status(&self, anchor: usize, by: &Transaction) -> Option<TransactionStatus> {
        let seat = self.barrier(anchor, None, Reach::ALL, None).await?;
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
        let order = order_of(Operation::Transact(Box::new(call)), Timestamp(0));
        for _ in 0..TRIES {
            let sent = self.send_resolve(shard, (by.id.0 - 1) as usize, order.clone(), at);
            if let Some(answer) = self.answer(sent).await {
                return answer == Answer::Done;
            }
        }
        false
    }

    fn send_resolve(&self, shard: usize, op: usize, order: Order, at: Timestamp) -> usize {
        let mut world = self.world();
        if !world.is_without(Rule::ResolveRaisesClock) {
            return world.send("resolve", shard, Some(op), order, at, true);
        }
        let sent = world.send("resolve", shard, Some(op), order, Timestamp(0), true);
        world.make_odd(sent, Odd::Unraised(at));
        sent
    }
}

/// An operation as a leader gets it.
pub(crate) fn order_of(operation: Operation, seen: Timestamp) -> Order {
    let reach = Reach::of(&operation);
    let header = RequestHeader { seen, ..RequestHeader::default() };
    let command = encode_command(&Request { header, operation }).expect("a valid command");
    Order { command, reach }
}
