//! `quell up`: one command measures this host end to end, whoever runs it, and changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use host::threads::{self, Policy, Role, monotonic_now};
use nix::sys::signal::Signal;
use report::{ChannelReport, Exit, FitnessState, Report};
use units::{CpuSet, Nanos};

use crate::harness::{Daemon, Output, Quell, machine, process, require, require_cpus, require_root, until};

/// Two seconds of all defaults, measured once for the tests that only look.
static REPORT: LazyLock<Report> = LazyLock::new(|| report(&up("--for 2s --json --hist").run().succeeds()));

fn up(flags: &str) -> Quell {
    Quell::new().args(["up"]).args(flags.split_whitespace())
}

#[track_caller]
fn report(output: &Output) -> Report {
    output.json("quell.report/1");
    Report::from_json(&output.stdout).unwrap()
}

/// A measurement that is past its warm-up: that is one cycle of 100 ms, in which a probe wakes a hundred times or
/// spins all the time.
#[track_caller]
pub fn under_way(quell: &Quell) -> Daemon {
    let measuring = quell.start();
    until("a probe has taken samples", || {
        let probe = process::thread_named(measuring.pid(), "probe-cpu0")?;
        (probe.switches > 300 || probe.ran > Duration::from_millis(200)).then_some(())
    });
    measuring
}

#[test]
fn every_channel_has_real_figures() {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let names: Vec<&str> = REPORT.channels.iter().map(|channel| channel.name.as_str()).collect();
    for name in ["timer-wakeup", "spin-gap", "syscall"] {
        assert!(names.contains(&name), "{names:?} on {online}");
    }
    for channel in &REPORT.channels {
        figures(channel);
    }
}

#[test]
fn every_probe_has_figures_when_it_is_named() {
    let named: String = probes::PROBES.iter().map(|about| format!(" --probe {}", about.name)).collect();
    let all = report(&up(&format!("--for 2s --json --cpus 0{named}")).run().succeeds());
    let told: Vec<&str> = all.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(told, probes::PROBES.map(|about| about.name), "in the order in which they were named");
    for channel in &all.channels {
        if channel.name == "huge-fault" && !channel.degraded.is_empty() {
            let [reason] = &channel.degraded[..] else { panic!("{channel:?}") };
            assert!(
                reason.contains("times there was nothing to be timed: it needs more free huge pages"),
                "{reason}"
            );
            println!("huge-fault: {reason}");
            continue;
        }
        figures(channel);
        println!(
            "{}: {:?} in the median of {}, floor {:?}",
            channel.name, channel.p50, channel.count, channel.floor
        );
        let is_timer = channel.name == "timer-wakeup";
        assert!(channel.floor.is_some() != is_timer && channel.degraded.is_empty(), "{channel:?}");
    }
}

#[track_caller]
fn figures(channel: &ChannelReport) {
    let (min, max, mean) = (channel.min.unwrap(), channel.max.unwrap(), channel.mean.unwrap());
    assert!(channel.count > 0 && min <= mean && mean <= max, "{channel:?}");
    let quantiles = [channel.p50, channel.p90, channel.p99, channel.p99_9, channel.p99_99];
    let ladder: Vec<_> = [Some(min)].into_iter().chain(quantiles).chain([Some(max)]).flatten().collect();
    assert!(ladder.is_sorted(), "{channel:?}");
    assert_eq!(channel.p99_99, None, "two seconds say nothing about one in ten thousand: {channel:?}");
    assert_eq!((channel.dropped, channel.overflow), (0, 0), "{channel:?}");
    assert_eq!(channel.total_count, Some(channel.count), "the whole run is the window: {channel:?}");
    if channel.name == "timer-wakeup" {
        // What is on its way from the probe to the collector is scheduled and not yet counted.
        let (scheduled, corrected) = (channel.scheduled.unwrap(), channel.corrected.unwrap());
        let on_the_way = scheduled.abs_diff(channel.count);
        assert!(corrected <= scheduled && on_the_way <= scheduled / 10, "{channel:?}");
        assert!(channel.p50.is_some(), "a thousand wake-ups a second have a median: {channel:?}");
    }
}

