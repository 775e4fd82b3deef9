//! Introductions as bytes.
//!
//! ```text
//!   question: version u8 | protocol min u16, max u16 | tag u8 | body
//!   answer:   version u8 | instance, incarnation, address, member? | tag u8 | body
//! ```
//! Tags are only ever appended; question 1 was a candidate without weight and versions, question 4
//! is one with the name of its cluster, refusal 0 that of a complete
//! cluster. The version and the protocol range stay where they are for ever, so that programs of any two versions can tell each
//! other that they do not understand each other.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_types::{ClusterId, ClusterVersion, NodeId, VersionRange};

use crate::introduction::{
    Answer, Candidate, Greeting, Introduction, PROTOCOL_MAX, PROTOCOL_MIN, Refusal, Verdict, Who,
};
use crate::{Charter, ClusterName, InstanceId};

const VERSION: u8 = 1;

/// A question as it arrived.
pub(crate) enum Arrived {
    /// One of ours.
    Introduction(Introduction),
    /// From a program whose protocols we do not speak; its body is not looked at.
    Foreign,
}

pub(crate) fn encode_introduction(introduction: &Introduction) -> Bytes {
    let mut output = Encoder::with_capacity(128);
    output.u8(VERSION).u16(PROTOCOL_MIN).u16(PROTOCOL_MAX);
    match introduction {
        Introduction::Probe => {
            output.u8(0);
        }
        Introduction::Candidate(candidate) => {
            encode_candidate(&mut output, candidate);
        }
        Introduction::Greeting(greeting) => {
            output.u8(2).u128(greeting.cluster.0).u64(greeting.node.0).u128(greeting.instance.0);
            output.u64(greeting.incarnation).bytes(greeting.peer_address.as_bytes());
        }
    }
    output.finish()
}

/// Older programs know candidates without a name only, and clusters of the default name.
fn encode_candidate(output: &mut Encoder, candidate: &Candidate) {
    output.u8(if candidate.cluster.is_default() { 3 } else { 4 }).u128(candidate.instance.0);
    output.bytes(candidate.peer_address.as_bytes()).bytes(candidate.client_address.as_bytes());
    output.bytes(candidate.zone.as_bytes());
    output.optional_bytes(candidate.first.as_deref().map(str::as_bytes));
    output.u32(candidate.expect).u32(candidate.shards.unwrap_or(0)).u32(candidate.cores);
    output.u32(candidate.weight).u32(candidate.versions.least.0).u32(candidate.versions.most.0);
    if !candidate.cluster.is_default() {
        output.bytes(candidate.cluster.as_str().as_bytes());
    }
}

fn decode_candidate(input: &mut Decoder) -> Result<Candidate, DecodeError> {
    Ok(Candidate {
        cluster: ClusterName::default(),
        instance: InstanceId(input.u128("instance")?),
        peer_address: input.string("peer address")?,
        client_address: input.string("client address")?,
        zone: input.string("zone")?,
        first: input.optional_bytes("first")?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        expect: input.u32("expect")?,
        shards: Some(input.u32("shards")?).filter(|&shards| shards > 0),
        cores: input.u32("cores")?,
        weight: input.u32("weight")?,
        versions: decode_versions(input)?,
    })
}

/// A name that is written down is not the default one.
pub(crate) fn decode_name(input: &mut Decoder) -> Result<ClusterName, DecodeError> {
    let text = input.string("cluster name")?;
    let name = ClusterName::parse(&text).ok().filter(|name| !name.is_default());
    name.ok_or(DecodeError::BadValue { field: "cluster name", value: text.len() as u64 })
}

pub(crate) fn decode_introduction(body: Bytes) -> Result<Arrived, DecodeError> {
    let mut input = Decoder::new(body);
    let version = input.u8("introduction version")?;
    let (min, max) = (input.u16("protocol min")?, input.u16("protocol max")?);
    if version != VERSION || min > PROTOCOL_MAX || max < PROTOCOL_MIN {
        return Ok(Arrived::Foreign);
    }
    let introduction = match input.u8("introduction")? {
        0 => Introduction::Probe,
        3 => Introduction::Candidate(decode_candidate(&mut input)?),
        4 => {
            let candidate = decode_candidate(&mut input)?;
            Introduction::Candidate(Candidate { cluster: decode_name(&mut input)?, ..candidate })
        }
        2 => Introduction::Greeting(Greeting {
            cluster: ClusterId(input.u128("cluster")?),
            node: NodeId(input.u64("node")?),
            instance: InstanceId(input.u128("instance")?),
            incarnation: input.u64("incarnation")?,
            peer_address: input.string("peer address")?,
        }),
        tag => return Err(DecodeError::BadValue { field: "introduction", value: tag.into() }),
    };
    input.finish()?;
    Ok(Arrived::Introduction(introduction))
}

