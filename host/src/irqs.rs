//! The interrupts: where they may go, where they go, and how often they went.
//!
//! Numbers are re-used when a driver is reloaded or the machine boots again, so what is remembered about an interrupt
//! is kept under its [`Identity`]. A successful write of an affinity takes effect at the interrupt's next firing: the
//! effect is [`Place::effective`] together with the counts. Sources: Documentation/core-api/irq/irq-affinity.rst;
//! Documentation/ABI/testing/sysfs-kernel-irq; Documentation/filesystems/proc.rst, 1.2.

use std::collections::BTreeMap;
use std::fmt;

use units::{CpuId, CpuSet, Irq};

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

/// The attribute with the affinity that interrupts are given when they are first requested, as a mask.
pub const DEFAULT_AFFINITY: &str = "/proc/irq/default_smp_affinity";

/// What names an interrupt across reboots and driver reloads.
///
/// `Display` is one printable word group, as in `PCI-MSIX-0000:00:02.0 virtio1-req.0`, with ` #1` behind it for the
/// second of two that are otherwise equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The interrupt controller's name; for message-signalled interrupts newer kernels put the device's address in it.
    pub chip: String,
    /// The names its handlers registered, usually device and queue; empty while nobody requested it.
    pub actions: Vec<String>,
    /// Which one, among those with the same chip and actions, in the order of their hardware numbers.
    pub occurrence: u32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Drivers choose these names; what could act on a terminal is shown, not sent.
        write!(f, "{} {}", self.chip.escape_debug(), self.actions.join(",").escape_debug())?;
        if self.occurrence > 0 { write!(f, " #{}", self.occurrence) } else { Ok(()) }
    }
}

/// One interrupt as it is set up now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in this boot.
    pub irq: Irq,
    /// Its name beyond this boot.
    pub identity: Identity,
    /// Whether the kernel tells where it is delivered, as [`effective_path`] says.
    pub shows_effective: bool,
    /// Whether the kernel marks its affinity read-only: it is managed by its driver, or tied to a CPU. Linux 6.12 marks
    /// it; 6.1 does not, and refuses the write with EIO instead, so `false` promises nothing.
    pub immovable: bool,
}

/// The attribute that says where `irq` may be delivered, as a cpulist.
#[must_use]
pub fn affinity_path(irq: Irq) -> String {
    format!("/proc/irq/{irq}/smp_affinity_list")
}

/// The attribute that says where `irq` is delivered, as a cpulist.
#[must_use]
pub fn effective_path(irq: Irq) -> String {
    format!("/proc/irq/{irq}/effective_affinity_list")
}

/// Where one interrupt goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it may be delivered.
    pub affinity: CpuSet,
    /// Where it is delivered; `None` on a kernel that does not tell.
    pub effective: Option<CpuSet>,
}

impl Place {
    /// That of `irq` now.
    ///
    /// # Errors
    /// [`Error::Absent`] when it was freed, [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root, irq: Irq) -> Result<Self, Error> {
        Ok(Self {
            affinity: root.parse_attribute(&affinity_path(irq), text::cpulist)?,
            effective: if_present(root.parse_attribute(&effective_path(irq), text::cpulist))?,
        })
    }
}

/// Every interrupt the kernel shows, ascending by number, those that nobody requested included.
///
/// # Errors
/// [`Error::Absent`] where the kernel has no such directory, [`Error::Read`], [`Error::Format`].
pub fn lines(root: &Root) -> Result<Vec<Line>, Error> {
    let mut numbers: Vec<Irq> = root.list("/proc/irq")?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let mut lines = Vec::with_capacity(numbers.len());
    for irq in numbers {
        lines.extend(if_present(line(root, irq))?); // absent: freed since the directory was listed
    }
    number_the_equal(root, &mut lines)?;
    Ok(lines)
}

