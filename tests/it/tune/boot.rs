//! The boot line at the command line, and the shipped GRUB script against GRUB's own programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use report::Exit;

use super::{SMALL, Tuned};
use crate::harness::{golden, require};

const MENU: &str = "load_env --file $prefix/quell/armed.env quell_armed\n\
                    menuentry 'Debian' {\n\tlinux /boot/vmlinuz root=/dev/vda1 ro $quell_args\n}\n";

/// A captured host that has a disk, GRUB, and quell's part of it.
pub(super) fn bootable() -> Tuned {
    let tuned = Tuned::new(SMALL);
    let mounts = tuned.host.read("/proc/self/mountinfo");
    let root = "26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n";
    tuned.host.write("/proc/self/mountinfo", &format!("{mounts}{root}"));
    tuned.host.write("/sys/dev/block/254:1/uevent", "DEVNAME=vda1\nDEVTYPE=partition\n");
    tuned.host.write("/boot/grub/grub.cfg", MENU);
    tuned.host.write("/dev/kmsg", "6,0,0,-;Linux version 6.18.44\n");
    tuned.run(["boot", "init"]).succeeds();
    tuned
}

fn blocks(tuned: &Tuned) -> PathBuf {
    tuned.host.path().join("boot/grub/quell")
}

const QUIET: &str = "'iso.isolcpus' = { cpus = '1' }\n'iso.rcu' = { cpus = '1', normal_after_boot = true }\n\
                     'iso.skew' = { enabled = true }\n'irq.default' = { boot = '0' }";
const QUIET_LINE: &str =
    "irqaffinity=0 isolcpus=managed_irq,domain,1 rcu_nocbs=1 rcupdate.rcu_normal_after_boot=1 skew_tick=1";

#[test]
fn a_line_is_planned_applied_and_waits_for_a_reboot() {
    let tuned = bootable();
    let profile = tuned.profile(QUIET);
    let plan = tuned.run(["plan", "--profile", &profile, "--json"]).exits(Exit::Pending).json("quell.plan/1");
    assert_eq!(plan["reboot_required"], true);
    let rows: Vec<String> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", row["knob"], row["to"], row["when"]).replace('"', ""))
        .collect();
    assert!(rows.contains(&"iso.isolcpus isolcpus=managed_irq,domain,1 boot".to_owned()), "{rows:?}");
    assert_eq!(rows.len(), 5, "a row an argument: {rows:?}");
    let applied = tuned.run(["apply", "--profile", &profile, "--json"]).exits(Exit::NeedsReboot);
    let applied = applied.json("quell.apply/1");
    assert_eq!(applied["reboot_required"], true);
    assert!(
        applied["changes"].as_array().unwrap().iter().all(|row| row["status"] == "needs-reboot"),
        "{applied}"
    );
    let verified =
        tuned.run(["verify", "--profile", &profile, "--json"]).exits(Exit::No).json("quell.verify/1");
    assert_eq!(verified["summary"]["needs_reboot"], 5, "{verified}");
    let boot = tuned.run(["boot", "--json"]).exits(Exit::NeedsReboot).json("quell.boot/1");
    assert_eq!(boot["standing"], "armed");
    assert_eq!(boot["trial"]["arguments"], QUIET_LINE);
    assert_eq!(boot["armed"], boot["trial"]["id"]);
    golden("tune/boot-armed.txt", &tuned.run(["boot"]).exits(Exit::NeedsReboot).stdout);
    let refused = tuned.run(["boot", "confirm"]).exits(Exit::No);
    refused.says_one_line(&["no trial that waits to be confirmed"]);
    tuned.run(["rollback", "--to", "baseline"]).succeeds();
    let boot = tuned.run(["boot", "--json"]).succeeds().json("quell.boot/1");
    assert_eq!(boot["standing"], "settled");
    assert_eq!(boot["good"]["arguments"], "none");
}

#[test]
fn without_a_part_in_the_boot_nothing_is_refused_and_nothing_done() {
    let tuned = Tuned::new(SMALL);
    let plan =
        tuned.run(["plan", "--profile", &tuned.profile(QUIET), "--json"]).succeeds().json("quell.plan/1");
    assert!(
        plan["skipped"].as_array().unwrap().iter().all(|row| row["status"] == "not-applicable"),
        "{plan}"
    );
    golden("tune/boot-none.txt", &tuned.run(["boot"]).succeeds().stdout);
    tuned.run(["boot", "init"]).exits(Exit::Refused).says_one_line(&["needs GRUB"]);
}

