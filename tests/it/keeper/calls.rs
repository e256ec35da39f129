//! The system calls of a keeper as systemd starts it: how many there are, and which come before which.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;
use orders::{Evacuate, Order, Outcome, Text};

use super::{Client, Host, SWAPPINESS};
use crate::harness::{require, require_cpus, until};

/// Distinct calls from READY to the end, with orders, a repair, a reload: what a filter that is set when the work begins has
/// to let through, which is how others count theirs (Firecracker's threads: 50, 31 and 27).
const CALLS_MAX: usize = 45;

/// Name and line of each call, in order. Format: `4711  openat2(3, "sys/vm", {…}, 24) = 4`   (strace(1))
fn calls(trace: &str) -> Vec<(String, &str)> {
    let call = |line| {
        let rest = str::trim_start_matches(line, |c: char| c.is_ascii_digit()).trim_start();
        let name = rest.split_once('(')?.0;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_name.then(|| (name.to_owned(), line))
    };
    trace.lines().filter_map(call).collect()
}

/// What happens once in a while: strangers, noise, events of the kernel, a rival, root who wants something else, an apply
/// that nobody confirms and whose guard is gone, a profile that is taken back.
fn seldom(host: &Host, client: &mut Client) {
    let unheard = Client::connect(&host.socket()).unwrap();
    assert!(unheard.exchange(b"what is this").is_some(), "noise is answered");
    for point in 0..3 {
        client.ask(Order::Rings { cpu: units::CpuId(0), point }); // given, or refused where this machine has none
    }
    client.ask(Order::Evacuate { what: Evacuate::Tasks });
    let _crowd: Vec<Client> = (0..6).map(|_| Client::connect(&host.socket()).unwrap()).collect();
    let is = |value: &'static str| move || (host.host.read(SWAPPINESS) == value).then_some(());
    host.host.write(SWAPPINESS, "33\n");
    until("a rival's value is put back", is(super::WANTED));
    let profile = host
        .quell
        .file("other.toml", "schema = 'quell.profile/1'\n[knobs]\n'mem.swap' = { swappiness = 20 }\n");
    let tune = |words: &[&str]| host.quell.args(["tune"]).args(words.iter().copied()).on(&host.host).run();
    tune(&["apply", "--profile", profile.to_str().unwrap()]).succeeds();
    host.host.write(SWAPPINESS, "33\n");
    until("what root asked for is held", is("20\n"));
    tune(&["apply", "--profile", "balanced", "--confirm-within", "1s"]);
    until("what nobody confirmed is undone", is("20\n"));
    // The keeper may be at work for a moment.
    until("it is taken back", || (tune(&["rollback", "--to", "baseline"]).code == Some(0)).then_some(()));
    until("nothing is held", || host.status().profile.as_str().is_empty().then_some(()));
}

/// Where the keeper is to run is asked for before the first value is written, and holds afterwards.
#[test]
fn its_threads_are_off_the_isolated_cpus_before_the_profile_is_written() {
    let cpus = host::threads::reachable_cpus().unwrap();
    if !(require("strace") && require_cpus(2, &cpus)) {
        return;
    }
    let host = Host::with("");
    let last = cpus.iter().last().unwrap();
    let profile = format!(
        "schema = 'quell.profile/1'\n[cpus]\nisolated = '{last}'\n[knobs]\n'mem.swap' = {{ swappiness = 10 }}\n"
    );
    host.quell.file("held.toml", &profile);
    let trace = host.quell.folder().join("trace");
    let strace =
        ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-e", "trace=sched_setaffinity,write,pwrite64"];
    let strace = strace.into_iter().chain(["-o", trace.to_str().unwrap()]);
    let keeper = host.keeper().under(strace).start().ready();
    let status = fs::read_to_string(format!("/proc/{}/status", keeper.pid())).unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let allowed: units::CpuSet = allowed.trim().parse().unwrap();
    assert!(!allowed.is_empty() && !allowed.contains(last), "{allowed}");
    keeper.stop().succeeds();
    let text = until("its end is traced", || {
        fs::read_to_string(&trace).ok().filter(|text| text.contains("\"10\\n\""))
    });
    let calls = calls(&text);
    let written = calls.iter().position(|(_, line)| line.contains("\"10\\n\"")).unwrap();
    // The last mask before the value is without the CPU: asking what can be reached comes before that.
    let mask = calls[..written].iter().rfind(|(name, _)| name == "sched_setaffinity").map(|(_, line)| *line);
    let mask = mask.expect("where it runs is said before");
    let listed = mask.split(['[', ']']).nth(1).unwrap();
    assert!(listed.split_whitespace().all(|cpu| cpu != last.to_string()), "{mask}");
}

