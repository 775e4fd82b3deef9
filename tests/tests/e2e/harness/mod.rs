//! Runs the program.

mod cluster;
mod demo;
mod home;
pub mod http;
mod lines;
mod network;
mod node;
mod ports;
pub mod rpc;
mod wait;
mod writers;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

pub use cluster::Cluster;
pub use demo::Demo;
pub use home::Home;
pub use lines::Lines;
pub use network::Network;
pub use node::Node;
pub use ports::free_base;
pub use wait::{LONG, poll};
pub use writers::Writers;

/// Lets the system end a process when the one that started it ends in whatever way.
const LEASH: &str = "/usr/bin/setpriv";

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The one JSON value on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Fails the test unless the command succeeded.
    pub fn succeeded(self) -> Ran {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    /// Fails the test unless the command failed with one sentence and a next step. Gives the sentence.
    pub fn failed(&self) -> &str {
        assert_ne!(self.status, 0, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let sentence = self.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        assert!(self.stderr.lines().any(|line| line.starts_with("hint: ")), "no next step in {self:?}");
        sentence.unwrap_or_else(|| panic!("no sentence in {self:?}"))
    }
}

/// The program, built beside this test.
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(find_program).clone()
}

/// Cargo builds the program of another package only when all tests are built: what lies there may be missing, or old.
fn find_program() -> PathBuf {
    const ADVICE: &str = "build it with `cargo build --workspace --bins`, or run `cargo test --workspace`";
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
    let program = target.join("strata");
    let built = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let Ok(made) = built(&program) else { panic!("{} is missing: {ADVICE}", program.display()) };
    // Cargo's list of the sources that it was made of: `<program>: <source> <source> ...`
    let sources = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let sources = sources.split_once(": ").map_or("", |(_, sources)| sources).trim_end().replace("\\ ", "\0");
    for source in sources.split(' ').map(|source| source.replace('\0', " ")) {
        // One that is gone is not part of it any more.
        let is_newer = built(Path::new(&source)).is_ok_and(|changed| changed > made);
        assert!(!is_newer, "{} is older than {source}: {ADVICE}", program.display());
    }
    program
}

/// A program that gets this signal when the thread that started it is gone, where the system can do that: a run that is
/// killed leaves nothing behind.
pub fn leashed(program: impl AsRef<OsStr>, signal: &str) -> Command {
    if !Path::new(LEASH).exists() {
        return Command::new(program);
    }
    let mut command = Command::new(LEASH);
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// The program with nothing of this process's environment that could change what it does.
pub fn command(arguments: &[&str]) -> Command {
    // A demo has children to stop and a directory to remove.
    let mut command = leashed(program(), if arguments.first() == Some(&"demo") { "TERM" } else { "KILL" });
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STRATA_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself.
pub fn run(arguments: &[&str]) -> Ran {
    ran(command(arguments))
}

/// Runs any command that ends by itself.
pub fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Says something that is to be seen also when the test succeeds.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Sends a signal to a process by its number.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    // The process may be gone already, which is what most signals are for.
    status.expect("kill is there");
}

/// Sends different signals that a process finds all at once, however slow this machine is: it stands still meanwhile.
pub fn signal_at_once(names: &[&str], pid: u32) {
    signal("STOP", pid);
    names.iter().for_each(|name| signal(name, pid));
    signal("CONT", pid);
}
