//! Which process listens on a port, as far as `/proc` lets us see.

use std::path::Path;

/// State "listening" in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The process that listens on a TCP port of this machine, such as ``process 4711 (`postgres -D data`)``. `None` where
/// there is no `/proc`, or when the process belongs to somebody else.
pub fn port_holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listening_inodes(table, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds_one_of(*pid, &sockets))?;
    Some(describe(pid))
}

/// Inodes of the sockets that listen on `port`, from the text of a `/proc/net/tcp` table.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|columns| columns.len() > 9 && columns[1].ends_with(&suffix) && columns[3] == LISTENING)
        .map(|columns| columns[9].to_owned())
        .collect()
}

fn holds_one_of(pid: u32, inodes: &[String]) -> bool {
    let Ok(handles) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    handles.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| is_socket(&target, inodes))
}

fn is_socket(target: &Path, inodes: &[String]) -> bool {
    let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
    inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
}

fn describe(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|w| String::from_utf8_lossy(w).into())
        .collect();
    let mut line = words.join(" ");
    if let Some((cut, _)) = line.char_indices().nth(60) {
        line.truncate(cut);
        line.push_str("...");
    }
    if line.is_empty() { format!("process {pid}") } else { format!("process {pid} (`{line}`)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n\
             1: 0100007F:1CE8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4243 1\n\
             2: 0100007F:1CE9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4244 1\n";
        assert_eq!(listening_inodes(table, 7400), ["4242"]);
        assert_eq!(listening_inodes(table, 7402), Vec::<String>::new());
        assert!(is_socket(Path::new("socket:[4242]"), &["4242".to_owned()]));
        assert!(!is_socket(Path::new("socket:[4243]"), &["4242".to_owned()]));
        assert!(!is_socket(Path::new("/dev/null"), &["4242".to_owned()]));
    }
}
