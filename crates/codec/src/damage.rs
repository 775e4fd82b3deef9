//! Damaged bytes, for the tests of decoders in all crates: whatever comes off a disk or from another node, a decoder
//! answers and does not panic, and what it accepts is a value like any other.
//!
//! ```text
//!   samples -> every byte changed in several ways, every place cut, grown and shrunk, numbers made huge,
//!              two samples joined, several changes at once, noise
//! ```
//! Always the same cases, and so few that a test takes less than a second without optimisation.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

/// Places of one sample at which each kind of change is tried; of longer samples every so many-th place is.
const PLACES_MAX: usize = 160;
/// Cases that are made of random changes, and as many of noise.
const RANDOM_CASES: usize = 1_500;
/// Bytes of noise at most.
const NOISE_BYTES_MAX: u64 = 96;
/// What numbers are replaced by: lengths and counts that no input holds.
const HUGE: [u32; 4] = [0, 0x7fff_ffff, 0xffff_fff0, u32::MAX];

/// Checks a format with values of it and all kinds of damage.
///
/// # Panics
/// When a value does not survive its own encoding, when a decoder panics, or when it accepts bytes as a value that does
/// not encode to bytes of that value.
pub fn check_format<T: PartialEq + Debug, E: Debug>(
    values: &[T],
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
) {
    let samples: Vec<Bytes> = values.iter().map(&encode).collect();
    for (value, sample) in values.iter().zip(&samples) {
        let decoded = decode(sample.clone()).unwrap_or_else(|error| panic!("{value:?} does not decode: {error:?}"));
        assert_eq!(decoded, *value);
    }
    each(&samples, |bytes| {
        if let Ok(value) = decode(bytes) {
            let again = decode(encode(&value));
            assert!(again.as_ref().is_ok_and(|again| *again == value), "{value:?} became {again:?}");
        }
    });
}

/// Calls `check` with damage of all kinds.
///
/// # Panics
/// When `check` does; the message holds the bytes.
pub fn each(samples: &[Bytes], check: impl Fn(Bytes)) {
    let tried = |bytes: Vec<u8>| {
        let input = Bytes::from(bytes);
        if catch_unwind(AssertUnwindSafe(|| check(input.clone()))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("a decoder panicked, or what it accepted was no value: input=`{hex}`");
        }
    };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for sample in samples {
        changed_at_each_place(sample, &tried);
    }
    for _ in 0..RANDOM_CASES {
        tried(changed_at_random(samples, &mut dice));
        tried(noise(samples, &mut dice));
    }
}

/// One change at a time.
fn changed_at_each_place(sample: &[u8], tried: &impl Fn(Vec<u8>)) {
    tried(sample.to_vec());
    for at in (0..sample.len()).step_by(sample.len().div_ceil(PLACES_MAX).max(1)) {
        for change in [0x01, 0x02, 0x08, 0x80, 0xff] {
            let mut bytes = sample.to_vec();
            bytes[at] ^= change;
            tried(bytes);
        }
        tried(sample[..at].to_vec());
        tried([&sample[..at], &sample[at + 1..]].concat());
        tried([&sample[..at], &[0x5a], &sample[at..]].concat());
        for number in HUGE {
            let mut bytes = sample.to_vec();
            if let Some(field) = bytes.get_mut(at..at + 4) {
                field.copy_from_slice(&number.to_be_bytes());
                tried(bytes);
            }
        }
    }
    tried([sample, &[0]].concat());
}

/// Several changes, after which it may still look like a sample.
fn changed_at_random(samples: &[Bytes], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.one_of(samples).map_or_else(Vec::new, |sample| sample.to_vec());
    if dice.below(4) == 0 {
        let other = dice.one_of(samples).cloned().unwrap_or_default();
        bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
        bytes.extend_from_slice(&other[dice.below(other.len() as u64 + 1) as usize..]);
    }
    for _ in 0..1 + dice.below(6) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        match dice.below(4) {
            0 => bytes.insert(at, dice.next() as u8),
            1 => bytes.truncate(bytes.len().saturating_sub(dice.below(8) as usize)),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = dice.next() as u8,
            _ => {}
        }
    }
    bytes
}

/// Noise, sometimes after the beginning of a sample: with the right first bytes it gets further.
fn noise(samples: &[Bytes], dice: &mut Dice) -> Vec<u8> {
    let sample = dice.one_of(samples).cloned().unwrap_or_default();
    let mut bytes = sample[..dice.below(4.min(sample.len() as u64) + 1) as usize].to_vec();
    // Small numbers are likelier to be lengths that fit.
    let is_small = dice.below(2) == 0;
    for _ in 0..dice.below(NOISE_BYTES_MAX) {
        let byte = dice.next() as u8;
        bytes.push(if is_small && byte > 16 { 0 } else { byte });
    }
    bytes
}

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len() as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Decoder, Encoder};

    fn encode(values: &Vec<u16>) -> Bytes {
        let mut out = Encoder::default();
        out.u32(values.len() as u32);
        for value in values {
            out.u16(*value);
        }
        out.finish()
    }

    fn decode(input: Bytes, least: usize) -> Result<Vec<u16>, DecodeError> {
        let mut input = Decoder::new(input);
        let count = input.count(least, "count")?;
        let values = (0..count).map(|_| input.u16("value")).collect::<Result<_, _>>()?;
        input.finish()?;
        Ok(values)
    }

    #[test]
    fn a_good_decoder_passes() {
        check_format(&[vec![], vec![1, 2, 3]], encode, |bytes| decode(bytes, 2));
    }

    #[test]
    #[should_panic(expected = "a decoder panicked")]
    fn a_decoder_that_trusts_a_length_is_found() {
        check_format(&[vec![1, 2, 3]], encode, |bytes| {
            if bytes.len() >= 4 {
                let count = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
                assert_eq!(bytes[4..].chunks(2).take(count).count(), count, "it reads past the end");
            }
            decode(bytes, 2)
        });
    }

    #[test]
    #[should_panic(expected = "a decoder panicked")]
    fn a_decoder_that_loses_something_is_found() {
        let lossy = |values: &Vec<u16>| encode(&values.iter().map(|value| value & 0x7fff).collect());
        check_format(&[vec![1, 2, 3]], lossy, |bytes| decode(bytes, 2));
    }
}
