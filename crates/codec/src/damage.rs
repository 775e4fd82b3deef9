//! Damaged bytes, for the tests of decoders in all crates: whatever comes off a disk or from another node, a decoder
//! answers and does not panic, and what it accepts is a value like any other.
//!
//! ```text
//!   samples -> every byte changed in several ways, every place cut, grown and shrunk, numbers made huge,
//!              two samples joined, several changes at once, noise
//! ```
//! Always the same cases, and so few that a test takes less than a second without optimisation.
//!
//! [`fuzz_targets!`](crate::fuzz_targets) makes `each` and `check_format` of a test module fuzz targets: after those cases
//! proptest looks for more of them, from a fixed seed, and makes what it finds small. What it draws are bytes: a program
//! for [`planned`], which changes a sample by it or takes it as it is. Of each case it is measured what the decoder, and
//! whatever the test does beside it, take of memory ([`check_memory`]).

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
    each(&samples(values, &encode, &decode), |bytes| check_bytes(bytes, &encode, &decode));
}

/// The values as bytes, from which they must come back.
///
/// # Panics
/// When one does not.
pub fn samples<T: PartialEq + Debug, E: Debug>(
    values: &[T],
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
) -> Vec<Bytes> {
    let sample = |value: &T| {
        let sample = encode(value);
        let decoded = decode(sample.clone()).unwrap_or_else(|error| panic!("{value:?} does not decode: {error:?}"));
        assert_eq!(decoded, *value);
        sample
    };
    values.iter().map(sample).collect()
}

/// What is accepted must mean the same after another way.
///
/// # Panics
/// When it does not.
pub fn check_bytes<T: PartialEq + Debug, E: Debug>(
    bytes: Bytes,
    encode: impl Fn(&T) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
) {
    if let Ok(value) = decode(bytes) {
        let again = decode(encode(&value));
        assert!(again.as_ref().is_ok_and(|again| *again == value), "{value:?} became {again:?}");
    }
}

/// Defines `each` and `check_format` for a module of tests: those of [`damage`](crate::damage), and then proptest with the
/// same checks, bounded and from a fixed seed. Needs `proptest`, `bytes` and `allocation_counter` where it stands.
#[macro_export]
macro_rules! fuzz_targets {
    () => {
        #[allow(dead_code, reason = "not every module has formats")]
        fn check_format<T: PartialEq + ::std::fmt::Debug, E: ::std::fmt::Debug>(
            values: &[T],
            encode: impl Fn(&T) -> ::bytes::Bytes,
            decode: impl Fn(::bytes::Bytes) -> ::std::result::Result<T, E>,
        ) {
            let samples = $crate::damage::samples(values, &encode, &decode);
            each(&samples, |bytes| $crate::damage::check_bytes(bytes, &encode, &decode));
        }

        #[allow(dead_code, reason = "not every module has anything but formats")]
        fn each(samples: &[::bytes::Bytes], check: impl Fn(::bytes::Bytes)) {
            let check = |bytes: ::bytes::Bytes| {
                let (length, mut ended) = (bytes.len(), ::std::result::Result::Ok(()));
                // A panic would leave the counter in the middle of its counting.
                let caught = ::std::panic::AssertUnwindSafe(|| check(bytes));
                let taken = ::allocation_counter::measure(|| ended = ::std::panic::catch_unwind(caught));
                if let ::std::result::Result::Err(panic) = ended {
                    ::std::panic::resume_unwind(panic);
                }
                $crate::damage::check_memory(length, taken.bytes_max);
            };
            $crate::damage::each(samples, &check);
            let config = ::proptest::test_runner::Config {
                cases: $crate::damage::PLANS,
                failure_persistence: None,
                rng_seed: ::proptest::test_runner::RngSeed::Fixed(7),
                ..::proptest::test_runner::Config::default()
            };
            let plans =
                ::proptest::collection::vec(::proptest::arbitrary::any::<u8>(), 0..$crate::damage::PLAN_BYTES_MAX);
            let found = ::proptest::test_runner::TestRunner::new(config).run(&plans, |plan| {
                check($crate::damage::planned(samples, &plan));
                ::std::result::Result::Ok(())
            });
            if let ::std::result::Result::Err(found) = found {
                panic!("damage::planned made of this what a decoder does not stand: {found}");
            }
        }
    };
}

