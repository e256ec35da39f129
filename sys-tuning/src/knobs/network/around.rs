//! What is around the network and is nobody's to write from here: where a card sits, who goes past the kernel, who else
//! moves interrupts. Reported as expected against found.

use host::Root;
use host::cpus::Cpus;
use host::irqbalance::Irqbalance;
use units::CpuSet;

use super::link::{self, INTERFACES};
use crate::draft::{Draft, Scope};
use crate::knobs::isolation::services;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Elsewhere, Group, Home, Kind, Knob, REPORTED, Topic};
use crate::status::Status;

/// On which memory node a card sits.
pub(crate) static NODE: Knob = Knob {
    id: "net.numa",
    group: Group::Network,
    doc: "a packet that arrives on another memory node than the application's crosses the link between them",
    attributes: &[
        INTERFACES,
        Attribute::new("near", Kind::Cpus, "the CPUs whose node the cards should be on: the application's"),
    ],
    source: "the application on the card's node: Mellanox driver manual, Red Hat real-time guide, Solarflare user guide",
    effect: "the node that the kernel says the card's device is on has one of the CPUs",
    reads: &[Topic::Network, Topic::Cpus],
    wish: wish_node,
    ..REPORTED
};

/// Programs that take packets past the kernel.
pub(crate) static BYPASS: Knob = Knob {
    id: "net.bypass",
    group: Group::Network,
    doc: "what goes past the kernel is not reached by the kernel's settings: busy polling and coalescing are its own",
    attributes: &[Attribute::at(
        "kind",
        Kind::Choice(&["none", "onload", "vfio"]),
        "none; Solarflare's Onload is loaded; a network card belongs to vfio-pci, as DPDK's cards do",
        Home::Elsewhere(&Elsewhere {
            infer: bypass,
            suits: |shown, wanted| shown == wanted,
            remedy: "it is the application's: start it with Onload, or bind its card to vfio-pci, or neither",
        }),
    )],
    source: "which is expected is the application's matter; busy polling is pointless beside it: rigtorp.se",
    effect: "found by the loaded modules and the drivers that cards on the PCI bus are bound to; an AF_XDP socket is \
             not seen",
    ..REPORTED
};

/// The daemon that moves interrupts to where they do least harm on average.
pub(crate) static BALANCER: Knob = Knob {
    id: "irq.balance",
    group: Group::Interrupts,
    doc: "irqbalance moves interrupts every ten seconds, also onto isolated CPUs unless it is told of them",
    attributes: &[
        Attribute::at(
            "running",
            Kind::Choice(&["yes", "no"]),
            "whether a process of that name runs",
            Home::Elsewhere(&Elsewhere {
                infer: balancer,
                suits: |shown, wanted| shown == wanted,
                remedy: "it is a service: `systemctl disable --now irqbalance.service`, or `enable --now`",
            }),
        ),
        Attribute::at(
            "keeps_off",
            Kind::Cpus,
            "the CPUs that it is to leave alone where it runs: those it was told of, or by itself the isolated and \
             tick-less ones of the boot line, never those of a partition",
            Home::Elsewhere(&Elsewhere {
                infer: left_alone,
                suits: covers,
                remedy: "IRQBALANCE_BANNED_CPULIST= with these CPUs in its environment (/etc/default/irqbalance, or \
                         /etc/sysconfig/irqbalance), and restart it",
            }),
        )
        .absent(Absence::NotApplicable("no irqbalance runs")),
    ],
    source: "no: Red Hat real-time guide, Solarflare user guide; the isolated CPUs where it has to run: irqbalance(1)",
    absence: Absence::NotApplicable("processes cannot be seen from here"),
    effect: "looked up among the processes, with the environment it was started in; quell-keeper.service names it in \
             Conflicts=, and stops nothing by itself",
    ..REPORTED
};

fn wish_node(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if wanted.setting("near").is_none() {
        return;
    }
    let Some(near) = draft.cpus(scope, wanted, "near") else { return };
    for interface in link::chosen(scope, wanted, draft) {
        let cpus =
            interface.node.and_then(|node| scope.facts.device_nodes.iter().find(|known| known.id == node));
        let (status, reason) = match (interface.node, cpus) {
            (Some(_), Some(node)) if node.cpus.intersection(&near).is_empty() => (
                Status::Failed,
                format!(
                    "{}: on {}, with CPU {}; CPU {near} are on another",
                    interface.name, node.id, node.cpus
                ),
            ),
            (Some(_), Some(node)) => (Status::Ok, format!("{}: on {}", interface.name, node.id)),
            _ => {
                let reason =
                    format!("{}: the firmware names no node, as in most virtual machines", interface.name);
                (Status::NotApplicable, reason)
            }
        };
        draft.skip_one(wanted, "near", &interface.identity, status, reason);
    }
}

