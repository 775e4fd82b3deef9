//! How a client is set up.

use std::time::Duration;

use strata_net::tls::ClientTls;
use strata_router::RouterOptions;
use strata_types::{Result, limits};

use crate::Client;

/// Settings of a [`Client`]; each has a default that suits most programs.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
    pub(crate) connections: usize,
    pub(crate) map_refresh: Duration,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) router: RouterOptions,
}

impl Default for ClientBuilder {
    fn default() -> ClientBuilder {
        ClientBuilder {
            deadline: limits::REQUEST_DEADLINE_DEFAULT,
            connect_deadline: Duration::from_secs(10),
            connections: 1,
            map_refresh: Duration::from_secs(30),
            tls: None,
            router: RouterOptions::default(),
        }
    }
}

impl ClientBuilder {
    /// How long a call may take, with all its retries. At most [`limits::REQUEST_DEADLINE_MAX`].
    pub fn deadline(mut self, deadline: Duration) -> ClientBuilder {
        self.deadline = deadline.min(limits::REQUEST_DEADLINE_MAX);
        self
    }

    /// How long [`ClientBuilder::connect`] looks for a node that knows the cluster.
    pub fn connect_deadline(mut self, deadline: Duration) -> ClientBuilder {
        self.connect_deadline = deadline;
        self
    }

    /// Most attempts of one call before its deadline.
    pub fn attempts(mut self, attempts: u32) -> ClientBuilder {
        self.router.attempts = attempts.max(1);
        self
    }

    /// Numbers all writes, so that each is applied once although it is retried: a lost answer then is no error any
    /// more. Costs a little on each write, and at most 64 writes of this client on one shard are under way at once.
    pub fn sessions(mut self, sessions: bool) -> ClientBuilder {
        self.router.sessions = sessions;
        self
    }

    /// Connections to each node; the default is one, so that concurrent calls share as many messages as possible.
    pub fn connections(mut self, connections: usize) -> ClientBuilder {
        self.connections = connections.max(1);
        self
    }

    /// Batches of one shard under way at once: see [`RouterOptions::inflight`].
    pub fn inflight(mut self, batches: usize) -> ClientBuilder {
        self.router.inflight = batches.max(1);
        self
    }

    /// Encrypts, and believes only nodes that these CAs have signed.
    pub fn tls(mut self, tls: ClientTls) -> ClientBuilder {
        self.tls = Some(tls);
        self
    }

    /// Retries that ask a node for work again, as a share of all requests in percent; the default is 20. A few a second
    /// are always allowed: see [`RouterOptions::retry_floor`]. Waiting for a new leader is not counted.
    pub fn retry_share(mut self, percent: u32) -> ClientBuilder {
        self.router.retry_percent = percent;
        self
    }

    /// Reads that may be asked of a second replica because their answer is late, as a share of all reads in percent; the
    /// default is 5, and 0 turns it off.
    pub fn hedged_reads(mut self, percent: u32) -> ClientBuilder {
        self.router.hedge_percent = percent.min(100);
        self
    }

    /// Finds the cluster through any of these addresses (`host:port`, the client port of a node).
    ///
    /// Must be called on a tokio runtime, on which the client then lives.
    pub async fn connect<A: Into<String>>(self, addresses: impl IntoIterator<Item = A>) -> Result<Client> {
        Client::open(self, addresses.into_iter().map(Into::into).collect()).await
    }
}
