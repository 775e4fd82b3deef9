//! Timestamps rise whatever happens to the meta group, and never because of a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use strata_cluster::{Node, NodeSettings, TimeError, TimeLimits};
use strata_env::sim::{SimRng, SimWorld};
use strata_meta::{MetaCommand, MetaReply};
use strata_types::{ClusterVersion, GroupId, NodeId, Reach, Term, Timestamp, VersionRange};
use tokio::time::{Instant, sleep};

use crate::hub::{Hub, Machine, settings};
use crate::life::ADDRESSES;
use crate::town::Town;

/// How long a question may take.
const WAIT: Duration = Duration::from_secs(5);

async fn begin(node: &Node) -> Timestamp {
    node.timestamps().begin(WAIT).await.expect("a majority is there")
}

fn millis(rng: &SimRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + rng.below(to - from))
}

/// What was answered, and to whom; checks each answer.
#[derive(Default)]
struct Ledger {
    begun: BTreeMap<Timestamp, NodeId>,
    /// The highest of all answers.
    answered: Timestamp,
    answers: Vec<(NodeId, bool, Timestamp)>,
    failures: usize,
}

impl Ledger {
    fn last_begun(&self) -> Timestamp {
        self.begun.last_key_value().map(|(at, _)| *at).unwrap_or_default()
    }
}

/// Asks once, and checks the answer against all that were given before the question.
async fn ask(node: &Node, ledger: &Mutex<Ledger>, is_begin: bool) {
    let id = node.identity().node;
    let (answered, begun) = {
        let ledger = ledger.lock();
        (ledger.answered, ledger.last_begun())
    };
    let timestamps = node.timestamps();
    let answer = if is_begin { timestamps.begin(WAIT).await } else { timestamps.floor(WAIT).await };
    let mut ledger = ledger.lock();
    let Ok(at) = answer else {
        ledger.failures += 1;
        return;
    };
    if is_begin {
        assert!(at > answered, "TIME-1: {id} began {at} after {answered} was answered");
        let other = ledger.begun.insert(at, id);
        assert!(other.is_none_or(|other| other == id), "TIME-1: {id} and {other:?} began {at}");
    } else {
        assert!(at >= begun, "TIME-2: the floor of {id} is {at} after {begun} was begun");
    }
    assert!(timestamps.known() >= at);
    ledger.answered = ledger.answered.max(at);
    ledger.answers.push((id, is_begin, at));
}

/// Asks on all nodes that run, for as long as `meanwhile` takes.
async fn asking(town: &Town, rng: &SimRng, meanwhile: impl Future<Output = ()>) -> Ledger {
    let (ledger, is_over) = (Arc::new(Mutex::new(Ledger::default())), AtomicBool::new(false));
    let asker = |number: u64| {
        let (ledger, is_over, rng) = (ledger.clone(), &is_over, rng.fork(number));
        async move {
            while !is_over.load(Ordering::Acquire) {
                sleep(millis(&rng, 1, 60)).await;
                let nodes = town.nodes();
                let node = nodes.iter().find(|node| node.identity().node.0 == number % 3 + 1);
                if let Some(node) = node {
                    ask(node, &ledger, rng.below(3) > 0).await;
                }
            }
        }
    };
    let askers = join_all((0..9).map(asker));
    let meanwhile = async {
        meanwhile.await;
        is_over.store(true, Ordering::Release);
    };
    tokio::join!(askers, meanwhile);
    std::mem::take(&mut *ledger.lock())
}

/// Some worlds.
fn seeds(first: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| first + 100 * number)
}

async fn meta_leader(town: &Town) -> u64 {
    town.until("a leader of the meta group", |town| town.leader(GroupId::META).is_some()).await;
    town.leader(GroupId::META).expect("just now").0
}

/// TIME-1, TIME-2
#[tokio::test(start_paused = true)]
async fn timestamps_rise_while_leaders_of_the_meta_group_die() {
    for seed in seeds(61, 2) {
        leaders_die(seed).await;
    }
}

