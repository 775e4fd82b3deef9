//! Command lines that make no sense, in the words of the parser.

use clap::ValueEnum;
use clap::error::ErrorKind;

use crate::failure::Failure;
use crate::output::Format;

/// The format that a command line asks for which cannot be read. `variable`: what `STRATA_FORMAT` says.
pub fn format_of(words: &[String], variable: Option<&str>) -> Format {
    let apart = words.iter().position(|word| word == "--format").and_then(|place| words.get(place + 1));
    let joined = words.iter().find_map(|word| word.strip_prefix("--format="));
    let named = apart.map(String::as_str).or(joined).or(variable);
    named.and_then(|name| Format::from_str(name, false).ok()).unwrap_or_default()
}

/// What is wrong, and the next step.
pub fn failure_of(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let sentence = match error.kind() {
        // The text is the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "the command is not complete".to_owned(),
        _ => sentence_of(error),
    };
    let mut lines = text.lines().map(str::trim);
    let tip = lines.clone().find_map(|line| line.strip_prefix("tip: "));
    let hint = tip.or_else(|| lines.find(|line| line.starts_with("Usage: ")));
    Failure::usage(sentence).hint(hint.unwrap_or("--help says what may be given"))
}

/// What is wrong.
pub fn sentence_of(error: &clap::Error) -> String {
    let text = error.to_string();
    // Up to the tips and the usage: what is missing stands on lines of its own.
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;
    use crate::failure::STATUS_USAGE;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_format_is_known_although_the_line_is_not() {
        for (line, variable, format) in [
            ("strata strat", None, Format::Text),
            ("strata strat --format json", None, Format::Json),
            ("strata --format=json strat", Some("text"), Format::Json),
            ("strata strat", Some("json"), Format::Json),
            ("strata strat --format text", Some("json"), Format::Text),
            ("strata strat --format xml", None, Format::Text),
            ("strata strat --format", None, Format::Text),
        ] {
            assert_eq!(format_of(&words(line), variable), format, "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_a_sentence_and_a_hint() {
        let failure = |line: &str| failure_of(&Cli::try_parse_from(words(line)).expect_err("it is wrong"));
        let unknown = failure("strata strat");
        assert!(unknown.message.starts_with("unrecognized subcommand") && !unknown.message.contains('\n'), "{unknown}");
        assert!(unknown.hint.as_deref().is_some_and(|hint| hint.contains("start")), "{unknown}");
        let missing = failure("strata kv get");
        assert!(missing.message.contains("<KEY>"), "{missing}");
        assert!(missing.hint.as_deref().is_some_and(|hint| hint.starts_with("Usage: strata kv get")), "{missing}");
        let half = failure("strata kv");
        assert_eq!((half.message.as_str(), half.status), ("the command is not complete", STATUS_USAGE));
        assert!(half.hint.as_deref().is_some_and(|hint| hint.starts_with("Usage: strata kv")), "{half}");
        assert!(failure("strata kv scan --limit 0").hint.is_some_and(|hint| !hint.is_empty()));
    }
}
