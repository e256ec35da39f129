//! The boot line on a fake machine: planned, tried, kept or refused, rolled back, and killed at every call of an edit.
//!
//! What GRUB does at a boot is done here to the same blocks ([`Machine::reboot`]); that the shipped script does just that
//! is shown by the product's own tests, with GRUB's programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use host::Root;
use host::grub::Block;
use sys_tuning::boot::{Confirm, Settled, Standing, Verdict, state};
use sys_tuning::{ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo, Status};

use crate::killer::{self, Fate};
use crate::process;
use crate::tree::Machine;

const GRUB: &str = "/boot/grub";
const TABLE: &str = "26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n";
const MENU: &str = "### BEGIN /etc/grub.d/01_quell ###\nload_env --file $prefix/quell/armed.env quell_armed\n\
                    menuentry 'Debian' {\n\tlinux /boot/vmlinuz root=/dev/vda1 ro $quell_args\n}\n";
/// What the machine was booted with before quell.
const BEFORE: &str = "BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro";

const QUIET: &str = "schema = 'quell.profile/1'\n[cpus]\nisolated = '1'\n[knobs]\n\
                     'iso.isolcpus' = { cpus = 'isolated' }\n'iso.nohz' = { cpus = 'isolated' }\n\
                     'iso.rcu' = { cpus = 'isolated', poll = true }\n'iso.skew' = { enabled = true }\n\
                     'iso.lockup' = { nosoftlockup = true }\n'irq.default' = { boot = 'housekeeping' }\n";
const QUIET_LINE: &str = "irqaffinity=0 isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1 rcu_nocb_poll skew_tick=1 \
                          nosoftlockup";
const SKEW: &str = "schema = 'quell.profile/1'\n[knobs]\n'iso.skew' = { enabled = true }\n";

/// A machine whose boot quell has a part in.
pub fn machine() -> Machine {
    let machine = Machine::new();
    machine.put("/proc/self/mountinfo", TABLE);
    machine.put("/sys/dev/block/254:1/uevent", "DEVNAME=vda1\nDEVTYPE=partition\n");
    machine.put(&format!("{GRUB}/grub.cfg"), MENU);
    machine.put("/proc/cmdline", &format!("{BEFORE}\n"));
    machine.put("/proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000001\n");
    machine.put("/proc/sys/kernel/hostname", "host\n");
    machine.put("/proc/sys/kernel/osrelease", "6.12.0\n");
    machine.put("/sys/devices/system/cpu/isolated", "\n");
    machine.put("/sys/devices/system/cpu/nohz_full", "\n");
    machine.put("/proc/sys/kernel/soft_watchdog", "1\n");
    machine.put("/dev/kmsg", "6,0,0,-;Linux version 6.12.0\n");
    assert_eq!(machine.engine().install_boot().unwrap().as_deref(), Some("/boot/grub/quell"));
    machine
}

impl Machine {
    fn block(&self, name: &str) -> Block {
        Block::read(&Root::at(&self.root()), &format!("{GRUB}/quell/{name}.env")).unwrap()
    }

    /// What GRUB's script does, and the kernel that then accepts everything it is told.
    pub fn reboot(&self, number: u32) -> String {
        let word = |block: &Block, name: &str| block.value(name).unwrap_or_default().to_owned();
        let (trial, armed) = (self.block("trial"), self.block("armed"));
        let id = word(&armed, "quell_armed");
        let mut arguments = word(&self.block("good"), "quell_good");
        if !id.is_empty() && id == word(&trial, "quell_trial_id") {
            self.save(&armed, "", &id, "0");
            arguments = word(&trial, "quell_trial");
        } else if armed.value("quell_after") == Some("0") {
            self.save(&armed, &id, &word(&armed, "quell_tried"), "1");
        }
        self.put("/proc/cmdline", &format!("{BEFORE} {arguments}\n"));
        self.put("/proc/sys/kernel/random/boot_id", &format!("00000000-0000-4000-8000-{number:012}\n"));
        let value = |name: &str| {
            let found = arguments.split(' ').find_map(|word| word.strip_prefix(name));
            found
                .unwrap_or_default()
                .rsplit_once("domain,")
                .map_or(found.unwrap_or_default(), |(_, cpus)| cpus)
                .to_owned()
        };
        self.put("/sys/devices/system/cpu/isolated", &format!("{}\n", value("isolcpus=")));
        self.put("/sys/devices/system/cpu/nohz_full", &format!("{}\n", value("nohz_full=")));
        self.put(
            "/proc/sys/kernel/soft_watchdog",
            if arguments.contains("nosoftlockup") { "0\n" } else { "1\n" },
        );
        let mask = if arguments.contains("irqaffinity=0") { "1\n" } else { "3\n" };
        self.put("/proc/irq/default_smp_affinity", mask);
        let serves = value("rcu_nocbs=");
        self.put("/proc/17/comm", if serves.is_empty() { "kworker/0:1\n" } else { "rcuop/1\n" });
        arguments
    }

