//! May the time-stamp counter be the clock? A pure answer from facts, with reasons a person can check.
//!
//! What the kernel *uses* counts, not what it could use: on a host where the counter was found unstable, "tsc" still
//! stands among the available clock sources for a while. An absent fact never speaks for the counter. The facts that
//! stand in files are read by the caller; only the CPU's own word is read here.

use crate::tsc;

/// What is known about the counter; `None` is "could not be read".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The CPU declares the counter invariant (CPUID 0x80000007, EDX bit 8).
    pub cpuid_invariant: bool,
    /// `/proc/cpuinfo` lists `constant_tsc`: the rate does not follow the CPU's frequency.
    pub constant_tsc: Option<bool>,
    /// `/proc/cpuinfo` lists `nonstop_tsc`: the counter runs on in deep C-states.
    pub nonstop_tsc: Option<bool>,
    /// The text of `/sys/devices/system/clocksource/clocksource0/current_clocksource`.
    pub current_clocksource: Option<String>,
    /// The text of `available_clocksource` beside it; only makes a refusal clearer.
    pub available_clocksource: Option<String>,
    /// The kernel log holds "Marking TSC unstable". Seldom readable; `None` is no doubt by itself, because a kernel
    /// that marks the counter also stops keeping time with it.
    pub marked_unstable: Option<bool>,
}

impl Facts {
    /// The CPU's own word, everything else unknown: the caller adds what it read.
    #[must_use]
    pub fn of_this_cpu() -> Self {
        Self { cpuid_invariant: tsc::invariant(), ..Self::default() }
    }
}

/// Which clock to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The counter: invariant, and the kernel itself keeps time with it.
    Tsc,
    /// CLOCK_MONOTONIC_RAW, because of every one of these reasons.
    Monotonic {
        /// A sentence each, with where to look.
        reasons: Vec<String>,
    },
}

/// Where the kernel names the clock source it uses.
const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Whether `facts` allow the counter to be the clock. Every reason against it is named, not only the first.
#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    let doubts = [
        cpuid_doubt(facts),
        flag_doubt("constant_tsc", facts.constant_tsc, "the counter's rate follows the CPU's frequency"),
        flag_doubt("nonstop_tsc", facts.nonstop_tsc, "the counter stops in deep C-states"),
        clocksource_doubt(facts),
        unstable_doubt(facts),
    ];
    let reasons: Vec<String> = doubts.into_iter().flatten().collect();
    if reasons.is_empty() { Decision::Tsc } else { Decision::Monotonic { reasons } }
}

fn cpuid_doubt(facts: &Facts) -> Option<String> {
    (!facts.cpuid_invariant)
        .then(|| "this CPU does not declare an invariant TSC (CPUID 0x80000007, EDX bit 8)".to_owned())
}

fn flag_doubt(flag: &str, present: Option<bool>, consequence: &str) -> Option<String> {
    match present {
        Some(true) => None,
        Some(false) => Some(format!("/proc/cpuinfo does not list {flag}: {consequence}")),
        None => Some(format!("/proc/cpuinfo could not be read, so {flag} is not assured")),
    }
}

fn clocksource_doubt(facts: &Facts) -> Option<String> {
    let Some(current) = facts.current_clocksource.as_deref().map(str::trim) else {
        return Some(format!("{CURRENT} could not be read, so whether the kernel trusts the TSC is unknown"));
    };
    let available = facts.available_clocksource.as_deref().unwrap_or_default();
    let aside = match available.split_whitespace().any(|name| name == "tsc") {
        true => "; tsc is available and not chosen",
        false => "",
    };
    (current != "tsc")
        .then(|| format!("the kernel keeps time with {current:?}, not with tsc ({CURRENT}{aside})"))
}

fn unstable_doubt(facts: &Facts) -> Option<String> {
    (facts.marked_unstable == Some(true))
        .then(|| "the kernel found the TSC unstable since boot (kernel log: Marking TSC unstable)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            cpuid_invariant: true,
            constant_tsc: Some(true),
            nonstop_tsc: Some(true),
            current_clocksource: Some("tsc\n".into()),
            available_clocksource: Some("tsc kvm-clock \n".into()),
            marked_unstable: Some(false),
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Facts), expected: &[&str]) {
        let mut facts = good();
        change(&mut facts);
        match decide(&facts) {
            Decision::Tsc => assert!(expected.is_empty(), "the TSC was trusted"),
            Decision::Monotonic { reasons } => assert_eq!(reasons, expected),
        }
    }

    #[test]
    fn the_counter_is_trusted_only_with_every_fact() {
        check(|_| (), &[]);
        check(|f| f.marked_unstable = None, &[]); // the log is seldom readable; the clock source says the same
        check(|f| f.available_clocksource = None, &[]);
        check(
            |f| f.cpuid_invariant = false,
            &["this CPU does not declare an invariant TSC (CPUID 0x80000007, EDX bit 8)"],
        );
        check(
            |f| f.constant_tsc = Some(false),
            &["/proc/cpuinfo does not list constant_tsc: the counter's rate follows the CPU's frequency"],
        );
        check(|f| f.nonstop_tsc = None, &["/proc/cpuinfo could not be read, so nonstop_tsc is not assured"]);
        check(
            |f| f.marked_unstable = Some(true),
            &["the kernel found the TSC unstable since boot (kernel log: Marking TSC unstable)"],
        );
    }

    #[test]
    fn the_current_clocksource_counts_not_the_available_ones() {
        let at = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        check(
            |f| f.current_clocksource = Some("kvm-clock\n".into()),
            &[&format!(
                "the kernel keeps time with \"kvm-clock\", not with tsc ({at}; tsc is available and not chosen)"
            )],
        );
        check(
            |f| {
                f.current_clocksource = Some("tsc-early".into()); // still being checked by the kernel
                f.available_clocksource = Some("hpet acpi_pm".into());
            },
            &[&format!("the kernel keeps time with \"tsc-early\", not with tsc ({at})")],
        );
        check(
            |f| f.current_clocksource = None,
            &[&format!("{at} could not be read, so whether the kernel trusts the TSC is unknown")],
        );
    }

    #[test]
    fn all_reasons_come_at_once() {
        let Decision::Monotonic { reasons } = decide(&Facts::default()) else { panic!("nothing was known") };
        assert_eq!(reasons.len(), 4, "{reasons:?}");
    }
}
