//! A copy of everything a report needs, filled by the collector in memory that somebody else allocated.

use latency::{ChannelSnapshot, Histogram, Stalls, Watch};
use units::Nanos;
use units::limits::TRACE_CPUS_MAX;

use crate::collector::{Collector, Lag};
use crate::counted::Counted;
use crate::rings::RingSnapshot;

/// The collector's state as of one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When, on CLOCK_MONOTONIC.
    pub at: Nanos,
    /// Figures of each channel.
    pub channels: Vec<ChannelSnapshot>,
    /// Each probe thread's counters, in the order of the threads.
    pub counted: Vec<Counted>,
    /// What is known of each budget.
    pub watches: Vec<Watch>,
    /// The value at each budget's quantile over its own window and up to a histogram slot more, as far back as
    /// histograms are kept: never over less than was judged, else a window with just enough samples would often have no
    /// value.
    pub values: Vec<Option<Nanos>>,
    /// The stalls kept.
    pub stalls: Stalls,
    /// Kernel events of each CPU that has a ring.
    pub rings: Vec<RingSnapshot>,
    /// How well the collector keeps up.
    pub lag: Lag,
    /// Where a budget's window is put together.
    scratch: Histogram,
}

impl Snapshot {
    /// An empty snapshot with room for what a collector of this size has.
    #[must_use]
    pub fn with_room(channels: usize, threads: usize, watches: usize) -> Self {
        Self {
            at: Nanos::ZERO,
            channels: vec![ChannelSnapshot::new(); channels],
            counted: vec![Counted::default(); threads],
            watches: vec![Watch::new(Nanos::ZERO); watches],
            values: vec![None; watches],
            stalls: Stalls::new(),
            rings: Vec::with_capacity(TRACE_CPUS_MAX),
            lag: Lag::default(),
            scratch: Histogram::new(),
        }
    }

    /// Copies, allocating nothing.
    pub(crate) fn fill(&mut self, collector: &Collector, span: Nanos, now: Nanos) {
        self.at = now;
        for (channel, copy) in collector.channels.iter().zip(&mut self.channels) {
            channel.copy_into(span, now, copy);
        }
        for (feed, copy) in collector.feeds.iter().zip(&mut self.counted) {
            *copy = Counted::read(&feed.counters);
        }
        for (index, watched) in collector.watched.iter().enumerate() {
            let window = collector.channels[watched.channel].window();
            window.view(watched.budget.window + window.slot(), now, &mut self.scratch);
            self.values[index] = self.scratch.value_at(watched.budget.quantile);
            self.watches[index] = watched.watch.clone();
        }
        self.stalls.copy_from(&collector.stalls);
        collector.rings.fill(&mut self.rings, span, now);
        self.lag = collector.lag;
    }
}
