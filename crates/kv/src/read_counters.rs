//! Reads by the level that was kept and by who carried them out. Handles are made once: looking them up costs more than
//! counting.

use metrics::Counter;
use strata_types::ReadLevel;

/// One counter for each level and role.
pub(crate) struct ReadCounters {
    linearizable: Roles,
    lease: Roles,
    bounded: Roles,
    local: Roles,
}

struct Roles {
    leader: Counter,
    follower: Counter,
}

impl Roles {
    fn new(level: &'static str) -> Roles {
        let of = |role: &'static str| metrics::counter!("strata_kv_reads_total", "level" => level, "role" => role);
        Roles { leader: of("leader"), follower: of("follower") }
    }
}

impl ReadCounters {
    pub(crate) fn new() -> ReadCounters {
        ReadCounters {
            linearizable: Roles::new("linearizable"),
            lease: Roles::new("lease"),
            bounded: Roles::new("bounded"),
            local: Roles::new("local"),
        }
    }

    /// Counts one read.
    pub(crate) fn count(&self, level: ReadLevel, is_leader: bool) {
        let roles = match level {
            ReadLevel::Linearizable => &self.linearizable,
            ReadLevel::Lease => &self.lease,
            ReadLevel::Bounded { .. } => &self.bounded,
            ReadLevel::Local => &self.local,
        };
        if is_leader { &roles.leader } else { &roles.follower }.increment(1);
    }
}
