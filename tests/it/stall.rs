//! A stall of known length, made on purpose, is found where it was made and put down to what made it.

use std::time::Duration;

use host::threads::{self, Policy, Role, monotonic_now};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use report::{Report, StallReport, WallTime, wall_time_now};
use units::{CpuId, CpuSet, Nanos};

use crate::harness::{Quell, process, require_root, until};
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
    // Some wake-up is always due soon. Who spins sees what happens while it has the CPU: not what begins while it waits
    // for it at the end of a cycle of 100 ms, as it may on a loaded machine.
    check("timer-wakeup", TIMES);
    check("spin-gap", 1);
}

/// How often the CPU is taken.
const TIMES: usize = 4;

#[track_caller]
fn check(probe: &str, found_min: usize) {
    let cpu = CpuId(0);
    let quell = Quell::new().args(["up", "--json", "--cpus", "0", "--probe", probe]);
    let measuring = under_way(&quell);
    let taken: Vec<WallTime> = (0..TIMES).map(|_| take(cpu, measuring.pid())).collect();
    measuring.signal(Signal::SIGINT);
    let output = measuring.wait().succeeds();
    let report = Report::from_json(&output.stdout).unwrap();
    let covers = |stall: &StallReport, began: WallTime| {
        stall.at <= began.after(Nanos::from_millis(2)) && stall.at.after(stall.duration) >= began.after(FOUND)
    };
    let found = taken.iter().filter_map(|began| report.stalls.iter().find(|stall| covers(stall, *began)));
    let found: Vec<&StallReport> = found.collect();
    assert!(found.len() >= found_min, "{probe}: {taken:?}, found {found:#?} of {:#?}", report.stalls);
    for stall in found {
        assert_eq!((stall.cpu, stall.channel.as_deref()), (cpu, Some(probe)), "{stall:?}");
        assert!(stall.duration >= FOUND, "{stall:?}");
        assert_eq!(stall.cause.kind, "task", "{stall:?}");
        assert!(stall.waited_on_runqueue.is_some_and(|waited| waited.0 * 2 >= stall.duration.0), "{stall:?}");
        assert!(stall.cause.evidence.as_ref().is_some_and(|text| text.contains("schedstat")), "{stall:?}");
    }
}

/// Keeps `cpu` busy at a real-time priority once the probe of `quell` there has done some more work; when that began.
fn take(cpu: CpuId, quell: Pid) -> WallTime {
    let probe = || process::thread_named(quell, "probe-cpu0").unwrap();
    let before = probe();
    until("the probe goes on", || {
        let now = probe();
        (now.switches > before.switches + 20 || now.ran > before.ran + Duration::from_millis(20))
            .then_some(())
    });
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
