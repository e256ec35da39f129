//! What the kernel made of each argument: read where it acts, or from what it said while it booted.
//!
//! `/proc/cmdline` shows refused arguments too, so it proves nothing. An argument is accepted when the kernel shows its
//! effect; where it shows none, when the whole boot log is there and holds no complaint. Without either it is unknown,
//! and unknown is not accepted. Sources: kernel/sched/isolation.c; init/main.c; the files are named at each reader.

use host::boot_log::BootLog;
use host::cpus::Cpus;
use host::hugepages::{self, PageSize};
use host::numa::NodeId;
use host::{Root, irqs, rcu};
use units::CpuSet;

use super::line::without_flags;
use crate::{declared, registry};

/// What became of one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The argument, as on the command line.
    pub argument: String,
    /// What the kernel shows of it, where it shows something.
    pub effective: Option<String>,
    /// What that means.
    pub verdict: Verdict,
    /// Why, unless it is accepted.
    pub reason: String,
}

/// Whether the kernel accepted an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It acts on it.
    Accepted,
    /// It does not.
    Refused,
    /// It cannot be seen.
    Unknown,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Where to look.
pub(crate) struct Evidence<'r> {
    root: &'r Root,
    log: Result<BootLog, String>,
}

impl<'r> Evidence<'r> {
    pub fn gather(root: &'r Root) -> Self {
        let log = BootLog::read(root).map_err(|error| error.to_string());
        Self { root, log }
    }

    /// What became of one word of the line; `before` is the word in front of it.
    pub fn judge(&self, word: &str, before: Option<&str>) -> Judged {
        let judged = |effective: Option<String>, verdict, reason: String| Judged {
            argument: word.to_owned(),
            effective,
            verdict,
            reason,
        };
        if let Some(complaint) = self.complaint(word) {
            return judged(self.look(word, before).map(|(shown, _)| shown), Verdict::Refused, complaint);
        }
        match self.look(word, before) {
            Some((shown, true)) => judged(Some(shown), Verdict::Accepted, String::new()),
            Some((shown, false)) => {
                let reason = format!("the kernel shows {shown:?} instead");
                judged(Some(shown), Verdict::Refused, reason)
            }
            None => match &self.log {
                Ok(log) if log.is_whole => judged(None, Verdict::Accepted, String::new()),
                Ok(_) => {
                    let reason =
                        "the kernel shows no effect, and its log has lost the boot's lines".to_owned();
                    judged(None, Verdict::Unknown, reason)
                }
                Err(error) => {
                    let reason = format!("the kernel shows no effect, and its log cannot be read: {error}");
                    judged(None, Verdict::Unknown, reason)
                }
            },
        }
    }

    /// The line of the boot log in which the kernel refuses the word.
    fn complaint(&self, word: &str) -> Option<String> {
        let log = self.log.as_ref().ok()?;
        let name = name(word);
        let told = |line: &str| format!("the kernel said: {line}");
        let about: &[&str] = match name {
            "nohz_full" => &["Housekeeping: nohz_full", "NO_HZ: Clearing", "Housekeeping: must include"],
            "isolcpus" => &["isolcpus: Error", "Housekeeping: must include"],
            "hugepages" => &["HugeTLB: allocating", "HugeTLB: Invalid"],
            "hugepagesz" => &["HugeTLB: unsupported"],
            "rcu_nocbs" => &["rcu_nocbs= but CONFIG", "contains nonexistent CPUs"],
            _ => &[],
        };
        if let Some(line) = log.lines_with(about).next() {
            return Some(told(line));
        }
        let is_unknown = log.unknown_arguments().contains(&word);
        is_unknown.then(|| told("Unknown kernel command line parameters, and names it"))
    }

    /// What the kernel shows of the word, and whether that is what was asked for.
    fn look(&self, word: &str, before: Option<&str>) -> Option<(String, bool)> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "isolcpus" if value.contains("domain") || !value.contains("managed_irq") => {
                self.cpus(without_flags(value), |cpus| cpus.isolated)
            }
            "nohz_full" => self.cpus(value, |cpus| cpus.nohz_full.unwrap_or_else(CpuSet::empty)),
            "rcu_nocbs" => self.offloaded(value),
            // A knob of the running system may have narrowed it since.
            "irqaffinity" => {
                let (shown, asked) = (irqs::default_affinity(self.root).ok()?, value.parse().ok()?);
                Some((shown.to_string(), shown.is_subset(&asked)))
            }
            "hugepages" => self.pages(value, before?.strip_prefix("hugepagesz=")?.parse().ok()?),
            "rcupdate.rcu_normal_after_boot" | "rcutree.nohz_full_patience_delay" => {
                let (module, parameter) = name.split_once('.')?;
                self.number(&format!("/sys/module/{module}/parameters/{parameter}"), value)
            }
            _ => declared::look_at_argument(self.root, registry::argument(name)?, value),
        }
    }

    /// The boot log has the list (`nohz_full=` adds to it). The threads alone say less: once one CPU is offloaded, newer
    /// kernels start one for every CPU.
    // Format: "rcu: \x09Offload RCU callbacks from CPUs: 2-3."   (kernel/rcu/tree_nocb.h, rcu_init_nohz)
    fn offloaded(&self, asked: &str) -> Option<(String, bool)> {
        const SAYS: &str = "Offload RCU callbacks from CPUs: ";
        let asked: CpuSet = asked.parse().ok()?;
        let log = self.log.as_ref().ok();
        let listed = log.and_then(|log| log.lines_with(&[SAYS]).next()?.split_once(SAYS));
        if let Some((_, list)) = listed {
            let shown: CpuSet = list.trim_end_matches('.').parse().ok()?;
            return Some((shown.to_string(), asked.is_subset(&shown)));
        }
        let threads = rcu::offloaded(self.root).ok()?;
        let is_told = threads == asked || !asked.is_subset(&threads);
        is_told.then(|| (threads.to_string(), threads == asked))
    }

    fn cpus(&self, asked: &str, part: impl Fn(Cpus) -> CpuSet) -> Option<(String, bool)> {
        equal(&part(Cpus::read(self.root).ok()?), asked)
    }

    fn number(&self, path: &str, asked: &str) -> Option<(String, bool)> {
        let shown = self.root.read_lossy(path).ok()?.trim().to_owned();
        let holds = shown == asked || (shown == "Y" && asked == "1");
        Some((shown, holds))
    }

    /// Every node has at least what was asked for: more may have been added since.
    fn pages(&self, asked: &str, size: PageSize) -> Option<(String, bool)> {
        let mut shown = Vec::new();
        let mut holds = true;
        for part in asked.split(',') {
            let (node, count) = part.split_once(':')?;
            let pool = hugepages::pool(self.root, Some(NodeId(node.parse().ok()?)), size).ok()?;
            holds &= pool.nr >= count.parse().ok()?;
            shown.push(format!("{node}:{}", pool.nr));
        }
        Some((shown.join(","), holds))
    }
}

fn name(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

fn equal(shown: &CpuSet, asked: &str) -> Option<(String, bool)> {
    let asked: CpuSet = asked.parse().ok()?;
    Some((shown.to_string(), *shown == asked))
}

/// Every word of a line, in order.
pub(crate) fn judge_line(root: &Root, arguments: &str) -> Vec<Judged> {
    let evidence = Evidence::gather(root);
    let words: Vec<&str> = arguments.split(' ').filter(|word| *word != super::NONE).collect();
    let before = |index: usize| index.checked_sub(1).map(|index| words[index]);
    words.iter().enumerate().map(|(index, word)| evidence.judge(word, before(index))).collect()
}
