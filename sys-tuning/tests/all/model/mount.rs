//! A modelled kernel where the engine finds it: served by FUSE below a directory of its own.
//!
//! Mounted in a mount table of the test's thread alone, so that whatever ends the test, a kill included, ends the mount:
//! nobody else ever sees it. `/boot`, `/etc` and `/dev` are plain directories beside it, as they are disks and not kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use host::Root;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use sys_tuning::Engine;

use super::Kernel;
use crate::{is_root, may_run};

/// Whether a test that mounts may run.
pub fn may_mount(test: &str) -> bool {
    let has = is_root() && Path::new("/dev/fuse").exists() && own_mounts().is_ok();
    may_run(test, "root and /dev/fuse, to mount a modelled kernel", has)
}

/// A mount table of this thread alone: what it mounts, nobody else sees, and it goes with the thread.
fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// Something served at a directory; taken away when dropped, in a panic too.
pub struct Served {
    place: PathBuf,
    session: Option<BackgroundSession>,
}

impl Served {
    /// Serves `files` at `place`, for the thread that called [`may_mount`] and those it starts.
    pub fn at(place: &Path, files: impl Filesystem) -> Self {
        let session = fuser::spawn_mount(files, place, &Config::default()).unwrap();
        Self { place: place.to_owned(), session: Some(session) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file of it keeps it until he lets go, and is not waited for.
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
        drop(self.session.take());
    }
}

/// Writes that do not come back before they are let go, as behind work that a CPU does not come to.
#[derive(Default)]
struct Held {
    paths: BTreeSet<String>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    path: String,
    bytes: Vec<u8>,
    reply: ReplyWrite,
}

/// The writes that are held, and whether one has come.
type Gate = Arc<(Mutex<Held>, Condvar)>;

/// A machine whose kernel is modelled.
pub struct Modelled {
    kernel: Arc<Mutex<Kernel>>,
    gate: Gate,
    dir: tempfile::TempDir,
    served: Option<Served>,
}

impl Modelled {
    pub fn new(kernel: Kernel) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let place = dir.path().join("kernel");
        for name in ["kernel", "root", "root/boot", "root/etc", "root/dev"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for top in ["proc", "sys"] {
            symlink(place.join(top), dir.path().join("root").join(top)).unwrap();
        }
        let kernel = Arc::new(Mutex::new(kernel));
        let gate = Gate::default();
        let files = Files { kernel: kernel.clone(), names: Mutex::new(Names::new()), gate: gate.clone() };
        let served = Some(Served::at(&place, files));
        Self { kernel, gate, dir, served }
    }

    /// Has writes of `path` wait until they are let go.
    pub fn hold(&self, path: &str) {
        self.gate.0.lock().unwrap().paths.insert(path.to_owned());
    }

    /// Returns when a write waits.
    pub fn wait_for_a_held_write(&self) {
        let held = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(held, |held| held.waiting.is_empty()).unwrap());
    }

    /// Lets every write go that waits; it is done when this returns, and whoever waits for it goes on some time later.
    pub fn let_go(&self) {
        let mut held = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.paths.clear();
        for Waiting { path, bytes, reply } in std::mem::take(&mut held.waiting) {
            answer(&mut self.kernel(), &path, &bytes, reply);
        }
    }

    /// The kernel, for looking and for changing it behind the engine's back.
    pub fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `/` of it is.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// An engine that has never been here: its state directory is `name`.
    pub fn engine(&self, name: &str) -> Engine {
        Engine::new(Arc::new(Root::live_at(&self.root())), &self.state(name))
    }

    /// The state directory `name`.
    pub fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn answer(kernel: &mut Kernel, path: &str, bytes: &[u8], reply: ReplyWrite) {
    match kernel.write(path, bytes) {
        Ok(taken) => reply.written(u32::try_from(taken).unwrap_or(0)),
        Err(errno) => reply.error(refused(errno)),
    }
}

impl Drop for Modelled {
    fn drop(&mut self) {
        self.let_go();
        drop(self.served.take()); // before its directory goes
    }
}

/// Inode numbers: a number is one path's until the path goes away; what comes back under the name is another thing.
struct Names {
    paths: Vec<String>,
    numbers: BTreeMap<String, u64>,
}

impl Names {
    fn new() -> Self {
        // Numbers begin at the root's, 1.
        Self { paths: vec![String::new(); 2], numbers: BTreeMap::new() }
    }

