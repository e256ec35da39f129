//! The tree that kernel files are read from and written to: `/`, or a fixture.
//!
//! Paths are written as a person would type them (`/proc/sys/vm/swappiness`), their first component names one of the
//! held directories, and the rest is resolved *beneath* it by openat2: a name with `..`, an absolute link or a magic
//! link cannot lead anywhere else, whatever a device, an interrupt or a cgroup may be called. Sources: openat2(2);
//! Documentation/filesystems/sysfs.rst for links inside `/sys`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use crate::Error;
use crate::error::Malformed;
use crate::kept::{self, Kept};
use units::limits::KERNEL_FILE_BYTES_MAX;

/// The directories that hold kernel files, the one (`etc`) with the machine's identity, the one of the boot loader, and
/// those of what other programs keep.
const TOPS: [&str; 7] = ["proc", "sys", "dev", "etc", "boot", "run", "usr"];

/// Those of other programs: nothing in them is ever written.
const READ_ONLY: [&str; 2] = ["run", "usr"];

/// Times that a path is resolved again. A link such as `/sys/class/net/eth0` climbs within its tree, and while somebody
/// mounts or renames anything at all the kernel cannot vouch for such a step and says EAGAIN (openat2(2)).
const RACES_MAX: usize = 64;

/// Room made before the first read, so that an attribute (at most a page) takes two read(2) calls, not three.
const FIRST_READ_BYTES: usize = 4096;

/// A tree of kernel files.
pub struct Root {
    prefix: PathBuf,
    is_live: bool,
    tops: [OnceLock<OwnedFd>; TOPS.len()],
    writes: AtomicU64,
    kept: Kept,
}

impl Root {
    /// The running machine.
    #[must_use]
    pub fn system() -> Self {
        Self::live_at(Path::new("/"))
    }

    /// A captured or fake machine below `prefix`. Nothing is opened yet.
    #[must_use]
    pub fn at(prefix: &Path) -> Self {
        let is_live = prefix == Path::new("/");
        Self {
            prefix: prefix.to_owned(),
            is_live,
            tops: Default::default(),
            writes: AtomicU64::new(0),
            kept: Kept::default(),
        }
    }

    /// A machine below `prefix` whose files are a kernel's, or a model of one: they answer for themselves, take one value
    /// a write, and appear and vanish with what they stand for. Calls that name no file (a thread's affinity) reach the
    /// running kernel all the same, and are made only for [`Root::system`].
    #[must_use]
    pub fn live_at(prefix: &Path) -> Self {
        Self { is_live: true, ..Self::at(prefix) }
    }

