//! Opens the clocks of the shards that this node leads.
//!
//! A new leader knows nothing of what was read at the one before. All of that lies at timestamps that were handed out,
//! so its clock begins above the floor. The floor must be asked for after the leader was seen in its term (TIME-4): one
//! that was named earlier says nothing of what was handed out, and read, since. One question does for all shards that
//! were seen before it was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::select_all;
use strata_env::Mono;
use strata_raft::{Group, GroupStatus};
use strata_types::{Feature, GroupId, ReplicaId, ShardMap, Term};
use tokio::sync::watch;

use crate::node::Node;

/// How long a floor may take. Then it is looked again who leads.
const FLOOR_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after there was none.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked for replicas that nobody has told of.
const TICK: Duration = Duration::from_secs(1);

type Key = (GroupId, ReplicaId);

/// A replica was opened: it keeps time if the cluster does.
pub(crate) fn adopt(node: &Node, group: &Group) {
    if node.map().has(Feature::Transactions) {
        group.set_timed(true);
    }
    node.timestamps().opened.notify_one();
}

/// Opens clocks, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut maps = node.keeper().watch();
    let mut clocks = Clocks::default();
    loop {
        let has_time = maps.borrow_and_update().has(Feature::Transactions);
        if has_time {
            node.host().roll_call().set_understood();
        }
        clocks.refresh(&node);
        if has_time {
            clocks.time_followers();
        }
        let closed = if has_time { clocks.closed(node.env().now()) } else { Vec::new() };
        if closed.is_empty() {
            clocks.changed(&node, &mut maps).await;
        } else {
            open(&node, &mut clocks, closed).await;
        }
    }
}

/// Opens the clocks of leaders that were seen, by one floor.
async fn open(node: &Node, clocks: &mut Clocks, closed: Vec<Closed>) {
    match node.timestamps().floor(FLOOR_DEADLINE).await {
        Ok(floor) => {
            for Closed { group, term, since } in closed {
                group.set_timed(true);
                group.open_clock(term, floor.next());
                clocks.opened.insert((group.id(), group.replica()), term);
                metrics::counter!("strata_time_clocks_opened_total").increment(1);
                let took = node.env().now().since(since).as_secs_f64();
                metrics::histogram!("strata_time_clock_opening_seconds").record(took);
            }
        }
        Err(error) => {
            tracing::debug!(%error, shards = closed.len(), "clocks of shards stay closed");
            node.env().sleep(PAUSE).await;
        }
    }
}

/// A leader whose clock was not opened in its term.
struct Closed {
    group: Arc<Group>,
    term: Term,
    since: Mono,
}

/// The replicas of shards on this node.
#[derive(Default)]
struct Clocks {
    watched: BTreeMap<Key, Watched>,
    /// The terms for which clocks were opened.
    opened: BTreeMap<Key, Term>,
}

struct Watched {
    /// Its files go when nobody holds it.
    group: Weak<Group>,
    status: watch::Receiver<GroupStatus>,
    /// Since when it was seen to lead with a closed clock.
    since: Option<Mono>,
    /// Whether it was told that it keeps time, when it followed.
    is_timed: bool,
}

impl Clocks {
    /// Watches the replicas that are open now.
    fn refresh(&mut self, node: &Node) {
        let groups = node.host().groups().into_iter().filter(|group| group.id() != GroupId::META);
        let open: BTreeMap<Key, Arc<Group>> = groups.map(|group| ((group.id(), group.replica()), group)).collect();
        let is_open = |key: &Key, group: &Weak<Group>| {
            open.get(key).is_some_and(|open| std::ptr::eq(Arc::as_ptr(open), group.as_ptr()))
        };
        self.watched.retain(|key, watched| is_open(key, &watched.group));
        self.opened.retain(|key, _| self.watched.contains_key(key));
        for (key, group) in open {
            let (status, group) = (group.watch(), Arc::downgrade(&group));
            self.watched.entry(key).or_insert(Watched { group, status, since: None, is_timed: false });
        }
    }

    /// Who follows may hear of no stamp for as long as nothing is written; but it can be read from at a timestamp. Who leads
    /// is timed when its clock is opened, so that nobody has to wait for that.
    fn time_followers(&mut self) {
        for watched in self.watched.values_mut().filter(|watched| !watched.is_timed) {
            let follows = !watched.status.borrow().is_leader;
            if let Some(group) = watched.group.upgrade().filter(|_| follows) {
                group.set_timed(true);
                watched.is_timed = true;
            }
        }
    }

    /// The leaders whose clocks are closed.
    fn closed(&mut self, now: Mono) -> Vec<Closed> {
        let mut closed = Vec::new();
        for (key, watched) in &mut self.watched {
            let status = watched.status.borrow_and_update();
            let group = watched.group.upgrade().filter(|_| status.is_leader);
            let Some(group) = group.filter(|_| self.opened.get(key) != Some(&status.term)) else {
                watched.since = None;
                continue;
            };
            closed.push(Closed { group, term: status.term, since: *watched.since.get_or_insert(now) });
        }
        closed
    }

    /// Completes when something may have changed since it was looked at.
    async fn changed(&mut self, node: &Node, maps: &mut watch::Receiver<Arc<ShardMap>>) {
        let changes = self.watched.values_mut().map(|watched| Box::pin(watched.status.changed())).collect::<Vec<_>>();
        let changed = async {
            match changes.is_empty() {
                true => std::future::pending().await,
                false => drop(select_all(changes).await),
            }
        };
        tokio::select! {
            biased;
            () = changed => {}
            _ = maps.changed() => {}
            () = node.timestamps().opened.notified() => {}
            () = node.env().sleep(TICK) => {}
        }
    }
}