async fn leaders_die(seed: u64) {
    let town = Town::found(seed).await;
    let rng = SimRng::new(seed);
    let kills = async {
        for _ in 0..10 {
            sleep(millis(&rng, 200, 2_500)).await;
            let leader = meta_leader(&town).await;
            town.kill(leader);
            sleep(millis(&rng, 1, 4_000)).await;
            town.start(leader).await;
        }
    };
    let ledger = asking(&town, &rng, Box::pin(kills)).await;
    assert!(ledger.begun.len() > 500, "{} timestamps were begun, {} times none", ledger.begun.len(), ledger.failures);
    let blocks: BTreeSet<u64> = ledger.begun.keys().map(|at| at.0 / 100_000).collect();
    assert!(blocks.len() > 5, "each new leader has blocks of its own: {blocks:?}");
    // All of them at once.
    (1..=3).for_each(|node| town.kill(node));
    join_all((1..=3).map(|node| town.start(node))).await;
    let (floor, at) = (town.any().timestamps().floor(WAIT).await, begin(&town.any()).await);
    assert!(floor.is_ok_and(|floor| floor >= ledger.answered && at > floor), "{:?} {at}", ledger.answered);
    (1..=3).for_each(|node| town.kill(node));
}

/// TIME-1, TIME-2: nobody dies, but leadership goes round, also back to who still has a block in memory.
#[tokio::test(start_paused = true)]
async fn timestamps_rise_while_the_meta_group_changes_its_leader() {
    for seed in seeds(62, 4) {
        leadership_goes_round(seed).await;
    }
}

async fn leadership_goes_round(seed: u64) {
    let town = Town::found(seed).await;
    let rng = SimRng::new(seed);
    let moves = async {
        for _ in 0..25 {
            sleep(millis(&rng, 20, 400)).await;
            meta_leader(&town).await;
            let (_, group) = town.leader(GroupId::META).expect("just now");
            if let Some(to) = group.best_successor() {
                group.transfer_leader(to, Duration::from_secs(1)).await;
            }
        }
    };
    let ledger = asking(&town, &rng, Box::pin(moves)).await;
    let blocks: BTreeSet<u64> = ledger.begun.keys().map(|at| at.0 / 100_000).collect();
    assert!(blocks.len() > 10 && ledger.begun.len() > 300, "{} in {blocks:?}", ledger.begun.len());
    (1..=3).for_each(|node| town.kill(node));
}

/// TIME-3
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_answers_nothing_and_says_why() {
    let town = Town::found(63).await;
    let deposed = meta_leader(&town).await;
    let cut_off = town.node(deposed);
    let before = begin(&cut_off).await;
    town.machine(deposed).cut_off();
    // It is still the leader as far as it knows.
    let (asked, deadline) = (Instant::now(), Duration::from_secs(2));
    let refused = cut_off.timestamps().begin(deadline).await;
    assert_eq!(asked.elapsed(), deadline, "no longer than it was told to");
    let Err(TimeError::NoAnswer { detail }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("no majority of the meta group answers its leader"), "{detail}");
    let others: Vec<_> = town.nodes().into_iter().filter(|node| node.identity().node.0 != deposed).collect();
    let mut last = before;
    for node in others.iter().cycle().take(8) {
        let at = node.timestamps().begin(Duration::from_secs(20)).await.expect("two of three are there");
        assert!(at > last);
        last = at;
    }
    assert!(cut_off.timestamps().floor(Duration::from_secs(1)).await.is_err());
    let waits = cut_off.timestamps().begin(Duration::from_secs(20));
    let heal = async { town.machine(deposed).heal() };
    let (late, ()) = tokio::join!(waits, heal);
    assert!(late.as_ref().is_ok_and(|late| *late > last), "{late:?} after {last}");
}

/// One run with one seed: what everybody was answered.
fn answers(jumps: bool) -> Vec<(NodeId, bool, Timestamp)> {
    const YEAR: i64 = 365 * 24 * 3_600 * 1_000;
    // The scheduler makes choices, too.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(b"a year"))
        .build();
    runtime.expect("a runtime").block_on(async {
        let town = Town::found(64).await;
        let (rng, days) = (SimRng::new(64), SimRng::new(65));
        let faults = async {
            for round in 0..20 {
                sleep(millis(&rng, 100, 500)).await;
                let machine = town.machine(1 + days.below(3));
                let offset = if days.coin() { YEAR } else { -YEAR };
                if jumps {
                    machine.sim.set_clock_offset(offset);
                }
                if round % 7 == 3 {
                    let leader = meta_leader(&town).await;
                    town.kill(leader);
                    town.start(leader).await;
                }
            }
        };
        asking(&town, &rng, Box::pin(faults)).await.answers
    })
}

