//! Kernel events of a CPU, from this machine's own tracepoints: what is made on purpose is seen, and counted right.

use std::sync::Arc;
use std::thread::JoinHandle;

use host::Root;
use host::perf::{self, Catalogue, Event, Label, Point, Ring};
use host::threads::{self, Policy, Role, monotonic_now, sleep_until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use units::{CpuId, Nanos};

use crate::harness::{require_cpus, require_root, until};

/// Events taken at once; more than any test here makes between two looks.
const LOOK: usize = 100_000;

/// The tracepoints of this kernel, from a tracefs that only one thread sees, wherever this machine has its own.
fn catalogue() -> Catalogue {
    let reading = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), nothing).unwrap();
        Catalogue::read(&Root::system()).unwrap()
    });
    reading.join().unwrap()
}

/// The ring of `cpu`, with every tracepoint there is.
fn ring(cpu: CpuId) -> Ring {
    let found = catalogue().found;
    let handles: Vec<_> = found.iter().map(|found| perf::open(found, cpu).unwrap()).collect();
    Ring::map(cpu, Arc::from(handles)).unwrap()
}

/// What is in the ring.
fn events(ring: &mut Ring) -> Vec<Event> {
    let mut events = Vec::new();
    let drained = ring.drain(LOOK, |event| events.push(event));
    assert_eq!((drained.lost, drained.unknown, drained.more), (0, 0, false), "{drained:?}");
    events
}

/// What comes into the ring until `thread` ends, and what that gives; looked at often enough that nothing is lost on a
/// machine that does other things, too.
fn during<T>(ring: &mut Ring, thread: JoinHandle<T>) -> (Vec<Event>, T) {
    let mut seen = Vec::new();
    until("the thread has ended", || {
        let ended = thread.is_finished();
        seen.extend(events(ring));
        ended.then_some(())
    });
    (seen, thread.join().unwrap())
}

/// How often the CPU was given to the thread of this name.
fn switches_to(name: &str, seen: &[Event]) -> u64 {
    seen.iter().filter(|event| event.point == Point::Switch && event.name == Label::new(name)).count() as u64
}

/// A thread of this name on `cpu` that sleeps `times` times; how often the kernel says that it gave up its CPU.
fn sleeper(name: &str, cpu: CpuId, times: u32) -> JoinHandle<u64> {
    let role = Role { name: name.to_owned(), cpus: cpu.into(), policy: Policy::Fifo(10) };
    let body = move |_| {
        for _ in 0..times {
            sleep_until(monotonic_now() + Nanos::from_micros(200));
        }
        let tasks = host::tasks::own(&Root::system()).unwrap();
        let own = nix::unistd::gettid().as_raw().unsigned_abs();
        tasks.into_iter().find(|task| task.stat.tid.0 == own).unwrap().voluntary_switches
    };
    threads::spawn(role, body).unwrap()
}

#[test]
fn this_kernel_has_the_tracepoints() {
    if !require_root() {
        return;
    }
    let catalogue = catalogue();
    assert_eq!(catalogue.absent, [""; 0]);
    assert_eq!(catalogue.found.iter().map(|found| found.point).collect::<Vec<_>>(), Point::ALL);
}

#[test]
fn every_switch_of_a_thread_that_sleeps_is_seen_once() {
    if !require_root() {
        return;
    }
    let cpu = threads::allowed_cpus().unwrap().first().unwrap();
    let mut ring = ring(cpu);
    let (seen, switched) = during(&mut ring, sleeper("counted", cpu, 200));
    let to_it = switches_to("counted", &seen);
    // Once to begin with, and once after each time that it gave up its CPU; under its thread's first name there may be one
    // more, and taking it off its CPU takes a higher priority.
    println!("{switched} switches counted by the thread, {to_it} seen");

    assert!(switched > 0 && to_it.abs_diff(switched) <= 3, "{switched} by its own account, {to_it} seen");
    // Negative control: nothing is read twice, and who does not run is not seen.
    let later = events(&mut ring);
    assert_eq!(switches_to("counted", &later), 0, "{later:?}");
}

#[test]
fn what_happens_on_another_cpu_is_not_in_the_ring() {
    let cpus = threads::allowed_cpus().unwrap();
    if !(require_root() && require_cpus(2, &cpus)) {
        return;
    }
    let [here, there] = [cpus.iter().next().unwrap(), cpus.iter().nth(1).unwrap()];
    let mut ring = ring(here);
    let (seen, _) = during(&mut ring, sleeper("elsewhere", there, 100));
    assert_eq!(switches_to("elsewhere", &seen), 0, "of {}", seen.len());
}