#[test]
fn histograms_are_those_that_other_tools_read() {
    for channel in &REPORT.channels {
        let text = channel.hist.as_ref().expect("--hist asks for them");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(histogram.len(), channel.count, "{}", channel.name);
        let (p50, max) = (histogram.value_at_quantile(0.5), histogram.max());
        let near = |bucket: u64, exact: u64| bucket.abs_diff(exact) <= exact / 50; // two digits
        assert!(near(max, channel.max.unwrap().0), "{max} {channel:?}");
        assert!(channel.p50.is_none_or(|told| near(p50, told.0)), "{p50} {channel:?}");
    }
}

#[test]
fn the_clock_tells_how_far_it_can_be_trusted() {
    let clock = &REPORT.clock;
    match clock.source.as_str() {
        "tsc" => {
            assert!(clock.hz > 500_000_000, "{clock:?}");
            assert!(
                clock.error_ppb.is_some_and(|ppb| ppb > 0) && clock.calibrated_over.is_some(),
                "{clock:?}"
            );
            assert_eq!(clock.checked, Some(true), "two seconds are enough to check it: {clock:?}");
        }
        "monotonic" => assert!(clock.hz == 1_000_000_000 && !clock.doubts.is_empty(), "{clock:?}"),
        other => panic!("no such clock: {other}"),
    }
}

#[test]
fn the_threads_and_their_cost_are_told() {
    let measured = &REPORT.measuring.as_ref().unwrap().cpus;
    assert!(!measured.is_empty());
    for cpu in measured.iter() {
        let name = format!("probe-cpu{cpu}");
        let thread = REPORT.threads.iter().find(|thread| thread.name == name).unwrap();
        assert_eq!((thread.cpu, thread.policy.as_str(), thread.priority), (Some(cpu), "other", None));
        assert!(thread.cpu_time_s.unwrap() > 0.0 && thread.switches_voluntary.unwrap() > 0, "{thread:?}");
        assert!(thread.refused.is_empty(), "{thread:?}");
    }
    let collector = REPORT.threads.iter().find(|thread| thread.name == "collector").unwrap();
    assert!(collector.cpus.is_some() && collector.switches_voluntary.unwrap() > 0, "{collector:?}");
    let own = &REPORT.self_;
    assert!(own.rss_bytes.unwrap() > own.rss_anon_bytes.unwrap() && own.cpu_s.unwrap() > 0.0, "{own:?}");
    assert!(own.wakeups.unwrap() > 0 && own.memory_locked.is_some(), "{own:?}");
}

#[test]
fn text_opens_with_the_answer() {
    let output = up("--for 300ms --probe timer-wakeup").run().succeeds();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let headline = output.stdout.lines().next().unwrap();
    let (word, rest) = headline.split_once(": ").unwrap_or_else(|| panic!("{output}"));
    assert!(["FIT", "DEGRADED", "UNKNOWN"].contains(&word) && rest.starts_with(host.trim()), "{output}");
    for part in ["\nclock ", "\nmeasured on CPU ", "timer-wakeup", "\nThreads\n", "\nThe agent itself\n"] {
        assert!(output.stdout.contains(part), "wanted {part:?}\n{output}");
    }
    assert!(!output.stdout.contains('\x1b'), "colours and cursor moves are for terminals\n{output}");
    assert_eq!(output.stderr, "", "nothing to say beside the report");
}

#[test]
fn no_setting_of_this_machine_is_changed() {
    let _still = machine::hold_still();
    let before = machine::settings();
    assert!(before.len() > 500 && before.contains_key("/proc/sys/vm/swappiness"), "{}", before.len());
    up("--for 500ms").run().succeeds();
    let after = machine::settings();
    let changed: BTreeMap<_, _> =
        before.iter().filter(|(path, text)| after.get(*path) != Some(text)).collect();
    assert!(changed.is_empty(), "before: {changed:#?}");
    assert_eq!(before.len(), after.len());
}

#[test]
fn no_file_is_opened_for_writing() {
    if !require("strace") {
        return;
    }
    let quell = up("--for 500ms --probe timer-wakeup --interval 20ms");
    let trace = quell.folder().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o"];
    quell.under(strace.map(Into::into).into_iter().chain([trace.clone().into_os_string()])).run().succeeds();
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("/proc/self/"), "its own threads are read below /proc/self:\n{trace}");
    let writing: Vec<&str> = trace.lines().filter(|line| opens_for_writing(line)).collect();
    assert_eq!(writing, [""; 0]);
}

