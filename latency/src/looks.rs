//! When somebody looks at a comparison that is under way, and how much of the error each look may spend.
//!
//! Whoever looks ten times at 5 % and stops when he likes what he sees is wrong far more often than once in twenty. So the
//! looks are laid down before the first pair, and the allowed error is divided among them: all looks together err no more
//! often than once was agreed, however they hang together (Bonferroni's inequality needs nothing to be known of that).
//! Late looks rest on more, and get more.

/// Looks of one comparison: between the first that can decide anything and the last, each is that much later than the one
/// before; with more, each would have too little to spend.
const LOOKS_MAX: usize = 5;

/// After how many pairs is looked, and what is spent then.
#[derive(Debug, Clone, PartialEq)]
pub struct Looks {
    looks: Vec<Look>,
}

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// After so many pairs.
    pub pairs: usize,
    /// Its part of the whole error; all parts are one.
    pub share: f64,
}

impl Looks {
    /// Looks until `pairs_max`, the first as soon as pairs that all agree could decide at `error`, two-sided. The error
    /// is less than the whole where several comparisons share it.
    ///
    /// # Errors
    /// The pairs that a single look would need, when those are more than `pairs_max`.
    pub fn new(pairs_max: usize, error: f64) -> Result<Self, usize> {
        let can_decide = |pairs: usize, share: f64| chance_of_agreement(pairs) <= error * share;
        let spread = |first: usize| Self { looks: divided(&spread(first, pairs_max)) };
        let fits =
            |looks: &Self| looks.looks.first().is_some_and(|first| can_decide(first.pairs, first.share));
        (1..=pairs_max).map(spread).find(fits).ok_or_else(|| {
            (1..)
                .find(|pairs| can_decide(*pairs, 1.0))
                .expect("the chance of agreement halves with each pair")
        })
    }

    /// The look that is due after exactly so many pairs.
    #[must_use]
    pub fn after(&self, pairs: usize) -> Option<Look> {
        self.looks.iter().find(|look| look.pairs == pairs).copied()
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Look] {
        &self.looks
    }
}

/// How likely it is that so many differences all lie on one side of where their centre is.
fn chance_of_agreement(pairs: usize) -> f64 {
    0.5_f64.powi(i32::try_from(pairs).unwrap_or(i32::MAX) - 1)
}

/// Numbers of pairs from the first look to the last, equally far from one another in proportion.
fn spread(first: usize, last: usize) -> Vec<usize> {
    let ratio = last as f64 / first as f64;
    let part = |step: usize| ratio.powf(step as f64 / (LOOKS_MAX - 1) as f64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between first and last")]
    let mut pairs: Vec<usize> =
        (0..LOOKS_MAX).map(|step| (first as f64 * part(step)).round() as usize).collect();
    pairs.dedup();
    pairs
}

fn divided(pairs: &[usize]) -> Vec<Look> {
    let whole: usize = pairs.iter().sum();
    pairs.iter().map(|pairs| Look { pairs: *pairs, share: *pairs as f64 / whole as f64 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs_max: usize, error: f64, expected: &str) {
        let got = match Looks::new(pairs_max, error) {
            Ok(looks) => {
                let look = |look: &Look| format!("{}:{:.2}", look.pairs, look.share);
                assert!((looks.all().iter().map(|look| look.share).sum::<f64>() - 1.0).abs() < 1e-12);
                looks.all().iter().map(look).collect::<Vec<_>>().join(" ")
            }
            Err(needed) => format!("needs {needed}"),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn looks_are_spread_and_the_late_ones_weigh_more() {
        check(40, 0.05, "9:0.08 13:0.12 19:0.17 28:0.26 40:0.37");
        check(40, 0.005, "12:0.10 16:0.13 22:0.18 30:0.25 40:0.33");
        check(6, 0.05, "6:1.00"); // one look has it all
        check(8, 0.05, "7:0.47 8:0.53");
        check(5, 0.05, "needs 6");
        check(8, 0.005, "needs 9");
    }
}
