//! `quell agent` as the service manager sees it: ready, alive, reloading, stopping; without rights, without writes.

use std::path::Path;

use nix::sys::signal::Signal;
use report::Exit;

use crate::harness::process::{self, Frozen};
use crate::harness::{Agent, NOBODY, Quell, require, require_root, until};
use crate::up::opens_for_writing;

/// One CPU, one probe, and a budget that any host meets and whose samples never grow stale, so that nothing happens
/// by itself.
pub const QUIET: &str = r#"
[measure]
cpus = "0"
probes = ["timer-wakeup"]

[[budget]]
name = "lax"
channel = "timer-wakeup"
limit = "p50 <= 1s for 1s over 10s"
"#;

/// Waits until the budget is judged; from then on it stays as it is.
#[track_caller]
pub fn settled(agent: &Agent) {
    until("the budget is met", || (agent.budgets()[0]["state"] == "ok").then_some(()));
}

#[test]
fn ready_means_that_it_serves() {
    let mut agent = Agent::start(QUIET);
    let status = agent.wait_told("STATUS=");
    assert_eq!(status, "STATUS=measuring CPUs 0; 0 of 1 budgets breached");
    assert_eq!(agent.ask("/healthz").status, Some(200));
    let said = agent.said();
    assert!(said.stdout.is_empty() && said.stderr.contains("serving"), "{said}");
}

#[test]
fn stopping_is_told_and_leaves_nothing() {
    #[track_caller]
    fn check(signal: Signal) {
        let mut agent = Agent::start(QUIET);
        let socket = agent.socket();
        assert!(socket.exists());
        agent.signal(signal);
        agent.wait_told("STOPPING=1");
        let output = agent.wait().succeeds();
        assert!(!socket.exists(), "{signal}: the socket is left");
        assert!(!output.stderr.contains("ERROR") && !output.stderr.contains("WARN"), "{output}");
    }
    check(Signal::SIGTERM);
    check(Signal::SIGINT);
}

#[test]
fn the_watchdog_is_fed_by_the_collector_alone() {
    if !require_root() {
        return; // stopping one thread takes the right to trace
    }
    let mut agent = Agent::of(&Quell::new().env("WATCHDOG_USEC", "200000"), QUIET);
    let [control, collector] = ["quell", "collector"].map(|name| {
        process::thread_named(agent.pid(), name).unwrap_or_else(|| panic!("no thread {name}")).tid
    });
    let stopped = Frozen::stop(control);
    agent.told();
    for _ in 0..5 {
        agent.wait_told("WATCHDOG=1"); // the control thread hangs, measuring does not
    }
    drop(stopped);
    let stopped = Frozen::stop(collector);
    agent.told();
    agent.ask("/healthz").refuses(503, "the collector did not answer within 1.00 s");
    let told = agent.told();
    assert!(told.iter().all(|line| line != "WATCHDOG=1"), "a second without the collector: {told:?}");
    drop(stopped);
    agent.wait_told("WATCHDOG=1");
    assert_eq!(agent.ask("/healthz").status, Some(200));
}

#[test]
fn without_a_watchdog_nothing_is_fed() {
    let mut agent = Agent::start(QUIET);
    settled(&agent);
    assert!(agent.told().iter().all(|line| line != "WATCHDOG=1"));
}

/// Reloads and gives the status line that ends it.
#[track_caller]
fn reload(agent: &mut Agent, config: &str) -> String {
    agent.told();
    agent.reconfigure(config);
    agent.signal(Signal::SIGHUP);
    agent.wait_told("RELOADING=1");
    let since = agent.wait_told("MONOTONIC_USEC=");
    assert!(since["MONOTONIC_USEC=".len()..].parse::<u64>().unwrap() > 0, "{since}");
    agent.wait_told("READY=1");
    agent.wait_told("STATUS=")
}

#[test]
fn a_reload_takes_on_probes_and_budgets() {
    let mut agent = Agent::start(QUIET);
    let config = "[measure]\ncpus = \"0\"\nprobes = [\"syscall\", \"spin-gap\"]\n\
                  [[budget]]\nname = \"calls\"\nchannel = \"syscall\"\nlimit = \"p50 <= 1ms for 1s over 1s\"\n";
    let status = reload(&mut agent, config);
    assert_eq!(status, "STATUS=measuring CPUs 0; 0 of 1 budgets breached; configuration taken on");
    let report = agent.report();
    let names: Vec<&str> = report.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["syscall", "spin-gap"]);
    assert_eq!(report.budgets[0].name, "calls");
    until("the new probe is counted", || agent.report().channels.iter().all(|c| c.count > 0).then_some(()));
    assert!(reload(&mut agent, config).ends_with("nothing changed"));
    agent.stop().succeeds();
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let mut agent = Agent::start(QUIET);
    let before = agent.report().started_at;
    let mut check = |config: &str, reason: &str| {
        let status = reload(&mut agent, config);
        assert!(status.ends_with("new configuration refused, the old one stays (see the log)"), "{status}");
        let said = agent.said();
        assert!(said.stderr.contains(reason), "wanted {reason:?}\n{said}");
        let report = agent.report();
        assert_eq!((report.started_at, report.budgets[0].name.as_str()), (before, "lax"), "{config}");
    };
    check("[measure\n", "quell.toml:1");
    check("[measure]\ncpus = \"0\"\ninterval = \"1\"\n", "quell.toml:3");
    check("[measure]\ncpus = \"4096\"\n", "CPU 4096 does not exist");
    agent.stop().succeeds();
}

