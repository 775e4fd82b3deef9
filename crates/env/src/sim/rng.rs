//! Random numbers that follow from a seed.

use parking_lot::Mutex;

use crate::Rng;

/// xoshiro256++, seeded through splitmix64: small, fast, and the same on every platform and version (SIM-3).
#[derive(Debug)]
pub struct SimRng {
    state: Mutex<[u64; 4]>,
}

impl SimRng {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> SimRng {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(counter)
        });
        SimRng { state: Mutex::new(state) }
    }

    /// An independent sequence that follows from this one's state and `label`.
    pub fn fork(&self, label: u64) -> SimRng {
        SimRng::new(self.next_u64() ^ mix(label))
    }

    /// A number from `0` up to but not including `bound`, which must not be zero.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no random element");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True or false, equally likely.
    pub fn coin(&self) -> bool {
        self.next_u64() >> 63 == 1
    }

    /// True once in `n` times on average.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Rng for SimRng {
    fn next_u64(&self) -> u64 {
        let mut state = self.state.lock();
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }
}

/// The output function of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed_by_the_seed() {
        let (first, second) = (SimRng::new(7), SimRng::new(7));
        let values: Vec<u64> = (0..100).map(|_| first.next_u64()).collect();
        assert!(values.iter().all(|value| second.next_u64() == *value));
        assert_ne!(SimRng::new(8).next_u64(), values[0]);
        assert_ne!(first.fork(1).next_u64(), second.fork(2).next_u64());
    }

    #[test]
    fn splitmix_agrees_with_its_published_sequence() {
        // First outputs of splitmix64 for the seed 1234567.
        let outputs: Vec<u64> =
            (1..=3u64).map(|n| mix(1_234_567u64.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))).collect();
        assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
