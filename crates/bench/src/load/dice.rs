//! Keys, values and choices: equal seeds give equal ones.

use bytes::Bytes;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// Dice of one part of a run.
    pub(crate) fn new(seed: u64, part: u64) -> Dice {
        Dice { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03) }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Random bytes, so that compression flatters nobody.
    pub(crate) fn value(&mut self, length: usize) -> Bytes {
        let mut value = Vec::with_capacity(length + 8);
        while value.len() < length {
            value.extend_from_slice(&self.bits().to_le_bytes());
        }
        value.truncate(length);
        value.into()
    }
}

/// Key number `number`: 16 bytes.
pub(crate) fn key(number: u64) -> Bytes {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(b"k-");
    let mut digits = [b'0'; 14];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key.extend_from_slice(&digits);
    key.into()
}

/// The only value that key `number` is ever given in a run that reads everything back.
pub(crate) fn value_of(number: u64, length: usize) -> Bytes {
    Dice::new(0x5eed, number).value(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_sixteen_bytes_and_are_different() {
        assert_eq!(&key(0)[..], b"k-00000000000000");
        assert_eq!(&key(1_234_567)[..], b"k-00000001234567");
        assert_eq!(key(99_999_999_999_999).len(), 16);
    }

    #[test]
    fn values_repeat_by_number_and_differ_otherwise() {
        assert_eq!(value_of(7, 64), value_of(7, 64));
        assert_ne!(value_of(7, 64), value_of(8, 64));
        assert_eq!(value_of(7, 13).len(), 13);
    }

    #[test]
    fn choices_stay_below_their_bound() {
        let mut dice = Dice::new(1, 1);
        let drawn: Vec<u64> = (0..1_000).map(|_| dice.below(10)).collect();
        assert!(drawn.iter().all(|&number| number < 10));
        assert!((0..10).all(|number| drawn.contains(&number)), "all of them occur");
    }
}
