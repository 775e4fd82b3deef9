//! What people call a cluster, so that a node that was started for one does not become a member of another.

use std::fmt;

/// The longest name.
const BYTES_MAX: usize = 63;

/// The name of a cluster: given at its founding, and by every node that joins. What has none is called `strata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name of a cluster that nobody named.
    pub const DEFAULT: &str = "strata";

    /// Reads a name, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<ClusterName, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match !text.is_empty() && text.len() <= BYTES_MAX && text.bytes().all(is_plain) {
            true => Ok(ClusterName(text.to_owned())),
            false => Err(format!("the name of a cluster is 1 to {BYTES_MAX} letters, digits, `-`, `_` and `.`")),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the one that is never written, so that older programs understand what is.
    pub(crate) fn is_default(&self) -> bool {
        self.0 == ClusterName::DEFAULT
    }
}

impl Default for ClusterName {
    fn default() -> ClusterName {
        ClusterName(ClusterName::DEFAULT.to_owned())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["strata", "prod-eu_1.a", "X", &"a".repeat(63)] {
            assert_eq!(ClusterName::parse(name).map(|parsed| parsed.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "two words", "straße", "a/b", &"a".repeat(64)] {
            assert!(ClusterName::parse(name).is_err(), "{name}");
        }
        assert!(
            ClusterName::default().is_default() && ClusterName::parse("other").is_ok_and(|name| !name.is_default())
        );
    }
}
