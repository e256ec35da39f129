//! irqbalance, which moves interrupts every ten seconds, whoever set them before.
//!
//! What it leaves alone it is told on its command line (`--banirq=24`, which others call `-i 24`) and in its environment:
//! the CPUs of `IRQBALANCE_BANNED_CPULIST`, or of the mask in `IRQBALANCE_BANNED_CPUS`, get no interrupts from it. Source:
//! irqbalance(1); its `cputree.c`.

use units::CpuSet;

use crate::Root;
use crate::tasks::{self, Pid};

/// A running irqbalance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irqbalance {
    /// Its process.
    pub pid: Pid,
    /// The CPUs it keeps off; `None` when nothing was said, and it keeps off the isolated ones by itself.
    pub banned_cpus: Option<CpuSet>,
    /// The interrupts it leaves alone.
    pub banned_irqs: Vec<u32>,
}

/// Bytes of its command line and of its environment that are read.
const BYTES_MAX: usize = 64 << 10;

impl Irqbalance {
    /// The one that runs, if one does. Its environment is only its own user's and root's to read.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let pid = tasks::named(root, "irqbalance").ok().flatten()?;
        let read =
            |file: &str| root.read_beginning(&format!("/proc/{pid}/{file}"), BYTES_MAX).unwrap_or_default();
        let (banned_irqs, banned_cpus) =
            (parse_arguments(&read("cmdline")), parse_environment(&read("environ")));
        Some(Self { pid, banned_cpus, banned_irqs })
    }

    /// Whether it may move the interrupt.
    #[must_use]
    pub fn may_move(&self, irq: u32) -> bool {
        !self.banned_irqs.contains(&irq)
    }
}

// Format: "/usr/sbin/irqbalance\0--foreground\0--banirq=24\0-i\025\0"   (irqbalance(1))
fn parse_arguments(text: &str) -> Vec<u32> {
    let mut words = text.split('\0');
    let mut banned = Vec::new();
    while let Some(word) = words.next() {
        let number = match word {
            "-i" | "--banirq" => words.next(),
            _ => word.strip_prefix("--banirq=").or(word.strip_prefix("-i")),
        };
        banned.extend(number.and_then(|number| number.trim_start_matches('=').parse::<u32>().ok()));
    }
    banned
}

// Format: "IRQBALANCE_BANNED_CPULIST=2-3\0IRQBALANCE_BANNED_CPUS=0000000c\0"   (irqbalance(1))
fn parse_environment(text: &str) -> Option<CpuSet> {
    let value = |name: &str| text.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let list = value("IRQBALANCE_BANNED_CPULIST").and_then(|list| list.parse().ok());
    list.or_else(|| value("IRQBALANCE_BANNED_CPUS").and_then(|mask| CpuSet::from_mask(mask).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_leaves_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let process = dir.path().join("proc/40");
        std::fs::create_dir_all(&process).unwrap();
        assert_eq!(Irqbalance::read(&root), None);
        let put = |file: &str, text: &str| std::fs::write(process.join(file), text).unwrap();
        put("comm", "irqbalance\n");
        put("cmdline", "/usr/sbin/irqbalance\0--foreground\0--banirq=24\0-i\x0025\0-i26\0--banirq\0x\0");
        let found = Irqbalance::read(&root).unwrap();
        assert_eq!(
            (found.pid, found.banned_irqs.as_slice(), &found.banned_cpus),
            (Pid(40), &[24, 25, 26][..], &None)
        );
        assert!(found.may_move(23) && !found.may_move(24));
        let banned = |environment: &str| {
            put("environ", environment);
            Irqbalance::read(&root).unwrap().banned_cpus.map(|cpus| cpus.to_string())
        };
        assert_eq!(banned("PATH=/bin\0IRQBALANCE_BANNED_CPULIST=2-3\0").as_deref(), Some("2-3"));
        assert_eq!(banned("IRQBALANCE_BANNED_CPUS=0000000c\0").as_deref(), Some("2-3"));
        assert_eq!(banned("IRQBALANCE_ARGS=\0"), None);
    }
}
