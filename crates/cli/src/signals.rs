//! Ctrl-C and its kin.

use std::io;

/// Requests to stop: Ctrl-C, `kill`, what service managers send, and a terminal that is closed.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// None: it stays as it was.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Takes the signals over from their default, which is to end at once.
    #[cfg(unix)]
    pub fn take() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = if outlives_terminal(&status) { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate, hangup })
    }

    /// The next request to stop.
    #[cfg(unix)]
    pub async fn next(&mut self) {
        let Signals { interrupt, terminate, hangup } = self;
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup => {}
        }
    }

    /// Takes the signals over from their default, which is to end at once.
    #[cfg(not(unix))]
    pub fn take() -> io::Result<Signals> {
        Ok(Signals {})
    }

    /// The next request to stop.
    #[cfg(not(unix))]
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the process was started with hang-ups ignored, as `nohup` does: then it is to go on without its terminal.
/// `status`: the process as Linux tells of it. Where there is none nobody can say, and hang-ups stay as they are.
#[cfg(unix)]
fn outlives_terminal(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    // One bit for each signal, the lowest one for SIGHUP.
    ignored.is_none_or(|ignored| ignored & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_outlives_its_terminal_where_it_was_started_to() {
        let status = |ignored: &str| format!("Name:\tstrata\nSigBlk:\t0000000000000001\nSigIgn:\t{ignored}\n");
        assert!(!outlives_terminal(&status("0000000000000000")));
        assert!(!outlives_terminal(&status("0000000000001000")), "others are ignored");
        assert!(outlives_terminal(&status("0000000000001001")));
        assert!(outlives_terminal(""), "nobody can say");
    }
}
