//! Medians.

/// The middle one; the mean of the two in the middle; zero when there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The least and the most; zeros when there are none.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values = sorted(values);
    (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0))
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(spread([2.0, 9.0, -1.0]), (-1.0, 9.0));
        assert_eq!(spread([]), (0.0, 0.0));
    }
}
