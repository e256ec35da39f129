//! The stalls worth keeping: the newest, and the worst.
//!
//! One stall of a CPU is seen many times: a timer probe that should have woken ten times finds all ten late,
//! and two probes on one CPU see the same interruption. Sightings of one CPU that overlap in time are
//! therefore one stall, as long as their union, so that "ten stalls" in a report means ten things that
//! happened.
//!
//! Memory is fixed at construction. What leaves the ring of the newest is counted, and kept all the same
//! while it is among the worst.

use std::collections::VecDeque;

use units::limits::STALLS_KEPT;
use units::{CpuId, Nanos};

/// The worst stalls kept apart from the newest: what a report shows on one screen.
pub const STALLS_WORST_KEPT: usize = 16;

/// One probe's sighting of a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallSighting {
    /// When the stall began, on the caller's time scale.
    pub at: Nanos,
    /// The CPU that stood still.
    pub cpu: CpuId,
    /// The channel that saw it, by the caller's numbering.
    pub channel: usize,
    /// How long it took.
    pub duration: Nanos,
    /// How much of it the probe's thread waited, runnable, for the CPU, where that is known: time that
    /// another thread had.
    pub waited_on_runqueue: Option<Nanos>,
}

/// What had the CPU through most of a stall, as the caller found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Culprit {
    /// What kind of thing.
    pub kind: &'static str,
    /// Which one of its kind.
    pub number: u32,
    /// Its name in UTF-8, where it has one, filled up with zeros.
    pub name: [u8; 16],
    /// How much of the stall it had.
    pub covered: Nanos,
    /// How far the two time lines that were compared may be apart.
    pub error: Nanos,
}

/// One stall, as seen by one probe or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Counts stalls from 0 without gaps; a reader that has seen number n asks for those after it.
    pub seq: u64,
    /// When it began, on the caller's time scale.
    pub at: Nanos,
    /// The CPU that stood still.
    pub cpu: CpuId,
    /// The channel with the longest sighting.
    pub channel: usize,
    /// From the first sighting's beginning to the last one's end.
    pub duration: Nanos,
    /// The longest wait for the CPU that any sighting reports.
    pub waited_on_runqueue: Option<Nanos>,
    /// How many sightings it is made of.
    pub sightings: u32,
    /// What had the CPU meanwhile, where that is known.
    pub culprit: Option<Culprit>,
    /// The longest single sighting, for choosing the channel.
    longest: Nanos,
}

impl Stall {
    fn new(seq: u64, sighting: &StallSighting) -> Self {
        let StallSighting { at, cpu, channel, duration, waited_on_runqueue } = *sighting;
        Self {
            seq,
            at,
            cpu,
            channel,
            duration,
            waited_on_runqueue,
            sightings: 1,
            culprit: None,
            longest: duration,
        }
    }

    /// Whether the sighting shares time with this stall, on the same CPU. Merely touching is not sharing.
    fn overlaps(&self, sighting: &StallSighting) -> bool {
        self.cpu == sighting.cpu
            && sighting.at < self.at + self.duration
            && self.at < sighting.at + sighting.duration
    }

    fn absorb(&mut self, sighting: &StallSighting) {
        let end = (self.at + self.duration).max(sighting.at + sighting.duration);
        self.at = self.at.min(sighting.at);
        self.duration = end - self.at;
        self.waited_on_runqueue = self.waited_on_runqueue.max(sighting.waited_on_runqueue);
        self.sightings = self.sightings.saturating_add(1);
        if sighting.duration > self.longest {
            self.longest = sighting.duration;
            self.channel = sighting.channel;
        }
    }
}

/// The newest and the worst stalls.
#[derive(Debug, Clone)]
pub struct Stalls {
    /// Oldest first.
    newest: VecDeque<Stall>,
    /// Longest first.
    worst: Vec<Stall>,
    /// Stalls ever told apart: the next one's number.
    seen: u64,
}

impl Default for Stalls {
    fn default() -> Self {
        Self::new()
    }
}

impl Stalls {
    /// An empty store with all the memory it will ever use.
    #[must_use]
    pub fn new() -> Self {
        Self {
            newest: VecDeque::with_capacity(STALLS_KEPT),
            worst: Vec::with_capacity(STALLS_WORST_KEPT + 1),
            seen: 0,
        }
    }

