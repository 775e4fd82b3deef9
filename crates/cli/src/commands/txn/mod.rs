//! `strata txn`: lines from arguments, a file or a prompt.

mod handle;
mod open;
mod transactor;

pub use transactor::Transactor;

use crate::args::TxnArgs;
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::output::{Answer, Format, print_error_line};
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
    let was_open = transactor.give_up().await;
    match result {
        Ok(()) if was_open => Err(Failure::new("the lines ended without a commit: the transaction was rolled back")),
        result => result,
    }
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
            Err(failure) if lines.is_terminal && !failure.is_broken_pipe() => match format {
                Format::Text => print_error_line(&failure.to_string()),
                Format::Json => print_error_line(&failure.to_json().to_string()),
            },
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
            return Err(Failure::new("not a line of a transaction").hint("`strata cluster` asks about the cluster"));
        }
    };
    format.print(&answer)?;
    Ok(Next::GoOn)
}
