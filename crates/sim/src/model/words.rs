//! What replies are to actors, and in traces.

use strata_types::{Decision, Reply, TransactionCall, TransactionId, TransactionStatus};

use super::group::Answer;
use super::history::{NOTHING, Value};

/// The answer that a reply is.
pub(crate) fn answer_of(reply: Reply) -> Answer {
    match reply {
        Reply::Put { .. } | Reply::Delete { .. } | Reply::Batch { .. } => Answer::Written,
        Reply::CompareAndSet { current, succeeded, .. } if !succeeded => {
            Answer::Holds(current.map_or(0, |item| item.value[0]))
        }
        Reply::CompareAndSet { .. } => Answer::Written,
        Reply::Blocked { by } => Answer::Blocked(by),
        Reply::Transact(reply) => Answer::of(reply),
        reply => panic!("not an answer to a command: {reply:?}"),
    }
}

/// An answer in words, for traces.
pub(crate) fn told(answer: Answer) -> String {
    let name = |id: TransactionId| id.0 - 1;
    match answer {
        Answer::Written => "written".to_owned(),
        Answer::Invalid => "it is not valid".to_owned(),
        Answer::Holds(value) => format!("not written, it holds {}", shown(value)),
        Answer::Committed(at) => format!("committed at {}", at.0),
        Answer::Prepared(at) => format!("prepared at {}", at.0),
        Answer::Conflict(reason) => format!("refused: {reason:?}"),
        Answer::Status(TransactionStatus::Decided(Decision::Committed(at))) => format!("it is committed at {}", at.0),
        Answer::Status(TransactionStatus::Decided(Decision::Aborted)) => "it is aborted".to_owned(),
        Answer::Status(status) => format!("it is {status:?}"),
        Answer::Done => "done".to_owned(),
        Answer::Blocked(by) => format!("blocked by operation {}", name(by.id)),
    }
}

/// What a call is, for traces.
pub(crate) fn name_of(call: &TransactionCall) -> &'static str {
    match call {
        TransactionCall::Commit(_) => "commit",
        TransactionCall::Prepare(_) => "prepare",
        TransactionCall::Abort { .. } => "abort",
        TransactionCall::Resolve { .. } => "resolve",
        TransactionCall::Forget { .. } => "forget",
        _ => "no command",
    }
}

/// A value in words, for traces.
pub(crate) fn shown(value: Value) -> String {
    match value {
        0 => "nothing".to_owned(),
        NOTHING => "-".to_owned(),
        value => format!("what {} wrote", value - 1),
    }
}
