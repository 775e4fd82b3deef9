//! Generated clients of the foreign services, and one way to connect to all services.

use std::time::Duration;

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};

/// etcd's version 3 interface.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]
pub(crate) mod etcd {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// The standard health check.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]
pub(crate) mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Flow-control windows, far above what small messages need: nobody is to be slowed down by them.
const WINDOW: u32 = 8 * 1024 * 1024;

/// Connects to `host:port`. Both sides of a comparison use this.
pub(crate) async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    endpoint.connect().await.with_context(|| format!("nobody answers at {address}"))
}
