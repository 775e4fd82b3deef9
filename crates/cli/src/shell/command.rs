//! What can be typed.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use strata_server::settings::closest;

use crate::args::{ClusterCommand, KvCommand, TxnCommand};
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::shell::words::words;
use crate::usage;

/// Commands of the shell:
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_version_flag = true, disable_help_flag = true)]
struct ShellLine {
    #[command(subcommand)]
    command: ShellCommand,
    #[command(flatten)]
    encoding: Encoding,
}

/// A command of the shell.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ShellCommand {
    /// An operation on keys
    #[command(flatten)]
    Kv(KvCommand),
    /// A step of a transaction
    #[command(flatten)]
    Txn(TxnCommand),
    /// A question or a wish about the cluster
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// End the demo
    #[command(alias = "exit")]
    Quit,
}

/// What suggestions are taken from.
const COMMANDS: [&str; 26] = [
    "get",
    "put",
    "del",
    "cas",
    "scan",
    "begin",
    "getforupdate",
    "savepoint",
    "rollback",
    "commit",
    "outcome",
    "status",
    "nodes",
    "shards",
    "jobs",
    "drain",
    "undrain",
    "remove",
    "replace",
    "move",
    "transfer",
    "balance",
    "upgrade",
    "transactions",
    "help",
    "quit",
];

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// An empty line or a comment.
    Nothing,
    /// A question about the shell itself; this is the answer.
    Help(String),
    /// A command.
    Command(ShellCommand, Encoding),
}

/// Reads a line.
pub fn parse(line: &str) -> Result<Parsed, Failure> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Parsed::Nothing);
    }
    let words = words(line).ok_or_else(|| Failure::usage("a quote is not closed"))?;
    let parsed = grammar().try_get_matches_from(words).and_then(|matches| ShellLine::from_arg_matches(&matches));
    match parsed {
        Ok(ShellLine { command: ShellCommand::Kv(KvCommand::Put { stdin: true, .. }), .. }) => {
            Err(Failure::usage("the shell itself reads standard input").hint("use `strata kv put KEY --stdin < FILE`"))
        }
        Ok(ShellLine { command, encoding }) => Ok(Parsed::Command(command, encoding)),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) =>
        {
            Ok(Parsed::Help(error.to_string().trim_end().to_owned()))
        }
        Err(error) => {
            let said = in_shell(&usage::sentence_of(&error));
            let typed = line.split_whitespace().next().unwrap_or_default();
            let meant = closest(typed, COMMANDS).filter(|_| error.kind() == ErrorKind::InvalidSubcommand);
            Err(Failure::usage(said).hint(match meant {
                Some(command) => format!("did you mean `{command}`?"),
                None => "`help` lists the commands, `help put` explains one".to_owned(),
            }))
        }
    }
}

/// The commands as they are typed here: without what only the command line of the program has.
fn grammar() -> clap::Command {
    ShellLine::command().mut_subcommands(|mut command| {
        if let Some(usage) = command.get_overridden_usage().map(|usage| in_shell(&usage.to_string())) {
            command = command.override_usage(usage);
        }
        if let Some(examples) = command.get_after_help().map(|examples| in_shell(&examples.to_string())) {
            command = command.after_help(examples);
        }
        match command.get_name() {
            "put" => command.mut_arg("stdin", |stdin| stdin.hide(true)),
            _ => command,
        }
    })
}

/// Words about the command line of the program, as they are true here.
fn in_shell(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("--stdin <"));
    let lines = lines.map(|line| line.replace("strata kv ", "").replace("strata cluster ", "").replace("|--stdin", ""));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strata_types::NodeId;

    use super::*;
    use crate::args::ReadArgs;
    use crate::failure::STATUS_USAGE;

    fn command(line: &str) -> ShellCommand {
        match parse(line).expect("valid") {
            Parsed::Command(command, _) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_become_commands() {
        assert_eq!(
            command("get k"),
            ShellCommand::Kv(KvCommand::Get { key: "k".to_owned(), reads: ReadArgs::default() })
        );
        let put = KvCommand::Put { key: "k".to_owned(), value: Some("two words".to_owned()), stdin: false };
        assert_eq!(command("put k 'two words'"), ShellCommand::Kv(put));
        assert_eq!(command(" status "), ShellCommand::Cluster(ClusterCommand::Status));
        let ShellCommand::Cluster(ClusterCommand::Drain { node, wait }) = command("drain n2 --wait=5s") else {
            panic!("a drain")
        };
        assert_eq!((node.node, wait.wait), (NodeId(2), Some(Duration::from_secs(5))));
        assert_eq!(command("exit"), ShellCommand::Quit);
        assert_eq!(parse("# a comment"), Ok(Parsed::Nothing));
        assert_eq!(parse("   "), Ok(Parsed::Nothing));
        let Ok(Parsed::Command(_, encoding)) = parse("get --hex 6b") else { panic!("valid") };
        assert!(encoding.hex);
    }

    #[test]
    fn steps_of_transactions_are_known() {
        let begin = TxnCommand::Begin { read_only: false, at: None };
        assert_eq!(command("begin"), ShellCommand::Txn(begin));
        let rollback = |to: &[&str]| TxnCommand::Rollback { to: to.iter().map(|&word| word.to_owned()).collect() };
        assert_eq!(command("rollback"), ShellCommand::Txn(rollback(&[])));
        assert_eq!(command("rollback to 1"), ShellCommand::Txn(rollback(&["to", "1"])));
        assert!(parse("begin --at 7").is_err(), "only who does not write can read what was");
        assert!(parse("getforupdate k --no-wait --skip-locked").is_err());
    }

    #[test]
    fn help_lists_what_there_is() {
        let Ok(Parsed::Help(help)) = parse("help") else { panic!("help") };
        for word in COMMANDS {
            assert!(help.contains(word), "{help}");
        }
    }

    #[test]
    fn help_shows_lines_that_can_be_typed_here() {
        for command in COMMANDS.into_iter().filter(|command| *command != "help") {
            let Ok(Parsed::Help(help)) = parse(&format!("help {command}")) else { panic!("help {command}") };
            assert!(!help.contains("strata ") && !help.contains("--stdin"), "{help}");
            let examples = help.split_once("Example").map_or("", |(_, examples)| examples);
            for line in examples.lines().filter(|line| line.starts_with("  ")) {
                // What stands apart explains the example.
                let line = line.trim().split("   ").next().unwrap_or_default();
                assert!(matches!(parse(line), Ok(Parsed::Command(..))), "{line}");
            }
        }
        let Ok(Parsed::Help(help)) = parse("help put") else { panic!("help put") };
        assert!(help.contains("Usage: put [OPTIONS] <KEY> <VALUE>") && help.contains("put greeting hello"), "{help}");
    }

    #[test]
    fn mistakes_get_a_sentence_and_a_hint() {
        let failure = parse("gte k").expect_err("a typo");
        assert!(failure.message.contains("gte") && failure.status == STATUS_USAGE, "{failure}");
        assert!(failure.hint.expect("a hint").contains("get"));
        assert!(parse("put 'k").is_err());
        assert!(parse("put k --stdin").is_err());
        assert!(!parse("cas k v").expect_err("no condition").message.is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = parse("put onlykey").expect_err("no value");
        assert!(failure.message.contains("VALUE") && !failure.message.contains("--stdin"), "{failure}");
    }
}
