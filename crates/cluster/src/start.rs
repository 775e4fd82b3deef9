//! From a data directory to a running node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strata_net::MessageKind;
use strata_raft::{Host, HostParts};
use strata_types::{Epoch, ShardMap};
use strata_wal::{RecoveryProgress, Wal, WalError};

use crate::address_book::AddressBook;
use crate::admission::Admission;
use crate::data_directory::{DataDirectory, LOG_DIRECTORY};
use crate::greeting::Greeter;
use crate::identity_file::Membership;
use crate::joining::Joining;
use crate::map_keeper::MapKeeper;
use crate::meta_group::MetaGroup;
use crate::node::{Node, NodeCore};
use crate::progress::Progress;
use crate::reception::Reception;
use crate::service::ClusterService;
use crate::{
    NodeParts, NodeSettings, Phase, StartError, balance, changes, deletions, map_watch, planning, registration,
    replicas, time,
};

/// How often it is looked whether all groups have leaders.
const ELECTION_POLL: Duration = Duration::from_millis(20);
/// Elections that take longer than this miss something.
const ELECTION_PATIENCE: Duration = Duration::from_secs(5);
/// How often tablets are flushed and logs are cut where it is due.
const MAINTENANCE: Duration = Duration::from_secs(1);

impl Node {
    /// Starts a node. Returns when its replicas are open; [`Node::wait_ready`] completes when they have leaders.
    ///
    /// # Errors
    /// What no patience can change. What is missing outside is waited for, and told as [`Phase::Waiting`].
    pub async fn start(parts: NodeParts) -> Result<Arc<Node>, StartError> {
        let started = parts.env.now();
        parts.settings.check()?;
        let progress = Arc::new(Progress::new(parts.progress.clone()));
        let Found { membership, directory, known, reception, book } = find_cluster(&parts, &progress).await?;
        let NodeParts { env, disk, tablets, transport, switchboard, caller, settings, .. } = parts;
        known.as_ref().map_or(Ok(()), |known| check_version(&settings, known))?;
        let cluster = membership.charter.cluster;
        transport.identify(cluster, membership.node);
        caller.identify(membership.node);
        let keeper = Arc::new(MapKeeper::new(first_map(&membership, known.as_ref()), book.clone()));
        let greeter = Greeter {
            env: env.clone(),
            reception: reception.clone(),
            book,
            keeper: keeper.clone(),
            membership: membership.clone(),
            join: settings.join.clone(),
        };
        greeter.greet().await?;

        let log_progress = progress.clone();
        let report = move |state: RecoveryProgress| log_progress.report(Phase::OpeningLog { percent: percent(state) });
        let wal = Wal::open(env.clone(), disk, Path::new(LOG_DIRECTORY), settings.wal.clone(), &report);
        let wal = wal.await.map_err(log_error)?;
        let host = Host::new(HostParts {
            env: env.clone(),
            node: membership.node,
            wal: wal.clone(),
            tablets,
            caller: caller.clone(),
            timing: settings.timing,
            retention: settings.retention,
            snapshot_bytes_per_second: settings.snapshot_bytes_per_second,
            cores: settings.cores,
        });
        host.register(&switchboard);
        let node = Node::new(NodeCore { env, settings, started, membership, keeper, host, wal, caller, progress });
        switchboard.set_handler(MessageKind::Cluster, Arc::new(ClusterService::new(&node)));
        reception.open(Admission::new(&node));
        node.spawn("greeting", greeter.keep_greeting());
        let unfinished = Unfinished(Some(node.clone()));
        open_groups(&node, directory, known).await?;
        unfinished.finish();
        Ok(node)
    }
}

/// Ends the tasks of a node whose start failed or was given up.
struct Unfinished(Option<Arc<Node>>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.abort_tasks();
        }
    }
}

/// What is known before the log is opened.
struct Found {
    membership: Arc<Membership>,
    directory: DataDirectory,
    /// Nodes and meta group as this node last knew them.
    known: Option<ShardMap>,
    reception: Arc<Reception>,
    book: Arc<AddressBook>,
}

/// This node's place in its cluster, whether it has one or has to get one.
async fn find_cluster(parts: &NodeParts, progress: &Arc<Progress>) -> Result<Found, StartError> {
    let NodeParts { env, disk, transport, switchboard, settings, .. } = parts;
    let directory = DataDirectory::new(env.clone(), disk.clone());
    let identity = directory.open().await?;
    let known = directory.map().await?;
    let book = Arc::new(AddressBook::new(transport.clone()));
    let own = settings.peer_address.clone();
    let reception = Reception::new(env.clone(), transport.clone(), book.clone(), identity.instance, own);
    if let Some(membership) = &identity.membership {
        check_name(settings, membership)?;
        reception.seat(membership.clone());
    }
    switchboard.set_introductions(reception.clone());
    let membership = match identity.membership {
        Some(membership) => membership,
        None => {
            let report = |phase: Phase| progress.report(phase);
            let joining = Joining { env, settings, directory: &directory, reception: &reception, report: &report };
            joining.join().await?
        }
    };
    let known = known.filter(|known| known.cluster == membership.charter.cluster);
    Ok(Found { membership: Arc::new(membership), directory, known, reception, book })
}

