//! The machine that a figure belongs to.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::load::Samples;

/// A segment of the log is preallocated and zeroed before it is used; so is this file.
const FILE_BYTES: usize = 16 * 1024 * 1024;
/// What one small batch takes in the log.
const WRITE_BYTES: usize = 512;
/// Syncs whose latency describes the disk.
const SYNCS: u32 = 500;
/// Above this load average something else runs.
const BUSY: f64 = 0.5;

/// What it is and how quiet it was.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    file_system: String,
    fdatasync_ms_p50: f64,
    fdatasync_ms_p99: f64,
    /// Averages over 1, 5 and 15 minutes, after the run: they include the run itself.
    load_average: String,
}

impl Machine {
    /// Describes this machine and the disk of a directory.
    pub(crate) async fn describe(directory: &Path) -> Result<Machine> {
        let syncs = fdatasync_latency(directory, SYNCS).await?;
        let memory_kib =
            field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        Ok(Machine {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gib: (memory_kib.unwrap_or(0.0) / 1_048_576.0).round(),
            kernel: whole("/proc/sys/kernel/osrelease").unwrap_or_else(|| std::env::consts::OS.to_owned()),
            file_system: file_system(directory).unwrap_or_else(|| "unknown".to_owned()),
            fdatasync_ms_p50: syncs.millis(0.5),
            fdatasync_ms_p99: syncs.millis(0.99),
            load_average: whole("/proc/loadavg").map(|text| first_words(&text, 3)).unwrap_or_default(),
        })
    }

    /// One sentence.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}, {} cores, {:.0} GiB, Linux {}, {}; fdatasync of {WRITE_BYTES} bytes p50 {:.3} ms, p99 {:.3} ms; \
             load average afterwards {}",
            self.cpu,
            self.cores,
            self.memory_gib,
            self.kernel,
            self.file_system,
            self.fdatasync_ms_p50,
            self.fdatasync_ms_p99,
            self.load_average
        )
    }

    /// A warning when the machine is busy before anything was started.
    pub(crate) fn noise() -> Option<String> {
        let average: f64 = whole("/proc/loadavg")?.split(' ').next()?.parse().ok()?;
        (average > BUSY).then(|| {
            format!("**The machine was not quiet:** its load average was {average} before the run. Expect noise.")
        })
    }
}

/// Latencies of writing a little into a preallocated, zeroed file and making it durable.
pub(crate) async fn fdatasync_latency(directory: &Path, count: u32) -> Result<Samples> {
    let file = tempfile::tempfile_in(directory)?;
    tokio::task::spawn_blocking(move || measure_syncs(file, count)).await?
}

fn measure_syncs(mut file: File, count: u32) -> Result<Samples> {
    file.write_all(&vec![0; FILE_BYTES])?;
    file.sync_all()?;
    let content = [0x5a; WRITE_BYTES];
    let mut samples = Samples::new();
    for number in 0..count as usize {
        let at = (number * WRITE_BYTES) % FILE_BYTES;
        let begin = Instant::now();
        file.write_all_at(&content, at as u64)?;
        file.sync_data()?;
        samples.add(begin.elapsed());
    }
    Ok(samples)
}

fn whole(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of a line `name : value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = whole(path)?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

fn first_words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

/// The kind of file system of a directory: of the mount with the longest path that it lies in.
fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = whole("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let above = mounts.filter(|(path, _)| directory.starts_with(path));
    above.max_by_key(|(path, _)| path.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_describes_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let machine = Machine::describe(directory.path()).await.expect("a description");
        assert!(machine.cores > 0 && machine.fdatasync_ms_p50 > 0.0, "{machine:?}");
        assert!(machine.text().contains("fdatasync"));
    }
}
