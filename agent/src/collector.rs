//! The collector: the only hot loop besides the probes.
//!
//! Every period it drains the rings, turns ticks into nanoseconds, records them, and compares; when a counting slot
//! ends it judges the budgets; it feeds the watchdog; and it fills snapshots that the control thread sends it empty.
//! After construction it allocates nothing, opens no file and logs nothing, and it waits for no lock but the moment in
//! which it wakes the control thread. It runs on housekeeping CPUs and sleeps between passes, so its cost is bounded by
//! the sample rate: `benches/benches/record.rs` has the price of one sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clock::Clock;
use crossbeam_channel::{Receiver, Sender};
use host::threads;
use latency::{Channel, Stall, StallSighting, Stalls, Transition, Watch};
use probes::{Feed, Sample};
use tokio::sync::{Notify, oneshot};
use units::limits::{COLLECTOR_PERIOD, RING_SAMPLES};
use units::{CpuId, Nanos, Ticks};

use crate::rings::{self, Rings};
use crate::snapshot::Snapshot;
use crate::watchdog::Watchdog;

/// A budget on one channel.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The terms.
    pub budget: latency::Budget,
    /// The channel's index.
    pub channel: usize,
    /// What is known.
    pub watch: Watch,
}

/// A change of a budget's state, on its way to whoever tells people.
#[derive(Debug, Clone, Copy)]
pub struct BudgetEvent {
    /// Index among the watched budgets.
    pub watched: usize,
    /// What changed.
    pub transition: Transition,
}

/// An empty snapshot to be filled and sent back.
#[derive(Debug)]
pub struct Request {
    /// Allocated by whoever asks.
    pub snapshot: Box<Snapshot>,
    /// How far back the figures reach.
    pub span: Nanos,
    /// Where it goes when it is full.
    pub reply: oneshot::Sender<Box<Snapshot>>,
}

/// Snapshots asked for and not yet filled; the control thread asks for one at a time, `quell up` for one more.
pub const REQUESTS_MAX: usize = 4;

/// Budget events not yet told: more at once is a storm whose end state the next report shows anyway.
pub const EVENTS_MAX: usize = 256;

/// Where budget events go.
#[derive(Debug, Clone)]
pub struct Events {
    /// The queue.
    pub queue: Sender<BudgetEvent>,
    /// Rung after one was put in.
    pub bell: Arc<Notify>,
}

/// What the collector is made of; everything it will ever use.
#[derive(Debug)]
pub struct Collector {
    /// The clock of every stamp.
    pub clock: Clock,
    /// The rings, one a probe thread.
    pub feeds: Vec<Feed>,
    /// The channels; a sample says which.
    pub channels: Vec<Channel>,
    /// Budgets on them.
    pub watched: Vec<Watched>,
    /// Samples from this length on are stalls.
    pub stall: Nanos,
    /// The stalls kept.
    pub stalls: Stalls,
    /// Kernel events beside the samples.
    pub rings: Rings,
    /// Snapshots wanted.
    pub requests: Receiver<Request>,
    /// Budget events out.
    pub events: Events,
    /// The service manager's watchdog, if it asks for one.
    pub watchdog: Option<Watchdog>,
    /// What it can say of itself.
    pub lag: Lag,
}

/// How well the collector keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Passes made.
    pub passes: u64,
    /// The longest time by which a pass began late.
    pub late_max: Nanos,
    /// Passes that were due while an earlier one was late, and were left out.
    pub skipped: u64,
    /// Budget events that found their queue full.
    pub events_dropped: u64,
}

impl Collector {
    /// Works until `stop` is set, then makes a last pass so that nothing produced is lost, and gives itself back.
    pub fn run(mut self, stop: &AtomicBool) -> Self {
        let mut due = threads::monotonic_now();
        // pairs with the Release store of whoever stops us: what it did before is seen by the last pass
        while !stop.load(Ordering::Acquire) {
            due += COLLECTOR_PERIOD;
            threads::sleep_until(due);
            let now = threads::monotonic_now();
            due = self.keep_pace(due, now);
            self.pass(now);
        }
        self.pass(threads::monotonic_now());
        self
    }

    /// Notes how late this pass is; whole periods missed are left out rather than made up for.
    fn keep_pace(&mut self, due: Nanos, now: Nanos) -> Nanos {
        let late = now - due;
        self.lag.passes += 1;
        self.lag.late_max = self.lag.late_max.max(late);
        let missed = late.0 / COLLECTOR_PERIOD.0;
        self.lag.skipped += missed;
        due + COLLECTOR_PERIOD.times(missed)
    }

