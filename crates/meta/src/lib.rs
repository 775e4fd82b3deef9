//! The cluster machine: which nodes there are, which shards, and which node holds which replica.
//!
//! # Problem
//! All nodes must agree on the shard map, and an id that was given out must never be given out again. So that state
//! is itself replicated: by group 0, an ordinary Raft group on up to five nodes, whose machine is this crate.
//!
//! # Model
//! ```text
//!   MetaCommand --encode--> log of group 0 --apply--> MetaMachine --writes--> rows of the meta tablet
//!                                              |                               head         one
//!                                          MetaReply                           node <id>    one each
//!                                                                              shard <id>   one each
//!                                                                              time         one
//!   load_map(view) / read_map(reader) <------------------------------------------+
//! ```
//! The shard map is kept in rows. The head row holds the cluster id, the epoch, the replicas of the meta group and the
//! next free ids; every other row is found by counting up to those, so reading needs single-row gets only. A command is
//! a function of all rows in memory; what it changed is found by comparison, and only that is written.
//!
//! # Path of the founding
//! 1. The founder has collected the nodes and chosen the replicas of the meta group; group 0 elects a leader.
//! 2. [`MetaCommand::Found`] is proposed, by anybody and as often as needed: the second one changes nothing.
//! 3. The machine cuts the slots into shards and asks [`place`] for the nodes of each: a consistent-hash ring of
//!    virtual nodes, evened out. **Only the machine evaluates the ring**; what it decided is stored, and nobody
//!    computes a placement again to find a shard.
//! 4. It numbers the replicas and writes the rows; the map has epoch 1.
//!
//! # Path of a replica that moves
//! ```text
//!   meta machine                      leader of the group                    nodes
//!   Plan, Move, Rebuild:
//!   change {add, remove}  --map-->    the new replica is a learner  ------>  opens it, empty; it catches up
//!   decided in its term   <---------  DecideChange
//!                         --reply-->  one joint change of the members
//!   replicas, generation  <---------  FinishChange
//!   leaving               --map----------------------------------------->    deletes the removed replica's files
//!   forgotten             <-----------------------------------------------   ReplicaDeleted
//! ```
//! - Everything that anybody needs to go on after a crash is in the map, and each step can be repeated: the second time
//!   it changes nothing, or is refused with [`MetaRefusal::StaleChange`], which means that it is done.
//! - A change can be cancelled; then the leader takes the learner out and proposes `AbandonChange`, unless the members
//!   have begun to change: then it goes on.
//! - Why decide at all: a leader that was deposed may have sent an `AbandonChange` that arrives late, when its successor
//!   has changed the members already. Each leader therefore has the change decided in its term before it begins, and the
//!   machine refuses what comes from earlier terms.
//! - The leader brings the members in line with the map: voters are `replicas`, learners are what a change adds; any
//!   other learner is taken out. Only while a change is decided may voters be those of after it.
//! - Members found a group only while nothing of it is there: `GroupPlacement::founder`.
//!
//! # Nodes
//! A data directory is an instance, and an instance is one node for ever. `Join` is what every node proposes when it
//! starts. What is wished of a node is its [`strata_types::NodeState`]; what follows for replicas is planned by `Plan`,
//! which the leader of the meta group proposes from time to time when [`plan`] says that there is something to do.
//! Preferred leaders are evened out by number at once whenever members or nodes change. Among leaders that are even by
//! number, [`spread`] says which should be exchanged so that they are even by load; who measures the loads proposes it, one
//! `PreferLeader` each.
//!
//! Which nodes have no room is nothing that the machine remembers: disks fill up and are emptied. Who proposes a plan
//! knows it from what the nodes say, and names them in `PlanAround`. Such a plan starts nothing that would come to one
//! of them, and moves nothing off them. What was on its way to one may wait there or get on. [`held_up()`] says which
//! of it another node could take; who proposes sees what does not get on, and has that cancelled. Where nobody has room,
//! it waits, and [`stranded()`] says so.
//!
//! # Timestamps
//! The leader of the meta group hands out timestamps from blocks that it reserves by `ReserveTimestamps`; the row `time`
//! holds the last one that was reserved. It is no part of the map, and does not raise the epoch.
//!
//! # Invariants
//! - META-1: ids of nodes, shards, replicas and changes are given out once; the next free ones only rise.
//! - META-2: the epoch rises with every change of the map and with nothing else.
//! - META-3: every stored map is valid: slots covered once, replicas of a group on distinct nodes, changes possible.
//! - META-4: placement and planning are pure functions of their arguments, the same on every platform and in every
//!   version: they are evaluated inside apply.
//! - META-5: a command that cannot be carried out changes nothing and answers with a [`MetaRefusal`].
//! - META-6: a group has one change under way at most, and its members differ from those before only by a change that
//!   was decided and then finished.
//! - META-7: a change is started only in a group that has a majority on nodes that were not given up, and only if it has
//!   one afterwards.
//! - META-8: a replica that left its group is known until its files are deleted or its node can never come back.
//! - META-9: when nothing else happens, planning and finishing come to an end, and planning again starts nothing; also
//!   while some nodes have no room.
//! - META-10: a timestamp is reserved once, and what is reserved later is higher.
//! - META-11: a plan starts no change to a node that it names as full, and moves no replica off it for that reason.
//!
//! # What it does not do
//! It has no clock: who is dead for how long, who is full, and how often to plan, is decided by those who propose. It
//! does not know how much data a shard has, nor how busy it is: replicas count alike.

mod board;
mod budget;
mod changes;
mod command;
mod command_wire;
mod fields;
mod founding;
mod imbalance;
mod leaders;
mod machine;
mod map_wire;
mod nodes;
mod placement;
mod planner;
mod preferred;
mod preview;
mod refusal;
mod reply;
mod ring;
mod rows;
mod shares;
mod spread;
mod state;
mod stranded;
mod survey;
mod timestamps;

pub use command::{Joiner, MetaCommand};
pub use imbalance::Imbalance;
pub use machine::MetaMachine;
pub use map_wire::{decode_map, encode_map};
pub use placement::{PlacementError, PlacementNode, place};
pub use planner::{Plan, PlanLimits, PlannedChange, plan, plan_around};
pub use preview::preview;
pub use refusal::MetaRefusal;
pub use reply::MetaReply;
pub use rows::{ReadMapError, RowReader, load_map, read_map};
pub use spread::{LeaderWish, spread};
pub use stranded::{held_up, stranded};
pub use timestamps::{TIMESTAMPS_MAX, read_timestamp_bound};

use strata_types::limits::SHARDS_MAX;

/// Fewest shards of a cluster: so that even a small one spreads its leaders over its nodes.
const SHARDS_MIN: u32 = 4;

/// How many shards a cluster gets that was not told: the power of two that is at least twice the cores of all nodes,
/// so that every core has work, within the limits.
pub fn default_shard_count(cores: u32) -> u32 {
    cores.saturating_mul(2).clamp(SHARDS_MIN, SHARDS_MAX).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_counts_are_powers_of_two_within_limits() {
        let counts = [0, 1, 2, 3, 8, 9, 127, 128, 129, u32::MAX].map(default_shard_count);
        assert_eq!(counts, [4, 4, 4, 8, 16, 32, 256, 256, 256, 256]);
    }
}