    /// Whether this is the running machine rather than a fixture.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.prefix == Path::new("/")
    }

    /// Whether its files behave as a kernel's, rather than as the plain files of a captured machine.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The directory this tree hangs below.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Writes attempted through this root, successful or not; "a re-apply writes nothing" is proved by it.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.writes.load(Ordering::Relaxed) // a statistic; orders nothing
    }

    /// The whole file as text.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`] (also for text that is not UTF-8 or longer than
    /// [`KERNEL_FILE_BYTES_MAX`]), [`Error::Path`].
    pub fn read(&self, path: &str) -> Result<String, Error> {
        String::from_utf8(self.read_bytes(path)?).map_err(|_| self.not_utf8(path))
    }

    /// The text of an attribute, which stays open for the next time: for files of at most one value or list, that are read
    /// again and again.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_attribute(&self, path: &str) -> Result<String, Error> {
        let bytes = self.with_attribute(path, kept::read)?;
        String::from_utf8(bytes).map_err(|_| self.not_utf8(path))
    }

    /// Whether an attribute's mode lets anybody write it, as [`Root::is_writable`]; it stays open.
    pub(crate) fn is_attribute_writable(&self, path: &str) -> Result<bool, Error> {
        self.with_attribute(path, kept::is_writable)
    }

    /// Has an attribute kept open for those who read it; nothing is asked of the kernel when it is.
    pub(crate) fn open_attribute(&self, path: &str) -> Result<(), Error> {
        if self.kept.find(path).is_none() {
            self.kept.keep(path, self.open(path, OFlag::O_RDONLY)?);
        }
        Ok(())
    }

    /// Closes every attribute that was kept open: the things behind the names may be others now.
    pub fn forget_attributes(&self) {
        self.kept.forget_all();
    }

    fn with_attribute<T>(&self, path: &str, look: impl Fn(&File) -> io::Result<T>) -> Result<T, Error> {
        if let Some(file) = self.kept.find(path) {
            // What fails on a kept descriptor may be another thing by now.
            match look(&file) {
                Ok(seen) if self.is_system() || !kept::is_replaced(&file) => return Ok(seen),
                _ => self.kept.forget(path),
            }
        }
        let file = self.kept.keep(path, self.open(path, OFlag::O_RDONLY)?);
        look(&file).map_err(|cause| {
            self.kept.forget(path);
            self.unreadable(path, cause)
        })
    }

    fn not_utf8(&self, path: &str) -> Error {
        let cause = io::Error::new(io::ErrorKind::InvalidData, "not UTF-8");
        Error::Read { path: self.display(path), cause }
    }

    fn unreadable(&self, path: &str, cause: io::Error) -> Error {
        match cause.raw_os_error() {
            // The object behind the file (a CPU, a task, a device) went away between open and read.
            Some(libc::ENODEV | libc::ESRCH) => Error::Absent { path: self.display(path) },
            _ => Error::Read { path: self.display(path), cause },
        }
    }

    /// The whole file, with U+FFFD for what is not UTF-8: for files that carry names others chose (threads, devices).
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_lossy(&self, path: &str) -> Result<String, Error> {
        let bytes = self.read_bytes(path)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The beginning of the file, bytes that are no UTF-8 replaced: for what somebody else made as long as he liked.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_beginning(&self, path: &str, bytes_max: usize) -> Result<String, Error> {
        let failed = |cause: io::Error| Error::Read { path: self.display(path), cause };
        let mut bytes = Vec::with_capacity(bytes_max);
        let file = File::from(self.open(path, OFlag::O_RDONLY)?);
        file.take(bytes_max as u64).read_to_end(&mut bytes).map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `N` bytes from `offset` on: for devices that are addressed by it.
    pub(crate) fn read_at<const N: usize>(&self, path: &str, offset: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        let file = File::from(self.open(path, OFlag::O_RDONLY)?);
        let failed = |cause: io::Error| Error::Read { path: self.display(path), cause };
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }

    /// The file's text as `parser` understands it; what the parser refuses gets the path added.
    pub(crate) fn parse<T>(
        &self,
        path: &str,
        parser: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        self.parsed(path, &self.read_lossy(path)?, parser)
    }

    /// The same of an attribute, which stays open. As there, what is not UTF-8 is replaced.
    pub(crate) fn parse_attribute<T>(
        &self,
        path: &str,
        parser: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let bytes = self.with_attribute(path, kept::read)?;
        self.parsed(path, &String::from_utf8_lossy(&bytes), parser)
    }

    /// What `parser` makes of `text`, which stands in the file at `path`.
    pub(crate) fn parsed<T>(
        &self,
        path: &str,
        text: &str,
        parser: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        parser(text).map_err(|Malformed { line, problem }| Error::Format {
            path: self.display(path),
            line,
            problem,
        })
    }

    pub(crate) fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Error> {
        let failed = |cause| self.unreadable(path, cause);
        let mut bytes = Vec::with_capacity(FIRST_READ_BYTES);
        File::from(self.open(path, OFlag::O_RDONLY)?)
            .take(KERNEL_FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() > KERNEL_FILE_BYTES_MAX {
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 8 MiB")));
        }
        Ok(bytes)
    }

    /// Writes `text` with one write(2), as kernel attributes want it; success says nothing about its effect.
    ///
    /// The file is never created. In a fixture it is truncated first, as an attribute behaves; the kernel's own
    /// attributes ignore truncation.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Write`] with the kernel's refusal (a short write is one), [`Error::Path`].
    pub fn write(&self, path: &str, text: &str) -> Result<(), Error> {
        self.writes.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
        let refused = |cause| Error::Write { path: self.display(path), value: text.to_owned(), cause };
        let fd = self.open(path, OFlag::O_WRONLY | OFlag::O_TRUNC).map_err(|error| match error {
            Error::Read { cause, .. } => refused(cause),
            other => other,
        })?;
        match File::from(fd).write(text.as_bytes()) {
            Ok(written) if written == text.len() => Ok(()),
            Ok(written) => {
                Err(refused(io::Error::other(format!("the kernel took {written} of {} bytes", text.len()))))
            }
            Err(cause) => Err(refused(cause)),
        }
    }

    /// Writes `bytes` and keeps the file open: for requests that last as long as a descriptor does.
    ///
    /// # Errors
    /// As [`Root::write`].
    pub(crate) fn hold(&self, path: &str, bytes: &[u8]) -> Result<File, Error> {
        self.writes.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
        let refused =
            |cause| Error::Write { path: self.display(path), value: format!("{bytes:02x?}"), cause };
        let fd = self.open(path, OFlag::O_RDWR).map_err(|error| match error {
            Error::Read { cause, .. } => refused(cause),
            other => other,
        })?;
        let mut file = File::from(fd);
        match file.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(file),
            Ok(_) => Err(refused(io::Error::other("the kernel took a part of it"))),
            Err(cause) => Err(refused(cause)),
        }
    }

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Path`].
    pub fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let failed = |errno: Errno| Error::Read { path: self.display(path), cause: errno.into() };
        let fd = self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::from_fd(fd).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The last component of what the symbolic link at `path` points to: devices are told by such links.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`] (also for what is no link), [`Error::Path`].
    pub fn link_name(&self, path: &str) -> Result<String, Error> {
        let fd = self.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        let target = nix::fcntl::readlinkat(&fd, "").map_err(|errno| match errno {
            Errno::ENOENT => Error::Read { path: self.display(path), cause: Errno::EINVAL.into() }, // no link
            _ => Error::Read { path: self.display(path), cause: errno.into() },
        })?;
        let target = target.to_string_lossy().into_owned();
        Ok(target.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The number of the inode at `path`; `None` where there is none.
    #[must_use]
    pub fn inode(&self, path: &str) -> Option<u64> {
        let file = self.open(path, OFlag::O_PATH).ok()?;
        nix::sys::stat::fstat(&file).ok().map(|stat| stat.st_ino)
    }

    /// Whether `path` exists (readable or not).
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.open(path, OFlag::O_PATH).is_ok()
    }

    /// Whether the file's mode lets anybody write it, whoever asks; kernel files of managed things do not.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn is_writable(&self, path: &str) -> Result<bool, Error> {
        let fd = self.open(path, OFlag::O_PATH)?;
        let stat = nix::sys::stat::fstat(&fd)
            .map_err(|errno| Error::Read { path: self.display(path), cause: errno.into() })?;
        Ok(stat.st_mode & 0o222 != 0)
    }

    /// Makes one directory, as cgroups are made.
    ///
    /// # Errors
    /// [`Error::Absent`] when the parent does not exist, [`Error::Write`] otherwise (EEXIST included), [`Error::Path`].
    pub fn make_dir(&self, path: &str) -> Result<(), Error> {
        self.change_dir_entry(path, "mkdir", |parent, name| {
            nix::sys::stat::mkdirat(parent, name, Mode::from_bits_truncate(0o755))
        })
    }

    /// Removes one empty directory, as cgroups are removed.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Write`] (EBUSY or ENOTEMPTY while something is inside), [`Error::Path`].
    pub fn remove_dir(&self, path: &str) -> Result<(), Error> {
        use nix::unistd::{UnlinkatFlags, unlinkat};
        self.change_dir_entry(path, "rmdir", |parent, name| unlinkat(parent, name, UnlinkatFlags::RemoveDir))
    }

    fn change_dir_entry(
        &self,
        path: &str,
        verb: &str,
        change: impl Fn(&OwnedFd, &str) -> nix::Result<()>,
    ) -> Result<(), Error> {
        self.writes.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
        let outside = Error::Path { path: path.to_owned(), problem: "names no entry of a directory" };
        let (parent, name) = path.rsplit_once('/').ok_or(outside)?;
        if READ_ONLY.iter().any(|top| path.strip_prefix('/').is_some_and(|path| path.starts_with(top))) {
            return Err(Error::Path {
                path: path.to_owned(),
                problem: "files below /run and /usr are only read",
            });
        }
        let parent = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        change(&parent, name).map_err(|errno| match errno {
            Errno::ENOENT => Error::Absent { path: self.display(path) },
            _ => Error::Write { path: self.display(path), value: verb.to_owned(), cause: errno.into() },
        })
    }

    /// `path` as a person would type it on this machine.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        if self.is_system() { path.to_owned() } else { format!("{}{path}", self.prefix.display()) }
    }

    /// Counts what is about to be written.
    pub(crate) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
    }

    pub(crate) fn open(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Error> {
        let refused = |problem| Error::Path { path: path.to_owned(), problem };
        let inner = path.strip_prefix('/').ok_or_else(|| refused("not an absolute path"))?;
        let (top, rest) = inner.split_once('/').unwrap_or((inner, "."));
        let index = TOPS
            .iter()
            .position(|known| *known == top)
            .ok_or_else(|| refused("not below /proc, /sys, /dev, /etc, /boot, /run or /usr"))?;
        if READ_ONLY.contains(&top) && flags.intersects(OFlag::O_WRONLY | OFlag::O_RDWR) {
            return Err(refused("files below /run and /usr are only read"));
        }
        if rest.split('/').any(|component| component == "..") {
            return Err(refused("a path may not climb"));
        }
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let open = || self.top(index).and_then(|top| openat2(top, rest, how));
        let mut opened = open();
        for _ in 0..RACES_MAX {
            if opened.as_ref().err() != Some(&Errno::EAGAIN) {
                break;
            }
            opened = open();
        }
        opened.map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV => Error::Absent { path: self.display(path) },
            _ => Error::Read { path: self.display(path), cause: errno.into() },
        })
    }

    fn top(&self, index: usize) -> nix::Result<&OwnedFd> {
        if let Some(fd) = self.tops[index].get() {
            return Ok(fd);
        }
        let path = self.prefix.join(TOPS[index]);
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
        let fd = openat2(AT_FDCWD, &path, how)?;
        Ok(self.tops[index].get_or_init(|| fd)) // a racing thread's descriptor is as good
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.prefix.display())
    }
}

