//! Two peers on the same CPU: do we see what cyclictest and oslat see, and do all find a stall that was put
//! there?
//!
//! Each round runs the peer, quell, and the peer again: one at a time (two spinning tools would measure each
//! other), the same CPU, policy, priority and interval, nobody holding C-states off. Two numbers follow from
//! the rounds:
//!
//! * the *difference*: the median, over the rounds, of quell's figure less the mean of the two runs of the
//!   peer around it, so that a machine whose neighbours come and go cancels to first order;
//! * the *spread*: the median, over the rounds, of how far the peer's two runs lie from each other.
//!
//! The promise: the difference is at most the spread and 10 % of the peer's median.
//!
//! oslat and quell's spin-gap run under the fair scheduler, favoured as far as it goes, so that neighbours
//! hardly count; a real-time spinner would be stopped by the kernel 50 ms in each second. Reading the peers'
//! files: cyclictest with -N counts in whole nanoseconds; oslat's bucket N holds gaps of N-1 to N us (it
//! counts whole microseconds and adds one), of a microsecond as long as its own whole MHz, and the last one
//! everything beyond. quell's buckets are 0.78 % wide.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use base64::Engine as _;
use benches::{Bench, Figures, is_short, quell, report_of, require, require_root};
use host::Root;
use host::threads::{self, Policy, Role, monotonic_now, sleep_until};
use latency::Histogram;
use report::{Report, StallReport};
use serde_json::Value;
use tempfile::TempDir;
use units::{CpuId, Nanos};

/// Seconds of a run: cyclictest and oslat know whole ones only.
const RUN_S: u64 = 4;
const ROUNDS: usize = 8;

/// Gaps from here on count: well above a turn of either loop, well below an interrupt's 15 us here.
const GAP: Nanos = Nanos::from_micros(5);

/// The stall put in: higher priority than either tool, 2 % of the CPU, far below the kernel's limit for real
/// time.
const STALL: Nanos = Nanos::from_millis(2);
const STALL_EVERY: Nanos = Nanos::from_millis(100);
const STALLER: Policy = Policy::Fifo(90);
/// From the start of a tool to the first stall: oslat warms up for a second, quell calibrates its clock.
const STALLS_FROM: Nanos = Nanos::from_millis(1_400);

/// A stall of 2 ms makes the one wake-up due in its first half late by this, and some others by less.
const LATE: Nanos = Nanos::from_millis(1);
/// What oslat cannot tell apart any more: 1024 buckets, the last of everything from 1023 us on.
const OSLAT_BUCKETS: u64 = 1024;
const LONG_GAP: Nanos = Nanos::from_micros(OSLAT_BUCKETS - 1);

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "peers: agreement with cyclictest and oslat, and an injected stall",
        "Runs of a few seconds on one CPU, peer, quell, peer in each round; differences against the peer's own spread.",
    );
    let ready = require_root(&mut bench) & require(&mut bench, "cyclictest") & require(&mut bench, "oslat");
    if ready {
        let tools = Tools::new()?;
        bench.line(&format!("CPU {}; runs of {} s\n", tools.cpu, tools.run_s));
        wake_ups(&mut bench, &tools)?;
        gaps(&mut bench, &tools)?;
        stalls(&mut bench, &tools)?;
    }
    Ok(bench.finish())
}

/// The timer wake-up: the median lateness of each run.
fn wake_ups(bench: &mut Bench, tools: &Tools) -> anyhow::Result<()> {
    let median = |counts: Counts| Ok::<_, anyhow::Error>([counts.median_us()?]);
    let rounds =
        rounds(|| median(tools.cyclictest(tools.run_s)?), || median(tools.timer_wakeup(tools.run_s)?))?;
    agree(bench, "median lateness of a wake-up", "us", &rounds, 0);
    Ok(())
}

