//! Questions and replies as bytes: version u8 | tag u8 | body. Tags are only ever appended; question 1 and reply 1 were
//! those of a former registration.

use std::time::Duration;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_meta::{decode_map, encode_map};
use strata_raft::{Ballot, Claim};
use strata_types::{Epoch, GroupId, LogIndex, NodeId, ReplicaFigures, ReplicaId, Term, Timestamp};

use crate::question::{Question, Reply};
use crate::report::{GroupReport, NodeReport, Room};

const VERSION: u8 = 1;
/// A map follows, in the encoding of the meta crate. The number before it was a map without nodes' states and changes.
const MAP_OF_META: u8 = 2;
/// Least bytes of a report about a group.
const GROUP_BYTES_MIN: usize = 60;
/// Bytes of the figures of a group.
const FIGURES_BYTES: usize = 44;

pub(crate) fn encode_question(question: &Question) -> Bytes {
    let mut output = Encoder::with_capacity(64);
    output.u8(VERSION);
    match question {
        Question::FetchMap { newer_than } => output.u8(0).u64(newer_than.0),
        Question::Report => output.u8(2),
        Question::Command { command } => output.u8(3).bytes(command),
        Question::Begin => output.u8(4),
        Question::Floor => output.u8(5),
        Question::InUse { oldest } => output.u8(6).u64(oldest.unwrap_or_default().0),
        Question::Heard { known } => output.u8(7).u64(known.0),
        Question::FullReport => output.u8(8),
        Question::BeginAtOnce { claims } => {
            encode_count(output.u8(9), claims.len());
            claims.iter().for_each(|claim| claim.put(&mut output));
            &mut output
        }
        Question::WholeReport => output.u8(10),
    };
    output.finish()
}

pub(crate) fn decode_question(body: Bytes) -> Result<Question, DecodeError> {
    let mut input = begin(body, "question version")?;
    let question = match input.u8("question")? {
        0 => Question::FetchMap { newer_than: Epoch(input.u64("newer than")?) },
        2 => Question::Report,
        3 => Question::Command { command: input.bytes("command")? },
        4 => Question::Begin,
        5 => Question::Floor,
        // Timestamps begin at 1.
        6 => Question::InUse { oldest: Some(Timestamp(input.u64("oldest in use")?)).filter(|oldest| oldest.0 != 0) },
        7 => Question::Heard { known: Timestamp(input.u64("known")?) },
        8 => Question::FullReport,
        9 => Question::BeginAtOnce { claims: decode_claims(&mut input)? },
        10 => Question::WholeReport,
        tag => return Err(DecodeError::BadValue { field: "question", value: tag.into() }),
    };
    input.finish()?;
    Ok(question)
}

pub(crate) fn encode_reply(reply: &Reply) -> Bytes {
    let mut output = Encoder::with_capacity(256);
    output.u8(VERSION);
    match reply {
        Reply::Map(None) => {
            output.u8(0).u8(0);
        }
        Reply::Map(Some(map)) => {
            output.u8(0).u8(MAP_OF_META).bytes(&encode_map(map));
        }
        Reply::NotLeader { leader } => {
            output.u8(2).u64(leader.map_or(0, |node| node.0));
        }
        Reply::Failed { detail } => {
            output.u8(3).bytes(detail.as_bytes());
        }
        Reply::Report(report) => {
            output.u8(4);
            encode_report(&mut output, report);
        }
        Reply::Command { reply } => {
            output.u8(5).bytes(reply);
        }
        Reply::Timestamp(timestamp) => {
            output.u8(6).u64(timestamp.0);
        }
        Reply::Horizon(horizon) => {
            output.u8(7).u64(horizon.0);
        }
        Reply::FullReport(report) => {
            encode_report(output.u8(8), report);
            encode_figures(&mut output, report);
        }
        Reply::Begun { at, ballot, are_true } => {
            ballot.put(output.u8(9).u64(at.0));
            encode_count(&mut output, are_true.len());
            for is_true in are_true {
                output.u8(u8::from(*is_true));
            }
        }
        Reply::WholeReport(report) => {
            encode_report(output.u8(10), report);
            encode_figures(&mut output, report);
            output.u8(report.room.number());
        }
    }
    output.finish()
}

