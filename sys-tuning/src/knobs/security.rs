//! Defences that cost time. None is taken down by default, and the dearest only by somebody who says what it means.

use host::Root;
use host::boot_log::BootLog;

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{ARGUMENT, Absence, Attribute, Group, Home, Kind, Knob, PLAIN, Sign};

/// Defences against processors that leak what they guessed.
pub(crate) static MITIGATIONS: Knob = Knob {
    id: "sec.mitig",
    group: Group::Security,
    doc: "defences against speculative execution make system calls and switches dearer; without them a program can read \
          what is not its own",
    attributes: &[
        Attribute::at(
            "mitigations",
            Kind::Choice(&["auto", "off"]),
            "auto: as the kernel finds right for the processor; off: none that can be switched off",
            Home::Argument("mitigations"),
        )
        .seen(Sign::Told(undefended)),
        Attribute::new(
            "acknowledge",
            Kind::Choice(&["every-program-on-this-host-is-trusted"]),
            "what has to be said for mitigations = \"off\"",
        ),
    ],
    source: "application dependent, consider: rigtorp.se",
    effect: "/sys/devices/system/cpu/vulnerabilities names no mitigation of those that the argument switches",
    wish: wish_mitigations,
    ..ARGUMENT
};

fn wish_mitigations(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let is_off = wanted.text("mitigations").is_some_and(|word| word == "off");
    if is_off && wanted.setting("acknowledge").is_none() {
        let reason = "without mitigations any program on this host can read every other's memory and the kernel's; the \
                      profile has to say acknowledge = \"every-program-on-this-host-is-trusted\"";
        return draft.danger(MITIGATIONS.id, false, reason.to_owned());
    }
    declared::wish(scope, wanted, draft);
}

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";

/// What `mitigations=off` switches off on every processor that has it (kernel/cpu.c, cpu_mitigations_off; the rest may be
/// the microcode's).
const SWITCHED: &[&str] = &["meltdown", "mds", "retbleed", "spectre_v1", "spectre_v2", "srbds", "taa"];

// Format: "Mitigation: PTI\n", "Vulnerable\n", "Not affected\n"   (Documentation/ABI/testing/sysfs-devices-system-cpu)
fn undefended(root: &Root, value: &str) -> Option<(String, bool)> {
    if value != "off" {
        return None; // what is right differs by processor
    }
    let read = |name: &str| root.read_lossy(&format!("{VULNERABILITIES}/{name}")).ok();
    let known: Vec<(&str, String)> = SWITCHED.iter().filter_map(|name| Some((*name, read(name)?))).collect();
    let defended = known.iter().find(|(_, text)| text.starts_with("Mitigation"));
    match defended {
        Some((name, text)) => Some((format!("{name}: {}", text.trim()), false)),
        None if known.is_empty() => None,
        None => Some("no mitigation".to_owned()).map(|told| (told, true)),
    }
}

/// Auditing of system calls.
pub(crate) static AUDIT: Knob = Knob {
    id: "sec.audit",
    group: Group::Security,
    doc: "with auditing every system call of every thread takes the slow way in and out; whoever has to keep such records \
          may not switch it off",
    attributes: &[Attribute::at(
        "enabled",
        Kind::Flag,
        "whether the kernel audits from the boot on: audit=",
        Home::Argument("audit"),
    )
    .seen(Sign::Told(audited))],
    source: "0: Linux tuning checklist for HFT",
    effect: "what the kernel says of it in its boot log: with 0 it stays off until the next boot, whoever asks",
    ..ARGUMENT
};

// Format: "audit: disabled (until reboot)", "audit: enabled (after initialization)"   (kernel/audit.c, audit_enable)
fn audited(root: &Root, value: &str) -> Option<(String, bool)> {
    let log = BootLog::read(root).ok()?;
    let said = log.lines_with(&["audit: disabled (until reboot)", "audit: enabled (after"]).last()?;
    Some((said.to_owned(), said.contains(if value == "0" { "disabled" } else { "enabled" })))
}

/// Room for SELinux's decisions.
pub(crate) static AVC: Knob = Knob {
    id: "sec.avc",
    group: Group::Security,
    doc: "a decision that has fallen out of the cache is computed again within the system call that needs it",
    attributes: &[Attribute::at(
        "cache_threshold",
        Kind::Integer { min: 512, max: 1 << 20 },
        "decisions that SELinux remembers",
        Home::File("/sys/fs/selinux/avc/cache_threshold"),
    )],
    source: "8192: TuneD network-latency, cluster-node-tuning-operator",
    absence: Absence::NotApplicable("SELinux is not in use"),
    effect: "the kernel reads this variable when it remembers a decision",
    ..PLAIN
};

/// Translation of devices' memory accesses.
pub(crate) static IOMMU: Knob = Knob {
    id: "sec.iommu",
    group: Group::Security,
    doc: "translating every access of a device costs time for each buffer that is mapped; without it a device reaches all \
          memory",
    attributes: &[
        Attribute::at(
            "iommu",
            Kind::Choice(&["pt", "nopt"]),
            "pt: the kernel's own devices are not translated, those given to guests and programs are; nopt: all are: iommu=",
            Home::Argument("iommu"),
        )
        .seen(Sign::Told(passed_through)),
        Attribute::at(
            "intel_iommu",
            Kind::Choice(&["on", "off"]),
            "whether Intel's translation is used at all: intel_iommu=",
            Home::Argument("intel_iommu"),
        ),
    ],
    source: "iommu=pt intel_iommu=on: cluster-node-tuning-operator; off: redno2",
    effect: "the types of the groups in /sys/kernel/iommu_groups; of intel_iommu=, the boot log of the trial holds no refusal",
    ..ARGUMENT
};

// Format: "identity\n", "DMA\n", "DMA-FQ\n"   (Documentation/ABI/testing/sysfs-kernel-iommu_groups)
fn passed_through(root: &Root, value: &str) -> Option<(String, bool)> {
    let dir = "/sys/kernel/iommu_groups";
    let types = root
        .list(dir)
        .ok()?
        .into_iter()
        .filter_map(|group| root.read_lossy(&format!("{dir}/{group}/type")).ok());
    let mut types: Vec<String> = types.map(|text| text.trim().to_owned()).collect();
    types.sort();
    types.dedup();
    let is_passed = |kind: &String| kind == "identity";
    let holds = match value {
        "pt" => types.iter().any(is_passed),
        _ => !types.iter().any(is_passed),
    };
    (!types.is_empty()).then(|| (types.join(", "), holds))
}
