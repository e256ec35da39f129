//! What the agent costs: the time until it is ready, until the first report, its memory, its processor time,
//! its wake-ups.
//!
//! The real binary of this build, with default probes on every CPU it chooses, started as the service manager
//! starts it.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::bail;
use benches::{Agent, Bench, Figures, is_short, quell, report_of};
use host::Root;
use host::process::Memory;
use host::tasks::{self, Task};
use host::threads::{monotonic_now, sleep_until};
use units::Nanos;

/// The promises.
const READY_MS: f64 = 300.0;
const FIRST_REPORT_S: f64 = 10.0;
const MEMORY_MIB: f64 = 16.0;

/// What `quell up` measures for in the figure of the first report.
const MEASURED: Nanos = Nanos::from_secs(1);

/// A budget that nothing breaks, so that no change of state wakes the control thread.
const CALM: &str =
    "[[budget]]\nname = \"calm\"\nchannel = \"timer-wakeup\"\nlimit = \"p99 <= 10s for 5s over 2s\"\n";

/// The budget is looked at so often, and so many times, until it is judged.
const LOOK: Nanos = Nanos::from_millis(250);
const LOOKS: usize = 80;

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "start: until ready, until the first report, memory and wake-ups",
        "The agent's own binary: from before its process is created to READY=1; `quell up --for 1s` beyond that second; a \
         running agent at rest, watched from outside.",
    );
    let quell = quell()?;
    start_up(&mut bench, &quell)?;
    first_report(&mut bench, &quell)?;
    at_rest(&mut bench, &quell)?;
    Ok(bench.finish())
}

fn start_up(bench: &mut Bench, quell: &Path) -> anyhow::Result<()> {
    let (mut ready, mut answer, mut stop) = <(Figures, Figures, Figures)>::default();
    for _ in 0..if is_short() { 3 } else { 20 } {
        let agent = Agent::start(quell, "")?;
        let asked = monotonic_now();
        let report = agent.get("/v1/report")?;
        let answered = agent.ready_after + (monotonic_now() - asked);
        if report["schema"] != "quell.report/1" {
            bail!("the agent was ready and had no report: {report}");
        }
        ready.add(ms(agent.ready_after));
        answer.add(ms(answered));
        stop.add(ms(agent.stop()?));
    }
    bench.row("agent: start to READY=1", &ready, "ms");
    bench.row("agent: start to its report read on the socket", &answer, "ms");
    bench.row("agent: SIGTERM to its end", &stop, "ms");
    bench.gate("agent start to READY, median", ready.median(), READY_MS, "ms");
    Ok(())
}

fn first_report(bench: &mut Bench, quell: &Path) -> anyhow::Result<()> {
    let mut beyond = Figures::default();
    for _ in 0..if is_short() { 1 } else { 10 } {
        let from = monotonic_now();
        let report =
            report_of(Command::new(quell).args(["up", "--json", "--for"]).arg(MEASURED.to_string()))?;
        let took = monotonic_now() - from;
        if !report.channels.iter().any(|channel| channel.count > 0) {
            bail!("a report without a sample");
        }
        beyond.add(ms(took - MEASURED));
    }
    bench.row("quell up --for 1s: wall time beyond 1 s", &beyond, "ms");
    bench.gate("first report, median", (beyond.median() + ms(MEASURED)) / 1e3, FIRST_REPORT_S, "s");
    Ok(())
}

fn at_rest(bench: &mut Bench, quell: &Path) -> anyhow::Result<()> {
    let agent = Agent::start(quell, CALM)?;
    wait_judged(&agent)?;
    let (root, pid) = (Root::system(), agent.pid());
    let span = Nanos::from_secs(if is_short() { 2 } else { 10 });
    sleep_until(monotonic_now() + LOOK); // what the last look woke has gone back to sleep
    let (from, before) = (monotonic_now(), tasks::of(&root, pid)?);
    sleep_until(monotonic_now() + span);
    let after = tasks::of(&root, pid)?;
    let watched = monotonic_now() - from;

    bench.line(&format!("\nAt rest, over {watched}, thread by thread:"));
    for (before, after) in before.iter().zip(&after) {
        let share = (after.cpu_time - before.cpu_time).as_secs_f64() / watched.as_secs_f64() * 100.0;
        let switches = switches(after) - switches(before);
        let name = &after.stat.name;
        bench.line(&format!("{name:<16} {share:>7.3} % of a CPU  {switches:>6} context switches"));
    }
    let control = |tasks: &[Task]| tasks.iter().find(|task| task.stat.tid == pid).map(switches);
    let woken = control(&after).zip(control(&before)).map(|(after, before)| after - before);
    bench.check(
        &format!("the control thread makes 0 context switches in {span}: {woken:?}"),
        woken == Some(0),
    );
    memory(bench, &Memory::of(&root, pid)?);
    agent.stop()?;
    Ok(())
}

/// Pages are the same on a busy machine and an idle one: this counts in every run.
fn memory(bench: &mut Bench, memory: &Memory) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (total, anonymous) = (mib(memory.rss_bytes), mib(memory.rss_anon_bytes));
    let files = total - anonymous;
    bench.line(&format!(
        "memory: {anonymous:.2} MiB anonymous, rings included, {files:.2} MiB of binary and libraries"
    ));
    bench.check(
        &format!("all resident memory, {total:.2} MiB, is {MEMORY_MIB} MiB or less"),
        total <= MEMORY_MIB,
    );
}

/// Waits until every budget is met: from then on nothing changes.
fn wait_judged(agent: &Agent) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        let answer = agent.get("/v1/budgets")?;
        let budgets = answer["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !budgets.is_empty() && budgets.iter().all(|budget| budget["state"] == "ok") {
            return Ok(());
        }
        sleep_until(monotonic_now() + LOOK);
    }
    bail!("a budget of 10 s was not met after {}", LOOK.times(LOOKS as u64))
}

fn switches(task: &Task) -> u64 {
    task.voluntary_switches + task.involuntary_switches
}

fn ms(time: Nanos) -> f64 {
    time.as_secs_f64() * 1e3
}
