//! How many changes may still be started.

use std::collections::BTreeMap;

use strata_types::NodeId;

use crate::{PlanLimits, PlannedChange};

/// Counts changes in all and for each node.
pub(crate) struct Budget {
    limits: PlanLimits,
    changes: u32,
    into: BTreeMap<NodeId, u32>,
    out_of: BTreeMap<NodeId, u32>,
}

impl Budget {
    pub(crate) fn new(limits: PlanLimits) -> Budget {
        Budget { limits, changes: 0, into: BTreeMap::new(), out_of: BTreeMap::new() }
    }

    pub(crate) fn allows(&self, change: PlannedChange) -> bool {
        let has_room = |counts: &BTreeMap<NodeId, u32>, node: Option<NodeId>| {
            node.and_then(|node| counts.get(&node)).is_none_or(|count| *count < self.limits.per_node)
        };
        self.changes < self.limits.changes
            && self.limits.per_node > 0
            && has_room(&self.into, change.add)
            && has_room(&self.out_of, change.remove)
    }

    pub(crate) fn spend(&mut self, change: PlannedChange) {
        self.changes += 1;
        if let Some(node) = change.add {
            *self.into.entry(node).or_default() += 1;
        }
        if let Some(node) = change.remove {
            *self.out_of.entry(node).or_default() += 1;
        }
    }
}
