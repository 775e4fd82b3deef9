//! Followers that have just got a snapshot, and take from the log what was written while it was on its way.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{LogIndex, ReplicaId};

use crate::kept::KEEP_FOR;

/// Who needs what the snapshots lacked. Without it they would need other snapshots, and while these are on their way
/// the log would grow as much again.
#[derive(Default)]
pub(crate) struct CatchingUp {
    followers: Mutex<BTreeMap<ReplicaId, Follower>>,
}

struct Follower {
    /// How far it is known to be.
    has: LogIndex,
    /// When it was seen to get on last.
    heard: Mono,
    /// Where the log ended when it was looked last.
    end: Option<LogIndex>,
}

impl CatchingUp {
    /// A follower has a snapshot that ends there.
    pub(crate) fn begin(&self, follower: ReplicaId, has: LogIndex, now: Mono) {
        self.followers.lock().insert(follower, Follower { has, heard: now, end: None });
    }

    /// How far the slowest is, where the log ends at `last`. Forgets those who have all that was there at the last
    /// look, those who do not get on, and those whom this replica does not lead.
    pub(crate) fn look(
        &self,
        now: Mono,
        last: LogIndex,
        matched: impl Fn(ReplicaId) -> Option<LogIndex>,
    ) -> Option<LogIndex> {
        let mut slowest: Option<LogIndex> = None;
        self.followers.lock().retain(|id, follower| {
            let Some(matched) = matched(*id) else { return false };
            if matched > follower.has {
                (follower.has, follower.heard) = (matched, now);
            }
            slowest = Some(slowest.map_or(follower.has, |slowest| slowest.min(follower.has)));
            let is_near = follower.end.is_some_and(|end| follower.has >= end);
            follower.end = Some(last);
            !is_near && now.since(follower.heard) < KEEP_FOR
        });
        slowest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: ReplicaId = ReplicaId(1);

    #[test]
    fn the_log_is_kept_for_a_follower_until_it_has_what_was_there_a_look_ago() {
        let catching_up = CatchingUp::default();
        let second = |seconds| Mono(Duration::from_secs(seconds));
        let look =
            |at, last, matched: Option<u64>| catching_up.look(second(at), LogIndex(last), |_| matched.map(LogIndex));
        assert_eq!(look(0, 100, Some(0)), None, "nobody catches up");
        catching_up.begin(ID, LogIndex(50), second(0));
        assert_eq!(look(1, 100, Some(0)), Some(LogIndex(50)), "its answer is not known yet, but it has the snapshot");
        assert_eq!(look(2, 150, Some(80)), Some(LogIndex(80)));
        assert_eq!(look(3, 200, Some(150)), Some(LogIndex(150)), "as long as a look goes, also when it is near");
        assert_eq!(look(4, 200, Some(150)), None, "it is near");

        catching_up.begin(ID, LogIndex(50), second(4));
        let longest = KEEP_FOR.as_secs();
        assert_eq!(look(5, 100, Some(60)), Some(LogIndex(60)));
        assert_eq!(look(4 + longest, 100, Some(60)), Some(LogIndex(60)));
        assert_eq!(look(5 + longest, 100, Some(60)), Some(LogIndex(60)));
        assert_eq!(look(6 + longest, 100, Some(60)), None, "it did not get on");

        catching_up.begin(ID, LogIndex(50), second(0));
        assert_eq!(look(1, 100, None), None, "another one leads");
        assert_eq!(look(2, 100, Some(60)), None);
    }
}
