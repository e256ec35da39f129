//! How the kernel's own threads are scheduled, and giving one another policy.
//!
//! Such a thread is known by its name, which holds its CPU (`ksoftirqd/1`, `rcuc/1`, `ktimers/1`) or its interrupt
//! (`irq/24-eth0-rx-0`); within a boot it keeps its number, and the number is checked with its start before and after it is
//! used. The kernel shows policy and priority in the same line of `stat` that sched_getscheduler(2) would answer from.
//! Sources: sched_setscheduler(2); proc_pid_stat(5); Documentation/admin-guide/kernel-per-CPU-kthreads.rst.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;

use crate::tasks::{self, Class, Pid, Stat};
use crate::threads::{Policy, schedule};
use crate::{Error, Root, affinity, if_present};

/// How a thread is scheduled, as far as it can be set for a kernel thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// One that can be asked for.
    Policy(Policy),
    /// Another, which is told and left alone.
    Else(Class, u32),
}

impl Schedule {
    fn of(stat: &Stat) -> Self {
        match (stat.class, u8::try_from(stat.rt_priority)) {
            (Class::Other, _) => Self::Policy(Policy::Other),
            (Class::Fifo, Ok(priority)) => Self::Policy(Policy::Fifo(priority)),
            (class, _) => Self::Else(class, stat.rt_priority),
        }
    }
}

/// `other`, `fifo:11`; of what cannot be asked for, the class and priority.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Else(class, priority) => write!(f, "{class}:{priority}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Policy)
    }
}

/// One of the kernel's threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelThread {
    /// Its name.
    pub name: String,
    /// Its number.
    pub tid: Pid,
    /// When it started: with the number, its identity within a boot.
    pub start_ticks: u64,
    /// How it is scheduled.
    pub schedule: Schedule,
}

/// The kernel's threads whose name `is_wanted`, by name. Reads one file a process of the machine.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn kernel_threads(root: &Root, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<KernelThread>, Error> {
    let mut threads = Vec::new();
    for tid in tasks::numbers(root, "/proc")? {
        let Some(stat) = if_present(tasks::stat(root, &affinity::dir(tid)))? else { continue };
        if stat.is_kernel && is_wanted(&stat.name) {
            let schedule = Schedule::of(&stat);
            threads.push(KernelThread { name: stat.name, tid, start_ticks: stat.start_ticks, schedule });
        }
    }
    threads.sort_by(|one, other| one.name.cmp(&other.name).then(one.tid.cmp(&other.tid)));
    Ok(threads)
}

/// How the thread `tid`, started at `start_ticks`, is scheduled.
///
/// # Errors
/// [`Error::Absent`] when it has ended, whoever has its number now; [`Error::Read`], [`Error::Format`].
pub fn schedule_of(root: &Root, tid: Pid, start_ticks: u64) -> Result<Schedule, Error> {
    let dir = affinity::dir(tid);
    let stat = tasks::stat(root, &dir)?;
    if stat.start_ticks == start_ticks {
        Ok(Schedule::of(&stat))
    } else {
        Err(Error::Absent { path: root.display(&dir) })
    }
}

/// Has the thread `tid`, started at `start_ticks`, scheduled by `policy`. Its nice value stays.
///
/// # Errors
/// [`Error::Absent`] when it has ended. [`Error::Write`]: EPERM without CAP_SYS_NICE.
pub fn set_schedule(root: &Root, tid: Pid, start_ticks: u64, policy: Policy) -> Result<(), Error> {
    let before = schedule_of(root, tid, start_ticks)?;
    let dir = affinity::dir(tid);
    // Numbers are below 2^22 (PID_MAX_LIMIT); anything else is nobody's.
    let raw = nix::unistd::Pid::from_raw(i32::try_from(tid.0).unwrap_or(-1));
    schedule(raw, policy).map_err(|errno| match errno {
        Errno::ESRCH => Error::Absent { path: dir.clone() },
        _ => Error::Write {
            path: format!("{dir}/stat"),
            value: format!("{policy} (was {before})"),
            cause: errno.into(),
        },
    })?;
    schedule_of(root, tid, start_ticks).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::{Role, allowed_cpus, spawn};

    /// Runs `body` with a thread of this process that waits until it is done.
    fn with_thread(body: impl FnOnce(Pid, u64)) {
        let (told, tid) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let role = Role { name: "scheduled".into(), cpus: allowed_cpus().unwrap(), policy: Policy::Other };
        let thread = spawn(role, move |_| {
            told.send(nix::unistd::gettid()).unwrap();
            let _ = wait.recv();
        });
        let tid = Pid(u32::try_from(tid.recv().unwrap().as_raw()).unwrap());
        let start = tasks::stat(&Root::system(), &affinity::dir(tid)).unwrap().start_ticks;
        body(tid, start);
        drop(done);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn a_thread_gets_another_policy_and_its_own_back() {
        let root = Root::system();
        with_thread(|tid, start| {
            if set_schedule(&root, tid, start, Policy::Fifo(2)).is_err_and(|error| error.is_permission()) {
                return; // without rights there is nothing to see
            }
            assert_eq!(schedule_of(&root, tid, start).unwrap().to_string(), "fifo:2");
            set_schedule(&root, tid, start, Policy::Other).unwrap();
            assert_eq!(schedule_of(&root, tid, start).unwrap().to_string(), "other");
        });
    }

    #[test]
    fn who_has_a_number_now_is_not_who_had_it() {
        let root = Root::system();
        with_thread(|tid, start| {
            assert!(set_schedule(&root, tid, start + 1, Policy::Other).unwrap_err().is_absent());
            assert!(schedule_of(&root, tid, start + 1).unwrap_err().is_absent());
        });
        assert!(set_schedule(&root, Pid(u32::MAX), 0, Policy::Other).unwrap_err().is_absent());
    }

    #[test]
    fn the_kernels_threads_are_found_by_name() {
        let root = Root::system();
        let found = kernel_threads(&root, |name| name.starts_with("ksoftirqd/")).unwrap();
        let own = kernel_threads(&root, |name| name == "scheduled").unwrap();
        assert!(own.is_empty(), "a program's thread is none of the kernel's, whatever it calls itself");
        assert!(found.iter().all(|thread| thread.name.starts_with("ksoftirqd/")));
        assert!(found.is_sorted_by_key(|thread| &thread.name));
    }

    #[test]
    fn what_cannot_be_asked_for_is_told() {
        let told = Schedule::Else(Class::RoundRobin, 5).to_string();
        assert_eq!(told, "rr:5");
        assert!(told.parse::<Schedule>().is_err());
        for text in ["other", "fifo:50"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
    }
}
