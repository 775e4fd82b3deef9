//! A cluster under load, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use strata_client::Client;

use super::super::peak::{Rate, rate};
use super::super::read_back::{read_back, refused_but_applied};
use super::effects::{Effects, Span};
use super::gaps::{Gap, Note};
use crate::args::MembershipArgs;
use crate::load::{Attempts, OpenLoop, Outcome};
use crate::procs::{Admin, Network, StrataCluster};
use crate::report::print_error;

/// Nodes that the cluster is founded with, and replicas of each shard.
pub(super) const NODES: usize = 3;
/// Size of a value that the load writes, and of one that a disk is filled with.
const VALUE_BYTES: usize = 64;
pub(super) const FILLED_BYTES: usize = 1_024;
/// The load is a part of what so many callers reach in a closed loop.
const PEAK_CALLERS: usize = 64;
/// The first key that is written after the peak was measured.
pub(super) const FIRST: u32 = 1_000_000;
/// The load is left alone for a second, then watched as it is when nothing happens, then left alone again.
const CALM: Duration = Duration::from_secs(1);
const NORMAL_SECONDS: u64 = 6;
/// Gaps longer than this are told of one by one, in microseconds.
const GAP_TOLD: u32 = 150_000;

/// A cluster that is about to be under load.
pub(super) struct Arena {
    pub(super) cluster: StrataCluster,
    pub(super) admin: Admin,
    pub(super) client: Client,
    pub(super) shards: u32,
    /// The first key of the load.
    pub(super) first: u32,
    /// Keys that were written before the load, with large values.
    pub(super) filled: Vec<u32>,
    rate: Rate,
}

/// The load of an arena.
pub(super) struct Load {
    pub(super) open: OpenLoop,
    normal: Span,
    /// The same when all is done.
    after: Option<Span>,
    /// What was done to the cluster, one after the other.
    pub(super) steps: Vec<Span>,
    /// The same in words.
    done: Vec<Note>,
}

/// What came of it.
pub(super) struct Story {
    pub(super) rate: Rate,
    pub(super) normal: Effects,
    /// When all was done, where that was watched.
    pub(super) after: Option<Effects>,
    pub(super) steps: Vec<Effects>,
    /// From the beginning of the first step to the end of the last.
    pub(super) whole: Effects,
    /// The longest gaps of the steps.
    pub(super) gaps: Vec<Gap>,
    pub(super) errors: BTreeMap<String, u64>,
    /// Acknowledged writes, and those of them that were not found again.
    pub(super) acked: usize,
    pub(super) lost: Vec<u32>,
    /// Refused writes that were found all the same.
    pub(super) applied: Vec<u32>,
}

impl Arena {
    /// Starts it, and measures its peak.
    pub(super) async fn start(args: &MembershipArgs, shards: u32) -> Result<Arena> {
        Arena::start_on(args, shards, None).await
    }

    /// The same on a network that can be cut, if there is one.
    pub(super) async fn start_on(args: &MembershipArgs, shards: u32, network: Option<Network>) -> Result<Arena> {
        let cluster = StrataCluster::start_on(&args.common, NODES, shards, network).await?;
        let rate = rate(&args.common, &cluster, PEAK_CALLERS, args.percent, args.rate, VALUE_BYTES).await?;
        let client = Client::connect(cluster.addresses()).await?;
        let admin = Admin::new(cluster.addresses());
        Ok(Arena { cluster, admin, client, shards, first: FIRST, filled: Vec::new(), rate })
    }

    /// Starts the load, and watches it while nothing happens.
    pub(super) async fn load(&self, args: &MembershipArgs) -> Load {
        print_error(&format!("membership: {} writes/s in an open loop", self.rate.rate));
        let open = OpenLoop::start_even(self.client.clone(), self.first, self.rate.rate, VALUE_BYTES);
        tokio::time::sleep(CALM).await;
        let normal = undisturbed(&open, args).await;
        Load { open, normal, after: None, steps: Vec::new(), done: Vec::new() }
    }

    /// Ends the load, reads everything back, and ends the cluster.
    pub(super) async fn conclude(mut self, load: Load) -> Result<Story> {
        let notes = load.notes();
        let written = load.open.stop().await;
        let events = &written.events;
        self.cluster.settled().await?;
        let of =
            |outcome: Outcome| events.iter().filter(move |event| event.outcome == outcome).map(|event| event.number);
        let (acked, refused): (Vec<u32>, Vec<u32>) = (of(Outcome::Acked).collect(), of(Outcome::Refused).collect());
        let count = acked.len() + self.filled.len();
        print_error(&format!("membership: reading {count} acknowledged writes back"));
        let mut lost = read_back(&self.client, acked, VALUE_BYTES).await?;
        lost.extend(read_back(&self.client, self.filled, FILLED_BYTES).await?);
        let applied = refused_but_applied(&self.client, refused).await?;
        self.cluster.stop().await?;

        let during = |span| Effects::during(span, events, self.shards);
        let whole = match (load.steps.first(), load.steps.last()) {
            (Some(first), Some(last)) => Some(Span { from: first.from, to: last.to }),
            _ => None,
        };
        Ok(Story {
            // Also those between the steps, where what was done is undone.
            gaps: Gap::find(whole.as_slice(), events, GAP_TOLD, &notes),
            rate: self.rate,
            normal: during(load.normal),
            after: load.after.map(during),
            steps: load.steps.iter().map(|&span| during(span)).collect(),
            whole: whole.map(during).unwrap_or_default(),
            acked: count,
            errors: written.errors,
            lost,
            applied,
        })
    }
}

/// A while in which nothing is done to the cluster. What was due until then is answered before anything is.
async fn undisturbed(open: &OpenLoop, args: &MembershipArgs) -> Span {
    let from = open.now();
    tokio::time::sleep(args.common.span(NORMAL_SECONDS)).await;
    let span = Span { from, to: open.now() };
    tokio::time::sleep(CALM).await;
    span
}

impl Load {
    /// Microseconds since it began.
    pub(super) fn now(&self) -> u32 {
        self.open.now()
    }

    /// Says what was just done to the cluster.
    pub(super) fn note(&mut self, text: String) {
        self.done.push(Note { at: self.now(), shard: None, text });
    }

    /// All that was done, and all that attempts ran into, in order.
    fn notes(&self) -> Vec<Note> {
        let told = self.open.told(Attempts::listen()).into_iter();
        let told = told.map(|(at, told)| Note { at, shard: told.shard, text: told.text });
        let mut notes: Vec<Note> = self.done.iter().cloned().chain(told).collect();
        notes.sort_by_key(|note| note.at);
        notes
    }

    /// Watches it once more while nothing happens: the cluster may be another one now.
    pub(super) async fn watch_after(&mut self, args: &MembershipArgs) {
        tokio::time::sleep(CALM).await;
        self.after = Some(undisturbed(&self.open, args).await);
    }

    /// Notes a step that ends now.
    pub(super) fn step(&mut self, from: u32) {
        self.steps.push(Span { from, to: self.now() });
    }
}
