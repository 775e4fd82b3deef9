//! strata.v1.Txn.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use strata_env::Mono;
use strata_proto::{status_of, v1};
use strata_router::Kv as _;
use strata_txn::OpenTransactions;
use strata_types::Result;
use tonic::{Request, Response, Status};

use super::calls;
use crate::deadline;
use crate::foreign::check_cluster;
use crate::measure::Measure;

pub(crate) struct TxnService {
    open: OpenTransactions,
    begin: Measure,
    get: Measure,
    get_for_update: Measure,
    put: Measure,
    delete: Measure,
    savepoint: Measure,
    rollback_to: Measure,
    commit: Measure,
    rollback: Measure,
    heartbeat: Measure,
    outcome: Measure,
    timestamp: Measure,
}

type Answer<T> = std::result::Result<Response<T>, Status>;

impl TxnService {
    pub(crate) fn new(open: OpenTransactions) -> TxnService {
        TxnService {
            open,
            begin: Measure::new("Txn.Begin"),
            get: Measure::new("Txn.Get"),
            get_for_update: Measure::new("Txn.GetForUpdate"),
            put: Measure::new("Txn.Put"),
            delete: Measure::new("Txn.Delete"),
            savepoint: Measure::new("Txn.Savepoint"),
            rollback_to: Measure::new("Txn.RollbackTo"),
            commit: Measure::new("Txn.Commit"),
            rollback: Measure::new("Txn.Rollback"),
            heartbeat: Measure::new("Txn.Heartbeat"),
            outcome: Measure::new("Txn.Outcome"),
            timestamp: Measure::new("Txn.Timestamp"),
        }
    }

    fn now(&self) -> Mono {
        self.open.env().now()
    }

    /// The message of a call and its time; each call keeps to that by itself (GRPC-3).
    fn parts<Q>(request: Request<Q>) -> (Q, Duration) {
        let deadline = deadline::of_request(request.metadata());
        (request.into_inner(), deadline)
    }

    /// Whatever goes wrong, the status carries code and outcome (GRPC-1).
    fn respond<A>(&self, measure: &Measure, start: Mono, result: Result<A>) -> Answer<A> {
        measure.answered(self.open.env(), start, result.is_err());
        result.map(Response::new).map_err(|error| status_of(&error))
    }
}

/// A call with one reply: its name here, in `calls` and among the measures is the same.
macro_rules! unary {
    ($service:expr, $call:ident, $request:expr) => {{
        let start = $service.now();
        let (request, deadline) = TxnService::parts($request);
        let result = calls::$call(&$service.open, request, deadline).await;
        $service.respond(&$service.$call, start, result)
    }};
}

#[tonic::async_trait]
impl v1::txn_server::Txn for TxnService {
    type ScanStream = Pin<Box<dyn Stream<Item = std::result::Result<v1::TxnScanReply, Status>> + Send>>;

    async fn begin(&self, request: Request<v1::TxnBeginRequest>) -> Answer<v1::TxnBeginReply> {
        unary!(self, begin, request)
    }

    async fn get(&self, request: Request<v1::TxnGetRequest>) -> Answer<v1::TxnGetReply> {
        unary!(self, get, request)
    }

    async fn get_for_update(&self, request: Request<v1::TxnGetForUpdateRequest>) -> Answer<v1::TxnGetForUpdateReply> {
        unary!(self, get_for_update, request)
    }

    async fn put(&self, request: Request<v1::TxnPutRequest>) -> Answer<v1::TxnPutReply> {
        unary!(self, put, request)
    }

    async fn delete(&self, request: Request<v1::TxnDeleteRequest>) -> Answer<v1::TxnDeleteReply> {
        unary!(self, delete, request)
    }

    async fn scan(&self, request: Request<v1::TxnScanRequest>) -> Answer<Self::ScanStream> {
        let deadline = deadline::of_scan(request.metadata());
        let pages = calls::scan(&self.open, request.into_inner(), deadline).await;
        let pages = pages.map_err(|error| status_of(&error))?;
        Ok(Response::new(Box::pin(pages.into_stream())))
    }

    async fn savepoint(&self, request: Request<v1::TxnSavepointRequest>) -> Answer<v1::TxnSavepointReply> {
        unary!(self, savepoint, request)
    }

    async fn rollback_to(&self, request: Request<v1::TxnRollbackToRequest>) -> Answer<v1::TxnRollbackToReply> {
        unary!(self, rollback_to, request)
    }

    async fn commit(&self, request: Request<v1::TxnCommitRequest>) -> Answer<v1::TxnCommitReply> {
        unary!(self, commit, request)
    }

    async fn rollback(&self, request: Request<v1::TxnRollbackRequest>) -> Answer<v1::TxnRollbackReply> {
        unary!(self, rollback, request)
    }

    async fn heartbeat(&self, request: Request<v1::TxnHeartbeatRequest>) -> Answer<v1::TxnHeartbeatReply> {
        unary!(self, heartbeat, request)
    }

    async fn outcome(&self, request: Request<v1::TxnOutcomeRequest>) -> Answer<v1::TxnOutcomeReply> {
        unary!(self, outcome, request)
    }

    async fn timestamp(&self, request: Request<v1::TimestampRequest>) -> Answer<v1::TimestampReply> {
        check_cluster(self.open.router().map().cluster, request.metadata())?;
        unary!(self, timestamp, request)
    }
}
