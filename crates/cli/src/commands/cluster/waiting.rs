//! Waiting for what was wished.

use std::time::Duration;

use strata_types::{Epoch, Outcome};
use tokio::time::{Instant, sleep};

use super::ask_map;
use super::goal::{Goal, Progress};
use crate::failure::Failure;
use crate::output::{Format, print_error_line};
use crate::session::Session;

/// How often it is looked how far it is.
const INTERVAL: Duration = Duration::from_millis(500);

/// Waits until the goal is reached. `since`: the epoch of the map that holds the wish; what was before does not count.
pub async fn wait(session: &Session, goal: Goal, since: Epoch, limit: Duration, format: Format) -> Result<(), Failure> {
    let end = Instant::now() + limit;
    let mut said = String::new();
    loop {
        // Nodes come and go, and the one that is asked may be one of them: only the last answer counts.
        let (text, failure) = match look(session, goal, since).await {
            Ok(Progress::Reached) => return Ok(()),
            Ok(Progress::Hopeless(reason)) => {
                return Err(Failure::new(reason).hint("`strata cluster jobs` shows what is under way now"));
            }
            Ok(Progress::Missing(text)) => (text, None),
            Err(failure) => (failure.message.clone(), Some(failure)),
        };
        if Instant::now() + INTERVAL > end {
            return Err(failure.map_or_else(|| late(&text, limit), blind));
        }
        if format == Format::Text && text != said {
            print_error_line(&format!("  {text}"));
            said = text;
        }
        sleep(INTERVAL).await;
    }
}

async fn look(session: &Session, goal: Goal, since: Epoch) -> Result<Progress, Failure> {
    match ask_map(session).await?.epoch < since {
        true => Ok(Progress::Missing("the node that was asked has not heard of it yet".to_owned())),
        false => goal.look(session).await,
    }
}

/// Only to look at it failed: what was wished stands.
fn blind(failure: Failure) -> Failure {
    let hint = "the command itself was carried out, and goes on by itself: `strata cluster jobs` shows how far it is";
    Failure { outcome: Some(Outcome::Applied), ..failure }.hint(hint)
}

fn late(text: &str, limit: Duration) -> Failure {
    Failure::new(format!("not done after {} s: {text}", limit.as_secs_f64()))
        .hint("it goes on by itself: `strata cluster jobs` shows how far it is")
}

#[cfg(test)]
mod tests {
    use strata_types::{Error, ErrorCode};

    use super::*;

    #[test]
    fn who_cannot_see_how_far_it_is_learns_that_it_goes_on() {
        let failure = Failure::from(Error::not_applied(ErrorCode::Unavailable, "nobody answers"));
        let blind = blind(failure);
        assert_eq!((blind.outcome, blind.message.as_str()), (Some(Outcome::Applied), "nobody answers"));
        assert!(blind.hint.is_some_and(|hint| hint.contains("was carried out")));
    }
}
