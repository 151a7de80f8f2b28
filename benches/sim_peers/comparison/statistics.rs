//! Medians, and how sure of one a handful of rounds makes.

use std::fmt;

/// How often the rounds are drawn anew.
const RESAMPLES: usize = 10_000;

/// A median and the range that 95 of 100 resamples' medians are in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The median.
    pub median: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}, {:.2}]", self.median, self.low, self.high)
    }
}

/// The value in the middle; between the two if there are two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median of paired ratios with its percentile bootstrap interval. The same ratios give the
/// same interval.
pub fn ratio(ratios: &[f64]) -> Interval {
    let mut state = 1_u64;
    let mut draw = |bound: usize| {
        // Knuth's 64-bit linear congruential generator; its high half is good enough to resample.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize * bound) >> 31
    };
    let mut resample = || median(&ratios.iter().map(|_| ratios[draw(ratios.len())]).collect::<Vec<f64>>());
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    medians.sort_by(f64::total_cmp);
    Interval { median: median(ratios), low: medians[RESAMPLES / 40], high: medians[RESAMPLES - 1 - RESAMPLES / 40] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn equal_ratios_leave_no_doubt_and_one_outlier_does_not_move_the_median() {
        assert_eq!(ratio(&[2.0; 10]), Interval { median: 2.0, low: 2.0, high: 2.0 });
        let mut ratios = [2.0; 11];
        ratios[4] = 100.0;
        assert_eq!(ratio(&ratios), Interval { median: 2.0, low: 2.0, high: 2.0 });
    }

    #[test]
    fn the_interval_covers_the_median_and_stays_within_what_was_seen() {
        let ratios: Vec<f64> = (0..20).map(f64::from).collect();
        let interval = ratio(&ratios);
        assert!(interval.low < interval.median && interval.median < interval.high, "{interval}");
        assert!(interval.low >= 4.0 && interval.high <= 15.0, "{interval}");
    }
}
