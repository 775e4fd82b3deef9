//! All that a node does with requests, put together.

use std::sync::Arc;

use strata_cluster::Node;
use strata_env::TaskHandle;
use strata_net::Switchboard;
use strata_router::{Router, RouterOptions};

use crate::{LocalShards, NodeLink, tidying};

/// A node's shards, and its way to all others. Ends with its owner.
pub struct Gateway {
    /// Carries out what is routed to this node.
    pub executor: Arc<LocalShards>,
    /// The way to all shards.
    pub router: Arc<Router>,
    tidying: TaskHandle,
}

impl Gateway {
    /// Takes requests for the shards of a node from now on, those that other nodes send too.
    pub fn open(node: &Arc<Node>, switchboard: &Switchboard, options: RouterOptions) -> Gateway {
        let executor = Arc::new(LocalShards::new(node.clone()));
        let link = NodeLink::new(executor.clone());
        link.register(switchboard);
        let router = Router::new(node.env().clone(), Arc::new(link), node.map(), options);
        executor.steps().blockers.set_router(&router);
        let tidying = node.env().spawn("kv-tidy", tidying::run(Arc::downgrade(&executor)));
        Gateway { executor, router, tidying }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.tidying.abort();
    }
}
