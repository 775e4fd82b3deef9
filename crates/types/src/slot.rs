//! Key -> slot, exactly as Redis Cluster does it, so that its clients can route themselves.

use std::fmt;

/// Number of slots. Fixed by the Redis Cluster protocol.
pub const SLOT_COUNT: u16 = 16_384;

/// One of the [`SLOT_COUNT`] hash buckets of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Slot of a plain or Redis key: CRC16/XMODEM of its hash tag.
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16_xmodem(hash_tag(key)) % SLOT_COUNT)
    }

    /// `None` when the number is not below [`SLOT_COUNT`].
    pub fn new(number: u16) -> Option<Slot> {
        (number < SLOT_COUNT).then_some(Slot(number))
    }

    /// The number, below [`SLOT_COUNT`].
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Half-open range of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    /// First slot.
    pub start: u16,
    /// One past the last slot, at most [`SLOT_COUNT`].
    pub end: u16,
}

impl SlotRange {
    /// Whether the slot lies in the range.
    pub fn contains(&self, slot: Slot) -> bool {
        self.start <= slot.0 && slot.0 < self.end
    }

    /// The equal share of shard number `shard` among `shard_count` shards. Together the shares cover every slot
    /// exactly once.
    pub fn share(shard: u32, shard_count: u32) -> SlotRange {
        assert!(shard < shard_count, "shard {shard} of {shard_count}");
        let bound = |n: u32| (u64::from(n) * u64::from(SLOT_COUNT) / u64::from(shard_count)) as u16;
        SlotRange { start: bound(shard), end: bound(shard + 1) }
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// The part of a key that is hashed: what stands between the first `{` and the next `}`, if that is not empty.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        Some(length) if length > 0 => &rest[..length],
        _ => key,
    }
}

const CRC16_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc16_xmodem(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0u16, |crc, &byte| (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_matches_the_published_check_value() {
        assert_eq!(crc16_xmodem(b"123456789"), 0x31C3);
    }

    #[test]
    fn hash_tags_follow_the_redis_cluster_specification() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}", "an empty first tag hashes the whole key");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
        assert_eq!(Slot::of_key(b"{user1000}.following"), Slot::of_key(b"{user1000}.followers"));
        assert_eq!(Slot::of_key(b"foo").number(), 12_182);
    }

    #[test]
    fn shares_cover_every_slot_once() {
        for count in [1, 3, 4, 7, 64, 256] {
            let mut next = 0;
            for shard in 0..count {
                let range = SlotRange::share(shard, count);
                assert_eq!(range.start, next);
                assert!(range.end > range.start);
                next = range.end;
            }
            assert_eq!(next, SLOT_COUNT);
        }
    }
}
