//! How much of the time of a call is left for what it asks of others.

use std::time::Duration;

/// What is asked on behalf of a call ends before the call does, by a tenth and no more than this: whoever is asked may
/// need a moment more than it was given to say why there is no answer.
const MARGIN_MAX: Duration = Duration::from_millis(200);

/// The time for what a call asks of others, so that their reason arrives and not only the call's own end.
pub fn sooner(deadline: Duration) -> Duration {
    deadline.saturating_sub((deadline / 10).min(MARGIN_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_asks_of_others_ends_before_the_call() {
        assert_eq!(sooner(Duration::from_secs(1)), Duration::from_millis(900));
        assert_eq!(sooner(Duration::from_secs(60)), Duration::from_millis(59_800));
        assert_eq!(sooner(Duration::ZERO), Duration::ZERO);
    }
}
