//! Figures of one subject, and what is said of them.

/// Figures of one subject, one a batch or a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    values: Vec<f64>,
}

impl Figures {
    /// Adds one.
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The figure at `share` (0 to 1) of the sorted list, the nearest one; NaN without figures, which passes
    /// no gate.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index, from a share of a length"
    )]
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The middle figure, of an even number the mean of the two in the middle; NaN without figures.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => f64::NAN,
            (count, middle) if count % 2 == 1 => sorted[middle],
            (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The one added last; NaN without figures.
    #[must_use]
    pub fn last(&self) -> f64 {
        self.values.last().copied().unwrap_or(f64::NAN)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], share: f64, expected: f64) {
        assert_eq!(values.iter().copied().collect::<Figures>().at(share), expected);
    }

    #[test]
    fn quantiles_are_figures_of_the_list() {
        check(&[3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[3.0, 1.0, 2.0], 1.0, 3.0);
        check(&[3.0, 1.0, 2.0], 0.0, 1.0);
        check(&[7.0], 0.99, 7.0);
        assert!(Figures::default().at(0.5).is_nan() && Figures::default().median().is_nan());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!([4.0, 1.0, 2.0, 100.0].into_iter().collect::<Figures>().median(), 3.0);
        assert_eq!([4.0, 1.0, 2.0].into_iter().collect::<Figures>().median(), 2.0);
    }
}
