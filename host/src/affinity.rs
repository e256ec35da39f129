//! The CPUs that threads of the whole machine may use, and giving a thread others.
//!
//! A thread is named by its number *and* its start time: numbers are used again, and a mask must never be given to the
//! thread that came after. The kernel has no call for "this thread, if it is still that one", so the start is compared
//! before and after; a number would have to be used again within microseconds to be met. Looking over the machine asks
//! the kernel for each thread's mask (0.4 us) and reads files only of those that are of interest. Sources:
//! sched_setaffinity(2); proc_pid_stat(5); Documentation/filesystems/proc.rst, 1.1.

use std::io;

use nix::errno::Errno;
use nix::unistd;
use units::limits::TASKS_SEEN_MAX;
use units::{CpuId, CpuSet};

use crate::cgroups::{self, Membership};
use crate::tasks::{self, Pid, Stat};
use crate::{Error, Root, if_present};

/// A thread that may use CPUs it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// The process it belongs to.
    pub process: Pid,
    /// Who it is.
    pub stat: Stat,
    /// The CPUs it may use, its cpuset considered; CPUs that are off line may be among them.
    pub allowed: CpuSet,
    /// The control groups it is in; not read of the kernel's own threads.
    pub groups: Vec<Membership>,
}

/// What a look over the machine found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaching {
    /// The threads, ascending by process and number.
    pub runners: Vec<Runner>,
    /// Threads that were not looked at, beyond [`TASKS_SEEN_MAX`].
    pub unseen: usize,
}

/// Every thread that may use one of `cpus`, those of this process excepted.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`]. A thread that ends meanwhile is left out.
pub fn reaching(root: &Root, cpus: &CpuSet) -> Result<Reaching, Error> {
    let own = root.is_system().then(std::process::id);
    let (mut found, mut seen) = (Reaching::default(), 0);
    for process in tasks::numbers(root, "/proc")?.into_iter().filter(|pid| Some(pid.0) != own) {
        let dir = format!("/proc/{process}/task");
        for tid in if_present(tasks::numbers(root, &dir))?.unwrap_or_default() {
            seen += 1;
            if seen > TASKS_SEEN_MAX {
                found.unseen += 1;
            } else {
                found.runners.extend(runner(root, process, tid, cpus)?);
            }
        }
    }
    Ok(found)
}

fn runner(root: &Root, process: Pid, tid: Pid, cpus: &CpuSet) -> Result<Option<Runner>, Error> {
    let dir = format!("/proc/{process}/task/{tid}");
    let may_run = if_present(usable(root, &dir, tid))?;
    if may_run.is_none_or(|usable| usable.intersection(cpus).is_empty()) {
        return Ok(None);
    }
    let allowed = if_present(tasks::allowed(root, &dir))?;
    let Some((stat, allowed)) = if_present(tasks::stat(root, &dir))?.zip(allowed) else { return Ok(None) };
    let groups = if stat.is_kernel { None } else { if_present(cgroups::of_thread(root, &dir))? };
    Ok(Some(Runner { process, stat, allowed, groups: groups.unwrap_or_default() }))
}

/// The CPUs on line that a thread may use: the kernel's own answer, or the line of a captured status file.
fn usable(root: &Root, dir: &str, tid: Pid) -> Result<CpuSet, Error> {
    if !root.is_system() {
        return tasks::allowed(root, dir);
    }
    let answer = nix::sched::sched_getaffinity(raw(tid)).map_err(|errno| match errno {
        Errno::ESRCH => Error::Absent { path: dir.to_owned() },
        _ => Error::Read { path: format!("{dir}/status"), cause: errno.into() },
    });
    answer.map(|set| from_kernel(&set))
}

fn from_kernel(set: &nix::sched::CpuSet) -> CpuSet {
    let known = u16::try_from(nix::sched::CpuSet::count()).unwrap_or(u16::MAX);
    (0..known).filter(|cpu| set.is_set(usize::from(*cpu)).unwrap_or(false)).map(CpuId).collect()
}

fn raw(tid: Pid) -> unistd::Pid {
    // Numbers are below 2^22 (PID_MAX_LIMIT); anything else is nobody's.
    unistd::Pid::from_raw(i32::try_from(tid.0).unwrap_or(-1))
}

/// Where the kernel shows the thread `tid`. Any thread's number leads there, not only its process's.
#[must_use]
pub fn dir(tid: Pid) -> String {
    format!("/proc/{tid}/task/{tid}")
}

