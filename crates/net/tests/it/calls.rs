//! Caller, switchboard and replier.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::sim::SimWorld;
use strata_net::{
    Caller, Handler, Inbox, Introductions, Lane, Message, MessageKind, NetError, Replier, Switchboard, Transport,
};
use strata_types::{GroupId, NodeId};

use crate::memory::MemoryNetwork;

const ASKER: NodeId = NodeId(1);
const ANSWERER: NodeId = NodeId(2);
const DEADLINE: Duration = Duration::from_secs(5);

/// Keeps every request, to be answered by the test.
#[derive(Default)]
struct Keeper {
    requests: Mutex<Vec<(Bytes, Replier)>>,
}

impl Keeper {
    fn bodies(&self) -> Vec<Bytes> {
        self.requests.lock().iter().map(|(body, _)| body.clone()).collect()
    }

    fn take(&self) -> Replier {
        self.requests.lock().remove(0).1
    }
}

impl Handler for Keeper {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        self.requests.lock().push((body, replier));
    }
}

struct World {
    sim: SimWorld,
    network: Arc<MemoryNetwork>,
    caller: Arc<Caller>,
    asker: Arc<Switchboard>,
    answerer: Arc<Switchboard>,
    keeper: Arc<Keeper>,
}

impl World {
    fn new() -> World {
        let sim = SimWorld::new(1);
        let network = Arc::new(MemoryNetwork::default());
        let switchboard = |node: NodeId| {
            let caller = Caller::new(sim.node(node.0).env(), network.clone());
            caller.identify(node);
            let switchboard = Switchboard::new(caller.clone(), network.clone());
            let inbox: Arc<dyn Inbox> = switchboard.clone();
            network.plug(node, &inbox);
            (caller, switchboard)
        };
        let (caller, asker) = switchboard(ASKER);
        let (_, answerer) = switchboard(ANSWERER);
        let keeper = Arc::new(Keeper::default());
        answerer.set_handler(MessageKind::Append, keeper.clone());
        World { sim, network, caller, asker, answerer, keeper }
    }

