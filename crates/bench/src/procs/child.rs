//! One child process that cannot be forgotten.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Lets the system kill the child when this process ends in whatever way.
const LEASH: &str = "/usr/bin/setpriv";
/// A killed process is gone after this time, or the machine is broken.
const DEATH: Duration = Duration::from_secs(20);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 12;

/// A running program. Dropping it kills it.
pub(crate) struct Child {
    name: String,
    log: PathBuf,
    process: tokio::process::Child,
}

impl Child {
    /// Starts a program that writes to a log file.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[String], log: &Path) -> Result<Child> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = if Path::new(LEASH).exists() {
            let mut command = Command::new(LEASH);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        // A setting of the surroundings is not to change what is measured.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("STRATA_") || text.starts_with("ETCD_") {
                command.env_remove(&variable);
            }
        }
        if cfg!(target_arch = "aarch64") {
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        let process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Child { name: name.to_owned(), log: log.to_owned(), process })
    }

    /// Its process id, as long as it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Fails with the end of its log when it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.log_end()),
            None => Ok(()),
        }
    }

    /// Sends SIGKILL without waiting.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.start_kill().with_context(|| format!("{} cannot be killed", self.name))
    }

    /// Waits until a killed process is gone.
    pub(crate) async fn gone(&mut self) -> Result<()> {
        match tokio::time::timeout(DEATH, self.process.wait()).await {
            Ok(status) => status.map(drop).map_err(Into::into),
            Err(_) => bail!("{} is still there {} s after it was killed", self.name, DEATH.as_secs()),
        }
    }

    /// The last lines it wrote.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_is_killed_and_its_log_is_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let arguments = ["-c".to_owned(), "echo hello; exec cat /dev/zero > /dev/null".to_owned()];
        let mut child = Child::start("c1", Path::new("/bin/sh"), &arguments, &log).expect("a shell");
        child.check().expect("it runs");
        assert!(child.pid().is_some());
        child.kill().expect("killed");
        child.gone().await.expect("gone");
        assert!(child.check().is_err());
    }

    #[tokio::test]
    async fn an_early_end_shows_the_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let arguments = ["-c".to_owned(), "echo no such port; exit 3".to_owned()];
        let mut child = Child::start("c1", Path::new("/bin/sh"), &arguments, &log).expect("a shell");
        child.gone().await.expect("it ends by itself");
        let error = child.check().expect_err("it ended").to_string();
        assert!(error.contains("c1 ended") && error.contains("no such port"), "{error}");
    }
}
