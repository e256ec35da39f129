//! Whether a budget can be judged at all, answered before it is armed.
//!
//! A budget that no host could meet, or on which no sample could ever decide, is a mistake of the
//! configuration and not a breach at three in the morning. It is refused with the arithmetic, so that the
//! reader sees which number to change.

use units::Nanos;

use crate::budget::Budget;

/// What is known of a channel before its first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelFacts {
    /// The shortest latency that the clock and the probe can tell from none.
    pub floor: Nanos,
    /// The time between samples, where the channel has a pace of its own.
    pub sample_period: Option<Nanos>,
    /// The width of a counting slot ([`crate::Exceedances::slot`]).
    pub slot: Nanos,
    /// The longest window that is kept ([`crate::Exceedances::kept`]).
    pub kept: Nanos,
}

/// Why a budget can be neither met nor judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Infeasible {
    /// The limit is no time at all.
    #[error("a limit of 0 is above no latency; give one of at least {floor}, what this channel can resolve")]
    LimitZero {
        /// What the channel can resolve.
        floor: Nanos,
    },
    /// The limit is below what can be measured.
    #[error(
        "a limit of {limit} cannot be told apart on this channel, which resolves {floor}; \
         raise it to at least that"
    )]
    LimitBelowFloor {
        /// The budget's limit.
        limit: Nanos,
        /// What the channel can resolve.
        floor: Nanos,
    },
    /// `for` is shorter than the steps in which time is counted.
    #[error("for {for_} is shorter than the {slot} in which samples are counted; use for {slot} or longer")]
    ForBelowSlot {
        /// The budget's `for`.
        for_: Nanos,
        /// The width of a counting slot.
        slot: Nanos,
    },
    /// The window is shorter than the steps in which time is counted.
    #[error(
        "over {window} is shorter than the {slot} in which samples are counted; use over {slot} or longer"
    )]
    WindowBelowSlot {
        /// The budget's window.
        window: Nanos,
        /// The width of a counting slot.
        slot: Nanos,
    },
    /// The window is longer than what is kept.
    #[error("over {window} looks back further than the {kept} that are kept; use over {kept} or less")]
    WindowBeyondKept {
        /// The budget's window.
        window: Nanos,
        /// The longest window that is kept.
        kept: Nanos,
    },
    /// The channel cannot deliver enough samples within the window.
    #[error(
        "{quantile} needs {samples_min} samples, and over {window} this channel gives {samples} \
         (one each {sample_period}); use over {window_min} or longer{beyond}, or a lower quantile",
        beyond = if window_min > kept { format!(" (only {kept} are kept)") } else { String::new() }
    )]
    TooFewSamples {
        /// The budget's quantile.
        quantile: units::Quantile,
        /// What it needs.
        samples_min: u64,
        /// The budget's window.
        window: Nanos,
        /// What comes in that time.
        samples: u64,
        /// The time between samples.
        sample_period: Nanos,
        /// The window that would do.
        window_min: Nanos,
        /// The longest window that is kept.
        kept: Nanos,
    },
}

/// Every reason why `budget` cannot be judged on a channel with these facts; empty when it can.
#[must_use]
pub fn infeasible(budget: &Budget, facts: &ChannelFacts) -> Vec<Infeasible> {
    let Budget { limit, for_, window, .. } = *budget;
    let ChannelFacts { floor, slot, kept, .. } = *facts;
    let mut reasons = Vec::new();
    if limit == Nanos::ZERO {
        reasons.push(Infeasible::LimitZero { floor });
    } else if limit < floor {
        reasons.push(Infeasible::LimitBelowFloor { limit, floor });
    }
    if for_ < slot {
        reasons.push(Infeasible::ForBelowSlot { for_, slot });
    }
    if window < slot {
        reasons.push(Infeasible::WindowBelowSlot { window, slot });
    } else if window > kept {
        reasons.push(Infeasible::WindowBeyondKept { window, kept });
    } else {
        reasons.extend(too_few_samples(budget, facts));
    }
    reasons
}

fn too_few_samples(budget: &Budget, facts: &ChannelFacts) -> Option<Infeasible> {
    let sample_period = facts.sample_period?;
    let Budget { quantile, samples_min, window, .. } = *budget;
    let samples = window.0.checked_div(sample_period.0)?;
    (samples < samples_min).then(|| Infeasible::TooFewSamples {
        quantile,
        samples_min,
        window,
        samples,
        sample_period,
        window_min: sample_period.times(samples_min),
        kept: facts.kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: ChannelFacts = ChannelFacts {
        floor: Nanos(40),
        sample_period: Some(Nanos::from_millis(1)),
        slot: Nanos::from_millis(100),
        kept: Nanos::from_secs(60),
    };

    #[track_caller]
    fn check_on(facts: ChannelFacts, text: &str, expected: &[&str]) {
        let budget = Budget::parse("noise".parse().unwrap(), "timer-wakeup".parse().unwrap(), text).unwrap();
        let reasons: Vec<String> = infeasible(&budget, &facts).iter().map(ToString::to_string).collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn refusals_show_the_arithmetic() {
        let check = |text: &str, expected: &[&str]| check_on(FACTS, text, expected);
        check("p99 <= 1us for 5s", &[]);
        check("p99.9 <= 1us for 30s over 10s", &[]);
        check(
            "p99.9 <= 1us for 5s",
            &["p99.9 needs 10000 samples, and over 1.00 s this channel gives 1000 \
                 (one each 1.00 ms); use over 10.0 s or longer, or a lower quantile"],
        );
        check(
            "p99.999 <= 1us over 60s",
            &["p99.999 needs 1000000 samples, and over 60.0 s this channel gives 60000 \
                 (one each 1.00 ms); use over 1000 s or longer (only 60.0 s are kept), or a lower quantile"],
        );
        check(
            "p99 <= 0 for 0 over 0",
            &[
                "a limit of 0 is above no latency; give one of at least 40 ns, what this channel can resolve",
                "for 0 ns is shorter than the 100 ms in which samples are counted; use for 100 ms or longer",
                "over 0 ns is shorter than the 100 ms in which samples are counted; \
                 use over 100 ms or longer",
            ],
        );
        check(
            "p99 <= 39ns over 61s",
            &[
                "a limit of 39 ns cannot be told apart on this channel, which resolves 40 ns; \
                 raise it to at least that",
                "over 61.0 s looks back further than the 60.0 s that are kept; use over 60.0 s or less",
            ],
        );
    }

    #[test]
    fn a_channel_without_a_pace_is_not_refused_for_it() {
        check_on(ChannelFacts { sample_period: None, ..FACTS }, "p99.999 <= 1us", &[]);
    }
}
