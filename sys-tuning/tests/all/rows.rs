//! Knobs that are a row of a table: each is planned, applied, verified and taken back on a machine of plain files.

use sys_tuning::{ApplyOptions, Outcome, Profile, RollbackOptions, RollbackTo, Verified};

use crate::tree::Machine;

const NOW: ApplyOptions = ApplyOptions { at: 1_790_000_000, ..ApplyOptions::PLAIN };

pub fn profile(knobs: &str) -> Profile {
    Profile::parse("test.toml", &format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}")).unwrap()
}

/// One line an attribute: what verify says of it.
pub fn verified(verified: &Verified) -> String {
    let row = |knob: &sys_tuning::Verifying| {
        let name = [knob.knob, &knob.attribute, &knob.identity].join(" ");
        format!("{}: {} {}", name.trim_end(), knob.status, knob.reason).trim_end().to_owned()
    };
    verified.knobs.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// On a machine with these files (path, text): applies `knobs`, compares the files with `after` and what verify says with
/// `told`, and takes it back byte for byte.
#[track_caller]
pub fn check(files: &[(&str, &str)], knobs: &str, after: &[(&str, &str)], told: &[&str]) {
    let machine = Machine::new();
    files.iter().for_each(|(path, text)| machine.put(path, text));
    let before = machine.snapshot();
    let (engine, profile) = (machine.engine(), profile(knobs));
    let applied = engine.apply(&engine.plan(&profile).unwrap(), &NOW).unwrap();
    assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
    for (path, text) in after {
        assert_eq!(machine.get(path), format!("{text}\n"), "{path}");
    }
    assert_eq!(verified(&engine.verify(&profile).unwrap()), told.join("\n"));
    let again = engine.plan(&profile).unwrap();
    assert!(again.changes.is_empty(), "the plan was not the result: {:#?}", again.changes);
    let options = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 1_790_000_001 };
    let back = engine.rollback(&options).unwrap();
    assert!(machine.snapshot() == before, "{back:#?}");
}

#[test]
fn what_the_firmware_set_is_reported_and_never_written() {
    check(
        &[
            ("/sys/devices/system/cpu/smt/active", "1\n"),
            ("/sys/module/pcie_aspm/parameters/policy", "default [performance] powersave powersupersave \n"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C6\n"),
        ],
        "'cpu.bios' = { smt = 'off', deep_idle = 'off', pcie_power_saving = 'off', iommu = 'off' }",
        &[("/sys/devices/system/cpu/smt/active", "1")],
        &[
            "cpu.bios deep_idle: failed expected off, inferred on: reported only, it is set by hand in the firmware's \
             set-up",
            "cpu.bios iommu: not-applicable this kernel shows no class of IOMMUs",
            "cpu.bios pcie_power_saving: ok",
            "cpu.bios smt: failed expected off, inferred on: reported only, it is set by hand in the firmware's set-up",
        ],
    );
}

#[test]
fn variables_of_the_network_go_there_and_back() {
    check(
        &[
            ("/proc/sys/net/core/busy_read", "0\n"),
            ("/proc/sys/net/core/busy_poll", "0\n"),
            ("/proc/sys/net/core/netdev_budget", "300\n"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
        ],
        "'net.busy' = { busy_read = 50, busy_poll = 50 }\n'net.budget' = { packets = 600 }\n\
         'net.bypass' = { kind = 'none' }\n'irq.balance' = { running = 'no' }",
        &[("/proc/sys/net/core/busy_read", "50"), ("/proc/sys/net/core/netdev_budget", "600")],
        &[
            "net.busy busy_poll: ok",
            "net.busy busy_read: ok",
            "net.budget packets: ok",
            "net.bypass kind: ok",
            "irq.balance running: ok",
        ],
    );
}
