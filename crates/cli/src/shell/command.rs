//! What can be typed.

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use strata_server::settings::closest;

use crate::args::{ClusterCommand, KvCommand, TxnCommand};
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::shell::words::words;

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
    let words = words(line).ok_or_else(|| Failure::new("a quote is not closed"))?;
    match ShellLine::try_parse_from(words) {
        Ok(ShellLine { command: ShellCommand::Kv(KvCommand::Put { stdin: true, .. }), .. }) => {
            Err(Failure::new("the shell itself reads standard input").hint("use `strata kv put KEY --stdin < FILE`"))
        }
        Ok(ShellLine { command, encoding }) => Ok(Parsed::Command(command, encoding)),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) =>
        {
            Ok(Parsed::Help(error.to_string().trim_end().to_owned()))
        }
        Err(error) => {
            let text = error.to_string();
            // Up to the tips and the usage: what is missing stands on lines of its own.
            let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let said = lines.join(" ").trim_start_matches("error: ").to_owned();
            let typed = line.split_whitespace().next().unwrap_or_default();
            let meant = closest(typed, COMMANDS).filter(|_| error.kind() == ErrorKind::InvalidSubcommand);
            Err(Failure::new(said).hint(match meant {
                Some(command) => format!("did you mean `{command}`?"),
                None => "`help` lists the commands, `help put` explains one".to_owned(),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strata_types::NodeId;

    use super::*;
    use crate::args::ReadArgs;

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
    fn mistakes_get_a_sentence_and_a_hint() {
        let failure = parse("gte k").expect_err("a typo");
        assert!(failure.message.contains("gte"), "{failure}");
        assert!(failure.hint.expect("a hint").contains("get"));
        assert!(parse("put 'k").is_err());
        assert!(parse("put k --stdin").is_err());
        assert!(!parse("cas k v").expect_err("no condition").message.is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = parse("put onlykey").expect_err("no value");
        assert!(failure.to_string().contains("VALUE"), "{failure}");
    }
}