/// Plans that proptest tries for each target.
pub const PLANS: u32 = 512;
/// Longest plan.
pub const PLAN_BYTES_MAX: usize = 128;

/// Memory that a case may take at once, and for each byte of it.
const MEMORY_ROOM: u64 = 1 << 12;
const MEMORY_PER_BYTE: u64 = 64;

/// Whether a case that is so long may have taken so much memory at once: a length that was only read is no reason to
/// make room.
///
/// # Panics
/// When it may not.
pub fn check_memory(length: usize, taken: u64) {
    let limit = MEMORY_ROOM + length as u64 * MEMORY_PER_BYTE;
    assert!(taken <= limit, "{length} bytes took {taken} bytes of memory at once, more than {limit}");
}

/// Damage by a plan, whose first byte says what of: the rest as it is, or a sample, of which each four further bytes are
/// a change.
pub fn planned(samples: &[Bytes], plan: &[u8]) -> Bytes {
    let [kind, which, rest @ ..] = plan else { return Bytes::copy_from_slice(plan) };
    let Some(sample) = samples.get(usize::from(*which) % samples.len().max(1)).filter(|_| kind % 4 != 0) else {
        return Bytes::copy_from_slice(rest);
    };
    let mut bytes = sample.to_vec();
    for change in rest.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([change[1], change[2]])) % (bytes.len() + 1);
        match change[0] % 7 {
            0 => bytes.insert(at, change[3]),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                // The end of another sample, as when a file was written over.
                let other = &samples[usize::from(change[3]) % samples.len()];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
            4 => {
                let number = HUGE[usize::from(change[3]) % HUGE.len()].to_be_bytes();
                let end = (at + number.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << (change[3] % 8),
            _ if at < bytes.len() => bytes[at] = change[3],
            _ => {}
        }
    }
    bytes.into()
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

    mod fuzzed {
        use super::{decode, encode};

        crate::fuzz_targets!();

        #[test]
        fn a_good_decoder_passes() {
            check_format(&[vec![], vec![1, 2, 3]], encode, |bytes| decode(bytes, 2));
        }

        #[test]
        #[should_panic(expected = "a decoder panicked")]
        fn a_decoder_that_makes_room_for_what_it_only_read_is_found() {
            check_format(&[vec![], vec![1, 2, 3]], encode, |bytes| {
                let count = bytes.first_chunk().map_or(0, |count| u32::from_be_bytes(*count));
                let _room = Vec::<u8>::with_capacity(count as usize);
                decode(bytes, 2)
            });
        }

        /// No fixed case is as long.
        #[test]
        #[should_panic(expected = "what a decoder does not stand")]
        fn a_mistake_that_only_proptest_finds_is_found() {
            each(&[bytes::Bytes::from_static(b"0123456789")], |bytes| {
                assert!(bytes.len() < 110, "a long one");
            });
        }
    }

    #[test]
    fn a_plan_is_a_changed_sample_or_itself() {
        let samples = [Bytes::from_static(b"abcd"), Bytes::from_static(b"wxyz")];
        let made = |plan: &[u8]| planned(&samples, plan);
        assert_eq!(made(&[]), "");
        assert_eq!(made(&[4, 9, b'h', b'i']), "hi");
        assert_eq!(made(&[1, 1]), "wxyz");
        assert_eq!(made(&[1, 0, 0, 0, 1, b'-']), "a-bcd");
        assert_eq!(made(&[1, 0, 3, 0, 2, 1]), "abyz");
        assert_eq!(made(&[1, 0, 4, 0, 2, 3]), &b"ab\xff\xff"[..]);
        assert_eq!(planned(&[], &[1, 0, 7]), &[7][..]);
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
