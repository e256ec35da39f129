//! The agent beside a keeper: what it reports, what it keeps when it is killed, and what no keeper can do to it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use host::threads::{self, Policy, Role, monotonic_now};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use orders::{Addressed, Answer, Deed, DriftEvent, Order, Outcome, Ring, Text, Writer};
use report::{FitnessState, Report, RingReport};
use units::{CpuId, Nanos};

use super::fake::{Fake, Reply, answer, status, well};
use crate::harness::{Agent, NOBODY, Quell, process, require_root, until};

/// One CPU, one probe, a budget that any host meets, and the keeper of the test.
fn config(keeper: &Path) -> String {
    format!(
        "[measure]\ncpus = \"0\"\nprobes = [\"timer-wakeup\"]\n[keeper]\nsocket = \"{}\"\n\
         [[budget]]\nname = \"lax\"\nchannel = \"timer-wakeup\"\nlimit = \"p50 <= 1s for 1s over 10s\"\n",
        keeper.display()
    )
}

fn switches(ring: &RingReport) -> u64 {
    ring.by_kind.iter().find(|kind| kind.kind == "context-switch").unwrap().total
}

/// Waits until the report has a ring in which the agent's own probe has switched some times; that ring.
#[track_caller]
fn ring_of(agent: &Agent) -> RingReport {
    until("kernel events are counted", || {
        let ring = agent.report().rings.into_iter().next();
        ring.filter(|ring| switches(ring) > 100)
    })
}

fn rings_asked(keeper: &Fake) -> usize {
    keeper.asked().iter().filter(|order| matches!(order, Order::Rings { .. })).count()
}

/// Hands `stored` to a program as the service manager does, in the place of descriptors 3 and up.
fn handing_over(quell: &Quell, stored: &[(String, OwnedFd)]) -> (Quell, Vec<i32>) {
    // Copies far from those places that are not closed on exec.
    let copies: Vec<i32> = stored.iter().map(|(_, fd)| fcntl(fd, FcntlArg::F_DUPFD(200)).unwrap()).collect();
    let names: Vec<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
    let script = "use POSIX (); $^F = 1000; my ($names, $n) = splice(@ARGV, 0, 2); my @copies = splice(@ARGV, 0, $n); \
                  my $at = 3; POSIX::dup2($_, $at++) for @copies; POSIX::close($_) for @copies; \
                  $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = $n; $ENV{LISTEN_FDNAMES} = $names; exec @ARGV";
    let mut words = vec!["perl".to_owned(), "-e".to_owned(), script.to_owned(), names.join(":")];
    words.push(copies.len().to_string());
    words.extend(copies.iter().map(ToString::to_string));
    (quell.under(words), copies)
}

#[test]
fn kernel_events_are_read_and_survive_agent_and_keeper() {
    if !require_root() {
        return; // to open events; reading them needs no right
    }
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let keeper = Fake::honest(&path);
    let mut first = Agent::of(&quell, &config(&path));
    let stored = until("everything is in the store", || {
        first.listen_all();
        (first.stored().len() == host::perf::POINTS).then(|| first.take_stored())
    });
    assert!(stored.iter().all(|(name, _)| name.starts_with("ring-0-")), "{stored:?}");
    let ring = ring_of(&first);
    assert_eq!((ring.cpu, ring.unknown), (CpuId(0), 0));
    assert_eq!(rings_asked(&keeper), host::perf::POINTS);
    first.signal(Signal::SIGKILL);
    assert_eq!(first.wait().signal, Some(9));

    // The manager starts it again with what it kept, and nobody is asked.
    let (again, copies) = handing_over(&quell, &stored);
    let second = Agent::of(&again, &config(&path));
    copies.into_iter().for_each(|copy| nix::unistd::close(copy).unwrap());
    drop(stored);
    ring_of(&second);
    until("the keeper is asked for the state", || second.report().knobs);
    assert_eq!(rings_asked(&keeper), host::perf::POINTS, "asked again");
    drop(keeper);
    until("the keeper's end is noticed", || (!second.report().keeper.unwrap().connected).then_some(()));
    let before = switches(&second.report().rings[0]);
    until("events come all the same", || (switches(&second.report().rings[0]) > before + 100).then_some(()));
    second.stop().succeeds();
}