    /// Takes one sighting in, and returns the number of the stall it belongs to. Looks through at most
    /// [`STALLS_KEPT`] stalls; a sighting that overlaps one already dropped is a stall of its own.
    pub fn record(&mut self, sighting: &StallSighting) -> u64 {
        if let Some(known) = self.newest.iter_mut().rev().find(|stall| stall.overlaps(sighting)) {
            known.absorb(sighting);
            let grown = *known;
            self.rank(grown);
            return grown.seq;
        }
        if self.newest.len() == STALLS_KEPT {
            self.newest.pop_front();
        }
        let stall = Stall::new(self.seen, sighting);
        self.seen += 1;
        self.newest.push_back(stall);
        self.rank(stall);
        stall.seq
    }

    /// The stall with this number, while it is among the newest.
    #[must_use]
    pub fn find(&self, seq: u64) -> Option<&Stall> {
        self.newest.iter().rev().find(|stall| stall.seq == seq)
    }

    /// Puts the stall with this number down to `culprit`; what was said of it before is forgotten, because it may have
    /// grown since.
    pub fn explain(&mut self, seq: u64, culprit: Option<Culprit>) {
        let newest = self.newest.iter_mut().rev().find(|stall| stall.seq == seq);
        for stall in newest.into_iter().chain(self.worst.iter_mut().filter(|stall| stall.seq == seq)) {
            stall.culprit = culprit;
        }
    }

    /// Puts `stall`, new or grown, where it belongs among the worst.
    fn rank(&mut self, stall: Stall) {
        self.worst.retain(|other| other.seq != stall.seq);
        let place = self.worst.partition_point(|other| other.duration >= stall.duration);
        self.worst.insert(place, stall);
        self.worst.truncate(STALLS_WORST_KEPT);
    }

    /// The newest stalls, oldest first.
    pub fn newest(&self) -> impl DoubleEndedIterator<Item = &Stall> {
        self.newest.iter()
    }

    /// The worst stalls since the start, longest first.
    pub fn worst(&self) -> impl Iterator<Item = &Stall> {
        self.worst.iter()
    }