    fn call(&self, body: &'static str) -> impl Future<Output = Result<Bytes, NetError>> + Send + 'static + use<> {
        let body = Bytes::from_static(body.as_bytes());
        self.caller.call(ANSWERER, Lane::Data, GroupId(7), MessageKind::Append, body, DEADLINE)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_leave_in_order_before_anybody_waits_for_them() {
    let world = World::new();
    let (first, second) = (world.call("first"), world.call("second"));
    world.network.settle();
    assert_eq!(world.keeper.bodies(), ["first", "second"]);
    // Answers may come in any order.
    let earlier = world.keeper.take();
    world.keeper.take().reply(Ok(Bytes::from_static(b"2")));
    earlier.reply(Ok(Bytes::from_static(b"1")));
    world.network.settle();
    assert_eq!(first.await, Ok(Bytes::from_static(b"1")));
    assert_eq!(second.await, Ok(Bytes::from_static(b"2")));
    assert_eq!(world.caller.open_calls(), 0);
}

/// CALL-2
#[tokio::test(start_paused = true)]
async fn a_refusal_says_that_nothing_was_carried_out() {
    let world = World::new();
    let call = world.call("a");
    world.network.settle();
    world.keeper.take().reply(Err("the shard moved".into()));
    world.network.settle();
    let refused = NetError::Refused { target: "n2".into(), detail: "the shard moved".into() };
    assert_eq!(call.await, Err(refused));

    let vote = world.caller.call(ANSWERER, Lane::Control, GroupId(7), MessageKind::Vote, Bytes::new(), DEADLINE);
    world.network.settle();
    let error = vote.await.expect_err("there is no handler for votes");
    assert!(matches!(error, NetError::Refused { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_whether_anybody_waits_for_its_answer() {
    let world = World::new();
    let call = world.call("asked");
    world.caller.tell(ANSWERER, Lane::Data, GroupId(7), MessageKind::Append, Bytes::from_static(b"told"));
    world.network.settle();
    assert_eq!(world.keeper.bodies(), ["asked", "told"]);
    let (asked, told) = (world.keeper.take(), world.keeper.take());
    assert!(asked.is_awaited() && !told.is_awaited());
    told.reply(Ok(Bytes::from_static(b"of no interest")));
    asked.reply(Ok(Bytes::from_static(b"answer")));
    world.network.settle();
    assert_eq!(call.await, Ok(Bytes::from_static(b"answer")));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_replier_says_at_once_that_nobody_knows() {
    let world = World::new();
    let call = world.call("a");
    world.network.settle();
    drop(world.keeper.take());
    world.network.settle();
    let error = call.await.expect_err("given up");
    assert_eq!(error, NetError::NoAnswer { target: "n2".into(), detail: "the request was given up".into() });
}

/// NET-3
#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_which_counts_from_the_call() {
    let world = World::new();
    let call = world.call("a");
    let start = world.sim.elapsed();
    tokio::time::advance(Duration::from_secs(4)).await;
    let error = call.await.expect_err("nobody answers");
    assert!(matches!(error, NetError::NoAnswer { .. }), "{error}");
    let waited = world.sim.elapsed() - start;
    assert!((DEADLINE..DEADLINE + Duration::from_millis(10)).contains(&waited), "{waited:?}");
    assert_eq!(world.caller.open_calls(), 0);
}

/// CALL-1
#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_is_forgotten() {
    let world = World::new();
    let call = world.call("a");
    assert_eq!(world.caller.open_calls(), 1);
    drop(call);
    assert_eq!(world.caller.open_calls(), 0);
    world.network.settle();
    world.keeper.take().reply(Ok(Bytes::new()));
    world.network.settle();
}

/// CALL-1
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_node_ends_nothing() {
    let world = World::new();
    let call = world.call("a");
    let (_, request) = world.network.take().expect("under way");
    let answer = |from, body: &'static str| Message {
        from,
        to: ASKER,
        group: request.group,
        kind: MessageKind::Reply,
        correlation: request.correlation,
        body: Bytes::from_static(body.as_bytes()),
    };
    world.asker.deliver(Lane::Data, answer(NodeId(3), "wrong"));
    assert_eq!(world.caller.open_calls(), 1);
    world.asker.deliver(Lane::Data, answer(ANSWERER, "right"));
    assert_eq!(call.await, Ok(Bytes::from_static(b"right")));
}

/// NET-3
#[tokio::test(start_paused = true)]
async fn a_broken_lane_ends_its_calls_and_no_others() {
    let world = World::new();
    let other = |node, lane| world.caller.call(node, lane, GroupId(7), MessageKind::Append, Bytes::new(), DEADLINE);
    let (unsent, sent) = (world.call("unsent"), world.call("sent"));
    let (elsewhere, control) = (other(NodeId(3), Lane::Data), other(ANSWERER, Lane::Control));
    let (_, message) = world.network.take().expect("under way");
    world.asker.lane_failed(ANSWERER, Lane::Data, &[message.correlation], "connection reset");
    let (target, detail) = ("n2".to_string(), "connection reset".to_string());
    let certain = NetError::Unreachable { target: target.clone(), detail: detail.clone() };
    assert_eq!(unsent.await, Err(certain), "it never left");
    assert_eq!(sent.await, Err(NetError::NoAnswer { target, detail }), "it may have arrived");
    assert_eq!(world.caller.open_calls(), 2, "other nodes and other lanes go on");
    drop((elsewhere, control));
}

/// CALL-2
#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_fails_at_once() {
    let world = World::new();
    let full = NetError::Overflow { target: "n2".into() };
    world.network.set_broken(Some(full.clone()));
    assert_eq!(world.call("a").await, Err(full));
    assert_eq!(world.caller.open_calls(), 0);

    let transport: Arc<dyn Transport> = world.network.clone();
    let nobody = Caller::new(SimWorld::new(2).node(9).env(), transport);
    let call = nobody.call(ANSWERER, Lane::Data, GroupId(7), MessageKind::Append, Bytes::new(), DEADLINE);
    let error = call.await.expect_err("it has no identity");
    assert!(matches!(error, NetError::Unreachable { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_sent_is_not_waited_for() {
    let world = World::new();
    let call = world.call("a");
    world.network.settle();
    let replier = world.keeper.take();
    world.network.set_broken(Some(NetError::Overflow { target: "n1".into() }));
    replier.reply(Ok(Bytes::new()));
    world.network.set_broken(None);
    world.network.settle();
    assert!(matches!(call.await, Err(NetError::NoAnswer { .. })), "the deadline ends it");
}

struct Echo;

#[async_trait]
impl Introductions for Echo {
    async fn introduce(&self, body: Bytes) -> Result<Bytes, String> {
        if body.is_empty() { Err("who is there".into()) } else { Ok(body) }
    }
}

#[tokio::test(start_paused = true)]
async fn introductions_reach_who_answers_them() {
    let world = World::new();
    let introduce = |body: &'static str| world.network.introduce("2", Bytes::from_static(body.as_bytes()), DEADLINE);
    let early = introduce("hello").await.expect_err("nobody answers yet");
    assert!(matches!(early, NetError::Refused { .. }), "{early}");
    world.answerer.set_introductions(Arc::new(Echo));
    assert_eq!(introduce("hello").await, Ok(Bytes::from_static(b"hello")));
    let error = introduce("").await.expect_err("refused");
    assert!(matches!(&error, NetError::Refused { detail, .. } if detail == "who is there"), "{error}");
}
