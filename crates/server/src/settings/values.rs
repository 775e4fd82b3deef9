//! How the text of a setting becomes a value.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// A host and a port. The host is a name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// The port; zero lets the system choose.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (which means loopback).
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong = || format!("expected HOST:PORT, such as 127.0.0.1:7400, but found `{text}`");
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside.ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(wrong());
        }
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Address { host: host.to_owned(), port })
    }

    /// The same host with another port.
    pub fn with_port(&self, port: u16) -> Address {
        Address { host: self.host.clone(), port }
    }

    /// Whether only this machine can reach it. A name other than `localhost` counts as reachable from outside.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Whether it means "every address of this machine", which is nowhere that others can connect to.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse().is_ok_and(|address: IpAddr| address.is_unspecified())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

const DAY: u64 = 24 * 3_600;
/// No setting means more, and sums of a few still are durations.
const DURATION_MAX: Duration = Duration::from_secs(36_500 * DAY);

/// Reads a duration such as `100ms`, `1.5s` or `2m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 100ms, 1.5s or 2m, but found `{text}`");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    if seconds > DURATION_MAX.as_secs_f64() {
        return Err(format!(
            "expected a duration of at most {} days, but found `{text}`",
            DURATION_MAX.as_secs() / DAY
        ));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Reads a size such as `64MiB`, `1GiB` or `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as 64MiB or 1GiB, but found `{text}`");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let bytes = number * scale as f64;
    if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Reads a whole number within bounds.
pub fn parse_count(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number: Option<u32> = text.trim().replace('_', "").parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("expected a whole number from {least} to {most}, but found `{text}`"))
}

/// Reads a yes or a no.
pub fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("expected true or false, but found `{text}`")),
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["127.0.0.1:7400", "db-1.example:7401", "[::1]:0"] {
            assert_eq!(Address::parse(text).expect("an address").to_string(), text);
        }
        assert_eq!(Address::parse(":7400").expect("an address").to_string(), "127.0.0.1:7400");
        for text in ["", "7400", "host:", "host:70000", "::1:7400", "[::1:7400", "a b:1", "http://host:1"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_and_wildcard_are_recognised() {
        let address = |text| Address::parse(text).expect("an address");
        assert!(address("localhost:1").is_loopback() && address("127.9.9.9:1").is_loopback());
        assert!(address("[::1]:1").is_loopback());
        assert!(!address("0.0.0.0:1").is_loopback() && !address("example.org:1").is_loopback());
        assert!(address("0.0.0.0:1").is_wildcard() && address("[::]:1").is_wildcard());
        assert!(!address("10.0.0.1:1").is_wildcard());
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert!(parse_duration("100").is_err() && parse_duration("fast").is_err() && parse_duration("-1s").is_err());
        assert!(parse_duration("876000h").is_ok());
        let sentence = parse_duration("7000000000000000000s").expect_err("too long");
        assert!(sentence.contains("at most 36500 days"), "{sentence}");
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5g"), Ok(3 << 29));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(parse_bytes("64 apples").is_err() && parse_bytes("").is_err());
    }

    #[test]
    fn counts_and_switches() {
        assert_eq!(parse_count("20_000", 1, 50_000), Ok(20_000));
        assert!(parse_count("0", 1, 5).is_err() && parse_count("6", 1, 5).is_err() && parse_count("x", 1, 5).is_err());
        assert_eq!((parse_switch("on"), parse_switch("false")), (Ok(true), Ok(false)));
        assert!(parse_switch("maybe").is_err());
    }
}
