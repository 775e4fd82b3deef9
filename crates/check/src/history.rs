//! What clients asked and what they were told.

use std::fmt;

use bytes::Bytes;
use strata_types::ClientId;

/// What a client asked of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Read it.
    Get,
    /// Write it.
    Put {
        /// The new value.
        value: Bytes,
    },
    /// Remove it.
    Delete,
    /// Write or remove it if it holds what is expected; `None` stands for an absent key.
    CompareAndSet {
        /// What it must hold.
        expected: Option<Bytes>,
        /// What it shall hold.
        value: Option<Bytes>,
    },
}

/// What a client was told by an operation that succeeded as a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a get: what the key holds.
    Value(Option<Bytes>),
    /// To a put, a delete or a compare-and-set: it took effect.
    Done,
    /// To a delete: whether there was something to remove.
    Existed(bool),
    /// To a compare-and-set: the key held something else, and nothing was changed.
    Mismatch,
    /// To a compare-and-set: the key held this instead of what was expected, and nothing was changed.
    MismatchHolds(Option<Bytes>),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Ok {
        /// The answer.
        answer: Answer,
        /// When it arrived.
        at: u64,
    },
    /// With the promise that it was not and will not be applied.
    Failed {
        /// When that was learned.
        at: u64,
    },
    /// It may take effect at any time after it was invoked, or never. Also the state of an open operation.
    Unknown,
}

/// Position of an operation in its [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(pub usize);

/// One operation with both of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOperation {
    /// Who asked.
    pub client: ClientId,
    /// The key.
    pub key: Bytes,
    /// What was asked.
    pub call: Call,
    /// When it was sent.
    pub invoked: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A recorder of operations. Times are logical: only their order matters, and equal times count as concurrent.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<HistoryOperation>,
}

impl History {
    /// An empty history.
    pub fn new() -> History {
        History::default()
    }

    /// Records that an operation was sent. Until it is ended its outcome is unknown.
    pub fn invoke(&mut self, client: ClientId, key: impl Into<Bytes>, call: Call, at: u64) -> OperationId {
        let operation = HistoryOperation { client, key: key.into(), call, invoked: at, outcome: Outcome::Unknown };
        self.operations.push(operation);
        OperationId(self.operations.len() - 1)
    }

    /// Records an answer.
    ///
    /// # Panics
    /// When the operation has ended already, ends before it began, or the answer does not belong to its call: each is
    /// a mistake of the test, and a history with it must not be judged.
    pub fn ok(&mut self, id: OperationId, answer: Answer, at: u64) {
        let operation = &self.operations[id.0];
        assert!(answer.fits(&operation.call), "{answer:?} is no answer to {:?}", operation.call);
        self.end(id, Outcome::Ok { answer, at }, at);
    }

    /// Records that an operation was not applied.
    ///
    /// # Panics
    /// As [`History::ok`].
    pub fn fail(&mut self, id: OperationId, at: u64) {
        self.end(id, Outcome::Failed { at }, at);
    }

    /// Records that nobody can tell. Says the same as never ending the operation.
    ///
    /// # Panics
    /// When the operation has ended already.
    pub fn unknown(&mut self, id: OperationId) {
        assert_eq!(self.operations[id.0].outcome, Outcome::Unknown, "operation {} ended twice", id.0);
    }

    /// All operations, in the order in which they were recorded.
    pub fn operations(&self) -> &[HistoryOperation] {
        &self.operations
    }

    /// How many operations got an answer: a run with too few of them proves nothing.
    pub fn ok_count(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation.outcome, Outcome::Ok { .. })).count()
    }

    fn end(&mut self, id: OperationId, outcome: Outcome, at: u64) {
        let operation = &mut self.operations[id.0];
        assert_eq!(operation.outcome, Outcome::Unknown, "operation {} ended twice", id.0);
        assert!(operation.invoked <= at, "operation {} ended before it began", id.0);
        operation.outcome = outcome;
    }
}