#[test]
fn few_calls_are_made_no_program_is_started_and_ready_comes_after_the_profile() {
    if !(require("strace") && require("systemd-socket-activate")) {
        return;
    }
    let policy = "allow = ['rings', 'repair', 'evacuate', 'fence']\nrepair = true\nboot_settle = '0s'\nsettle = '1s'\n\
                  max_changes_per_hour = 1000\n";
    let host = Host::with(policy);
    host.start().stop().succeeds(); // the state directory is there, as systemd makes it
    host.host.write(SWAPPINESS, super::ORIGINAL);
    // Its log is all but full: it will be put aside.
    let log = fs::File::options().append(true).open(host.state("audit.log")).unwrap();
    log.set_len(units::limits::AUDIT_BYTES_MAX - 1).unwrap();
    let trace = host.quell.folder().join("trace");
    let socket = format!("--listen={}", host.socket().display());
    let activate = ["systemd-socket-activate", "--seqpacket", "--fdname=keeper", "-ENOTIFY_SOCKET", &socket];
    // Detached, so that the keeper has the process number that the socket was announced to.
    let strace =
        ["strace", "-D", "-f", "-qq", "-s", "64", "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let mut keeper = host.keeper().under(activate.iter().chain(&strace).copied()).start();
    // The first connection starts it.
    let mut client = until("somebody listens", || Client::connect(&host.socket()).ok());
    assert!(matches!(client.ask(Order::Hello { version: Text::cut("0") }), Outcome::Done(_)));
    keeper.wait_told("READY=1");
    host.host.write(SWAPPINESS, super::ORIGINAL);
    for order in [
        // Put back already, if the keeper noticed first.
        Order::Repair { knob: Text::cut("mem.swap") },
        Order::Reverify,
        Order::Fence { to: 1 },
        Order::Status,
    ] {
        let outcome = client.ask(order);
        assert!(matches!(outcome, Outcome::Done(_)), "{order:?}: {outcome:?}");
    }
    keeper.signal(Signal::SIGHUP);
    keeper.wait_told("READY=1");
    seldom(&host, &mut client);
    keeper.stop().succeeds();
    until("its end is traced", || fs::read_to_string(&trace).unwrap().contains("exit_group").then_some(()));

    let text = fs::read_to_string(&trace).unwrap();
    let calls = calls(&text);
    let place = |what: &str| calls.iter().position(|(_, line)| line.contains(what));
    let written = place("\"10\\n\"").expect("the profile is written");
    let committed = calls[..written].iter().rposition(|(name, _)| name == "fdatasync");
    assert!(committed.is_some(), "the originals are on disk before");
    assert!(written < place("READY=1").unwrap(), "READY comes after the profile");
    // What the runtime does first, behind the loader.
    let begin = place("poll(").unwrap();
    let ready = place("READY=1").unwrap();
    let distinct =
        |calls: &[(String, &str)]| calls.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    let (all, own, serving) = (distinct(&calls), distinct(&calls[begin..]), distinct(&calls[ready..]));
    println!(
        "distinct system calls: {} with the loader's, {} its own, {} from READY on",
        all.len(),
        own.len(),
        serving.len()
    );
    for forbidden in ["execve", "execveat", "fork", "vfork"] {
        assert!(!own.contains(forbidden), "{forbidden}");
    }
    assert!(!text.contains("AF_INET"), "no network");
    assert!(
        serving.contains("renameat") || serving.contains("renameat2") || serving.contains("rename"),
        "{serving:?}"
    );
    assert!(
        serving.len() > 10 && serving.len() <= CALLS_MAX,
        "{} distinct calls: {serving:?}",
        serving.len()
    );
}
