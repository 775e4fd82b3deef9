//! Asking a leader how far a read must see, from a replica that does not lead.
//!
//! ```text
//!   reader here --> Reads: one question for everybody who waits --ReadIndex--> leader: joins its next round
//!        ^                                                                          |
//!        +---- read <---- applied as far as that? <------------ a log id -----------+
//! ```
//! The answer is a log id and not an index: the entry may be the leader's own first one, which is not committed yet and
//! which another leader may replace. Whoever applied it, or anything of a later term, has everything that was
//! acknowledged when the question was asked.

use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_net::{Caller, Lane, MessageKind, Replier};
use strata_types::{NodeId, ReplicaId, Timestamp};

use crate::encoding::{put_log_id, take_log_id};
use crate::error::ReadError;
use crate::group::Group;
use crate::messages::Parties;
use crate::replica::Replica;
use crate::types::{LogId, Raft};

const INDEX: u8 = 0;
const NOT_LEADER: u8 = 1;
const FAILED: u8 = 2;
const NO_TIME: u8 = 3;

/// A question without its parties. A wire format, not a persisted one. A replica from before there was time in shards
/// does not know the second form, and only a timed group asks it.
///
/// ```text
///   how far must a read see?            nothing
///   how far must one see at this time?  at u64
/// ```
pub(crate) fn encode_question(parties: Parties, at: Option<Timestamp>) -> Bytes {
    let mut out = Encoder::with_capacity(24);
    parties.put(&mut out);
    if let Some(at) = at {
        out.u64(at.0);
    }
    out.finish()
}

/// The question behind the parties.
pub(crate) fn decode_question(mut input: Decoder) -> Result<Option<Timestamp>, DecodeError> {
    if input.remaining() == 0 {
        return Ok(None);
    }
    let at = Timestamp(input.u64("question at")?);
    input.finish()?;
    Ok(Some(at))
}

/// What a replica says that was asked for its read index. A wire format, not a persisted one.
///
/// ```text
///   index       u8 = 0, log id
///   not leader  u8 = 1, the leader's node u64 or zero
///   failed      u8 = 2, one sentence
///   no time     u8 = 3; only to whoever asked with a time
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IndexAnswer {
    /// Read when this is applied.
    Index(LogId),
    /// Ask somebody else.
    NotLeader { leader: Option<NodeId> },
    /// No majority confirmed the leader, or it stopped.
    Failed { detail: String },
    /// The leader does not know the time.
    NoTime,
}

impl IndexAnswer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Encoder::with_capacity(25);
        match self {
            IndexAnswer::Index(id) => put_log_id(out.u8(INDEX), id),
            IndexAnswer::NotLeader { leader } => {
                out.u8(NOT_LEADER).u64(leader.map_or(0, |node| node.0));
            }
            IndexAnswer::Failed { detail } => {
                out.u8(FAILED).bytes(detail.as_bytes());
            }
            IndexAnswer::NoTime => {
                out.u8(NO_TIME);
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<IndexAnswer, DecodeError> {
        let mut input = Decoder::new(bytes);
        let answer = match input.u8("index answer")? {
            INDEX => IndexAnswer::Index(take_log_id(&mut input)?),
            NOT_LEADER => {
                let node = input.u64("index answer leader")?;
                IndexAnswer::NotLeader { leader: (node != 0).then_some(NodeId(node)) }
            }
            FAILED => IndexAnswer::Failed { detail: input.string("index answer detail")? },
            NO_TIME => IndexAnswer::NoTime,
            value => return Err(DecodeError::BadValue { field: "index answer", value: value.into() }),
        };
        input.finish()?;
        Ok(answer)
    }
}

impl From<Result<LogId, ReadError>> for IndexAnswer {
    fn from(result: Result<LogId, ReadError>) -> IndexAnswer {
        match result {
            Ok(id) => IndexAnswer::Index(id),
            Err(ReadError::NotLeader { leader }) => IndexAnswer::NotLeader { leader },
            Err(ReadError::NoTime) => IndexAnswer::NoTime,
            Err(error) => IndexAnswer::Failed { detail: error.to_string() },
        }
    }
}

/// Asks the leader that this replica follows how far a read must see, which may be one at a timestamp.
pub(crate) async fn ask_leader(
    raft: &Raft,
    replica: &Replica,
    caller: &std::sync::Arc<Caller>,
    at: Option<Timestamp>,
    deadline: Duration,
) -> Result<LogId, ReadError> {
    let Some((leader, node)) = followed(raft, replica) else { return Err(ReadError::NotLeader { leader: None }) };
    let body = encode_question(Parties { from: replica.id, to: leader }, at);
    let call = caller.call(node, Lane::Control, replica.group, MessageKind::ReadIndex, body, deadline);
    let unanswered = |detail: String| ReadError::LeaderSilent { leader: node, detail };
    let answer = call.await.map_err(|error| unanswered(error.to_string()))?;
    match IndexAnswer::decode(answer).map_err(|error| unanswered(error.to_string()))? {
        IndexAnswer::Index(id) => Ok(id),
        IndexAnswer::NotLeader { leader } => Err(ReadError::NotLeader { leader }),
        IndexAnswer::Failed { detail } => Err(unanswered(detail)),
        IndexAnswer::NoTime => Err(ReadError::NoTime),
    }
}

/// The leader that a replica follows, and its node.
pub(crate) fn followed(raft: &Raft, replica: &Replica) -> Option<(ReplicaId, NodeId)> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader.filter(|leader| *leader != replica.id)?;
    let seat = metrics.membership_config.membership().get_node(&leader)?;
    Some((leader, seat.node))
}