/// The map until the meta group answers: epoch 0 and no shards, so that nobody takes it for one.
fn first_map(membership: &Membership, known: Option<&ShardMap>) -> ShardMap {
    if let Some(known) = known {
        return ShardMap { epoch: Epoch(0), ..known.clone() };
    }
    let mut first = membership.charter.first_map();
    // Who joined later does not know how often the members of the meta group were changed before. Only of groups that
    // are as they were born does anybody found anything (CLUSTER-9).
    first.meta_changes.generation = u64::from(!membership.is_founding);
    first
}

/// CLUSTER-10: a node that stays what it is must have been started for that.
fn check_name(settings: &NodeSettings, membership: &Membership) -> Result<(), StartError> {
    let (own, wanted) = (&membership.cluster, &settings.cluster);
    match own == wanted {
        true => Ok(()),
        false => Err(StartError::OtherName { own: own.to_string(), wanted: wanted.to_string() }),
    }
}

/// CLUSTER-11: an older program would not understand what the others write.
fn check_version(settings: &NodeSettings, map: &ShardMap) -> Result<(), StartError> {
    let (version, versions) = (map.version, settings.versions);
    if versions.contains(version) { Ok(()) } else { Err(StartError::Outdated { version, versions }) }
}

/// Ends the node when the cluster outgrows its program. It can: a node that took a step back keeps others from raising the
/// version only once it has registered.
async fn end_when_outgrown(node: Arc<Node>) {
    let is_outgrown = |map: &Arc<ShardMap>| check_version(node.settings(), map).is_err();
    let outgrown = match node.keeper().watch().wait_for(is_outgrown).await {
        Ok(map) => check_version(node.settings(), &map),
        // The sender, which this node holds, is gone.
        Err(_) => return,
    };
    if let Err(error) = outgrown {
        node.env().halt(format!("{error}; {}", error.hint()));
    }
}

async fn open_groups(node: &Arc<Node>, directory: DataDirectory, known: Option<ShardMap>) -> Result<(), StartError> {
    let meta = MetaGroup::start(node, directory, known).await?;
    node.spawn("meta-group", meta.run());
    node.spawn("late-founding", replicas::found_late(node.clone()));
    node.spawn("map-watch", map_watch::run(node.clone()));
    node.spawn("registration", registration::run(node.clone()));
    node.spawn("maintenance", maintain(node.clone()));
    time::spawn(node);
    node.report_phase(Phase::WaitingForMeta);
    let map = node.keeper().newer_than(Epoch(0)).await;
    check_version(node.settings(), &map)?;
    node.spawn("version-watch", end_when_outgrown(node.clone()));
    replicas::open_all(node, &map).await?;
    node.spawn("replicas", replicas::run(node.clone()));
    node.spawn("deletions", deletions::run(node.clone()));
    node.spawn("changes", changes::run(node.clone()));
    node.spawn("planning", planning::run(node.clone()));
    node.spawn("balance", balance::run(node.clone()));
    node.spawn("readiness", elect(node.clone()));
    Ok(())
}

/// Reports how many groups have leaders until all have.
async fn elect(node: Arc<Node>) {
    let begun = node.env().now();
    loop {
        let groups = node.host().groups();
        let done = groups.iter().filter(|group| group.watch().borrow().leader.is_some()).count();
        let total = groups.len();
        if done == total {
            return node.set_ready();
        }
        if node.env().now().since(begun) < ELECTION_PATIENCE {
            node.report_phase(Phase::Electing { done, total });
        } else {
            let without = total - done;
            let reason = format!(
                "{without} of {total} groups have no leader: a majority of the nodes of each must be running and reachable"
            );
            node.report_phase(Phase::Waiting { reason });
        }
        node.env().sleep(ELECTION_POLL).await;
    }
}

async fn maintain(node: Arc<Node>) {
    loop {
        node.env().sleep(MAINTENANCE).await;
        node.host().maintain().await;
    }
}

fn percent(state: RecoveryProgress) -> u8 {
    (state.bytes_done * 100).checked_div(state.bytes_total).map_or(100, |percent| percent.min(100) as u8)
}

fn log_error(error: WalError) -> StartError {
    match error {
        WalError::Corrupt { file, detail } => StartError::LogDamaged { file, detail },
        error => StartError::Log { detail: error.to_string() },
    }
}
