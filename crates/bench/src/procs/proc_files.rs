//! What Linux tells about processes.

use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks in which `/proc` counts CPU time. The kernel fixes them for programs at 100 a second, whatever its own
/// timer does.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of some processes together.
#[derive(Clone, Debug)]
pub(crate) struct CpuMeter {
    pids: Vec<u32>,
}

impl CpuMeter {
    /// For these processes.
    pub(crate) fn new(pids: Vec<u32>) -> CpuMeter {
        CpuMeter { pids }
    }

    /// Used so far; `None` when one of them cannot be asked.
    pub(crate) fn read(&self) -> Option<Duration> {
        self.pids.iter().map(|pid| cpu_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum()
    }
}

/// Resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read (Linux only)"))?;
    resident(&status).with_context(|| format!("{path} does not tell the resident memory"))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// User and system time out of `/proc/PID/stat`. The name before them may hold spaces and parentheses.
fn cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 7 8 9";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(cpu_time("42 (a"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 * 1_024 * 1_024));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn an_unknown_process_has_no_figures() {
        assert_eq!(CpuMeter::new(vec![u32::MAX]).read(), None);
    }
}
