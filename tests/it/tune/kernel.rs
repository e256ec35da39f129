//! The kernel this runs on: harmless knobs, put back and compared whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use report::Exit;
use serde_json::Value;

use crate::harness::{Output, Quell, require, require_root};

/// One test at a time: there is one kernel.
static KERNEL: Mutex<()> = Mutex::new(());

/// Everything these tests may change, in an order in which the originals can be written back: of a pair, the kernel takes
/// no zero for the member in bytes.
const KNOBS: [&str; 9] = [
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/dirty_bytes",
    "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/dirty_background_bytes",
    "/proc/sys/vm/dirty_background_ratio",
    "/proc/sys/vm/stat_interval",
    "/proc/sys/kernel/hung_task_timeout_secs",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/proc/sys/vm/min_free_kbytes",
];
pub const SWAPPINESS: &str = KNOBS[0];
const THP: &str = KNOBS[7];
const MIN_FREE: &str = KNOBS[8];

/// The real kernel; originals are written back and compared when it is dropped, also by a test that fails.
pub struct Kernel {
    quell: Quell,
    originals: Vec<String>,
    _turn: Turn,
}

/// That no other test changes the kernel, of this run or of another.
pub struct Turn {
    _of_processes: Flock<fs::File>,
    _of_threads: MutexGuard<'static, ()>,
}

/// Waits until no other test changes the kernel, and keeps it so.
pub fn turn() -> Turn {
    let of_threads = KERNEL.lock().unwrap_or_else(PoisonError::into_inner);
    let file = fs::File::create(std::env::temp_dir().join("quell-tests-kernel.lock")).unwrap();
    let of_processes = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    Turn { _of_processes: of_processes, _of_threads: of_threads }
}

impl Kernel {
    pub fn new() -> Self {
        let turn = turn();
        Self { quell: Quell::new(), originals: snapshot(), _turn: turn }
    }

    pub fn state(&self) -> PathBuf {
        self.quell.folder().join("state")
    }

    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Quell {
        self.quell.args(["tune"]).args(words).args(["--state-dir", self.state().to_str().unwrap()])
    }

    pub fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(words).run()
    }

    pub fn profile(&self, knobs: &str) -> String {
        let text = format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n");
        self.quell.file("profile.toml", &text).display().to_string()
    }

    fn apply(&self, knobs: &str) -> Output {
        self.run(["apply", "--json", "--profile", &self.profile(knobs)])
    }

    /// What stood there before.
    pub fn original(&self, path: &str) -> String {
        let index = KNOBS.iter().position(|known| *known == path).unwrap();
        self.originals[index].clone()
    }

    #[track_caller]
    pub fn is_as_it_was(&self) {
        for (path, (now, original)) in KNOBS.iter().zip(snapshot().iter().zip(&self.originals)) {
            assert_eq!(now, original, "{path}");
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let left: Vec<&str> = snapshot()
            .iter()
            .zip(&self.originals)
            .zip(KNOBS)
            .filter(|((now, original), _)| now != original)
            .map(|(_, path)| path)
            .collect();
        for (path, original) in KNOBS.iter().zip(&self.originals) {
            let _ = fs::write(path, original); // zero bytes are refused, and then the ratio says the same
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left changed, and put back by the test: {left:?}");
        }
    }
}

pub fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let bracketed = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(text.trim().to_owned(), |(word, _)| word.to_owned())
}

fn snapshot() -> Vec<String> {
    KNOBS.iter().map(|path| read(path)).collect()
}

/// A number that the knob does not hold.
pub fn other(path: &str, one: u32, two: u32) -> u32 {
    if read(path) == one.to_string() { two } else { one }
}

#[test]
fn a_profile_there_and_back_on_the_kernel() {
    if !require_root() {
        return;
    }
    let kernel = Kernel::new();
    let (swap, stat) = (other(SWAPPINESS, 37, 38), other(KNOBS[5], 3, 4));
    let knobs =
        format!("'mem.swap' = {{ swappiness = {swap} }}\n'iso.vmstat' = {{ stat_interval = {stat} }}");
    let plan = kernel.run(["plan", "--json", "--profile", &kernel.profile(&knobs)]).exits(Exit::Pending);
    kernel.is_as_it_was();
    assert!(!kernel.state().exists());
    let applied = kernel.apply(&knobs).succeeds().json("quell.apply/1");
    assert_eq!(applied["writes"], 2);
    assert_eq!(plan.json("quell.plan/1")["changes"].as_array().unwrap().len(), 2);
    assert_eq!((read(SWAPPINESS), read(KNOBS[5])), (swap.to_string(), stat.to_string()));
    assert_eq!(kernel.apply(&knobs).succeeds().json("quell.apply/1")["writes"], 0);
    kernel.run(["verify", "--profile", &kernel.profile(&knobs)]).succeeds();
    kernel.run(["drift"]).succeeds();
    kernel.run(["rollback"]).succeeds();
    kernel.is_as_it_was();
}

