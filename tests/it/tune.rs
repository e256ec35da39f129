//! `quell tune`, the built command: on captured hosts, and with harmless knobs on the kernel it runs on.

mod apply;
mod boot;
mod complaints;
mod confirm;
mod faults;
mod input;
mod kernel;
mod plan;
mod prove;
mod provenance;
mod sessions;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Fixture, Output, Quell};

/// The captured hosts.
const HOSTS: [&str; 3] = ["firecracker-2cpu-6.18", "qemu-4cpu-2node-6.12", "qemu-4cpu-2node-6.1-rt"];
const SMALL: &str = HOSTS[0];
const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const HUNG: &str = "/proc/sys/kernel/hung_task_timeout_secs";
/// What the captured hosts hold.
const ORIGINAL: &str = "60\n";

/// A captured host, what tunes it, and profiles as files beside it.
struct Tuned {
    host: Fixture,
    quell: Quell,
}

impl Tuned {
    fn new(name: &str) -> Self {
        let host = Fixture::copy(name);
        // What git cannot keep: how the kernel marks an interrupt that belongs to its driver.
        for path in host.read("/read-only").lines().filter(|path| path.starts_with('/')) {
            fs::set_permissions(host.path().join(&path[1..]), Permissions::from_mode(0o444)).unwrap();
        }
        Self { host, quell: Quell::new() }
    }

    fn small() -> Self {
        Self::new(SMALL)
    }

    /// A command line with the host and its state directory behind it.
    fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Quell {
        self.quell.args(["tune"]).args(words).on(&self.host)
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(words).run()
    }

    /// A profile of these knobs as a file; its path.
    fn profile(&self, knobs: &str) -> String {
        self.toml("profile.toml", &format!("[knobs]\n{knobs}"))
    }

    /// A profile of this text, below its schema.
    fn toml(&self, name: &str, text: &str) -> String {
        let text = format!("schema = \"quell.profile/1\"\n{text}\n");
        self.quell.file(name, &text).display().to_string()
    }

    fn apply(&self, knobs: &str) -> Output {
        self.run(["apply", "--profile", &self.profile(knobs)])
    }

    fn swappiness(&self, value: u32) -> Output {
        self.apply(&format!("'mem.swap' = {{ swappiness = {value} }}"))
    }

    fn state(&self) -> PathBuf {
        self.quell.folder().join("state")
    }
}

/// `knob attribute status` of each row, sorted.
fn rows(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row =
        |row: &Value| format!("{} {} {}", text(&row["knob"]), text(&row["attribute"]), text(&row["status"]));
    let mut rows: Vec<String> = list.as_array().unwrap().iter().map(row).collect();
    rows.sort_unstable();
    rows
}

/// The command in a mount namespace of its own, after `mounts`.
fn among(quell: &Quell, mounts: &str) -> Quell {
    let script = format!("{mounts} && exec \"$@\"");
    quell.under([
        "unshare".to_owned(),
        "-m".to_owned(),
        "sh".to_owned(),
        "-c".to_owned(),
        script,
        "sh".to_owned(),
    ])
}
