//! The kernel events of CPUs, opened for the agent, which may not look into tracefs itself.
//!
//! An event is opened when it is first asked for and stays open here, so that an agent that asks again costs the CPU
//! nothing: opening and the last close interrupt it once each. Nothing is mapped and nothing is read here. An event lives
//! as long as anybody has its descriptor, so the agent's rings outlive this process, and this one's the agent. It does not
//! outlive its CPU: one that went off line and came back gets new events.

use std::os::fd::{AsFd, BorrowedFd};

use host::Root;
use host::cpus;
use host::perf::{self, Catalogue, Handle, Point};
use orders::Ring;
use units::CpuId;
use units::limits::TRACE_CPUS_MAX;

/// Why an event is not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRing {
    /// There is no such tracepoint, here or at all, or no such CPU.
    #[error("{0}")]
    Absent(String),
    /// As many CPUs as there may be are watched.
    #[error("kernel events of {TRACE_CPUS_MAX} CPUs are open already; at most so many are watched")]
    Full,
    /// The system refuses.
    #[error("{0}")]
    Failed(String),
}

/// The events opened so far.
#[derive(Debug, Default)]
pub struct Rings {
    /// Read once: a kernel's tracepoints stay as they are.
    catalogue: Option<Catalogue>,
    open: Vec<Opened>,
}

#[derive(Debug)]
struct Opened {
    cpu: CpuId,
    /// The life of the CPU that it was opened in.
    life: Option<u64>,
    handle: Handle,
}

impl Rings {
    /// The event of the tracepoint with this number on `cpu`, opened if it was not, and what the agent has to know to read
    /// it.
    ///
    /// # Errors
    /// [`NoRing`].
    pub fn hand_over(
        &mut self,
        root: &Root,
        cpu: CpuId,
        number: u8,
    ) -> Result<(Ring, BorrowedFd<'_>), NoRing> {
        let life = cpus::life(root, cpu);
        self.open.retain(|opened| opened.cpu != cpu || opened.life == life);
        let index = match self.position(cpu, number) {
            Some(index) => index,
            None => self.open(root, cpu, life, number)?,
        };
        let handle = &self.open[index].handle;
        let Handle { point, layout, .. } = handle;
        let ring = Ring { cpu, point: point.number(), number_at: layout.number, name_at: layout.name };
        Ok((ring, handle.as_fd()))
    }

    fn position(&self, cpu: CpuId, number: u8) -> Option<usize> {
        self.open.iter().position(|opened| opened.cpu == cpu && opened.handle.point.number() == number)
    }

    fn open(&mut self, root: &Root, cpu: CpuId, life: Option<u64>, number: u8) -> Result<usize, NoRing> {
        let absent = |problem: String| NoRing::Absent(problem);
        let point = Point::of(number)
            .ok_or_else(|| absent(format!("tracepoint {number} is none of the fixed set")))?;
        let (group, name) = point.path();
        let catalogue = self.catalogue(root)?;
        let found = catalogue.found.iter().find(|found| found.point == point).copied();
        let found = found.ok_or_else(|| absent(format!("this kernel has no {group}:{name}")))?;
        if self.cpus() >= TRACE_CPUS_MAX && self.open.iter().all(|opened| opened.cpu != cpu) {
            return Err(NoRing::Full);
        }
        let handle = perf::open(&found, cpu).map_err(|cause| {
            NoRing::Failed(format!(
                "{group}:{name} on CPU {cpu}: cannot open: {cause} (needs CAP_PERFMON, or CAP_SYS_ADMIN where the kernel \
                 asks for that, and a CPU that is on line)"
            ))
        })?;
        self.open.push(Opened { cpu, life, handle });
        Ok(self.open.len() - 1)
    }

    fn catalogue(&mut self, root: &Root) -> Result<&Catalogue, NoRing> {
        if self.catalogue.is_none() {
            let read = Catalogue::read(root);
            self.catalogue = Some(read.map_err(|error| {
                NoRing::Failed(format!("{error} (mount -t tracefs tracefs /sys/kernel/tracing)"))
            })?);
        }
        Ok(self.catalogue.as_ref().expect("just read"))
    }

    fn cpus(&self) -> usize {
        let mut cpus: Vec<CpuId> = self.open.iter().map(|opened| opened.cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        cpus.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::perf::Layout;

    #[test]
    fn what_is_not_there_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let mut rings = Rings::default();
        let refused = |rings: &mut Rings, number| rings.hand_over(&root, CpuId(0), number).unwrap_err();
        assert_eq!(
            refused(&mut rings, 200),
            NoRing::Absent("tracepoint 200 is none of the fixed set".to_owned())
        );
        let unmounted = refused(&mut rings, 0).to_string();
        assert!(
            unmounted.contains("/sys/kernel/tracing") && unmounted.contains("mount -t tracefs"),
            "{unmounted}"
        );
        std::fs::create_dir_all(dir.path().join("sys/kernel/tracing/events")).unwrap();
        let without = NoRing::Absent("this kernel has no sched:sched_switch".to_owned());
        assert_eq!(refused(&mut rings, 0), without);
    }

    /// The descriptors stand for the events: here they are a file's, since only a CPU that is switched off loses its own.
    #[test]
    fn what_was_opened_in_an_earlier_life_of_the_cpu_is_not_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let topology = |cpu| dir.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
        (0..2).for_each(|cpu| std::fs::create_dir_all(topology(cpu)).unwrap());
        std::fs::create_dir_all(dir.path().join("sys/kernel/tracing/events")).unwrap();
        let root = Root::at(dir.path());
        let mut rings = Rings::default();
        for cpu in [CpuId(0), CpuId(1)] {
            let handle = Handle {
                point: Point::Switch,
                layout: Layout::default(),
                fd: tempfile::tempfile().unwrap().into(),
            };
            rings.open.push(Opened { cpu, life: cpus::life(&root, cpu), handle });
        }
        assert!(rings.hand_over(&root, CpuId(1), 0).is_ok());
        // Off line and back: another folder. The old one is kept aside, so that its number is not given again.
        std::fs::rename(topology(1), dir.path().join("gone")).unwrap();
        std::fs::create_dir(topology(1)).unwrap();
        let anew = rings.hand_over(&root, CpuId(1), 0).unwrap_err();
        assert_eq!(
            anew,
            NoRing::Absent("this kernel has no sched:sched_switch".to_owned()),
            "it is opened anew"
        );
        assert!(rings.hand_over(&root, CpuId(0), 0).is_ok(), "the other one's stay");
    }
}
