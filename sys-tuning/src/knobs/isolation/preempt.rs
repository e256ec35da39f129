//! How readily the kernel lets go of a CPU that runs in it.
//!
//! A real-time kernel is always fully preemptible and has no choice. Others were built with one model, or with the choice
//! at boot, which their version tells (PREEMPT_DYNAMIC). Source: Documentation/admin-guide/kernel-parameters.txt, preempt;
//! kernel/sched/core.c, sched_dynamic_mode.

use host::Root;

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{ARGUMENT, Attribute, Elsewhere, Group, Home, Kind, Knob, Sign, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "iso.preempt",
    group: Group::Isolation,
    doc: "a thread that becomes runnable waits until the kernel lets go of the CPU; full preemption lets go nearly anywhere",
    attributes: &[
        Attribute::at(
            "model",
            Kind::Choice(&["none", "voluntary", "full", "lazy"]),
            "where the kernel lets go of a CPU",
            Home::Argument("preempt"),
        )
        .seen(Sign::Told(in_force)),
        Attribute::at(
            "realtime",
            Kind::Choice(&["yes", "no"]),
            "whether a real-time kernel (PREEMPT_RT) is expected to run",
            Home::Elsewhere(&Elsewhere {
                infer: is_realtime,
                suits: |shown, wanted| shown == wanted,
                remedy: "it is another kernel: install it, and make it the boot loader's choice",
            }),
        ),
    ],
    source: "full, or better a real-time kernel: RHEL for Real Time",
    effect: "the model in force, where debugfs shows it; else the boot log of the trial holds no refusal",
    reads: &[Topic::Boot, Topic::Kernel],
    wish,
    ..ARGUMENT
};

// Format: "1\n", and no file where the kernel is no real-time one   (kernel/ksysfs.c, realtime_show)
fn is_realtime(root: &Root) -> Option<String> {
    let shown = host::if_present(root.read_lossy("/sys/kernel/realtime")).ok()?;
    Some(if shown.is_some_and(|text| text.trim() == "1") { "yes" } else { "no" }.to_owned())
}

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(model) = wanted.text("model") else { return declared::wish(scope, wanted, draft) };
    let kernel = &scope.facts.kernel;
    let (status, reason) = match (kernel.is_realtime, kernel.is_dynamic, model.as_str()) {
        (true, _, "full") => (Status::Ok, "already so: a real-time kernel is always fully preemptible"),
        (true, ..) => (Status::NotApplicable, "a real-time kernel is always fully preemptible"),
        (false, false, _) => (Status::NotApplicable, "this kernel was built with one model of preemption"),
        (false, true, _) => return declared::wish(scope, wanted, draft),
    };
    draft.skip_attribute(KNOB.id, "model", status, reason.to_owned());
    let mut rest = wanted.clone();
    rest.settings.remove("model");
    declared::wish(scope, &rest, draft);
}

// Format: "none voluntary (full) lazy \n"   (kernel/sched/debug.c, sched_dynamic_show)
fn in_force(root: &Root, value: &str) -> Option<(String, bool)> {
    let text = root.read_lossy("/sys/kernel/debug/sched/preempt").ok()?;
    let shown = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('(')?.strip_suffix(')'))?;
    Some((shown.to_owned(), shown == value))
}
