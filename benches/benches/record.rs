//! What one sample costs the collector: ring pop, ticks to nanoseconds, histogram bucket, exceedance
//! counters.
//!
//! The subject is the collector's own [`Collector::drain`] on six channels of two rings, as with default
//! probes on two CPUs, four limits a channel (the most there can be). Beside it, in the same rounds and over
//! the same values: the bare ring and the bare histogram. Warm figures are of a thousand samples at once; the
//! pass of a daemon, which wakes every 10 ms to a handful of samples and to caches that others have used
//! meanwhile, is measured too, and is not the promise.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use agent::{Collector, Events, Lag, Request, Rings};
use benches::{Bench, Figures, is_short};
use clock::Clock;
use crossbeam_channel::{Sender, bounded};
use host::threads::{allowed_cpus, monotonic_now, pin, sleep_until};
use latency::{Channel, Histogram, Layout, Stalls};
use probes::{Counters, Feed, Flags, Sample};
use rtrb::{Consumer, Producer, RingBuffer};
use units::limits::{COLLECTOR_PERIOD, RING_SAMPLES};
use units::{CpuId, Nanos, Ticks};

/// Samples of a batch; as many in each of the two rings.
const BATCH: usize = 1_000;
/// Samples of a pass: 10 ms of default probes on one CPU (8 wake-ups, 6 calls, and gaps as they come).
const PASS: usize = 24;
const CHANNELS: u16 = 6;

/// Four limits within the values, so that every comparison goes both ways.
const LIMITS: [Nanos; 4] =
    [Nanos::from_micros(1), Nanos::from_micros(20), Nanos::from_micros(50), Nanos::from_micros(100)];
/// The default stall of `quell up`; about one sample in a hundred here, as on a restless host.
const STALL: Nanos = Nanos::from_micros(50);

/// The promise, DESIGN's and the specification's.
const PROMISED_NS: f64 = 25.0;

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "record: one sample in the collector",
        "Nanoseconds a sample, each figure a batch: agent::Collector::drain over two rings and six channels with four \
         limits each, beside its floors in the same rounds.",
    );
    if let Some(cpu) = allowed_cpus()?.iter().last() {
        pin(&cpu.into())?;
    }
    let mut rig = Rig::new()?;
    bench.check("every sample is counted once, in its histogram and in its counters", rig.is_right());

    let rounds = if is_short() { 300 } else { 5_000 };
    let [mut pop, mut bucket, mut channel, mut drain] = <[Figures; 4]>::default();
    for _ in 0..rounds {
        pop.add(rig.pop());
        bucket.add(rig.bucket());
        channel.add(rig.channel());
        drain.add(rig.drain(BATCH));
    }
    bench.row("floor: rtrb chunk pop", &pop, "ns");
    bench.row("floor: hdrhistogram record", &bucket, "ns");
    bench.row("part: latency::Channel::record", &channel, "ns");
    bench.row("drain, 1000 samples at once", &drain, "ns");

    let mut woken = Figures::default();
    for _ in 0..if is_short() { 50 } else { 500 } {
        rig.fill(PASS);
        sleep_until(monotonic_now() + COLLECTOR_PERIOD);
        woken.add(rig.timed_drain(PASS));
    }
    bench.row("drain, 24 samples after 10 ms of sleep", &woken, "ns");
    bench.gate("recording one sample, median of batches", drain.median(), PROMISED_NS, "ns");
    Ok(bench.finish())
}

/// The collector, its rings, and the values that go through them.
struct Rig {
    clock: Clock,
    producers: Vec<Producer<Sample>>,
    collector: Collector,
    bare: (Producer<Sample>, Consumer<Sample>),
    histogram: hdrhistogram::Histogram<u64>,
    channel: Channel,
    values: Vec<Nanos>,
    pushed: u64,
    _asking: Sender<Request>,
}