    /// GRUB writes these words of its block, and leaves the others as they are.
    fn save(&self, armed: &Block, id: &str, tried: &str, after: &str) {
        let others =
            ["quell_passed", "quell_armed_in"].map(|name| (name, armed.value(name).unwrap_or_default()));
        let ours = [("quell_armed", id), ("quell_tried", tried), ("quell_after", after)];
        let bytes = Block::of(&[&ours[..], &others[..]].concat()).render().unwrap();
        self.put("/boot/grub/quell/armed.env", std::str::from_utf8(&bytes).unwrap());
    }

    /// As [`Machine::reboot`], and somebody picks an entry that does not carry our line.
    fn reboot_without(&self, number: u32) {
        self.reboot(number);
        self.put("/proc/cmdline", &format!("{BEFORE} single\n"));
    }

    fn standing(&self) -> (Standing, String) {
        let state = state(&Root::at(&self.root())).unwrap().unwrap();
        (state.standing(), state.line().arguments.clone())
    }
}

fn apply(engine: &Engine, profile: &str) -> Vec<(String, Status)> {
    let plan = engine.plan(&Profile::parse("p", profile).unwrap()).unwrap();
    let applied = engine.apply(&plan, &ApplyOptions::default()).unwrap();
    applied.changes.iter().map(|row| (row.knob.to_owned(), row.status)).collect()
}

/// As whoever holds the host to its profile in a new boot.
fn hold(engine: &Engine, profile: &str) {
    let plan = engine.plan(&Profile::parse("p", profile).unwrap()).unwrap().at_runtime();
    engine.apply(&plan, &ApplyOptions { is_hold: true, ..ApplyOptions::default() }).unwrap();
}

/// `knob status` of each row, once each.
fn verified(engine: &Engine, profile: &str) -> BTreeSet<String> {
    let verified = engine.verify(&Profile::parse("p", profile).unwrap()).unwrap();
    verified.knobs.iter().map(|row| format!("{} {}", row.knob, row.status)).collect()
}

fn baseline() -> RollbackOptions {
    RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }
}

#[test]
fn a_line_is_tried_once_and_kept_when_the_kernel_accepted_it() {
    let machine = machine();
    let engine = machine.engine();
    let plan = engine.plan(&Profile::parse("p", QUIET).unwrap()).unwrap();
    assert!(plan.reboot_required);
    let parts: Vec<String> =
        plan.changes[0].parts.iter().map(|part| format!("{} {}", part.knob, part.to)).collect();
    assert_eq!(plan.changes.len(), 1, "one line, one change");
    assert_eq!(parts.len(), 7, "{parts:?}");
    assert!(parts.contains(&"iso.isolcpus isolcpus=managed_irq,domain,1".to_owned()), "{parts:?}");
    assert_eq!(apply(&engine, QUIET), [("boot.line".to_owned(), Status::NeedsReboot)]);
    assert_eq!(machine.standing(), (Standing::Armed, QUIET_LINE.to_owned()));
    assert!(verified(&engine, QUIET).iter().all(|row| row.ends_with("needs-reboot")));
    assert!(apply(&engine, QUIET).is_empty(), "applying again writes nothing");
    assert!(
        engine.plan(&Profile::parse("p", QUIET).unwrap()).unwrap().reboot_required,
        "and a reboot is due still"
    );

    assert!(machine.reboot(2).ends_with(" panic=10"), "a kernel that dies on it reboots");
    assert_eq!(machine.standing(), (Standing::OnTrial, QUIET_LINE.to_owned()));
    let Settled::Kept { line, judged } = engine.settle_boot(Confirm::ByEvidence).unwrap() else { panic!() };
    assert_eq!(line.arguments, QUIET_LINE);
    assert!(judged.iter().all(|one| one.verdict == Verdict::Accepted), "{judged:#?}");
    assert_eq!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Nothing);
    assert!(
        verified(&engine, QUIET).iter().all(|row| row.ends_with(" ok")),
        "{:?}",
        verified(&engine, QUIET)
    );
    assert!(engine.drift().unwrap().drifted.is_empty(), "keeping it changed the blocks, not the line");

    let kept = machine.reboot(3);
    assert!(kept.starts_with(QUIET_LINE) && !kept.contains("panic"), "{kept}");
    assert!(verified(&engine, QUIET).iter().all(|row| row.ends_with(" ok")));
}

