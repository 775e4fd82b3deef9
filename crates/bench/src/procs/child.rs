//! One child process that cannot be forgotten.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Lets the system kill the child when this process ends in whatever way.
const LEASH: &str = "/usr/bin/setpriv";
/// A process that was killed, or told to end, is gone after this time, or something is broken.
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

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) -> Result<()> {
        let Some(pid) = self.pid() else { bail!("{} does not run, so it cannot get SIG{name}", self.name) };
        let mut command = Command::new("kill");
        command.arg(format!("-{name}")).arg(pid.to_string()).stdin(Stdio::null());
        let status = command.status().await.context("`kill` cannot be started")?;
        if !status.success() {
            bail!("{} did not get SIG{name}: {status}", self.name);
        }
        Ok(())
    }

    /// Waits until a process that was killed, or told to end, is gone.
    pub(crate) async fn gone(&mut self) -> Result<()> {
        match tokio::time::timeout(DEATH, self.process.wait()).await {
            Ok(status) => status.map(drop).map_err(Into::into),
            Err(_) => bail!("{} is still there after {} s: {}", self.name, DEATH.as_secs(), self.log_end()),
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
    async fn a_child_gets_signals_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let arguments = ["-c".to_owned(), "exec cat /dev/zero > /dev/null".to_owned()];
        let mut child = Child::start("c1", Path::new("/bin/sh"), &arguments, &log).expect("a shell");
        child.signal("TERM").await.expect("sent");
        child.gone().await.expect("gone");
        assert!(child.signal("TERM").await.expect_err("it is gone").to_string().contains("c1"));
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
