//! A connection to whichever of the given nodes answers.
//!
//! Commands typed by hand use the plain calls of `strata.v1`: one node is enough, it finds the leaders itself, and it
//! works through a tunnel to a single port. The SDK, which needs to reach every node, is for load (see `bench`).

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use strata_proto::v1::admin_client::AdminClient;
use strata_proto::v1::kv_client::KvClient;
use strata_types::{Error, ErrorCode, limits};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::args::Connect;
use crate::failure::Failure;

/// How long one address may take to answer before the next one is tried.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Nodes answer by the deadline they were given; this much later the node itself must be stuck.
const GRACE: Duration = Duration::from_millis(500);

/// Where to call. Each call makes its own connection: that costs a millisecond, and the node that answered the last
/// call may be gone.
pub struct Session {
    addresses: Vec<String>,
    timeout: Duration,
}

impl Session {
    /// Connects to nobody yet.
    pub fn new(connect: &Connect) -> Session {
        Session { addresses: connect.addr.clone(), timeout: connect.timeout }
    }

    /// Calls the key-value service.
    pub async fn kv<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(KvClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let (address, channel) = self.connect().await?;
        let client = KvClient::new(channel)
            .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        self.finish(address, call(client, self.request(message))).await
    }

    /// Calls the administration service.
    pub async fn admin<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(AdminClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let (address, channel) = self.connect().await?;
        self.finish(address, call(AdminClient::new(channel), self.request(message))).await
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    async fn finish<A>(
        &self,
        address: &str,
        call: impl Future<Output = Result<Response<A>, Status>>,
    ) -> Result<A, Failure> {
        match tokio::time::timeout(self.timeout + GRACE, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failure_of(&status, address)),
            Err(_) => {
                let message = format!("{address} did not answer within {} s", self.timeout.as_secs_f64());
                Err(Error::unknown(ErrorCode::DeadlineExceeded, message).into())
            }
        }
    }

    async fn connect(&self) -> Result<(&str, Channel), Failure> {
        let mut reasons = Vec::new();
        for address in &self.addresses {
            match connect(address).await {
                Ok(channel) => return Ok((address, channel)),
                Err(reason) => reasons.push(format!("{address} ({reason})")),
            }
        }
        Err(Failure::new(format!("nobody answers at {}", reasons.join(", "))).hint(
            "is the node running? `strata demo` and `strata start` print their addresses; name another with --addr",
        ))
    }
}

/// What a failed call means to the user.
pub fn failure_of(status: &Status, address: &str) -> Failure {
    let error = strata_proto::error_of(status);
    if status.source().is_none() {
        return error.into();
    }
    // A status with a cause was made on this side: no node said so.
    let message = format!("the connection to {address} broke before the answer came");
    Failure::from(Error { message, ..error })
}

/// Connects to one address; the error is a few words.
pub async fn connect(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| "not an address".to_owned())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20);
    endpoint.connect().await.map_err(|error| innermost(&error))
}

/// The last cause in the chain: the only one that says something to a user.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string().to_lowercase();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