/// Format: `4711 openat(AT_FDCWD, "/proc/self/smaps_rollup", O_RDONLY|O_CLOEXEC) = 3`   (strace(1))
pub fn opens_for_writing(line: &str) -> bool {
    ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "creat("].iter().any(|word| line.contains(word))
}

#[test]
fn a_stranger_measures_too_and_learns_what_is_missing() {
    if !require_root() {
        return;
    }
    let output = up("--for 500ms --policy fifo:50 --json").as_nobody(64 << 10).run().succeeds();
    let report = report(&output);
    assert!(report.channels.iter().all(|channel| channel.count > 0), "{output}");
    assert_eq!(report.self_.memory_locked, Some(false));
    let lacks = |what: &str| report.missing.iter().any(|missing| missing.what.contains(what));
    assert!(lacks("locked memory") && lacks("the role of thread probe-cpu"), "{:?}", report.missing);
    assert!(report.missing.iter().all(|missing| !missing.why.is_empty()), "{:?}", report.missing);
    let probe = report.threads.iter().find(|thread| thread.name.starts_with("probe-cpu")).unwrap();
    assert_eq!((probe.policy.as_str(), probe.priority), ("other", None));
    assert!(probe.refused[0].starts_with("cannot run as fifo:50: "), "{probe:?}");
    assert_ne!(report.fitness.state, FitnessState::Fit, "unknown is never fit");
}

#[test]
fn root_gets_the_policy_it_asks_for() {
    if !require_root() {
        return;
    }
    let output = up("--for 300ms --cpus 0 --probe timer-wakeup --policy fifo:50 --json").run().succeeds();
    let report = report(&output);
    let probe = report.threads.iter().find(|thread| thread.name == "probe-cpu0").unwrap();
    assert_eq!((probe.policy.as_str(), probe.priority, probe.refused.len()), ("fifo", Some(50), 0));
}

#[test]
fn a_wrong_wish_gets_one_line() {
    #[track_caller]
    fn check(flags: &[&str], parts: &[&str]) {
        let output = up("").args(flags.iter().copied()).run().exits(Exit::Usage).says_one_line(parts);
        assert!(output.stderr.starts_with("quell: ") && output.stdout.is_empty(), "{output}");
    }
    check(&["--probe", "timr-wakeup"], &["--probe", "\"timr-wakeup\"", "did you mean timer-wakeup?"]);
    check(&["--cpus", "4096"], &["CPU 4096 does not exist", "on line are 0"]);
    check(&["--cpus", "0-9999"], &["--cpus", "beyond the 8192 CPUs"]);
    check(&["--cpus", "1-0"], &["--cpus", "runs backwards"]);
    check(&["--cpus", ""], &["--cpus: no CPU in it"]);
    check(&["--for", "2"], &["--for", "\"2\"", "needs a unit, as in 300ns"]);
    check(&["--for", "0s"], &["--for: no time to measure in"]);
    check(&["--interval", "1us"], &["timer-wakeup", "interval of 1.00 us is out of range", "50.0 us to"]);
    check(&["--interval", "1min"], &["timer-wakeup", "interval of 60.0 s"]);
    check(&["--stall", "0ns"], &["stall of 0 ns is out of range", "1.00 us to 1.00 s"]);
    check(&["--policy", "fifo:0"], &["--policy", "\"fifo:0\"", "fifo:1 to fifo:99"]);
    check(&["--policy", "fifo:100"], &["--policy", "\"fifo:100\""]);
    check(&["--budget", "timer-wakeup"], &["--budget", "a channel and its terms, as in"]);
    check(&["--budget", "timer-wakeup p99"], &["--budget", "no <= in it"]);
    check(&["--budget", "timer p99 <= 1ms"], &["no channel \"timer\"", "timer-wakeup, spin-gap, syscall"]);
    check(&["--budget", "syscall p99 <= 1ms", "--probe", "spin-gap"], &["syscall is not measured"]);
    check(
        &["--budget", "timer-wakeup p99.99 <= 1ms"],
        &["p99.99 needs 100000 samples", "this channel gives"],
    );
    check(&["--budget", "timer-wakeup p50 <= 5ns"], &["a limit of 5 ns cannot be told apart", "20 ns"]);
    check(&["--hist"], &["--json"]);
    check(&["--fro", "2s"], &["'--fro'"]);
    check(&["--jsn"], &["'--jsn'", "'--json'"]);
}

