//! Once a second: every node says what it reads at, and hears of the horizon; the leader of the meta group notes what
//! it has handed out.

use std::sync::Arc;
use std::time::Duration;

use strata_types::{Feature, GroupId, NodeId, Timestamp};

use crate::node::Node;
use crate::question::{Question, Reply};
use crate::time::aim::Aim;
use crate::time::{Ask, issuer};

/// How often.
const TICK: Duration = Duration::from_secs(1);

pub(crate) async fn run(node: Arc<Node>) {
    let mut aim = Aim::new(node.env());
    loop {
        node.env().sleep(TICK).await;
        if node.map().has(Feature::Transactions) {
            sample(&node).await;
            report(&node, &mut aim).await;
        }
    }
}

/// Notes what was handed out until now, if this node leads: the floor says so after it was confirmed.
async fn sample(node: &Node) {
    let timestamps = node.timestamps();
    let group = node.host().group(GroupId::META);
    let leading = group.map(|group| group.status()).filter(|status| status.is_leader);
    let Some(status) = leading else { return };
    if let Reply::Timestamp(last) = issuer::answer(node, Ask::Floor).await {
        timestamps.horizons.lock().sample(node.env().now(), status.term, last);
    }
}

async fn report(node: &Node, aim: &mut Aim) {
    let timestamps = node.timestamps();
    let oldest = timestamps.in_use.oldest(timestamps.limits().age_max);
    match aim.ask(node, |_| Question::InUse { oldest }).await {
        Ok(Reply::Horizon(horizon)) => timestamps.raise_horizon(horizon),
        other => tracing::debug!(?other, "no horizon"),
    }
}

/// A node has said what it reads at.
pub(crate) fn note_in_use(node: &Node, from: NodeId, oldest: Option<Timestamp>) -> Reply {
    let Some(group) = node.host().group(GroupId::META) else { return Reply::NotLeader { leader: None } };
    let status = group.watch().borrow().clone();
    if !status.is_leader {
        return Reply::NotLeader { leader: status.leader.map(|(_, leader)| leader) };
    }
    let timestamps = node.timestamps();
    let (now, retention) = (node.env().now(), timestamps.limits().retention);
    let mut horizons = timestamps.horizons.lock();
    horizons.report(now, from, oldest);
    Reply::Horizon(horizons.horizon(now, retention))
}
