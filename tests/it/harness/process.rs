//! A process as the kernel shows it: the word against which its own is held.

use std::fs;
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub tid: Pid,
    /// Its name.
    pub name: String,
    /// The CPUs it may run on, as a list.
    pub cpus: String,
    /// Times it was switched from, of its own will or not.
    pub switches: u64,
    /// Time on a CPU.
    pub ran: Duration,
}

/// The threads of `pid`, in the order of their numbers; none when it has gone.
pub fn threads(pid: Pid) -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let tids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let mut threads: Vec<Thread> = tids.filter_map(|tid| thread(pid, tid)).collect();
    threads.sort_by_key(|thread| thread.tid);
    threads
}

/// The thread called `name`, if there is one.
pub fn thread_named(pid: Pid, name: &str) -> Option<Thread> {
    threads(pid).into_iter().find(|thread| thread.name == name)
}

/// `None` when it ended while it was read.
fn thread(pid: Pid, tid: i32) -> Option<Thread> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let switches = ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
        .map(|key| field(&status, key).and_then(|count| count.parse::<u64>().ok()));
    Some(Thread {
        tid: Pid::from_raw(tid),
        name: field(&status, "Name")?,
        cpus: field(&status, "Cpus_allowed_list")?,
        switches: switches[0]? + switches[1]?,
        ran: ran(tid)?,
    })
}

/// Format: "1234567 8910 11", the first of which is nanoseconds on a CPU   (Documentation/scheduler/sched-stats.rst)
fn ran(tid: i32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{tid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// A field of the process's status file, as in `VmRSS`.
#[track_caller]
pub fn status_of(pid: Pid, key: &str) -> String {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    field(&status, key).unwrap_or_else(|| panic!("{path}: no {key}"))
}

/// One that is an amount of memory, in KiB. Format: "VmLck:\t    1234 kB".
#[track_caller]
pub fn kib_of(pid: Pid, key: &str) -> u64 {
    let text = status_of(pid, key);
    text.strip_suffix(" kB").and_then(|kib| kib.parse().ok()).unwrap_or_else(|| panic!("{key}: {text:?}"))
}

/// Format: "Name:\tquell\nUmask:\t0022\n…"   (Documentation/filesystems/proc.rst, 1.1)
fn field(status: &str, key: &str) -> Option<String> {
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// How many descriptors are open.
#[track_caller]
pub fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// One thread of another process stopped while the others run, as a debugger does it; it runs again when this is
/// dropped, by the thread that made it.
pub struct Frozen(Pid);

impl Frozen {
    /// Stops `tid`.
    #[track_caller]
    pub fn stop(tid: Pid) -> Self {
        ptrace::seize(tid, Options::empty()).unwrap_or_else(|error| panic!("cannot trace {tid}: {error}"));
        let frozen = Self(tid);
        ptrace::interrupt(tid).unwrap();
        waitpid(tid, Some(WaitPidFlag::__WALL)).unwrap();
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None); // fails only for one that has ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let pid = Pid::this();
        let own = threads(pid);
        assert!(own.iter().any(|thread| thread.tid == pid && !thread.cpus.is_empty()), "{own:?}");
        assert_eq!(status_of(pid, "Pid"), pid.to_string());
        assert!(descriptors(pid) >= 3);
        assert_eq!(threads(Pid::from_raw(i32::MAX)), [], "one that is not there has no threads");
    }
}