    /// One pass at `now` (CLOCK_MONOTONIC). Bounded by the rings: at most their size is drained from each.
    pub fn pass(&mut self, now: Nanos) {
        let instant = self.drain();
        self.rings.look(&instant, &mut self.stalls, now);
        if self.tick(now) {
            self.judge(now);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.feed(now);
        }
        self.answer(now);
    }

    /// Takes every sample that was in a ring when its turn came, at most the ring's size.
    ///
    /// One sample: a pop, a multiplication, a histogram bucket, four compares. Gives the instant by which its stalls were
    /// placed.
    pub fn drain(&mut self) -> Instant {
        let instant = Instant::now(&self.clock);
        for feed in &mut self.feeds {
            let ready = feed.samples.slots().min(RING_SAMPLES);
            let Ok(chunk) = feed.samples.read_chunk(ready) else { continue };
            for sample in chunk {
                let channel = usize::from(sample.channel);
                let value = self.clock.to_nanos(sample.value);
                self.channels[channel].record(value);
                if value >= self.stall {
                    let at = instant.of(sample.at, &self.clock) - value;
                    let seq = self.stalls.record(&sighting(at, feed.cpu, channel, value, &sample));
                    self.rings.note(seq);
                }
            }
        }
        instant
    }

    /// Ends slots that are over; true when budgets are due.
    fn tick(&mut self, now: Nanos) -> bool {
        let mut due = false;
        for channel in &mut self.channels {
            due |= channel.tick(now);
        }
        due
    }

    fn judge(&mut self, now: Nanos) {
        for (index, watched) in self.watched.iter_mut().enumerate() {
            let Watched { budget, channel, watch } = watched;
            let Some(seen) = self.channels[*channel].observe(budget.limit, budget.window) else { continue };
            if let Some(transition) = watch.step(budget, &seen, now) {
                let full = self.events.queue.try_send(BudgetEvent { watched: index, transition }).is_err();
                self.lag.events_dropped += u64::from(full);
                self.events.bell.notify_one();
            }
        }
    }

    /// Fills the snapshots that are wanted.
    fn answer(&mut self, now: Nanos) {
        while let Ok(Request { mut snapshot, span, reply }) = self.requests.try_recv() {
            snapshot.fill(self, span, now);
            let _ = reply.send(snapshot); // who asked may have gone
        }
    }
}

/// Readings of the clocks for one [`Instant`]: one whose reader was interrupted is repeated.
const READINGS_MAX: usize = 4;

/// Three clocks read in a row take some 60 ns (2-vCPU VM); what took longer than this was interrupted.
const READING_MAX: Nanos = Nanos(1_000);

/// One instant on the measuring clock, on CLOCK_MONOTONIC and on CLOCK_MONOTONIC_RAW, taken anew for each drain: whoever
/// prints a wall time counts back from now, and CLOCK_MONOTONIC runs at the wall clock's rate, where the counter would be
/// off by seconds after days; the kernel's own stamps are of the raw clock.
#[derive(Debug, Clone, Copy)]
pub struct Instant {
    stamp: Ticks,
    at: Nanos,
    raw: Nanos,
    error: Nanos,
}

impl Instant {
    fn now(clock: &Clock) -> Self {
        let mut best = Self::read(clock);
        for _ in 1..READINGS_MAX {
            if best.error <= READING_MAX {
                break;
            }
            let again = Self::read(clock);
            best = if again.error < best.error { again } else { best };
        }
        best
    }

    fn read(clock: &Clock) -> Self {
        let (stamp, at, raw) = (clock.now(), threads::monotonic_now(), rings::raw_now());
        Self { stamp, at, raw, error: clock.to_nanos(clock.now().since(stamp)) }
    }

    /// What CLOCK_MONOTONIC read at `stamp`.
    fn of(&self, stamp: Ticks, clock: &Clock) -> Nanos {
        self.at + clock.to_nanos(stamp.since(self.stamp)) - clock.to_nanos(self.stamp.since(stamp))
    }

    /// What CLOCK_MONOTONIC_RAW read when CLOCK_MONOTONIC read `at`, which `Instant::of` gave.
    #[must_use]
    pub fn raw_of(&self, at: Nanos) -> Nanos {
        self.raw + (at - self.at) - (self.at - at)
    }

    /// How far apart the three readings may be.
    #[must_use]
    pub fn error(&self) -> Nanos {
        self.error
    }
}

fn sighting(at: Nanos, cpu: CpuId, channel: usize, duration: Nanos, sample: &Sample) -> StallSighting {
    StallSighting { at, cpu, channel, duration, waited_on_runqueue: sample.waited() }
}

/// What a stall is put down to: the thread's own word that it waited for the CPU, or nothing.
#[must_use]
pub fn preempted(stall: &Stall) -> Option<Nanos> {
    stall.waited_on_runqueue.filter(|waited| waited.0 * 2 >= stall.duration.0)
}
