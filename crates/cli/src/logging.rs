//! What is logged: to standard error, for whoever looks for a cause.

use std::io::IsTerminal;

use strata_server::settings::closest;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

/// What is logged unless told otherwise. The Raft library warns of every message to a node that is still starting.
const DEFAULT: &str = "warn,openraft=error";
/// The least first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Logs from here on. `STRATA_LOG` takes a level, or levels by crate such as `warn,strata_raft=debug`.
pub fn start() -> Result<(), Failure> {
    let wanted = std::env::var_os("STRATA_LOG").map(|text| text.to_string_lossy().into_owned());
    let filter = filter_of(wanted.as_deref().unwrap_or(DEFAULT))?;
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        // A line that cannot be written is lost. A complaint about it would go to standard error too, panic where that
        // is full or closed, and so stop the node, as every panic in a task does.
        .log_internal_errors(false)
        .init();
    Ok(())
}

fn filter_of(text: &str) -> Result<EnvFilter, Failure> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.iter().find(|part| !is_understood(part)) {
        Some(part) => Err(wrong(part)),
        None => EnvFilter::try_new(parts.join(",")).map_err(|_| wrong(text)),
    }
}

/// The library would take a word that is no level for the name of a crate, and log nothing of all the others.
fn is_understood(part: &str) -> bool {
    if part.contains('=') { EnvFilter::try_new(part).is_ok() } else { part.parse::<LevelFilter>().is_ok() }
}

fn wrong(part: &str) -> Failure {
    let levels = LEVELS.join(", ");
    let failure = Failure::usage(format!(
        "STRATA_LOG: expected a level ({levels}), or levels by crate such as warn,strata_raft=debug, but found `{part}`"
    ));
    let word = part.rsplit('=').next().unwrap_or(part);
    match closest(word, LEVELS) {
        Some(level) => failure.hint(format!("did you mean `{level}`?")),
        None => failure.hint(format!("when it is not set, it is {DEFAULT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::STATUS_USAGE;

    #[test]
    fn levels_are_taken_alone_and_by_crate() {
        for text in [DEFAULT, "", "debug", "OFF", "warn, strata_raft=debug", "info,strata_kv[get]=trace", "error,"] {
            assert!(filter_of(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_levels() {
        for (text, found) in [
            ("debugg", "`debugg`"),
            ("warn,strata_raft", "`strata_raft`"),
            ("warn,strata_raft=debugg", "`strata_raft=debugg`"),
        ] {
            let failure = filter_of(text).expect_err("no level");
            assert_eq!(failure.status, STATUS_USAGE);
            assert!(failure.message.contains("off, error, warn, info, debug, trace"), "{failure}");
            assert!(failure.message.ends_with(found), "{failure}");
        }
        let hint = |text| filter_of(text).expect_err("no level").hint.expect("a hint");
        assert_eq!(hint("debugg"), "did you mean `debug`?");
        assert_eq!(hint("strata_raft=wran"), "did you mean `warn`?");
        assert!(hint("everything").contains(DEFAULT));
    }
}