pub(crate) fn encode_answer(answer: &Answer) -> Bytes {
    let mut output = Encoder::with_capacity(256);
    let Who { instance, incarnation, peer_address, member } = &answer.who;
    output.u8(VERSION).u128(instance.0).u64(*incarnation).bytes(peer_address.as_bytes());
    match member {
        None => output.u8(0),
        Some((cluster, node)) => output.u8(1).u128(cluster.0).u64(node.0),
    };
    match &answer.verdict {
        Verdict::Noted => {
            output.u8(0);
        }
        Verdict::Wait { known, expected } => {
            output.u8(1).u32(*known).u32(*expected);
        }
        Verdict::Unreachable { detail } => {
            output.u8(2).bytes(detail.as_bytes());
        }
        Verdict::Seated(charter) => {
            output.u8(3);
            charter.encode(&mut output);
        }
        Verdict::Refused(refusal) => {
            output.u8(4);
            encode_refusal(&mut output, refusal);
        }
        Verdict::Later { detail } => {
            output.u8(5).bytes(detail.as_bytes());
        }
        Verdict::Joined(charter) => {
            output.u8(6);
            charter.encode(&mut output);
        }
    }
    output.finish()
}

fn encode_refusal(output: &mut Encoder, refusal: &Refusal) {
    match refusal {
        Refusal::OtherCluster { cluster } => output.u8(1).u128(cluster.0),
        Refusal::IdentityTaken { node, address } => output.u8(2).u64(node.0).bytes(address.as_bytes()),
        Refusal::AddressTaken { address } => output.u8(3).bytes(address.as_bytes()),
        Refusal::SettingsDiffer { detail } => output.u8(4).bytes(detail.as_bytes()),
        Refusal::Protocol { min, max } => output.u8(5).u16(*min).u16(*max),
        Refusal::Removed { node } => output.u8(6).u64(node.0),
        Refusal::Version { version, versions } => {
            output.u8(7).u32(version.0).u32(versions.least.0).u32(versions.most.0)
        }
        Refusal::NotTaken { detail } => output.u8(8).bytes(detail.as_bytes()),
    };
}

pub(crate) fn decode_answer(body: Bytes) -> Result<Answer, DecodeError> {
    let mut input = Decoder::new(body);
    match input.u8("answer version")? {
        VERSION => {}
        version => return Err(DecodeError::BadValue { field: "answer version", value: version.into() }),
    }
    let who = Who {
        instance: InstanceId(input.u128("instance")?),
        incarnation: input.u64("incarnation")?,
        peer_address: input.string("peer address")?,
        member: match input.u8("member")? {
            0 => None,
            1 => Some((ClusterId(input.u128("cluster")?), NodeId(input.u64("node")?))),
            value => return Err(DecodeError::BadValue { field: "member", value: value.into() }),
        },
    };
    let verdict = match input.u8("verdict")? {
        0 => Verdict::Noted,
        1 => Verdict::Wait { known: input.u32("known")?, expected: input.u32("expected")? },
        2 => Verdict::Unreachable { detail: input.string("detail")? },
        3 => Verdict::Seated(Charter::decode(&mut input)?),
        4 => Verdict::Refused(decode_refusal(&mut input)?),
        5 => Verdict::Later { detail: input.string("detail")? },
        6 => Verdict::Joined(Charter::decode(&mut input)?),
        tag => return Err(DecodeError::BadValue { field: "verdict", value: tag.into() }),
    };
    input.finish()?;
    Ok(Answer { who, verdict })
}

fn decode_versions(input: &mut Decoder) -> Result<VersionRange, DecodeError> {
    let least = ClusterVersion(input.u32("least version")?);
    Ok(VersionRange { least, most: ClusterVersion(input.u32("most version")?) })
}