/// One argument after the other is on the command line and not in force: what each kernel does that refuses it, or whose
/// lists do not match. None passes, and every other one does.
#[test]
fn a_dropped_argument_never_passes() {
    const DROPPED: &[(&str, &str, &str)] = &[
        ("iso.isolcpus", "/sys/devices/system/cpu/isolated", "\n"),
        ("iso.nohz", "/sys/devices/system/cpu/nohz_full", "\n"),
        ("iso.rcu", "/proc/17/comm", "kworker/0:1\n"),
        // What a knob of the running system may have set since tells nothing of the argument: the boot log does.
        (
            "iso.lockup",
            "/dev/kmsg",
            "6,0,0,-;Linux version 6.12.0\n5,1,1,-;Unknown kernel command line parameters \"nosoftlockup\", will be passed to user space.\n",
        ),
        (
            "irq.default",
            "/dev/kmsg",
            "6,0,0,-;Linux version 6.12.0\n5,1,1,-;Unknown kernel command line parameters \"irqaffinity=0\", will be passed to user space.\n",
        ),
        (
            "iso.skew",
            "/dev/kmsg",
            "6,0,0,-;Linux version 6.12.0\n5,1,1,-;Unknown kernel command line parameters \"skew_tick=1\", will be passed to user space.\n",
        ),
    ];
    for (knob, path, shows) in DROPPED {
        let machine = machine();
        let engine = machine.engine();
        apply(&engine, QUIET);
        machine.reboot(2);
        let honest = verified(&engine, QUIET);
        assert!(honest.iter().all(|row| row.ends_with(" ok")), "{honest:?}");
        machine.put(path, shows);
        let told = verified(&engine, QUIET);
        let of = |knob: &str| -> Vec<&String> {
            told.iter().filter(|row| row.starts_with(&format!("{knob} "))).collect()
        };
        assert!(of(knob).iter().any(|row| row.ends_with(" failed")), "{knob} was dropped: {told:?}");
        let others = DROPPED.iter().filter(|(other, ..)| other != knob).flat_map(|(other, ..)| of(other));
        assert!(
            others.clone().all(|row| row.ends_with(" ok")),
            "of these none was dropped: {:?}",
            others.collect::<Vec<_>>()
        );
        // It is on its line all the same, and that counts for nothing.
        assert!(machine.get("/proc/cmdline").contains(QUIET_LINE));
        assert!(!matches!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Kept { .. }), "{knob}");
    }
}

/// Arguments whose effect stands in a file or in the boot log, each honest and each dropped without a word: a kernel takes
/// what has a dot for a module's, and says nothing where it does not know it.
#[test]
fn what_a_kernel_passes_over_in_silence_is_seen_where_it_acts() {
    const KNOBS: &str = "schema = 'quell.profile/1'\n[cpus]\nisolated = '1'\n[knobs]\n\
                         'iso.wq' = { boot = 'housekeeping' }\n'iso.kprio' = { boot = 11 }\n\
                         'iso.smt' = { boot = true }\n'iso.lockup' = { hard = false }\n'sec.audit' = { enabled = false }\n";
    const FIRST: &str = "6,0,0,-;Linux version 6.12.0\n";
    let (smt, wq) = ("/sys/devices/system/cpu/smt/active", "/sys/devices/virtual/workqueue/cpumask");
    let prio = "/sys/module/rcutree/parameters/kthread_prio";
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, KNOBS);
    let line = machine.reboot(2);
    for word in ["workqueue.unbound_cpus=0", "rcutree.kthread_prio=11", "nosmt", "nmi_watchdog=0", "audit=0"]
    {
        assert!(line.split(' ').any(|known| known == word), "{word}: {line}");
    }
    let honest = [
        (wq, "1\n"),
        (prio, "11\n"),
        (smt, "0\n"),
        ("/proc/sys/kernel/nmi_watchdog", "0\n"),
        ("/dev/kmsg", "6,0,0,-;Linux version 6.12.0\n6,9,9,-;audit: disabled (until reboot)\n"),
    ];
    let show = || honest.iter().for_each(|(path, text)| machine.put(path, text));
    let check = |path: &str, text: &str, knob: &str| {
        show();
        machine.put(path, text);
        let told = verified(&engine, KNOBS);
        let failed: Vec<&String> = told.iter().filter(|row| !row.ends_with(" ok")).collect();
        let expected = format!("{knob} failed");
        assert_eq!(failed, if knob.is_empty() { vec![] } else { vec![&expected] }, "{path} shows {text:?}");
    };
    check(smt, "0\n", "");
    check(smt, "1\n", ""); // switched on again since, says the log that has no refusal
    check(wq, "3\n", "iso.wq");
    check(prio, "1\n", "iso.kprio");
    check("/dev/kmsg", &format!("{FIRST}6,9,9,-;audit: enabled (after initialization)\n"), "sec.audit");
    let unknown = "5,1,1,-;Unknown kernel command line parameters \"nosmt\", will be passed to user space.\n";
    check("/dev/kmsg", &format!("{FIRST}{unknown}6,9,9,-;audit: disabled (until reboot)\n"), "iso.smt");
}

