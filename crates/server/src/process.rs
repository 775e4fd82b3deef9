//! What a server asks of the operating system for its own process.

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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_hard_one() {
        let first = raise_open_files_limit().expect("readable");
        assert!(first >= 256, "{first}");
        assert_eq!(raise_open_files_limit(), Some(first), "raising it twice changes nothing");
    }
}
