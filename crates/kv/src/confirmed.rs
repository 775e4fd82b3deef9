//! What lets the reads of a batch look at the tablet.

use std::time::Duration;

use strata_cluster::Begun;
use strata_raft::{Group, ReadError};
use strata_types::ReadLevel;

use crate::plan::Plan;
use crate::refusals::Elsewhere;
use crate::steps::not_leading;

/// The answers of the group, for each class of reads of which the batch has any.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// To those that want this replica to lead.
    pub(crate) leading: Option<Result<(), ReadError>>,
    /// To those that do not mind who leads.
    pub(crate) anywhere: Option<Result<(), ReadError>>,
    /// To those that may be old: how old at most, if no round was made for them.
    pub(crate) bounded: Option<Result<Option<Duration>, ReadError>>,
    /// To those that name a timestamp.
    pub(crate) dated: Option<Result<(), ReadError>>,
    /// To the steps of transactions.
    pub(crate) steps: Option<Result<(), ReadError>>,
}

/// Asks the group on behalf of all reads of a batch at once, so that they share its next round.
pub(crate) async fn confirm(group: &Group, plan: &Plan, begun: Option<&Begun>) -> Confirmed {
    let witness = begun.and_then(|begun| begun.witness(group.id()));
    let leading = async { if plan.leading.is_empty() { None } else { Some(group.read_barrier().await) } };
    let anywhere = async { if plan.anywhere.is_empty() { None } else { Some(group.read_barrier_anywhere().await) } };
    let bounded = async { if plan.bounded.is_empty() { None } else { Some(group.read_within(plan.bound).await) } };
    let dated = async {
        if plan.dated.is_empty() {
            None
        } else {
            Some(group.snapshot_barrier_for(plan.latest, &plan.dated_reach, witness).await)
        }
    };
    let steps = (!plan.steps.is_empty()).then(|| not_leading(group).map_or(Ok(()), Err));
    let (leading, anywhere, bounded, dated) = futures_util::future::join4(leading, anywhere, bounded, dated).await;
    Confirmed { leading, anywhere, bounded, dated, steps }
}

impl Confirmed {
    /// The level that was kept (KV-5), or why there is none: for leading, anywhere, bounded and dated, in this order.
    pub(crate) fn levels(self) -> [Result<ReadLevel, ReadError>; 4] {
        let round = |result: Option<Result<(), ReadError>>| result.unwrap_or(Ok(())).map(|()| ReadLevel::Linearizable);
        let bounded = self.bounded.unwrap_or(Ok(None)).map(|age| match age {
            Some(max_staleness) => ReadLevel::Bounded { max_staleness },
            None => ReadLevel::Linearizable,
        });
        [round(self.leading), round(self.anywhere), bounded, round(self.dated)]
    }

    /// Whether each class that was asked for was refused because the work belongs elsewhere.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Elsewhere> {
        let leading = self.leading.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let anywhere = self.anywhere.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let bounded = self.bounded.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let dated = self.dated.as_ref().map(|result| elsewhere(result.as_ref().err()));
        let steps = self.steps.as_ref().map(|result| elsewhere(result.as_ref().err()));
        [leading, anywhere, bounded, dated, steps].into_iter().flatten()
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
