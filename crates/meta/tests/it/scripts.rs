//! Goldenscripts: commands, what they write, and what they answer.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use strata_meta::{Imbalance, Joiner, MetaCommand, MetaRefusal, MetaReply, PlanLimits, plan, preview};
use strata_types::{
    ChangeId, ClusterId, ClusterVersion, Epoch, GroupId, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaId,
    ReplicaPlacement, ShardId, Term, Timestamp, VersionRange,
};

use crate::show::{group_name, imbalance_text, planned_text, show_changes, show_loads, show_map};
use crate::tablet::Checked;

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            goldenscript::run(&mut MetaRunner::default(), concat!("tests/scripts/", stringify!($name))).expect("script");
        }
    )*};
}

scripts!(
    machine placement formats join wiped_node drain remove refusals replace_lost_node move_resumed fourth_node zones
    meta_group versions rebuild by_hand timestamps
);

#[derive(Default)]
struct MetaRunner {
    machine: Checked,
}

impl MetaRunner {
    fn apply(&mut self, command: &MetaCommand) -> MetaReply {
        self.machine.apply(command)
    }

    fn map(&self) -> Result<strata_types::ShardMap, Box<dyn Error>> {
        Ok(self.machine.map().ok_or("no map")?)
    }

    /// Finishes what is under way, as leaders do, and deletes what has left, as nodes that are there do. Returns how
    /// many changes were finished.
    fn carry_out(&mut self) -> Result<usize, Box<dyn Error>> {
        let map = self.map()?;
        let mut finished = 0;
        for group in map.groups() {
            let Some(change) = group.changes.change else { continue };
            let (group, id) = (group.group, change.id);
            let reply = match change.cancelled {
                true => self.apply(&MetaCommand::AbandonChange { group, change: id, term: Term(u64::MAX) }),
                false => {
                    self.apply(&MetaCommand::DecideChange { group, change: id, term: Term(change.decided.0 + 1) });
                    self.apply(&MetaCommand::FinishChange { group, change: id })
                }
            };
            assert!(matches!(reply, MetaReply::Done { .. }), "{reply:?}");
            finished += 1;
        }
        let map = self.map()?;
        let is_up = |node| map.node(node).is_some_and(|node| node.state.is_counted_on());
        for group in map.groups() {
            for placement in group.changes.leaving.iter().filter(|placement| is_up(placement.node)) {
                let command = MetaCommand::ReplicaDeleted { group: group.group, replica: placement.replica };
                assert!(matches!(self.apply(&command), MetaReply::Done { .. }));
            }
        }
        Ok(finished)
    }
}

impl goldenscript::Runner for MetaRunner {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Box<dyn Error>> {
        let mut output = String::new();
        match command.name.as_str() {
            // map: the shard map.
            "map" => match self.machine.map() {
                Some(map) => show_map(&mut output, &map)?,
                None => writeln!(output, "no map")?,
            },
            // loads: how much each node holds and leads.
            "loads" => {
                let map = self.map()?;
                show_loads(&mut output, &map)?;
                writeln!(output, "replicas {}", imbalance_text(Imbalance::of_replicas(&map)))?;
                writeln!(output, "leaders  {}", imbalance_text(Imbalance::of_leaders(&map)))?;
            }
            // changes: what is under way in the groups.
            "changes" => show_changes(&mut output, &self.map()?)?,
            // explain [changes=N] [per-node=N]: what a plan would do.
            "explain" => {
                let MetaCommand::Plan { limits } = parse_command(command)? else { unreachable!("explains a plan") };
                let plan = plan(&self.map()?, limits);
                plan.cancel
                    .iter()
                    .try_for_each(|(group, change)| writeln!(output, "cancel {} {change}", group_name(*group)))?;
                plan.start.iter().try_for_each(|change| writeln!(output, "start {}", planned_text(change)))?;
                plan.waiting.iter().try_for_each(|change| writeln!(output, "wait {}", planned_text(change)))?;
            }
            // preview: everything that planning would move.
            "preview" => {
                let (changes, map) = preview(&self.map()?);
                changes.iter().try_for_each(|change| writeln!(output, "{}", planned_text(change)))?;
                writeln!(output, "then replicas {}", imbalance_text(Imbalance::of_replicas(&map)))?;
            }
            // carry-out: leaders finish what is under way, nodes delete what left.
            "carry-out" => writeln!(output, "{} finished", self.carry_out()?)?,
            // run [changes=N] [per-node=N]: plans and carries out until nothing is left to do.
            "run" => {
                let plan = parse_command(command)?;
                let mut finished = self.carry_out()?;
                let mut rounds = 0;
                while let MetaReply::Planned { started, cancelled, .. } = self.apply(&plan)
                    && started + cancelled > 0
                {
                    finished += self.carry_out()?;
                    rounds += 1;
                    assert!(rounds < 1_000, "planning does not end");
                }
                writeln!(output, "{finished} changes in {rounds} rounds")?;
            }
            // reset: forgets everything.
            "reset" => *self = MetaRunner::default(),
            // encode COMMAND ...: the bytes of a command, after decoding them again.
            "encode" => {
                let mut inner = command.clone();
                inner.name = inner.args.remove(0).value;
                let parsed = parse_command(&inner)?;
                let bytes = parsed.encode();
                assert_eq!(MetaCommand::decode(bytes.clone())?, parsed);
                assert_truncations_fail(&bytes, |bytes| MetaCommand::decode(bytes).is_err());
                writeln!(output, "{}", hex(&bytes))?;
            }
            // replies: the bytes of one reply of each kind.
            "replies" => {
                for reply in sample_replies() {
                    let bytes = reply.encode();
                    assert_eq!(MetaReply::decode(bytes.clone())?, reply);
                    assert_truncations_fail(&bytes, |bytes| MetaReply::decode(bytes).is_err());
                    writeln!(output, "{} = {}", reply_text(&reply), hex(&bytes))?;
                }
            }
            // encode-map: the bytes of the whole map.
            "encode-map" => {
                let map = self.map()?;
                let bytes = strata_meta::encode_map(&map);
                assert_eq!(strata_meta::decode_map(bytes.clone())?, map);
                assert_truncations_fail(&bytes, |bytes| strata_meta::decode_map(bytes).is_err());
                writeln!(output, "{}", hex(&bytes))?;
            }
            // put KEY=VALUE: a row, in hexadecimal digits.
            "put" => {
                for arg in &command.args {
                    let key = arg.key.as_deref().ok_or("expected KEY=VALUE")?;
                    self.machine.tablet.rows.insert(unhex(key)?, unhex(&arg.value)?);
                }
            }
            // decode HEX: the command, or why there is none.
            "decode" => {
                let mut args = command.consume_args();
                let bytes = unhex(&args.next_pos().ok_or("no bytes")?.value)?;
                args.reject_rest()?;
                match MetaCommand::decode(bytes) {
                    Ok(decoded) => writeln!(output, "{decoded:?}")?,
                    Err(error) => writeln!(output, "{error}")?,
                }
            }
            // Commands are applied; their writes are shown with the tag [writes].
            _ => {
                let reply = self.apply(&parse_command(command)?);
                if command.tags.contains("writes") {
                    for (key, value) in &self.machine.tablet.writes {
                        writeln!(output, "{} = {}", hex(key), value.as_deref().map_or("-".to_owned(), hex))?;
                    }
                }
                writeln!(output, "{}", reply_text(&reply))?;
            }
        }
        Ok(output)
    }
}

