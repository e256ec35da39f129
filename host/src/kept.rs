//! Kernel attributes kept open, because opening one costs several times what reading it does.
//!
//! An attribute of `/proc` and `/sys` is shown anew with every read from its beginning, so a kept descriptor tells what is
//! true now. Measured on a 2-vCPU VM: open, read and close 6.7 us, of which the read is 0.9. An engine that plans,
//! journals, writes and verifies reads each of its files four times within milliseconds.
//!
//! A descriptor follows the thing it was opened on, a path the thing that has the name: what the kernel took away fails on
//! its descriptor and is opened again, and network devices, which change names and live on, are not kept.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::fstat;
use units::limits::KERNEL_FILE_BYTES_MAX;

/// What one read asks for: sysfs shows no attribute longer than a page.
const PAGE: usize = 4096;

/// Attributes kept open at most, however many the process may have.
const FILES_MAX: usize = 8192;

/// Open attributes by path.
#[derive(Default)]
pub(crate) struct Kept {
    files: Mutex<HashMap<Box<str>, Arc<File>>>,
    capacity: OnceLock<usize>,
}

impl Kept {
    pub fn find(&self, path: &str) -> Option<Arc<File>> {
        self.files().get(path).cloned()
    }

    /// Keeps `file`, as long as half of the descriptors that the process may have are left to everything else.
    pub fn keep(&self, path: &str, file: OwnedFd) -> Arc<File> {
        let file = Arc::new(File::from(file));
        let capacity = *self.capacity.get_or_init(capacity);
        let mut files = self.files();
        if files.len() < capacity && !path.contains("/net/") {
            files.insert(path.into(), file.clone());
        }
        file
    }

    pub fn forget(&self, path: &str) {
        self.files().remove(path);
    }

    pub fn forget_all(&self) {
        self.files().clear();
    }

    /// Held for a look-up, never while reading: a read may block in the kernel.
    fn files(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets this process have as many descriptors as it may: the soft limit is for programs that use select(2). To be called
/// once, at the start; without it, fewer attributes are kept open.
pub fn allow_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard); // then with the fewer
    }
}

fn capacity() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(soft / 2).unwrap_or(FILES_MAX).min(FILES_MAX)
}

/// Whether a plain file lost its name: another one was put in its place. The kernel's own files are never replaced.
pub(crate) fn is_replaced(file: &File) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Whether its mode lets anybody write it. A mode outlives what it is of; a read does not, and has it opened again.
pub(crate) fn is_writable(file: &File) -> io::Result<bool> {
    file.read_at(&mut [0], 0)?;
    Ok(fstat(file)?.st_mode & 0o222 != 0)
}

/// The whole attribute, from its beginning: one pread(2) for what is shorter than a page.
pub(crate) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut page = [0; PAGE];
    let first = file.read_at(&mut page, 0)?;
    let mut bytes = page[..first].to_vec();
    let mut last = first;
    // A page full may be a part.
    while last > 0 && bytes.len() >= PAGE {
        if bytes.len() > KERNEL_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 8 MiB"));
        }
        last = file.read_at(&mut page, bytes.len() as u64)?;
        bytes.extend_from_slice(&page[..last]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use std::path::PathBuf;

    fn tree() -> (tempfile::TempDir, Root, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sys")).unwrap();
        let file = dir.path().join("sys/one");
        std::fs::write(&file, "1\n").unwrap();
        let root = Root::at(dir.path());
        (dir, root, file)
    }

    #[test]
    fn what_is_true_now_is_read_again() {
        let (_dir, root, file) = tree();
        assert_eq!(root.read_attribute("/sys/one").unwrap(), "1\n");
        root.write("/sys/one", "2\n").unwrap();
        assert_eq!(root.read_attribute("/sys/one").unwrap(), "2\n", "changed in place");
        std::fs::write(file.with_extension("new"), "3\n").unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
        assert_eq!(root.read_attribute("/sys/one").unwrap(), "3\n", "another file of that name");
        std::fs::remove_file(&file).unwrap();
        assert!(root.read_attribute("/sys/one").unwrap_err().is_absent(), "gone");
    }

    #[test]
    fn a_kernel_file_is_shown_anew() {
        let root = Root::system();
        let uuid = "/proc/sys/kernel/random/uuid";
        let one = root.read_attribute(uuid).unwrap();
        assert_ne!(one, root.read_attribute(uuid).unwrap());
        assert_eq!(one.len(), 37);
    }

    #[test]
    fn what_the_kernel_took_away_is_opened_again() {
        let root = Root::system();
        let own = |thread: u32| format!("/proc/{}/task/{thread}/comm", std::process::id());
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || send.send(nix::unistd::gettid().as_raw()).unwrap());
        let path = own(u32::try_from(receive.recv().unwrap()).unwrap());
        let kept = root.read_attribute(&path); // it may have ended by now
        thread.join().unwrap();
        if kept.is_ok() {
            assert!(root.read_attribute(&path).unwrap_err().is_absent());
        }
        assert!(root.read_attribute(&own(std::process::id())).is_ok());
    }

    #[test]
    fn more_than_a_page_is_read_to_its_end() {
        let (_dir, root, file) = tree();
        for length in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
            std::fs::write(&file, "x".repeat(length)).unwrap();
            assert_eq!(root.read_attribute("/sys/one").unwrap().len(), length);
        }
    }

    #[test]
    fn network_devices_are_not_kept() {
        let kept = Kept::default();
        let open = || OwnedFd::from(File::open("/proc/self/comm").unwrap());
        kept.keep("/sys/class/net/eth0/mtu", open());
        kept.keep("/sys/one", open());
        assert!(kept.find("/sys/class/net/eth0/mtu").is_none() && kept.find("/sys/one").is_some());
        kept.forget_all();
        assert!(kept.find("/sys/one").is_none());
    }
}