/// A machine of a few files that a test writes, for kernel interfaces that no captured machine has.
#[cfg(test)]
pub(crate) struct Tree {
    dir: tempfile::TempDir,
    pub(crate) root: Root,
}

#[cfg(test)]
impl Tree {
    /// `(path, text)` of each file.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for top in ["proc", "sys"] {
            std::fs::create_dir(dir.path().join(top)).unwrap();
        }
        let tree = Self { root: Root::at(dir.path()), dir };
        files.iter().for_each(|(path, text)| tree.put(path, text));
        tree
    }

    /// Puts a file there, or another text into it.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/sys/vm")).unwrap();
        std::fs::create_dir_all(dir.path().join("sys")).unwrap();
        put(&dir.path().join("proc/sys/vm/swappiness"), "60\n");
        put(&dir.path().join("canary"), "untouched");
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn put(path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn reads_writes_and_counts() {
        let (_dir, root) = fake();
        assert_eq!(root.read("/proc/sys/vm/swappiness").unwrap(), "60\n");
        root.write("/proc/sys/vm/swappiness", "7").unwrap();
        assert_eq!(root.read("/proc/sys/vm/swappiness").unwrap(), "7");
        assert_eq!(root.write_count(), 1);
        assert_eq!(root.list("/proc/sys/vm").unwrap(), ["swappiness"]);
    }

    #[test]
    fn absence_is_said_and_nothing_is_created() {
        let (_dir, root) = fake();
        assert!(root.read("/proc/sys/vm/nothing").unwrap_err().is_absent());
        assert!(root.write("/proc/sys/vm/nothing", "1").unwrap_err().is_absent());
        assert!(!root.exists("/proc/sys/vm/nothing"));
        assert!(root.read("/etc/machine-id").unwrap_err().is_absent(), "a fixture without /etc");
    }

    #[test]
    fn no_name_leads_out_of_the_tree() {
        let (dir, root) = fake();
        let escape = dir.path().join("sys/escape");
        std::os::unix::fs::symlink("../canary", &escape).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("sys/absolute")).unwrap();
        for path in
            ["/sys/../canary", "/canary", "canary", "/sys/escape", "/sys/absolute", "/proc/sys/../../canary"]
        {
            assert!(root.write(path, "pwned").is_err(), "{path} was written");
            assert!(root.read(path).is_err(), "{path} was read");
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("canary")).unwrap(), "untouched");
    }

    #[test]
    fn what_other_programs_keep_is_only_read() {
        let (dir, root) = fake();
        for top in READ_ONLY {
            std::fs::create_dir_all(dir.path().join(top)).unwrap();
            put(&dir.path().join(top).join("file"), "theirs");
            let path = format!("/{top}/file");
            assert_eq!(root.read(&path).unwrap(), "theirs");
            let told = root.write(&path, "ours").unwrap_err().to_string();
            assert!(told.contains("are only read"), "{told}");
            assert!(root.hold(&path, b"ours").is_err());
            assert!(
                root.make_dir(&format!("/{top}/dir")).is_err()
                    && root.remove_dir(&format!("/{top}")).is_err()
            );
            assert_eq!(root.read(&path).unwrap(), "theirs");
        }
    }

    #[test]
    fn names_that_others_chose_are_read_all_the_same() {
        let (dir, root) = fake();
        File::create(dir.path().join("proc/comm")).unwrap().write_all(b"a\xffb\n").unwrap();
        assert_eq!(root.read_lossy("/proc/comm").unwrap(), "a\u{fffd}b\n");
        assert!(
            root.read("/proc/comm").unwrap_err().to_string().ends_with("/proc/comm: cannot read: not UTF-8")
        );
    }

    #[test]
    fn a_mode_without_write_bits_is_seen_by_root_too() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, root) = fake();
        assert!(root.is_writable("/proc/sys/vm/swappiness").unwrap());
        let read_only = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(dir.path().join("proc/sys/vm/swappiness"), read_only).unwrap();
        assert!(!root.is_writable("/proc/sys/vm/swappiness").unwrap());
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let (dir, root) = fake();
        let endless = File::create(dir.path().join("proc/endless")).unwrap();
        endless.set_len(1 << 40).unwrap(); // sparse: no block is used
        assert!(root.read("/proc/endless").unwrap_err().to_string().contains("larger than 8 MiB"));
    }

    #[test]
    fn directories_come_and_go() {
        let (_dir, root) = fake();
        root.make_dir("/sys/group").unwrap();
        assert!(root.exists("/sys/group"));
        assert!(root.make_dir("/sys/group").is_err(), "it was there already");
        root.remove_dir("/sys/group").unwrap();
        assert!(root.remove_dir("/sys/group").unwrap_err().is_absent());
    }
}