/// A command in words; see the arms.
fn parse_command(command: &goldenscript::Command) -> Result<MetaCommand, Box<dyn Error>> {
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
        // plan [changes=N] [per-node=N]
        "plan" | "run" | "explain" => MetaCommand::Plan {
            limits: PlanLimits {
                changes: args.lookup_parse("changes")?.unwrap_or(u32::MAX),
                per_node: args.lookup_parse("per-node")?.unwrap_or(u32::MAX),
            },
        },
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
fn id(text: &str) -> Result<u64, Box<dyn Error>> {
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

fn sample_replies() -> Vec<MetaReply> {
    let (group, change, node) = (GroupId(3), ChangeId(17), NodeId(9));
    let versions = VersionRange { least: ClusterVersion(2), most: ClusterVersion(4) };
    vec![
        MetaReply::Founded { epoch: Epoch(1) },
        MetaReply::AddressesSet { epoch: Epoch(7) },
        MetaReply::ReplicaIds { first: ReplicaId(100), count: 3 },
        MetaReply::Refused(MetaRefusal::OtherCluster { cluster: ClusterId(0xC0FFEE) }),
        MetaReply::Refused(MetaRefusal::NotFounded),
        MetaReply::Refused(MetaRefusal::UnknownNode { node }),
        MetaReply::Refused(MetaRefusal::Invalid { detail: "no".to_owned() }),
        MetaReply::Refused(MetaRefusal::NodeRemoved { node }),
        MetaReply::Refused(MetaRefusal::UnknownGroup { group }),
        MetaReply::Refused(MetaRefusal::StaleChange { group, change }),
        MetaReply::Refused(MetaRefusal::Busy { group, change }),
        MetaReply::Refused(MetaRefusal::Majority { node, group, staying: 1, replicas: 3 }),
        MetaReply::Refused(MetaRefusal::Version { version: ClusterVersion(5), versions }),
        MetaReply::Refused(MetaRefusal::Cancelled { group, change }),
        MetaReply::Refused(MetaRefusal::Decided { group, change, term: Term(6) }),
        MetaReply::Joined { node, epoch: Epoch(2) },
        MetaReply::NodeStateSet { state: NodeState::Draining, epoch: Epoch(2) },
        MetaReply::Done { epoch: Epoch(2) },
        MetaReply::Started { change: None, epoch: Epoch(2) },
        MetaReply::Started { change: Some(change), epoch: Epoch(2) },
        MetaReply::Planned { started: 4, cancelled: 1, waiting: 60, epoch: Epoch(2) },
        MetaReply::Timestamps { first: Timestamp(100_001), count: 100_000 },
    ]
}

fn reply_text(reply: &MetaReply) -> String {
    match reply {
        MetaReply::Refused(refusal) => format!("refused: {refusal}"),
        reply => format!("{reply:?}"),
    }
}

/// An input that ends early is an error, whatever is missing.
fn assert_truncations_fail(bytes: &Bytes, fails: impl Fn(Bytes) -> bool) {
    for length in 0..bytes.len() {
        assert!(fails(bytes.slice(..length)), "{length} of {} bytes were taken for a whole", bytes.len());
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Bytes, Box<dyn Error>> {
    let digits = |start: usize| u8::from_str_radix(text.get(start..start + 2).unwrap_or("?"), 16);
    Ok((0..text.len()).step_by(2).map(digits).collect::<Result<Vec<u8>, _>>()?.into())
}
