//! Transactions as any client calls them, and what operators are told about them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, Parts, TransactionList, TransactionOverview, TransactionPhase};
use strata_meta::{MetaCommand, MetaReply};
use strata_proto::v1::admin_client::AdminClient;
use strata_proto::v1::txn_client::TxnClient;
use strata_proto::v1::{decision, transaction_status::Status as Wire};
use strata_proto::{CLUSTER_METADATA, error_of, v1};
use strata_txn::OpenTransactions;
use strata_types::{
    ClusterId, ConflictReason, Error, ErrorCode, NodeId, Outcome, Result, ShardId, ShardMap, Slot, Timestamp,
    TransactionId,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::nobody::{Node, open};
use crate::shards::{CLUSTER, Shards, keys};

/// What the rest of the cluster says about transactions.
#[derive(Default)]
struct Told(Vec<TransactionOverview>);

#[async_trait]
impl ClusterView for Told {
    async fn overview(&self) -> Result<ClusterOverview> {
        Err(Error::not_applied(ErrorCode::NotReady, "nobody asks for this"))
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    async fn command(&self, _command: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        Err(Error::not_applied(ErrorCode::NotReady, "nobody asks for this"))
    }

    async fn transactions(&self, _deadline: Duration) -> Result<TransactionList> {
        Ok(TransactionList { transactions: self.0.clone(), problems: vec!["node n9 does not answer".to_owned()] })
    }
}

async fn connect(told: Told) -> (TxnClient<Channel>, AdminClient<Channel>) {
    let (_, router) = Shards::start(real::env());
    let transactions = Some(OpenTransactions::new(router.clone(), NodeId(1)));
    let (kv, executor, view) = (router, Node::new(), Arc::new(told));
    let (channel, _) = open(Parts { env: real::env(), kv, executor, view, transactions }).await;
    (TxnClient::new(channel.clone()), AdminClient::new(channel))
}

async fn begin(client: &mut TxnClient<Channel>) -> Bytes {
    let begun = client.begin(v1::TxnBeginRequest::default()).await.expect("begun").into_inner();
    begun.handle.expect("told").id
}

async fn put(client: &mut TxnClient<Channel>, id: &Bytes, key: &Bytes, value: Vec<u8>) {
    let request = v1::TxnPutRequest { id: id.clone(), key: key.clone(), value: value.into() };
    client.put(request).await.expect("kept");
}

async fn commit(client: &mut TxnClient<Channel>, id: &Bytes) -> std::result::Result<u64, Status> {
    let request = v1::TxnCommitRequest { id: id.clone(), handle: None };
    Ok(client.commit(request).await?.into_inner().timestamp)
}

async fn scan(client: &mut TxnClient<Channel>, id: &Bytes, limit: u64) -> (Vec<Bytes>, usize, Option<Bytes>) {
    let request = v1::TxnScanRequest { id: id.clone(), limit, ..v1::TxnScanRequest::default() };
    let mut pages = client.scan(request).await.expect("begun").into_inner();
    let (mut keys, mut messages, mut resume) = (Vec::new(), 0, None);
    while let Some(page) = pages.message().await.expect("a page") {
        keys.extend(page.items.into_iter().map(|item| item.key));
        (messages, resume) = (messages + 1, page.resume);
    }
    (keys, messages, resume)
}

/// GRPC-7
#[tokio::test]
async fn a_client_of_another_cluster_is_told_no_time() {
    let (mut client, _) = connect(Told::default()).await;
    let mut ask = async |cluster: ClusterId| {
        let mut request = tonic::Request::new(v1::TimestampRequest::default());
        request.metadata_mut().insert(CLUSTER_METADATA, cluster.to_string().parse().expect("text"));
        client.timestamp(request).await
    };
    let refused = error_of(&ask(ClusterId(78)).await.expect_err("not ours"));
    assert_eq!((refused.code, refused.outcome), (ErrorCode::IdentityRefused, Outcome::NotApplied), "{refused}");
    ask(CLUSTER).await.expect("ours");
    client.timestamp(v1::TimestampRequest::default()).await.expect("who says nothing is believed");
}

/// GRPC-1
#[tokio::test]
async fn a_conflict_travels_with_key_reason_and_what_to_do() {
    let ((mut client, _), (key, _)) = (connect(Told::default()).await, keys());
    let (loser, winner) = (begin(&mut client).await, begin(&mut client).await);
    client.get(v1::TxnGetRequest { id: loser.clone(), key: key.clone() }).await.expect("read");
    for id in [&winner, &loser] {
        put(&mut client, id, &key, b"v".to_vec()).await;
    }
    let at = commit(&mut client, &winner).await.expect("the first one");
    let status = commit(&mut client, &loser).await.expect_err("changed");
    assert_eq!(status.code(), Code::Aborted, "what gRPC calls it");
    let error = error_of(&status);
    assert_eq!((error.code, error.retry()), (ErrorCode::Conflict, strata_types::Retry::Restart));
    let conflict = error.conflict.expect("typed");
    assert_eq!((conflict.reason, conflict.at), (ConflictReason::Changed, Timestamp(at)));
    assert_eq!(conflict.key.expect("named").key, key);
}

#[tokio::test]
async fn a_scan_has_the_own_writes_in_their_places_and_pages_of_a_bounded_size() {
    let ((mut client, _), (one, two)) = (connect(Told::default()).await, keys());
    let writer = begin(&mut client).await;
    put(&mut client, &writer, &one, vec![1; 700 * 1024]).await;
    put(&mut client, &writer, &two, vec![2; 700 * 1024]).await;
    commit(&mut client, &writer).await.expect("committed");
    let id = begin(&mut client).await;
    let own = Bytes::from_static(b"zzz");
    put(&mut client, &id, &own, vec![3; 700 * 1024]).await;
    client.delete(v1::TxnDeleteRequest { id: id.clone(), key: one.clone() }).await.expect("kept");
    let (found, messages, resume) = scan(&mut client, &id, 0).await;
    assert_eq!((found, resume), (vec![two.clone(), own], None));
    assert!(messages >= 2, "{messages} messages for two items of 700 KiB");
    let (found, _, resume) = scan(&mut client, &id, 1).await;
    assert_eq!((found, resume.map(|resume| resume > two)), (vec![two.clone()], Some(true)));
    let reader = v1::TxnBeginRequest { read_only: true, ..v1::TxnBeginRequest::default() };
    let reader = client.begin(reader).await.expect("begun").into_inner().handle.expect("told").id;
    let (before, _, _) = scan(&mut client, &reader, 0).await;
    assert!(before.len() == 2 && before.contains(&one) && before.contains(&two), "{before:?}");
    commit(&mut client, &id).await.expect("committed");
    assert_eq!(scan(&mut client, &reader, 0).await.0, before, "a snapshot stays what it was");
}

#[tokio::test]
async fn operators_see_transactions_of_all_places_and_can_end_them() {
    let elsewhere = TransactionOverview {
        id: TransactionId(77),
        anchor: Slot::new(3),
        read_timestamp: Timestamp(1),
        age: Timestamp(0),
        phase: TransactionPhase::Prepared,
        node: NodeId(2),
        shard: Some(ShardId(0)),
        elapsed: Duration::from_secs(3),
        locks: 2,
        waits_for: None,
    };
    let unanchored = TransactionOverview { id: TransactionId(78), anchor: None, shard: None, ..elsewhere.clone() };
    let locked = TransactionOverview {
        id: TransactionId(80),
        anchor: None,
        phase: TransactionPhase::Active,
        age: Timestamp(1 << 40),
        ..elsewhere.clone()
    };
    let (mut client, mut admin) = connect(Told(vec![elsewhere, unanchored, locked])).await;
    let here = begin(&mut client).await;
    let list = admin.list_transactions(v1::ListTransactionsRequest {}).await.expect("told").into_inner();
    let ids: Vec<_> = list.transactions.into_iter().filter_map(|open| open.handle).map(|handle| handle.id).collect();
    let id = |number: u128| Bytes::copy_from_slice(&number.to_be_bytes());
    assert_eq!(ids, [id(77), id(78), here.clone(), id(80)], "the oldest first");
    assert_eq!(list.problems, ["node n9 does not answer"]);
    for id in [id(77), here.clone()] {
        let reply = admin.abort_transaction(v1::AbortTransactionRequest { id }).await.expect("ended").into_inner();
        let decided = reply.status.and_then(|status| status.status);
        let is_aborted = |decision| matches!(decision, Some(decision::Decision::Aborted(_)));
        assert!(matches!(decided, Some(Wire::Decided(v1::Decision { decision })) if is_aborted(decision)));
    }
    let error = error_of(&commit(&mut client, &here).await.expect_err("aborted"));
    assert!(error.message.contains("operator"), "{error}");
    for (id, code, why) in [
        (id(78), ErrorCode::Refused, "has written nothing"),
        (id(79), ErrorCode::InvalidArgument, "no open transaction"),
        (id(80), ErrorCode::Refused, "only locks of the transaction are known"),
    ] {
        let refused = admin.abort_transaction(v1::AbortTransactionRequest { id }).await.expect_err("refused");
        let error = error_of(&refused);
        assert!(error.code == code && error.message.contains(why), "{error}");
    }
}