#[test]
fn stamps_are_on_the_clock_that_is_read_beside_them() {
    if !require_root() {
        return;
    }
    let cpu = threads::allowed_cpus().unwrap().first().unwrap();
    let raw = || Nanos(clock::Clock::monotonic().now().0);
    let (mut ring, from) = (ring(cpu), raw());
    let (seen, _) = during(&mut ring, sleeper("stamped", cpu, 20));
    let to = raw();
    let order = seen.windows(2).all(|pair| pair[0].at <= pair[1].at);
    let ours: Vec<Nanos> =
        seen.iter().filter(|event| event.name == Label::new("stamped")).map(|event| event.at).collect();
    assert!(ours.len() >= 20 && ours.iter().all(|at| (from..=to).contains(at)), "{from:?} {to:?} {ours:?}");
    assert!(order, "out of order");
}

#[test]
fn a_cpu_that_is_called_by_another_sees_the_calls() {
    let cpus = threads::allowed_cpus().unwrap();
    if !(require_root() && require_cpus(2, &cpus)) {
        return;
    }
    let [here, there] = [cpus.iter().next().unwrap(), cpus.iter().nth(1).unwrap()];
    let mut ring = ring(here);
    let calls = |seen: &[Event]| {
        let is_call = |event: &&Event| matches!(event.point, Point::CallEntry | Point::CallSingleEntry);
        seen.iter().filter(is_call).count()
    };
    // Opening an event on a CPU calls that CPU: the cost that opening is documented to have is the injection.
    let found = catalogue().found;
    let role = Role { name: "caller".to_owned(), cpus: there.into(), policy: Policy::Other };
    let opened = threads::spawn(role, move |_| {
        let times = 50;
        (0..times).for_each(|_| drop(perf::open(&found[0], here).unwrap()));
        times
    });
    let (seen, opened) = during(&mut ring, opened.unwrap());
    let after = calls(&seen);
    println!("{after} calls while {opened} events were opened and closed from CPU {there}");
    assert!(after >= opened, "{after} calls for {opened} events");
}

#[test]
fn a_ring_that_overflows_counts_what_it_lost() {
    if !require_root() {
        return;
    }
    let cpu = threads::allowed_cpus().unwrap().first().unwrap();
    let mut ring = ring(cpu);
    sleeper("too-much", cpu, 4_000).join().unwrap(); // some 70 bytes each, four or more events each time
    let mut kept = 0;
    let first = ring.drain(LOOK, |_| kept += 1);
    assert_eq!(first.events, kept);
    // The count comes with the next record that finds room.
    let lost = first.lost
        + until("the kernel tells", || {
            let drained = ring.drain(LOOK, |_| ());
            (drained.lost > 0 || first.lost > 0).then_some(drained.lost)
        });
    println!("{kept} events kept, {lost} lost");
    assert!(lost > 0 && kept > 1_000, "{kept} kept, {lost} lost");
}

#[test]
fn events_outlive_the_one_who_opened_them_and_whoever_reads() {
    if !require_root() {
        return;
    }
    let cpu = threads::allowed_cpus().unwrap().first().unwrap();
    let first = ring(cpu);
    let kept: Vec<perf::Handle> = first
        .handles()
        .iter()
        .map(|handle| perf::Handle {
            point: handle.point,
            layout: handle.layout,
            fd: handle.fd.try_clone().unwrap(), // as the service manager's store has it
        })
        .collect();
    drop(first);
    let mut second = Ring::map(cpu, Arc::from(kept)).unwrap();
    let (seen, _) = during(&mut second, sleeper("handed-over", cpu, 10));
    assert!(switches_to("handed-over", &seen) >= 10, "of {}", seen.len());
    assert!(
        seen.iter().any(|event| event.point != Point::Switch),
        "the others write into the same ring again"
    );
}

#[test]
fn what_is_no_event_is_refused() {
    let cpu = CpuId(0);
    let file = tempfile::tempfile().unwrap();
    let handle = perf::Handle { point: Point::Switch, layout: perf::Layout::default(), fd: file.into() };
    let refused = Ring::map(cpu, Arc::from([handle])).unwrap_err();
    assert_eq!(refused.to_string(), "a descriptor that is no perf event");
    assert!(Ring::map(cpu, Arc::from([])).is_err());
}