#[test]
fn every_boot_knob_explains_itself() {
    let tuned = Tuned::new(SMALL);
    for knob in [
        "iso.isolcpus",
        "iso.nohz",
        "iso.rcu",
        "iso.skew",
        "iso.lockup",
        "mem.hugeboot",
        "boot.line",
        "irq.default",
    ] {
        let told = tuned.quell.args(["tune", "explain", knob]).run().succeeds().stdout;
        assert!(told.starts_with(knob), "{told}");
        assert!(knob == "irq.default" || told.contains("takes hold: boot"), "{told}");
    }
}

/// GRUB's own view of a block: `name=value` lines.
fn listed(block: &Path) -> String {
    let output = Command::new("grub-editenv").arg(block).arg("list").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_blocks_are_what_grub_reads_and_writes() {
    if !require("grub-editenv") {
        return;
    }
    let tuned = bootable();
    tuned.apply(QUIET).exits(Exit::NeedsReboot);
    let dir = blocks(&tuned);
    let trial = listed(&dir.join("trial.env"));
    let id = trial.lines().find_map(|line| line.strip_prefix("quell_trial_id=")).unwrap();
    assert_eq!(trial, format!("quell_trial={QUIET_LINE} quell.boot={id} panic=10\nquell_trial_id={id}\n"));
    let armed = listed(&dir.join("armed.env"));
    assert!(
        armed.starts_with(&format!("quell_armed={id}\nquell_tried=\nquell_after=\nquell_passed=0\n")),
        "{armed}"
    );
    for name in ["good.env", "trial.env", "armed.env"] {
        assert_eq!(fs::metadata(dir.join(name)).unwrap().len(), 1024, "{name}");
    }
    // What GRUB's program writes is read back by ours.
    let set = ["set", "quell_armed=", &format!("quell_tried={id}"), "quell_after=1"].map(str::to_owned);
    assert!(Command::new("grub-editenv").arg(dir.join("armed.env")).args(set).status().unwrap().success());
    let boot = tuned.run(["boot", "--json"]).exits(Exit::No).json("quell.boot/1");
    assert_eq!(boot["standing"], "came-back", "tried, and this boot is not it");
    assert_eq!(boot["armed"], serde_json::Value::Null);
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot").join(path)
}

/// What update-grub puts into grub.cfg.
fn snippet() -> String {
    let output = Command::new("sh").arg(shipped("etc/grub.d/01_quell")).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn grub_accepts_the_script() {
    if !require("grub-script-check") {
        return;
    }
    let tuned = Tuned::new(SMALL);
    let script = tuned.quell.file("grub.cfg", &snippet());
    assert!(Command::new("grub-script-check").arg(&script).status().unwrap().success());
    let broken = tuned.quell.file("broken.cfg", &snippet().replacen("fi\n", "", 1));
    assert!(
        !Command::new("grub-script-check")
            .arg(&broken)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_menu_gets_the_variable_and_not_its_value() {
    let script = format!(
        ". '{}'; printf %s \"$GRUB_CMDLINE_LINUX_DEFAULT\"",
        shipped("etc/default/grub.d/quell.cfg").display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("GRUB_CMDLINE_LINUX_DEFAULT", "quiet")
        .env("quell_args", "expanded too early")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "quiet $quell_args");
}

/// Where entries are files: the machine's own kernel-install with its own plugin that writes them, and ours after it, on a
/// scratch root.
struct Entries {
    root: tempfile::TempDir,
}

const VERSION: &str = "6.12.9-test";
const MACHINE: &str = "0123456789abcdef0123456789abcdef";

impl Entries {
    /// A machine whose GRUB reads entries, or does not.
    fn new(grub: &str) -> Self {
        let entries = Self { root: tempfile::tempdir().unwrap() };
        for (path, text) in [
            ("boot/loader/entries.srel", "type1\n"),
            ("boot/loader/entries/rescue-6.1.conf", "options root=/dev/vda1 single\n"),
            ("boot/grub/grub.cfg", grub),
            ("etc/cmdline", "root=/dev/vda1 ro quiet\n"),
            ("vmlinuz", "not a kernel\n"),
        ] {
            let path = entries.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        entries
    }

    fn run(&self, words: &[&str]) {
        let at = |name: &str| self.root.path().join(name);
        let plugins = format!(
            "/usr/lib/kernel/install.d/90-loaderentry.install {}",
            shipped("usr/lib/kernel/install.d/95-quell.install").display()
        );
        let output = Command::new("kernel-install")
            .args(words)
            .current_dir(self.root.path())
            .env("KERNEL_INSTALL_CONF_ROOT", at("etc"))
            .env("BOOT_ROOT", at("boot"))
            .env("MACHINE_ID", MACHINE)
            .env("KERNEL_INSTALL_PLUGINS", plugins)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The options of the entry with this end of its name.
    fn options(&self, end: &str) -> String {
        let path = self.root.path().join(format!("boot/loader/entries/{MACHINE}-{VERSION}{end}"));
        let text = fs::read_to_string(path).unwrap();
        let options: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("options")).collect();
        let [options] = options[..] else { panic!("{text}") };
        options.trim().to_owned()
    }
}

#[test]
fn kernel_install_lets_the_variable_into_entries_that_grub_reads() {
    if !require("kernel-install") {
        return;
    }
    let plain = format!("root=/dev/vda1 ro quiet systemd.machine_id={MACHINE}");
    let with = format!("{plain} $quell_args");
    let entries = Entries::new("blscfg\n");
    for _ in 0..2 {
        entries.run(&["add", VERSION, "vmlinuz"]);
        assert_eq!(entries.options(".conf"), with, "once, however often it is installed");
    }
    // Entries that systemd counts the boots of have the count in their names.
    fs::write(entries.root.path().join("etc/tries"), "3\n").unwrap();
    entries.run(&["add", VERSION, "vmlinuz"]);
    assert_eq!(entries.options("+3.conf"), with);
    let rescue = fs::read_to_string(entries.root.path().join("boot/loader/entries/rescue-6.1.conf")).unwrap();
    assert_eq!(rescue, "options root=/dev/vda1 single\n", "of other kernels nothing is touched");
    entries.run(&["remove", VERSION]);
    let left = fs::read_dir(entries.root.path().join("boot/loader/entries")).unwrap().count();
    assert_eq!(left, 1, "nothing of ours is left behind");
    // What does not expand variables would hand the word on to the kernel.
    let others = Entries::new("menuentry 'Debian' {\n}\n");
    others.run(&["add", VERSION, "vmlinuz"]);
    assert_eq!(others.options(".conf"), plain);
}

/// The few commands of GRUB's language that the script uses, on its blocks as files. `$1` is what save_env does: `save` or
/// `fail`.
const AS_GRUB: &str = r#"
set() { printf -v "${1%%=*}" %s "${1#*=}"; }
load_env() {
  local file=$2 name value wanted; shift 2
  while IFS='=' read -r name value; do
    for wanted in "$@"; do [ "$name" = "$wanted" ] && printf -v "$name" %s "$value"; done
  done < <(grub-editenv "$file" list)
  return 0
}
save_env() {
  local file=$2 name; shift 2
  [ "$how" = save ] || return 0
  for name in "$@"; do grub-editenv "$file" set "$name=${!name}"; done
}
"#;

/// Boots the machine as far as the script goes: the arguments that the kernel would get.
fn boots(tuned: &Tuned, how: &str) -> String {
    let script = format!("{AS_GRUB}\n{}\nprintf %s \"$quell_args\"", snippet());
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("prefix", tuned.host.path().join("boot/grub"))
        .env("how", how)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_script_tries_a_line_once() {
    if !require("grub-editenv") || !require("bash") {
        return;
    }
    let tuned = bootable();
    assert_eq!(boots(&tuned, "save"), "");
    tuned.apply(QUIET).exits(Exit::NeedsReboot);
    assert_eq!(boots(&tuned, "fail"), "", "a trial that cannot be forgotten on the disk is not tried");
    let tried = boots(&tuned, "save");
    assert!(tried.starts_with(QUIET_LINE) && tried.ends_with(" panic=10"), "{tried}");
    assert_eq!(boots(&tuned, "save"), "", "once");
}

#[test]
fn the_script_boots_no_pair_that_does_not_match() {
    if !require("grub-editenv") || !require("bash") {
        return;
    }
    let tuned = bootable();
    tuned.apply(QUIET).exits(Exit::NeedsReboot);
    let old = fs::read(blocks(&tuned).join("trial.env")).unwrap();
    tuned.apply("'iso.skew' = { enabled = true }").exits(Exit::NeedsReboot);
    // What GRUB may see after a power cut: the new armed block, and the trial as it was before the journal is replayed.
    fs::write(blocks(&tuned).join("trial.env"), old).unwrap();
    assert_eq!(boots(&tuned, "save"), "");
    // Or blocks that are somebody else's by now.
    fs::write(blocks(&tuned).join("trial.env"), [0x7f; 1024]).unwrap();
    assert_eq!(boots(&tuned, "save"), "");
    fs::write(blocks(&tuned).join("good.env"), [0x7f; 1024]).unwrap();
    assert_eq!(boots(&tuned, "save"), "", "the machine boots without arguments, and it boots");
}

/// What GRUB itself, run as a program, boots from a disk with these blocks; the disk stays for the next time.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(tuned: &Tuned) -> Self {
        Self::with(tuned, "save_env --file $prefix/told.env quell_args\nexit\n")
    }

    /// With these entries behind the script.
    fn with(tuned: &Tuned, entries: &str) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let grub = tuned.host.path().join("boot/grub");
        // Then it tells what it would boot: in a block, because it has no other way out.
        let told = grub.join("told.env");
        assert!(Command::new("grub-editenv").arg(&told).arg("create").status().unwrap().success());
        fs::write(grub.join("grub.cfg"), format!("{}{entries}", snippet())).unwrap();
        fs::write(disk.at("device.map"), format!("(hd0) {}\n", disk.at("disk").display())).unwrap();
        fs::File::create(disk.at("disk")).unwrap().set_len(16 << 20).unwrap();
        let tree = tuned.host.path().join("boot");
        let made = Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-d"])
            .arg(tree)
            .arg(disk.at("disk"))
            .status();
        assert!(made.unwrap().success());
        disk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn boots(&self) -> String {
        let grub = format!("grub-emu -m {} -r hd0 -d /grub", self.at("device.map").display());
        let ran = Command::new("script")
            .args(["-qec", &grub, "/dev/null"])
            .env("TERM", "vt100")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let line = self.block("told.env");
        line.trim_end().strip_prefix("quell_args=").unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    /// A block of the disk, as GRUB lists it.
    fn block(&self, name: &str) -> String {
        let told = self.at(name);
        let place = if name == "told.env" { "" } else { "quell/" };
        let dump = format!("dump /grub/{place}{name} {}", told.display());
        assert!(
            Command::new("debugfs")
                .args(["-R", &dump])
                .arg(self.at("disk"))
                .output()
                .unwrap()
                .status
                .success()
        );
        listed(&told)
    }
}

#[test]
fn grub_itself_tries_a_line_once() {
    if !(require("grub-emu") && require("grub-editenv") && require("script")) {
        return;
    }
    if !(require("mke2fs") && require("debugfs")) {
        return;
    }
    let tuned = bootable();
    tuned.apply(QUIET).exits(Exit::NeedsReboot);
    let before = fs::read(blocks(&tuned).join("trial.env")).unwrap();
    let disk = Disk::new(&tuned);
    let tried = disk.boots();
    assert!(tried.starts_with(QUIET_LINE) && tried.ends_with(" panic=10"), "{tried}");
    assert_eq!(disk.boots(), "", "once: it was forgotten on the disk");
    // The new armed block beside an old trial, as after a power cut.
    tuned.host.write("/boot/grub/grub.cfg", MENU);
    tuned.apply("'iso.skew' = { enabled = true }").exits(Exit::NeedsReboot);
    fs::write(blocks(&tuned).join("trial.env"), before).unwrap();
    assert_eq!(Disk::new(&tuned).boots(), "");
}

/// As update-grub writes it: what is not the plain entry stands in a submenu, and the recovery one has no line of ours.
const ADVANCED: &str = "set timeout=0\nset default=\"Advanced>ENTRY\"\nsubmenu 'Advanced' --id Advanced {\n\
    menuentry 'Debian' --id plain {\n\tsave_env --file $prefix/told.env quell_args\n\texit\n}\n\
    menuentry 'Debian (recovery mode)' --id recovery {\n\tset quell_args=single\n\t\
    save_env --file $prefix/told.env quell_args\n\texit\n}\n}\n";

#[test]
fn grub_itself_passes_a_trial_over_for_a_recovery_entry() {
    if !(require("grub-emu") && require("grub-editenv") && require("script")) {
        return;
    }
    if !(require("mke2fs") && require("debugfs")) {
        return;
    }
    let after = |entry: &str| {
        let tuned = bootable();
        tuned.apply(QUIET).exits(Exit::NeedsReboot);
        let disk = Disk::with(&tuned, &ADVANCED.replace("ENTRY", entry));
        let booted = disk.boots();
        (booted, disk.block("armed.env"))
    };
    let (booted, armed) = after("plain");
    assert!(booted.starts_with(QUIET_LINE), "through the submenu it is tried as well: {booted}");
    assert!(armed.contains("quell_after=0\n"), "{armed}");
    let (booted, armed) = after("recovery");
    assert_eq!(booted, "single");
    // The system that comes up finds that GRUB has not been there since: this very boot passed it over.
    assert!(armed.contains("quell_armed=\n") && armed.contains("quell_after=0\n"), "{armed}");
}

#[test]
fn the_script_tells_the_boot_after_a_trial_from_the_trial() {
    if !require("grub-editenv") || !require("bash") {
        return;
    }
    let tuned = bootable();
    tuned.apply(QUIET).exits(Exit::NeedsReboot);
    let standing = || {
        let boot = tuned.run(["boot", "--json"]).json("quell.boot/1");
        boot["standing"].as_str().unwrap().to_owned()
    };
    boots(&tuned, "save");
    assert_eq!(standing(), "passed-over", "the machine of this test came up without the line");
    boots(&tuned, "save");
    assert_eq!(standing(), "came-back", "GRUB was there again");
}