/// TIME-5
#[test]
fn clocks_that_jump_a_year_change_no_answer() {
    let answers = [false, true].map(answers);
    assert!(answers[0].len() > 300, "{}", answers[0].len());
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_shares_the_next_question_and_never_one_that_was_sent() {
    let town = Town::found(66).await;
    let leader = meta_leader(&town).await;
    let (here, there) = (town.node(leader % 3 + 1), town.node((leader + 1) % 3 + 1));
    begin(&here).await;
    // The leader has answered a question of this node, but nothing arrives.
    town.machine(here.identity().node.0).hold();
    let first = {
        let here = here.clone();
        tokio::spawn(async move { begin(&here).await })
    };
    sleep(Duration::from_millis(5)).await;
    let elsewhere = begin(&there).await;
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let here = here.clone();
            tokio::spawn(async move { begin(&here).await })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    town.machine(here.identity().node.0).heal();
    let first = first.await.expect("an answer");
    let shared: BTreeSet<Timestamp> = join_all(waiters).await.into_iter().map(|at| at.expect("an answer")).collect();
    assert!(first < elsewhere, "it was answered before the other node asked");
    assert_eq!(shared, BTreeSet::from([elsewhere.next()]), "one question for all of them, asked after they came");
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_there_is_a_reason_within_the_deadline() {
    let town = Town::found(67).await;
    let leader = meta_leader(&town).await;
    let stays = leader % 3 + 1;
    (1..=3).filter(|node| *node != stays).for_each(|node| town.kill(node));
    for deadline in [1, 3].map(Duration::from_secs) {
        let asked = Instant::now();
        let error = town.node(stays).timestamps().floor(deadline).await.expect_err("nobody can answer");
        assert!(asked.elapsed() <= deadline + Duration::from_millis(1), "{:?}", asked.elapsed());
        assert!(error.to_string().contains("no majority of the meta group"), "{error}");
    }
    let error = town.node(stays).timestamps().floor(WAIT).await.expect_err("nobody can answer").to_string();
    assert!(error.contains(&format!("n{stays}: ")) && error.contains(&format!("n{leader}: ")), "{error}");
    // It stops while somebody waits.
    let (stopping, waiting) = (town.node(stays), town.node(stays));
    let (waited, ()) = tokio::join!(waiting.timestamps().begin(WAIT * 10), stopping.shutdown());
    assert_eq!(waited, Err(TimeError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_was_handed_was_seen_by_nobody() {
    let town = Town::found(68).await;
    let (here, there) = (town.node(1), town.node(2));
    let known = begin(&here).await;
    let check = |seen: Timestamp| {
        let here = here.clone();
        async move { here.check_handed_out(seen, WAIT).await }
    };
    assert_eq!(check(known).await, Ok(()));
    let (named, last) = (known.next(), known);
    assert_eq!(check(named).await, Err(TimeError::Future { named, last }));
    assert!(matches!(check(Timestamp(u64::MAX)).await, Err(TimeError::Future { .. })));
    // What was handed out elsewhere is no lie here.
    let news = begin(&there).await;
    assert_eq!(check(news).await, Ok(()));
}

fn horizons(town: &Town) -> Vec<Timestamp> {
    town.nodes().iter().map(|node| node.timestamps().horizon()).collect()
}

/// Begins a timestamp a second, and checks that no horizon falls (TIME-6).
async fn pass(town: &Town, seconds: u32) {
    for _ in 0..seconds {
        let before = horizons(town);
        begin(&town.any()).await;
        sleep(Duration::from_secs(1)).await;
        assert!(before.iter().zip(horizons(town)).all(|(before, after)| *before <= after), "TIME-6: {before:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_horizon_follows_what_is_handed_out_and_waits_for_who_reads() {
    let town = Town::found(69).await;
    let limits = TimeLimits { retention: Duration::from_secs(20), age_max: Duration::from_secs(60) };
    town.nodes().iter().for_each(|node| node.timestamps().set_limits(limits));
    pass(&town, 15).await;
    assert_eq!(horizons(&town), [Timestamp(0); 3], "nothing is old enough");
    let reader = town.node(meta_leader(&town).await % 3 + 1);
    let guard = reader.timestamps().register(begin(&reader).await);
    let shortly_before = Timestamp(guard.at().0 - 5);
    pass(&town, 40).await;
    let held = horizons(&town);
    assert_eq!(held, [guard.at(); 3], "it rises up to who reads, and no further");
    assert!(held[0] > shortly_before);
    drop(guard);
    pass(&town, 3).await;
    let free = horizons(&town);
    assert!(free.iter().all(|horizon| *horizon > held[0]), "{free:?}");
    // A reader that was forgotten holds it for a while only.
    let forgotten = reader.timestamps().register(begin(&reader).await);
    pass(&town, 50).await;
    assert_eq!(horizons(&town), [forgotten.at(); 3]);
    pass(&town, 15).await;
    assert!(horizons(&town).iter().all(|horizon| *horizon > forgotten.at()), "{:?}", horizons(&town));
    // A new leader holds it until it has waited itself.
    town.kill(meta_leader(&town).await);
    let before = horizons(&town);
    pass(&town, 15).await;
    assert_eq!(horizons(&town), before);
    pass(&town, 15).await;
    assert!(horizons(&town).iter().zip(before).all(|(after, before)| *after > before));
}

/// The leaders of all shards, if all have one: the node, the term, and the clock if it is open.
fn shard_leaders(town: &Town) -> Option<Vec<(u64, Term, Option<Timestamp>)>> {
    let map = town.map();
    let leaders = map.shards.iter().map(|shard| town.leader(GroupId::of_shard(shard.shard)));
    leaders.map(|led| led.map(|(node, group)| (node, group.status().term, group.clock()))).collect()
}

fn clocks_are_open(town: &Town) -> bool {
    shard_leaders(town).is_some_and(|leaders| leaders.iter().all(|(_, _, clock)| clock.is_some()))
}

/// TIME-4
#[tokio::test(start_paused = true)]
async fn the_clock_of_a_new_leader_begins_above_all_that_was_handed_out() {
    let town = Town::found(70).await;
    town.until("open clocks", clocks_are_open).await;
    let mut replaced = 0;
    for round in 0..4 {
        let before = shard_leaders(&town).expect("all have one");
        for node in town.nodes() {
            begin(&node).await;
        }
        let handed_out = begin(&town.any()).await;
        // Shards and the meta group lose their leaders together, at times.
        let gone = if round % 2 == 0 { before[round % 4].0 } else { meta_leader(&town).await };
        town.kill(gone);
        town.until("leaders in its place", |town| shard_leaders(town).is_some()).await;
        town.until("a leader of the meta group", |town| town.leader(GroupId::META).is_some()).await;
        let led = Instant::now();
        town.until("open clocks", clocks_are_open).await;
        assert!(led.elapsed() < Duration::from_millis(1_500), "clocks were opened after {:?}", led.elapsed());
        for ((_, was, _), (node, term, clock)) in before.iter().zip(shard_leaders(&town).expect("all have one")) {
            let is_new = term != *was;
            assert!(!is_new || clock.is_some_and(|clock| clock > handed_out), "{node} {clock:?} {handed_out}");
            replaced += usize::from(is_new);
        }
        town.start(gone).await;
        sleep(Duration::from_secs(8)).await;
        town.until("open clocks", clocks_are_open).await;
    }
    assert!(replaced >= 2, "{replaced} leaders were replaced");
}

#[tokio::test(start_paused = true)]
async fn there_is_no_time_before_all_programs_know_of_it() {
    let (world, hub) = (SimWorld::new(71), Hub::new());
    let machines: Vec<_> = (1..=3).map(|number| Machine::new(&world, &hub, number)).collect();
    let versions = VersionRange { least: ClusterVersion(1), most: ClusterVersion(2) };
    let old = machines
        .iter()
        .zip(ADDRESSES)
        .map(|(machine, own)| machine.start(NodeSettings { versions, ..settings(own, &ADDRESSES) }));
    for started in join_all(old).await {
        let (node, _) = started.expect("a node starts");
        node.wait_ready().await;
        let version = ClusterVersion(2);
        assert_eq!(node.timestamps().begin(WAIT).await, Err(TimeError::Unsupported { version }));
    }
    let mut nodes = Vec::new();
    for (machine, own) in machines.iter().zip(ADDRESSES) {
        let (node, _) = machine.start(settings(own, &ADDRESSES)).await.expect("a newer program");
        node.wait_ready().await;
        nodes.push(node);
    }
    let raise = MetaCommand::RaiseVersion { to: ClusterVersion(3) };
    let raised = |reply: &MetaReply| matches!(reply, MetaReply::Done { .. });
    while !nodes[0].administer(raise.clone(), WAIT).await.is_ok_and(|reply| raised(&reply)) {
        sleep(Duration::from_millis(100)).await;
    }
    for node in &nodes {
        node.watch_map().wait_for(|map| map.version == ClusterVersion(3)).await.expect("a map");
        begin(node).await;
    }
    sleep(Duration::from_secs(1)).await;
    let groups = nodes.iter().flat_map(|node| node.host().groups());
    let leading: Vec<_> = groups.filter(|group| group.leads() && group.id() != GroupId::META).collect();
    assert_eq!(leading.len(), 4);
    assert!(leading.iter().all(|group| group.clock().is_some()), "the clocks of all shards are open");
    // Nothing was written since then, so followers have heard of no stamp. They read at a timestamp all the same.
    let at = begin(&nodes[0]).await;
    for group in nodes.iter().flat_map(|node| node.host().groups()).filter(|group| group.id() != GroupId::META) {
        let (id, leads) = (group.id(), group.leads());
        assert_eq!(group.snapshot_barrier(at).await, Ok(()), "{id}, leads: {leads}");
    }
}

/// TIME-7
#[tokio::test(start_paused = true)]
async fn what_is_handed_out_is_heard_of_everywhere_without_asking() {
    let town = Town::found(69).await;
    let at = begin(&town.node(1)).await;
    sleep(WAIT).await;
    for number in 1..=3 {
        let heard = town.node(number).timestamps().known();
        assert!(heard >= at, "n{number} has heard of {heard} only");
    }
}

/// A node that was away while a timestamp was handed out, and is back before anybody leads the meta group again. `None` in a
/// world where somebody does.
async fn back_without_the_meta_group(seed: u64) -> Option<(Town, Arc<Node>, Timestamp)> {
    let town = Town::found(seed).await;
    let leader = meta_leader(&town).await;
    let others: Vec<u64> = (1..=3).filter(|number| *number != leader).collect();
    let [knows, asks] = others[..] else { panic!("three nodes") };
    town.kill(asks);
    let at = begin(&town.node(knows)).await;
    town.kill(leader);
    let here = town.start(asks).await;
    let is_without = here.timestamps().known() < at && town.leader(GroupId::META).is_none();
    is_without.then_some((town, here, at))
}

/// TIME-7
#[tokio::test(start_paused = true)]
async fn what_one_node_has_heard_of_counts_without_the_meta_group() {
    let mut worlds = 0;
    for seed in 70..90 {
        let Some((_town, here, at)) = back_without_the_meta_group(seed).await else { continue };
        let shortly = Duration::from_millis(100);
        assert_eq!(here.check_handed_out(at, shortly).await, Ok(()), "in world {seed}");
        // Nobody has heard of one of a far future; whether the meta group has a leader by then to say so is another question.
        let refused = here.check_handed_out(Timestamp(u64::MAX), shortly).await;
        assert!(matches!(refused, Err(TimeError::NoAnswer { .. } | TimeError::Future { .. })), "{refused:?}");
        worlds += 1;
    }
    assert!(worlds > 0, "somebody always leads the meta group before the node is back");
}

/// TIME-3
#[tokio::test(start_paused = true)]
async fn a_timestamp_comes_with_what_makes_it_certain_and_with_a_witness_for_who_asked() {
    let town = Town::found(74).await;
    town.until("open clocks", clocks_are_open).await;
    let meta = meta_leader(&town).await;
    let mut witnessed = 0;
    for shard in town.map().shards.iter().map(|shard| GroupId::of_shard(shard.shard)) {
        let (number, group) = town.leader(shard).expect("its clock is open");
        let (node, voted) = (town.node(number), begin(&town.node(number)).await);
        // So that there is a stamp.
        group.snapshot_barrier(voted).await.expect("the clock is open");
        let begun = node.timestamps().begin_at_once(group.ballot(), WAIT).await.expect("somebody leads");
        let witness = begun.witness(shard);
        assert_eq!(witness.is_some(), number != meta, "a leader's own node is no witness: n{number}, n{meta}");
        if witness.is_some() {
            witnessed += 1;
            town.machine(number).cut_off();
            let asked = Instant::now();
            assert!(begun.is_confirmed().await, "this node has voted for the leader itself");
            assert_eq!(group.snapshot_barrier_for(begun.at(), &Reach::ALL, witness).await, Ok(()));
            assert_eq!(asked.elapsed(), Duration::ZERO, "nobody was asked");
            town.machine(number).heal();
            town.until("a leader", |town| town.leader(shard).is_some()).await;
        }
    }
    assert!(witnessed >= 2, "leaders are spread over the nodes: {witnessed}");
}
