//! What is waited for, and how long.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use strata_proto::v1;
use strata_types::{Epoch, GroupPlacement, NodeId, ShardMap};

use crate::procs::{Admin, CpuMeter};
use crate::report::print_error;

/// How often it is looked.
const POLL: Duration = Duration::from_millis(100);
/// A cluster is quiet when its nodes together take less than this part of a processor for so many looks in a row: more
/// than idle ones with many shards take, less than one compaction.
const QUIET_SHARE: f64 = 0.35;
const QUIET_LOOKS: u32 = 3;
const LOOK: Duration = Duration::from_secs(1);
/// What still goes on after this time is taken for usual.
const QUIET: Duration = Duration::from_secs(60);
/// How long it may take until a wish is durable: there may be no leader of the meta group just now.
const WISH: Duration = Duration::from_secs(30);

/// Waits until nothing is missing any more. `look` says what still is; who cannot be asked is asked again.
pub(super) async fn until(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<String>>,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        let missing = match look().await {
            Ok(None) => return Ok(()),
            Ok(Some(missing)) => missing,
            Err(error) => format!("{error:#}"),
        };
        if begin.elapsed() > limit {
            bail!("not done after {} s: {what}: {missing}", limit.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until nodes have done what they put off, such as compactions after a load: what is measured before would be
/// taken for normal. A cluster that is never quiet is measured as it is.
pub(super) async fn quiet(pids: Vec<u32>) {
    let (begin, meter) = (Instant::now(), CpuMeter::new(pids));
    let (mut looks, mut last) = (0, meter.read());
    while looks < QUIET_LOOKS && begin.elapsed() < QUIET {
        let look = Instant::now();
        tokio::time::sleep(LOOK).await;
        let now = meter.read();
        looks = if is_quiet(last, now, look.elapsed()) { looks + 1 } else { 0 };
        last = now;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let how = if looks < QUIET_LOOKS { "is still not quiet" } else { "is quiet" };
    print_error(&format!("membership: the cluster {how} after {seconds:.0} s"));
}

/// Whether so little was done between two readings. Where the processor's time cannot be read, nothing is known.
fn is_quiet(before: Option<Duration>, after: Option<Duration>, elapsed: Duration) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    after.saturating_sub(before) < elapsed.mul_f64(QUIET_SHARE)
}

/// Wishes something until somebody says that the wish is durable. Returns the epoch of the map that says so.
pub(super) async fn wish(what: &str, mut call: impl AsyncFnMut() -> Result<Epoch>) -> Result<Epoch> {
    let mut since = Epoch(0);
    until(what, WISH, async || {
        since = call().await?;
        Ok(None)
    })
    .await?;
    Ok(since)
}

/// Waits until a node leads no shard.
pub(super) async fn leads_nothing(admin: &Admin, node: NodeId, limit: Duration) -> Result<()> {
    let what = format!("{node} leads nothing");
    until(&what, limit, async || {
        let led = admin.shards().await?.iter().filter(|shard| shard.leader == Some(node.0)).count();
        Ok((led > 0).then(|| format!("it still leads {led} shards")))
    })
    .await
}

/// Waits until every shard is led by the node that the map wants. `since`: what older maps want does not count.
pub(super) async fn led_as_wished(admin: &Admin, since: Epoch, limit: Duration) -> Result<()> {
    until("every shard is led by the node that is to lead it", limit, async || {
        let epoch = admin.map().await?.epoch;
        if epoch < since {
            return Ok(Some(format!("no map since epoch {since}: epoch=`{epoch}`")));
        }
        Ok(misled(&admin.shards().await?))
    })
    .await
}

fn misled(shards: &[v1::ShardStatus]) -> Option<String> {
    let preferred = |shard: &v1::ShardStatus| Some(shard.placement.as_ref()?.replicas.first()?.node);
    let wrong = shards.iter().filter(|shard| shard.leader.is_none() || shard.leader != preferred(shard)).count();
    (wrong > 0).then(|| format!("{wrong} shards are led by others"))
}

/// Waits until nothing is under way and nothing is planned.
pub(super) async fn at_rest(admin: &Admin, limit: Duration) -> Result<()> {
    until("no replica moves any more", limit, async || {
        let left = admin.changes_left().await?;
        let jobs = jobs(&admin.map().await?);
        Ok((left + jobs > 0).then(|| format!("{jobs} under way, {left} to begin")))
    })
    .await
}

/// Changes under way, and replicas that are being deleted.
pub(super) fn jobs(map: &ShardMap) -> usize {
    map.groups().map(|group| usize::from(group.changes.change.is_some()) + group.changes.leaving.len()).sum()
}

/// Waits until every group has so many replicas that answer, none of them on the lost node.
pub(super) async fn redundant(admin: &Admin, lost: NodeId, replicas: usize, limit: Duration) -> Result<()> {
    until(&format!("every shard has {replicas} replicas without {lost}"), limit, async || {
        let map = admin.map().await?;
        let moving = map.groups().filter(|group| !is_whole(group, lost, replicas)).count();
        if moving > 0 {
            return Ok(Some(format!("{moving} groups have too few replicas")));
        }
        let silent = admin.shards().await?.iter().filter(|shard| serving(shard) < replicas).count();
        Ok((silent > 0).then(|| format!("replicas of {silent} shards do not answer")))
    })
    .await
}

/// A replica becomes a member when it has caught up: so members are up to date.
fn is_whole(group: &GroupPlacement<'_>, lost: NodeId, replicas: usize) -> bool {
    group.replicas.iter().filter(|placement| placement.node != lost).count() >= replicas
}

/// Members of a shard that serve.
fn serving(shard: &v1::ShardStatus) -> usize {
    let members = shard.placement.iter().flat_map(|placement| &placement.replicas);
    let serves = |member: &&v1::ReplicaPlacement| {
        shard.replicas.iter().any(|replica| replica.replica == member.replica && replica.serving)
    };
    members.filter(serves).count()
}

/// The newest node with a client address: an address outlives the disk of the node that has it.
pub(super) fn node_at(map: &ShardMap, address: &str) -> Option<NodeId> {
    map.nodes.iter().filter(|node| node.client_address == address).map(|node| node.id).max()
}

#[cfg(test)]
mod tests {
    use strata_types::{GroupChanges, NodeDescriptor, ReplicaId, ReplicaPlacement, ShardPlacement};

    use super::*;

    fn placed(replica: u64, node: u64) -> ReplicaPlacement {
        ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) }
    }

    fn status(leader: Option<u64>, serving: &[u64]) -> v1::ShardStatus {
        let placement =
            ShardPlacement { replicas: vec![placed(11, 1), placed(12, 2), placed(13, 3)], ..ShardPlacement::default() };
        let replica = |&replica: &u64| v1::ReplicaStatus { replica, serving: true, ..v1::ReplicaStatus::default() };
        v1::ShardStatus {
            placement: Some((&placement).into()),
            leader,
            replicas: serving.iter().map(replica).collect(),
            ..v1::ShardStatus::default()
        }
    }

    #[test]
    fn only_members_that_serve_count() {
        assert_eq!(serving(&status(None, &[11, 12, 99])), 2, "99 is no member yet");
        assert_eq!(serving(&status(None, &[11, 12, 13])), 3);
    }

    #[test]
    fn a_shard_without_a_leader_is_not_led_as_wished() {
        assert_eq!(misled(&[status(Some(1), &[])]), None);
        assert!(misled(&[status(Some(2), &[])]).is_some() && misled(&[status(None, &[])]).is_some());
    }

    #[test]
    fn replicas_on_a_lost_node_do_not_count() {
        let shard = ShardPlacement { replicas: vec![placed(11, 1), placed(12, 2)], ..ShardPlacement::default() };
        assert!(is_whole(&shard.as_group(), NodeId(3), 2) && !is_whole(&shard.as_group(), NodeId(2), 2));
    }

    #[test]
    fn a_replica_that_is_being_deleted_is_a_job() {
        let changes = GroupChanges { leaving: vec![placed(10, 3)], ..GroupChanges::default() };
        let map =
            ShardMap { shards: vec![ShardPlacement { changes, ..ShardPlacement::default() }], ..ShardMap::default() };
        assert_eq!((jobs(&map), jobs(&ShardMap::default())), (1, 0));
    }

    #[test]
    fn nodes_that_do_little_are_quiet_and_unknown_ones_are_not() {
        let millis = |millis| Some(Duration::from_millis(millis));
        assert!(is_quiet(millis(5_000), millis(5_300), Duration::from_secs(1)));
        assert!(!is_quiet(millis(5_000), millis(5_400), Duration::from_secs(1)));
        assert!(is_quiet(millis(5_000), millis(5_400), Duration::from_secs(2)), "the look itself was late");
        assert!(
            !is_quiet(None, millis(0), Duration::from_secs(1)) && !is_quiet(millis(0), None, Duration::from_secs(1))
        );
    }

    #[test]
    fn the_newest_node_has_the_address() {
        let node = |id, client_address: &str| NodeDescriptor {
            id: NodeId(id),
            client_address: client_address.to_owned(),
            ..NodeDescriptor::default()
        };
        let map = ShardMap { nodes: vec![node(1, "a"), node(4, "a"), node(5, "b")], ..ShardMap::default() };
        assert_eq!((node_at(&map, "a"), node_at(&map, "c")), (Some(NodeId(4)), None));
    }
}
