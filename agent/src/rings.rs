//! Kernel events of CPUs beside the samples: how many there were, and which of them a stall is put down to.
//!
//! The collector looks into every ring once a pass, after it took the samples: by then the events up to the end of every
//! sample are there, because the CPU wrote them before. A stall has a cause only where one thing demonstrably had the CPU
//! for more than half of it, on one time line with a stated error; otherwise it stays unexplained. Rings come ready from
//! the control thread and stay until the collector ends, or their CPU does: nothing is allocated or opened here.

mod tally;
mod track;

use clock::Clock;
use crossbeam_channel::Receiver;
use host::perf::Ring;
use latency::{Stall, Stalls};
use units::limits::{STALLS_KEPT, TRACE_CPUS_MAX, TRACE_EVENTS_A_PASS};
use units::{CpuId, Nanos};

pub use tally::{Counts, Tally};
use track::Track;

use crate::collector::Instant;

/// The ring of one CPU and what became of its events.
#[derive(Debug)]
pub struct CpuRing {
    ring: Ring,
    /// When reading began, on CLOCK_MONOTONIC.
    since: Nanos,
    tally: Tally,
    track: Track,
}

impl CpuRing {
    /// Everything that is needed to read `ring` from `now` on. `probe` is our own thread on that CPU, which is no cause.
    #[must_use]
    pub fn new(ring: Ring, probe: Option<u32>, now: Nanos) -> Box<Self> {
        Box::new(Self { ring, since: now, tally: Tally::new(now), track: Track::new(probe) })
    }

    /// Takes what is in the ring, a whole one at most.
    fn look(&mut self, now: Nanos) {
        let Self { ring, tally, track, .. } = self;
        let drained = ring.drain(TRACE_EVENTS_A_PASS, |event| {
            tally.count(event.point);
            track.step(&event);
        });
        if drained.lost > 0 {
            track.lose();
        }
        tally.note(&drained, now);
    }
}

/// What a report says of one ring.
#[derive(Debug, Clone, Copy)]
pub struct RingSnapshot {
    /// The CPU.
    pub cpu: CpuId,
    /// When reading began, on CLOCK_MONOTONIC.
    pub since: Nanos,
    /// Since then.
    pub total: Counts,
    /// In the window that was asked for, or a little more.
    pub window: Counts,
    /// What that window covers.
    pub covered: Nanos,
}

/// The rings, one a CPU.
#[derive(Debug)]
pub struct Rings {
    cpus: Vec<Box<CpuRing>>,
    incoming: Receiver<Box<CpuRing>>,
    /// Stalls recorded in this pass, by number.
    stalls: Vec<u64>,
}

impl Rings {
    /// None yet; they come through `incoming`.
    #[must_use]
    pub fn new(incoming: Receiver<Box<CpuRing>>) -> Self {
        let (cpus, stalls) = (Vec::with_capacity(TRACE_CPUS_MAX), Vec::with_capacity(STALLS_KEPT));
        Self { cpus, incoming, stalls }
    }

    /// Remembers a stall that was just recorded. More than the store of stalls holds are not remembered.
    pub fn note(&mut self, stall: u64) {
        let is_new = self.stalls.last() != Some(&stall);
        if !self.cpus.is_empty() && is_new && self.stalls.len() < STALLS_KEPT {
            self.stalls.push(stall);
        }
    }

    /// Looks into every ring, and explains the stalls of this pass. `instant` is that pass's, `now` its time.
    pub fn look(&mut self, instant: &Instant, stalls: &mut Stalls, now: Nanos) {
        for new in self.incoming.try_iter() {
            match self.cpus.iter().position(|cpu| cpu.ring.cpu() == new.ring.cpu()) {
                Some(dead) => self.cpus[dead] = new, // its CPU was off line since, which is seldom: it is closed here
                None if self.cpus.len() < TRACE_CPUS_MAX => self.cpus.push(new),
                None => {}
            }
        }
        for cpu in &mut self.cpus {
            cpu.look(now);
        }
        for seq in self.stalls.drain(..) {
            let Some(stall) = stalls.find(seq).copied() else { continue };
            let Some(cpu) = self.cpus.iter().find(|cpu| cpu.ring.cpu() == stall.cpu) else { continue };
            stalls.explain(seq, explain(&cpu.track, &stall, instant));
        }
    }

    /// Copies the counts over the last `span` into `room`, as far as it has capacity.
    pub fn fill(&self, room: &mut Vec<RingSnapshot>, span: Nanos, now: Nanos) {
        room.clear();
        room.extend(self.cpus.iter().take(room.capacity()).map(|cpu| {
            let (window, covered) = cpu.tally.over(span, now);
            RingSnapshot { cpu: cpu.ring.cpu(), since: cpu.since, total: *cpu.tally.total(), window, covered }
        }));
    }
}

/// What had the CPU through most of `stall`, on the time line of the kernel's stamps.
fn explain(track: &Track, stall: &Stall, instant: &Instant) -> Option<latency::Culprit> {
    let from = instant.raw_of(stall.at);
    track.most(from, from + stall.duration, instant.error())
}

/// CLOCK_MONOTONIC_RAW, which the kernel's stamps are of.
pub(crate) fn raw_now() -> Nanos {
    Nanos(Clock::monotonic().now().0)
}
