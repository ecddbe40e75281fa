//! How far a task is, as providers write it.

/// Whole percents of a share of 100; 100 is for what has ended.
pub(super) fn percent(share: f64) -> u8 {
    (0..=99_u8)
        .rev()
        .find(|whole| f64::from(*whole) <= share)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_percentage() {
        for (share, whole) in [
            (0.0, 0),
            (41.9, 41),
            (99.99, 99),
            (100.0, 99),
            (1e300, 99),
            (-5.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, 99),
        ] {
            assert_eq!(percent(share), whole, "{share}");
        }
    }
}