/// One interrupt, not yet told from its equals. Where it goes is not read: whoever asks for that looks at one of hundreds.
fn line(root: &Root, irq: Irq) -> Result<Line, Error> {
    let chip = root.parse_attribute(&attribute(irq, "chip_name"), |text| Ok(text.trim().to_owned()))?;
    let actions = root.parse_attribute(&attribute(irq, "actions"), |text| Ok(parse_actions(text)))?;
    Ok(Line {
        irq,
        identity: Identity { chip, actions, occurrence: 0 },
        shows_effective: if_present(root.open_attribute(&effective_path(irq)))?.is_some(),
        immovable: !root.is_attribute_writable(&affinity_path(irq))?,
    })
}

fn attribute(irq: Irq, name: &str) -> String {
    format!("/sys/kernel/irq/{irq}/{name}")
}

// Format: "i801_smbus,ehci_hcd:usb1\n", "\n" for none   (Documentation/ABI/testing/sysfs-kernel-irq, actions)
fn parse_actions(text: &str) -> Vec<String> {
    text.trim().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

// Format: "524288\n", or "\n" without a domain   (Documentation/ABI/testing/sysfs-kernel-irq, hwirq)
fn parse_hardware_number(text: &str) -> Result<Option<u64>, Malformed> {
    if text.trim().is_empty() { Ok(None) } else { text::number(text).map(Some) }
}

/// Numbers those of equal chip and actions in the order of their hardware numbers, which are read of them alone.
fn number_the_equal(root: &Root, lines: &mut [Line]) -> Result<(), Error> {
    let mut equal: BTreeMap<Identity, Vec<usize>> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        equal.entry(line.identity.clone()).or_default().push(index);
    }
    for (_, indices) in equal.into_iter().filter(|(_, indices)| indices.len() > 1) {
        let mut order = Vec::with_capacity(indices.len());
        for index in indices {
            let irq = lines[index].irq;
            // Without interrupt domains there is no hardware number; the order of the lines then has to do.
            let hardware = if_present(root.parse(&attribute(irq, "hwirq"), parse_hardware_number))?.flatten();
            order.push((hardware.unwrap_or(u64::from(irq.0)), irq, index));
        }
        order.sort_unstable();
        for (occurrence, (.., index)) in (0..).zip(order) {
            lines[index].identity.occurrence = occurrence;
        }
    }
    Ok(())
}

/// Where interrupts go that are requested from now on.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
// Format: "3\n", "ff,ffffffff\n"   (Documentation/core-api/irq/irq-affinity.rst)
pub fn default_affinity(root: &Root) -> Result<CpuSet, Error> {
    root.parse(DEFAULT_AFFINITY, text::cpumask)
}

/// How often each interrupt went to each CPU since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The CPUs that were on line, in the order of the columns.
    pub cpus: Vec<CpuId>,
    /// One row an interrupt or kind of interrupt.
    pub rows: Vec<Row>,
    /// Counters kept for the machine as a whole: `ERR`, `MIS`.
    pub totals: Vec<(String, u64)>,
}

/// One interrupt's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The interrupt's number, or a name such as `LOC` for the local timer.
    pub label: String,
    /// One a column of [`Counts::cpus`].
    pub counts: Vec<u64>,
    /// What the kernel writes behind the numbers: chip, hardware number, actions; or what the name means.
    pub description: String,
}

impl Counts {
    /// What holds now. Costs the kernel a walk over all CPUs of all interrupts: for windows, not for loops.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/interrupts", Self::parse)
    }

    /// The row `label`: `24`, `LOC`.
    #[must_use]
    pub fn row(&self, label: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.label == label)
    }

    /// How often the interrupt `label` went to `cpu`; `None` when this kernel counts no such thing there.
    #[must_use]
    pub fn on(&self, label: &str, cpu: CpuId) -> Option<u64> {
        let column = self.cpus.iter().position(|column| *column == cpu)?;
        self.row(label)?.counts.get(column).copied()
    }

    // Format: "           CPU0       CPU1       "
    //         " 36:          0      12071 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0"
    //         "LOC:      41662      53178   Local timer interrupts"
    //         "ERR:          0"                                   (Documentation/filesystems/proc.rst, 1.2)
    fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = text.lines();
        let cpus = parse_header(lines.next().unwrap_or_default())?;
        let mut counts = Self { cpus, rows: Vec::new(), totals: Vec::new() };
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let (label, rest) =
                line.split_once(':').ok_or_else(|| Malformed::new(line, "expected \"label: counts\""))?;
            let label = label.trim().to_owned();
            if matches!(label.as_str(), "ERR" | "Err" | "MIS") {
                counts.totals.push((label, text::number(rest)?));
            } else {
                let (numbers, description) = parse_counts(line, rest, counts.cpus.len())?;
                counts.rows.push(Row { label, counts: numbers, description });
            }
        }
        Ok(counts)
    }
}

