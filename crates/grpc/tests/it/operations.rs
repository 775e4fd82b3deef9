//! What operators ask for, carried out by a real meta machine behind the door.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, Parts, ReplicaOverview, ShardOverview};
use strata_machine::{CommandContext, Machine};
use strata_meta::{Joiner, MetaCommand, MetaMachine, MetaReply, load_map};
use strata_proto::v1::admin_client::AdminClient;
use strata_proto::{error_of, v1};
use strata_shard::testing::Rows;
use strata_types::{
    ClusterId, Error, ErrorCode, InstanceId, LogIndex, NodeDescriptor, NodeId, Outcome, ReplicaFigures, ReplicaId,
    ReplicaPlacement, Result, ShardMap, ShardPlacement, Term, Timestamp, VersionRange,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::nobody::{Node, open};

/// The meta group, as far as operators see it.
#[derive(Default)]
struct Meta {
    rows: Mutex<Rows>,
    deadlines: Mutex<Vec<Duration>>,
    is_cut_off: bool,
    /// What the leaders of the shards tell, if they are asked.
    loads: Mutex<Vec<u64>>,
}

impl Meta {
    fn apply(&self, command: &MetaCommand) -> MetaReply {
        let context = CommandContext { term: Term(1), index: LogIndex(1), position: 0, stamp: Timestamp(0) };
        let mut rows = self.rows.lock().expect("nobody panicked");
        let reply = MetaMachine::new().apply(&mut *rows, context, &command.encode());
        MetaReply::decode(reply).expect("replies decode")
    }

    /// Three nodes, four shards.
    fn founded() -> Arc<Meta> {
        let node = |id: u64| NodeDescriptor {
            id: NodeId(id),
            instance: InstanceId(id.into()),
            peer_address: format!("n{id}:7401"),
            ..NodeDescriptor::default()
        };
        let meta = Meta::default();
        let reply = meta.apply(&MetaCommand::Found {
            cluster: ClusterId(7),
            nodes: (1..=3).map(node).collect(),
            meta: (1..=3).map(|id| ReplicaPlacement { replica: ReplicaId(id), node: NodeId(id) }).collect(),
            shard_count: 4,
        });
        assert!(matches!(reply, MetaReply::Founded { .. }), "{reply:?}");
        Arc::new(meta)
    }

    fn join_a_fourth(&self) {
        let reply = self.apply(&MetaCommand::Join(Joiner {
            instance: InstanceId(4),
            peer_address: "n4:7401".to_owned(),
            client_address: "n4:7400".to_owned(),
            zone: String::new(),
            weight: 1,
            versions: VersionRange::default(),
        }));
        assert!(matches!(reply, MetaReply::Joined { node: NodeId(4), .. }), "{reply:?}");
    }
}

#[async_trait]
impl ClusterView for Meta {
    async fn overview(&self) -> Result<ClusterOverview> {
        let loads = self.loads.lock().expect("nobody panicked").clone();
        if loads.is_empty() {
            return Err(Error::not_applied(ErrorCode::NotReady, "nobody is asked here"));
        }
        let map = self.map();
        let shard = |(placement, operations): (&ShardPlacement, u64)| ShardOverview {
            placement: placement.clone(),
            leader: Some(placement.replicas[0].node),
            term: Term(1),
            replicas: vec![ReplicaOverview {
                replica: placement.replicas[0].replica,
                node: placement.replicas[0].node,
                last: LogIndex(1),
                committed: LogIndex(1),
                applied: LogIndex(1),
                log_bytes: 0,
                figures: Some(ReplicaFigures { operations, size: 1 << 20, ..ReplicaFigures::default() }),
                is_serving: true,
                problem: None,
            }],
        };
        Ok(ClusterOverview {
            cluster: map.cluster,
            name: "prod".to_owned(),
            node: NodeId(1),
            version: String::new(),
            epoch: map.epoch,
            meta_leader: None,
            nodes: Vec::new(),
            shards: map.shards.iter().zip(loads).map(shard).collect(),
            problems: Vec::new(),
        })
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::new(load_map(&*self.rows.lock().expect("nobody panicked")).unwrap_or_default())
    }

    async fn command(&self, command: MetaCommand, deadline: Duration) -> Result<MetaReply> {
        self.deadlines.lock().expect("nobody panicked").push(deadline);
        match self.is_cut_off {
            true => Err(Error::unknown(ErrorCode::DeadlineExceeded, "the meta group did not answer")),
            false => Ok(self.apply(&command)),
        }
    }
}

async fn admin(meta: Arc<Meta>) -> AdminClient<Channel> {
    let node = Node::new();
    let parts = Parts { env: real::env(), kv: node.clone(), executor: node, view: meta, transactions: None };
    AdminClient::new(open(parts).await.0)
}

fn wish(node: u64, state: v1::NodeState) -> v1::SetNodeStateRequest {
    v1::SetNodeStateRequest { node, state: state.into(), force: false }
}

fn assert_refused(status: &Status, code: ErrorCode, words: &str) {
    let error = error_of(status);
    assert_eq!((error.code, error.outcome), (code, Outcome::NotApplied), "{error}");
    assert!(error.message.contains(words), "{error}");
}

/// Which nodes hold shard 0.
fn holders(meta: &Meta) -> Vec<u64> {
    meta.map().shards[0].replicas.iter().map(|placement| placement.node.0).collect()
}

#[tokio::test]
async fn a_node_drains_and_comes_back() {
    let meta = Meta::founded();
    let mut admin = admin(meta.clone()).await;
    let drained = admin.set_node_state(wish(2, v1::NodeState::Draining)).await.expect("drained").into_inner();
    assert_eq!((drained.state(), drained.epoch), (v1::NodeState::Draining, meta.map().epoch.0));
    let leaders = meta.map().shards.iter().filter(|shard| shard.replicas[0].node == NodeId(2)).count();
    assert_eq!(leaders, 0, "it is to lead nothing");
    let again = admin.set_node_state(wish(2, v1::NodeState::Draining)).await.expect("repeated").into_inner();
    assert_eq!(again.epoch, drained.epoch, "asking twice changes nothing");
    let back = admin.set_node_state(wish(2, v1::NodeState::Active)).await.expect("undrained").into_inner();
    assert_eq!(back.state(), v1::NodeState::Active);
}

#[tokio::test]
async fn a_node_whose_replicas_nobody_can_take_is_given_up_with_a_word_about_it() {
    let meta = Meta::founded();
    let mut admin = admin(meta.clone()).await;
    let lost = admin.set_node_state(wish(3, v1::NodeState::Lost)).await.expect("given up").into_inner();
    assert!(lost.problem.starts_with("no other node can take"), "{lost:?}");
    meta.join_a_fourth();
    let again = admin.set_node_state(wish(3, v1::NodeState::Lost)).await.expect("repeated").into_inner();
    assert_eq!(again.problem, "", "the fourth can");
}

/// GRPC-1
#[tokio::test]
async fn a_refusal_has_the_machines_sentence_and_a_code() {
    let meta = Meta::founded();
    let mut admin = admin(meta.clone()).await;
    admin.set_node_state(wish(2, v1::NodeState::Draining)).await.expect("drained");
    let status = admin.set_node_state(wish(3, v1::NodeState::Removing)).await.expect_err("one would be left");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_refused(&status, ErrorCode::MajorityAtRisk, "1 of 3 replicas would remain");
    let forced = v1::SetNodeStateRequest { force: true, ..wish(3, v1::NodeState::Removing) };
    assert_eq!(admin.set_node_state(forced).await.expect("forced").into_inner().state(), v1::NodeState::Removing);
    let status = admin.set_node_state(wish(9, v1::NodeState::Draining)).await.expect_err("nobody");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_refused(&status, ErrorCode::InvalidArgument, "n9");
    let status = admin.set_node_state(wish(1, v1::NodeState::Removed)).await.expect_err("not to be wished");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_refused(&status, ErrorCode::Refused, "cannot be made removed");
    let strange = v1::SetNodeStateRequest { node: 1, state: 77, force: false };
    let status = admin.set_node_state(strange).await.expect_err("no such state");
    assert_refused(&status, ErrorCode::InvalidArgument, "77");
}

#[tokio::test]
async fn a_replica_moves_from_the_fullest_node_unless_one_is_named() {
    let meta = Meta::founded();
    meta.join_a_fourth();
    let mut admin = admin(meta.clone()).await;
    let leader = holders(&meta)[0];
    let request = v1::MoveReplicaRequest { shard: Some(0), from: 0, to: 4 };
    let moved = admin.move_replica(request).await.expect("started").into_inner();
    assert!(holders(&meta).contains(&moved.from) && moved.from != leader && moved.change > 0, "{moved:?}");
    assert_eq!(moved.epoch, meta.map().epoch.0);
    let again = admin.move_replica(request).await.expect("repeated").into_inner();
    assert_eq!(again, moved, "the same move is found again");
    let other = v1::MoveReplicaRequest { from: leader, ..request };
    let status = admin.move_replica(other).await.expect_err("one change at a time");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_refused(&status, ErrorCode::ChangeUnderWay, "another change");
    let named = v1::MoveReplicaRequest { shard: Some(1), from: 3, to: 4 };
    assert_eq!(admin.move_replica(named).await.expect("started").into_inner().from, 3);
    let meta_group = v1::MoveReplicaRequest { shard: None, from: 0, to: 4 };
    assert!(admin.move_replica(meta_group).await.expect("started").into_inner().change > 0);
    let status = admin.move_replica(v1::MoveReplicaRequest { shard: Some(99), from: 0, to: 4 }).await;
    assert_refused(&status.expect_err("no such shard"), ErrorCode::InvalidArgument, "s99");
}

#[tokio::test]
async fn a_leader_is_transferred_to_a_node_that_has_a_replica() {
    let meta = Meta::founded();
    meta.join_a_fourth();
    let mut admin = admin(meta.clone()).await;
    let to = holders(&meta)[2];
    let request = v1::TransferLeaderRequest { shard: 0, to };
    let reply = admin.transfer_leader(request).await.expect("preferred").into_inner();
    assert_eq!(
        meta.map().shards[0].replicas[0],
        ReplicaPlacement { replica: ReplicaId(reply.replica), node: NodeId(to) }
    );
    let status = admin.transfer_leader(v1::TransferLeaderRequest { shard: 0, to: 4 }).await.expect_err("no replica");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_refused(&status, ErrorCode::Refused, "n4");
    let status = admin.transfer_leader(v1::TransferLeaderRequest { shard: 99, to: 1 }).await.expect_err("no shard");
    assert_refused(&status, ErrorCode::InvalidArgument, "s99");
}

#[tokio::test]
async fn a_dry_run_says_what_a_balance_then_does() {
    let meta = Meta::founded();
    let mut admin = admin(meta.clone()).await;
    let nothing = admin.balance(v1::BalanceRequest { dry_run: true }).await.expect("answered").into_inner();
    assert!(nothing.changes.is_empty(), "a founded cluster is even: {nothing:?}");
    meta.join_a_fourth();
    let before = meta.map();
    let dry = admin.balance(v1::BalanceRequest { dry_run: true }).await.expect("answered").into_inner();
    assert_eq!((dry.started, meta.map()), (0, before.clone()), "nothing was done");
    let mut to_shards = dry.changes.iter().filter(|change| change.shard.is_some());
    assert!(to_shards.clone().count() > 0 && to_shards.all(|change| change.add == 4 && change.remove > 0), "{dry:?}");
    assert!(dry.changes.iter().all(|change| change.reason() != v1::ChangeReason::Unspecified), "{dry:?}");
    let (now, later) = (dry.before.expect("told"), dry.after.expect("told"));
    assert!(now.largest_over_mean > 1.3 && later.entropy > now.entropy, "{now:?} {later:?}");
    let real = admin.balance(v1::BalanceRequest { dry_run: false }).await.expect("started").into_inner();
    assert!(real.started > 0 && real.changes == dry.changes, "{real:?}");
    let under_way = meta.map().groups().filter(|group| group.changes.change.is_some()).count();
    assert_eq!(under_way, real.started as usize);
}

/// GRPC-3
#[tokio::test]
async fn commands_have_the_callers_time_and_need_a_cluster() {
    let cut_off = Arc::new(Meta { is_cut_off: true, ..Meta::default() });
    let mut admin = admin(cut_off.clone()).await;
    let mut hasty = tonic::Request::new(wish(1, v1::NodeState::Draining));
    hasty.set_timeout(Duration::from_secs(2));
    let error = error_of(&admin.set_node_state(hasty).await.expect_err("cut off"));
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::Unknown));
    let deadlines = cut_off.deadlines.lock().expect("nobody panicked").clone();
    assert!(deadlines[0] <= Duration::from_secs(2) && deadlines[0] > Duration::from_secs(1), "{deadlines:?}");
    let status = admin.balance(v1::BalanceRequest { dry_run: true }).await.expect_err("no cluster yet");
    assert_refused(&status, ErrorCode::NotReady, "not founded");
    let status = admin.transfer_leader(v1::TransferLeaderRequest { shard: 0, to: 1 }).await.expect_err("as before");
    assert_refused(&status, ErrorCode::NotReady, "not founded");
}

