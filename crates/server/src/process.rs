//! What a server asks of the operating system for its own process.

use crate::front::OPERATORS_MAX;

/// Files that a node keeps for itself, however few it may open, and those that operators connect with.
const RESERVE_MIN: u64 = 512 + OPERATORS_MAX as u64;

/// Raises the number of files that this process may open to as much as it is allowed, and returns that. Tablets,
/// segments and connections all count, and the usual soft limit of 1,024 is for programs that use `select`.
#[cfg(unix)]
#[allow(unsafe_code, reason = "getrlimit and setrlimit are only there through libc")]
pub fn raise_open_files_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid pointer to an initialised struct that outlives them and keep nothing of it.
    let raised = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 { limit.rlim_cur } else { before }
    };
    Some(raised as u64)
}

/// Where there is no such limit.
#[cfg(not(unix))]
pub fn raise_open_files_limit() -> Option<u64> {
    None
}

/// How many connections there can be for clients where this many files may be open: no more than `wanted`, and so few
/// that a node whose clients take all that they can still opens its own files. It needs them to go on: a log that
/// cannot begin its next segment stops the node. Tablets, segments and other nodes get a quarter, and at least 512,
/// which is four tablets with all that each keeps open, beside the connections of operators; but never more than half,
/// so that there is room for clients.
pub fn connections_within(open_files: Option<u64>, wanted: u32) -> u32 {
    let Some(open_files) = open_files else { return wanted };
    let reserve = (open_files / 4).max(RESERVE_MIN).min(open_files / 2);
    let left = u32::try_from(open_files - reserve).unwrap_or(u32::MAX);
    wanted.min(left.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_node() {
        let fit = |open_files| connections_within(Some(open_files), 20_000);
        assert_eq!(connections_within(None, 20_000), 20_000);
        assert_eq!((fit(u64::MAX), fit(1 << 20), fit(26_668)), (20_000, 20_000, 20_000));
        assert_eq!((fit(20_000), fit(4_096), fit(1_024), fit(256), fit(0)), (15_000, 3_072, 512, 128, 1));
        assert_eq!(connections_within(Some(4_096), 10), 10);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_the_hard_one() {
        let first = raise_open_files_limit().expect("readable");
        assert!(first >= 256, "{first}");
        assert_eq!(raise_open_files_limit(), Some(first), "raising it twice changes nothing");
    }
}
