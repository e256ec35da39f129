//! Where the kernel's own work for packets is done: which CPUs a queue's packets are handed to, and who polls the card.
//!
//! Files of an interface and of its queues, known by the interface's identity, so that a rename between a change and its
//! undoing does no harm; queues are made anew when their number changes, and are then other queues with the same names.

use host::interfaces::Interface;

use super::link::{self, INTERFACES};
use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Group, Home, Kind, Knob, PLAIN, Shape, Topic};

/// To which CPUs packets are handed in software, each way.
pub(crate) static STEERING: Knob = Knob {
    id: "irq.rps",
    group: Group::Interrupts,
    doc: "packets handed on to an isolated CPU are worked on there, with an interrupt from the CPU that received them",
    attributes: &[
        INTERFACES,
        Attribute::new("rps_cpus", Kind::Cpus, "to which CPUs a receive queue hands its packets on"),
        Attribute::new("xps_cpus", Kind::Cpus, "which CPUs send by a queue, where there are several"),
        Attribute::at(
            "default_cpus",
            Kind::Cpus,
            "the same of receive queues that come later",
            Home::Sysctl("net.core.rps_default_mask"),
        )
        .shaped(Shape::Mask),
        Attribute::at(
            "flows",
            Kind::Integer { min: 0, max: 1 << 29 },
            "flows that are followed to the CPU that reads them, rounded up to a power of two; 0: none. A queue takes \
             part once its own rps_flow_cnt says so",
            Home::Sysctl("net.core.rps_sock_flow_entries"),
        ),
    ],
    source: "housekeeping: cluster-node-tuning-operator; Documentation/networking/scaling.rst",
    absence: Absence::NotApplicable("this kernel hands no packets on"),
    effect: "the kernel reads the queue's mask for each packet",
    paths: &["/sys/class/net/{nic}/queues/{queue}/rps_cpus", "/sys/class/net/{nic}/queues/{queue}/xps_cpus"],
    reads: &[Topic::Network, Topic::Cpus],
    wish: wish_steering,
    locate: locate_queue,
    ..PLAIN
};

/// Who polls the card, and how long it is left alone.
pub(crate) static POLLING: Knob = Knob {
    id: "irq.napi",
    group: Group::Interrupts,
    doc: "polling in a softirq runs on whatever CPU the interrupt hit; in a thread of its own it can be placed",
    attributes: &[
        INTERFACES,
        Attribute::new(
            "threaded",
            Kind::Flag,
            "each queue is polled by a thread of its own, which iso.kthreads places",
        ),
        Attribute::new(
            "napi_defer_hard_irqs",
            Kind::Integer { min: 0, max: i32::MAX as i64 },
            "empty polls before interrupts are let in again: for sockets that poll by themselves",
        ),
        Attribute::new(
            "gro_flush_timeout",
            Kind::Integer { min: 0, max: i32::MAX as i64 },
            "how long the card is left alone between such polls, in nanoseconds",
        ),
    ],
    source: "Documentation/networking/napi.rst: for busy polling and AF_XDP",
    absence: Absence::NotApplicable("this kernel, or the interface's driver, has no such setting"),
    effect: "the kernel reads this variable at each poll; threads are named napi/INTERFACE-N",
    paths: &[
        "/sys/class/net/{nic}/threaded",
        "/sys/class/net/{nic}/napi_defer_hard_irqs",
        "/sys/class/net/{nic}/gro_flush_timeout",
    ],
    reads: &[Topic::Network],
    wish: wish_polling,
    locate: locate_interface,
    ..PLAIN
};

fn wish_steering(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(reason) = &scope.facts.network.elsewhere {
        return draft.not_applicable(wanted, reason.clone());
    }
    crate::declared::wish(scope, &rounded(wanted), draft);
    for (attribute, side) in [("rps_cpus", "rx-"), ("xps_cpus", "tx-")] {
        if wanted.setting(attribute).is_none() {
            continue;
        }
        let Some(cpus) = draft.cpus(scope, wanted, attribute) else { continue };
        for interface in link::chosen(scope, wanted, draft) {
            let queues: Vec<&String> =
                interface.queues.iter().filter(|queue| queue.starts_with(side)).collect();
            // The kernel has nothing to choose between with one queue, and refuses to be asked.
            if side == "tx-" && queues.len() < 2 {
                continue;
            }
            for queue in queues {
                let identity = format!("{} {queue}", interface.identity);
                let reason = format!("{} {queue}: {}", interface.name, wanted.knob.doc);
                draft.wish_because(scope, wanted, attribute, &identity, cpus.to_string(), reason);
            }
        }
    }
}

/// The kernel makes a power of two of it (net/core/sysctl_net_core.c, rps_sock_flow_sysctl): that is what will stand there.
fn rounded(wanted: &Wanted) -> Wanted {
    let mut wanted = wanted.clone();
    if let Some(setting) = wanted.settings.get_mut("flows")
        && let Value::Integer(flows @ 1..) = &mut setting.value
    {
        *flows = flows.unsigned_abs().next_power_of_two().cast_signed();
    }
    wanted
}

fn wish_polling(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(reason) = &scope.facts.network.elsewhere {
        return draft.not_applicable(wanted, reason.clone());
    }
    for interface in link::chosen(scope, wanted, draft) {
        for (attribute, setting) in &wanted.settings {
            if matches!(setting.value, Value::Interfaces(_)) {
                continue;
            }
            let Some(to) = wanted.text(attribute) else { continue };
            let reason = format!("{}: {}", interface.name, wanted.knob.doc);
            draft.wish_because(scope, wanted, attribute, &interface.identity, to, reason);
        }
    }
}

// Format of an identity: "0000:3b:00.0 rx-0"
fn locate_queue(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let (of, queue) = identity.rsplit_once(' ')?;
    let interface = facts.network.find(of)?;
    let queue = interface.queues.iter().find(|known| *known == queue)?;
    let file = ["rps_cpus", "xps_cpus"].into_iter().find(|file| *file == attribute)?;
    let form = Form::CpuMask { online: facts.online().into(), requested: None };
    Some(Cell::plain(interface.file(&format!("queues/{queue}/{file}")), form))
}

fn locate_interface(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let interface: &Interface = facts.network.find(identity)?;
    let known = ["threaded", "napi_defer_hard_irqs", "gro_flush_timeout"];
    let file = known.into_iter().find(|file| *file == attribute)?;
    Some(Cell::plain(interface.file(file), Form::Number))
}