#[test]
fn a_keeper_that_starts_again_is_asked_for_what_the_former_did_not_give() {
    if !require_root() {
        return;
    }
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let poor =
        Fake::start(&path, |order| Some(Reply { bytes: answer(order, well(order)), descriptor: None }));
    let agent = Agent::of(&quell, &config(&path));
    until("the keeper is asked for the state", || agent.report().knobs);
    assert_eq!(rings_asked(&poor), host::perf::POINTS);
    assert!(agent.report().rings.is_empty());
    drop(poor);
    let rich = Fake::honest(&path);
    ring_of(&agent);
    assert_eq!(rings_asked(&rich), host::perf::POINTS, "once each");
    agent.stop().succeeds();
}

#[test]
fn a_stall_is_put_down_to_the_thread_that_had_the_cpu() {
    if !require_root() {
        return;
    }
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let _keeper = Fake::honest(&path);
    let agent = Agent::of(&quell, &config(&path));
    ring_of(&agent);
    // On a loaded machine others may have the CPU before and after, so that the thief has no more than half of the whole
    // stall; then nobody is named, and it is done again.
    let stall = until("the stall is found", || {
        let who = format!("thief (pid {})", take(CpuId(0)));
        let stalls = agent.report().stalls;
        stalls.into_iter().find(|stall| stall.cause.who.as_deref() == Some(who.as_str()))
    });
    println!("{stall:?}");
    assert_eq!((stall.cpu, stall.cause.kind.as_str()), (CpuId(0), "task"));
    assert!(stall.duration >= Nanos::from_millis(19), "{stall:?}");
    assert!(stall.cause.evidence.unwrap().contains("kernel events, clocks within"));
}

/// Keeps `cpu` busy for 21 ms at a real-time priority; by which thread.
fn take(cpu: CpuId) -> Pid {
    let role = Role { name: "thief".to_owned(), cpus: cpu.into(), policy: Policy::Fifo(50) };
    let taking = threads::spawn(role, |placement| {
        assert_eq!((placement.cpus_refused, placement.policy_refused), (None, None));
        let end = monotonic_now() + Nanos::from_millis(21);
        while monotonic_now() < end {
            std::hint::spin_loop();
        }
        nix::unistd::gettid()
    });
    taking.unwrap().join().unwrap()
}

#[test]
fn reading_events_needs_no_right() {
    if !require_root() {
        return;
    }
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let _keeper = Fake::honest(&path);
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let agent = Agent::of(&quell.as_nobody(8 << 20), &config(&path));
    assert_eq!(process::status_of(agent.pid(), "CapEff"), "0000000000000000");
    let ring = ring_of(&agent);
    println!("{} events, {} lost, {} switches", ring.events, ring.lost, switches(&ring));
    agent.stop().succeeds();
}

#[test]
fn what_the_keeper_says_is_reported() {
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let _keeper = Fake::start(&path, |order| {
        let outcome = match order.what {
            Order::Status => {
                let mut status = status();
                status.knobs[4] = 1;
                (status.drifts, status.repairs, status.fights) = (7, 6, 1);
                Outcome::Done(Answer::Status(status))
            }
            Order::Drift { after } => Outcome::Done(Answer::Drift(drift(after))),
            _ => well(order),
        };
        Some(Reply { bytes: answer(order, outcome), descriptor: None })
    });
    let agent = Agent::of(&quell, &config(&path));
    let report =
        until("all drift is fetched", || Some(agent.report()).filter(|report| report.drift.len() == 2));
    let keeper = report.keeper.unwrap();
    assert_eq!((keeper.connected, keeper.version.as_deref(), keeper.fence), (true, Some("9.9"), Some(3)));
    let knobs = report.knobs.unwrap();
    assert_eq!((knobs.profile.as_deref(), knobs.counts.ok, knobs.counts.drifted), (Some("colo"), 31, 1));
    assert_eq!(report.drift[1].writer.as_ref().unwrap().comm, "tuned");
    assert_eq!((report.drift[1].seq, report.drift[1].action.as_str()), (6, "repaired"));
    assert_eq!(report.fitness.state, FitnessState::Degraded);
    assert!(report.fitness.reasons[0].contains("colo: 1 drifted"), "{:?}", report.fitness.reasons);
    let text = agent.reader("report").run();
    assert!(text.stdout.contains("held to colo: 31 ok, 1 drifted; 7 drifts seen, 6 repaired"), "{text}");
}

/// Two events, the first of which had the keeper drop four before it.
fn drift(after: u64) -> Option<DriftEvent> {
    let number = [5, 6].into_iter().find(|number| *number > after)?;
    Some(DriftEvent {
        number,
        knob: Text::cut("mem.swap"),
        attribute: Text::cut("swappiness"),
        identity: Text::cut(""),
        wanted: Text::cut("10"),
        found: Text::cut("60"),
        at: 1_772_000_000_000_000_000,
        seen_at: 5,
        repaired_at: Some(9),
        writer: Some(Writer { pid: 4711, comm: Text::cut("tuned") }),
        deed: Deed::Repaired,
    })
}

