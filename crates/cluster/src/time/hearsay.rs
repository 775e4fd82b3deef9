//! What nodes have heard of time, from each other.
//!
//! ```text
//!   leader of the meta group: hands out T --- heard: T ---> every other node
//!   a client names T to a node that has not heard of it --- heard? ---> all other nodes, and the meta group
//! ```
//! A timestamp that a client names is used only if it was handed out. Whoever hands one out says so to everybody, so
//! that nobody has to ask when the client comes with it; that is why it is told at once, and again never. Who was not told
//! asks: the other nodes too, so that what was handed out can be used while the meta group has no leader.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use strata_types::{NodeId, Timestamp};

use crate::node::Node;
use crate::question::{Question, Reply};
use crate::time::TimeError;

/// How long one node may take to answer.
const ASK_DEADLINE: Duration = Duration::from_secs(1);
/// The meta group is asked only if no node has answered by then: it has to confirm its leader for that.
const META_DELAY: Duration = Duration::from_millis(5);

/// Tells all others what this node hands out, for ever. Who misses it asks when it has to know.
pub(crate) async fn run(node: Arc<Node>) {
    let timestamps = node.timestamps().clone();
    loop {
        timestamps.news.notified().await;
        let known = Timestamp(timestamps.handed_out.load(Ordering::Acquire));
        for to in others(&node) {
            metrics::counter!("strata_time_told_total").increment(1);
            node.tell(to, &Question::Heard { known });
        }
    }
}

/// Another node has heard of a timestamp, and asks for the latest that this one knows of.
pub(crate) fn note_heard(node: &Node, known: Timestamp) -> Timestamp {
    let timestamps = node.timestamps();
    timestamps.note(known);
    learn_from_groups(node);
    timestamps.known()
}

/// What this node's replicas have applied and served was handed out: their stamps are at most one above it.
fn learn_from_groups(node: &Node) {
    let heard = node.host().groups().iter().map(|group| group.heard()).max().unwrap_or_default();
    node.timestamps().note(Timestamp(heard.0.saturating_sub(1)));
}

fn others(node: &Node) -> impl Iterator<Item = NodeId> {
    let (own, map) = (node.identity().node, node.map());
    let nodes: Vec<NodeId> = map.nodes.iter().map(|other| other.id).filter(|other| *other != own).collect();
    nodes.into_iter()
}

impl Node {
    /// Checks that a timestamp was handed out which somebody from outside names. It asks only if that is news here.
    pub async fn check_handed_out(&self, named: Timestamp, deadline: Duration) -> Result<(), TimeError> {
        let timestamps = self.timestamps();
        if named <= timestamps.known() {
            return Ok(());
        }
        learn_from_groups(self);
        if named <= timestamps.known() {
            return Ok(());
        }
        metrics::counter!("strata_time_checks_total").increment(1);
        let hearsay = self.hear_of(named);
        let meta = async {
            self.env().sleep(META_DELAY).await;
            timestamps.floor(deadline).await
        };
        let (mut hearsay, mut meta) = (std::pin::pin!(hearsay), std::pin::pin!(meta));
        let last = tokio::select! {
            biased;
            heard = &mut hearsay => if heard { return Ok(()) } else { meta.await },
            last = &mut meta => last,
        };
        match last {
            Ok(last) if named > last && named > timestamps.known() => Err(TimeError::Future { named, last }),
            Ok(_) => Ok(()),
            Err(_) if named <= timestamps.known() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether any other node has heard of a timestamp.
    async fn hear_of(&self, named: Timestamp) -> bool {
        let known = self.timestamps().known();
        let ask = async |to| self.ask(to, &Question::Heard { known }, ASK_DEADLINE).await;
        let mut answers: FuturesUnordered<_> = others(self).map(ask).collect();
        while let Some(answer) = answers.next().await {
            if let Ok(Reply::Timestamp(heard)) = answer {
                self.timestamps().note(heard);
                if named <= heard {
                    return true;
                }
            }
        }
        false
    }
}
