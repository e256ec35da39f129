//! A latency budget: "p99 <= 1us for 5s".
//!
//! It says the same as "at most 1 % of the samples above 1 us", and it is judged that way, on exact counts,
//! because a count needs no histogram and its error is zero. `for` is how long it must be missed before that
//! is a breach; `over` is how far back each judgement looks. A burst stays in view for `over` after it has
//! ended, so of the two `for` should be the longer: a breach then means a burst longer than `for` - `over`,
//! and certainly one longer than `for`.

use std::fmt;

use units::{Name, Nanos, ParseError, Quantile};

use crate::exceed::Observation;

/// What a channel must keep, and when missing it is a breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What the budget is called in reports.
    pub name: Name,
    /// The channel it is about; on several CPUs, each CPU's channel by itself.
    pub channel: Name,
    /// The share of samples that must be within `limit`.
    pub quantile: Quantile,
    /// The longest latency that is within budget.
    pub limit: Nanos,
    /// How long the budget must be missed before that is a breach.
    pub for_: Nanos,
    /// How far back each judgement looks.
    pub window: Nanos,
    /// How long a breached budget must be met again before the breach is over.
    pub clear_after: Nanos,
    /// How long samples may be missing before nothing is known any more.
    pub stale_after: Nanos,
    /// Samples in the window below which "met" cannot be said.
    pub samples_min: u64,
}

/// What one observation says about a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Enough samples, few enough of them above the limit.
    Met,
    /// Too many samples above the limit.
    Missed,
    /// Too few samples to say that it was met, and too few exceedances to say that it was missed.
    TooFew,
}

/// `for` where a budget does not name one.
const FOR_DEFAULT: Nanos = Nanos::from_secs(5);

/// `over` where a budget does not name one: p99 of a 1 kHz probe is then judged on its 1 000 samples.
const WINDOW_DEFAULT: Nanos = Nanos::from_secs(1);

impl Budget {
    /// Reads `text`, as in `p99.9 <= 2us`, `p99 <= 1us for 5s` or `p99.9 <= 2us for 30s over 10s`.
    ///
    /// Left out, `for` is 5 s and `over` 1 s. A breach is over after as long as it took to become one, and
    /// samples may be missing as long (`clear_after` and `stale_after` are `for`, and `stale_after` at least
    /// `over`).
    ///
    /// # Errors
    /// [`ParseError`] with the part that cannot be read and the right form. Whether the budget can be judged
    /// is another question: [`crate::infeasible`].
    pub fn parse(name: Name, channel: Name, text: &str) -> Result<Self, ParseError> {
        let form = "a budget reads like p99.9 <= 2us, p99 <= 1us for 5s or p99.9 <= 2us for 30s over 10s";
        let problem = |what: &str| ParseError { text: text.to_owned(), problem: format!("{what}; {form}") };
        let part = |error: ParseError| problem(&error.to_string());

        let (quantile, rest) = text.split_once("<=").ok_or_else(|| problem("no <= in it"))?;
        if rest.split_once(" over ").is_some_and(|(_, after)| after.contains(" for ")) {
            return Err(problem("`for` stands before `over`"));
        }
        let (rest, window) = clause(rest, " over ").map_err(part)?;
        let (limit, for_) = clause(rest, " for ").map_err(part)?;
        let (for_, window) = (for_.unwrap_or(FOR_DEFAULT), window.unwrap_or(WINDOW_DEFAULT));
        let quantile: Quantile = quantile.trim().parse().map_err(part)?;
        Ok(Self {
            name,
            channel,
            quantile,
            limit: limit.parse().map_err(part)?,
            for_,
            window,
            clear_after: for_,
            stale_after: for_.max(window),
            samples_min: quantile.samples_min(),
        })
    }

    /// How many of `samples` may be above the limit, in integers: 10 of 1 000 for p99.
    #[must_use]
    pub fn allowed(&self, samples: u64) -> u64 {
        let allowed = u128::from(samples) * u128::from(self.quantile.tail_ppm()) / 1_000_000;
        u64::try_from(allowed).expect("a share of a u64")
    }

    /// Judges one observation.
    ///
    /// With fewer than `samples_min` samples the budget is never met. It may be missed: when more samples are
    /// above the limit than `samples_min` samples would be allowed, then however good the samples still to
    /// come, a window that is just large enough to be judged would be missed. Eleven stalls are eleven
    /// stalls, also on a channel that has nearly stopped.
    #[must_use]
    pub fn judge(&self, seen: &Observation) -> Judgement {
        let enough = seen.samples >= self.samples_min && seen.samples > 0;
        if seen.exceeded > self.allowed(seen.samples.max(self.samples_min)) {
            Judgement::Missed
        } else if enough {
            Judgement::Met
        } else {
            Judgement::TooFew
        }
    }
}

