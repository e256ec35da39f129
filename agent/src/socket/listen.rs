//! Taking the socket's path: one instance, no race, nothing stale left.
//!
//! A lock beside the socket decides who owns the path; the socket file itself cannot, since it outlives a killed
//! process. The mode comes from the umask at bind, not from a chmod after it, so that there is no moment in which a
//! stranger could connect.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use host::inherited::Inherited;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::{Mode, umask};

/// The socket is for its owner and its group: 0660.
const SOCKET_UMASK: Mode = Mode::from_bits_truncate(0o117);

/// Why a socket path could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent serves it.
    #[error("{}: another agent (pid {pid}) serves this socket; stop it first, or give this one --socket PATH", path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
        /// The holder's process id as it wrote it, `?` when it has not yet.
        pid: String,
    },
    /// Something that is not a socket is in the way; it is not removed.
    #[error("{}: exists and is not a socket; move it away, or give the agent --socket PATH", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// The directory is missing or closed to us, or the path is too long for a socket (107 bytes).
    #[error("{}: cannot create the report socket: {cause} (the directory comes from tmpfiles.d; else give --socket PATH)", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

/// What our socket unit calls it: `FileDescriptorName=report`.
const HANDED_OVER: &str = "report";

/// A listening socket and the right to its path; dropping it removes the socket file and lets go of the lock, where they
/// are ours.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Device and number of the socket file, by which ours is told from one that took its place; `None` for a socket of
    /// the service manager, which outlives us.
    file: Option<(u64, u64)>,
    listener: UnixListener,
    /// `None` where the service manager sees to it that there is one of us.
    _lock: Option<Flock<File>>,
}

impl Bound {
    /// Takes `path`, removing the socket that a dead agent left there.
    ///
    /// Changes the process's umask for the moment of binding, so it belongs before the first thread is spawned.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn take(path: &Path) -> Result<Self, BindError> {
        let unusable = |cause| BindError::Unusable { path: path.to_owned(), cause };
        let lock = lock(path)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(unusable)?,
            Ok(_) => return Err(BindError::Occupied { path: path.to_owned() }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(unusable(cause)),
        }
        let before = umask(SOCKET_UMASK);
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), file: file_at(path), listener, _lock: Some(lock) })
    }

    /// The socket among those that the service manager handed over, if there is one: it made the path, set its owner and
    /// mode, and keeps it while we restart, so that a client waits instead of being refused.
    ///
    /// # Errors
    /// What was handed over as ours is not a listening socket with a path.
    pub fn handed_over(inherited: Vec<Inherited>) -> Result<Option<Self>, BindError> {
        let Some(found) = inherited.into_iter().find(|inherited| inherited.name == HANDED_OVER) else {
            return Ok(None);
        };
        let unusable =
            |cause| BindError::Unusable { path: PathBuf::from(format!("descriptor {HANDED_OVER}")), cause };
        let listener = UnixListener::from(found.fd);
        let address = listener.local_addr().map_err(unusable)?;
        let path = address.as_pathname().ok_or_else(|| unusable(io::ErrorKind::AddrNotAvailable.into()))?;
        listener.set_nonblocking(true).map_err(unusable)?;
        Ok(Some(Self { path: path.to_owned(), file: None, listener, _lock: None }))
    }

    /// The listener, non-blocking, for the event loop (a duplicate: the path stays ours).
    ///
    /// # Errors
    /// The kernel's refusal to duplicate a descriptor.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Where somebody removed the directory and its lock with it, another agent may serve this path by now.
        if self.file.is_some() && file_at(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path); // gone already is as good
        }
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Locks `<path>.lock` and writes our process id into it for whoever is refused.
fn lock(path: &Path) -> Result<Flock<File>, BindError> {
    let unusable = |cause| BindError::Unusable { path: path.to_owned(), cause };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let no_follow = OFlag::O_NOFOLLOW.bits();
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(name);
    match Flock::lock(file.map_err(unusable)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            held.set_len(0).and_then(|()| write!(held, "{}", std::process::id())).map_err(unusable)?;
            Ok(held)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let told = file.read_to_string(&mut pid).is_ok() && !pid.is_empty();
            Err(BindError::Busy { path: path.to_owned(), pid: if told { pid } else { "?".to_owned() } })
        }
        Err((_, errno)) => Err(unusable(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_owner_and_nothing_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.sock");
        let bound = Bound::take(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let refused = Bound::take(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(bound);
        assert!(!path.exists());
        Bound::take(&path).unwrap();
    }

    #[test]
    fn the_managers_socket_is_served_and_outlives_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.sock");
        let manager = UnixListener::bind(&path).unwrap();
        let handed =
            |name: &str| vec![Inherited { name: name.to_owned(), fd: manager.try_clone().unwrap().into() }];
        assert!(Bound::handed_over(Vec::new()).unwrap().is_none());
        assert!(Bound::handed_over(handed("ring-0")).unwrap().is_none());
        let bound = Bound::handed_over(handed("report")).unwrap().unwrap();
        assert_eq!(bound.path(), path);
        drop(bound);
        assert!(path.exists(), "it is the manager's");
        let file = Inherited { name: "report".to_owned(), fd: File::open("/dev/null").unwrap().into() };
        assert!(matches!(Bound::handed_over(vec![file]), Err(BindError::Unusable { .. })));
    }

    #[test]
    fn a_successors_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/report.sock");
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let first = Bound::take(&path).unwrap();
        std::fs::remove_dir_all(dir.path().join("run")).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let second = Bound::take(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_agents_socket_is_replaced_and_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.sock");
        drop(UnixListener::bind(&path).unwrap()); // leaves the file, as a killed process does
        drop(Bound::take(&path).unwrap());
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(Bound::take(&path), Err(BindError::Occupied { .. })));
        let nowhere = dir.path().join("no/such/dir/report.sock");
        assert!(matches!(Bound::take(&nowhere), Err(BindError::Unusable { .. })));
    }
}