fn parse_header(line: &str) -> Result<Vec<CpuId>, Malformed> {
    let cpu = |word: &str| word.strip_prefix("CPU")?.parse().ok().map(CpuId);
    let cpus: Option<Vec<CpuId>> = line.split_ascii_whitespace().map(cpu).collect();
    cpus.filter(|cpus| !cpus.is_empty())
        .ok_or_else(|| Malformed::new(line, "expected a heading of CPU0 CPU1 ..."))
}

/// The first `columns` numbers of a row and the words behind them.
fn parse_counts(line: &str, rest: &str, columns: usize) -> Result<(Vec<u64>, String), Malformed> {
    let mut rest = rest;
    let mut counts = Vec::with_capacity(columns);
    for _ in 0..columns {
        rest = rest.trim_start();
        let (number, behind) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        let count = number.parse().map_err(|_| {
            Malformed::new(line, format!("expected {columns} counts, one a CPU of the heading"))
        })?;
        counts.push(count);
        rest = behind;
    }
    Ok((counts, rest.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(irq: u32, action: &str) -> Line {
        let identity = Identity { chip: "IO-APIC".into(), actions: vec![action.into()], occurrence: 0 };
        Line { irq: Irq(irq), identity, shows_effective: false, immovable: false }
    }

    #[test]
    fn equals_are_told_apart_by_hardware_number() {
        let dir = tempfile::tempdir().unwrap();
        for (irq, hardware) in [(24, "6\n"), (25, "5\n"), (26, "4\n"), (27, "\n")] {
            let folder = dir.path().join(format!("sys/kernel/irq/{irq}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("hwirq"), hardware).unwrap();
        }
        let mut lines =
            [line_of(24, "ACPI:Ged"), line_of(25, "ACPI:Ged"), line_of(26, "ttyS0"), line_of(27, "ACPI:Ged")];
        number_the_equal(&Root::at(dir.path()), &mut lines).unwrap();
        let names: Vec<String> = lines.iter().map(|line| line.identity.to_string()).collect();
        let expected = ["IO-APIC ACPI:Ged #1", "IO-APIC ACPI:Ged", "IO-APIC ttyS0", "IO-APIC ACPI:Ged #2"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_name_cannot_act_on_a_terminal() {
        let identity = Identity { chip: "x".into(), actions: vec!["\u{1b}[2J\n".into()], occurrence: 0 };
        assert_eq!(identity.to_string(), "x \\u{1b}[2J\\n");
    }

    #[test]
    fn counts_have_a_column_for_each_cpu() {
        let text = "           CPU0       CPU2       \n 24:  1 0  IO-APIC   5-edge      ACPI:Ged\nLOC:  41662  53178   Local timer interrupts\nERR:          7\n";
        let counts = Counts::parse(text).unwrap();
        assert_eq!(counts.on("LOC", CpuId(2)), Some(53178));
        assert_eq!(counts.on("LOC", CpuId(1)), None, "off line is not zero");
        assert_eq!(counts.row("24").unwrap().description, "IO-APIC 5-edge ACPI:Ged");
        assert_eq!(counts.totals, [("ERR".to_owned(), 7)]);
    }

    #[track_caller]
    fn check_refused(text: &str, problem: &str) {
        let error = Counts::parse(text).unwrap_err();
        assert!(error.problem.contains(problem), "{error:?}");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        check_refused("", "heading");
        check_refused("CPU0 CPUx\n", "heading");
        check_refused("CPU0 CPU1\nLOC: 1\n", "2 counts");
        check_refused("CPU0\nLOC: 99999999999999999999\n", "1 counts");
        check_refused("CPU0\nLOC 1\n", "label");
    }
}
