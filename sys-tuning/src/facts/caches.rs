//! The shared caches as the planners see them.

use std::collections::BTreeMap;

use host::cpus::Cpus;
use host::resctrl::{self, Allocation, Group};
use host::{Error, Root};
use units::CpuId;

/// What can be given out of the caches of level 3, and to whom it is given.
#[derive(Debug, Clone)]
pub(crate) struct CacheFacts {
    pub allocation: Allocation,
    /// The root first; none where there is nothing to give.
    pub groups: Vec<Group>,
    /// Which cache each CPU that is on line uses.
    pub cache_of: BTreeMap<CpuId, u32>,
}

impl CacheFacts {
    pub fn read(root: &Root, cpus: Option<&Cpus>) -> Result<Self, Error> {
        let allocation = resctrl::allocation(root)?;
        let (mut groups, mut cache_of) = (Vec::new(), BTreeMap::new());
        if let Allocation::Level3(_) = allocation {
            groups = resctrl::groups(root)?;
            for cpu in cpus.into_iter().flat_map(|cpus| cpus.online.iter()) {
                cache_of.extend(resctrl::cache_of(root, cpu)?.map(|cache| (cpu, cache)));
            }
        }
        Ok(Self { allocation, groups, cache_of })
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}