#[tokio::test]
async fn a_dry_run_says_how_many_bytes_move_and_which_leaders_are_too_busy() {
    let meta = Meta::founded();
    let mut admin = admin(meta.clone()).await;
    let dry = v1::BalanceRequest { dry_run: true };
    let nobody = admin.balance(dry).await.expect("told").into_inner();
    assert!(nobody.load_before.is_none() && nobody.handovers.is_empty(), "nobody told their loads");
    // Four shards on three nodes: the busy ones are the two of one node.
    let map = meta.map();
    let led = |node| map.shards.iter().filter(|shard| shard.replicas[0].node == node).count();
    let crowded = map.nodes.iter().map(|node| node.id).find(|node| led(*node) == 2).expect("the numbers are even");
    let load = |shard: &ShardPlacement| if shard.replicas[0].node == crowded { 600 } else { 30 };
    *meta.loads.lock().expect("nobody panicked") = map.shards.iter().map(load).collect();
    let told = admin.balance(dry).await.expect("told").into_inner();
    let largest = |evenness: Option<v1::Evenness>| evenness.expect("all told").largest_over_mean;
    assert!(largest(told.load_before) > 2.5 && largest(told.load_after) < 1.6, "{told:?}");
    let handover = told.handovers.first().expect("one node leads both busy shards");
    assert_eq!((handover.from, handover.operations_per_second), (crowded.0, 600));
    assert!(told.changes.is_empty());

    meta.join_a_fourth();
    let told = admin.balance(dry).await.expect("told").into_inner();
    assert!(!told.changes.is_empty() && told.changes.iter().any(|change| change.shard.is_some()), "{told:?}");
    for change in &told.changes {
        assert_eq!(change.bytes, change.shard.map(|_| 1 << 20), "nobody told of the meta group");
    }
}
