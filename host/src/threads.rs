//! Threads with a role: the only way quell starts one.
//!
//! A role says what the thread is for, where it runs and how it is scheduled; the kernel may refuse parts of that (an
//! enclosing cpuset, no right to real-time priority), and what was refused is handed to the thread's body and to
//! whoever reports on it, never swallowed. Memory locking and the pacing sleep stand here too, because they belong to
//! the same start-up list.

use std::fmt;
use std::io;
use std::ops::Range;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Pid;
use units::{CpuId, CpuSet, Nanos};

/// How the kernel is asked to schedule a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The fair scheduler (SCHED_OTHER).
    Other,
    /// Real time, first in first out, at this priority (1 to 99).
    Fifo(u8),
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.pad("other"),
            Self::Fifo(priority) => f.pad(&format!("fifo:{priority}")),
        }
    }
}

/// `other`, or `fifo:PRIORITY` with 1 to 99.
impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let priority = text.strip_prefix("fifo:").and_then(|digits| digits.parse().ok());
        match (text, priority) {
            ("other", _) => Ok(Self::Other),
            (_, Some(priority @ 1..=99)) => Ok(Self::Fifo(priority)),
            _ => Err(format!("{text:?} is no scheduling policy; use other, or fifo:1 to fifo:99")),
        }
    }
}

/// What a thread is for, where it runs, and how.
#[derive(Debug, Clone)]
pub struct Role {
    /// Shown by `top -H` and in the report; the kernel keeps the first 15 bytes.
    pub name: String,
    /// Where it may run.
    pub cpus: CpuSet,
    /// How it is scheduled.
    pub policy: Policy,
}

/// What became of a role's wishes; `None` is granted, a text is the refusal with its reason.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Why the thread is not on the CPUs of its role.
    pub cpus_refused: Option<String>,
    /// Why the thread does not have the policy of its role.
    pub policy_refused: Option<String>,
}

/// Stack of a quell thread. The deepest path (HTTP answer, serde) stays below 64 KiB; memory is locked on fault, so the
/// rest costs address space only.
const STACK_BYTES: usize = 256 << 10;

/// Slack the kernel may add to this thread's timers. The default of 50 us would be the measurement (91 us instead of 23
/// us median lateness of a 1 ms sleep, 2-vCPU VM).
const TIMER_SLACK_NS: u64 = 1;

/// Starts a thread in its role; `body` runs after the role was taken on, and learns what was refused of it.
///
/// # Errors
/// The kernel's refusal to create a thread (EAGAIN at a process or memory limit).
pub fn spawn<T: Send + 'static>(
    role: Role,
    body: impl FnOnce(Placement) -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let builder = std::thread::Builder::new().name(role.name.clone()).stack_size(STACK_BYTES);
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    builder.spawn(move || body(assume(&role)))
}

/// Takes the calling thread into `role`, as far as the kernel allows.
pub fn assume(role: &Role) -> Placement {
    // The slack of a thread that runs under the fair scheduler; a thread that may not change it still runs.
    let _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS);
    Placement {
        cpus_refused: pin(&role.cpus).err().map(|cause| {
            format!("cannot run on CPU {}: {cause} (an enclosing cpuset? see /proc/self/status Cpus_allowed_list)", role.cpus)
        }),
        policy_refused: set_policy(role.policy).err().map(|cause| {
            format!("cannot run as {}: {cause} (needs LimitRTPRIO= in the unit, or CAP_SYS_NICE)", role.policy)
        }),
    }
}

/// Binds the calling thread to `cpus`.
///
/// # Errors
/// EINVAL when none of them is on line and inside the enclosing cpuset.
pub fn pin(cpus: &CpuSet) -> io::Result<()> {
    if let (1, Some(cpu)) = (cpus.count(), cpus.first())
        && cpu.index() < nix::sched::CpuSet::count()
    {
        // One CPU, the common case. The crate answers yes or no; the reason is the system's last error. It indexes a
        // fixed set of 1024 CPUs without a check, hence the guard; beyond, the call below refuses in order.
        let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu.index() });
        return if pinned { Ok(()) } else { Err(io::Error::last_os_error()) };
    }
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus.iter() {
        set.set(cpu.index()).map_err(io::Error::from)?;
    }
    nix::sched::sched_setaffinity(Pid::from_raw(0), &set).map_err(io::Error::from)
}

