//! The units under a systemd that is PID 1: order, sockets, reload, kill, watchdog, rivals, and a component's switch.

use crate::harness::{Guest, Kernel, Lab, Spec};

/// A component that runs in the trading slice, and what competes with the keeper under irqbalance's name.
const ENGINE: &str = "[Service]\nExecStart=/opt/quell/engine/current/run\nSlice=trading.slice\n\
                      [Install]\nWantedBy=multi-user.target\n";
const RIVAL: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// A property of a unit, as systemd has it.
#[track_caller]
fn property(guest: &Guest, unit: &str, name: &str) -> String {
    guest.text(&format!("systemctl show -P {name} {unit}"))
}

/// Waits until `unit` runs again in another process than `pid`.
#[track_caller]
fn wait_restarted(guest: &Guest, unit: &str, pid: &str) {
    let line = format!("test $(systemctl show -P MainPID {unit}) != {pid} && systemctl is-active {unit}");
    guest.wait_for(&format!("{unit} is there again"), &line);
}

#[test]
fn units_do_what_they_say() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(lab.length(&[Kernel::Stock], &[Kernel::Stock, Kernel::Rt])) {
        let mut guest = lab.boot(&Spec::new(kernel));
        guest.install();
        stage(&guest, &["1", "2"]);
        guest.write("/etc/systemd/system/engine.service", ENGINE);
        guest.write("/etc/quell/policy.toml", "allow = [\"rings\"]\n");
        guest.write("/etc/sysctl.d/90-rings.conf", "kernel.perf_event_paranoid = 2\n"); // the keeper has CAP_PERFMON alone
        guest.run("ln -sfn generations/1 /opt/quell/engine/current").succeeds();
        guest.run("systemctl daemon-reload && systemctl enable quell-keeper quell-agent engine quell-switch@engine.path");
        guest.reboot();
        guest.wait_for("the engine trades", "systemctl is-active engine");
        order(&guest);
        sockets(&guest);
        let store = "systemctl show -P NFileDescriptorStore quell-agent";
        guest.wait_for("the agent has rings in its store", &format!("test $({store}) -gt 0"));
        let stored = guest.text(store);
        for unit in ["quell-keeper", "quell-agent"] {
            guest.run(&format!("systemctl reload {unit}")).succeeds();
            assert_eq!(property(&guest, unit, "ActiveState"), "active");
            for signal in ["KILL", "STOP"] {
                let pid = property(&guest, unit, "MainPID");
                guest.run(&format!("kill -{signal} {pid}")).succeeds(); // a stopped one is the watchdog's
                wait_restarted(&guest, unit, &pid);
            }
        }
        guest.wait_for("its rings are the same", &format!("test $({store}) = {stored}"));
        // Not yet seen through on a guest: full runs only, until they are.
        if lab.length(false, true) {
            returns(&guest);
            stops(&guest);
        }
        rivals(&guest);
        switches(&guest);
    }
}

/// Generations of the component `engine`, each with something that runs.
#[track_caller]
fn stage(guest: &Guest, generations: &[&str]) {
    for generation in generations {
        let run = format!("/opt/quell/engine/generations/{generation}/run");
        guest.write(&run, "#!/bin/sh\nexec sleep infinity\n");
        guest.run(&format!("chmod 755 {run}")).succeeds();
    }
}

/// The keeper is ready before the agent starts, and both before anything in the slice.
#[track_caller]
fn order(guest: &Guest) {
    let at = |unit: &str, what: &str| property(guest, unit, what).parse::<u64>().unwrap();
    let keeper = at("quell-keeper", "ActiveEnterTimestampMonotonic");
    let agent = at("quell-agent", "InactiveExitTimestampMonotonic");
    let ready = at("quell-agent", "ActiveEnterTimestampMonotonic");
    let slice = at("trading.slice", "ActiveEnterTimestampMonotonic");
    let engine = at("engine", "InactiveExitTimestampMonotonic");
    let moments = [keeper, agent, ready, slice, engine];
    assert!(keeper > 0 && moments.is_sorted(), "keeper, agent, its READY, slice, engine: {moments:?}");
    assert_eq!(guest.text("journalctl -b --no-pager | grep -c 'ordering cycle' || true"), "0");
}

