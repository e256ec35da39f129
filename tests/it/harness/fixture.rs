//! A captured host, copied so that a test may write into it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A tree of kernel files as one machine showed them, in a temporary folder.
pub struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// A copy of `tests/fixtures/hosts/NAME`.
    #[track_caller]
    pub fn copy(name: &str) -> Self {
        let hosts = hosts();
        let known = || {
            let names = fs::read_dir(&hosts).into_iter().flatten().flatten();
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let from = hosts.join(name);
        assert!(from.is_dir(), "{}: no such fixture; there are {:?}", from.display(), known());
        Self::of(&from)
    }

    /// A copy of the tree at `from`.
    pub fn of(from: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(from, folder.path());
        Self { folder }
    }

    /// What `--root` takes.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The text of a file, by its path on the machine (`/proc/sys/vm/swappiness`).
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Makes the machine say `text` there, as somebody else's write or another kernel would.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Makes the machine lack `path`.
    #[track_caller]
    pub fn remove(&self, path: &str) {
        let at = self.at(path);
        let removed = if at.is_dir() { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
        removed.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Every file and link with its text, by path: two of these compare whole machines.
    pub fn snapshot(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        gather(self.path(), self.path(), &mut files);
        files.sort_unstable();
        files
    }

    #[track_caller]
    fn at(&self, path: &str) -> PathBuf {
        let inner = path.strip_prefix('/').unwrap_or_else(|| panic!("{path}: not an absolute path"));
        self.path().join(inner)
    }
}

fn hosts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hosts")
}

/// Links are copied as links: `/sys` is made of them. Modes come along with fs::copy; what a capture made
/// unreadable stays so.
fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else if kind.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

fn gather(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            files.push((name, format!("-> {}", fs::read_link(&path).unwrap().display())));
        } else if kind.is_dir() {
            gather(root, &path, files);
        } else {
            files.push((name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (TempDir, Fixture) {
        let origin = tempfile::tempdir().unwrap();
        fs::create_dir_all(origin.path().join("sys/devices/cpu0")).unwrap();
        fs::write(origin.path().join("sys/devices/cpu0/online"), "1\n").unwrap();
        symlink("devices/cpu0", origin.path().join("sys/first")).unwrap();
        let copy = Fixture::of(origin.path());
        (origin, copy)
    }

    #[test]
    fn a_copy_is_the_machine_and_may_change() {
        let (origin, host) = machine();
        assert_eq!(
            host.snapshot(),
            [
                ("/sys/devices/cpu0/online".to_owned(), "1\n".to_owned()),
                ("/sys/first".to_owned(), "-> devices/cpu0".to_owned()),
            ]
        );
        assert_eq!(host.read("/sys/first/online"), "1\n");
        host.write("/sys/devices/cpu0/online", "0\n");
        host.write("/proc/sys/vm/swappiness", "60\n");
        assert_eq!(host.read("/sys/first/online"), "0\n");
        host.remove("/sys/first");
        assert_eq!(host.snapshot().len(), 2);
        assert_eq!(fs::read_to_string(origin.path().join("sys/devices/cpu0/online")).unwrap(), "1\n");
    }

    #[test]
    fn an_unknown_machine_is_refused_by_name() {
        let message = std::panic::catch_unwind(|| drop(Fixture::copy("no-such-host"))).unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("no-such-host: no such fixture; there are ["), "{message}");
    }
}
