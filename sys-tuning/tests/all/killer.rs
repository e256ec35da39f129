//! Kills a process at its n-th system call, counting entries and exits over all its threads.
//!
//! A process killed at an entry has not made the call, one killed at the exit has, so the two together are every point at
//! which a process can die as far as anybody outside can tell. Tracing by ptrace(2): PTRACE_SEIZE, stops at system calls,
//! threads followed from their birth.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How a traced process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// At the wanted point.
    Killed,
    /// By itself, with this code, after this many points.
    Exited(i32, u64),
}

/// Runs a process and kills it at point `point`, counted from one; zero only counts.
pub fn run(command: &mut Command, point: u64) -> Fate {
    let mut child = command.spawn().unwrap();
    let tid = announced_thread(&mut child);
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::seize(tid, options).unwrap();
    ptrace::interrupt(tid).unwrap();
    assert!(matches!(next_stop(), WaitStatus::PtraceEvent(stopped, ..) if stopped == tid));
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    resume(tid, None);
    trace(process, point)
}

/// Waits until the process stands at its start line, and learns which of its threads to trace.
fn announced_thread(child: &mut Child) -> Pid {
    let output = BufReader::new(child.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("tid ")).unwrap();
    Pid::from_raw(line["tid ".len()..].parse().unwrap())
}

fn trace(process: Pid, point: u64) -> Fate {
    let mut points = 0;
    loop {
        match next_stop() {
            WaitStatus::PtraceSyscall(tid) => {
                points += 1;
                if points == point {
                    return put_to_death(process);
                }
                resume(tid, None);
            }
            WaitStatus::PtraceEvent(tid, ..) => resume(tid, None),
            WaitStatus::Stopped(tid, signal) => resume(tid, Some(signal)),
            WaitStatus::Exited(pid, code) if pid == process => return Fate::Exited(code, points),
            WaitStatus::Signaled(pid, signal, _) if pid == process => panic!("died of {signal}"),
            _ => {} // a thread of it ended
        }
    }
}

fn put_to_death(process: Pid) -> Fate {
    kill(process, Signal::SIGKILL).unwrap();
    loop {
        if let WaitStatus::Signaled(pid, Signal::SIGKILL, _) = next_stop()
            && pid == process
        {
            return Fate::Killed;
        }
    }
}

/// The next event of a child of this thread: tests run side by side, each with its own.
fn next_stop() -> WaitStatus {
    waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap()
}

/// A thread that is dying already needs no resuming.
fn resume(tid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(tid, signal);
}
