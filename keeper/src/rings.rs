//! The kernel events of CPUs, opened for the agent, which may not look into tracefs itself.
//!
//! An event is opened when it is first asked for and stays open here, so that an agent that asks again costs the CPU
//! nothing: opening and the last close interrupt it once each. Nothing is mapped and nothing is read here. An event lives
//! as long as anybody has its descriptor, so the agent's rings outlive this process, and this one's the agent.

use std::os::fd::{AsFd, BorrowedFd};

use host::Root;
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
    open: Vec<(CpuId, Handle)>,
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
        let index = match self.position(cpu, number) {
            Some(index) => index,
            None => self.open(root, cpu, number)?,
        };
        let handle = &self.open[index].1;
        let Handle { point, layout, .. } = handle;
        let ring = Ring { cpu, point: point.number(), number_at: layout.number, name_at: layout.name };
        Ok((ring, handle.as_fd()))
    }

    fn position(&self, cpu: CpuId, number: u8) -> Option<usize> {
        self.open.iter().position(|(on, handle)| *on == cpu && handle.point.number() == number)
    }

    fn open(&mut self, root: &Root, cpu: CpuId, number: u8) -> Result<usize, NoRing> {
        let absent = |problem: String| NoRing::Absent(problem);
        let point = Point::of(number)
            .ok_or_else(|| absent(format!("tracepoint {number} is none of the fixed set")))?;
        let (group, name) = point.path();
        let catalogue = self.catalogue(root)?;
        let found = catalogue.found.iter().find(|found| found.point == point).copied();
        let found = found.ok_or_else(|| absent(format!("this kernel has no {group}:{name}")))?;
        if self.cpus() >= TRACE_CPUS_MAX && self.open.iter().all(|(on, _)| *on != cpu) {
            return Err(NoRing::Full);
        }
        let handle = perf::open(&found, cpu).map_err(|cause| {
            NoRing::Failed(format!(
                "{group}:{name} on CPU {cpu}: cannot open: {cause} (needs CAP_PERFMON, or CAP_SYS_ADMIN where the kernel \
                 asks for that, and a CPU that is on line)"
            ))
        })?;
        self.open.push((cpu, handle));
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
        let mut cpus: Vec<CpuId> = self.open.iter().map(|(cpu, _)| *cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        cpus.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