    /// How many stalls there have been.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many of them are no longer among the newest.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.seen - u64::try_from(self.newest.len()).expect("a length fits 64 bits")
    }

    /// Makes this a copy of `other` in the memory it already has.
    pub fn copy_from(&mut self, other: &Self) {
        self.newest.clear();
        self.newest.extend(&other.newest);
        self.worst.clear();
        self.worst.extend_from_slice(&other.worst);
        self.seen = other.seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sighting(at: u64, cpu: u16, duration: u64) -> StallSighting {
        StallSighting {
            at: Nanos(at),
            cpu: CpuId(cpu),
            channel: usize::from(cpu),
            duration: Nanos(duration),
            waited_on_runqueue: None,
        }
    }

    /// Sightings as (at, cpu, duration); the stalls they are as "cpu: at+duration (sightings)".
    #[track_caller]
    fn check(sightings: &[(u64, u16, u64)], expected: &[&str]) {
        let mut stalls = Stalls::new();
        for (at, cpu, duration) in sightings {
            stalls.record(&sighting(*at, *cpu, *duration));
        }
        let got: Vec<String> = stalls
            .newest()
            .map(|s| format!("{}: {}+{} ({})", s.cpu, s.at.0, s.duration.0, s.sightings))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn sightings_of_one_stall_are_one_stall() {
        check(&[(0, 2, 10_000), (1_000, 2, 9_000), (9_000, 2, 1_000)], &["2: 0+10000 (3)"]); // missed periods
        check(&[(0, 2, 100), (0, 3, 100)], &["2: 0+100 (1)", "3: 0+100 (1)"]); // two CPUs are two stalls
        check(&[(0, 2, 100), (100, 2, 50)], &["2: 0+100 (1)", "2: 100+50 (1)"]); // touching only
        check(&[(50, 2, 100), (0, 2, 60), (140, 2, 60)], &["2: 0+200 (3)"]); // seen late, grown at both ends
        check(&[(0, 2, 10), (0, 3, 10), (5, 2, 10)], &["2: 0+15 (2)", "3: 0+10 (1)"]);
    }

    #[test]
    fn the_longest_sighting_names_the_channel() {
        let mut stalls = Stalls::new();
        for (channel, at, duration, waited) in
            [(1, 0, 50, None), (7, 10, 80, Some(Nanos(30))), (3, 20, 60, None)]
        {
            let waited_on_runqueue = waited;
            stalls.record(&StallSighting { channel, waited_on_runqueue, ..sighting(at, 2, duration) });
        }
        let stall = stalls.worst().next().unwrap();
        assert_eq!(
            (stall.channel, stall.duration, stall.waited_on_runqueue),
            (7, Nanos(90), Some(Nanos(30)))
        );
    }

    #[test]
    fn a_stall_keeps_its_culprit_wherever_it_is_kept() {
        let mut stalls = Stalls::new();
        let seq = stalls.record(&sighting(0, 2, 100));
        assert_eq!(stalls.find(seq).unwrap().culprit, None);
        let culprit = Culprit { kind: "irq", number: 24, name: [0; 16], covered: Nanos(80), error: Nanos(1) };
        stalls.explain(seq, Some(culprit));
        stalls.explain(seq + 1, None); // no such stall
        assert_eq!(stalls.find(seq).unwrap().culprit, Some(culprit));
        assert_eq!(stalls.worst().next().unwrap().culprit, Some(culprit));
        assert_eq!(stalls.record(&sighting(90, 2, 100)), seq, "it grew");
        assert_eq!(stalls.worst().next().unwrap().culprit, Some(culprit), "until it is explained anew");
        stalls.explain(seq, None);
        assert_eq!((stalls.find(seq).unwrap().culprit, stalls.worst().next().unwrap().culprit), (None, None));
    }

    #[test]
    fn the_worst_outlive_the_ring_and_what_left_it_is_counted() {
        let mut stalls = Stalls::new();
        let count = STALLS_KEPT as u64 + 100;
        for n in 0..count {
            let seq = stalls.record(&sighting(n * 1_000, 2, 900 - n)); // the first are the longest
            assert_eq!(seq, n);
        }
        assert_eq!((stalls.seen(), stalls.dropped()), (count, 100));
        assert_eq!(stalls.newest().map(|s| s.seq).collect::<Vec<_>>(), (100..count).collect::<Vec<_>>());
        let worst: Vec<u64> = stalls.worst().map(|s| s.duration.0).collect();
        assert_eq!(worst, (885..=900).rev().collect::<Vec<_>>());

        let mut copy = Stalls::new();
        copy.copy_from(&stalls);
        assert_eq!((copy.seen(), copy.dropped(), copy.worst().count()), (count, 100, STALLS_WORST_KEPT));
    }

    proptest! {
        /// Against the union of intervals: what is kept is disjoint on each CPU when sightings come in order,
        /// and covers the same time.
        #[test]
        fn stalls_are_the_union_of_their_sightings(
            raw in proptest::collection::vec((0u64..400, 0u16..3, 1u64..30), 0..120),
        ) {
            let mut sightings = raw;
            sightings.sort_unstable();
            let mut stalls = Stalls::new();
            let mut covered = std::collections::BTreeSet::new();
            for (at, cpu, duration) in sightings {
                stalls.record(&sighting(at, cpu, duration));
                covered.extend((at..at + duration).map(|t| (cpu, t)));
            }
            let kept: Vec<(u16, u64)> =
                stalls.newest().flat_map(|s| (s.at.0..(s.at + s.duration).0).map(|t| (s.cpu.0, t))).collect();
            prop_assert_eq!(kept.len(), covered.len()); // no nanosecond twice
            prop_assert!(kept.iter().all(|t| covered.contains(t)));
            let mut longest: Vec<Nanos> = stalls.newest().map(|s| s.duration).collect();
            longest.sort_unstable_by(|a, b| b.cmp(a));
            longest.truncate(STALLS_WORST_KEPT);
            // Each of them once, and as long as it has grown.
            prop_assert_eq!(stalls.worst().map(|s| s.duration).collect::<Vec<_>>(), longest);
        }
    }
}