/// The CPUs the calling thread may run on now, as the kernel tells (cpusets included).
///
/// # Errors
/// The kernel's refusal; none is documented for the calling thread.
pub fn allowed_cpus() -> io::Result<CpuSet> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).map_err(io::Error::from)?;
    let known = u16::try_from(nix::sched::CpuSet::count()).unwrap_or(u16::MAX);
    Ok((0..known).filter(|cpu| set.is_set(usize::from(*cpu)).unwrap_or(false)).map(CpuId).collect())
}

/// The CPUs the calling thread could run on if it asked: those its cpuset leaves it, also where its own mask is narrower.
/// What systemd starts has a mask without the isolated CPUs (its own, from the kernel, has none of them), and
/// may leave it. The thread's mask is as before afterwards.
///
/// # Errors
/// The kernel's refusal; none is documented for the calling thread.
pub fn reachable_cpus() -> io::Result<CpuSet> {
    let own = Pid::from_raw(0);
    let before = nix::sched::sched_getaffinity(own).map_err(io::Error::from)?;
    let mut every = nix::sched::CpuSet::new();
    for cpu in 0..nix::sched::CpuSet::count() {
        every.set(cpu).map_err(io::Error::from)?;
    }
    nix::sched::sched_setaffinity(own, &every).map_err(io::Error::from)?;
    let reachable = allowed_cpus();
    nix::sched::sched_setaffinity(own, &before).map_err(io::Error::from)?;
    reachable
}

fn set_policy(policy: Policy) -> io::Result<()> {
    schedule(Pid::from_raw(0), policy).map_err(io::Error::from)
}

