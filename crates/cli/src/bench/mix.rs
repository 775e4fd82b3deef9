//! Which operation comes next.

use bytes::Bytes;

/// How each key begins.
pub const KEY_PREFIX: &str = "bench-";

/// What the operations are drawn from.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Number of different keys.
    pub keys: u32,
    /// How many of a hundred operations are gets.
    pub read_percent: u32,
    /// Size of a value.
    pub value_bytes: usize,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// Read a key.
    Get(Bytes),
    /// Write a key.
    Put(Bytes, Bytes),
    /// Remove a key. It is not drawn, but what comes after all that is.
    Delete(Bytes),
}

/// Draws operations; equal seeds draw the same ones.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice of one caller.
    pub fn new(seed: u64, caller: u64) -> Dice {
        Dice {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(caller.wrapping_mul(0xd1b5_4a32_d192_ed03)),
        }
    }

    /// 64 random bits (SplitMix64).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u32
    }
}

impl Mix {
    /// The next operation.
    pub fn draw(&self, dice: &mut Dice) -> Drawn {
        let key = Mix::key(dice.below(self.keys));
        if dice.below(100) < self.read_percent { Drawn::Get(key) } else { Drawn::Put(key, self.value(dice)) }
    }

    /// Key number `number`.
    pub fn key(number: u32) -> Bytes {
        Bytes::from(format!("{KEY_PREFIX}{number:010}"))
    }

    /// Which number a key has, if it is one of a benchmark.
    pub fn number_of(key: &[u8]) -> Option<u32> {
        let digits = key.strip_prefix(KEY_PREFIX.as_bytes())?;
        let is_number = digits.len() == 10 && digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    }

    /// A random value, so that compression does not flatter us.
    pub fn value(&self, dice: &mut Dice) -> Bytes {
        let mut value = Vec::with_capacity(self.value_bytes + 8);
        while value.len() < self.value_bytes {
            value.extend_from_slice(&dice.next_u64().to_le_bytes());
        }
        value.truncate(self.value_bytes);
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_operations() {
        let mix = Mix { keys: 100, read_percent: 50, value_bytes: 13 };
        let draw = |seed, caller| {
            let mut dice = Dice::new(seed, caller);
            (0..50).map(|_| mix.draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn keys_of_benchmarks_are_told_from_others() {
        for number in [0, 7, u32::MAX] {
            assert_eq!(Mix::number_of(&Mix::key(number)), Some(number));
        }
        let too_large = format!("bench-{}", u64::from(u32::MAX) + 1);
        for other in
            ["bench-", "bench-press", "bench-12345678901", "bench-000000000x", "workbench-1", too_large.as_str()]
        {
            assert_eq!(Mix::number_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_mix_is_what_was_asked_for() {
        let mix = Mix { keys: 10, read_percent: 90, value_bytes: 64 };
        let mut dice = Dice::new(7, 7);
        let drawn: Vec<_> = (0..10_000).map(|_| mix.draw(&mut dice)).collect();
        let gets = drawn.iter().filter(|drawn| matches!(drawn, Drawn::Get(_))).count();
        assert!((8_800..9_200).contains(&gets), "{gets}");
        assert!(drawn.iter().all(|drawn| !matches!(drawn, Drawn::Put(_, value) if value.len() != 64)));
    }
}
