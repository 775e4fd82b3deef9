//! What timestamps must be, as those see them who ask for them.

use strata_router::TimestampKind;
use strata_types::Timestamp;

/// Remembers what was answered.
#[derive(Default)]
pub(crate) struct TimeRules {
    /// The highest answer of either kind.
    answered: Timestamp,
    /// The highest one that was handed out as new.
    begun: Timestamp,
}

/// What had been answered when a question was asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    answered: Timestamp,
    begun: Timestamp,
}

impl TimeRules {
    /// A question is asked now.
    pub(crate) fn asked(&self) -> Asked {
        Asked { answered: self.answered, begun: self.begun }
    }

    /// SIM-TIME-1 (TIME-1, TIME-2): in real time, `begin` goes above everything that was answered before it was asked, and
    /// `floor` is not below any `begin` that was. Returns what is broken.
    pub(crate) fn answered(&mut self, kind: TimestampKind, asked: Asked, answer: Timestamp) -> Option<String> {
        self.answered = self.answered.max(answer);
        let is_broken = match kind {
            TimestampKind::Begin => {
                self.begun = self.begun.max(answer);
                answer <= asked.answered
            }
            TimestampKind::Floor => answer < asked.begun,
        };
        let text = || {
            let Asked { answered, begun } = asked;
            format!("SIM-TIME-1 timestamps rise: {kind:?} gave {answer}, after {answered} was known and {begun} begun")
        };
        is_broken.then(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_is_found() {
        let mut rules = TimeRules::default();
        let mut ask = |kind, asked: Option<Asked>, answer| {
            let asked = asked.unwrap_or(rules.asked());
            rules.answered(kind, asked, Timestamp(answer)).is_some()
        };
        let early = Asked { answered: Timestamp(0), begun: Timestamp(0) };
        assert!(!ask(TimestampKind::Begin, None, 5));
        assert!(!ask(TimestampKind::Floor, None, 5));
        assert!(ask(TimestampKind::Floor, None, 4));
        assert!(ask(TimestampKind::Begin, None, 5));
        assert!(!ask(TimestampKind::Begin, Some(early), 5), "both waited for one answer");
        assert!(!ask(TimestampKind::Floor, None, 9));
        assert!(ask(TimestampKind::Begin, None, 9), "somebody may have read at the floor");
    }
}
