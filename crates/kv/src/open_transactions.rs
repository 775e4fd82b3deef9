//! The transactions that shards have something of, for people.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_net::{Handler, Lane, MessageKind, Replier};
use strata_shard::{Unfinished, UnfinishedState};
use strata_types::{GroupId, NodeId, ShardId, Slot, Timestamp, Transaction, TransactionId};

use crate::LocalShards;
use crate::reads::with_snapshot;
use crate::tidying::led;

/// Most transactions of one shard that are told.
const TOLD_MAX: usize = 1_000;
/// Least bytes of one.
const BYTES_MIN: usize = 16 + 2 + 8 + 8 + 1 + 4 + 8 + 4 + 1;

/// How far a transaction is on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPhase {
    /// It has locks in the leader's memory.
    Active,
    /// The shard has its part.
    Prepared,
    /// It is committed, and not resolved everywhere.
    Committed,
    /// It waits for a lock.
    Waiting,
}

impl OpenPhase {
    /// By their numbers between nodes. 2 was a record that is not decided.
    const ALL: [Option<OpenPhase>; 5] = [
        Some(OpenPhase::Active),
        Some(OpenPhase::Prepared),
        None,
        Some(OpenPhase::Committed),
        Some(OpenPhase::Waiting),
    ];
}

/// A transaction on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Which one.
    pub transaction: Transaction,
    /// How far it is there.
    pub phase: OpenPhase,
    /// The shard.
    pub shard: ShardId,
    /// How long its leader has known it, as far as it looks.
    pub elapsed: Duration,
    /// How many locks it has there.
    pub locks: u32,
    /// Who has what it waits for.
    pub waits_for: Option<TransactionId>,
}

impl LocalShards {
    /// What the shards that this node leads have of transactions.
    pub async fn open_transactions(&self) -> Vec<OpenTransaction> {
        let mut open = Vec::new();
        for (shard, _, group) in led(self) {
            let tablet = group.tablet();
            let found = with_snapshot(self.node().env(), tablet, |view| strata_shard::unfinished(view, TOLD_MAX)).await;
            for Unfinished { transaction, state } in found.unwrap_or_default() {
                let phase = match state {
                    UnfinishedState::Prepared { .. } => OpenPhase::Prepared,
                    UnfinishedState::Committed { .. } => OpenPhase::Committed,
                };
                let elapsed = self.unfinished_for(shard, transaction.id);
                open.push(OpenTransaction { transaction, phase, shard, elapsed, locks: 0, waits_for: None });
            }
            open.extend(self.steps().open(shard, self.node()));
        }
        open
    }

    /// The same of all nodes, each with its node, and a sentence for each that did not answer.
    pub async fn all_open_transactions(&self, deadline: Duration) -> (Vec<(NodeId, OpenTransaction)>, Vec<String>) {
        let node = self.node();
        let own = node.identity().node;
        let others: Vec<NodeId> = node.map().nodes.iter().map(|node| node.id).filter(|id| *id != own).collect();
        let ask = |to: NodeId| async move {
            let (lane, kind) = (Lane::Control, MessageKind::Transactions);
            let answer = node.caller().call(to, lane, GroupId::META, kind, Bytes::new(), deadline).await;
            let answer = answer.map_err(|error| error.to_string())?;
            decode(answer).map(|open| (to, open)).map_err(|error| error.to_string())
        };
        let answers = futures_util::future::join_all(others.iter().map(|to| ask(*to))).await;
        let mut open: Vec<_> = self.open_transactions().await.into_iter().map(|open| (own, open)).collect();
        let mut problems = Vec::new();
        for (to, answer) in others.into_iter().zip(answers) {
            match answer {
                Ok((to, theirs)) => open.extend(theirs.into_iter().map(|open| (to, open))),
                Err(detail) => problems.push(format!("{to} did not tell of its shards ({detail})")),
            }
        }
        open.sort_by_key(|(_, open)| (open.transaction.age, open.transaction.id, open.shard));
        (open, problems)
    }
}