#[test]
fn what_the_kernel_refused_is_not_kept_and_named() {
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, QUIET);
    machine.reboot(2);
    // As a kernel does whose lists do not match: the argument is on its command line and not in force.
    machine.put("/sys/devices/system/cpu/nohz_full", "\n");
    machine.put(
        "/dev/kmsg",
        "5,0,0,-;Linux version 6.12.0\n4,58,0,-;Housekeeping: nohz_full= must match isolcpus=\n",
    );
    let Settled::Refused { judged, .. } = engine.settle_boot(Confirm::ByHand).unwrap() else { panic!() };
    let refused: Vec<&str> = judged
        .iter()
        .filter(|one| one.verdict == Verdict::Refused)
        .map(|one| one.argument.as_str())
        .collect();
    assert_eq!(refused, ["nohz_full=1"]);
    assert_eq!(machine.standing(), (Standing::Refused, "none".to_owned()));
    let plan = engine.plan(&Profile::parse("p", QUIET).unwrap()).unwrap();
    assert!(plan.changes.is_empty(), "it is not tried again by itself");
    let told = &plan.skipped[0].reason;
    assert!(
        told.contains("nohz_full=1: the kernel said: Housekeeping: nohz_full= must match isolcpus="),
        "{told}"
    );
    assert_eq!(engine.drift().unwrap().drifted[0].knob, "boot.line");
    assert_eq!(machine.reboot(3), "", "the next boot is the line before");
    assert!(engine.forget_boot_trial().unwrap());
    assert_eq!(apply(&engine, QUIET).len(), 1, "forgotten, it may be tried again");
}

#[test]
fn threads_for_every_cpu_do_not_say_whose_callbacks_are_offloaded() {
    let machine = machine();
    let engine = machine.engine();
    let check = |number, log: &str, expected: &str| {
        apply(&engine, "schema = 'quell.profile/1'\n[knobs]\n'iso.rcu' = { cpus = '1' }\n");
        machine.reboot(number);
        machine.put("/proc/18/comm", "rcuop/0\n"); // as Linux 6.12 does
        machine.put("/dev/kmsg", log);
        let settled = engine.settle_boot(Confirm::ByEvidence).unwrap();
        assert!(format!("{settled:?}").starts_with(expected), "{settled:?}");
        engine.rollback(&baseline()).unwrap();
        engine.forget_boot_trial().unwrap();
    };
    check(2, "6,70,0,-;rcu: \\x09Offload RCU callbacks from CPUs: 1.\n", "Kept");
    check(3, "6,70,0,-;rcu: \\x09Offload RCU callbacks from CPUs: 0.\n", "Refused");
    check(4, "6,4711,900000000,-;the ring has lost its beginning\n", "Undecided");
}

#[test]
fn a_line_that_did_not_come_up_is_not_tried_again() {
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, SKEW);
    machine.reboot(2); // dies before anything of ours runs
    assert_eq!(machine.reboot(3), "", "the old line");
    assert_eq!(machine.standing(), (Standing::CameBack, "none".to_owned()));
    assert_eq!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Nothing);
    let plan = engine.plan(&Profile::parse("p", SKEW).unwrap()).unwrap();
    assert!(plan.skipped[0].reason.contains("came back with the one before"), "{:?}", plan.skipped);
    // Another line may.
    assert_eq!(apply(&engine, QUIET).len(), 1);
}

#[test]
fn a_boot_that_passed_a_trial_over_has_not_used_it_up() {
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, SKEW);
    machine.reboot_without(2);
    assert_eq!(machine.standing(), (Standing::PassedOver, "skew_tick=1".to_owned()));
    let settled = engine.settle_boot(Confirm::ByEvidence).unwrap();
    assert!(matches!(settled, Settled::PassedOver { is_armed_again: true, .. }), "{settled:?}");
    assert_eq!(machine.standing().0, Standing::Armed);
    assert!(machine.reboot(3).starts_with("skew_tick=1"), "and the next boot tries it");
    assert_eq!(machine.standing().0, Standing::OnTrial);
    // Passed over twice, it is given up.
    engine.rollback(&baseline()).unwrap();
    apply(&engine, SKEW);
    for (number, again) in [(4, true), (5, false)] {
        machine.reboot_without(number);
        let settled = engine.settle_boot(Confirm::ByEvidence).unwrap();
        assert!(matches!(settled, Settled::PassedOver { is_armed_again, .. } if is_armed_again == again));
    }
    assert_eq!(machine.standing().0, Standing::Refused);
    assert_eq!(machine.reboot(6), "", "the good line");
    let plan = engine.plan(&Profile::parse("p", SKEW).unwrap()).unwrap();
    assert!(plan.skipped[0].reason.contains("two boots passed it over"), "{:?}", plan.skipped);
}

