//! What keeps a request, in words for the caller whose time ends.

use strata_types::{Error, ErrorCode};

/// What went wrong with the last attempt. An attempt that the deadline cut short says nothing about the reason: what an
/// earlier one ran into is told with it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    error: Error,
    /// Whether a node that took the request said so. Else nobody took it, or nobody answered.
    is_told: bool,
    /// What an earlier attempt ran into, if this one was cut short.
    before: Option<String>,
}

impl Trouble {
    /// A node took the request and said so.
    pub(crate) fn told(error: Error, earlier: Option<&Trouble>) -> Trouble {
        let is_cut = error.code == ErrorCode::DeadlineExceeded;
        let before = earlier.filter(|_| is_cut).and_then(Trouble::obstacle).map(str::to_owned);
        Trouble { error, is_told: true, before }
    }

    /// Nobody took the request, or nobody answered. `is_cut`: because nobody waited any longer.
    pub(crate) fn met(error: Error, earlier: Option<&Trouble>, is_cut: bool) -> Trouble {
        // Who leads, and who is silent, the shard's queue knows better than this.
        let earlier = earlier.filter(|earlier| is_cut && earlier.is_told);
        let before = earlier.and_then(Trouble::obstacle).map(str::to_owned);
        Trouble { error, is_told: false, before }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.error.code
    }

    /// Whether it is the end of a story that [`Trouble::text`] tells from its beginning.
    pub(crate) fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// One clause, or two.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.error.message, before(self.before.as_deref()))
    }

    /// What kept it that was not only a deadline.
    fn obstacle(&self) -> Option<&str> {
        let own = (self.error.code != ErrorCode::DeadlineExceeded).then_some(self.error.message.as_str());
        self.before.as_deref().or(own)
    }

    /// For the end of the sentence that says that time is up.
    pub(crate) fn suffix(trouble: Option<&Trouble>) -> String {
        before(trouble.map(|it| it.obstacle().unwrap_or(&it.error.message)))
    }

    /// The same, of what a deadline cut short.
    pub(crate) fn suffix_of_cut(trouble: Option<&Trouble>) -> String {
        before(trouble.and_then(|it| it.before.as_deref()))
    }
}

fn before(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!("; before that: {reason}"))
}
