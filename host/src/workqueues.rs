//! Where the kernel's unbound work runs.
//!
//! What was asked for (`cpumask_requested`) and what holds (`cpumask`) differ once a cgroup partition isolates CPUs:
//! the effect is read from the latter. Masks are hexadecimal; the kernel refuses lists. Queues appear when a driver
//! loads. Sources: Documentation/core-api/workqueue.rst, "Affinity Scopes"; kernel/workqueue.c,
//! wq_unbound_cpumask_show.

use units::CpuSet;

use crate::{Error, Root, if_present, text};

/// Where the queues are shown.
pub const DIR: &str = "/sys/devices/virtual/workqueue";

/// The attribute that limits every unbound queue.
pub const CPUMASK: &str = "/sys/devices/virtual/workqueue/cpumask";

/// Where unbound work may run, over all queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What holds: the requested CPUs without the isolated ones.
    pub effective: CpuSet,
    /// What was last asked for (Linux 6.7 or later).
    pub requested: Option<CpuSet>,
    /// What cgroup partitions took away (Linux 6.7 or later).
    pub isolated: Option<CpuSet>,
}

/// One queue that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name, and the name of its directory.
    pub name: String,
    /// Where its work may run, within [`Limits::effective`]; `None` for a queue bound to CPUs, which has no mask.
    pub cpus: Option<CpuSet>,
}

/// The limits over all unbound queues.
///
/// # Errors
/// [`Error::Absent`] on a kernel without them, [`Error::Read`], [`Error::Format`].
// Format: "3\n", "ff,ffffffff\n"   (kernel/workqueue.c)
pub fn limits(root: &Root) -> Result<Limits, Error> {
    let mask = |name: &str| root.parse(&format!("{DIR}/{name}"), text::cpumask);
    Ok(Limits {
        effective: mask("cpumask")?,
        requested: if_present(mask("cpumask_requested"))?,
        isolated: if_present(mask("cpumask_isolated"))?,
    })
}

/// The queues the kernel shows, by name.
///
/// # Errors
/// [`Error::Absent`] on a kernel without them, [`Error::Read`], [`Error::Format`].
pub fn queues(root: &Root) -> Result<Vec<Queue>, Error> {
    let mut queues = Vec::new();
    for name in root.list(DIR)? {
        // Beside the queues stand plain attributes and the device's own "power" directory; only queues are `per_cpu` or
        // not.
        if root.exists(&format!("{DIR}/{name}/per_cpu")) {
            let cpus = if_present(root.parse(&queue_cpumask(&name), text::cpumask))?;
            queues.push(Queue { name, cpus });
        }
    }
    Ok(queues)
}

/// The attribute that limits the queue `name`, a name that [`queues`] gave.
#[must_use]
pub fn queue_cpumask(name: &str) -> String {
    format!("{DIR}/{name}/cpumask")
}
