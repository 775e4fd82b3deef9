//! How long a client waits.

use std::time::Duration;

use strata_types::limits::{REQUEST_DEADLINE_DEFAULT, REQUEST_DEADLINE_MAX};
use tonic::metadata::MetadataMap;

/// Part of the client's time that is left for the answer to travel, so that it gets our explanation and not only its
/// own clock's: a twentieth, and no more than this.
const TRAVEL_MAX: Duration = Duration::from_millis(50);

/// Time to work on a request with one answer: what the client has, or a default (GRPC-3).
pub(crate) fn of_request(metadata: &MetadataMap) -> Duration {
    client_timeout(metadata).map_or(REQUEST_DEADLINE_DEFAULT, less_travel)
}

/// Time for a whole scan.
pub(crate) fn of_scan(metadata: &MetadataMap) -> Duration {
    client_timeout(metadata).map_or(REQUEST_DEADLINE_MAX, less_travel)
}

fn less_travel(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 20).min(TRAVEL_MAX)).min(REQUEST_DEADLINE_MAX)
}

/// The `grpc-timeout` header: at most eight digits and a unit. Nonsense counts as none, as the protocol advises.
fn client_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(timeout: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().expect("a header value"));
        metadata
    }

    #[test]
    fn the_clients_time_is_used_but_for_the_way_back() {
        assert_eq!(of_request(&with("2S")), Duration::from_millis(1950));
        assert_eq!(of_request(&with("100m")), Duration::from_millis(95));
        assert_eq!(of_request(&with("500000u")), Duration::from_millis(475));
        assert_eq!(of_request(&with("99999999H")), REQUEST_DEADLINE_MAX);
    }

    /// GRPC-3
    #[test]
    fn without_a_usable_header_defaults_apply() {
        for nonsense in ["", "S", "5", "-1S", "123456789S", "5x", "\u{e9}"] {
            let Ok(value) = nonsense.parse() else { continue };
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value);
            assert_eq!(of_request(&metadata), REQUEST_DEADLINE_DEFAULT, "{nonsense}");
        }
        assert_eq!(of_request(&MetadataMap::new()), REQUEST_DEADLINE_DEFAULT);
        assert_eq!(of_scan(&MetadataMap::new()), REQUEST_DEADLINE_MAX);
    }
}
