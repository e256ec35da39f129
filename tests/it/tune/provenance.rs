//! Who overrides a value: held against systemd's own reading of random trees, and told by the built command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fastrand::Rng;
use host::Root;
use host::conf_files::{self, ConfFile};
use host::sysctl_d::Assignments;
use report::Exit;

use super::{SWAPPINESS, Tuned};
use crate::harness::{Output, require, require_root};

const SYSTEMD_SYSCTL: &str = "/lib/systemd/systemd-sysctl";
/// The directories that a mount can be laid over without anything else noticing.
const DIRS: [&str; 4] = ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"];
const NAMES: [&str; 5] = ["10-a.conf", "50-b.conf", "60-c.conf", "99-z.conf", "README"];
/// Settings of a network namespace that nothing else follows (as interfaces follow `default`), below
/// `/proc/sys/net/ipv4/conf`.
const SETTINGS: [&str; 6] = [
    "all/arp_announce",
    "all/arp_ignore",
    "all/medium_id",
    "lo/arp_announce",
    "lo/arp_ignore",
    "lo/medium_id",
];

fn line(rng: &mut Rng) -> String {
    let attribute = rng.choice(["arp_announce", "arp_ignore", "medium_id"]).unwrap();
    let of = rng.choice(["all", "lo", "[al]*", "l?", "a*", "[!d]*"]).unwrap();
    let name = format!("net.ipv4.conf.{of}.{attribute}");
    let name = if rng.u8(..4) == 0 { name.replace('.', "/") } else { name };
    let value = rng.u8(..3);
    match rng.u8(..12) {
        0 => format!("# {name} = {value}"),
        1 => format!(";{name}={value}"),
        2 => format!("-{name}"),
        3 => format!("-{name} = {value}"),
        4 => format!("{name} {value}"),
        5 => String::new(),
        6 => format!("\t{name}={value}  "),
        _ => format!("{name} = {value}"),
    }
}

/// A tree of such files below `root`, some of them masked.
fn grow(root: &Path, rng: &mut Rng) {
    fs::create_dir_all(root.join("dev")).unwrap();
    for dir in DIRS {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).unwrap();
        for name in NAMES {
            match rng.u8(..6) {
                0 => symlink("/dev/null", dir.join(name)).unwrap(),
                1 => fs::write(dir.join(name), "").unwrap(),
                2 | 3 => {
                    let lines: Vec<String> = (0..rng.usize(1..6)).map(|_| line(rng)).collect();
                    fs::write(dir.join(name), lines.join("\n") + "\n").unwrap();
                }
                _ => {}
            }
        }
    }
}

