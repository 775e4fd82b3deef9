//! A connection to whichever of the given nodes answers.
//!
//! Commands typed by hand use the plain calls of `strata.v1`: one node is enough, it finds the leaders itself, and it
//! works through a tunnel to a single port. The SDK, which needs to reach every node, is for load (see `bench`).

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use strata_client::ClientTls;
use strata_net::tls::Dialer;
use strata_proto::v1::admin_client::AdminClient;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::v1::txn_client::TxnClient;
use strata_types::{Error, ErrorCode, limits};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::args::Connect;
use crate::failure::Failure;

/// How long one address may take to answer before the next one is tried.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Nodes answer by the deadline they were given; this much later the node itself must be stuck.
const GRACE: Duration = Duration::from_millis(500);
/// How often a silent connection is probed, and how long the answer may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Where to call. Each call makes its own connection: that costs a millisecond, and the node that answered the last
/// call may be gone.
pub struct Session {
    addresses: Vec<String>,
    timeout: Duration,
    dialer: Option<Dialer>,
}

impl Session {
    /// Connects to nobody yet.
    pub fn new(connect: &Connect) -> Result<Session, Failure> {
        let dialer = dialer_of(connect.tls.read()?.as_ref())?;
        Ok(Session { addresses: connect.addr.clone(), timeout: connect.timeout, dialer })
    }

    /// Calls the key-value service to write something.
    pub async fn kv<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(KvClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        self.write(message, |channel, request| call(kv_client(channel), request)).await
    }

    /// Calls the key-value service to read something.
    pub async fn kv_read<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl Fn(KvClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        self.read(message, |channel, request| call(kv_client(channel), request)).await
    }

    /// Calls the administration service to change something.
    pub async fn admin<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(AdminClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        self.write(message, |channel, request| call(AdminClient::new(channel), request)).await
    }

    /// Calls the administration service to learn something.
    pub async fn admin_read<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl Fn(AdminClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        self.read(message, |channel, request| call(AdminClient::new(channel), request)).await
    }

    /// The next page of a scan; `None` after the last one.
    pub async fn page<A>(&self, pages: &mut Streaming<A>) -> Result<Option<A>, Failure> {
        page("the node", self.timeout, pages).await
    }

    /// A connection that is kept: a transaction is known to the node where it began.
    pub async fn stay(&self) -> Result<Stay, Failure> {
        let (address, channel, _) = self.connect(&self.addresses).await?;
        Ok(Stay { address: address.to_owned(), channel, timeout: self.timeout })
    }

    /// Asks one node, once: without an answer nobody knows what it did.
    async fn write<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(Channel, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let (address, channel, _) = self.connect(&self.addresses).await?;
        let call = call(channel, request(message, self.timeout));
        finish(address, self.timeout, call).await.map_err(|missed| missed.failure)
    }

    /// Asks one node after the other until one says something.
    async fn read<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let (mut addresses, mut silence) = (&self.addresses[..], None);
        loop {
            let (address, channel, rest) = match self.connect(addresses).await {
                Ok(reached) => reached,
                Err(failure) => return Err(silence.unwrap_or(failure)),
            };
            let call = call(channel, request(message.clone(), self.timeout));
            match finish(address, self.timeout, call).await {
                Ok(answer) => return Ok(answer),
                Err(missed) if missed.is_silence && !rest.is_empty() => {
                    (addresses, silence) = (rest, Some(missed.failure.of_read()));
                }
                Err(missed) => return Err(missed.failure.of_read()),
            }
        }
    }

    /// The first of some addresses where somebody is, and those after it.
    async fn connect<'a>(&self, addresses: &'a [String]) -> Result<(&'a str, Channel, &'a [String]), Failure> {
        let (mut reasons, mut no_encryption) = (Vec::new(), None);
        for (place, address) in addresses.iter().enumerate() {
            match connect(address, self.dialer.as_ref()).await {
                Ok(channel) => return Ok((address, channel, &addresses[place + 1..])),
                Err(Reason::Tls(sentence)) => no_encryption = Some(no_tls(address, &sentence)),
                Err(Reason::Absent(words)) => reasons.push(format!("{address} ({words})")),
            }
        }
        let failure = no_encryption.unwrap_or_else(|| {
            Failure::new(format!("nobody answers at {}", reasons.join(", "))).hint(
                "is the node running? `strata demo` and `strata start` print their addresses; name another with --addr",
            )
        });
        Err(failure.not_applied())
    }
}

/// A connection to one node.
pub struct Stay {
    address: String,
    channel: Channel,
    timeout: Duration,
}

impl Stay {
    /// Calls the service of transactions.
    pub async fn txn<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        message: Q,
        call: impl FnOnce(TxnClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let client = TxnClient::new(self.channel.clone())
            .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        let call = call(client, request(message, self.timeout));
        finish(&self.address, self.timeout, call).await.map_err(|missed| missed.failure)
    }