/// The spin gap: how many gaps a second, and how long in the median.
fn gaps(bench: &mut Bench, tools: &Tools) -> anyhow::Result<()> {
    let figures = |counts: Counts| {
        let long = counts.from(GAP);
        Ok::<_, anyhow::Error>([long.samples() as f64 / counts.seconds, long.median_us()?])
    };
    let rounds = rounds(|| figures(tools.oslat(tools.run_s)?), || figures(tools.spin_gap(tools.run_s)?))?;
    agree(bench, "gaps of 5 us and more", "1/s", &rounds, 0);
    agree(bench, "median length of gaps of 5 us and more", "us", &rounds, 1);
    Ok(())
}

/// One round: the peer, quell, the peer.
struct Round<const N: usize> {
    before: [f64; N],
    ours: [f64; N],
    after: [f64; N],
}

fn rounds<const N: usize>(
    peer: impl Fn() -> anyhow::Result<[f64; N]>,
    ours: impl Fn() -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<Vec<Round<N>>> {
    let count = if is_short() { 1 } else { ROUNDS };
    (0..count).map(|_| Ok(Round { before: peer()?, ours: ours()?, after: peer()? })).collect()
}

/// Prints both sides' figures, and gates the difference.
fn agree<const N: usize>(bench: &mut Bench, what: &str, unit: &str, rounds: &[Round<N>], at: usize) {
    let peer: Figures = rounds.iter().flat_map(|round| [round.before[at], round.after[at]]).collect();
    let ours: Figures = rounds.iter().map(|round| round.ours[at]).collect();
    let off = |round: &Round<N>| round.ours[at] - f64::midpoint(round.before[at], round.after[at]);
    let difference = rounds.iter().map(off).collect::<Figures>().median();
    let apart = |round: &Round<N>| (round.before[at] - round.after[at]).abs();
    let spread = rounds.iter().map(apart).collect::<Figures>().median();
    bench.row(&format!("peer:  {what}"), &peer, unit);
    bench.row(&format!("quell: {what}"), &ours, unit);
    bench.line(&format!("difference {difference:+.2} {unit}, the peer against itself {spread:.2} {unit}"));
    bench.gate(&format!("difference, {what}"), difference.abs(), spread + peer.median() / 10.0, unit);
    bench.line("");
}

/// Every tool in turn, while a thread of higher priority takes its CPU away for 2 ms at a time; and, in a
/// full run, without that thread, to know how many such stalls are the machine's own.
fn stalls(bench: &mut Bench, tools: &Tools) -> anyhow::Result<()> {
    let (put, run_s) = if is_short() { (5, 2) } else { (20, 4) };
    let mut found = |tool: &str, run: &dyn Fn() -> anyhow::Result<Counts>, least: Nanos| {
        let own = if is_short() { None } else { Some(run()?.from(least).samples()) };
        let counts = tools.stalled(put, run)?;
        let found = counts.from(least).samples();
        let own = own.map_or_else(String::new, |own| format!(", {own} without them"));
        bench.line(&format!(
            "{tool:<12} {put} stalls of {STALL} put in, {found} found{own}; longest {}",
            counts.longest
        ));
        bench.check(&format!("{tool} finds every stall"), found >= put);
        anyhow::Ok(())
    };
    found("cyclictest", &|| tools.cyclictest(run_s), LATE)?;
    let late = || Ok(Counts::of_stalls(&tools.up("timer-wakeup", "fifo:80", run_s)?));
    found("timer-wakeup", &late, LATE)?;
    found("oslat", &|| tools.oslat(run_s), LONG_GAP)?;
    let named = Cell::new(0);
    let spin_gap = || {
        let report = tools.up("spin-gap", "other", run_s)?;
        let is_named = |stall: &&StallReport| stall.duration >= STALL && stall.cause.kind == "task";
        named.set(report.stalls.iter().filter(is_named).count() as u64);
        Ok(Counts::of_stalls(&report))
    };
    found("spin-gap", &spin_gap, LONG_GAP)?;
    bench
        .check(&format!("spin-gap puts {} of {put} down to another thread", named.get()), named.get() >= put);
    Ok(())
}

/// How to run each tool on the CPU chosen.
struct Tools {
    quell: PathBuf,
    cpu: CpuId,
    run_s: u64,
    folder: TempDir,
}

impl Tools {
    /// An isolated CPU if there is one, else the last: interrupts mostly go to the first.
    fn new() -> anyhow::Result<Self> {
        let cpus = host::cpus::Cpus::read(&Root::system())?;
        let allowed = threads::allowed_cpus()?;
        let isolated = cpus.isolated.intersection(&allowed);
        let cpu = isolated.iter().last().or(allowed.iter().last()).context("no CPU is allowed")?;
        let run_s = if is_short() { 1 } else { RUN_S };
        Ok(Self { quell: quell()?, cpu, run_s, folder: tempfile::tempdir()? })
    }

    fn cyclictest(&self, seconds: u64) -> anyhow::Result<Counts> {
        let file = self.folder.path().join("cyclictest.json");
        // -N with a histogram up to its largest, 1 ms, which the median needs; beyond, the overflow counts.
        let mut command = Command::new("cyclictest");
        command.args([
            "--default-system",
            "-m",
            "-q",
            "-t1",
            "-p80",
            "--policy=fifo",
            "-i1000",
            "-N",
            "-h1000000",
        ]);
        command.arg(format!("-a{}", self.cpu)).arg(format!("-D{seconds}"));
        let thread = peer_result(&mut command, &file)?;
        let mut counts = Counts::new(seconds as f64);
        for (latency, count) in histogram(&thread)? {
            counts.add(Nanos(latency), count);
        }
        let cycles = thread["cycles"].as_u64().context("cyclictest tells no cycles")?;
        counts.longest = Nanos(thread["max"].as_u64().context("cyclictest tells no maximum")?);
        counts.add(counts.longest.max(LATE), cycles - counts.samples());
        Ok(counts)
    }

    fn oslat(&self, seconds: u64) -> anyhow::Result<Counts> {
        let file = self.folder.path().join("oslat.json");
        let mut command = favoured();
        command.args(["oslat", "-q", "-z", "-b"]).arg(OSLAT_BUCKETS.to_string());
        command.arg("-c").arg(self.cpu.to_string()).arg("-D").arg(seconds.to_string());
        let thread = peer_result(&mut command, &file)?;
        let mut counts = Counts::new(thread["duration"].as_f64().context("oslat tells no duration")?);
        for (bucket, count) in histogram(&thread)? {
            counts.add(Nanos::from_micros(bucket - 1) + Nanos(500), count); // the middle
        }
        counts.longest = Nanos::from_micros(thread["max"].as_u64().context("oslat tells no maximum")?);
        Ok(counts)
    }

    fn timer_wakeup(&self, seconds: u64) -> anyhow::Result<Counts> {
        Counts::of_report(&self.up("timer-wakeup", "fifo:80", seconds)?)
    }

    fn spin_gap(&self, seconds: u64) -> anyhow::Result<Counts> {
        Counts::of_report(&self.up("spin-gap", "other", seconds)?)
    }

    fn up(&self, probe: &str, policy: &str, seconds: u64) -> anyhow::Result<Report> {
        let mut command = favoured();
        command.arg(&self.quell).args([
            "up",
            "--json",
            "--hist",
            "--stall",
            "1ms",
            "--interval",
            "1ms",
            "--probe",
            probe,
            "--policy",
            policy,
        ]);
        command.arg("--cpus").arg(self.cpu.to_string()).arg("--for").arg(format!("{seconds}s"));
        let report = report_of(&mut command)?;
        match report.threads.iter().flat_map(|thread| &thread.refused).next() {
            Some(refused) => bail!("quell: {refused}"),
            None => Ok(report),
        }
    }

    /// What `tool` says while `put` stalls are put into its run.
    fn stalled(&self, put: u64, tool: impl Fn() -> anyhow::Result<Counts>) -> anyhow::Result<Counts> {
        let from = monotonic_now() + STALLS_FROM;
        let role = Role { name: "staller".to_owned(), cpus: self.cpu.into(), policy: STALLER };
        let staller = threads::spawn(role, move |placement| {
            (0..put).for_each(|number| spin(from + STALL_EVERY.times(number)));
            placement.policy_refused.or(placement.cpus_refused)
        })?;
        let said = tool();
        match staller.join() {
            Ok(None) => said,
            Ok(Some(refused)) => bail!("the stalls were not put in: {refused}"),
            Err(_) => bail!("the thread that puts the stalls in panicked"),
        }
    }
}

/// Takes the CPU at `start` for the length of a stall.
fn spin(start: Nanos) {
    sleep_until(start);
    let end = monotonic_now() + STALL;
    while monotonic_now() < end {}
}

/// A command line that runs the one added to it with all the weight the fair scheduler can give, within its
/// session (nice) and among sessions (sched(7), "The autogroup feature"), in a session of its own so that no
/// other is favoured.
fn favoured() -> Command {
    let mut command = Command::new("setsid");
    command.args([
        "sh",
        "-c",
        "{ echo -20 > /proc/self/autogroup; } 2> /dev/null; exec nice -n -20 \"$@\"",
        "sh",
    ]);
    command
}

/// The first thread's results in the JSON that a tool of rt-tests writes.
fn peer_result(command: &mut Command, file: &Path) -> anyhow::Result<Value> {
    command.arg(format!("--json={}", file.display()));
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let mut result: Value = serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
    Ok(result["thread"]["0"].take())
}

/// The buckets of such a result.
// Format: "histogram": { "18": 14, "19": 26, ... }   (rt-tests 2.4, rt-utils.c)
fn histogram(thread: &Value) -> anyhow::Result<Vec<(u64, u64)>> {
    let buckets = thread["histogram"].as_object().context("no histogram in it")?;
    let bucket = |(key, count): (&String, &Value)| Some((key.parse().ok()?, count.as_u64()?));
    buckets.iter().map(bucket).collect::<Option<_>>().context("its histogram is not one of counts")
}

/// How often each latency was seen.
struct Counts {
    counts: BTreeMap<Nanos, u64>,
    longest: Nanos,
    seconds: f64,
}

impl Counts {
    fn new(seconds: f64) -> Self {
        Self { counts: BTreeMap::new(), longest: Nanos::ZERO, seconds }
    }

    fn of_report(report: &Report) -> anyhow::Result<Self> {
        let [channel] = &report.channels[..] else { bail!("one probe on one CPU is one channel") };
        if channel.dropped + channel.overflow > 0 {
            bail!("quell lost samples: {:?}", channel.degraded);
        }
        let hist = channel.hist.as_ref().context("--hist gives histograms")?;
        let histogram = Histogram::decode_v2(&base64::engine::general_purpose::STANDARD.decode(hist)?)?;
        let mut counts = Self::new(report.window_s);
        histogram.recorded().for_each(|(latency, count)| counts.add(latency, count));
        counts.longest = channel.max.context("no sample")?;
        Ok(counts)
    }

    /// Stalls told apart: one that swallowed several wake-ups counts once, as the peers count it. A report
    /// holds 256 and the worst, more than are ever put in.
    fn of_stalls(report: &Report) -> Self {
        let mut counts = Self::new(report.window_s);
        report.stalls.iter().for_each(|stall| counts.add(stall.duration, 1));
        counts.longest = report.stalls.iter().map(|stall| stall.duration).max().unwrap_or_default();
        counts
    }

    fn add(&mut self, latency: Nanos, count: u64) {
        *self.counts.entry(latency).or_default() += count;
    }

    /// Those of `least` and longer.
    fn from(&self, least: Nanos) -> Self {
        let counts = self.counts.range(least..).map(|(latency, count)| (*latency, *count)).collect();
        Self { counts, ..*self }
    }

    fn samples(&self) -> u64 {
        self.counts.values().sum()
    }

    fn median_us(&self) -> anyhow::Result<f64> {
        let middle = self.samples().div_ceil(2);
        let mut below = 0;
        let median = self.counts.iter().find(|(_, count)| {
            below += **count;
            below >= middle
        });
        let (latency, _) = median.context("not one sample")?;
        Ok(latency.0 as f64 / 1e3)
    }
}
