//! What only the firmware's set-up changes: reported as expected against inferred, never written.
//!
//! Each value is inferred from what the kernel found, which may also be what it was told on its command line; where
//! nothing shows it (most virtual machines) the answer is that, and neither yes nor no.

use host::{Root, choice};

use crate::observe::SMI_COUNTER;
use crate::registry::{Absence, Attribute, FIRMWARE, Flat, Home, Kind, Knob, Sign};

const ON_OFF: Kind = Kind::Choice(&["on", "off"]);

/// The settings that vendors' low-latency guides ask for.
pub(crate) static SETUP: Knob = Knob {
    id: "cpu.bios",
    doc: "firmware settings decide what the kernel can reach: hardware threads, idle states, the links' power saving",
    attributes: &[
        Attribute::at(
            "smt",
            ON_OFF,
            "whether a core runs two hardware threads that share its units",
            Home::Firmware(smt),
        )
        .absent(Absence::NotApplicable("this kernel does not say whether hardware threads share cores")),
        Attribute::at(
            "deep_idle",
            ON_OFF,
            "whether the kernel was offered idle states deeper than C1",
            Home::Firmware(deep_idle),
        )
        .absent(Absence::NotApplicable(
            "the kernel was offered no idle states at all: a virtual machine, or idle=poll",
        )),
        Attribute::at(
            "pcie_power_saving",
            ON_OFF,
            "whether PCIe links may sleep (ASPM): the first packet after a pause waits for the link",
            Home::Firmware(pcie_power_saving),
        )
        .absent(Absence::NotApplicable("this kernel shows no policy for PCIe links")),
        Attribute::at(
            "iommu",
            ON_OFF,
            "whether devices' memory accesses are translated (VT-d, AMD-Vi)",
            Home::Firmware(iommu),
        )
        .absent(Absence::NotApplicable("this kernel shows no class of IOMMUs")),
    ],
    source: "smt, deep_idle, pcie_power_saving off: rigtorp.se, Solarflare user guide; iommu off: redno2, on with iommu=pt: \
             cluster-node-tuning-operator",
    effect: "inferred from smt/active, cpuidle's states, the PCIe policy and the IOMMUs that the kernel found",
    ..FIRMWARE
};

fn smt(root: &Root) -> Option<String> {
    let active = root.read("/sys/devices/system/cpu/smt/active").ok()?;
    word(match active.trim() {
        "1" => true,
        "0" => false,
        _ => return None,
    })
}

/// Idle states of the first CPU by name: POLL and C1 (C1E halts deeper) are what is asked for.
fn deep_idle(root: &Root) -> Option<String> {
    let dir = "/sys/devices/system/cpu/cpu0/cpuidle";
    let states = root.list(dir).ok()?;
    let names = states.iter().filter(|state| state.starts_with("state"));
    let names: Vec<String> =
        names.filter_map(|state| root.read(&format!("{dir}/{state}/name")).ok()).collect();
    let is_shallow = |name: &String| matches!(name.trim(), "POLL" | "C1" | "C1_ACPI" | "haltpoll");
    (!names.is_empty()).then(|| word(!names.iter().all(is_shallow)))?
}

fn pcie_power_saving(root: &Root) -> Option<String> {
    let policy = choice::read(root, "/sys/module/pcie_aspm/parameters/policy").ok()?.current;
    match policy.as_str() {
        "performance" => word(false),
        "powersave" | "powersupersave" => word(true),
        _ => None, // "default": as the firmware left each link, which is not shown here
    }
}

fn iommu(root: &Root) -> Option<String> {
    root.list("/sys/class/iommu").ok().and_then(|found| word(!found.is_empty()))
}

fn word(is_on: bool) -> Option<String> {
    Some(if is_on { "on" } else { "off" }.to_owned())
}

/// Interrupts that the firmware takes behind the kernel's back, on every CPU at once.
///
/// The processor counts them (model-specific register 0x34, read on CPU 0, which is never isolated); virtual ones do not.
/// Only a window shows whether they go on.
pub(crate) static SMI: Knob = Knob {
    id: "fw.smi",
    doc: "a system management interrupt stops all CPUs for tens to hundreds of microseconds, and no kernel counter shows it",
    attributes: &[Attribute::at(
        "interrupts",
        Kind::Choice(&["none"]),
        "how many come while one watches",
        Home::Firmware(counts_smis),
    )
    .seen(Sign::Flat(&Flat { of: &["none"], counters: &[SMI_COUNTER], unless: &[] }))
    .absent(Absence::NotApplicable("SMIs are not counted here: it takes the msr module, root, and an Intel processor that is not virtual"))],
    source: "none: Documentation/trace/osnoise-tracer.rst; vendors' set-ups have switches for what causes them",
    effect: "over a window, the processor's own count stays as it is",
    ..FIRMWARE
};

fn counts_smis(root: &Root) -> Option<String> {
    host::msr::smis(root).ok().map(|_| "none".to_owned())
}