pub(crate) fn decode_reply(body: Bytes) -> Result<Reply, DecodeError> {
    let mut input = begin(body, "reply version")?;
    let reply = match input.u8("reply")? {
        0 => match input.u8("map")? {
            0 => Reply::Map(None),
            MAP_OF_META => Reply::Map(Some(Box::new(decode_map(input.bytes("map")?)?))),
            value => return Err(DecodeError::BadValue { field: "map", value: value.into() }),
        },
        // Node ids begin at 1.
        2 => Reply::NotLeader { leader: Some(NodeId(input.u64("leader")?)).filter(|node| node.0 != 0) },
        3 => Reply::Failed { detail: input.string("detail")? },
        4 => Reply::Report(Box::new(decode_report(&mut input)?)),
        5 => Reply::Command { reply: input.bytes("command reply")? },
        6 => Reply::Timestamp(Timestamp(input.u64("timestamp")?)),
        7 => Reply::Horizon(Timestamp(input.u64("horizon")?)),
        8 => Reply::FullReport(Box::new(decode_full_report(&mut input)?)),
        9 => Reply::Begun {
            at: Timestamp(input.u64("begun at")?),
            ballot: Ballot::take(&mut input)?,
            are_true: decode_truths(&mut input)?,
        },
        10 => Reply::WholeReport(Box::new(decode_whole_report(&mut input)?)),
        tag => return Err(DecodeError::BadValue { field: "reply", value: tag.into() }),
    };
    input.finish()?;
    Ok(reply)
}

fn begin(body: Bytes, field: &'static str) -> Result<Decoder, DecodeError> {
    let mut input = Decoder::new(body);
    match input.u8(field)? {
        VERSION => Ok(input),
        version => Err(DecodeError::BadValue { field, value: version.into() }),
    }
}

fn encode_count(output: &mut Encoder, count: usize) {
    output.u32(u32::try_from(count).expect("nodes, shards and groups are few"));
}

fn decode_claims(input: &mut Decoder) -> Result<Vec<Claim>, DecodeError> {
    let count = input.count(Claim::BYTES, "claim count")?;
    (0..count).map(|_| Claim::take(input)).collect()
}

fn decode_truths(input: &mut Decoder) -> Result<Vec<bool>, DecodeError> {
    let count = input.count(1, "truth count")?;
    (0..count).map(|_| Ok(input.u8("truth")? != 0)).collect()
}

fn encode_report(output: &mut Encoder, report: &NodeReport) {
    output.bytes(report.version.as_bytes()).u64(report.uptime.as_millis() as u64).u8(u8::from(report.is_stopping));
    encode_count(output, report.groups.len());
    for group in &report.groups {
        let (leader, leader_node) = group.leader.unwrap_or_default();
        output.u64(group.group.0).u64(group.replica.0).u64(group.term.0).u64(leader.0).u64(leader_node.0);
        output.u8(u8::from(group.is_leader)).u8(u8::from(group.serving));
        output.u64(group.last.0).u64(group.committed.0).u64(group.applied.0).u64(group.log_bytes);
        output.optional_bytes(group.problem.as_deref().map(str::as_bytes)).u8(u8::from(group.is_damaged));
    }
    encode_count(output, report.problems.len());
    for problem in &report.problems {
        output.bytes(problem.as_bytes());
    }
}

fn decode_report(input: &mut Decoder) -> Result<NodeReport, DecodeError> {
    let version = input.string("version")?;
    let uptime = Duration::from_millis(input.u64("uptime")?);
    let is_stopping = input.u8("stopping")? != 0;
    let count = input.count(GROUP_BYTES_MIN, "group count")?;
    let groups = (0..count).map(|_| decode_group(input)).collect::<Result<_, _>>()?;
    let count = input.count(4, "problem count")?;
    let problems: Vec<String> = (0..count).map(|_| input.string("problem")).collect::<Result<_, _>>()?;
    let room = Room::of_problems(&problems);
    Ok(NodeReport { version, uptime, is_stopping, groups, problems, room })
}

/// ReplicaFigures of the groups that have some: their positions in the report, and the figures.
fn encode_figures(output: &mut Encoder, report: &NodeReport) {
    let all = (0u32..).zip(&report.groups).filter_map(|(position, group)| Some((position, group.figures?)));
    let all: Vec<(u32, ReplicaFigures)> = all.collect();
    encode_count(output, all.len());
    for (position, ReplicaFigures { operations, entries, size, arrived, arriving }) in all {
        output.u32(position).u64(operations).u64(entries).u64(size).u64(arrived).u64(arriving);
    }
}

