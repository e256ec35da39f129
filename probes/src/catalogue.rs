//! The probes there are: one table that help texts, reports and documentation print.

use std::fmt;
use std::str::FromStr;

/// A probe, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// How late a sleeping thread wakes.
    TimerWakeup,
    /// How long a running thread is held up.
    SpinGap,
    /// How long one system call takes.
    Syscall,
    /// How long giving the CPU up takes.
    SchedYield,
    /// How long telling oneself something through an eventfd takes.
    Eventfd,
    /// How long waking nobody takes.
    FutexWake,
    /// How long the first touch of a page takes.
    MinorFault,
    /// How long the first touch of a huge page takes.
    HugeFault,
    /// How long a byte there and back over unix sockets takes.
    UnixStream,
    /// How long a datagram to oneself takes.
    UdpLoopback,
}

/// What there is to know about a probe before believing it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Which one.
    pub kind: Kind,
    /// As it is written on the command line and in reports.
    pub name: &'static str,
    /// Of its samples, once ticks are converted.
    pub unit: &'static str,
    /// What one sample is.
    pub measures: &'static str,
    /// What it needs to run, and what for.
    pub needs: &'static str,
    /// What it costs the measured CPU with default options.
    pub cost: &'static str,
    /// What its numbers do not say.
    pub silent_on: &'static str,
}

/// Those that run when none is named: what every host has to know about itself, and what the limits on the agent's memory
/// and CPU time are for. The others answer a question that somebody has, and run when they are asked for by name.
pub const DEFAULT_PROBES: [Kind; 3] = [Kind::TimerWakeup, Kind::SpinGap, Kind::Syscall];

/// Every probe, in the order of [`Kind`].
pub const PROBES: [About; 10] = [
    About {
        kind: Kind::TimerWakeup,
        name: "timer-wakeup",
        unit: "ns",
        measures: "lateness of a clock_nanosleep to an absolute deadline on CLOCK_MONOTONIC, each missed period included",
        needs: "nothing; a real-time priority (fifo) for the wake-up of a real-time thread",
        cost: "one wake-up each interval (1 ms): 2 % of a CPU in a virtual machine, 23 us a wake-up (cyclictest: 20 us)",
        silent_on: "what happens between wake-ups; it contains the timer interrupt, the exit from idle (C-states as they \
                    are in production: nothing holds them off) and the scheduler, not separately",
    },
    About {
        kind: Kind::SpinGap,
        name: "spin-gap",
        unit: "ns",
        measures: "gap between two readings of the clock in a loop that does nothing else, of 500 ns or more",
        needs: "CPU time: it spins",
        cost: "its slot of the cycle (10 %) at full load; alone all of it, as a fifo thread nine tenths of \
               what the kernel allows",
        silent_on: "gaps below the threshold, and slowness that is not a gap (caches, frequency, a busy sibling); its \
                    quantiles are over gaps, not over time: for a random arrival use the delay law",
    },
    About {
        kind: Kind::Syscall,
        name: "syscall",
        unit: "ns",
        measures: "one getppid, the cheapest real system call, between two fenced readings of the clock",
        needs: "nothing",
        cost: "72 calls in a row each 100 ms: less than 0.1 % of a CPU",
        silent_on: "any other call; the cost of the two readings is in it (published as the floor, not subtracted)",
    },
    About {
        kind: Kind::SchedYield,
        name: "sched-yield",
        unit: "ns",
        measures: "one sched_yield between two fenced readings of the clock: the cost of asking for nothing while nobody \
                   else wants the CPU, and as long as the others ran when somebody does",
        needs: "nothing; an otherwise idle CPU to be the cost of the call",
        cost: "72 calls in a row each 100 ms: less than 0.1 % of a CPU; alone each 4 ms",
        silent_on: "which of the two it was, in a short sample: only a stall is asked whether the thread waited; as a fifo \
                    thread it gives way to its own priority only, so that waiting threads of the fair scheduler do not show",
    },
    About {
        kind: Kind::Eventfd,
        name: "eventfd",
        unit: "ns",
        measures: "a write to an eventfd of our own and the read that takes it, between two fenced readings of the clock",
        needs: "a file descriptor for each CPU",
        cost: "72 round trips in a row each 100 ms: less than 0.1 % of a CPU; alone each 4 ms",
        silent_on: "waking a reader that sleeps, which is a matter of its CPU; here writer and reader are one thread, and \
                    what was written is there already",
    },
    About {
        kind: Kind::FutexWake,
        name: "futex-wake",
        unit: "ns",
        measures: "one FUTEX_WAKE (private) on a word that nobody waits for, between two fenced readings of the clock",
        needs: "nothing",
        cost: "72 calls in a row each 100 ms: less than 0.1 % of a CPU; alone each 4 ms",
        silent_on: "waking somebody, and locks that are free: those never reach the kernel; it is the price of a wake-up \
                    that was not needed",
    },
    About {
        kind: Kind::MinorFault,
        name: "minor-fault",
        unit: "ns",
        measures: "first touch of a fresh anonymous page of 4 KiB, between two fenced readings of the clock",
        needs: "288 KiB of memory for each CPU, at most that long",
        cost: "72 first touches in a row each 100 ms: less than 0.5 % of a CPU; alone each 4 ms; unmapping them interrupts \
               the CPUs on which threads of this process ran last, once a burst",
        silent_on: "memory that has to be reclaimed first, unless it happens meanwhile; faults that read a file; where the \
                    process locks its memory, as the agent does, the locking is in it",
    },
    About {
        kind: Kind::HugeFault,
        name: "huge-fault",
        unit: "ns",
        measures: "first touch of a page of 2 MiB from the host's own pool, between two fenced readings of the clock (one \
                   madvise that has the kernel do it: MADV_POPULATE_WRITE)",
        needs: "more free huge pages of 2 MiB than CPUs are measured (vm.nr_hugepages), so that the last one is never \
                taken, and Linux 5.14",
        cost: "one page each 100 ms, given back at once: 0.3 % of a CPU and 2 MiB of its caches; alone each 4 ms",
        silent_on: "transparent huge pages, which are put together when they are wanted; nearly all of it is the zeroing of \
                    2 MiB, with caches as warm as the last one left them",
    },
    About {
        kind: Kind::UnixStream,
        name: "unix-stream",
        unit: "ns",
        measures: "one byte there and back over a pair of connected unix stream sockets, on one thread, between two fenced \
                   readings of the clock",
        needs: "two file descriptors for each CPU",
        cost: "72 round trips in a row each 100 ms: less than 0.5 % of a CPU; alone each 4 ms, 12 % at most",
        silent_on: "waking a reader that sleeps, and what another CPU adds: both ends are one thread, and what is read was \
                    written before",
    },
    About {
        kind: Kind::UdpLoopback,
        name: "udp-loopback",
        unit: "ns",
        measures: "a datagram of 8 bytes that a connected socket sends to itself over 127.0.0.1 and receives, on one \
                   thread, between two fenced readings of the clock",
        needs: "a file descriptor for each CPU, and a loopback interface that is up and lets it through",
        cost: "72 round trips in a row each 100 ms: less than 0.5 % of a CPU; alone each 4 ms, 12 % at most",
        silent_on: "any network card, and waking a reader that sleeps; filters that stand in its way are in it (nftables, a \
                    cgroup's: the agent's unit has one)",
    },
];

