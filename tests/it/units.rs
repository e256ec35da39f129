//! The units of `systemd/`, looked at by systemd's own tools. None of it needs systemd as PID 1; what does is tried in
//! the VM lab.

mod filters;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::agent::QUIET;
use crate::harness::socket::{exchange, request};
use crate::harness::{Quell, require, until};

/// Where the host has its units, and where ours go beside them.
const UNITS: &str = "usr/lib/systemd/system";

/// What our units start.
const PROGRAMS: [&str; 6] = [
    "bin/kill",
    "usr/bin/systemctl",
    "usr/bin/quell",
    "usr/libexec/quell/quell-keeper",
    "usr/libexec/quell/quell-hold",
    "usr/libexec/quell/quell-switch",
];

/// The repository's folder of units.
fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// Name and text of every unit, drop-ins left out.
fn units() -> Vec<(String, String)> {
    let suffixes = [".service", ".socket", ".path", ".slice", ".target"];
    let entries = fs::read_dir(systemd()).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    let mut units: Vec<(String, String)> = named
        .filter(|(name, _)| suffixes.iter().any(|suffix| name.ends_with(suffix)))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect();
    units.sort();
    units
}

/// The values of `key` in a unit's text, in order.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

/// A host's tree with its own units, ours, and something at the place of each program.
fn host() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let folder = tree.path().join(UNITS);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let copied = Command::new("cp").args(["-a", "/usr/lib/systemd/system"]).arg(&folder).status().unwrap();
    assert!(copied.success());
    for (name, text) in units() {
        fs::write(folder.join(name), text).unwrap();
    }
    for program in PROGRAMS {
        let path = tree.path().join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    tree
}

/// As an operator would name it: templates with an instance.
fn instance(name: &str) -> String {
    name.replace('@', "@engine")
}

/// What `systemd-analyze verify` has to say of `names`.
fn verified(tree: &TempDir, names: &[String]) -> String {
    let root = format!("--root={}", tree.path().display());
    let output = Command::new("systemd-analyze").args(["verify", &root]).args(names).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if output.status.success() { text } else { format!("{text}{}\n", output.status) }
}

#[test]
fn systemd_has_nothing_to_say_of_any_unit() {
    if !require("systemd-analyze") {
        return;
    }
    let tree = host();
    let names: Vec<String> = units().iter().map(|(name, _)| instance(name)).collect();
    assert!(names.len() >= 7, "{names:?}");
    assert_eq!(verified(&tree, &names), "");

    let hold = tree.path().join(UNITS).join("quell-hold.service");
    let misspelt = fs::read_to_string(&hold).unwrap().replace("LimitCORE=", "LimitCore=");
    fs::write(&hold, misspelt).unwrap();
    let said = verified(&tree, &["quell-hold.service".to_owned()]);
    assert!(said.contains("Unknown key 'LimitCore'"), "it would say so: {said:?}");
}

/// The exposure of the unit at `path` in tenths, 0 to 100: `→ Overall exposure level for x.service: 2.3 OK`.
fn exposure(path: &Path) -> u32 {
    let output =
        Command::new("systemd-analyze").args(["security", "--offline=yes"]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("Overall exposure level"));
    let figure = line.and_then(|line| line.rsplit(": ").next()?.split(' ').next());
    let (whole, tenths) =
        figure.and_then(|figure| figure.split_once('.')).unwrap_or_else(|| panic!("{text}"));
    whole.parse::<u32>().unwrap() * 10 + tenths.parse::<u32>().unwrap()
}