#[test]
fn a_trial_that_grub_left_armed_is_told() {
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, SKEW);
    assert_eq!(machine.standing().0, Standing::Armed);
    // GRUB cannot write: it boots the good line and leaves the block as it is.
    machine.put("/proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000002\n");
    assert_eq!(machine.standing().0, Standing::NotTaken);
    let settled = engine.settle_boot(Confirm::ByEvidence).unwrap();
    assert!(matches!(settled, Settled::NotTaken { .. }), "{settled:?}");
    assert!(engine.forget_boot_trial().unwrap());
    assert_eq!(machine.standing().0, Standing::Settled);
}

#[test]
fn what_cannot_be_seen_is_for_the_operator_to_say() {
    let machine = machine();
    let engine = machine.engine();
    apply(&engine, SKEW);
    machine.reboot(2);
    machine.put("/dev/kmsg", "6,4711,900000000,-;the ring has lost its beginning\n");
    assert!(matches!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Undecided { .. }));
    assert_eq!(machine.standing().0, Standing::OnTrial);
    assert!(matches!(engine.settle_boot(Confirm::ByHand).unwrap(), Settled::Kept { .. }));
}

#[test]
fn a_line_outlives_the_boot_in_the_journal_and_goes_back_to_none() {
    let machine = machine();
    let engine = machine.engine();
    let both = format!("{QUIET}'mem.swap' = {{ swappiness = 10 }}\n");
    apply(&engine, &both);
    machine.reboot(2);
    engine.settle_boot(Confirm::ByEvidence).unwrap();
    machine.put("/proc/sys/vm/swappiness", "60\n"); // as the new boot has it
    let drift = engine.drift().unwrap();
    assert!(drift.drifted.is_empty(), "{drift:#?}"); // the run-time entry is void, the line's is not
    assert_eq!(drift.checked, 1);
    let back = engine.rollback(&baseline()).unwrap();
    let rows: Vec<(&str, &str)> =
        back.changes.iter().map(|row| (row.knob.as_str(), row.to.as_str())).collect();
    assert_eq!(rows, [("boot.line", "none")]);
    assert_eq!(machine.reboot(3), "", "no trial: without arguments it booted before");
    assert_eq!(machine.standing(), (Standing::Settled, "none".to_owned()));
    assert!(engine.rollback(&baseline()).unwrap().changes.is_empty());
}

/// The next boot is the line before's, and whoever holds the host brings the rest of the wish about in it.
#[test]
fn a_line_that_did_not_come_up_goes_with_its_wish_and_is_nobody_elses() {
    for steps in [&[RollbackTo::Last, RollbackTo::Baseline][..], &[RollbackTo::Baseline]] {
        let machine = machine();
        let engine = machine.engine();
        let swap = |value: u32| format!("'mem.swap' = {{ swappiness = {value} }}\n");
        let reboots = |number: u32| {
            let arguments = machine.reboot(number);
            machine.put("/proc/sys/vm/swappiness", "60\n"); // as a new boot has it
            arguments
        };
        let (first, second) = (format!("{SKEW}{}", swap(10)), format!("{QUIET}{}", swap(20)));
        apply(&engine, &first);
        reboots(2);
        engine.settle_boot(Confirm::ByEvidence).unwrap();
        hold(&engine, &first);
        apply(&engine, &second);
        reboots(3); // dies before anything of ours runs
        assert!(reboots(4).starts_with("skew_tick=1 "), "the old line");
        engine.settle_boot(Confirm::ByEvidence).unwrap();
        hold(&engine, &second);
        for to in steps {
            let back = engine.rollback(&RollbackOptions { to: *to, ..baseline() }).unwrap();
            assert_eq!(back.result, Outcome::Done, "{back:#?}");
        }
        assert_eq!(machine.get("/proc/sys/vm/swappiness"), "60\n");
        assert_eq!(reboots(5), "");
        assert!(engine.rollback(&baseline()).unwrap().changes.is_empty());
    }
}