impl Kind {
    /// The place of its row in [`PROBES`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Its row of [`PROBES`].
    #[must_use]
    pub fn about(self) -> &'static About {
        &PROBES[self.index()]
    }

    /// As it is written on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.about().name
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProbe(String);

impl std::error::Error for UnknownProbe {}

impl fmt::Display for UnknownProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = PROBES.map(|about| about.name);
        write!(f, "{:?} is no probe; ", self.0)?;
        match units::nearest(&self.0, names) {
            Some(name) => write!(f, "did you mean {name}?"),
            None => write!(f, "there are {}", names.join(", ")),
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownProbe;

    fn from_str(text: &str) -> Result<Self, UnknownProbe> {
        let row = PROBES.iter().find(|about| about.name == text);
        row.map(|about| about.kind).ok_or_else(|| UnknownProbe(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match text.parse::<Kind>() {
            Ok(kind) => format!("{kind:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn names() {
        check("spin-gap", "SpinGap");
        check("spin-gp", "\"spin-gp\" is no probe; did you mean spin-gap?");
        let all = PROBES.map(|about| about.name).join(", ");
        assert!(all.starts_with("timer-wakeup, spin-gap, syscall, sched-yield, "), "{all}");
        check("hop", &format!("\"hop\" is no probe; there are {all}"));
        check("", &format!("\"\" is no probe; there are {all}"));
    }

    #[test]
    fn each_kind_has_a_row_that_says_something() {
        for (index, about) in PROBES.iter().enumerate() {
            let kind = about.kind;
            assert_eq!((kind.index(), kind.name()), (index, about.name), "in the order of Kind");
            assert_eq!(about.name.parse(), Ok(kind));
            for text in [about.unit, about.measures, about.needs, about.cost, about.silent_on] {
                assert!(!text.is_empty() && !text.contains("  "), "{kind}: {text:?}");
            }
        }
    }
}