#[test]
fn without_a_keeper_the_agent_only_measures_and_says_so() {
    let quell = Quell::new();
    let agent = Agent::of(&quell, &config(&quell.folder().join("nobody.sock")));
    let report: Report = until("it was looked for", || {
        Some(agent.report()).filter(|report| report.keeper.as_ref().unwrap().since.is_some())
    });
    let keeper = report.keeper.unwrap();
    assert_eq!((keeper.connected, keeper.problem, report.knobs), (false, None, None));
    assert!(report.rings.is_empty());
    assert!(agent.reader("report").run().stdout.contains("no keeper: measuring only"));
    assert!(
        report.missing.iter().any(|missing| missing.why == "no tracepoint is read"),
        "{:?}",
        report.missing
    );
}

#[test]
fn no_keeper_can_harm_the_agent() {
    let plain = |bytes: Vec<u8>| Some(Reply { bytes, descriptor: None });
    check("garbage", "magic", move |_| plain(vec![0xa5; 256]));
    check("too short", "5 bytes", move |_| plain(vec![1; 5]));
    check("too long", "too long", move |_| plain(vec![1; 4096]));
    check("hangs up", "hung up", |_| None);
    check("another answer", "something else", move |order| {
        let foreign = Addressed { sequence: order.sequence + 1, ..*order };
        plain(answer(&foreign, well(order)))
    });
    check("answers another order", "something else", move |order| {
        plain(answer(order, Outcome::Done(Answer::Fenced)))
    });
    check("another version", "speaks version 9", move |order| {
        let mut bytes = answer(order, well(order));
        bytes[4] = 9;
        plain(bytes)
    });
    check("a ring without a descriptor", "something else", move |order| plain(ring(order)));
    check("a ring that is a file", "something else", move |order| {
        let descriptor = Some(File::open("/dev/zero").unwrap().into());
        Some(Reply { bytes: ring(order), descriptor })
    });
    check("rings of other CPUs", "something else", move |order| {
        let other = Ring { cpu: CpuId(77), point: 0, number_at: None, name_at: None };
        match order.what {
            Order::Rings { .. } => plain(answer(order, Outcome::Done(Answer::Ring(other)))),
            _ => plain(answer(order, well(order))),
        }
    });
}

/// What was asked for, in words.
fn ring(order: &Addressed<Order>) -> Vec<u8> {
    match order.what {
        Order::Rings { cpu, point } => {
            let ring = Ring { cpu, point, number_at: Some(u16::MAX), name_at: Some(1) };
            answer(order, Outcome::Done(Answer::Ring(ring)))
        }
        _ => answer(order, well(order)),
    }
}

/// An agent beside a keeper that does this: it says why it has hung up, and measures on.
#[track_caller]
fn check(what: &str, problem: &str, answer: impl FnMut(&Addressed<Order>) -> Option<Reply> + Send + 'static) {
    let quell = Quell::new();
    let path = quell.folder().join("keeper.sock");
    let _keeper = Fake::start(&path, answer);
    let agent = Agent::of(&quell, &config(&path));
    let told = until(what, || agent.report().keeper.unwrap().problem);
    assert!(told.contains(problem), "{what}: {told}");
    let measured = || agent.report().channels[0].total_count.unwrap();
    let (before, open) = (measured(), process::descriptors(agent.pid()));
    until("it measures on", || (measured() > before + 50).then_some(()));
    assert!(process::descriptors(agent.pid()) <= open + 1, "{what}: descriptors are left open");
    agent.stop().succeeds();
}

#[test]
fn what_the_store_holds_that_is_no_event_is_given_up() {
    let quell = Quell::new();
    let nobody = quell.folder().join("nobody.sock");
    let file = |name: &str| (name.to_owned(), OwnedFd::from(File::open("/dev/zero").unwrap()));
    let stored = [file("ring-0-0-56-40"), file("ring-nonsense")];
    assert!(stored.iter().all(|(_, fd)| fd.as_raw_fd() > 2));
    let (started, copies) = handing_over(&quell, &stored);
    let mut agent = Agent::of(&started, &config(&nobody));
    copies.into_iter().for_each(|copy| nix::unistd::close(copy).unwrap());
    assert_eq!(agent.report().rings, []);
    agent.listen_all();
    assert_eq!(agent.forgotten(), ["ring-0-0-56-40", "ring-nonsense"]);
}
