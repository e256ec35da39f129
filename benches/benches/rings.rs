//! What one kernel event costs the collector: reading its record, counting it, and keeping track of who has the CPU.
//!
//! Real events of this machine's tracepoints: a thread sleeps a thousand times on one CPU, and then its ring is read. The
//! floor is the same ring read into a sum. What an event costs the CPU on which it happens is not measured here: in a
//! virtual machine it is below the noise.

use std::process::ExitCode;
use std::sync::Arc;

use agent::{Collector, CpuRing, Events, Lag, Request, Rings};
use benches::{Bench, Figures, is_short, require_root};
use clock::Clock;
use crossbeam_channel::{Sender, bounded};
use host::Root;
use host::perf::{self, Catalogue, Ring};
use host::threads::{self, Policy, Role, allowed_cpus, monotonic_now, sleep_until};
use latency::Stalls;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use units::limits::TRACE_EVENTS_A_PASS;
use units::{CpuId, Nanos};

/// Sleeps a round; some four events each.
const SLEEPS: u32 = 200;

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "rings: one kernel event in the collector",
        "Nanoseconds an event, each figure one look at a ring of a thousand or so: the ring read into a sum, and the \
         collector's own look, which counts and keeps track.",
    );
    if !require_root(&mut bench) {
        return Ok(bench.finish());
    }
    let cpu = allowed_cpus()?.first().ok_or_else(|| anyhow::anyhow!("no CPU"))?;
    let catalogue = catalogue()?;
    let mut bare = open(&catalogue, cpu)?;
    let mut rig = Rig::new(open(&catalogue, cpu)?);
    let [mut floor, mut look] = <[Figures; 2]>::default();
    let (mut seen, mut lost) = (0, 0);
    for _ in 0..if is_short() { 5 } else { 200 } {
        sleeper(cpu)?;
        let mut sum = 0_u64;
        let from = monotonic_now();
        let drained = bare.drain(TRACE_EVENTS_A_PASS, |event| sum = sum.wrapping_add(event.at.0));
        let time = monotonic_now() - from;
        std::hint::black_box(sum);
        floor.add(an_event(time, drained.events));
        let (time, events) = rig.look();
        look.add(an_event(time, events));
        (seen, lost) = (seen + events, lost + drained.lost);
    }
    bench.line(&format!("{seen} events, {lost} lost"));
    bench.check("every sleep is at least two events", seen >= u64::from(SLEEPS) * 2);
    bench.row("floor: ring read into a sum", &floor, "ns");
    bench.row("the collector's look", &look, "ns");
    Ok(bench.finish())
}

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
fn an_event(time: Nanos, events: u64) -> f64 {
    time.0 as f64 / events.max(1) as f64
}

/// From a tracefs that only one thread sees.
fn catalogue() -> anyhow::Result<Catalogue> {
    let role = Role { name: "tracefs".to_owned(), cpus: allowed_cpus()?, policy: Policy::Other };
    let read = threads::spawn(role, |_| -> anyhow::Result<Catalogue> {
        let nothing: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), nothing)?;
        Ok(Catalogue::read(&Root::system())?)
    })?;
    read.join().map_err(|_| anyhow::anyhow!("the reader of tracefs panicked"))?
}

fn open(catalogue: &Catalogue, cpu: CpuId) -> anyhow::Result<Ring> {
    let handles: Result<Vec<_>, _> = catalogue.found.iter().map(|found| perf::open(found, cpu)).collect();
    Ok(Ring::map(cpu, Arc::from(handles?))?)
}

fn sleeper(cpu: CpuId) -> anyhow::Result<()> {
    let role = Role { name: "sleeper".to_owned(), cpus: cpu.into(), policy: Policy::Other };
    let sleeping = threads::spawn(role, |_| {
        (0..SLEEPS).for_each(|_| sleep_until(monotonic_now() + Nanos::from_micros(50)));
    })?;
    sleeping.join().map_err(|_| anyhow::anyhow!("the sleeper panicked"))
}

/// A collector with nothing but one ring.
struct Rig {
    collector: Collector,
    stalls: Stalls,
    events: u64,
    _asking: Sender<Request>,
}

impl Rig {
    fn new(ring: Ring) -> Self {
        let ((_asking, requests), (queue, _), (rings, incoming)) = (bounded(1), bounded(1), bounded(1));
        rings.send(CpuRing::new(ring, None, monotonic_now())).expect("there is room for one");
        let collector = Collector {
            clock: Clock::monotonic(),
            feeds: Vec::new(),
            channels: Vec::new(),
            watched: Vec::new(),
            stall: Nanos::MAX,
            stalls: Stalls::new(),
            rings: Rings::new(incoming),
            requests,
            events: Events { queue, bell: Arc::default() },
            watchdog: None,
            lag: Lag::default(),
        };
        Self { collector, stalls: Stalls::new(), events: 0, _asking }
    }

    /// How long a look took, and how many events it found.
    fn look(&mut self) -> (Nanos, u64) {
        let instant = self.collector.drain();
        let from = monotonic_now();
        self.collector.rings.look(&instant, &mut self.stalls, from);
        let time = monotonic_now() - from;
        let mut counts = Vec::with_capacity(1);
        self.collector.rings.fill(&mut counts, Nanos::MAX, monotonic_now());
        let events = counts.first().map_or(0, |ring| ring.total.events);
        let new = events - self.events;
        self.events = events;
        (time, new)
    }
}