impl Answer {
    fn fits(&self, call: &Call) -> bool {
        match self {
            Answer::Value(_) => matches!(call, Call::Get),
            Answer::Done => !matches!(call, Call::Get),
            Answer::Existed(_) => matches!(call, Call::Delete),
            Answer::Mismatch | Answer::MismatchHolds(_) => matches!(call, Call::CompareAndSet { .. }),
        }
    }
}

impl Call {
    /// What the key holds after the call took effect; `None` for a call that writes nothing.
    pub(crate) fn written(&self) -> Option<Option<&Bytes>> {
        match self {
            Call::Get => None,
            Call::Put { value } => Some(Some(value)),
            Call::Delete => Some(None),
            Call::CompareAndSet { value, .. } => Some(value.as_ref()),
        }
    }
}

impl fmt::Display for HistoryOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.outcome {
            Outcome::Ok { at, .. } | Outcome::Failed { at } => at.to_string(),
            Outcome::Unknown => "..".to_owned(),
        };
        write!(f, "[{}, {end}] {} ", self.invoked, self.client)?;
        match &self.call {
            Call::Get => f.write_str("get")?,
            Call::Put { value } => write!(f, "put {}", text(Some(value)))?,
            Call::Delete => f.write_str("delete")?,
            Call::CompareAndSet { expected, value } => {
                write!(f, "compare-and-set {} to {}", text(expected.as_ref()), text(value.as_ref()))?;
            }
        }
        match &self.outcome {
            Outcome::Ok { answer: Answer::Value(value), .. } => write!(f, " -> {}", text(value.as_ref())),
            Outcome::Ok { answer: Answer::Done, .. } => f.write_str(" -> done"),
            Outcome::Ok { answer: Answer::Existed(existed), .. } => write!(f, " -> existed: {existed}"),
            Outcome::Ok { answer: Answer::Mismatch, .. } => f.write_str(" -> mismatch"),
            Outcome::Ok { answer: Answer::MismatchHolds(value), .. } => {
                write!(f, " -> mismatch, holds {}", text(value.as_ref()))
            }
            Outcome::Failed { .. } => f.write_str(" -> failed, not applied"),
            Outcome::Unknown => f.write_str(" -> unknown"),
        }
    }
}

/// Longest value in a report: long enough for names that tests give, short enough for a line.
const TEXT_BYTES_MAX: usize = 40;

/// A value as reports show it.
fn text(value: Option<&Bytes>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) if value.len() <= TEXT_BYTES_MAX => format!("\"{}\"", value.escape_ascii()),
        Some(value) => format!("\"{}\"... ({} bytes)", value[..TEXT_BYTES_MAX].escape_ascii(), value.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_print_as_sentences() {
        let mut history = History::new();
        let put = history.invoke(ClientId(1), "k", Call::Put { value: Bytes::from_static(b"a\n") }, 3);
        let call = Call::CompareAndSet { expected: None, value: Some(Bytes::from_static(b"b")) };
        let cas = history.invoke(ClientId(2), "k", call, 4);
        history.invoke(ClientId(3), "k", Call::Delete, 5);
        history.ok(put, Answer::Done, 7);
        history.ok(cas, Answer::MismatchHolds(Some(Bytes::from_static(b"a\n"))), 8);
        let lines: Vec<_> = history.operations().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                r#"[3, 7] c1 put "a\n" -> done"#,
                r#"[4, 8] c2 compare-and-set nothing to "b" -> mismatch, holds "a\n""#,
                "[5, ..] c3 delete -> unknown",
            ]
        );
        assert_eq!(history.ok_count(), 2);
    }

    #[test]
    #[should_panic(expected = "ended twice")]
    fn an_operation_ends_once() {
        let mut history = History::new();
        let get = history.invoke(ClientId(1), "k", Call::Get, 1);
        history.fail(get, 2);
        history.unknown(get);
    }

    #[test]
    #[should_panic(expected = "is no answer to")]
    fn answers_fit_their_calls() {
        let mut history = History::new();
        let get = history.invoke(ClientId(1), "k", Call::Get, 1);
        history.ok(get, Answer::Done, 2);
    }
}
