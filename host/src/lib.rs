//! The machine as the kernel shows it: one file a kernel interface.
//!
//! Every reader takes a [`Root`], so that a test can own the kernel: the same code reads `/` and a captured fixture
//! tree. What a kernel may not offer is an `Option` or an [`Error::Absent`], never a zero. Nothing here knows profiles
//! or budgets, and nothing caches: each call reads what is true now, if through a descriptor that was kept (`kept.rs`).

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests write the trees that they read"))]

pub mod affinity;
pub mod block;
pub mod boot;
pub mod boot_log;
pub mod cgroups;
pub mod choice;
pub mod clocksource;
pub mod conf_files;
pub mod cpufreq;
pub mod cpuidle;
pub mod cpuinfo;
pub mod cpus;
pub mod energy_bias;
pub mod ethtool;
pub mod grub;
pub mod hugepages;
pub mod inherited;
pub mod interfaces;
pub mod irqbalance;
pub mod irqs;
pub mod kernel_config;
pub mod memory;
pub mod messages;
pub mod modules;
pub mod mounts;
pub mod msr;
pub mod numa;
pub mod occupancy;
pub mod own;
pub mod perf;
pub mod platform_profile;
pub mod pm_qos;
pub mod process;
pub mod programs;
pub mod pstate;
pub mod rcu;
pub mod resctrl;
pub mod rights;
pub mod rt;
pub mod scheduling;
pub mod stat;
pub mod steering;
pub mod swaps;
pub mod sysctl;
pub mod sysctl_d;
pub mod tasks;
pub mod threads;
pub mod timestamps;
pub mod tmpfiles_d;
pub mod tuned;
pub mod udev_rules;
pub mod uncore;
pub mod workqueues;

mod durable;
mod error;
mod kept;
mod netlink;
mod root;
mod text;

pub use durable::SECTOR_BYTES;
pub use error::{Error, if_present};
pub use kept::allow_descriptors;
pub use root::Root;