#[test]
fn a_killed_agent_leaves_a_socket_that_the_next_one_replaces() {
    let quell = Quell::new();
    let killed = Agent::of(&quell, QUIET);
    killed.signal(Signal::SIGKILL);
    let (socket, reader) = (killed.socket(), killed.reader("report"));
    assert_eq!(killed.wait().signal, Some(9));
    assert!(socket.exists(), "nobody removed it");
    reader.run().exits(Exit::Unreachable).says_one_line(&["report.sock", "the agent that made it is gone"]);
    let agent = Agent::of(&quell, QUIET);
    agent.reader("stalls").run().succeeds();
}

#[test]
fn a_second_instance_is_refused_and_disturbs_nothing() {
    let quell = Quell::new();
    let first = Agent::of(&quell, QUIET);
    let pid = format!("another agent (pid {}) serves this socket", first.pid());
    Agent::line(&quell).run().exits(Exit::Busy).says_one_line(&["report.sock", &pid, "--socket PATH"]);
    assert_eq!(first.ask("/healthz").status, Some(200));
    Agent::line(&quell).run().exits(Exit::Busy).says_one_line(&[&pid]);
}

#[test]
fn a_start_that_cannot_be_says_why() {
    #[track_caller]
    fn check(config: &str, exit: Exit, parts: &[&str]) {
        let quell = Quell::new();
        quell.file("quell.toml", config);
        Agent::line(&quell).run().exits(exit).says_one_line(parts);
        assert!(!quell.folder().join("report.sock").exists(), "{config}");
    }
    check("[measure]\ncpu = \"0\"\n", Exit::Usage, &["quell.toml:2", "\"measure.cpu\"", "\"cpus\""]);
    check("[measure]\ncpus = \"4096\"\n", Exit::Usage, &["CPU 4096 does not exist"]);
    let missing = Quell::new().args(["agent", "--config", "no/such.toml", "--socket", "report.sock"]);
    missing.run().exits(Exit::Usage).says_one_line(&["no/such.toml", "No such file"]);
}

#[test]
fn no_capability_is_needed() {
    if !require_root() {
        return;
    }
    let agent = Agent::of(&Quell::new().as_nobody(8 << 20), QUIET);
    let uids = NOBODY.to_string();
    assert!(process::status_of(agent.pid(), "Uid").split_whitespace().all(|uid| uid == uids));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(process::status_of(agent.pid(), set), "0000000000000000", "{set}");
    }
    until("samples are counted", || (agent.report().channels[0].count > 100).then_some(()));
    agent.reader("stalls").run().succeeds();
    agent.stop().succeeds();
}

#[test]
fn no_kernel_state_is_written() {
    if !require("strace") {
        return;
    }
    let quell = Quell::new();
    let trace = quell.folder().join("trace");
    let trace_to = ["-o".into(), trace.clone().into_os_string()];
    // -D: the agent is our child, and the tracer beside it.
    let strace = ["strace", "-D", "-f", "-qq", "-e", "trace=open,openat,openat2,creat"].map(Into::into);
    let mut agent = Agent::of(&quell.under(strace.into_iter().chain(trace_to)), QUIET);
    for path in ["/v1/report?hist=1", "/v1/budgets", "/v1/stalls", "/healthz"] {
        assert_eq!(agent.ask(path).status, Some(200));
    }
    reload(&mut agent, &QUIET.replace("timer-wakeup", "syscall"));
    reload(&mut agent, "[measure\n");
    assert_eq!(agent.report().channels[0].name, "syscall");
    let lock = agent.folder().join("report.sock.lock");
    agent.stop().succeeds();
    let trace = std::fs::read_to_string(trace).unwrap();
    let written: Vec<&str> = trace.lines().filter(|line| opens_for_writing(line)).collect();
    assert!(written.iter().all(|line| opens(line, &lock)) && written.len() == 1, "{written:#?}");
}

fn opens(line: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    line.contains(&format!("\"{name}\""))
}

#[test]
fn threads_are_where_the_report_says() {
    let agent = Agent::start("[measure]\ncpus = \"0\"\n");
    let report = agent.report();
    let seen = process::threads(agent.pid());
    let mut names: Vec<&str> = seen.iter().map(|thread| thread.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["collector", "probe-cpu0", "quell"], "these and no other");
    assert_eq!(report.threads.len(), seen.len());
    for thread in &seen {
        let told = report.threads.iter().find(|told| told.name == thread.name).unwrap();
        assert_eq!(told.cpus.as_ref(), Some(&thread.cpus), "{thread:?}");
        assert_eq!((told.policy.as_str(), told.refused.len()), ("other", 0), "{told:?}");
    }
    let probe = process::thread_named(agent.pid(), "probe-cpu0").unwrap();
    assert_eq!(probe.cpus, "0");
}

#[test]
fn between_requests_the_control_thread_sleeps() {
    let agent = Agent::start(QUIET);
    settled(&agent);
    let woken = || {
        let switches = |name| process::thread_named(agent.pid(), name).unwrap().switches;
        let (before, passes) = (switches("quell"), switches("collector"));
        // The collector wakes each 10 ms: three hundred times are three seconds of quiet.
        until("the collector has made its passes", || (switches("collector") > passes + 300).then_some(()));
        switches("quell") - before
    };
    // The end of the last answer may fall into the first period.
    let periods: Vec<u64> = (0..3).map(|_| woken()).take_while(|woken| *woken > 0).collect();
    assert!(periods.len() < 3, "woken in every period: {periods:?}");
}