/// The text form, which [`Budget::parse`] reads back.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantile, limit, for_, window, .. } = self;
        let text =
            format!("{quantile} <= {} for {} over {}", written(*limit), written(*for_), written(*window));
        f.pad(&text)
    }
}

/// Cuts the duration after `word` off the end of `text`.
fn clause<'a>(text: &'a str, word: &str) -> Result<(&'a str, Option<Nanos>), ParseError> {
    match text.split_once(word) {
        None => Ok((text, None)),
        Some((before, duration)) => Ok((before, Some(duration.parse()?))),
    }
}

/// A duration without rounding, in the largest unit that divides it: what is printed must be read back as it
/// was.
fn written(duration: Nanos) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
    let fits = |per_unit: u64| duration.0 >= per_unit && duration.0.is_multiple_of(per_unit);
    let (unit, per_unit) = units.into_iter().find(|(_, per_unit)| fits(*per_unit)).unwrap_or(("ns", 1));
    format!("{}{unit}", duration.0 / per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Budget, ParseError> {
        Budget::parse("noise".parse().unwrap(), "spin-gap".parse().unwrap(), text)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match parse(text) {
            Ok(budget) => budget.to_string(),
            Err(error) => format!("error: {}", error.problem.split("; a budget reads").next().unwrap()),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn texts() {
        check("p99.9 <= 2us", "p99.9 <= 2us for 5s over 1s");
        check("p99<=300ns", "p99 <= 300ns for 5s over 1s");
        check(" p99 <= 2.5 us for 30 s over 10s ", "p99 <= 2500ns for 30s over 10s");
        check("p99 <= 1us over 2s", "p99 <= 1us for 5s over 2s");
        check("p99 < 1us", "error: no <= in it");
        check(
            "99 <= 1us",
            "error: \"99\": not a quantile above p0 and below p100, as in p50, p99.9 or p99.9999",
        );
        check("p99 <= 1", "error: \" 1\": a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s");
        check("p99 <= 1us for 5", "error: \"5\": a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s");
        check("p99 <= 1us over 2s for 5s", "error: `for` stands before `over`");
    }

    #[track_caller]
    fn judged(samples: u64, exceeded: u64, expected: Judgement) {
        let budget = parse("p99 <= 1us").unwrap();
        assert_eq!(budget.judge(&Observation { samples, exceeded }), expected);
    }

    #[test]
    fn judgements() {
        judged(1_000, 10, Judgement::Met); // exactly 1 %
        judged(1_000, 11, Judgement::Missed);
        judged(1_099, 10, Judgement::Met);
        judged(1_099, 11, Judgement::Missed); // 10.99 are allowed, and there is no part of a sample
        judged(999, 0, Judgement::TooFew); // good so far is not met
        judged(999, 10, Judgement::TooFew);
        judged(999, 11, Judgement::Missed); // a 1 000th sample cannot save it
        judged(11, 11, Judgement::Missed);
        judged(0, 0, Judgement::TooFew);
        judged(u64::MAX, u64::MAX / 100, Judgement::Met); // no overflow
    }

    #[test]
    fn no_samples_are_never_enough() {
        let budget = Budget { samples_min: 0, ..parse("p99 <= 1us").unwrap() };
        assert_eq!(budget.judge(&Observation::default()), Judgement::TooFew);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            limit in 0u64..5_000_000_000,
            for_s in 0u64..90,
            window_ms in 0u64..60_000,
        ) {
            let budget = Budget {
                limit: Nanos(limit),
                for_: Nanos::from_secs(for_s),
                window: Nanos::from_millis(window_ms),
                ..parse("p99.95 <= 1us").unwrap()
            };
            let again = parse(&budget.to_string()).unwrap();
            prop_assert_eq!(
                (again.quantile, again.limit, again.for_, again.window),
                (budget.quantile, budget.limit, budget.for_, budget.window)
            );
        }

        /// Judged missed early means missed with whatever good samples follow, up to the least that can be
        /// judged.
        #[test]
        fn an_early_miss_is_sound(samples in 0u64..1_000, exceeded_share in 0u64..=100) {
            let budget = parse("p99 <= 1us").unwrap();
            let seen = Observation { samples, exceeded: samples * exceeded_share / 100 };
            if budget.judge(&seen) == Judgement::Missed {
                let padded = Observation { samples: budget.samples_min, ..seen };
                prop_assert_eq!(budget.judge(&padded), Judgement::Missed);
            }
        }
    }
}