impl Group {
    /// Answers another replica that wants to read. One that is no member is refused: what it holds may end anywhere, and
    /// nobody will send it more.
    pub(crate) fn take_index_question(
        self: &std::sync::Arc<Self>,
        from: ReplicaId,
        at: Option<Timestamp>,
        replier: Replier,
    ) {
        if !self.everybody().contains(&from) {
            return replier.reply(Err(format!("{from} is no member of {}", self.id())));
        }
        let group = self.clone();
        self.env().spawn("raft-read-index", async move {
            let index = match at {
                None => group.read_index().await,
                Some(at) => group.snapshot_index(at).await,
            };
            if let Ok(id) = &index {
                group.state().note_asked(id.index);
            }
            replier.reply(Ok(IndexAnswer::from(index).encode()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    #[test]
    fn questions_have_pinned_bytes_and_damaged_ones_are_errors() {
        let parties = Parties { from: ReplicaId(1), to: ReplicaId(2) };
        let cases = [(None, ""), (Some(Timestamp(9)), "0000000000000009"), (Some(Timestamp(0)), "0000000000000000")];
        for (at, golden) in cases {
            let bytes = encode_question(parties, at);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, format!("00000000000000010000000000000002{golden}"));
            let decode = |bytes: Bytes| {
                let mut input = Decoder::new(bytes);
                assert_eq!(Parties::take(&mut input), Ok(parties));
                decode_question(input)
            };
            assert_eq!(decode(bytes.clone()), Ok(at));
            for length in 17..bytes.len() {
                assert!(decode(bytes.slice(..length)).is_err(), "cut at {length}");
            }
            let longer = [&bytes[..], &[0; 9][..]].concat();
            assert!(decode(longer.into()).is_err());
        }
    }

    #[test]
    fn answers_have_pinned_bytes_and_damaged_ones_are_errors() {
        let cases = [
            (
                IndexAnswer::Index(log_id(3, ReplicaId(2), 5)),
                "00 0000000000000003 0000000000000002 0000000000000005".to_owned(),
            ),
            (IndexAnswer::NotLeader { leader: Some(NodeId(7)) }, "01 0000000000000007".to_owned()),
            (IndexAnswer::NotLeader { leader: None }, "01 0000000000000000".to_owned()),
            (IndexAnswer::Failed { detail: "no".into() }, "02 00000002 6e6f".to_owned()),
            (IndexAnswer::NoTime, "03".to_owned()),
        ];
        for (answer, golden) in cases {
            let bytes = answer.encode();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""));
            for length in 0..bytes.len() {
                assert!(IndexAnswer::decode(bytes.slice(..length)).is_err(), "cut at {length}");
            }
            assert_eq!(IndexAnswer::decode(bytes), Ok(answer));
        }
        assert!(IndexAnswer::decode(Bytes::from_static(&[9])).is_err());
    }
}