/// Both limits, from each way of naming them to each other.
#[test]
fn a_coupled_pair_goes_everywhere_and_back() {
    if !require_root() {
        return;
    }
    let kernel = Kernel::new();
    let set = |knobs: &str| {
        let applied = kernel.apply(&format!("'mem.dirty' = {{ {knobs} }}")).succeeds().json("quell.apply/1");
        assert_eq!(applied["result"], "applied", "{knobs}");
        snapshot()[1..5].to_vec()
    };
    let pairs = |bytes: &str, ratio: &str, background_bytes: &str, background: &str| {
        [bytes, ratio, background_bytes, background].map(str::to_owned).to_vec()
    };
    assert_eq!(set("ratio = 31, background_ratio = 7"), pairs("0", "31", "0", "7")); // as here: ratio to ratio
    assert_eq!(
        set("bytes = 314572800, background_bytes = 104857600"),
        pairs("314572800", "0", "104857600", "0")
    );
    assert_eq!(set("bytes = 209715200"), pairs("209715200", "0", "104857600", "0")); // bytes to bytes
    assert_eq!(set("ratio = 33, background_ratio = 0"), pairs("0", "33", "0", "0")); // bytes to ratio, and to none
    assert_eq!(set("background_bytes = 52428800"), pairs("0", "33", "52428800", "0"));
    let expected = [
        pairs("0", "33", "0", "0"),
        pairs("209715200", "0", "104857600", "0"),
        pairs("314572800", "0", "104857600", "0"),
        pairs("0", "31", "0", "7"),
    ];
    for expected in expected {
        kernel.run(["rollback"]).succeeds();
        assert_eq!(snapshot()[1..5], expected);
    }
    kernel.run(["rollback"]).succeeds();
    kernel.is_as_it_was();
}

#[test]
fn a_foreign_value_on_the_kernel_stays() {
    if !require_root() {
        return;
    }
    let kernel = Kernel::new();
    kernel.apply(&format!("'mem.swap' = {{ swappiness = {} }}", other(SWAPPINESS, 37, 38))).succeeds();
    fs::write(SWAPPINESS, "42").unwrap();
    kernel.run(["drift"]).exits(Exit::No);
    kernel.run(["rollback"]).exits(Exit::Failure);
    assert_eq!(read(SWAPPINESS), "42");
    kernel.run(["rollback", "--force"]).succeeds();
    kernel.is_as_it_was();
}

/// The kernel computes `min_free_kbytes` anew when huge pages are switched; what a person set is put back all the same,
/// whether it was set before the apply or after.
#[test]
fn a_side_effect_of_the_kernel_is_undone_and_a_persons_value_is_not() {
    if !require_root() || !Path::new(THP).exists() {
        return;
    }
    let kernel = Kernel::new();
    let (word, floor) = (if read(THP) == "never" { "madvise" } else { "never" }, "50000");
    let knobs = format!("'mem.thp' = {{ enabled = '{word}' }}");
    // Before: an odd value, that only one of the two switches changes.
    fs::write(MIN_FREE, floor).unwrap();
    kernel.apply(&knobs).succeeds();
    kernel.run(["rollback"]).succeeds();
    assert_eq!((read(THP), read(MIN_FREE).as_str()), (kernel.originals[7].clone(), floor));
    // After: somebody's value of a later moment.
    kernel.apply(&knobs).succeeds();
    fs::write(MIN_FREE, "51000").unwrap();
    kernel.run(["rollback"]); // a row of its own only where the apply had changed it
    assert_eq!((read(THP), read(MIN_FREE).as_str()), (kernel.originals[7].clone(), "51000"));
    fs::write(MIN_FREE, &kernel.originals[8]).unwrap();
    kernel.is_as_it_was();
}

#[test]
fn a_kernel_mounted_read_only_is_left_alone() {
    if !(require_root() && require("unshare")) {
        return;
    }
    let kernel = Kernel::new();
    let knobs = format!("'mem.swap' = {{ swappiness = {} }}", other(SWAPPINESS, 37, 38));
    let script = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
    let command = kernel.command(["apply", "--json", "--profile", &kernel.profile(&knobs)]);
    let output = command.under(["unshare", "-m", "sh", "-c", script, "sh"]).run().exits(Exit::Failure);
    let json: Value = output.json("quell.apply/1");
    assert!(json["skipped"][0]["reason"].as_str().unwrap().contains("Read-only file system"), "{output}");
    kernel.is_as_it_was();
}

/// Without it the originals of an earlier boot would pass for this one's.
#[test]
fn a_machine_that_does_not_tell_its_boot_is_not_tuned() {
    if !(require_root() && require("unshare")) {
        return;
    }
    let kernel = Kernel::new();
    let profile = kernel.profile(&format!("'mem.swap' = {{ swappiness = {} }}", other(SWAPPINESS, 37, 38)));
    let script = "mount -t tmpfs none /proc/sys/kernel/random && exec \"$@\"";
    let run = |words: &[&str]| {
        kernel.command(words.iter().copied()).under(["unshare", "-m", "sh", "-c", script, "sh"]).run()
    };
    run(&["plan", "--profile", &profile]).exits(Exit::Pending);
    let refused = run(&["apply", "--profile", &profile]).exits(Exit::Failure);
    refused.says_one_line(&["/proc/sys/kernel/random/boot_id"]);
    kernel.is_as_it_was();
}

#[test]
fn killed_on_the_kernel_and_put_back() {
    if !(require_root() && require("strace")) {
        return;
    }
    let kernel = Kernel::new();
    let knobs = format!(
        "'mem.swap' = {{ swappiness = {} }}\n'iso.vmstat' = {{ stat_interval = {} }}",
        other(SWAPPINESS, 37, 38),
        other(KNOBS[5], 3, 4)
    );
    let profile = kernel.profile(&knobs);
    let trace = kernel.quell.folder().join("trace");
    for (call, when) in [("write", 1), ("write", 2), ("fdatasync", 1), ("openat2", 30), ("exit_group", 1)] {
        for verb in [&["apply", "--profile", &profile][..], &["rollback", "--to", "baseline"]] {
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let words = ["strace", "-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o"];
            kernel
                .command(verb.iter().copied())
                .under(words.into_iter().chain([trace.to_str().unwrap()]))
                .run();
        }
        kernel.run(["rollback", "--to", "baseline"]).succeeds();
        kernel.is_as_it_was();
    }
}