fn decode_refusal(input: &mut Decoder) -> Result<Refusal, DecodeError> {
    Ok(match input.u8("refusal")? {
        1 => Refusal::OtherCluster { cluster: ClusterId(input.u128("cluster")?) },
        2 => Refusal::IdentityTaken { node: NodeId(input.u64("node")?), address: input.string("address")? },
        3 => Refusal::AddressTaken { address: input.string("address")? },
        4 => Refusal::SettingsDiffer { detail: input.string("detail")? },
        5 => Refusal::Protocol { min: input.u16("protocol min")?, max: input.u16("protocol max")? },
        6 => Refusal::Removed { node: NodeId(input.u64("node")?) },
        7 => Refusal::Version {
            version: ClusterVersion(input.u32("cluster version")?),
            versions: decode_versions(input)?,
        },
        8 => Refusal::NotTaken { detail: input.string("detail")? },
        tag => return Err(DecodeError::BadValue { field: "refusal", value: tag.into() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introductions_round_trip() {
        let candidate =
            Candidate { instance: InstanceId(7), peer_address: "a:1".into(), expect: 3, ..Candidate::default() };
        let greeting = Greeting {
            cluster: ClusterId(9),
            node: NodeId(2),
            instance: InstanceId(7),
            incarnation: 11,
            peer_address: "a:1".into(),
        };
        let versions = VersionRange { least: ClusterVersion(2), most: ClusterVersion(3) };
        let more = Candidate { shards: Some(16), first: Some("b:1".into()), weight: 4, versions, ..candidate.clone() };
        let named = Candidate { cluster: ClusterName::parse("prod").expect("a name"), ..more.clone() };
        let all = [
            Introduction::Probe,
            Introduction::Candidate(named),
            Introduction::Candidate(candidate),
            Introduction::Candidate(more),
            Introduction::Greeting(greeting),
        ];
        for introduction in all {
            let bytes = encode_introduction(&introduction);
            match decode_introduction(bytes.clone()).expect("our own bytes") {
                Arrived::Introduction(decoded) => assert_eq!(decoded, introduction),
                Arrived::Foreign => panic!("{introduction:?} looks foreign"),
            }
            assert!(decode_introduction(bytes.slice(..bytes.len() - 1)).is_err());
        }
        let newer = Bytes::from_static(&[1, 0, 2, 0, 9, 77, 1, 2, 3]);
        assert!(matches!(decode_introduction(newer), Ok(Arrived::Foreign)), "its body may mean anything");
    }

    /// Programs of other versions read these.
    #[test]
    fn a_name_comes_last_and_the_default_one_not_at_all() {
        let plain =
            Candidate { instance: InstanceId(7), peer_address: "a:1".into(), expect: 3, ..Candidate::default() };
        let named = Candidate { cluster: ClusterName::parse("prod").expect("a name"), ..plain.clone() };
        let [plain, named] = [plain, named].map(|one| encode_introduction(&Introduction::Candidate(one)));
        // Version, protocols, tag, instance; a:1, no client address, no zone; no first; expect, shards, cores, weight, versions.
        let golden = concat!(
            "01000100010300000000000000000000000000000007",
            "00000003613a310000000000000000",
            "00",
            "000000030000000000000000000000000000000100000001"
        );
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&plain), golden);
        assert_eq!(hex(&named), format!("0100010001040000{}0000000470726f64", &golden[16..]));
        let mut odd = named.to_vec();
        let last = odd.len() - 1;
        odd[last] = b' ';
        assert!(decode_introduction(odd.into()).is_err(), "not a name");
    }

    #[test]
    fn answers_round_trip() {
        let member = Some((ClusterId(9), NodeId(1)));
        let who = |member| Who { instance: InstanceId(5), incarnation: 6, peer_address: "b:1".into(), member };
        let refusals = [
            Refusal::OtherCluster { cluster: ClusterId(1) },
            Refusal::IdentityTaken { node: NodeId(1), address: "b:1".into() },
            Refusal::AddressTaken { address: "b:1".into() },
            Refusal::SettingsDiffer { detail: "x".into() },
            Refusal::Protocol { min: 1, max: 2 },
            Refusal::Removed { node: NodeId(4) },
            Refusal::Version { version: ClusterVersion(2), versions: VersionRange::default() },
            Refusal::NotTaken { detail: "full".into() },
        ];
        let verdicts = [
            Verdict::Noted,
            Verdict::Wait { known: 1, expected: 3 },
            Verdict::Unreachable { detail: "refused".into() },
            Verdict::Seated(Charter { shard_count: 8, ..Charter::default() }),
            Verdict::Joined(Charter { shard_count: 9, ..Charter::default() }),
            Verdict::Later { detail: "starting".into() },
        ];
        for verdict in verdicts.into_iter().chain(refusals.map(Verdict::Refused)) {
            for member in [None, member] {
                let answer = Answer { who: who(member), verdict: verdict.clone() };
                assert_eq!(decode_answer(encode_answer(&answer)), Ok(answer));
            }
        }
    }
}
