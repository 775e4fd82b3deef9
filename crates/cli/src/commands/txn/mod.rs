//! `strata txn`: lines from arguments, a file or a prompt.

mod handle;
mod open;
mod transactor;

pub use transactor::Transactor;

use crate::args::TxnArgs;
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::output::{Answer, Format};
use crate::session::Session;
use crate::shell::{Line, Lines, Parsed, ShellCommand, parse};

/// Whether there are more lines to come.
enum Next {
    GoOn,
    Quit,
}

/// Carries out lines until one fails, or at a prompt until the user leaves.
pub async fn run(args: TxnArgs, format: Format) -> Result<(), Failure> {
    let session = Session::new(&args.connect)?;
    let mut transactor = Transactor::default();
    let result = match args.lines.is_empty() {
        true => from_input(&session, &mut transactor, args.encoding, format).await,
        false => from_arguments(&session, &mut transactor, &args, format).await,
    };
    // Who is not asked any more cannot commit: others should not wait for it.
    let left_open = transactor.give_up().await;
    conclude(result, left_open)
}

/// What the lines come to. `left_open`: how the rollback went of a transaction that they left open, if they did.
fn conclude(result: Result<(), Failure>, left_open: Option<Result<(), Failure>>) -> Result<(), Failure> {
    let Some(rolled_back) = left_open else { return result };
    let why = match result {
        Ok(()) => "the lines ended without a commit".to_owned(),
        // CLI-1: a reader that leaves is no failure, but what was not committed for its sake is.
        Err(failure) if failure.is_broken_pipe() => failure.message,
        Err(failure) => return Err(failure),
    };
    rolled_back?;
    Err(Failure::new(format!("{why}: the transaction was rolled back")))
}

async fn from_arguments(
    session: &Session,
    transactor: &mut Transactor,
    args: &TxnArgs,
    format: Format,
) -> Result<(), Failure> {
    for line in &args.lines {
        if let Next::Quit = carry_out(session, transactor, line, args.encoding, format).await? {
            break;
        }
    }
    Ok(())
}

async fn from_input(
    session: &Session,
    transactor: &mut Transactor,
    encoding: Encoding,
    format: Format,
) -> Result<(), Failure> {
    let mut lines = Lines::open();
    loop {
        let Line::Text(line) = lines.next().await else { return Ok(()) };
        match carry_out(session, transactor, &line, encoding, format).await {
            Ok(Next::GoOn) => {}
            Ok(Next::Quit) => return Ok(()),
            // A person reads it and goes on; what a script would do next rests on what failed.
            Err(failure) if lines.is_terminal && !failure.is_broken_pipe() => format.complain(&failure),
            Err(failure) => return Err(failure),
        }
    }
}

async fn carry_out(
    session: &Session,
    transactor: &mut Transactor,
    line: &str,
    encoding: Encoding,
    format: Format,
) -> Result<Next, Failure> {
    let (command, own) = match parse(line)? {
        Parsed::Nothing => return Ok(Next::GoOn),
        Parsed::Help(help) => {
            let json = serde_json::json!({ "help": help });
            format.print(&Answer::new(help, json))?;
            return Ok(Next::GoOn);
        }
        Parsed::Command(command, own) => (command, own),
    };
    // A line may say for itself how its keys are written.
    let encoding = if own == Encoding::default() { encoding } else { own };
    let answer = match command {
        ShellCommand::Quit => return Ok(Next::Quit),
        ShellCommand::Txn(command) => transactor.step(session, &command, encoding).await?,
        ShellCommand::Kv(command) => transactor.key(&command, encoding).await?,
        ShellCommand::Cluster(_) => {
            return Err(Failure::usage("not a line of a transaction").hint("`strata cluster` asks about the cluster"));
        }
    };
    format.print(&answer)?;
    Ok(Next::GoOn)
}

#[cfg(test)]
mod tests {
    use strata_types::{Error, ErrorCode};

    use super::*;

    /// CLI-1
    #[test]
    fn a_transaction_is_said_to_be_rolled_back_only_if_it_was() {
        let ended = |left_open| conclude(Ok(()), left_open);
        assert_eq!(ended(None), Ok(()));
        let told = ended(Some(Ok(()))).expect_err("no commit");
        assert_eq!(told.message, "the lines ended without a commit: the transaction was rolled back");
        // The answer of a commit was lost, and the rollback came too late.
        let committed = Failure::from(Error::not_applied(ErrorCode::InvalidArgument, "it was committed"));
        assert_eq!(ended(Some(Err(committed.clone()))), Err(committed.clone()));
        let failed = Failure::new("a line that fails");
        for left_open in [None, Some(Ok(())), Some(Err(committed))] {
            assert_eq!(conclude(Err(failed.clone()), left_open), Err(failed.clone()), "it was first");
        }
    }

    /// CLI-1
    #[test]
    fn a_reader_that_leaves_is_a_failure_when_a_transaction_was_open() {
        let left = || Err(Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert!(conclude(left(), None).is_err_and(|failure| failure.is_broken_pipe()));
        let told = conclude(left(), Some(Ok(()))).expect_err("not committed");
        assert!(!told.is_broken_pipe() && told.message.contains("rolled back"), "{told}");
        let unknown = Failure::from(Error::unknown(ErrorCode::Unavailable, "nobody could tell"));
        assert_eq!(conclude(left(), Some(Err(unknown.clone()))), Err(unknown));
    }
}