    fn number(&mut self, path: &str) -> INodeNo {
        if path.is_empty() {
            return INodeNo::ROOT;
        }
        if let Some(number) = self.numbers.get(path) {
            return INodeNo(*number);
        }
        let number = self.paths.len() as u64;
        self.paths.push(path.to_owned());
        self.numbers.insert(path.to_owned(), number);
        INodeNo(number)
    }

    /// A directory went, with what is in it. Who holds a file of it open holds nothing any more.
    fn retire(&mut self, dir: &str) {
        let below = format!("{dir}/");
        let is_of_it = |path: &str| path == dir || path.starts_with(&below);
        self.numbers.retain(|path, _| !is_of_it(path));
        self.paths.iter_mut().filter(|path| is_of_it(path)).for_each(|path| GONE.clone_into(path));
    }
}

/// The kernel's files as FUSE asks for them. Nothing is cached but directories that stay: files, and groups, appear, vanish
/// and change by themselves.
struct Files {
    kernel: Arc<Mutex<Kernel>>,
    names: Mutex<Names>,
    gate: Gate,
}

/// The path of what has none any more.
const GONE: &str = "/gone";

const UNCACHED: Duration = Duration::ZERO;
const FOR_EVER: Duration = Duration::from_secs(3600);

impl Files {
    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, inode: INodeNo) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(inode.0).ok().and_then(|at| names.paths.get(at).cloned()).unwrap_or_default()
    }

    fn attributes(&self, path: &str) -> Result<FileAttr, Errno> {
        let kernel = self.kernel();
        let is_dir = if path.is_empty() { true } else { kernel.is_dir(path).ok_or(Errno::ENOENT)? };
        let mode = kernel.files.get(path).map_or(0o755, |file| file.mode);
        let ino = self.names.lock().unwrap_or_else(PoisonError::into_inner).number(path);
        let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
        Ok(attributes(ino, kind, if is_dir { 0 } else { 4096 }, mode))
    }
}

/// What stat(2) tells of a file of root's.
pub fn attributes(ino: INodeNo, kind: FileType, size: u64, perm: u16) -> FileAttr {
    let nlink = if kind == FileType::Directory { 2 } else { 1 };
    FileAttr {
        ino,
        size,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn refused(errno: nix::errno::Errno) -> Errno {
    Errno::from_i32(errno as i32)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = format!("{}/{}", self.path(parent), name.to_string_lossy());
        match self.attributes(&path) {
            Ok(found) => {
                let stays = found.kind == FileType::Directory && !path.starts_with("/sys/fs/cgroup/");
                reply.entry(if stays { &FOR_EVER } else { &UNCACHED }, &found, Generation(0));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(&self.path(inode)) {
            Ok(found) => reply.attr(&UNCACHED, &found),
            Err(errno) => reply.error(errno),
        }
    }

    /// Truncation means nothing to a kernel file, as on the kernel's own.
    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attributes(&self.path(inode)) {
            Ok(found) => reply.attr(&UNCACHED, &found),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let path = format!("{}/{}", self.path(parent), name.to_string_lossy());
        let made = self.kernel().make_dir(&path);
        match made {
            Ok(()) => self.lookup(request, parent, name, reply),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = format!("{}/{}", self.path(parent), name.to_string_lossy());
        let removed = self.kernel().remove_dir(&path);
        match removed {
            Ok(()) => {
                self.names.lock().unwrap_or_else(PoisonError::into_inner).retire(&path);
                reply.ok();
            }
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if offset > 0 {
            return reply.data(&[]); // everything was given at once, as an attribute is
        }
        let path = self.path(inode);
        let answer = self.kernel().read(&path);
        match answer {
            Ok(text) => reply.data(&text.as_bytes()[..text.len().min(size as usize)]),
            Err(errno) => reply.error(refused(errno)),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let path = self.path(inode);
        let (held, come) = &*self.gate;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.paths.contains(&path) {
            held.waiting.push(Waiting { path, bytes: data.to_vec(), reply });
            come.notify_all();
            return;
        }
        drop(held);
        answer(&mut self.kernel(), &path, data, reply);
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let dir = self.path(inode);
        let listed = self.kernel().list(&dir);
        for (index, (name, is_dir)) in
            listed.into_iter().enumerate().skip(usize::try_from(offset).unwrap_or(0))
        {
            let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
            let number =
                self.names.lock().unwrap_or_else(PoisonError::into_inner).number(&format!("{dir}/{name}"));
            if reply.add(number, index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
