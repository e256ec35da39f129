//! Frequency, idle states and hardware threads as the planners see them.

use std::collections::BTreeMap;

use host::cpufreq;
use host::cpuidle::{self, State};
use host::cpus::{self, Cpus, Smt};
use host::energy_bias;
use host::platform_profile::{self, PlatformProfile};
use host::pstate::{self, IntelPstate};
use host::uncore::{self, Domain};
use host::{Error, Root, if_present};
use units::CpuId;

/// What decides about speed beside the frequency policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct PowerFacts {
    pub intel: Option<IntelPstate>,
    /// The switch for boost frequencies of all policies.
    pub boost: Option<bool>,
    pub uncore: Option<Vec<Domain>>,
    pub platform: Option<PlatformProfile>,
    /// The CPUs that have a hint of performance against energy.
    pub biased: Vec<CpuId>,
    pub smt: Option<Smt>,
}

impl PowerFacts {
    pub fn read(root: &Root, cpus: Option<&Cpus>) -> Result<Self, Error> {
        let online = cpus.into_iter().flat_map(|cpus| cpus.online.iter());
        Ok(Self {
            intel: pstate::intel(root)?,
            boost: cpufreq::boost(root)?,
            uncore: uncore::domains(root)?,
            platform: platform_profile::read(root)?,
            biased: online.filter(|cpu| root.exists(&energy_bias::path(*cpu))).collect(),
            smt: cpus::smt(root)?,
        })
    }
}

/// Who lets CPUs sleep, and how deeply.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdleFacts {
    pub governor: Option<String>,
    /// Of each CPU that has some, shallowest first.
    pub states: BTreeMap<CpuId, Vec<State>>,
}

impl IdleFacts {
    pub fn read(root: &Root, cpus: Option<&Cpus>) -> Result<Self, Error> {
        let mut states = BTreeMap::new();
        for cpu in cpus.into_iter().flat_map(|cpus| cpus.online.iter()) {
            states.extend(cpuidle::states(root, cpu)?.map(|found| (cpu, found)));
        }
        Ok(Self { governor: cpuidle::governor(root)?, states })
    }
}

/// What kernel this is.
#[derive(Debug, Clone, Default)]
pub(crate) struct KernelFacts {
    pub is_realtime: bool,
    /// Its preemption can be chosen at boot.
    pub is_dynamic: bool,
    /// The watchdog of hard lock-ups can be switched.
    pub has_nmi_switch: bool,
}

impl KernelFacts {
    pub fn read(root: &Root) -> Result<Self, Error> {
        // Format: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1 (2025-01-02)"   (init/version.c)
        let version = if_present(root.read_lossy("/proc/sys/kernel/version"))?.unwrap_or_default();
        let realtime = if_present(root.read_lossy("/sys/kernel/realtime"))?.unwrap_or_default();
        let nmi = if_present(root.is_writable("/proc/sys/kernel/nmi_watchdog"))?;
        Ok(Self {
            is_realtime: realtime.trim() == "1" || version.contains("PREEMPT_RT"),
            is_dynamic: version.contains("PREEMPT_DYNAMIC"),
            has_nmi_switch: nmi == Some(true),
        })
    }
}