    /// The next page of a scan; `None` after the last one.
    pub async fn page<A>(&self, pages: &mut Streaming<A>) -> Result<Option<A>, Failure> {
        page(&self.address, self.timeout, pages).await
    }
}

fn kv_client(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel)
        .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
}

fn request<Q>(message: Q, timeout: Duration) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// A call without a result.
struct Missed {
    failure: Failure,
    /// Whether the node said nothing at all.
    is_silence: bool,
}

async fn finish<A>(
    address: &str,
    timeout: Duration,
    call: impl Future<Output = Result<Response<A>, Status>>,
) -> Result<A, Missed> {
    match tokio::time::timeout(timeout + GRACE, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        // A status with a cause was made on this side.
        Ok(Err(status)) => Err(Missed { failure: failure_of(&status, address), is_silence: status.source().is_some() }),
        Err(_) => Err(Missed { failure: no_answer(address, timeout), is_silence: true }),
    }
}

async fn page<A>(address: &str, timeout: Duration, pages: &mut Streaming<A>) -> Result<Option<A>, Failure> {
    match tokio::time::timeout(timeout + GRACE, pages.message()).await {
        Ok(page) => page.map_err(|status| failure_of(&status, address).of_read()),
        Err(_) => Err(no_answer(address, timeout).of_read()),
    }
}

fn no_answer(address: &str, timeout: Duration) -> Failure {
    let message = format!("{address} did not answer within {} s", timeout.as_secs_f64());
    Error::unknown(ErrorCode::DeadlineExceeded, message).into()
}

/// What a failed call means to the user.
fn failure_of(status: &Status, address: &str) -> Failure {
    let error = strata_proto::error_of(status);
    let Some(cause) = status.source() else {
        return if is_of_stranger(status) { stranger(status, address) } else { error.into() };
    };
    if let Some(sentence) = strata_net::tls::sentence(cause) {
        return no_tls(address, &sentence);
    }
    // A status with a cause was made on this side: no node said so.
    let message = format!("the connection to {address} broke before the answer came");
    match error.code {
        // It does not speak as a node does.
        ErrorCode::Internal => {
            let message = format!("{message}: is it the client port of a Strata node?");
            Failure::from(Error { code: ErrorCode::Unavailable, message, ..error })
        }
        _ => Failure::from(Error { message, ..error }),
    }
}

/// Whether no node of ours can have said so where a call is right: each of its errors has details.
fn is_of_stranger(status: &Status) -> bool {
    use tonic::Code::{Internal, Unimplemented, Unknown};
    status.details().is_empty() && matches!(status.code(), Internal | Unimplemented | Unknown)
}

fn stranger(status: &Status, address: &str) -> Failure {
    let said = match status.message() {
        "" => String::new(),
        said => format!(": it says `{said}`"),
    };
    Failure::new(format!("what listens at {address} is not the client port of a Strata node{said}"))
        .hint("clients use the lower one of a node's two ports, 7400 by default; 7401 is for other nodes")
}

/// Somebody is there, but the two sides do not agree about encryption.
fn no_tls(address: &str, sentence: &str) -> Failure {
    Failure::new(format!("no connection to {address}: {sentence}"))
        .hint("--ca FILE or --certs DIR encrypts, with the CA of the cluster; without them nothing is encrypted")
}

/// What a command believes, ready to dial.
pub fn dialer_of(tls: Option<&ClientTls>) -> Result<Option<Dialer>, Failure> {
    Ok(tls.map(|tls| tls.dialer(&strata_env::real::env())).transpose()?)
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Reason {
    /// Nobody is there: a few words.
    Absent(String),
    /// Somebody is, and encryption fails: a sentence.
    Tls(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Absent(text) | Reason::Tls(text) => f.write_str(text),
        }
    }
}

/// Connects to one address.
pub async fn connect(address: &str, dialer: Option<&Dialer>) -> Result<Channel, Reason> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|_| Reason::Absent("not an address".to_owned()))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20);
    let connected = strata_net::grpc::connect(&endpoint, dialer).await;
    connected.map_err(|error| match strata_net::tls::sentence(&error) {
        Some(sentence) => Reason::Tls(sentence),
        None => Reason::Absent(innermost(&error)),
    })
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

#[cfg(test)]
mod tests {
    use strata_proto::v1;
    use strata_types::Outcome;

    use super::*;

    #[tokio::test]
    async fn a_write_that_reaches_nobody_is_not_applied() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let session = Session { addresses: vec![address], timeout: Duration::from_secs(1), dialer: None };
        let put = session.kv(v1::PutRequest::default(), |mut client, request| async move { client.put(request).await });
        assert_eq!(put.await.expect_err("nobody is there").outcome, Some(Outcome::NotApplied));
    }
}
