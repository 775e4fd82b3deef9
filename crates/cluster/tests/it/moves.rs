//! Members of groups change: nodes come, go, drain, die, and lose files, while everybody writes.

use std::time::Duration;

use strata_meta::{MetaCommand, MetaReply};
use strata_types::{ChangeId, GroupId, NodeId, NodeState, ShardId, ShardMap, ShardPlacement};
use tokio::time::sleep;

use crate::town::Town;

const GROUP: GroupId = GroupId(1);

fn hosts(map: &ShardMap, group: GroupId) -> Vec<u64> {
    let mut hosts: Vec<_> = map.group(group).expect("a group").replicas.iter().map(|placed| placed.node.0).collect();
    hosts.sort_unstable();
    hosts
}

fn replicas_on(map: &ShardMap, node: u64) -> usize {
    map.shards.iter().filter(|shard| shard.replicas.iter().any(|placed| placed.node.0 == node)).count()
}

fn is_over(map: &ShardMap, group: GroupId, change: ChangeId) -> bool {
    map.group(group).expect("a group").changes.change.is_none_or(|present| present.id != change)
}

/// A node of the group, by what it is to it, and a node that has no replica of it.
struct Roles {
    leader: u64,
    follower: u64,
    stranger: u64,
}

/// Four nodes, of which three have replicas of the group, and a writer.
async fn four(seed: u64) -> (Town, crate::town::Writer, Roles) {
    let town = Town::found(seed).await;
    town.start(4).await;
    let writer = town.write();
    town.settle().await;
    let roles = roles(&town);
    (town, writer, roles)
}

fn roles(town: &Town) -> Roles {
    let (leader, _) = town.leader(GROUP).expect("a leader");
    let members = hosts(&town.map(), GROUP);
    let follower = members.iter().copied().find(|node| *node != leader).expect("three members");
    let stranger = (1..=4).find(|node| !members.contains(node)).expect("four nodes");
    Roles { leader, follower, stranger }
}

async fn begin_move(town: &Town, from: u64, to: u64) -> ChangeId {
    let wish = MetaCommand::Move { group: GROUP, from: NodeId(from), to: NodeId(to) };
    match town.command(wish).await {
        MetaReply::Started { change: Some(change), .. } => change,
        other => panic!("it was not begun: {other:?}"),
    }
}

