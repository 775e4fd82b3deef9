//! Are the acknowledged writes still there?

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// Most names of each kind that a report prints.
const PRINTED_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Acknowledged,
    Refused,
}

/// A recorder of writes that each have a name (a key or a value) of their own and are never overwritten or removed.
#[derive(Clone, Debug, Default)]
pub struct UniqueWrites {
    fates: BTreeMap<Bytes, Fate>,
}

/// What became of the writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurabilityReport {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Acknowledged writes that are gone.
    pub lost: Vec<Bytes>,
    /// Writes that were said not to be applied and are there.
    pub resurrected: Vec<Bytes>,
    /// What is there and was never written.
    pub invented: Vec<Bytes>,
    /// Writes of unknown outcome that are there; nothing is wrong with them.
    pub recovered: usize,
}

impl UniqueWrites {
    /// No writes.
    pub fn new() -> UniqueWrites {
        UniqueWrites::default()
    }

    /// Records that a write was sent; until more is known its outcome is unknown.
    ///
    /// # Panics
    /// When the name was used before.
    pub fn invoke(&mut self, name: impl Into<Bytes>) {
        let name = name.into();
        let printed = name.escape_ascii().to_string();
        assert!(self.fates.insert(name, Fate::Open).is_none(), "two writes with one name: {printed}");
    }

    /// Records that a write was acknowledged.
    ///
    /// # Panics
    /// When it was never sent or has ended already.
    pub fn ok(&mut self, name: &[u8]) {
        self.end(name, Fate::Acknowledged);
    }

    /// Records that a write was said not to be applied.
    ///
    /// # Panics
    /// When it was never sent or has ended already.
    pub fn fail(&mut self, name: &[u8]) {
        self.end(name, Fate::Refused);
    }

    /// Compares with the names that a final read, begun after the last write ended, found.
    pub fn check(&self, present: impl IntoIterator<Item = Bytes>) -> DurabilityReport {
        let mut missing = self.fates.clone();
        let mut report = DurabilityReport::default();
        for name in present {
            match missing.remove(&name) {
                Some(Fate::Acknowledged) => report.acknowledged += 1,
                Some(Fate::Refused) => report.resurrected.push(name),
                Some(Fate::Open) => report.recovered += 1,
                None if self.fates.contains_key(&name) => {}
                None => report.invented.push(name),
            }
        }
        let lost = missing.into_iter().filter(|(_, fate)| *fate == Fate::Acknowledged);
        report.lost = lost.map(|(name, _)| name).collect();
        report.acknowledged += report.lost.len();
        report
    }

    fn end(&mut self, name: &[u8], fate: Fate) {
        let printed = || name.escape_ascii().to_string();
        let known = self.fates.get_mut(name).unwrap_or_else(|| panic!("never sent: {}", printed()));
        assert_eq!(*known, Fate::Open, "ended twice: {}", printed());
        *known = fate;
    }
}

impl DurabilityReport {
    /// Whether nothing is wrong. A run without acknowledged writes proves nothing: look at
    /// [`DurabilityReport::acknowledged`] too.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.resurrected.is_empty() && self.invented.is_empty()
    }
}

impl fmt::Display for DurabilityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged, {} of unknown outcome found", self.acknowledged, self.recovered)?;
        let kinds = [
            ("lost although acknowledged", &self.lost),
            ("found although not applied", &self.resurrected),
            ("found although never written", &self.invented),
        ];
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n  {} {kind}:", names.len())?;
            for name in names.iter().take(PRINTED_MAX) {
                write!(f, " `{}`", name.escape_ascii())?;
            }
            if names.len() > PRINTED_MAX {
                f.write_str(" ...")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_is_told_apart() {
        let mut writes = UniqueWrites::new();
        for name in ["kept", "lost", "refused", "resurrected", "open", "recovered"] {
            writes.invoke(name);
        }
        writes.ok(b"kept");
        writes.ok(b"lost");
        writes.fail(b"refused");
        writes.fail(b"resurrected");
        let report = writes.check(["kept", "kept", "resurrected", "recovered", "invented"].map(Bytes::from));
        assert!(!report.is_clean());
        assert_eq!(
            report.to_string(),
            "2 acknowledged, 1 of unknown outcome found\n  1 lost although acknowledged: `lost`\n  \
             1 found although not applied: `resurrected`\n  1 found although never written: `invented`"
        );
        let mut clean = UniqueWrites::new();
        clean.invoke("a");
        clean.ok(b"a");
        assert!(clean.check([Bytes::from_static(b"a")]).is_clean());
    }
}