/// Has the thread `thread` scheduled by `policy`; 0 is the calling one.
pub(crate) fn schedule(thread: Pid, policy: Policy) -> nix::Result<()> {
    let (number, priority) = match policy {
        Policy::Other => (libc::SCHED_OTHER, 0), // said, not assumed: a thread starts with its creator's policy
        Policy::Fifo(priority) => (libc::SCHED_FIFO, i32::from(priority)),
    };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameters` is a live, initialised sched_param that the kernel only reads; a number that is no thread's is
    // refused.
    #[expect(unsafe_code, reason = "nix 0.31 does not wrap sched_setscheduler")]
    let result = unsafe { libc::sched_setscheduler(thread.as_raw(), number, &raw const parameters) };
    Errno::result(result).map(drop)
}

/// Locks the process's memory as it is touched, so that no page fault of ours comes at a bad moment: what is mapped now,
/// and future mappings too where no limit stands in their way. Under a finite RLIMIT_MEMLOCK a locked future would turn
/// some later, ordinary allocation into a failure, and a failed allocation into an abort.
///
/// Called once, after the threads are spawned: locking on fault keeps untouched stack out of memory.
///
/// # Errors
/// ENOMEM when RLIMIT_MEMLOCK is smaller than the address space, EPERM when it is zero; both mean CAP_IPC_LOCK or
/// `LimitMEMLOCK=` is wanted.
pub fn lock_memory() -> io::Result<()> {
    // nix 0.31 does not name MCL_ONFAULT (Linux 4.4), so its bit is kept as libc has it.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let future = if memory_is_unlimited() { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    mlockall(MlockAllFlags::MCL_CURRENT | future | on_fault).map_err(io::Error::from)
}

/// Reads the process's program in, with the libraries it uses, and keeps it: for who sleeps for days and then has to act at
/// once. The code alone, since the tables for panics beside it are as large.
///
/// # Errors
/// As [`lock_memory`]; what cannot be read of `/proc/self/maps`.
pub fn lock_program() -> io::Result<()> {
    for code in code(&std::fs::read_to_string("/proc/self/maps")?) {
        // SAFETY: the kernel looks the addresses up and touches no byte of them; a range that is gone is refused (ENOMEM).
        #[expect(unsafe_code, reason = "nix has mlock for pointers, and these are the kernel's numbers")]
        let result = unsafe { libc::mlock(std::ptr::without_provenance(code.start), code.len()) };
        Errno::result(result)?;
    }
    Ok(())
}

/// Where the code of a process is. Format: "55e8c8c19000-55e8c8d0a000 r-xp 000a4000 fe:00 1234      /usr/libexec/quell/…"
/// (Documentation/filesystems/proc.rst, 1.1); what has no file is the kernel's own.
fn code(maps: &str) -> Vec<Range<usize>> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_code = words.next()? == "r-xp" && words.nth(3)?.starts_with('/');
        let address = |text| usize::from_str_radix(text, 16).ok();
        is_code.then_some(address(start)?..address(end)?)
    };
    maps.lines().filter_map(range).collect()
}

/// Whether this process may lock as much as it likes: by its limit, or as root, whom the limit does not bind.
fn memory_is_unlimited() -> bool {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK);
    nix::unistd::geteuid().is_root() || limit.is_ok_and(|(soft, _)| soft == RLIM_INFINITY)
}

/// CLOCK_MONOTONIC now: the time that [`sleep_until`] sleeps by.
#[must_use]
pub fn monotonic_now() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    Nanos::from_secs(seconds) + Nanos(u64::try_from(now.tv_nsec()).unwrap_or(0))
}

/// CLOCK_BOOTTIME now: monotonic, counts time asleep, and starts at 0 with each boot, so that a deadline can be told to
/// another process of the same boot.
#[must_use]
pub fn boottime_now() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    Nanos::from_secs(seconds) + Nanos(u64::try_from(now.tv_nsec()).unwrap_or(0))
}

/// The CPU time this thread has used.
#[must_use]
pub fn cpu_time() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    Nanos::from_secs(seconds) + Nanos(u64::try_from(now.tv_nsec()).unwrap_or(0))
}

/// Sleeps until CLOCK_MONOTONIC reads `deadline`; a deadline in the past returns at once. Signals do not shorten it.
pub fn sleep_until(deadline: Nanos) {
    let target = TimeSpec::from_duration(deadline.into());
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &target)
        == Err(Errno::EINTR)
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_executed_from_files() {
        let maps = "55e8c8c00000-55e8c8c19000 r--p 00000000 fe:00 12   /usr/libexec/quell/quell-keeper\n\
                    55e8c8c19000-55e8c8d0a000 r-xp 00019000 fe:00 12   /usr/libexec/quell/quell-keeper\n\
                    7f6c2d000000-7f6c2d021000 rw-p 00000000 00:00 0 \n\
                    7f6c33a28000-7f6c33bbd000 r-xp 00028000 fe:00 34   /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7ffd2a5c5000-7ffd2a5c7000 r-xp 00000000 00:00 0    [vdso]\n\
                    ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n";
        let expected = [0x55e8_c8c1_9000..0x55e8_c8d0_a000, 0x7f6c_33a2_8000..0x7f6c_33bb_d000];
        assert_eq!(code(maps), expected);
        assert_eq!(code("no map\n"), []);
    }

    #[test]
    fn a_role_is_taken_on_and_refusals_are_told() {
        let cpu = allowed_cpus().unwrap().first().unwrap();
        let role = Role { name: "one".into(), cpus: cpu.into(), policy: Policy::Other };
        let (placement, allowed) =
            spawn(role, |placement| (placement, allowed_cpus().unwrap())).unwrap().join().unwrap();
        assert!(placement.cpus_refused.is_none() && placement.policy_refused.is_none());
        assert_eq!(allowed, cpu.into());

        let nowhere = Role { name: "none".into(), cpus: CpuId(8191).into(), policy: Policy::Other };
        let placement = spawn(nowhere, |placement| placement).unwrap().join().unwrap();
        let refusal = placement.cpus_refused.unwrap();
        assert!(refusal.contains("cannot run on CPU 8191"), "{refusal}");
    }

    #[test]
    fn a_policy_is_not_inherited() {
        let cpus = allowed_cpus().unwrap();
        let inner = Role { name: "inner".into(), cpus: cpus.clone(), policy: Policy::Other };
        let outer = Role { name: "outer".into(), cpus, policy: Policy::Fifo(1) };
        let read_own = |_: Placement| crate::tasks::own(&crate::Root::system()).unwrap();
        let (placement, tasks) =
            spawn(outer, move |placement| (placement, spawn(inner, read_own).unwrap().join().unwrap()))
                .unwrap()
                .join()
                .unwrap();
        let class = |name: &str| tasks.iter().find(|task| task.stat.name == name).map(|task| task.stat.class);
        assert_eq!(class("inner"), Some(crate::tasks::Class::Other));
        if placement.policy_refused.is_none() {
            assert_eq!(class("outer"), Some(crate::tasks::Class::Fifo));
        }
    }

    #[test]
    fn policies_read_as_they_print() {
        for text in ["other", "fifo:1", "fifo:99"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for bad in ["fifo", "fifo:0", "fifo:100", "rr:1", ""] {
            assert!(bad.parse::<Policy>().is_err(), "{bad:?} was taken for a policy");
        }
    }

    #[test]
    fn a_deadline_in_the_past_does_not_wait() {
        let before = monotonic_now();
        sleep_until(Nanos(1));
        sleep_until(before + Nanos::from_millis(1));
        assert!(monotonic_now() >= before + Nanos::from_millis(1));
    }
}