/// Answers other nodes.
pub(crate) struct Teller(pub(crate) Arc<LocalShards>);

impl Handler for Teller {
    fn handle(&self, _from: NodeId, _group: GroupId, _body: Bytes, replier: Replier) {
        let local = self.0.clone();
        self.0.node().env().spawn("kv-transactions", async move {
            replier.reply(Ok(encode(&local.open_transactions().await)));
        });
    }
}

/// A wire format, not a persisted one: count u32, then each: id u128, anchor u16, read timestamp u64, age u64, phase u8,
/// shard u32, elapsed u64 in milliseconds, locks u32, waits for u8 [u128].
fn encode(open: &[OpenTransaction]) -> Bytes {
    let mut output = Encoder::with_capacity(4 + open.len() * (BYTES_MIN + 16));
    output.u32(u32::try_from(open.len()).expect("far fewer than 2^32 are told"));
    for open in open {
        let Transaction { id, anchor, read_timestamp, age } = open.transaction;
        output.raw(&id.0.to_be_bytes()).u16(anchor.number()).u64(read_timestamp.0).u64(age.0);
        let phase = OpenPhase::ALL.iter().position(|phase| *phase == Some(open.phase)).unwrap_or_default();
        output.u8(u8::try_from(phase).unwrap_or_default()).u32(open.shard.0);
        output.u64(open.elapsed.as_millis() as u64).u32(open.locks);
        match open.waits_for {
            Some(other) => output.u8(1).raw(&other.0.to_be_bytes()),
            None => output.u8(0),
        };
    }
    output.finish()
}

fn decode(answer: Bytes) -> Result<Vec<OpenTransaction>, DecodeError> {
    let mut input = Decoder::new(answer);
    let count = input.count(BYTES_MIN, "open transactions")?;
    let open = (0..count).map(|_| decode_one(&mut input)).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok(open)
}

fn decode_one(input: &mut Decoder) -> Result<OpenTransaction, DecodeError> {
    let id = take_id(input)?;
    let number = input.u16("anchor")?;
    let anchor = Slot::new(number).ok_or(DecodeError::BadValue { field: "anchor", value: number.into() })?;
    let (read_timestamp, age) = (Timestamp(input.u64("read timestamp")?), Timestamp(input.u64("age")?));
    let phase = input.u8("phase")?;
    let phase = OpenPhase::ALL.get(usize::from(phase)).copied().flatten();
    let phase = phase.ok_or(DecodeError::BadValue { field: "phase", value: 0 })?;
    let shard = ShardId(input.u32("shard")?);
    let elapsed = Duration::from_millis(input.u64("elapsed")?);
    let locks = input.u32("locks")?;
    let waits_for = if input.u8("waits for")? != 0 { Some(take_id(input)?) } else { None };
    let transaction = Transaction { id, anchor, read_timestamp, age };
    Ok(OpenTransaction { transaction, phase, shard, elapsed, locks, waits_for })
}

fn take_id(input: &mut Decoder) -> Result<TransactionId, DecodeError> {
    let (high, low) = (input.u64("transaction id")?, input.u64("transaction id")?);
    Ok(TransactionId(u128::from(high) << 64 | u128::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    strata_codec::fuzz_targets!();

    #[test]
    fn what_is_told_arrives_and_damage_is_an_error_or_something_else() {
        let anchor = Slot::new(700).expect("a slot");
        let id = |number: u128| TransactionId(number << 100 | number);
        let transaction = Transaction { id: id(5), anchor, read_timestamp: Timestamp(8), age: Timestamp(3) };
        let open = |phase, waits_for| OpenTransaction {
            transaction,
            phase,
            shard: ShardId(2),
            elapsed: Duration::from_millis(1_500),
            locks: 3,
            waits_for,
        };
        let all = [open(OpenPhase::Waiting, Some(id(9))), open(OpenPhase::Committed, None)];
        assert_eq!(decode(encode(&all)), Ok(all.to_vec()));
        each(&[encode(&all)], |bytes| drop(decode(bytes)));
    }
}
