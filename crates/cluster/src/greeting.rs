//! How a member tells the others that it is back, and learns where they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strata_env::Env;
use strata_types::{NodeDescriptor, NodeId};

use crate::StartError;
use crate::address_book::{AddressBook, Heard};
use crate::identity_file::Membership;
use crate::introduction::{Answer, Greeting, Introduction, Refusal, Verdict};
use crate::map_keeper::MapKeeper;
use crate::reception::Reception;

/// How long one node may take to answer: it may have to ask a third one.
const ASK_DEADLINE: Duration = Duration::from_secs(1);
/// Pauses between two rounds for nodes that did not answer yet.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Greets the other nodes of the cluster.
#[derive(Clone)]
pub(crate) struct Greeter {
    pub(crate) env: Env,
    pub(crate) reception: Arc<Reception>,
    pub(crate) book: Arc<AddressBook>,
    pub(crate) keeper: Arc<MapKeeper>,
    pub(crate) membership: Arc<Membership>,
    /// Addresses that the operator gave: after a restart of all nodes on other ports, the only right ones.
    pub(crate) join: Vec<String>,
}

impl Greeter {
    /// Greets everybody once. Taking part before that could mean voting beside another process of this node
    /// (CLUSTER-3); whoever does not answer cannot be asked for votes either.
    pub(crate) async fn greet(&self) -> Result<(), StartError> {
        let greeting = Introduction::Greeting(Greeting {
            cluster: self.membership.charter.cluster,
            node: self.membership.node,
            instance: self.reception.instance,
            incarnation: self.reception.incarnation,
            peer_address: self.reception.peer_address.clone(),
        });
        let addresses = self.addresses();
        let asked = addresses
            .iter()
            .map(|address| async { (address.as_str(), self.reception.ask(address, &greeting, ASK_DEADLINE).await) });
        for (address, answer) in futures_util::future::join_all(asked).await {
            match answer {
                Ok(answer) => self.take(address, &answer)?,
                Err(detail) => tracing::debug!(address, detail, "no answer to a greeting"),
            }
        }
        Ok(())
    }

    /// Greets those who did not answer yet, until all did. Stops the node if its id is taken.
    pub(crate) async fn keep_greeting(self) {
        let mut pause = PAUSE_MIN;
        while !self.missing().is_empty() {
            self.env.sleep(self.env.jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match self.greet().await {
                Err(error @ StartError::IdentityTaken { .. }) => return self.env.halt(error.to_string()),
                Err(error) => tracing::warn!(%error, "greeting"),
                Ok(()) => {}
            }
        }
    }

    fn take(&self, address: &str, answer: &Answer) -> Result<(), StartError> {
        let own = self.membership.charter.cluster;
        match &answer.verdict {
            Verdict::Refused(Refusal::IdentityTaken { node, address }) => {
                return Err(StartError::IdentityTaken { node: *node, address: address.clone() });
            }
            // An old port of ours may be another cluster's by now; what the operator named must be right.
            Verdict::Refused(Refusal::OtherCluster { cluster }) if self.join.iter().any(|named| named == address) => {
                return Err(StartError::OtherCluster { own, other: *cluster, address: address.to_owned() });
            }
            Verdict::Refused(refusal) => tracing::warn!(address, ?refusal, "greeting refused"),
            _ => {
                if let Some((cluster, node)) = answer.who.member
                    && cluster == own
                    && node != self.membership.node
                {
                    let (incarnation, address) = (answer.who.incarnation, answer.who.peer_address.clone());
                    self.book.hear(node, Heard { incarnation, address });
                }
            }
        }
        Ok(())
    }

    fn missing(&self) -> Vec<NodeId> {
        let map = self.keeper.map();
        // Who is given up would be greeted for ever; it greets if it comes back.
        let is_expected = |node: &&NodeDescriptor| node.state.is_counted_on() && node.id != self.membership.node;
        let others = map.nodes.iter().filter(is_expected).map(|node| node.id);
        others.filter(|node| self.book.heard(*node).is_none()).collect()
    }

    fn addresses(&self) -> BTreeSet<String> {
        let missing = self.missing();
        let map = self.keeper.map();
        let known = map.nodes.iter().filter(|node| missing.contains(&node.id)).map(|node| node.peer_address.clone());
        let mut addresses: BTreeSet<String> = known.chain(self.join.iter().cloned()).collect();
        addresses.remove(&self.reception.peer_address);
        addresses
    }
}
