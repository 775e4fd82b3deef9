//! Commands of scripts as commands of the machine.

use std::collections::BTreeSet;
use std::error::Error;

use strata_meta::{Joiner, MetaCommand, PlanLimits};
use strata_types::{
    ChangeId, ClusterId, ClusterVersion, GroupId, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaId,
    ReplicaPlacement, ShardId, Term, VersionRange,
};

/// A command in words; see the arms.
pub(crate) fn parse_command(command: &goldenscript::Command) -> Result<MetaCommand, Box<dyn Error>> {
    let mut args = command.consume_args();
    let mut next = |what: &'static str| args.next_pos().map(|arg| arg.value.clone()).ok_or(what);
    let parsed = match command.name.as_str() {
        // found cluster=HEX nodes=N|ID@ZONE,... shards=N [meta=REPLICA@NODE,...] [instances=true]
        "found" => {
            let cluster = ClusterId(args.lookup_parse("cluster")?.ok_or("no cluster")?);
            let mut nodes = parse_nodes(&args.lookup("nodes").ok_or("no nodes")?.value)?;
            if args.lookup_parse("instances")?.unwrap_or(false) {
                nodes.iter_mut().for_each(|node| node.instance = InstanceId(u128::from(node.id.0) + 0xa0));
            }
            let meta = match args.lookup("meta") {
                Some(meta) => parse_replicas(&meta.value)?,
                None => (1..).zip(nodes.iter().take(3)).map(|(id, node)| replica(id, node.id.0)).collect(),
            };
            let shard_count = args.lookup_parse("shards")?.ok_or("no shards")?;
            MetaCommand::Found { cluster, nodes, meta, shard_count }
        }
        // set-addresses NODE peer=ADDRESS client=ADDRESS
        "set-addresses" => MetaCommand::SetAddresses {
            node: NodeId(next("no node")?.parse()?),
            peer_address: args.lookup("peer").ok_or("no peer")?.value.clone(),
            client_address: args.lookup("client").ok_or("no client")?.value.clone(),
        },
        "reserve-timestamps" => MetaCommand::ReserveTimestamps { count: next("no count")?.parse()? },
        "allocate-replica-ids" => MetaCommand::AllocateReplicaIds { count: next("no count")?.parse()? },
        // join INSTANCE [HOST] [zone=ZONE] [weight=N] [versions=LEAST-MOST]
        "join" => {
            let instance = u128::from_str_radix(&next("no instance")?, 16)?;
            let host = next("no host").unwrap_or_else(|_| format!("h{}", instance.wrapping_sub(0xa0)));
            let mut versions = VersionRange::default();
            if let Some(range) = args.lookup("versions") {
                let (least, most) = range.value.split_once('-').ok_or("expected LEAST-MOST")?;
                versions = VersionRange { least: ClusterVersion(least.parse()?), most: ClusterVersion(most.parse()?) };
            }
            MetaCommand::Join(Joiner {
                instance: InstanceId(instance),
                peer_address: if host.is_empty() { String::new() } else { format!("{host}:7401") },
                client_address: format!("{host}:7400"),
                zone: args.lookup("zone").map(|zone| zone.value.clone()).unwrap_or_default(),
                weight: args.lookup_parse("weight")?.unwrap_or(1),
                versions,
            })
        }
        // state NODE active|draining|removing|lost|stopping|gone|removed [force=true]
        "state" => {
            let node = id(&next("no node")?)?;
            let wanted = next("no state")?;
            let wanted = NodeState::ALL.into_iter().find(|state| state.to_string() == wanted).ok_or("no such state")?;
            MetaCommand::SetNodeState {
                node: NodeId(node),
                wanted,
                force: args.lookup_parse("force")?.unwrap_or(false),
            }
        }
        // decide|finish|abandon|cancel GROUP CHANGE [TERM]
        "decide" => MetaCommand::DecideChange {
            group: group(&next("group")?)?,
            change: ChangeId(id(&next("id")?)?),
            term: Term(next("term")?.parse()?),
        },
        "finish" => MetaCommand::FinishChange { group: group(&next("group")?)?, change: ChangeId(id(&next("id")?)?) },
        "abandon" => MetaCommand::AbandonChange {
            group: group(&next("group")?)?,
            change: ChangeId(id(&next("id")?)?),
            term: Term(next("term")?.parse()?),
        },
        "cancel" => MetaCommand::CancelChange { group: group(&next("group")?)?, change: ChangeId(id(&next("id")?)?) },
        // deleted|rebuild GROUP REPLICA
        "deleted" => {
            MetaCommand::ReplicaDeleted { group: group(&next("group")?)?, replica: ReplicaId(id(&next("replica")?)?) }
        }
        "rebuild" => {
            MetaCommand::Rebuild { group: group(&next("group")?)?, replica: ReplicaId(id(&next("replica")?)?) }
        }
        // plan [changes=N] [per-node=N] [full=NODE,...]
        "plan" | "run" | "explain" => {
            let limits = PlanLimits {
                changes: args.lookup_parse("changes")?.unwrap_or(u32::MAX),
                per_node: args.lookup_parse("per-node")?.unwrap_or(u32::MAX),
            };
            MetaCommand::plan_around(limits, &named_nodes(args.lookup("full").map(|arg| arg.value.as_str()))?)
        }
        // move GROUP FROM TO
        "move" => MetaCommand::Move {
            group: group(&next("group")?)?,
            from: NodeId(id(&next("from")?)?),
            to: NodeId(id(&next("to")?)?),
        },
        // prefer SHARD REPLICA
        "prefer" => MetaCommand::PreferLeader {
            shard: ShardId(u32::try_from(id(&next("shard")?)?)?),
            replica: ReplicaId(id(&next("replica")?)?),
        },
        "raise-version" => MetaCommand::RaiseVersion { to: ClusterVersion(next("version")?.parse()?) },
        name => return Err(format!("no such command: {name}").into()),
    };
    args.reject_rest()?;
    Ok(parsed)
}