/// The wish of an earlier boot that is held in this one is one wish: its line goes back with it.
#[test]
fn one_step_back_takes_the_line_of_an_earlier_boot_too() {
    let machine = machine();
    let engine = machine.engine();
    let text = format!("{SKEW}'mem.swap' = {{ swappiness = 10 }}\n");
    apply(&engine, &text);
    machine.reboot(2);
    engine.settle_boot(Confirm::ByEvidence).unwrap();
    machine.put("/proc/sys/vm/swappiness", "60\n");
    hold(&engine, &text);
    let back = engine.rollback(&RollbackOptions { to: RollbackTo::Last, ..baseline() }).unwrap();
    assert_eq!(back.undone, [1, 2]);
    assert_eq!(machine.reboot(3), "");
    assert_eq!(machine.get("/proc/sys/vm/swappiness"), "60\n");
}

#[test]
fn one_step_back_goes_through_a_trial_again() {
    let machine = machine();
    let engine = machine.engine();
    for (number, profile) in [(2, SKEW), (4, QUIET)] {
        apply(&engine, profile);
        machine.reboot(number);
        assert!(matches!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Kept { .. }));
    }
    engine.rollback(&RollbackOptions { to: RollbackTo::Last, ..baseline() }).unwrap();
    assert_eq!(machine.standing(), (Standing::Armed, "skew_tick=1".to_owned()));
    machine.reboot(5);
    assert!(matches!(engine.settle_boot(Confirm::ByEvidence).unwrap(), Settled::Kept { .. }));
    assert!(engine.drift().unwrap().drifted.is_empty());
}

/// Changes to the machine, and what a plan then says of the line.
#[track_caller]
fn refuse(changes: &[(&str, Option<&str>)], expected: (Status, &str)) {
    let machine = machine();
    for (path, text) in changes {
        match text {
            Some(text) => machine.put(path, text),
            None => std::fs::remove_file(machine.file(path)).unwrap(),
        }
    }
    let plan = machine.engine().plan(&Profile::parse("p", SKEW).unwrap()).unwrap();
    let root = machine.root().display().to_string();
    let told: Vec<(Status, String)> =
        plan.skipped.iter().map(|row| (row.status, row.reason.replace(&root, ""))).collect();
    assert!(plan.changes.is_empty());
    assert_eq!(told, [(expected.0, expected.1.to_owned())]);
}

#[test]
fn a_boot_loader_that_cannot_take_a_trial_back_is_refused() {
    let mount = |device: &str, kind: &str, source: &str, options: &str| {
        format!("26 1 {device} / / {options} - {kind} {source} rw\n")
    };
    let remedy = "put /boot on a partition of its own with ext4";
    for (kind, source) in
        [("btrfs", "/dev/sda1"), ("zfs", "tank/root"), ("nfs4", "srv:/root"), ("f2fs", "/dev/sda1")]
    {
        let table = mount("0:40", kind, source, "rw");
        let told = format!(
            "/boot/grub is on {kind}, where GRUB cannot write a block back, so that a trial would be tried for ever ({remedy})"
        );
        refuse(&[("/proc/self/mountinfo", Some(&table))], (Status::Failed, &told));
    }
    let table = mount("253:0", "ext4", "/dev/mapper/vg0-root", "rw");
    let lvm = [
        ("/proc/self/mountinfo", Some(table.as_str())),
        ("/sys/dev/block/253:0/uevent", Some("DEVNAME=dm-0\n")),
        ("/sys/dev/block/253:0/dm/name", Some("vg0-root\n")),
    ];
    let told = format!(
        "/boot/grub is on LVM or another mapping (vg0-root), which GRUB reads and does not write, so that a trial would be \
         tried for ever ({remedy})"
    );
    refuse(&lvm, (Status::Failed, &told));
    let table = mount("9:0", "xfs", "/dev/md0", "rw");
    let raid = [
        ("/proc/self/mountinfo", Some(table.as_str())),
        ("/sys/dev/block/9:0/uevent", Some("DEVNAME=md0\n")),
    ];
    let told = told.replace("LVM or another mapping (vg0-root)", "software RAID (/dev/md0)");
    refuse(&raid, (Status::Failed, &told));
    let read_only = mount("254:1", "ext4", "/dev/vda1", "ro");
    let told = "/boot/grub is mounted read-only (mount -o remount,rw /)";
    refuse(&[("/proc/self/mountinfo", Some(&read_only))], (Status::Failed, told));
}

