//! Tells everything in a server that it should end.

use tokio::sync::watch;

/// Completes when the server stops, or when it is gone.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and then so is the server.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
