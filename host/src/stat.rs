//! How each CPU spent its time, in shares between two readings.
//!
//! The counts are in ticks of 10 ms, so a window below a second says little. Whether somebody spins on an isolated CPU
//! needs no more: such a CPU is busy all the time. Source: Documentation/filesystems/proc.rst, 1.7.

use std::collections::BTreeMap;

use units::CpuId;

use crate::error::Malformed;
use crate::{Error, Root, text};

/// Ticks of 10 ms that one CPU has spent since boot, by what it did; time of guests is inside `user` and `nice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// In programs.
    pub user: u64,
    /// In programs of lowered priority.
    pub nice: u64,
    /// In the kernel.
    pub system: u64,
    /// With nothing to do.
    pub idle: u64,
    /// With nothing to do while a task waited for a device; the kernel does not vouch for it.
    pub iowait: u64,
    /// In interrupts.
    pub irq: u64,
    /// In deferred interrupt work.
    pub softirq: u64,
    /// Ready to run and kept from it by the hypervisor.
    pub steal: u64,
}

/// What a CPU did between two readings; the shares add up to one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Running something: programs, kernel, interrupts.
    pub busy: f64,
    /// Nothing to do.
    pub idle: f64,
    /// Kept from running by the hypervisor.
    pub steal: f64,
}

impl Spent {
    /// What the CPU did since `earlier`; `None` when not one tick went by. The kernel's idle counts may step back by a
    /// tick, which counts as none.
    #[must_use]
    pub fn shares_since(&self, earlier: &Self) -> Option<Shares> {
        let since = |parts: &[fn(&Self) -> u64]| {
            parts.iter().fold(0u64, |sum, part| sum.saturating_add(part(self).saturating_sub(part(earlier))))
        };
        let idle = since(&[|t| t.idle, |t| t.iowait]);
        let steal = since(&[|t| t.steal]);
        let busy = since(&[|t| t.user, |t| t.nice, |t| t.system, |t| t.irq, |t| t.softirq]);
        let total = idle.saturating_add(steal).saturating_add(busy);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of a window is for reading; 53 bits hold 2.8 million years of ticks"
        )]
        let share = |part: u64| part as f64 / total as f64;
        (total > 0).then(|| Shares { busy: share(busy), idle: share(idle), steal: share(steal) })
    }
}

/// The ticks of every on-line CPU.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
pub fn per_cpu(root: &Root) -> Result<BTreeMap<CpuId, Spent>, Error> {
    root.parse("/proc/stat", parse)
}

// Format: "cpu0 8338 0 1911 99703 191 0 5 55 0 0" below a line "cpu  ..." of sums
// (Documentation/filesystems/proc.rst, 1.7)
fn parse(text: &str) -> Result<BTreeMap<CpuId, Spent>, Malformed> {
    let is_of_a_cpu = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let ticks: BTreeMap<CpuId, Spent> =
        text.lines().filter(is_of_a_cpu).map(parse_line).collect::<Result<_, _>>()?;
    if ticks.is_empty() { Err(text::missing(text, "cpu0")) } else { Ok(ticks) }
}

fn parse_line(line: &str) -> Result<(CpuId, Spent), Malformed> {
    let wrong = || Malformed::new(line, "expected a CPU and at least eight counts");
    let mut words = line.split_ascii_whitespace();
    let cpu = words.next().and_then(|word| word.strip_prefix("cpu")?.parse().ok()).ok_or_else(wrong)?;
    let counts: Vec<u64> = words.map(text::number).collect::<Result<_, _>>()?;
    let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = counts.as_slice() else {
        return Err(wrong());
    };
    Ok((CpuId(cpu), Spent { user, nice, system, idle, iowait, irq, softirq, steal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: Spent =
        Spent { user: 10, nice: 0, system: 5, idle: 100, iowait: 3, irq: 0, softirq: 0, steal: 1 };

    #[track_caller]
    fn check(later: Spent, expected: Option<(f64, f64, f64)>) {
        let got = later.shares_since(&EARLIER).map(|shares| (shares.busy, shares.idle, shares.steal));
        assert_eq!(got, expected);
    }

    #[test]
    fn shares_of_a_window() {
        check(Spent { user: 110, ..EARLIER }, Some((1.0, 0.0, 0.0))); // somebody spins there
        check(Spent { idle: 200, ..EARLIER }, Some((0.0, 1.0, 0.0)));
        check(Spent { user: 60, idle: 125, steal: 26, ..EARLIER }, Some((0.5, 0.25, 0.25)));
        check(EARLIER, None); // no time went by
        check(Spent { user: 20, iowait: 2, ..EARLIER }, Some((1.0, 0.0, 0.0))); // iowait stepped back
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bad in ["", "cpu  1 2 3\n", "cpu0 1 2 3\n", "cpux 1 2 3 4 5 6 7 8\n", "cpu0 1 2 3 4 5 6 7 -8\n"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