#[track_caller]
fn sockets(guest: &Guest) {
    assert_eq!(
        guest.text("stat -c '%U:%G %a' /run/quell /run/quell/keeper.sock /run/quell/report.sock"),
        "root:quell 755\nquell:root 600\nquell:quell 660"
    );
    assert_eq!(
        guest.text("stat -c '%U %a' /var/lib/quell/keeper /var/lib/quell/agent"),
        "root 700\nquell 750"
    );
    let reader = "setpriv --reuid=65534 --regid=65534";
    guest
        .run(&format!("{reader} --groups=$(getent group quell | cut -d: -f3) quell budgets --json"))
        .json("quell.budgets/1");
    guest.run(&format!("{reader} --clear-groups quell report")).exits(4);
}

/// A CPU that went off line has lost its events when it is back, and gets new ones.
#[track_caller]
fn returns(guest: &Guest) {
    let given = "grep -c 'Rings { cpu: CpuId(3)' /var/lib/quell/keeper/audit.log || true";
    let before: u32 = guest.text(given).parse().unwrap();
    assert!(before > 0, "it had some");
    guest
        .run("echo 0 > /sys/devices/system/cpu/cpu3/online && echo 1 > /sys/devices/system/cpu/cpu3/online")
        .succeeds();
    guest.wait_for("it has new ones", &format!("test $({given}) -ge {}", 2 * before));
}

/// Stopped, by its own name or by its socket's, the keeper is not started again by the agent that goes on asking it.
#[track_caller]
fn stops(guest: &Guest) {
    let states = || {
        ["quell-keeper.service", "quell-keeper.socket", "quell-agent"]
            .map(|unit| property(guest, unit, "ActiveState"))
    };
    for unit in ["quell-keeper.socket", "quell-keeper.service"] {
        // The agent asks every second while it is answered, so it notices, and looks for the keeper again.
        guest.run(&format!("systemctl stop {unit} && sleep 5")).succeeds();
        assert_eq!(states(), ["inactive", "inactive", "active"], "{unit} was stopped");
        guest.run("systemctl start quell-keeper").succeeds();
        assert_eq!(states(), ["active", "active", "active"]);
    }
    guest.run("systemctl restart quell-keeper").succeeds();
    assert_eq!(states(), ["active", "active", "active"]);
}

/// One of two that write the same settings runs, the one that was started last; the agent measures either way.
#[track_caller]
fn rivals(guest: &Guest) {
    guest.write("/run/systemd/system/irqbalance.service", RIVAL);
    guest.run("systemctl daemon-reload && systemctl start irqbalance").succeeds();
    let states = || {
        ["irqbalance", "quell-keeper", "quell-keeper.socket", "quell-agent"]
            .map(|unit| property(guest, unit, "ActiveState"))
    };
    guest.wait_for("the keeper gave way", "! systemctl is-active quell-keeper.service quell-keeper.socket");
    assert_eq!(states(), ["active", "inactive", "inactive", "active"]);
    guest.run("systemctl start quell-keeper").succeeds();
    assert_eq!(states(), ["inactive", "active", "active", "active"]);
}

#[track_caller]
fn switches(guest: &Guest) {
    ask(guest, "2", "switched", "generations/2");
    let pid = property(guest, "engine", "MainPID");
    ask(guest, "2", "already", "generations/2");
    ask(guest, "3", "refused", "generations/2");
    assert_eq!(property(guest, "engine", "MainPID"), pid, "nothing was switched, so nothing is restarted");
    assert_eq!(property(guest, "quell-switch@engine", "ActiveState"), "failed");
    ask(guest, "1", "switched", "generations/1"); // a roll-back is not refused for what came before it
    guest.wait_for("the engine is another", &format!("test $(systemctl show -P MainPID engine) != {pid}"));
    assert_eq!(property(guest, "engine", "ActiveState"), "active");
}

/// Puts a request in place and waits for its answer.
#[track_caller]
fn ask(guest: &Guest, generation: &str, outcome: &str, current: &str) {
    let desk = "/var/lib/quell/switch";
    guest.run(&format!("rm -f {desk}/engine.result")).succeeds();
    guest.write(
        &format!("{desk}/new"),
        &format!("quell.switch/1\ncomponent engine\ngeneration {generation}\n"),
    );
    guest.run(&format!("mv {desk}/new {desk}/engine.request")).succeeds();
    let busy = "systemctl show -P ActiveState quell-switch@engine | grep -q activating";
    let answered = format!("test -e {desk}/engine.result -a ! -e {desk}/engine.taken && ! {busy}");
    guest.wait_for("it is answered", &answered);
    let result = guest.text(&format!("cat {desk}/engine.result"));
    assert!(result.contains(&format!("outcome {outcome}\n")), "{result}");
    assert_eq!(guest.text("readlink /opt/quell/engine/current"), current);
}
