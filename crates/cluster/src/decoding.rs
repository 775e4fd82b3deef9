//! What other nodes send and what the data directory holds, damaged in every way: decoders answer and do not panic. The
//! checksums of files are made right again, or damage would never come further than them.

use std::time::Duration;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, checksum};
use strata_raft::{Ballot, Claim};
use strata_types::{
    ClusterId, ClusterVersion, Epoch, GroupId, LogIndex, NodeDescriptor, NodeId, ReplicaFigures, ReplicaId,
    ReplicaPlacement, ShardId, ShardMap, ShardPlacement, SlotRange, Term, Timestamp, VersionRange,
};

use crate::data_directory::check_format as check_format_file;
use crate::identity_file::{IdentityFile, Membership};
use crate::introduction::{Answer, Candidate, Greeting, Introduction, Refusal, Verdict, Who};
use crate::introduction_wire::{Arrived, decode_answer, decode_introduction, encode_answer, encode_introduction};
use crate::question::{Question, Reply};
use crate::question_wire::{decode_question, decode_reply, encode_question, encode_reply};
use crate::report::{GroupReport, NodeReport, Room};
use crate::{Charter, ClusterName, InstanceId, Seat, map_file};

strata_codec::fuzz_targets!();

const VERSIONS: VersionRange = VersionRange { least: ClusterVersion(2), most: ClusterVersion(3) };

fn charter() -> Charter {
    let seat = |node: u64, zone: &str| Seat {
        node: NodeId(node),
        instance: InstanceId(u128::from(node) + 4),
        peer_address: format!("n{node}:10"),
        client_address: format!("c{node}"),
        zone: zone.to_owned(),
    };
    let meta = vec![ReplicaPlacement { replica: ReplicaId(1), node: NodeId(1) }];
    Charter { cluster: ClusterId(0xc1), seats: vec![seat(1, ""), seat(2, "z")], meta, shard_count: 4 }
}

fn map() -> ShardMap {
    let placement = ReplicaPlacement { replica: ReplicaId(4), node: NodeId(1) };
    let shard = ShardPlacement {
        shard: ShardId(0),
        slots: SlotRange { start: 0, end: 16_384 },
        replicas: vec![placement],
        ..ShardPlacement::default()
    };
    ShardMap {
        cluster: ClusterId(3),
        epoch: Epoch(9),
        nodes: vec![NodeDescriptor { id: NodeId(1), peer_address: "a:1".into(), ..NodeDescriptor::default() }],
        shards: vec![shard],
        meta: vec![placement],
        ..ShardMap::default()
    }
}

#[test]
fn introductions() {
    let candidate =
        Candidate { instance: InstanceId(7), peer_address: "a:1".into(), expect: 3, ..Candidate::default() };
    let more = Candidate { shards: Some(16), first: Some("b:1".into()), versions: VERSIONS, ..candidate.clone() };
    let greeting = Greeting {
        cluster: ClusterId(9),
        node: NodeId(2),
        instance: InstanceId(7),
        incarnation: 11,
        peer_address: "a:1".into(),
    };
    let all = [
        Introduction::Probe,
        Introduction::Candidate(Candidate {
            cluster: ClusterName::parse("prod").expect("a name"),
            ..candidate.clone()
        }),
        Introduction::Candidate(candidate),
        Introduction::Candidate(more),
        Introduction::Greeting(greeting),
    ];
    check_format(&all, encode_introduction, |body| match decode_introduction(body) {
        Ok(Arrived::Introduction(introduction)) => Ok(introduction),
        Ok(Arrived::Foreign) => Err(None),
        Err(error) => Err(Some(error)),
    });
}

#[test]
fn answers() {
    let refusals = [
        Refusal::OtherCluster { cluster: ClusterId(1) },
        Refusal::IdentityTaken { node: NodeId(1), address: "b:1".into() },
        Refusal::AddressTaken { address: "b:1".into() },
        Refusal::SettingsDiffer { detail: "x".into() },
        Refusal::Protocol { min: 1, max: 2 },
        Refusal::Removed { node: NodeId(4) },
        Refusal::Version { version: ClusterVersion(2), versions: VERSIONS },
        Refusal::NotTaken { detail: "full".into() },
    ];
    let verdicts = [
        Verdict::Noted,
        Verdict::Wait { known: 1, expected: 3 },
        Verdict::Unreachable { detail: "refused".into() },
        Verdict::Seated(charter()),
        Verdict::Joined(Charter::default()),
        Verdict::Later { detail: "starting".into() },
    ];
    let member = Some((ClusterId(9), NodeId(1)));
    let who = Who { instance: InstanceId(5), incarnation: 6, peer_address: "b:1".into(), member };
    let answer = |verdict| Answer { who: who.clone(), verdict };
    let all: Vec<Answer> = verdicts.into_iter().chain(refusals.map(Verdict::Refused)).map(answer).collect();
    check_format(&all, encode_answer, decode_answer);
}

