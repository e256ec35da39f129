//! The machine the tests run on: what it is set to, and whose turn it is to change that.
//!
//! Tests run side by side. Many may compare the machine before and after, or one may tune it for real.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::new(());

/// Waits until no test changes the machine; none does while the guard lives.
pub fn hold_still() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner) // a failed test elsewhere is no reason to fail here
}

/// Waits until no test relies on the machine staying as it is; none does while the guard lives.
pub fn change() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Every setting that can be read, by its path.
pub fn settings() -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    PLACES.iter().for_each(|place| gather(Path::new(place), &mut settings));
    settings
}

/// Where settings stand.
const PLACES: [&str; 7] = [
    "/proc/sys",
    "/proc/irq",
    "/sys/devices/system/cpu",
    "/sys/devices/system/clocksource",
    "/sys/devices/virtual/workqueue",
    "/sys/kernel/mm",
    "/sys/module/workqueue/parameters",
];

/// What the kernel writes by itself below [`PLACES`]: counters, and what is drawn anew at each reading. A folder's or
/// file's name stands between slashes.
const RESTLESS: [&str; 18] = [
    "/proc/sys/fs/", // open files, inodes, dentries
    "/ns_last_pid/",
    "/pty/nr/",
    "/random/",
    "/nf_conntrack_count/",
    "/spurious/", // interrupts nobody claimed
    // idle states
    "/usage/",
    "/time/",
    "/above/",
    "/below/",
    "/rejected/",
    "/s2idle/",
    // memory
    "/pages_collapsed/",
    "/full_scans/",
    "/stats/",
    "/free_hugepages/",
    "/resv_hugepages/",
    // power management
    "/power/runtime_",
];

/// Links are not followed: they lead to what is read by its own name.
fn gather(folder: &Path, settings: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        let Ok(kind) = entry.file_type() else { continue };
        let restless = RESTLESS.iter().any(|restless| format!("{name}/").contains(restless));
        if restless || kind.is_symlink() {
            continue;
        } else if kind.is_dir() {
            gather(&path, settings);
        } else if let Ok(text) = fs::read_to_string(&path) {
            settings.insert(name, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_changes_it_is_alone() {
        let changing = change();
        assert!(TURN.try_read().is_err());
        drop(changing);
        let _still = hold_still();
        assert!(TURN.try_write().is_err());
    }

    #[test]
    fn settings_are_read_and_counters_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("cpu0/cpuidle/state0");
        fs::create_dir_all(&state).unwrap();
        for (name, text) in [("disable", "0\n"), ("usage", "77\n"), ("time", "1\n")] {
            fs::write(state.join(name), text).unwrap();
        }
        let mut settings = BTreeMap::new();
        gather(folder.path(), &mut settings);
        assert_eq!(settings.into_values().collect::<Vec<_>>(), ["0\n"]);
    }
}