async fn set_state(town: &Town, node: u64, wanted: NodeState) {
    let reply = town.command(MetaCommand::SetNodeState { node: NodeId(node), wanted, force: false }).await;
    assert!(matches!(reply, MetaReply::NodeStateSet { .. }), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fourth_node_gets_its_share() {
    let town = Town::found(51).await;
    let writer = town.write();
    sleep(Duration::from_secs(1)).await;
    town.start(4).await;
    town.until("replicas on the new node", |town| replicas_on(&town.map(), 4) >= 2).await;
    town.settle().await;
    let map = town.map();
    let held: Vec<_> = (1..=4).map(|node| replicas_on(&map, node)).collect();
    assert!(held.iter().all(|held| (2..=4).contains(held)), "{held:?}");
    let leads = |node: u64| map.shards.iter().filter(|shard| shard.replicas[0].node.0 == node).count();
    assert_eq!((1..=4).map(leads).collect::<Vec<_>>(), [1, 1, 1, 1]);
    town.until("leaders where they should be", |town| {
        town.map().shards.iter().all(|shard| {
            town.leader(GroupId::of_shard(shard.shard)).is_some_and(|(node, _)| node == shard.replicas[0].node.0)
        })
    })
    .await;
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_ends_with_nothing() {
    let (town, writer, _) = four(52).await;
    set_state(&town, 2, NodeState::Removing).await;
    town.until("no such node", |town| town.map().node(NodeId(2)).is_none()).await;
    assert_eq!(town.tablets(2), []);
    town.kill(2);
    town.settle().await;
    let map = town.map();
    assert!(map.groups().all(|group| hosts(&map, group.group) == [1, 3, 4]), "{map:?}");
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_moves_by_hand_also_that_of_the_leader() {
    let (town, writer, roles) = four(53).await;
    let change = begin_move(&town, roles.follower, roles.stranger).await;
    town.until("the follower's move", |town| is_over(&town.map(), GROUP, change)).await;
    assert!(!hosts(&town.map(), GROUP).contains(&roles.follower));
    town.settle().await;
    let roles = self::roles(&town);
    let change = begin_move(&town, roles.leader, roles.stranger).await;
    town.until("the leader's move", |town| is_over(&town.map(), GROUP, change)).await;
    let map = town.map();
    assert!(!hosts(&map, GROUP).contains(&roles.leader) && hosts(&map, GROUP).contains(&roles.stranger));
    town.settle().await;
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn the_meta_group_moves_with_its_leader() {
    let (town, writer, _) = four(54).await;
    let (leader, _) = town.leader(GroupId::META).expect("a leader");
    set_state(&town, leader, NodeState::Removing).await;
    town.until("no such node", |town| town.map().node(NodeId(leader)).is_none()).await;
    town.kill(leader);
    town.settle().await;
    assert!(!hosts(&town.map(), GroupId::META).contains(&leader));
    assert_eq!(hosts(&town.map(), GroupId::META).len(), 3);
    town.check(writer).await;
}

/// Moments at which something happens after a move has begun, in milliseconds.
const MOMENTS: [u64; 8] = [0, 30, 120, 210, 300, 390, 520, 700];

/// Begins a move, lets somebody crash a moment later and come back, and makes sure that it is made all the same.
async fn crash_while_moving(seed: u64, who: impl Fn(&Town, &Roles) -> u64) {
    for (round, moment) in (0..).zip(MOMENTS) {
        let (town, writer, roles) = four(seed + round).await;
        let change = begin_move(&town, roles.leader, roles.stranger).await;
        sleep(Duration::from_millis(moment)).await;
        let victim = who(&town, &roles);
        town.kill(victim);
        sleep(Duration::from_secs(3)).await;
        town.start(victim).await;
        town.until("the move", |town| is_over(&town.map(), GROUP, change)).await;
        assert!(hosts(&town.map(), GROUP).contains(&roles.stranger), "after {moment} ms");
        town.settle().await;
        town.check(writer).await;
    }
}

/// CLUSTER-6
#[tokio::test(start_paused = true)]
async fn a_move_goes_on_when_the_leader_of_the_group_crashes() {
    crash_while_moving(100, |town, roles| town.leader(GROUP).map_or(roles.leader, |(leader, _)| leader)).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_goes_on_when_the_leader_of_the_meta_group_crashes() {
    crash_while_moving(200, |town, roles| town.leader(GroupId::META).map_or(roles.leader, |(leader, _)| leader)).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_goes_on_when_its_target_crashes() {
    crash_while_moving(300, |_, roles| roles.stranger).await;
}

/// CLUSTER-6
#[tokio::test(start_paused = true)]
async fn a_cancelled_move_leaves_nothing_behind_or_is_made() {
    let mut ends = Vec::new();
    for (round, moment) in (0..).zip(MOMENTS) {
        let (town, writer, roles) = four(400 + round).await;
        let change = begin_move(&town, roles.follower, roles.stranger).await;
        let generation = |town: &Town| town.map().group(GROUP).map(|group| group.changes.generation);
        let before = generation(&town);
        sleep(Duration::from_millis(moment)).await;
        let reply = town.command(MetaCommand::CancelChange { group: GROUP, change }).await;
        town.until("the end of the change", |town| is_over(&town.map(), GROUP, change)).await;
        let is_made = generation(&town) != before;
        assert!(is_made || matches!(reply, MetaReply::Done { .. }), "{reply:?}");
        ends.push(is_made);
        town.settle().await;
        town.check(writer).await;
    }
    assert!(ends.contains(&true) && ends.contains(&false), "{ends:?}");
}

/// CLUSTER-5
#[tokio::test(start_paused = true)]
async fn a_damaged_replica_is_built_anew() {
    let town = Town::found(56).await;
    let writer = town.write();
    sleep(Duration::from_secs(1)).await;
    let broken = town.map().shards[0].replicas[0];
    town.kill(broken.node.0);
    *town.machine(broken.node.0).damaged.lock() = Some(broken.replica);
    town.start(broken.node.0).await;
    let is_replaced = |map: &ShardMap| map.group(GROUP).is_some_and(|group| group.find(broken.replica).is_none());
    town.until("another replica", |town| is_replaced(&town.map())).await;
    town.settle().await;
    assert_eq!(hosts(&town.map(), GROUP), [1, 2, 3]);
    let overview = town.any().overview().await;
    assert!(overview.shards.iter().flat_map(|shard| &shard.replicas).all(|replica| replica.problem.is_none()));
    town.check(writer).await;
}

/// CLUSTER-6: two of its three replicas would be left, of which one is damaged: it would never commit anything again.
#[tokio::test(start_paused = true)]
async fn a_group_does_not_give_a_replica_away_while_another_is_damaged() {
    for place in [0, 1] {
        let town = Town::found(500 + place as u64).await;
        let writer = town.write();
        sleep(Duration::from_secs(1)).await;
        let map = town.map();
        let (broken, removed) = (map.shards[0].replicas[place], map.shards[0].replicas[2]);
        town.kill(broken.node.0);
        *town.machine(broken.node.0).damaged.lock() = Some(broken.replica);
        set_state(&town, removed.node.0, NodeState::Removing).await;
        sleep(Duration::from_secs(5)).await;
        town.start(broken.node.0).await;
        town.until("no such node", |town| town.map().node(removed.node).is_none()).await;
        town.kill(removed.node.0);
        town.settle().await;
        let map = town.map();
        assert!(map.groups().all(|group| group.replicas.len() == 2 && group.find(broken.replica).is_none()), "{map:?}");
        town.check(writer).await;
    }
}

/// The target never gets room. That is waited for until another member has to be built anew.
#[tokio::test(start_paused = true)]
async fn a_move_that_does_not_get_on_gives_way_to_a_repair() {
    // It has no replica of the meta group.
    const FULL: u64 = 4;
    let town = Town::found(60).await;
    town.start(FULL).await;
    let writer = town.write();
    town.settle().await;
    let map = town.map();
    let is_elsewhere = |shard: &&ShardPlacement| shard.replicas.iter().all(|placed| placed.node.0 != FULL);
    let shard = map.shards.iter().find(is_elsewhere).expect("it has its share only");
    let (group, moved, broken) = (GroupId::of_shard(shard.shard), shard.replicas[1], shard.replicas[2]);
    town.machine(FULL).durable.set_full(true);
    let wish = MetaCommand::Move { group, from: moved.node, to: NodeId(FULL) };
    let reply = town.command(wish).await;
    let MetaReply::Started { change: Some(change), .. } = reply else { panic!("it was not begun: {reply:?}") };
    let is_under_way = |town: &Town| !is_over(&town.map(), group, change);
    town.stays("it waits for room", Duration::from_secs(20), is_under_way).await;

    town.kill(broken.node.0);
    *town.machine(broken.node.0).damaged.lock() = Some(broken.replica);
    town.start(broken.node.0).await;
    let is_replaced = |map: &ShardMap| map.group(group).is_some_and(|group| group.find(broken.replica).is_none());
    town.until("another replica", |town| is_replaced(&town.map())).await;
    assert!(hosts(&town.map(), group).contains(&moved.node.0), "it has not moved");
    town.machine(FULL).durable.set_full(false);
    town.settle().await;
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_leads_nothing_until_it_is_wanted_again() {
    let town = Town::found(57).await;
    let writer = town.write();
    let leads = |town: &Town, node: u64| {
        let groups: Vec<GroupId> = town.map().groups().map(|group| group.group).collect();
        groups.iter().filter(|group| town.leader(**group).is_some_and(|(leader, _)| leader == node)).count()
    };
    let (drained, _) = town.leader(GroupId::META).expect("a leader");
    assert!(leads(&town, drained) > 1);
    set_state(&town, drained, NodeState::Draining).await;
    town.until("no leaders", |town| leads(town, drained) == 0).await;
    let keeps_replicas_only = |town: &Town| (leads(town, drained), replicas_on(&town.map(), drained)) == (0, 4);
    town.stays("it leads nothing and keeps its replicas", Duration::from_secs(20), keeps_replicas_only).await;
    set_state(&town, drained, NodeState::Active).await;
    town.until("leaders again", |town| leads(town, drained) > 0).await;
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_silent_is_replaced_and_comes_back() {
    let town = Town::patient(58, Duration::from_secs(40)).await;
    town.start(4).await;
    town.settle().await;
    let writer = town.write();
    town.kill(3);
    let is_active = |town: &Town| town.map().node(NodeId(3)).is_some_and(|node| node.state == NodeState::Active);
    town.stays("it may only restart", Duration::from_secs(30), is_active).await;
    town.until("replicas elsewhere", |town| {
        let map = town.map();
        map.groups().all(|group| hosts(&map, group.group) == [1, 2, 4])
    })
    .await;
    assert_eq!(town.map().node(NodeId(3)).map(|node| node.state), Some(NodeState::Lost));
    assert!(!town.tablets(3).is_empty(), "nobody could delete them");
    town.start(3).await;
    town.until("replicas on it", |town| replicas_on(&town.map(), 3) >= 2).await;
    town.settle().await;
    town.check(writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_says_so_and_takes_that_back_when_it_starts() {
    let town = Town::found(59).await;
    let stopped = town.map().shards[0].replicas[0].node.0;
    town.stop(stopped).await;
    let state = |town: &Town| town.map().node(NodeId(stopped)).map(|node| node.state);
    assert_eq!(state(&town), Some(NodeState::Stopping));
    assert!(town.map().shards.iter().all(|shard| shard.replicas[0].node.0 != stopped), "others should lead");
    town.start(stopped).await;
    town.until("its return", |town| state(town) == Some(NodeState::Active)).await;
    town.settle().await;
    assert_eq!(town.map().shard(ShardId(0)).map(|shard| shard.changes.generation), Some(0), "nothing was moved");
}