#[test]
fn every_wrong_wish_is_told_at_once() {
    let output = up("--probe a --for 0s").args(["--cpus", ""]).run().exits(Exit::Usage);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    for flag in ["quell: --cpus: ", "quell: --for: ", "quell: --probe: "] {
        assert!(lines.iter().any(|line| line.starts_with(flag)), "wanted {flag:?}\n{output}");
    }
}

#[test]
fn whoever_stops_it_gets_the_report() {
    #[track_caller]
    fn check(signal: Signal) {
        let measuring = under_way(&up("--json --cpus 0"));
        measuring.signal(signal);
        let report = report(&measuring.wait().succeeds());
        assert!(report.channels.iter().any(|channel| channel.count > 0), "{signal}");
        assert!(report.window_s > 0.0, "{signal}");
    }
    check(Signal::SIGINT);
    check(Signal::SIGTERM);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    #[track_caller]
    fn check(reader: &str, read: &str) {
        let script = format!("{{ \"$@\"; echo exit $? >&2; }} | {reader}");
        let output = up("--for 300ms --probe syscall").under(["sh", "-c", &script, "sh"]).run().succeeds();
        assert_eq!(output.stderr, "exit 0\n", "{output}");
        assert!(output.stdout.starts_with(read) && output.stdout.lines().count() <= 1, "{output}");
    }
    check("head -n 1", "UNKNOWN: ");
    check("true", "");
}

/// What a terminal of `rows` lines is sent.
fn on_terminal(rows: u16, env: &[(&str, &str)]) -> String {
    let script =
        format!("exec script --quiet --return --command \"stty rows {rows} cols 80; exec $*\" /dev/null");
    let quell = up("--for 1200ms --cpus 0").under(["sh", "-c", &script, "sh"]).env("TERM", "xterm");
    let quell = env.iter().fold(quell, |quell, (key, value)| quell.env(*key, *value));
    quell.run().succeeds().stdout
}

#[test]
fn a_terminal_shows_it_live() {
    let shown = on_terminal(24, &[]);
    let (live, last) = shown.rsplit_once("\x1b[J").expect("what was shown is cleared in the end");
    assert!(live.contains("timer-wakeup") && live.contains("spin-gap") && coloured(live), "{shown:?}");
    assert!(last.contains("The agent itself"), "the whole report stands alone: {last:?}");
    let plain = on_terminal(24, &[("NO_COLOR", "1")]);
    assert!(plain.contains("\x1b[J") && !coloured(&plain), "live all the same: {plain:?}");
}

#[test]
fn a_small_terminal_is_not_scrolled() {
    let shown = on_terminal(8, &[]);
    let ups: Vec<usize> =
        shown.split("\x1b[").filter_map(|code| code.split_once('A')?.0.parse().ok()).collect();
    assert!(!ups.is_empty() && ups.iter().all(|lines| *lines < 8), "{ups:?}\n{shown:?}");
}

/// Whether a colour is set: `ESC [ … m`. Cursor moves end in other letters.
fn coloured(text: &str) -> bool {
    text.split("\x1b[")
        .skip(1)
        .any(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

#[test]
fn a_cpu_on_which_an_application_spins_is_left_alone() {
    let usual = &REPORT.measuring.as_ref().unwrap().cpus;
    if !require_root() || !require_cpus(2, usual) {
        return;
    }
    let taken = usual.first().unwrap();
    let spinning = Arc::new(AtomicBool::new(true));
    let role = Role { name: "spinner".to_owned(), cpus: CpuSet::from_iter([taken]), policy: Policy::Fifo(1) };
    let spins = spinning.clone();
    let spinner = threads::spawn(role, move |_| {
        let end = monotonic_now() + Nanos::from_secs(3); // should the test fail, it ends by itself
        while spins.load(Ordering::Relaxed) && monotonic_now() < end {
            std::hint::spin_loop();
        }
    });
    let output = up("--for 100ms --probe timer-wakeup --json").run();
    spinning.store(false, Ordering::Relaxed);
    spinner.unwrap().join().unwrap();
    let report = report(&output.succeeds());
    assert!(!report.measuring.unwrap().cpus.contains(taken));
    let told = |note: &String| note.starts_with(&format!("CPU {taken} is ")) && note.contains("busy");
    assert!(report.notes.iter().any(told), "{:?}", report.notes);
}
