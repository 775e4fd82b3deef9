//! Where the nodes of a cluster live.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Network;

/// What gives a process a disk of its own: as root, and as somebody else, who is root in a namespace of users.
const UNSHARE: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];

/// Where the nodes of a cluster live.
pub enum Home {
    /// All on loopback, with directories on this machine's disk.
    Loopback,
    /// Each in a place of its own, on a network that can be cut.
    Network(Network),
    /// As on loopback, but each with a disk of its own of so many MiB, in memory, which needs these flags of `unshare`.
    SmallDisks { mebibytes: u64, flags: &'static [&'static str] },
}

impl Home {
    /// A network that can be cut, or why there is none.
    pub fn network() -> Result<Home, String> {
        Network::new().map(Home::Network)
    }

    /// Small disks, or why there are none.
    pub fn small_disks(mebibytes: u64) -> Result<Home, String> {
        let place = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut reason = String::new();
        for flags in UNSHARE {
            let tried = on_small_disk(flags, &Command::new("true"), place.path(), 1).output();
            let tried = tried.map_err(|error| format!("no `unshare`: {error}"))?;
            if tried.status.success() {
                return Ok(Home::SmallDisks { mebibytes, flags });
            }
            reason = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        }
        Err(reason)
    }

    /// The same command where a node lives.
    pub(super) fn inside(&mut self, number: u16, data: &Path, mut command: Command) -> Command {
        match self {
            Home::Loopback => command,
            Home::Network(network) => {
                network.add(number);
                command.arg("--insecure");
                network.inside(number, &command)
            }
            Home::SmallDisks { mebibytes, flags } => on_small_disk(flags, &command, data, *mebibytes),
        }
    }
}

/// Appends a command to one that runs another one, with all that was said about it.
pub(super) fn run_by(mut runner: Command, command: &Command) -> Command {
    runner.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => runner.env(name, value),
            None => runner.env_remove(name),
        };
    }
    runner.current_dir(std::env::temp_dir());
    runner.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    runner
}

/// The disk is seen by this process only, which has the id of the command, and ends with it. `/proc/PID/root` shows it.
fn on_small_disk(flags: &[&str], command: &Command, directory: &Path, mebibytes: u64) -> Command {
    const SCRIPT: &str = r#"mkdir -p "$0" && mount -t tmpfs -o "size=$1m" none "$0" && shift && exec "$@""#;
    let mut small = Command::new("unshare");
    small.args(flags).args(["sh", "-c", SCRIPT]).arg(directory).arg(mebibytes.to_string());
    run_by(small, command)
}