/// The number of an id, with or without its letter.
pub(crate) fn id(text: &str) -> Result<u64, Box<dyn Error>> {
    Ok(text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()).parse()?)
}

/// `meta`, `sN` or `gN`.
fn group(text: &str) -> Result<GroupId, Box<dyn Error>> {
    match (text, text.chars().next()) {
        ("meta", _) => Ok(GroupId::META),
        (_, Some('g')) => Ok(GroupId(id(text)?)),
        _ => Ok(GroupId::of_shard(ShardId(u32::try_from(id(text)?)?))),
    }
}

/// Nodes by their ids.
pub(crate) fn named_nodes(text: Option<&str>) -> Result<BTreeSet<NodeId>, Box<dyn Error>> {
    text.into_iter().flat_map(|text| text.split(',')).map(|part| Ok(NodeId(id(part)?))).collect()
}

fn parse_nodes(text: &str) -> Result<Vec<NodeDescriptor>, Box<dyn Error>> {
    let descriptor = |id: u64, zone: &str| NodeDescriptor {
        id: NodeId(id),
        peer_address: format!("h{id}:7401"),
        client_address: format!("h{id}:7400"),
        zone: zone.to_owned(),
        ..NodeDescriptor::default()
    };
    if let Ok(count) = text.parse::<u64>() {
        return Ok((1..=count).map(|id| descriptor(id, "")).collect());
    }
    let node = |part: &str| -> Result<NodeDescriptor, Box<dyn Error>> {
        let (id, zone) = part.split_once('@').ok_or("expected ID@ZONE")?;
        Ok(descriptor(id.parse()?, zone))
    };
    text.split(',').map(node).collect()
}

fn parse_replicas(text: &str) -> Result<Vec<ReplicaPlacement>, Box<dyn Error>> {
    let parse = |part: &str| -> Result<ReplicaPlacement, Box<dyn Error>> {
        let (id, node) = part.split_once('@').ok_or("expected REPLICA@NODE")?;
        Ok(replica(id.parse()?, node.parse()?))
    };
    text.split(',').filter(|part| !part.is_empty()).map(parse).collect()
}

fn replica(id: u64, node: u64) -> ReplicaPlacement {
    ReplicaPlacement { replica: ReplicaId(id), node: NodeId(node) }
}