#[test]
fn a_menu_that_does_not_carry_the_line_is_refused() {
    let menu = "/boot/grub/grub.cfg";
    refuse(
        &[(menu, Some("linux /boot/vmlinuz root=/dev/vda1 ro\n"))],
        (Status::Failed, "/boot/grub/grub.cfg: /etc/grub.d/01_quell is not in it yet (run update-grub once)"),
    );
    let without = MENU.replace(" $quell_args", "");
    refuse(
        &[(menu, Some(&without))],
        (Status::Failed, "/boot/grub/grub.cfg: no entry holds $quell_args (run update-grub once)"),
    );
    refuse(&[(menu, None)], (Status::Failed, "/boot/grub/grub.cfg: there is no menu (run update-grub once)"));
    let bls = "load_env --file $prefix/quell/armed.env\nblscfg\n";
    let entry = "/boot/loader/entries/1234-6.12.0.conf";
    refuse(
        &[(menu, Some(bls)), (entry, Some("title Fedora\noptions root=/dev/sda1 ro\n"))],
        (
            Status::Failed,
            "/boot/loader/entries/1234-6.12.0.conf: its options lack $quell_args (grubby --update-kernel=ALL \
             --args='$quell_args')",
        ),
    );
    let machine = machine();
    machine.put(menu, bls);
    machine.put(entry, "title Fedora\noptions root=/dev/sda1 ro $quell_args\n");
    assert_eq!(apply(&machine.engine(), SKEW).len(), 1);
}

#[test]
fn without_a_boot_loader_of_ours_there_is_nothing_to_do_or_a_reason() {
    let skew = Profile::parse("p", SKEW).unwrap();
    let told = |machine: &Machine| {
        let plan = machine.engine().plan(&skew).unwrap();
        let root = machine.root().display().to_string();
        (plan.skipped[0].status, plan.skipped[0].reason.replace(&root, ""))
    };
    let bare = Machine::new();
    assert_eq!(
        told(&bare),
        (Status::NotApplicable, "no boot loader is configured from this system".to_owned())
    );
    bare.put("/boot/loader/loader.conf", "timeout 3\n");
    let (status, reason) = told(&bare);
    assert_eq!(status, Status::Failed);
    assert!(reason.starts_with("/boot/loader/loader.conf: systemd-boot hands entries"), "{reason}");
    let grub = Machine::new();
    grub.put("/boot/grub/grub.cfg", MENU);
    let expected = "quell's part of GRUB is not installed: there is no /boot/grub/quell (`quell tune boot init` makes it)";
    assert_eq!(told(&grub), (Status::NotApplicable, expected.to_owned()));
    let broken = machine();
    std::fs::remove_file(broken.file("/boot/grub/quell/armed.env")).unwrap();
    let expected = "/boot/grub/quell: a block is missing (`quell tune boot init` makes those that are)";
    assert_eq!(told(&broken), (Status::Failed, expected.to_owned()));
}

/// As a power cut, or somebody's editor, may leave them.
#[test]
fn a_block_that_is_none_is_told_and_made_anew() {
    for left in ["", "garbage", "# GRUB Environment Block\nquell_armed=\n"] {
        let machine = machine();
        assert_eq!(apply(&machine.engine(), SKEW)[0].1, Status::NeedsReboot);
        machine.put("/boot/grub/quell/armed.env", left);
        if !left.starts_with('#') {
            let told = machine.engine().boot().unwrap_err().to_string();
            assert!(told.contains("armed.env") && told.contains("`quell tune boot init`"), "{told}");
        }
        let trial = machine.block("trial");
        machine.engine().install_boot().unwrap();
        assert_eq!(machine.get("/boot/grub/quell/armed.env").len(), host::grub::BLOCK_BYTES);
        assert_eq!(machine.block("trial").value("quell_trial_id"), trial.value("quell_trial_id"), "it stays");
        assert_eq!(machine.standing().0, Standing::Settled, "nothing is armed");
        assert_eq!(apply(&machine.engine(), SKEW)[0].1, Status::NeedsReboot, "{left:?}");
        assert_eq!(machine.standing().0, Standing::Armed);
    }
}

/// What stands in the way of a profile with these knobs.
#[track_caller]
fn danger(knobs: &str, expected: &[&str]) {
    let machine = machine();
    let text = format!("schema = 'quell.profile/1'\n[knobs]\n{knobs}\n");
    let plan = machine.engine().plan(&Profile::parse("p", &text).unwrap()).unwrap();
    let told: Vec<String> = plan.dangers.iter().map(|one| format!("{}: {}", one.knob, one.reason)).collect();
    assert_eq!(told, expected);
    let options = ApplyOptions { accept_dangers: true, ..ApplyOptions::default() };
    assert_eq!(machine.engine().apply(&plan, &options).is_err(), !expected.is_empty());
    assert_eq!(machine.standing().0, if expected.is_empty() { Standing::Armed } else { Standing::Settled });
}

