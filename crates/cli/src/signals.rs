//! Ctrl-C and its kin.

use std::io;

/// Requests to stop: Ctrl-C, `kill`, and what service managers send.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to end at once.
    #[cfg(unix)]
    pub fn take() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next request to stop.
    #[cfg(unix)]
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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