fn decode_full_report(input: &mut Decoder) -> Result<NodeReport, DecodeError> {
    let mut report = decode_report(input)?;
    for _ in 0..input.count(FIGURES_BYTES, "figures count")? {
        let position = input.u32("group of figures")?;
        let figures = ReplicaFigures {
            operations: input.u64("operations")?,
            entries: input.u64("entries")?,
            size: input.u64("size")?,
            arrived: input.u64("arrived")?,
            arriving: input.u64("arriving")?,
        };
        let group = report.groups.get_mut(position as usize);
        let group = group.ok_or(DecodeError::BadValue { field: "group of figures", value: position.into() })?;
        group.figures = Some(figures);
    }
    Ok(report)
}

fn decode_whole_report(input: &mut Decoder) -> Result<NodeReport, DecodeError> {
    let report = decode_full_report(input)?;
    let number = input.u8("room")?;
    let room = Room::of_number(number).ok_or(DecodeError::BadValue { field: "room", value: number.into() })?;
    Ok(NodeReport { room, ..report })
}

fn decode_group(input: &mut Decoder) -> Result<GroupReport, DecodeError> {
    Ok(GroupReport {
        group: GroupId(input.u64("group")?),
        replica: ReplicaId(input.u64("replica")?),
        term: Term(input.u64("term")?),
        leader: Some((ReplicaId(input.u64("leader")?), NodeId(input.u64("leader node")?)))
            .filter(|(replica, _)| replica.0 != 0),
        is_leader: input.u8("is leader")? != 0,
        serving: input.u8("serving")? != 0,
        last: LogIndex(input.u64("last")?),
        committed: LogIndex(input.u64("committed")?),
        applied: LogIndex(input.u64("applied")?),
        log_bytes: input.u64("log bytes")?,
        problem: input.optional_bytes("problem")?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        is_damaged: input.u8("is damaged")? != 0,
        figures: None,
    })
}

#[cfg(test)]
mod tests {
    use strata_types::{ClusterId, NodeDescriptor, ReplicaPlacement, ShardId, ShardMap, ShardPlacement, SlotRange};

    use super::*;

    /// Nodes of other versions read these: a line may be added, never changed.
    #[test]
    fn bytes_of_time_are_pinned() {
        let oldest = Some(Timestamp(0x0102));
        let questions = [Question::Begin, Question::Floor, Question::InUse { oldest }].map(|it| encode_question(&it));
        assert_eq!(questions, [&[1, 4][..], &[1, 5], &[1, 6, 0, 0, 0, 0, 0, 0, 1, 2]]);
        let heard = encode_question(&Question::Heard { known: Timestamp(0x0304) });
        assert_eq!(heard, &[1, 7, 0, 0, 0, 0, 0, 0, 3, 4][..]);
        let replies = [Reply::Timestamp(Timestamp(3)), Reply::Horizon(Timestamp(4))].map(|it| encode_reply(&it));
        assert_eq!(replies, [&[1, 6, 0, 0, 0, 0, 0, 0, 0, 3][..], &[1, 7, 0, 0, 0, 0, 0, 0, 0, 4]]);
        let at_once = encode_question(&Question::BeginAtOnce { claims: Vec::new() });
        assert_eq!(at_once, &[1, 9, 0, 0, 0, 0][..], "and then claims of 32 bytes");
    }

    /// Nodes of other versions read these too.
    #[test]
    fn bytes_of_reports_are_pinned() {
        let questions = [Question::Report, Question::FullReport, Question::WholeReport];
        assert_eq!(questions.map(|it| encode_question(&it)), [&[1, 2][..], &[1, 8], &[1, 10]]);
        let figures = ReplicaFigures { operations: 1, entries: 2, size: 3, arrived: 4, arriving: 5 };
        let group = GroupReport { group: GroupId(7), figures: Some(figures), ..GroupReport::default() };
        let report = Box::new(NodeReport { groups: vec![GroupReport::default(), group], ..NodeReport::default() });
        let plain = encode_reply(&Reply::Report(report.clone()));
        // Version, uptime, stopping, and two groups of 76 bytes; no problems.
        assert_eq!((&plain[..2], plain.len()), (&[1, 4][..], 2 + 4 + 8 + 1 + 4 + 2 * 76 + 4));
        let full = encode_reply(&Reply::FullReport(report.clone()));
        let whole = encode_reply(&Reply::WholeReport(Box::new(NodeReport { room: Room::Little, ..*report })));
        assert_eq!((&whole[..2], &whole[2..full.len()]), (&[1, 10][..], &full[2..]), "and then the room");
        assert_eq!(whole[full.len()..], [1]);
        assert_eq!((&full[..2], &full[2..plain.len()]), (&[1, 8][..], &plain[2..]), "what older ones have comes first");
        let numbers: Vec<u64> = (1..=5).collect();
        let mut figures = vec![0, 0, 0, 1, 0, 0, 0, 1];
        figures.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        assert_eq!(full[plain.len()..], figures);
    }

