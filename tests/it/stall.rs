//! A stall of known length, made on purpose, is found where it was made and put down to what made it.

use host::threads::{self, Policy, Role, monotonic_now};
use nix::sys::signal::Signal;
use report::{Report, WallTime, wall_time_now};
use units::{CpuId, CpuSet, Nanos};

use crate::harness::{Quell, require_root};
use crate::up::under_way;

/// How long the CPU is taken from everybody else.
const TAKEN: Nanos = Nanos::from_millis(21);

/// What must be found of it: the timer probe notices up to one interval of 1 ms late.
const FOUND: Nanos = Nanos::from_millis(20);

#[test]
fn a_taken_cpu_is_found() {
    if !require_root() {
        return;
    }
    check("timer-wakeup");
    check("spin-gap");
}

#[track_caller]
fn check(probe: &str) {
    let cpu = CpuId(0);
    let quell = Quell::new().args(["up", "--json", "--cpus", "0", "--probe", probe]);
    let measuring = under_way(&quell);
    let began = take(cpu);
    measuring.signal(Signal::SIGINT);
    let output = measuring.wait().succeeds();
    let report = Report::from_json(&output.stdout).unwrap();
    let covers = |at: WallTime, duration: Nanos| {
        at <= began.after(Nanos::from_millis(2)) && at.after(duration) >= began.after(FOUND)
    };
    let found = report.stalls.iter().find(|stall| covers(stall.at, stall.duration));
    let found = found.unwrap_or_else(|| panic!("{probe}: none of {:#?} covers {began}", report.stalls));
    assert_eq!((found.cpu, found.channel.as_deref()), (cpu, Some(probe)), "{found:?}");
    assert!(found.duration >= FOUND, "{found:?}");
    assert_eq!(found.cause.kind, "task", "{found:?}");
    assert!(found.waited_on_runqueue.is_some_and(|waited| waited.0 * 2 >= found.duration.0), "{found:?}");
    assert!(found.cause.evidence.as_ref().is_some_and(|text| text.contains("schedstat")), "{found:?}");
}

/// Keeps `cpu` busy at a real-time priority; when that began.
fn take(cpu: CpuId) -> WallTime {
    let role = Role { name: "taker".to_owned(), cpus: CpuSet::from_iter([cpu]), policy: Policy::Fifo(50) };
    let taker = threads::spawn(role, |placement| {
        assert_eq!((placement.cpus_refused, placement.policy_refused), (None, None));
        let (began, end) = (wall_time_now(), monotonic_now() + TAKEN);
        while monotonic_now() < end {
            std::hint::spin_loop();
        }
        began
    });
    taker.unwrap().join().unwrap()
}
