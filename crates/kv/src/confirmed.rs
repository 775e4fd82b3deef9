//! What lets the reads of a batch look at the tablet.

use std::time::Duration;

use strata_raft::{Group, ReadError};
use strata_types::ReadLevel;

use crate::plan::Plan;
use crate::refusals::Elsewhere;

/// The answers of the group, for each class of reads of which the batch has any.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// To those that want this replica to lead.
    pub(crate) leading: Option<Result<(), ReadError>>,
    /// To those that do not mind who leads.
    pub(crate) anywhere: Option<Result<(), ReadError>>,
    /// To those that may be old: how old at most, if no round was made for them.
    pub(crate) bounded: Option<Result<Option<Duration>, ReadError>>,
}

/// Asks the group on behalf of all reads of a batch at once, so that they share its next round.
pub(crate) async fn confirm(group: &Group, plan: &Plan) -> Confirmed {
    let leading = async { if plan.leading.is_empty() { None } else { Some(group.read_barrier().await) } };
    let anywhere = async { if plan.anywhere.is_empty() { None } else { Some(group.read_barrier_anywhere().await) } };
    let bounded = async { if plan.bounded.is_empty() { None } else { Some(group.read_within(plan.bound).await) } };
    let (leading, anywhere, bounded) = futures_util::future::join3(leading, anywhere, bounded).await;
    Confirmed { leading, anywhere, bounded }
}

impl Confirmed {
    /// The level that was kept (KV-5), or why there is none: for leading, anywhere and bounded, in this order.
    pub(crate) fn levels(self) -> [Result<ReadLevel, ReadError>; 3] {
        let round = |result: Option<Result<(), ReadError>>| result.unwrap_or(Ok(())).map(|()| ReadLevel::Linearizable);
        let bounded = self.bounded.unwrap_or(Ok(None)).map(|age| match age {
            Some(max_staleness) => ReadLevel::Bounded { max_staleness },
            None => ReadLevel::Linearizable,
        });
        [round(self.leading), round(self.anywhere), bounded]
    }

    /// Whether each class that was asked for was refused because the work belongs elsewhere.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Elsewhere> {
        let leading = self.leading.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let anywhere = self.anywhere.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let bounded = self.bounded.as_ref().map(|result| elsewhere(result.as_ref().err()));
        [leading, anywhere, bounded].into_iter().flatten()
    }
}

fn elsewhere(error: Option<&ReadError>) -> Elsewhere {
    error.map_or(Elsewhere::No, Elsewhere::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_read_is_called_linearizable_if_a_round_was_made_for_it() {
        let age = Duration::from_millis(30);
        let confirmed = |bounded| Confirmed { bounded: Some(Ok(bounded)), ..Confirmed::default() };
        assert_eq!(confirmed(None).levels()[2], Ok(ReadLevel::Linearizable));
        assert_eq!(confirmed(Some(age)).levels()[2], Ok(ReadLevel::Bounded { max_staleness: age }));
    }
}