#[test]
fn each_service_is_as_closed_as_it_can_be() {
    if !require("systemd-analyze") {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let lay = |name: &str, text: &str| {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let limits = [("quell-keeper", 26), ("quell-agent", 15), ("quell-hold", 12), ("quell-switch@", 10)];
    let services: Vec<(String, String)> =
        units().into_iter().filter(|(name, _)| name.ends_with(".service")).collect();
    assert_eq!(services.len(), limits.len(), "a service without a limit");
    for (name, text) in &services {
        let limit = limits.iter().find(|(unit, _)| name.strip_suffix(".service") == Some(unit)).unwrap().1;
        let found = exposure(&lay(name, text));
        println!("{name}: {found} of {limit} tenths");
        assert!(found <= limit, "{name}: exposure {found} tenths, at most {limit}");
    }
    // With the rights that some knobs need, by the operator's choice: each alone, then both.
    let keeper = "quell-keeper.service";
    let drop_ins = [("10-cap-sys-admin.conf", 30), ("20-network.conf", 30)];
    let of = |drop_in: &str| format!("{keeper}.d/{drop_in}");
    for (drop_in, limit) in drop_ins {
        let path =
            lay(&of(drop_in), &fs::read_to_string(systemd().join("drop-ins").join(of(drop_in))).unwrap());
        let found = exposure(&tree.path().join(keeper));
        println!("{keeper} with {drop_in}: {found} tenths");
        assert!(found <= limit, "{keeper} with {drop_in}: exposure {found} tenths, at most {limit}");
        fs::remove_file(path).unwrap();
    }
    for (drop_in, _) in drop_ins {
        lay(&of(drop_in), &fs::read_to_string(systemd().join("drop-ins").join(of(drop_in))).unwrap());
    }
    let found = exposure(&tree.path().join(keeper));
    println!("{keeper} with both: {found} tenths");
    assert!(found <= 34, "{keeper} with both: exposure {found} tenths, at most 34");
}

#[test]
fn no_unit_says_what_would_do_harm() {
    let mut states = Vec::new();
    for (name, text) in units() {
        // A cpuset is a wall that no probe thread can leave; the mask of CPUAffinity= is not.
        assert_eq!(values(&text, "AllowedCPUs").count(), 0, "{name}");
        // The first of two units to stop would remove the sockets of the other: /run/quell is tmpfiles.d's.
        assert_eq!(values(&text, "RuntimeDirectory").count(), 0, "{name}");
        // Stopping leaves the tuning in place.
        assert_eq!(values(&text, "ExecStop").count() + values(&text, "ExecStopPost").count(), 0, "{name}");
        assert!(values(&text, "Type").all(|kind| ["notify", "oneshot"].contains(&kind)), "{name}");
        states.extend(values(&text, "StateDirectory").map(str::to_owned));
    }
    // Each makes a call fail that a knob or every kernel file needs.
    let keeper = fs::read_to_string(systemd().join("quell-keeper.service")).unwrap();
    for refuses in ["RestrictRealtime", "RestrictSUIDSGID"] {
        assert!(!values(&keeper, refuses).any(|value| value == "yes"), "quell-keeper.service: {refuses}");
    }
    let mut unique = states.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(states.len(), unique.len(), "two units share a folder: {states:?}");
}

#[test]
fn trading_comes_after_the_keeper_and_the_agent() {
    let units = units();
    let text = |name: &str| &units.iter().find(|(unit, _)| unit == name).unwrap().1;
    let words = |name: &str, key: &str| {
        values(text(name), key).flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ["quell-keeper.service", "quell-agent.service", "quell-hold.service"] {
        assert!(words(name, "Before").contains(&"trading.slice".to_owned()), "{name}");
    }
    assert!(words("quell-agent.service", "After").contains(&"quell-keeper.service".to_owned()));
    for rival in ["tuned.service", "irqbalance.service", "power-profiles-daemon.service", "tlp.service"] {
        for unit in ["quell-keeper.service", "quell-keeper.socket"] {
            assert!(words(unit, "Conflicts").contains(&rival.to_owned()), "{unit}: {rival}");
        }
    }
}

/// Stopping either of the two stops both: a socket that went on listening would start the keeper with the next order.
#[test]
fn the_keeper_and_its_socket_stop_together() {
    let text = |name: &str| fs::read_to_string(systemd().join(name)).unwrap();
    let (service, socket) = ("quell-keeper.service", "quell-keeper.socket");
    assert!(values(&text(socket), "PartOf").any(|unit| unit == service));
    assert!(values(&text(service), "Requires").any(|unit| unit == socket));
}

#[test]
fn users_and_folders_are_made() {
    if !(require("systemd-sysusers") && require("systemd-tmpfiles") && crate::harness::require_root()) {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("etc")).unwrap();
    let run = |program: &str, arguments: &[&str], file: &str| {
        let root = format!("--root={}", tree.path().display());
        let done =
            Command::new(program).arg(root).args(arguments).arg(systemd().join(file)).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    };
    fs::write(tree.path().join("etc/group"), "").unwrap();
    run("systemd-sysusers", &[], "quell.sysusers");
    run("systemd-tmpfiles", &["--create"], "quell.tmpfiles");
    let groups = fs::read_to_string(tree.path().join("etc/group")).unwrap();
    assert!(groups.contains("quell:") && groups.contains("quell-admin:"), "{groups}");
    let users = fs::read_to_string(tree.path().join("etc/passwd")).unwrap();
    assert!(users.contains(":/var/lib/quell/agent:/usr/sbin/nologin"), "{users}");
    for (path, mode) in [("run/quell", 0o755), ("var/lib/quell/switch", 0o755), ("opt/quell", 0o755)] {
        let found = fs::metadata(tree.path().join(path)).unwrap();
        assert_eq!((found.is_dir(), found.permissions().mode() & 0o7777), (true, mode), "{path}");
    }
}

/// As quell-report.socket hands it over: one descriptor, by name.
#[test]
fn the_agent_serves_the_socket_that_is_handed_over() {
    if !require("systemd-socket-activate") {
        return;
    }
    let quell = Quell::new();
    quell.file("quell.toml", QUIET);
    let socket = quell.folder().join("report.sock");
    let listen = format!("--listen={}", socket.display());
    let activate = ["systemd-socket-activate", &listen, "--fdname=report", "--setenv=NOTIFY_SOCKET"];
    let mut daemon =
        quell.under(activate).args(["agent", "--config", "quell.toml", "--socket", "other.sock"]).start();
    until("the manager listens", || socket.exists().then_some(()));
    let answer = exchange(&socket, request("/healthz").as_bytes()); // waits in the queue until the agent serves
    assert_eq!(answer.status, Some(200));
    daemon.wait_told("READY=1");
    for ours in ["other.sock", "other.sock.lock", "report.sock.lock"] {
        assert!(!quell.folder().join(ours).exists(), "{ours}: it made a socket of its own");
    }
    daemon.signal(Signal::SIGTERM);
    daemon.wait().succeeds();
    assert!(socket.exists(), "it is the manager's");
}
