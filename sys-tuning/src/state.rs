//! The directory that holds what must not be lost: opened once, owned by nobody else, and every file in it opened beneath
//! the held descriptor without following a link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::own;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{UnlinkatFlags, fdatasync, fsync, unlinkat};

use crate::Error;

/// An open state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    fd: OwnedFd,
}

/// A version of a file: appending changes its length, rewriting its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: i64,
    changed: (i64, i64),
}

impl Stamp {
    /// That of an open file; `None` where it is not told.
    pub fn of(file: &File) -> Option<Self> {
        fstat(file).ok().map(|stat| Self::told(&stat))
    }

    fn told(stat: &FileStat) -> Self {
        Self { inode: stat.st_ino, bytes: stat.st_size, changed: (stat.st_mtime, stat.st_mtime_nsec) }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.unsigned_abs()
    }

    /// Whether the change is older than `age`, by the clock that stamps files; one in the future is not.
    pub fn is_older(&self, age: Duration) -> bool {
        let nanos = |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let now = clock_gettime(ClockId::CLOCK_REALTIME).map(|now| (now.tv_sec(), now.tv_nsec()));
        let since = now.map(|now| nanos(now) - nanos(self.changed));
        since.is_ok_and(|since| u128::try_from(since).is_ok_and(|since| since > age.as_nanos()))
    }
}

const DIR_FLAGS: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

impl StateDir {
    /// Opens the directory; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error::Integrity`] when others could have changed it, [`Error::State`], [`Error::Permission`].
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match nix::fcntl::open(path, OFlag::O_RDONLY | DIR_FLAGS, Mode::empty()) {
            Ok(fd) => Self::checked(path, fd).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) if path.is_symlink() => {
                Err(untrusted(path, "is a symbolic link"))
            }
            Err(errno) => Err(Error::state(path.display(), "open the state directory", errno)),
        }
    }

    /// Opens the directory, and makes it (and its parents) if need be.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        if let Some(dir) = Self::open(path)? {
            return Ok(dir);
        }
        let failed = |cause: io::Error| Error::state(path.display(), "make the state directory", cause);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match mkdirat(nix::fcntl::AT_FDCWD, path, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let gone = io::Error::from(io::ErrorKind::NotFound);
        Self::open(path)?.ok_or_else(|| failed(gone))
    }

    fn checked(path: &Path, fd: OwnedFd) -> Result<Self, Error> {
        let dir = Self { path: path.to_owned(), fd };
        let stat = fstat(&dir.fd).map_err(|errno| Error::state(path.display(), "look at it", errno))?;
        if stat.st_uid != own::user().as_raw() {
            return Err(untrusted(path, "does not belong to this user"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(untrusted(path, "is open to others"));
        }
        Ok(dir)
    }

    /// The path of a file in it, for messages.
    #[must_use]
    pub fn display(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Opens a file; `None` when it does not exist and `flags` do not make it.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn file(&self, name: &str, flags: OFlag, doing: &'static str) -> Result<Option<File>, Error> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match openat(self.fd.as_fd(), name, flags, FILE_MODE) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(untrusted(Path::new(&self.display(name)), "is a symbolic link")),
            Err(errno) => return Err(Error::state(self.display(name), doing, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| Error::state(self.display(name), doing, errno))?;
        check_file(&self.display(name), &stat)?;
        Ok(Some(File::from(fd)))
    }

    /// What changes with every change of the file; `None` when it is not there.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        let stat = fstatat(self.fd.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(Stamp::told(&stat))
    }

    /// Whether a file of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        fstatat(self.fd.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Makes the directory's entries durable.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn sync(&self) -> Result<(), Error> {
        fsync(&self.fd).map_err(|errno| Error::state(self.path.display(), "make it durable", errno))
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Permission`].
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        match unlinkat(self.fd.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::state(self.display(name), "remove it", errno)),
        }
    }

    /// Gives the file `from` the name `to`, in the place of whatever bore it.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Permission`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        renameat(self.fd.as_fd(), from, self.fd.as_fd(), to)
            .map_err(|errno| Error::state(self.display(from), "rename it", errno))
    }

    /// Puts `bytes` in the place of the file `name`, whole or not at all, and durably.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Permission`]; the file is as it was.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let temporary = format!("{name}.new");
        self.remove(&temporary)?; // left by a process that was killed here
        let doing = "rewrite it";
        let file = self.file(&temporary, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, doing)?;
        let written = file.ok_or(Errno::ENOENT).map_err(io::Error::from).and_then(|mut file| {
            io::Write::write_all(&mut file, bytes)?;
            fdatasync(&file).map_err(io::Error::from)
        });
        if let Err(cause) = written {
            let _ = self.remove(&temporary); // the first failure is the one to tell
            return Err(Error::state(self.display(name), doing, cause));
        }
        renameat(self.fd.as_fd(), temporary.as_str(), self.fd.as_fd(), name)
            .map_err(|errno| Error::state(self.display(name), doing, errno))?;
        self.sync()
    }
}

/// A file that somebody else could have put there, or can write through, is not believed.
fn check_file(path: &str, stat: &FileStat) -> Result<(), Error> {
    let regular = stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG;
    let problem = match () {
        () if !regular => "is not a regular file",
        () if stat.st_nlink > 1 => "has a second name",
        () if stat.st_uid != own::user().as_raw() => "does not belong to this user",
        () if stat.st_mode & 0o022 != 0 => "can be written by others",
        () => return Ok(()),
    };
    Err(untrusted(Path::new(path), problem))
}

fn untrusted(path: &Path, problem: &str) -> Error {
    Error::Integrity {
        path: path.display().to_string(),
        problem: problem.to_owned(),
        remedy: "it must be owned by the user quell runs as, mode 0700 for the directory and 0600 for its files",
    }
}