#[test]
fn lines_that_would_hurt_are_refused_before_anything_is_written() {
    danger("'iso.nohz' = { cpus = '1' }", &[]);
    danger(
        "'iso.isolcpus' = { cpus = '0-1' }",
        &[
            "iso.isolcpus: CPU 0-1 is every CPU there is: none is left to the kernel's work and everybody else",
        ],
    );
    danger(
        "'iso.nohz' = { cpus = '0' }",
        &["iso.nohz: CPU 0 is the boot CPU: the kernel takes it off such lists again"],
    );
    danger("'mem.hugeboot' = { '2M' = { node0 = 4 } }", &[]);
}

#[test]
fn a_line_that_does_not_fit_is_refused_with_the_arithmetic() {
    let machine = machine();
    machine.put("/proc/cmdline", &format!("{BEFORE} {}\n", "x".repeat(2000)));
    let plan = machine.engine().plan(&Profile::parse("p", QUIET).unwrap()).unwrap();
    let told = &plan.dangers[0].reason;
    assert!(told.starts_with("2043 characters of other arguments and "), "{told}");
    assert!(told.ends_with("the kernel takes 2047 and would cut the rest off"), "{told}");
}

/// Every point with QUELL_FULL, every third otherwise: an edit is short.
fn stride() -> usize {
    if std::env::var_os("QUELL_FULL").is_some() { 1 } else { 3 }
}

/// Kills `victim` at its points on a machine prepared by `prepare`; the line must be one of `lines` then, the armed flag
/// must point to nothing or to a whole line, and a roll-back must lead to `after`.
fn enumerate(
    prepare: &dyn Fn(&Machine),
    profile: &str,
    victim: &str,
    lines: &[&str],
    after: &str,
) -> (u64, u64) {
    let prepared = || {
        let machine = machine();
        prepare(&machine);
        let path = machine.profile(profile);
        (machine, path)
    };
    let (machine, path) = prepared();
    let command =
        |machine: &Machine, path: &Path| process::command(&machine.root(), &machine.state(), victim, path);
    let Fate::Exited(0, points) = killer::run(&mut command(&machine, &path), 0) else { panic!() };
    let mut killed = 0;
    for point in (1..=points).step_by(stride()) {
        let (machine, path) = prepared();
        killed += u64::from(killer::run(&mut command(&machine, &path), point) == Fate::Killed);
        let root = Root::at(&machine.root());
        let found = state(&root).unwrap().unwrap();
        let line = found.line().arguments.clone();
        assert!(lines.contains(&line.as_str()), "point {point}: {line}");
        let booted = machine.reboot(9);
        let told = booted.split(" quell.boot=").next().unwrap();
        assert!(
            lines.contains(&if told.is_empty() { "none" } else { told }),
            "point {point}: boots {booted:?}"
        );
        let engine = Engine::new(Arc::new(Root::at(&machine.root())), &machine.state());
        engine.settle_boot(Confirm::ByEvidence).unwrap();
        engine.rollback(&baseline()).unwrap();
        assert_eq!(machine.standing().1, after, "point {point}");
    }
    (points, killed)
}

#[test]
fn an_edit_is_killed_at_every_call() {
    let fresh = |_: &Machine| {};
    let (points, killed) = enumerate(&fresh, QUIET, "apply", &["none", QUIET_LINE], "none");
    println!("a first line: {points} points, {killed} killed, 0 wrong");
    let kept = |machine: &Machine| {
        apply(&machine.engine(), SKEW);
        machine.reboot(2);
        machine.engine().settle_boot(Confirm::ByEvidence).unwrap();
    };
    let (points, killed) = enumerate(&kept, QUIET, "apply", &["skew_tick=1", QUIET_LINE], "none");
    println!("another line: {points} points, {killed} killed, 0 wrong");
    let (points, killed) = enumerate(&kept, QUIET, "rollback", &["skew_tick=1", "none"], "none");
    println!("back to none: {points} points, {killed} killed, 0 wrong");
    let armed = |machine: &Machine| {
        kept(machine);
        let more = format!("{SKEW}'iso.lockup' = {{ nosoftlockup = true }}\n");
        apply(&machine.engine(), &more);
    };
    // The good line in between: it is the one that booted.
    let lines = ["skew_tick=1 nosoftlockup", "skew_tick=1", QUIET_LINE];
    let (points, killed) = enumerate(&armed, QUIET, "apply", &lines, "none");
    println!("one armed line for another: {points} points, {killed} killed, 0 wrong");
}

#[test]
fn settling_is_killed_at_every_call() {
    let tried = |machine: &Machine| {
        apply(&machine.engine(), QUIET);
        machine.reboot(2);
    };
    let (points, killed) = enumerate(&tried, QUIET, "settle", &["none", QUIET_LINE], "none");
    println!("keeping a trial: {points} points, {killed} killed, 0 wrong");
}
