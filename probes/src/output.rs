//! Where a probe puts its samples: the ring to the collector, with its accounts.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::{Counters, Sample};

/// A probe thread's side of its ring.
pub struct Output {
    ring: Producer<Sample>,
    /// Of the thread that owns this.
    pub counters: Arc<Counters>,
}

impl Output {
    /// A ring for `samples` samples, and the other side of it.
    pub fn new(samples: usize) -> (Self, Consumer<Sample>) {
        let (ring, consumer) = RingBuffer::new(samples);
        (Self { ring, counters: Arc::default() }, consumer)
    }

    /// An output that nobody reads, for warming up.
    pub fn nowhere() -> Self {
        Self::new(0).0
    }

    /// Hands `sample` over, or counts it as dropped. Never blocks; some 2 ns.
    #[inline]
    pub fn push(&mut self, sample: Sample) {
        self.counters.produced.add(1);
        if self.ring.push(sample).is_err() {
            self.counters.dropped.add(1);
        }
    }
}