fn claim(first: u64) -> Claim {
    Claim::take(&mut numbers(&[first, 2, 3, 4])).expect("a claim is four numbers")
}

/// Of two voters.
fn ballot() -> Ballot {
    let mut bytes = Encoder::default();
    bytes.u64(0).u64(2).u64(1).u8(1).u32(2).u64(1).u64(1).u64(4).u64(2);
    Ballot::take(&mut Decoder::new(bytes.finish())).expect("a leader and its voters")
}

fn numbers(numbers: &[u64]) -> Decoder {
    let mut bytes = Encoder::default();
    for number in numbers {
        bytes.u64(*number);
    }
    Decoder::new(bytes.finish())
}

#[test]
fn questions_and_replies() {
    let command = Question::Command { command: Bytes::from_static(b"any bytes") };
    let questions = [
        Question::FetchMap { newer_than: Epoch(7) },
        command,
        Question::Report,
        Question::Begin,
        Question::Floor,
        Question::Heard { known: Timestamp(5) },
        Question::FullReport,
        Question::WholeReport,
        Question::InUse { oldest: None },
        Question::InUse { oldest: Some(Timestamp(7)) },
        Question::BeginAtOnce { claims: Vec::new() },
        Question::BeginAtOnce { claims: vec![claim(1), claim(9)] },
    ];
    check_format(&questions, encode_question, decode_question);

    let group = GroupReport {
        group: GroupId(1),
        replica: ReplicaId(4),
        term: Term(3),
        leader: Some((ReplicaId(4), NodeId(1))),
        is_leader: true,
        last: LogIndex(12),
        problem: Some("damaged".into()),
        is_damaged: true,
        ..GroupReport::default()
    };
    let report = NodeReport {
        version: "1".into(),
        uptime: Duration::from_millis(u64::MAX),
        is_stopping: true,
        groups: vec![group, GroupReport::default()],
        problems: vec!["a".into()],
        room: Room::Enough,
    };
    let mut full = report.clone();
    full.groups[1].figures = Some(ReplicaFigures { operations: 9, size: 7, ..ReplicaFigures::default() });
    let replies = [
        Reply::Map(None),
        Reply::Map(Some(Box::new(map()))),
        Reply::NotLeader { leader: None },
        Reply::NotLeader { leader: Some(NodeId(2)) },
        Reply::Failed { detail: "no".into() },
        Reply::Report(Box::new(report.clone())),
        Reply::FullReport(Box::new(full.clone())),
        Reply::WholeReport(Box::new(NodeReport { room: Room::Little, ..full })),
        Reply::Command { reply: Bytes::from_static(b"any bytes") },
        Reply::Timestamp(Timestamp(7)),
        Reply::Horizon(Timestamp(u64::MAX)),
        Reply::Begun { at: Timestamp(8), ballot: ballot(), are_true: vec![true, false] },
    ];
    check_format(&replies, encode_reply, decode_reply);
}

#[test]
fn charters() {
    let encode = |charter: &Charter| {
        let mut output = Encoder::default();
        charter.encode(&mut output);
        output.finish()
    };
    check_format(&[charter(), Charter::default()], encode, |body| {
        let mut input = Decoder::new(body);
        let charter = Charter::decode(&mut input)?;
        input.finish().map(|()| charter)
    });
}

/// A file with the checksum of what is in it now.
fn seal(body: Bytes) -> Bytes {
    let mut file = Encoder::default();
    file.raw(&body).u32(checksum(&body));
    file.finish()
}

/// Checks the format of a file by damaging what its checksum covers.
fn check_file<T: PartialEq + std::fmt::Debug>(
    files: &[T],
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
) {
    let body = |file: Bytes| file.slice(..file.len() - 4);
    assert!(files.iter().map(&encode).all(|file| seal(body(file.clone())) == file), "the checksum is at the end");
    check_format(files, |file| body(encode(file)), |body| decode(seal(body)));
    each(&files.iter().map(&encode).collect::<Vec<_>>(), |file| drop(decode(file)));
}

#[test]
fn files_of_the_data_directory() {
    let of = |name: &str| ClusterName::parse(name).expect("a name");
    let member = |is_founding| Membership { cluster: of("strata"), node: NodeId(2), charter: charter(), is_founding };
    let named = Membership { cluster: of("prod"), ..member(false) };
    let identity = |membership| IdentityFile { instance: InstanceId(6), membership };
    let identities =
        [identity(None), identity(Some(member(true))), identity(Some(member(false))), identity(Some(named))];
    check_file(&identities, IdentityFile::encode, IdentityFile::decode);
    check_file(&[map_file::without_shards(&map())], map_file::encode, map_file::decode);
    each(&[Bytes::from_static(b"strata 1\n")], |content| drop(check_format_file(&content)));
}
