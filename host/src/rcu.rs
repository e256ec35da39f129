//! Whose RCU callbacks are invoked by threads that can run elsewhere.
//!
//! The kernel starts such a thread for each CPU it offloads: `rcuop/3` or `rcuos/3`, by the flavour. Where CPUs can be
//! offloaded later, it starts one for every CPU as soon as one is.
//! Source: kernel/rcu/tree_nocb.h (rcu_spawn_cpu_nocb_kthread); Documentation/admin-guide/kernel-per-CPU-kthreads.rst.

use units::{CpuId, CpuSet};

use crate::{Error, Root, if_present, text};

/// The CPUs whose callbacks are offloaded, or can be. Reads one file a process of the machine.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`].
pub fn offloaded(root: &Root) -> Result<CpuSet, Error> {
    let mut cpus = CpuSet::empty();
    for process in root.list("/proc")?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let name = if_present(root.parse(&format!("/proc/{process}/comm"), text::line)); // absent: ended meanwhile
        if let Some(cpu) = name.ok().flatten().as_deref().and_then(served) {
            cpus.insert(cpu);
        }
    }
    Ok(cpus)
}

// Format: "rcuop/3\n"   (kernel/rcu/tree_nocb.h)
fn served(thread: &str) -> Option<CpuId> {
    let (flavour, cpu) = thread.strip_prefix("rcuo")?.split_once('/')?;
    matches!(flavour, "p" | "s" | "b").then(|| cpu.parse().ok().map(CpuId))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callback_threads_count() {
        for (thread, expected) in [
            ("rcuop/3", Some(CpuId(3))),
            ("rcuos/12", Some(CpuId(12))),
            ("rcuog/0", None), // wakes the others, and serves CPUs that may not be offloaded
            ("rcuc/1", None),
            ("rcuop/x", None),
        ] {
            assert_eq!(served(thread), expected, "{thread}");
        }
    }
}