    fn with_figures(mut report: NodeReport) -> NodeReport {
        report.groups[1].figures = Some(ReplicaFigures { operations: 9, size: u64::MAX, ..ReplicaFigures::default() });
        report
    }

    #[test]
    fn a_full_disk_is_known_of_older_programs_by_their_sentence() {
        let full = NodeReport { problems: vec![crate::report::DISK_FULL.to_owned()], ..NodeReport::default() };
        for reply in [Reply::Report(Box::new(full.clone())), Reply::FullReport(Box::new(full))] {
            let Ok(Reply::Report(told) | Reply::FullReport(told)) = decode_reply(encode_reply(&reply)) else {
                panic!("{reply:?} became something else");
            };
            assert_eq!(told.room, Room::No);
        }
    }

    #[test]
    fn questions_and_replies_round_trip() {
        let command = Question::Command { command: Bytes::from_static(b"any bytes") };
        let in_use = [None, Some(Timestamp(7))].map(|oldest| Question::InUse { oldest });
        let heard = [Question::Heard { known: Timestamp(8) }];
        let questions = [Question::FetchMap { newer_than: Epoch(7) }, command, Question::Report, Question::FullReport];
        let others = [Question::Begin, Question::Floor, Question::WholeReport];
        for question in questions.into_iter().chain(others).chain(in_use).chain(heard) {
            assert_eq!(decode_question(encode_question(&question)), Ok(question));
        }
        let placement = ReplicaPlacement { replica: ReplicaId(4), node: NodeId(1) };
        let map = ShardMap {
            cluster: ClusterId(3),
            epoch: Epoch(9),
            nodes: vec![NodeDescriptor { id: NodeId(1), peer_address: "a:1".into(), ..NodeDescriptor::default() }],
            shards: vec![ShardPlacement {
                shard: ShardId(0),
                slots: SlotRange { start: 0, end: 16_384 },
                replicas: vec![placement],
                ..ShardPlacement::default()
            }],
            meta: vec![placement],
            ..ShardMap::default()
        };
        let group = GroupReport {
            group: GroupId(1),
            replica: ReplicaId(4),
            leader: Some((ReplicaId(4), NodeId(1))),
            is_leader: true,
            last: LogIndex(12),
            problem: Some("damaged".into()),
            is_damaged: true,
            ..GroupReport::default()
        };
        let report = NodeReport {
            version: "0.1".into(),
            uptime: Duration::from_millis(77),
            groups: vec![group, GroupReport::default()],
            problems: vec!["disk".into()],
            ..NodeReport::default()
        };
        let replies = [
            Reply::Map(None),
            Reply::Map(Some(Box::new(map))),
            Reply::Command { reply: Bytes::from_static(b"any bytes") },
            Reply::NotLeader { leader: None },
            Reply::NotLeader { leader: Some(NodeId(3)) },
            Reply::Failed { detail: "no".into() },
            Reply::Report(Box::new(report.clone())),
            Reply::FullReport(Box::new(with_figures(report.clone()))),
            Reply::WholeReport(Box::new(NodeReport { room: Room::No, ..with_figures(report) })),
            Reply::Timestamp(Timestamp(0)),
            Reply::Horizon(Timestamp(u64::MAX)),
        ];
        for reply in replies {
            let bytes = encode_reply(&reply);
            for cut in 0..bytes.len() {
                assert!(decode_reply(bytes.slice(..cut)).is_err(), "{reply:?} cut at {cut}");
            }
            assert_eq!(decode_reply(bytes), Ok(reply));
        }
    }
}
