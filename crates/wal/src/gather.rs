//! What the node's tasks append in one turn goes to the lane together.
//!
//! The lane has a thread of its own: woken by the first of many, it would make that one durable alone while the others
//! are still about to come, and the next sync costs as much again.

use std::sync::Arc;

use strata_env::courtesy;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::lane::refuse_all;
use crate::shared::{Shared, Submission};

/// Requests that reach the lane together, in the order in which they were made.
pub(crate) type Gathered = Vec<Submission>;

/// Bytes of requests, roughly.
pub(crate) fn bytes(gathered: &[Submission]) -> usize {
    gathered.iter().map(|(request, _)| request.work.bytes()).sum()
}

/// Hands requests to the lane, up to about `bytes_max` at once, until nobody makes any or the lane is gone.
pub(crate) async fn run(
    mut requests: UnboundedReceiver<Submission>,
    lane: UnboundedSender<Gathered>,
    bytes_max: usize,
    shared: Arc<Shared>,
) {
    while let Some(first) = requests.recv().await {
        courtesy().await;
        let mut size = first.0.work.bytes();
        let mut gathered = vec![first];
        while size < bytes_max {
            let Ok(next) = requests.try_recv() else { break };
            size += next.0.work.bytes();
            gathered.push(next);
        }
        if let Err(refused) = lane.send(gathered) {
            requests.close();
            let mut left = refused.0;
            while let Ok(next) = requests.try_recv() {
                left.push(next);
            }
            return refuse_all(left, &shared.closed_error());
        }
    }
}
