//! Goldenscripts: commands, what they write, and what they answer.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use strata_meta::{Imbalance, MetaCommand, MetaRefusal, MetaReply, held_up, plan_around, preview, stranded};
use strata_types::{
    ChangeId, ClusterId, ClusterVersion, Epoch, GroupId, NodeId, NodeState, ReplicaId, Term, Timestamp, VersionRange,
};

use crate::show::{group_name, imbalance_text, planned_text, show_changes, show_loads, show_map};
use crate::tablet::Checked;
use crate::words::{id, named_nodes, parse_command};

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
    meta_group versions rebuild by_hand timestamps full_nodes
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
            // explain [changes=N] [per-node=N] [full=NODE,...]: what a plan would do.
            "explain" => {
                let (limits, full) = match parse_command(command)? {
                    MetaCommand::Plan { limits } => (limits, Vec::new()),
                    MetaCommand::PlanAround { limits, full } => (limits, full),
                    other => unreachable!("it explains a plan, not {other:?}"),
                };
                let plan = plan_around(&self.map()?, limits, &full.into_iter().collect());
                plan.cancel
                    .iter()
                    .try_for_each(|(group, change)| writeln!(output, "cancel {} {change}", group_name(*group)))?;
                plan.start.iter().try_for_each(|change| writeln!(output, "start {}", planned_text(change)))?;
                plan.waiting.iter().try_for_each(|change| writeln!(output, "wait {}", planned_text(change)))?;
            }
            // preview [full=NODE,...]: everything that planning would move.
            "preview" => {
                let mut args = command.consume_args();
                let full = named_nodes(args.lookup("full").map(|arg| arg.value.as_str()))?;
                args.reject_rest()?;
                let (changes, map) = preview(&self.map()?, &full);
                changes.iter().try_for_each(|change| writeln!(output, "{}", planned_text(change)))?;
                writeln!(output, "then replicas {}", imbalance_text(Imbalance::of_replicas(&map)))?;
            }
            // stranded NODE [full=NODE,...]: what keeps its replicas from being replaced.
            "stranded" => {
                let mut args = command.consume_args();
                let node = NodeId(id(&args.next_pos().ok_or("no node")?.value)?);
                let full = named_nodes(args.lookup("full").map(|arg| arg.value.as_str()))?;
                args.reject_rest()?;
                let text = stranded(&self.map()?, node, &full);
                writeln!(output, "{}", text.as_deref().unwrap_or("nothing"))?;
            }
            // held-up [full=NODE,...]: changes that wait for room which another node has.
            "held-up" => {
                let mut args = command.consume_args();
                let full = named_nodes(args.lookup("full").map(|arg| arg.value.as_str()))?;
                args.reject_rest()?;
                let changes = held_up(&self.map()?, &full);
                if changes.is_empty() {
                    writeln!(output, "nothing")?;
                }
                changes.iter().try_for_each(|(group, id)| writeln!(output, "{} {id}", group_name(*group)))?;
            }
            // carry-out: leaders finish what is under way, nodes delete what left.
            "carry-out" => writeln!(output, "{} finished", self.carry_out()?)?,
            // run [changes=N] [per-node=N] [full=NODE,...]: plans and carries out until nothing is left to do.
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
