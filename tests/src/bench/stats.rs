//! Medians, percentiles, and a bootstrap interval for ratios of rounds.

/// The value below which a share `p` (0 to 1) of the values lies; 0 for none.
pub fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * p).round() as usize).copied().unwrap_or(0.0)
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The 95 % interval of the median, by resampling with a fixed seed.
pub fn interval(values: &[f64]) -> (f64, f64) {
    const SAMPLES: usize = 2000;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let medians: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let sample: Vec<f64> = values.iter().map(|_| values[pick(values.len())]).collect();
            median(&sample)
        })
        .collect();
    (percentile(&medians, 0.025), percentile(&medians, 0.975))
}

/// `1.03 (1.01 to 1.06)`.
pub fn shown(ratios: &[f64]) -> String {
    let (low, high) = interval(ratios);
    format!("{:.2} ({low:.2} to {high:.2})", median(ratios))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_intervals_hold_the_median() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!((median(&values), percentile(&values, 0.0), percentile(&values, 1.0)), (3.0, 1.0, 5.0));
        let (low, high) = interval(&values);
        assert!(low <= 3.0 && 3.0 <= high);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