/// A card that belongs to vfio-pci may be any device: its class says that it is a network card.
fn bypass(root: &Root) -> Option<String> {
    if root.exists("/sys/module/onload") {
        return Some("onload".to_owned());
    }
    let bound = root.list("/sys/bus/pci/drivers/vfio-pci").unwrap_or_default();
    let is_card = |device: &&String| {
        let class = root.read(&format!("/sys/bus/pci/drivers/vfio-pci/{device}/class"));
        class.is_ok_and(|class| class.starts_with("0x02"))
    };
    Some(if bound.iter().any(|device| is_card(&device)) { "vfio" } else { "none" }.to_owned())
}

fn balancer(root: &Root) -> Option<String> {
    Some(if services::runs(root, "irqbalance").ok()? { "yes" } else { "no" }.to_owned())
}

// The default: irqbalance(1), IRQBALANCE_BANNED_CPULIST; its cputree.c, setup_banned_cpus.
fn left_alone(root: &Root) -> Option<String> {
    let running = Irqbalance::read(root)?;
    let by_itself = || {
        let cpus = Cpus::read(root).ok()?;
        Some(cpus.isolated.union(&cpus.nohz_full.unwrap_or_else(CpuSet::empty)))
    };
    running.banned_cpus.or_else(by_itself).map(|cpus| cpus.to_string())
}

fn covers(shown: &str, wanted: &str) -> bool {
    matches!((shown.parse::<CpuSet>(), wanted.parse::<CpuSet>()),
        (Ok(shown), Ok(wanted)) if wanted.is_subset(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for top in ["proc", "sys"] {
            fs::create_dir(dir.path().join(top)).unwrap();
        }
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[track_caller]
    fn check(infer: fn(&Root) -> Option<String>, files: &[(&str, &str)], expected: &str) {
        let (_dir, root) = machine(files);
        assert_eq!(infer(&root).as_deref(), Some(expected));
    }

    #[test]
    fn who_goes_past_the_kernel() {
        let bound = "sys/bus/pci/drivers/vfio-pci/0000:3b:00.0/class";
        check(bypass, &[], "none");
        check(bypass, &[(bound, "0x020000\n")], "vfio");
        check(bypass, &[(bound, "0x030000\n")], "none"); // a graphics card, given to a virtual machine
        check(bypass, &[("sys/module/onload/refcnt", "1\n")], "onload");
    }

    #[test]
    fn who_else_moves_interrupts() {
        check(balancer, &[("proc/7/comm", "irqbalance\n")], "yes");
        check(
            balancer,
            &[("proc/7/comm", "irqbalance-ui\n"), ("proc/irqbalance/comm", "irqbalance\n")],
            "no",
        );
    }

    #[test]
    fn which_cpus_irqbalance_leaves_alone() {
        let cpus = |file: &str| format!("sys/devices/system/cpu/{file}");
        let (online, isolated, nohz) = (cpus("online"), cpus("isolated"), cpus("nohz_full"));
        let mut files = vec![
            ("proc/7/comm", "irqbalance\n"),
            (online.as_str(), "0-3\n"),
            (isolated.as_str(), "2\n"),
            (nohz.as_str(), "3\n"),
        ];
        let (possible, present, offline) = (cpus("possible"), cpus("present"), cpus("offline"));
        files.extend([(possible.as_str(), "0-3\n"), (present.as_str(), "0-3\n"), (offline.as_str(), "\n")]);
        check(left_alone, &files, "2-3"); // by itself
        files.push(("proc/7/environ", "IRQBALANCE_BANNED_CPULIST=3\0"));
        check(left_alone, &files, "3"); // told, which ends that
        assert!(covers("2-3", "3") && !covers("3", "2-3") && covers("3", ""));
        assert_eq!(left_alone(&machine(&files[1..]).1), None);
    }
}
