//! Hello.

use strata_types::{ClusterId, Error, NodeId};

use super::cluster_of;
use crate::internal;

impl internal::Hello {
    /// The cluster of the caller.
    pub fn cluster_id(&self) -> Result<ClusterId, Error> {
        cluster_of(&self.cluster)
    }

    /// Who calls.
    pub fn from_node(&self) -> NodeId {
        NodeId(self.from)
    }

    /// Whom the caller believes to have reached.
    pub fn to_node(&self) -> NodeId {
        NodeId(self.to)
    }
}