/// What systemd reads, and what the settings are before and after it has set them in a network of its own.
fn systemd(root: &Path) -> (String, BTreeMap<String, (String, String)>) {
    let mounts: Vec<String> = ["etc/sysctl.d", "run", "usr/local/lib", "usr/lib/sysctl.d"]
        .iter()
        .map(|dir| format!("mount --bind {0}/{dir} /{dir}", root.display()))
        .collect();
    let read = SETTINGS.map(|name| format!("cat /proc/sys/net/ipv4/conf/{name}")).join("; ");
    let script = format!(
        "{} && {SYSTEMD_SYSCTL} --cat-config && echo == && {{ {read}; }} && echo == && {SYSTEMD_SYSCTL} 2>/dev/null; {read}",
        mounts.join(" && ")
    );
    let output = Command::new("unshare").args(["-n", "-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<&str> = text.split("==\n").collect();
    let [files, before, after] = parts[..] else { panic!("{text}") };
    let values = SETTINGS.iter().zip(before.lines().zip(after.lines()));
    let values = values.map(|(name, (before, after))| {
        (format!("/proc/sys/net/ipv4/conf/{name}"), (before.to_owned(), after.to_owned()))
    });
    (files.to_owned(), values.collect())
}

/// Format: "# /etc/sysctl.d/50-b.conf\ntext\n\n# /usr/lib/..."   (systemd-sysctl --cat-config)
fn catted(files: &[ConfFile]) -> Vec<String> {
    let lines = files.iter().flat_map(|file| {
        std::iter::once(format!("# {}", file.path)).chain(file.text.lines().map(str::to_owned))
    });
    lines.filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn the_line_that_decides_is_the_one_that_systemd_goes_by() {
    if !(require_root() && require("unshare") && require("systemd-tmpfiles")) {
        return;
    }
    let (mut set, mut left) = (0, 0);
    for seed in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        grow(dir.path(), &mut Rng::with_seed(seed));
        let root = Root::at(dir.path());
        let (files, values) = systemd(dir.path());
        let read: Vec<&str> = files.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(catted(&conf_files::read(&root, "sysctl.d", ".conf")), read, "seed {seed}");
        let assignments = Assignments::read(&root);
        for (path, (before, after)) in values {
            let deciding = assignments.deciding(&path);
            let expected = deciding.and_then(|one| one.value.clone()).unwrap_or(before);
            assert_eq!(expected, after, "seed {seed}, {path}: {deciding:?} of {assignments:#?}");
            if deciding.is_some() { set += 1 } else { left += 1 }
        }
    }
    assert!(set > 100 && left > 10, "{set} set, {left} left alone");
}

impl Tuned {
    fn owner_of(&self, verb: &[&str], knob: &str) -> (String, String) {
        let output = self.run(verb.iter().copied()).exits(Exit::No).json("quell.verify/1");
        let rows = output["knobs"].as_array().unwrap().iter();
        let row = rows.into_iter().find(|row| row["knob"] == knob).unwrap().clone();
        let text = |key: &str| row[key].as_str().unwrap_or("null").to_owned();
        (text("owner"), text("fix"))
    }
}

#[test]
fn whoever_overrides_a_value_is_named() {
    let check = |file: &str, text: &str, owner: &str, fix: &str| {
        let tuned = Tuned::small();
        tuned.swappiness(10).succeeds();
        let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
        tuned.host.write(SWAPPINESS, "33\n");
        if !file.is_empty() {
            let path = tuned.host.path().join(&file[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (told, remedy) = tuned.owner_of(&["verify", "--json", "--profile", &profile], "mem.swap");
        assert_eq!(told, owner, "{file}");
        assert!(remedy.contains(fix), "{remedy}");
        let drift = tuned.run(["drift", "--json"]).exits(Exit::No).json("quell.drift/1");
        assert_eq!(drift["drifted"][0]["by"], owner, "{drift}");
    };
    let line = "vm.swappiness = 33\n";
    check(
        "/etc/sysctl.d/60-x.conf",
        line,
        "/etc/sysctl.d/60-x.conf:1",
        "change or remove /etc/sysctl.d/60-x.conf:1",
    );
    check(
        "/usr/lib/sysctl.d/60-x.conf",
        &format!("\n{line}"),
        "/usr/lib/sysctl.d/60-x.conf:2",
        "systemd-sysctl",
    );
    check(
        "/usr/lib/tmpfiles.d/x.conf",
        "w /proc/sys/vm/swappiness - - - - 33\n",
        "/usr/lib/tmpfiles.d/x.conf:1",
        "systemd-tmpfiles",
    );
    check(
        "/etc/udev/rules.d/x.rules",
        "SYSCTL{vm.swappiness}=\"33\"\n",
        "/etc/udev/rules.d/x.rules:1",
        "udev",
    );
    check("/etc/sysctl.d/60-x.conf", "vm.swappiness = 34\n", "unknown writer", "quell tune apply"); // sets another value
    check("", "", "unknown writer", "quell tune apply");
}

#[test]
fn tuned_is_named_with_its_profile() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    tuned.host.write(SWAPPINESS, "33\n");
    for (file, text) in [
        ("etc/tuned/active_profile", "mine\n"),
        ("etc/tuned/mine/tuned.conf", "[sysctl]\nvm.swappiness=33\n"),
        ("etc/sysctl.d/60-x.conf", "vm.swappiness=33\n"), // acts before it
    ] {
        let path = tuned.host.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (owner, fix) = tuned.owner_of(&["verify", "--json", "--profile", &profile], "mem.swap");
    assert_eq!(owner, "TuneD, profile mine (/etc/tuned/mine/tuned.conf:2)");
    assert!(fix.contains("tuned-adm off"), "{fix}");
}

#[test]
fn the_plan_says_who_will_undo_it() {
    let tuned = Tuned::small();
    let planned = |file: &str, text: &str| {
        let path = tuned.host.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
        let plan = tuned.run(["plan", "--json", "--profile", &profile]).exits(Exit::Pending);
        fs::remove_file(path).unwrap();
        plan
    };
    let reason = |plan: &Output| {
        let json = plan.json("quell.plan/1");
        json["changes"][0]["reason"].as_str().unwrap_or_default().to_owned()
    };
    let line = "w /proc/sys/vm/swappiness - - - - 60\n";
    let told = reason(&planned("etc/tmpfiles.d/60-x.conf", line));
    assert!(told.contains("/etc/tmpfiles.d/60-x.conf:1 sets it to 60"), "{told}");
    let told = reason(&planned("etc/tmpfiles.d/60-x.conf", &line.replace("60", "10")));
    assert!(!told.contains("60-x.conf"), "it agrees: {told}");
    // That of sysctl.d is a contradiction of the plan, and not told again beside the change.
    let plan = planned("etc/sysctl.d/60-x.conf", "vm.swappiness = 60\n");
    assert_eq!(plan.stdout.matches("/etc/sysctl.d/60-x.conf:1").count(), 1, "{plan}");
    assert!(!reason(&plan).contains("60-x.conf"), "{plan}");
}
