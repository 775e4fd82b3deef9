//! How long nothing was acknowledged, and how late what was.

/// The longest silence between `from` and `to`: see [`silences`].
pub(super) fn longest_silence(acks: Vec<u32>, from: u32, to: u32) -> u32 {
    silences(acks, from, to).into_iter().map(|(begin, end)| end - begin).max().unwrap_or(0)
}

/// All silences between `from` and `to`. The first begins at the last acknowledgement before `from`, or, where there was
/// none, at `from`; what is still silent at the end was silent until then.
pub(super) fn silences(mut acks: Vec<u32>, from: u32, to: u32) -> Vec<(u32, u32)> {
    acks.sort_unstable();
    let first = acks.iter().copied().rfind(|&ack| ack <= from).unwrap_or(from);
    let within: Vec<u32> = acks.into_iter().filter(|&ack| ack > from && ack < to).collect();
    let begins = std::iter::once(first).chain(within.iter().copied());
    begins.zip(within.iter().copied().chain([to])).collect()
}

/// A quantile of microseconds, in milliseconds; zero when there are none.
pub(super) fn quantile_ms(mut micros: Vec<u32>, percent: usize) -> f64 {
    if micros.is_empty() {
        return 0.0;
    }
    let at = (micros.len() * percent / 100).min(micros.len() - 1);
    let (_, value, _) = micros.select_nth_unstable(at);
    f64::from(*value) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_may_begin_before_and_last_until_the_end() {
        assert_eq!(longest_silence(vec![900, 1_300, 1_350], 1_000, 1_400), 400);
        assert_eq!(longest_silence(vec![1_300, 1_350], 1_000, 1_400), 300, "nothing before: from the beginning");
        assert_eq!(longest_silence(vec![900, 1_050, 5_000], 1_000, 1_400), 350, "what comes later is too late");
        assert_eq!(longest_silence(Vec::new(), 1_000, 1_400), 400);
        assert_eq!(silences(vec![1_300, 900, 1_350], 1_000, 1_400), [(900, 1_300), (1_300, 1_350), (1_350, 1_400)]);
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let micros: Vec<u32> = (0..1_000).rev().collect();
        assert_eq!((quantile_ms(micros.clone(), 50), quantile_ms(micros, 99)), (0.5, 0.99));
        assert_eq!(quantile_ms(Vec::new(), 99), 0.0);
    }
}