/// The CPUs that the thread `tid`, started at `start_ticks`, may use; CPUs that are off line may be among them.
///
/// # Errors
/// [`Error::Absent`] when it has ended, whoever has its number now; [`Error::Read`], [`Error::Format`].
pub fn allowed(root: &Root, tid: Pid, start_ticks: u64) -> Result<CpuSet, Error> {
    let dir = dir(tid);
    is_still(root, &dir, start_ticks)?;
    tasks::allowed(root, &dir)
}

/// Lets the thread `tid`, started at `start_ticks`, use `cpus` and no others.
///
/// # Errors
/// [`Error::Absent`] when it has ended. [`Error::Write`]: EINVAL when its cpuset leaves it none of `cpus`, or it is a
/// kernel thread tied to its CPU; EPERM without CAP_SYS_NICE; EBUSY for a deadline thread.
pub fn set_allowed(root: &Root, tid: Pid, start_ticks: u64, cpus: &CpuSet) -> Result<(), Error> {
    let dir = dir(tid);
    is_still(root, &dir, start_ticks)?;
    let refused = |cause: io::Error| Error::Write {
        path: format!("{dir}/status"),
        value: format!("Cpus_allowed_list {cpus}"),
        cause,
    };
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus.iter() {
        set.set(cpu.index()).map_err(|errno| refused(errno.into()))?;
    }
    nix::sched::sched_setaffinity(raw(tid), &set).map_err(|errno| match errno {
        Errno::ESRCH => Error::Absent { path: dir.clone() },
        _ => refused(errno.into()),
    })?;
    is_still(root, &dir, start_ticks)
}

fn is_still(root: &Root, dir: &str, start_ticks: u64) -> Result<(), Error> {
    let stat = tasks::stat(root, dir)?;
    if stat.start_ticks == start_ticks { Ok(()) } else { Err(Error::Absent { path: root.display(dir) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::{Policy, Role, allowed_cpus, spawn};

    /// Runs `body` with a thread of this process that waits until it is done.
    fn with_thread(body: impl FnOnce(Pid, u64)) {
        let (told, tid) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let role = Role { name: "moved".into(), cpus: allowed_cpus().unwrap(), policy: Policy::Other };
        let thread = spawn(role, move |_| {
            told.send(unistd::gettid()).unwrap();
            let _ = wait.recv();
        });
        let tid = Pid(u32::try_from(tid.recv().unwrap().as_raw()).unwrap());
        let start = tasks::stat(&Root::system(), &dir(tid)).unwrap().start_ticks;
        body(tid, start);
        drop(done);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn a_thread_is_moved_and_moved_back() {
        let (root, whole) = (Root::system(), allowed_cpus().unwrap());
        let one = CpuSet::from(whole.first().unwrap());
        with_thread(|tid, start| {
            set_allowed(&root, tid, start, &one).unwrap();
            assert_eq!(allowed(&root, tid, start).unwrap(), one);
            set_allowed(&root, tid, start, &whole).unwrap();
            assert_eq!(allowed(&root, tid, start).unwrap(), whole);
        });
    }

    #[test]
    fn who_has_a_number_now_is_not_who_had_it() {
        let (root, whole) = (Root::system(), allowed_cpus().unwrap());
        with_thread(|tid, start| {
            assert!(set_allowed(&root, tid, start + 1, &whole).unwrap_err().is_absent());
            assert!(allowed(&root, tid, start + 1).unwrap_err().is_absent());
        });
        assert!(allowed(&root, Pid(u32::MAX), 0).unwrap_err().is_absent());
    }

    #[test]
    fn no_cpu_at_all_is_refused_by_the_kernel() {
        with_thread(|tid, start| {
            let refused = set_allowed(&Root::system(), tid, start, &CpuSet::empty()).unwrap_err();
            assert_eq!(refused.errno(), Some(libc::EINVAL), "{refused}");
        });
    }

    #[test]
    fn a_look_over_the_machine_finds_others_and_not_itself() {
        let found = reaching(&Root::system(), &allowed_cpus().unwrap()).unwrap();
        assert!(found.runners.iter().all(|runner| runner.process.0 != std::process::id()));
        assert!(found.runners.iter().any(|runner| !runner.stat.is_kernel && !runner.groups.is_empty()));
        assert_eq!(found.unseen, 0);
        let none = reaching(&Root::system(), &CpuSet::empty()).unwrap();
        assert!(none.runners.is_empty());
    }
}
