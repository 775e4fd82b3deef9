//! Goldenscripts: commands, what they write, and what they answer.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_meta::{MetaCommand, MetaMachine, MetaRefusal, MetaReply, load_map};
use strata_types::{ClusterId, Epoch, LogIndex, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, ShardMap, Term};

/// META-1, META-2: ids and epochs are in what it prints. META-3: each `map` is validated.
#[test]
fn machine() {
    goldenscript::run(&mut MetaRunner::default(), "tests/scripts/machine").expect("script");
}

/// META-4
#[test]
fn placement() {
    goldenscript::run(&mut MetaRunner::default(), "tests/scripts/placement").expect("script");
}

#[test]
fn formats() {
    goldenscript::run(&mut MetaRunner::default(), "tests/scripts/formats").expect("script");
}

/// A tablet in memory that notes its writes.
#[derive(Default)]
struct Tablet {
    rows: BTreeMap<Bytes, Bytes>,
    writes: Vec<(Bytes, Option<Bytes>)>,
}

impl View for Tablet {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let range = Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end);
        for (key, value) in self.rows.range(range) {
            if !visit(key, value) {
                return;
            }
        }
    }
}

impl ViewMut for Tablet {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.rows.insert(key.clone(), value.clone());
        self.writes.push((key, Some(value)));
    }

    fn delete(&mut self, key: Bytes) {
        self.rows.remove(&key);
        self.writes.push((key, None));
    }
}

#[derive(Default)]
struct MetaRunner {
    tablet: Tablet,
    applied: u64,
}

impl MetaRunner {
    fn apply(&mut self, command: &MetaCommand) -> Result<MetaReply, Box<dyn Error>> {
        self.applied += 1;
        let context = CommandContext { term: Term(1), index: LogIndex(self.applied), position: 0 };
        let before = self.tablet.rows.clone();
        self.tablet.writes.clear();
        let reply = MetaReply::decode(MetaMachine::new().apply(&mut self.tablet, context, &command.encode()))?;
        if let MetaReply::Refused(_) = reply {
            assert_eq!(self.tablet.rows, before, "META-5: a refused command changes nothing");
        }
        if let Some(map) = load_map(&self.tablet) {
            map.validate()?;
        }
        Ok(reply)
    }
}

impl goldenscript::Runner for MetaRunner {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Box<dyn Error>> {
        let mut output = String::new();
        match command.name.as_str() {
            // Commands are applied; their writes are shown with the tag [writes].
            "found" | "set-addresses" | "allocate-replica-ids" => {
                let reply = self.apply(&parse_command(command)?)?;
                if command.tags.contains("writes") {
                    for (key, value) in &self.tablet.writes {
                        writeln!(output, "{} = {}", hex(key), value.as_deref().map_or("-".to_owned(), hex))?;
                    }
                }
                writeln!(output, "{}", reply_text(&reply))?;
            }
            // map: the shard map.
            "map" => match load_map(&self.tablet) {
                Some(map) => {
                    map.validate()?;
                    show_map(&mut output, &map)?;
                }
                None => writeln!(output, "no map")?,
            },
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
            name => return Err(format!("no such command: {name}").into()),
        }
        Ok(output)
    }
}

/// `found cluster=HEX nodes=N|ID@ZONE,... shards=N [meta=REPLICA@NODE,...]`,
/// `set-addresses NODE peer=ADDRESS client=ADDRESS`, `allocate-replica-ids COUNT`
fn parse_command(command: &goldenscript::Command) -> Result<MetaCommand, Box<dyn Error>> {
    let mut args = command.consume_args();
    let parsed = match command.name.as_str() {
        "found" => {
            let cluster = ClusterId(args.lookup_parse("cluster")?.ok_or("no cluster")?);
            let nodes = parse_nodes(&args.lookup("nodes").ok_or("no nodes")?.value)?;
            let meta = match args.lookup("meta") {
                Some(meta) => parse_replicas(&meta.value)?,
                None => (1..).zip(nodes.iter().take(3)).map(|(id, node)| replica(id, node.id.0)).collect(),
            };
            let shard_count = args.lookup_parse("shards")?.ok_or("no shards")?;
            MetaCommand::Found { cluster, nodes, meta, shard_count }
        }
        "set-addresses" => MetaCommand::SetAddresses {
            node: NodeId(args.next_pos().ok_or("no node")?.parse()?),
            peer_address: args.lookup("peer").ok_or("no peer")?.value.clone(),
            client_address: args.lookup("client").ok_or("no client")?.value.clone(),
        },
        "allocate-replica-ids" => {
            MetaCommand::AllocateReplicaIds { count: args.next_pos().ok_or("no count")?.parse()? }
        }
        name => return Err(format!("no such command: {name}").into()),
    };
    args.reject_rest()?;
    Ok(parsed)
}

fn parse_nodes(text: &str) -> Result<Vec<NodeDescriptor>, Box<dyn Error>> {
    let descriptor = |id: u64, zone: &str| NodeDescriptor {
        id: NodeId(id),
        peer_address: format!("h{id}:7401"),
        client_address: format!("h{id}:7400"),
        zone: zone.to_owned(),
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
    vec![
        MetaReply::Founded { epoch: Epoch(1) },
        MetaReply::AddressesSet { epoch: Epoch(7) },
        MetaReply::ReplicaIds { first: ReplicaId(100), count: 3 },
        MetaReply::Refused(MetaRefusal::OtherCluster { cluster: ClusterId(0xC0FFEE) }),
        MetaReply::Refused(MetaRefusal::NotFounded),
        MetaReply::Refused(MetaRefusal::UnknownNode { node: NodeId(9) }),
        MetaReply::Refused(MetaRefusal::Invalid { detail: "no".to_owned() }),
    ]
}

fn reply_text(reply: &MetaReply) -> String {
    match reply {
        MetaReply::Refused(refusal) => format!("refused: {refusal}"),
        reply => format!("{reply:?}"),
    }
}

fn show_map(output: &mut String, map: &ShardMap) -> std::fmt::Result {
    let members = |replicas: &[ReplicaPlacement]| -> String {
        let shown: Vec<_> =
            replicas.iter().map(|placement| format!("{}@{}", placement.replica, placement.node)).collect();
        shown.join(" ")
    };
    writeln!(output, "cluster {} epoch {} meta {}", map.cluster, map.epoch, members(&map.meta))?;
    for node in &map.nodes {
        writeln!(output, "{} peer={} client={} zone={:?}", node.id, node.peer_address, node.client_address, node.zone)?;
    }
    for shard in &map.shards {
        writeln!(output, "{} {} {}", shard.shard, shard.slots, members(&shard.replicas))?;
    }
    let count = |id, leading| {
        let shards = map.shards.iter();
        let held = shards.filter(|shard| match leading {
            true => shard.replicas[0].node == id,
            false => shard.replicas.iter().any(|placement| placement.node == id),
        });
        held.count()
    };
    for node in &map.nodes {
        writeln!(output, "{} holds {} leads {}", node.id, count(node.id, false), count(node.id, true))?;
    }
    Ok(())
}

/// An input that ends early is an error, whatever is missing.
fn assert_truncations_fail(bytes: &Bytes, fails: impl Fn(Bytes) -> bool) {
    for length in 0..bytes.len() {
        assert!(fails(bytes.slice(..length)), "{length} of {} bytes were taken for a whole", bytes.len());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Bytes, Box<dyn Error>> {
    let digits = |start: usize| u8::from_str_radix(text.get(start..start + 2).unwrap_or("?"), 16);
    Ok((0..text.len()).step_by(2).map(digits).collect::<Result<Vec<u8>, _>>()?.into())
}