impl Rig {
    fn new() -> anyhow::Result<Self> {
        // A mock converts ticks exactly as the counter's clock does, and nothing here depends on this
        // machine's rate.
        let clock = Clock::mock_mhz(2_600).0;
        let channel = || Channel::new(&Layout::default(), &LIMITS, Nanos::ZERO);
        let (producers, feeds): (Vec<_>, Vec<_>) = (0..2).map(|cpu| feed(CpuId(cpu))).unzip();
        let channels = (0..CHANNELS).map(|_| channel()).collect::<Result<_, _>>()?;
        let (_asking, requests) = bounded(1);
        let collector = collector(clock, feeds, channels, requests);
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, Histogram::HIGHEST.0, 2)?;
        let (bare, values) = (RingBuffer::new(RING_SAMPLES), values());
        Ok(Self {
            clock,
            producers,
            collector,
            bare,
            histogram,
            channel: channel()?,
            values,
            pushed: 0,
            _asking,
        })
    }

    /// Whether what goes in is what is kept: counts, exceedances and stalls against a plain count of the
    /// values.
    fn is_right(&mut self) -> bool {
        self.drain(BATCH);
        let over = |limit: Nanos| self.values.iter().filter(|value| **value > limit).count() as u64;
        let kept = |limit: Nanos| {
            let totals = self.collector.channels.iter().filter_map(|channel| channel.counts().total(limit));
            totals.fold((0, 0), |(samples, exceeded), one| (samples + one.samples, exceeded + one.exceeded))
        };
        let mut recorded = Histogram::new();
        for channel in &self.collector.channels {
            let mut one = Histogram::new();
            channel.window().total(&mut one);
            recorded.merge(&one);
        }
        let sum: Nanos = self.values.iter().copied().sum();
        let has_stalls = self.collector.stalls.seen() > 0;
        has_stalls
            && recorded.count() == BATCH as u64
            && recorded.sum() == sum
            && LIMITS.iter().all(|limit| kept(*limit) == (BATCH as u64, over(*limit)))
    }

    /// Puts `count` samples into the two rings, as probes of three kinds would.
    fn fill(&mut self, count: usize) {
        let cpus = self.producers.len();
        for (index, value) in self.values.iter().take(count).enumerate() {
            self.pushed += 1;
            let cpu = index % cpus;
            let sample = sample(&self.clock, *value, self.pushed, 3 * cpu + (index / cpus) % 3);
            self.producers[cpu]
                .push(sample)
                .expect("drained after each batch, which is smaller than the ring");
        }
    }

    fn drain(&mut self, count: usize) -> f64 {
        self.fill(count);
        self.timed_drain(count)
    }

    fn timed_drain(&mut self, count: usize) -> f64 {
        let from = monotonic_now();
        self.collector.drain();
        a_sample(monotonic_now() - from, count)
    }

    /// The floor of the pop: the samples read and added up, nothing else.
    fn pop(&mut self) -> f64 {
        for value in &self.values {
            self.bare.0.push(sample(&self.clock, *value, 0, 0)).expect("drained after each batch");
        }
        let from = monotonic_now();
        let chunk = self.bare.1.read_chunk(BATCH).expect("just filled");
        black_box(chunk.into_iter().fold(0, |sum: u64, sample| sum.wrapping_add(sample.value.0)));
        a_sample(monotonic_now() - from, BATCH)
    }

    /// The floor of the bucket.
    fn bucket(&mut self) -> f64 {
        let from = monotonic_now();
        for value in &self.values {
            self.histogram.saturating_record(value.0);
        }
        a_sample(monotonic_now() - from, BATCH)
    }

    fn channel(&mut self) -> f64 {
        let from = monotonic_now();
        for value in &self.values {
            self.channel.record(*value);
        }
        a_sample(monotonic_now() - from, BATCH)
    }
}

fn a_sample(time: Nanos, count: usize) -> f64 {
    time.0 as f64 / count as f64
}

fn feed(cpu: CpuId) -> (Producer<Sample>, Feed) {
    let (producer, samples) = RingBuffer::new(RING_SAMPLES);
    (producer, Feed { cpu, samples, counters: Arc::new(Counters::default()) })
}

fn collector(
    clock: Clock,
    feeds: Vec<Feed>,
    channels: Vec<Channel>,
    requests: crossbeam_channel::Receiver<Request>,
) -> Collector {
    let (queue, _) = bounded(1);
    Collector {
        clock,
        feeds,
        channels,
        watched: Vec::new(),
        stall: STALL,
        stalls: Stalls::new(),
        rings: Rings::new(crossbeam_channel::never()),
        requests,
        events: Events { queue, bell: Arc::default() },
        watchdog: None,
        lag: Lag::default(),
    }
}

fn sample(clock: &Clock, value: Nanos, number: u64, channel: usize) -> Sample {
    Sample {
        at: Ticks(number * 2_600_000), // a millisecond apart, so that stalls do not overlap
        value: clock.to_ticks(value),
        waited_ns: 0,
        channel: u16::try_from(channel).expect("six channels"),
        flags: Flags::NONE,
    }
}

/// Latencies of three orders of magnitude, one in a hundred a stall: a fixed sequence, spread so that no
/// predictor learns it within a batch. Whole multiples of 5 ns, which are whole ticks at 2.6 GHz: conversion
/// loses nothing to compare with.
fn values() -> Vec<Nanos> {
    let spread = |index: u64| {
        let random = index.wrapping_mul(6_364_136_223_846_793_005).rotate_left(23) % 10_000;
        match random % 100 {
            0 => 60_000 + random * 5,
            1..=40 => 500 + random / 10 * 5,
            _ => 15_000 + random / 5 * 5,
        }
    };
    (1..=BATCH as u64).map(|index| Nanos(spread(index))).collect()
}
