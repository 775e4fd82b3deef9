//! Calls that never end. A call has a deadline, so whoever waits for it for far longer has found something; and who
//! waits for ever tells nobody.

use std::time::Duration;

use tokio::time::timeout;

/// Nothing that a client does with a few calls takes this long.
pub(crate) const WORK_MAX: Duration = Duration::from_secs(180);

/// SIM-LIVE-7: what clients begin comes to an end. What does not is reported and given up.
pub(crate) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = T>,
    report: impl FnOnce(String),
) -> Option<T> {
    let done = timeout(limit, work).await.ok();
    if done.is_none() {
        report(format!("SIM-LIVE-7 calls end: something that a client began goes on after {} s", limit.as_secs()));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_for_ever_is_found() {
        let mut broken = Vec::new();
        assert_eq!(in_time(WORK_MAX, tokio::time::sleep(WORK_MAX / 2), |text| broken.push(text)).await, Some(()));
        assert!(broken.is_empty());
        assert_eq!(in_time(WORK_MAX, std::future::pending::<()>(), |text| broken.push(text)).await, None);
        assert!(broken[0].starts_with("SIM-LIVE-7"));
    }
}
