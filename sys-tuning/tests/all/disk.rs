//! A disk that remembers what was made durable, and what a cut of its power leaves of the rest.
//!
//! One directory of files, served by FUSE. What a file holds and which name leads to it are two things, each made durable
//! by its own call (fsync(2) of the file, of the directory), and nothing else makes anything durable: stricter than any
//! file system is. Before each operation the disk notes what it would keep if its power went now.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use crate::dice::Dice;
use crate::model::mount::attributes;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One change that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    Bytes {
        inode: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    Length {
        inode: u64,
        length: usize,
    },
    Name {
        name: String,
        inode: u64,
    },
    Forgotten {
        name: String,
    },
    /// One change: the old name goes with the coming of the new.
    Renamed {
        from: String,
        to: String,
        inode: u64,
    },
}

/// What is on a disk.
#[derive(Debug, Clone, Default)]
struct Image {
    names: BTreeMap<String, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    fn make(&mut self, change: &Change) {
        match change {
            Change::Bytes { inode, at, bytes } => {
                let content = self.contents.entry(*inode).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Length { inode, length } => self.contents.entry(*inode).or_default().resize(*length, 0),
            Change::Name { name, inode } => drop(self.names.insert(name.clone(), *inode)),
            Change::Forgotten { name } => drop(self.names.remove(name)),
            Change::Renamed { from, to, inode } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *inode);
            }
        }
    }
}

/// Which part of what was not durable survives a cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Nothing.
    Nothing,
    /// All of it: the process died and the power stayed.
    Everything,
    /// Each change or not, as the dice fall: a disk writes in an order of its own.
    Some(u64),
    /// The same, and of the last bytes that survive only some sectors.
    Torn(u64),
    /// The lengths of files and their names, and none of their bytes: zeroes stand there.
    Holes,
}

/// What would be kept if the power went at one moment, and what the rest of the machine was then.
#[derive(Debug, Clone)]
pub struct Moment<W> {
    durable: Image,
    pending: Vec<Change>,
    pub world: W,
}

impl<W> Moment<W> {
    /// How many changes are not durable.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The files after a cut, by name.
    pub fn files(&self, cut: Cut) -> BTreeMap<String, Vec<u8>> {
        let mut image = self.durable.clone();
        let kept = self.kept(cut);
        kept.iter().for_each(|change| image.make(change));
        let file = |(name, inode): (&String, &u64)| {
            (name.clone(), image.contents.get(inode).cloned().unwrap_or_default())
        };
        image.names.iter().map(file).collect()
    }

    fn kept(&self, cut: Cut) -> Vec<Change> {
        match cut {
            Cut::Nothing => Vec::new(),
            Cut::Everything => self.pending.clone(),
            Cut::Some(seed) => some(&self.pending, &mut Dice::new(seed)),
            Cut::Torn(seed) => {
                let mut dice = Dice::new(seed);
                let mut kept = some(&self.pending, &mut dice);
                if let Some(last) = kept.iter().rposition(|change| matches!(change, Change::Bytes { .. })) {
                    let torn = torn(&kept[last], &mut dice);
                    kept.splice(last..=last, torn);
                }
                kept
            }
            Cut::Holes => self.pending.iter().map(hole).collect(),
        }
    }
}

fn some(changes: &[Change], dice: &mut Dice) -> Vec<Change> {
    changes.iter().filter(|_| dice.once_in(2)).cloned().collect()
}

fn hole(change: &Change) -> Change {
    match change {
        Change::Bytes { inode, at, bytes } => {
            Change::Bytes { inode: *inode, at: *at, bytes: vec![0; bytes.len()] }
        }
        other => other.clone(),
    }
}

/// Some sectors of one write, each where it belongs.
fn torn(change: &Change, dice: &mut Dice) -> Vec<Change> {
    let Change::Bytes { inode, at, bytes } = change else { return vec![change.clone()] };
    let mut sectors = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = ((at + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
        let end = end.min(bytes.len());
        if dice.once_in(2) {
            sectors.push(Change::Bytes { inode: *inode, at: at + start, bytes: bytes[start..end].to_vec() });
        }
        start = end;
    }
    sectors
}

struct Inside<W> {
    now: Image,
    durable: Image,
    pending: Vec<Change>,
    moments: Vec<Moment<W>>,
    next: u64,
    forgets_to_sync: bool,
}

/// The disk; `look` tells what the rest of the machine is at a moment.
pub struct Disk<W> {
    inside: Arc<Mutex<Inside<W>>>,
    look: Arc<dyn Fn() -> W + Send + Sync>,
}

impl<W> Clone for Disk<W> {
    fn clone(&self) -> Self {
        Self { inside: self.inside.clone(), look: self.look.clone() }
    }
}

impl<W: Clone> Disk<W> {
    pub fn new(look: impl Fn() -> W + Send + Sync + 'static) -> Self {
        let inside = Inside {
            now: Image::default(),
            durable: Image::default(),
            pending: Vec::new(),
            moments: Vec::new(),
            next: 2,
            forgets_to_sync: false,
        };
        Self { inside: Arc::new(Mutex::new(inside)), look: Arc::new(look) }
    }

    /// The seeded bug: it says that it has made things durable, and has not.
    pub fn forget_to_sync(&self) {
        self.inside().forgets_to_sync = true;
    }

    /// Every moment since the last call; what was done until now counts as durable from here on.
    pub fn take_moments(&self) -> Vec<Moment<W>> {
        self.note(&mut self.inside());
        let mut inside = self.inside();
        inside.durable = inside.now.clone();
        inside.pending.clear();
        std::mem::take(&mut inside.moments)
    }

    fn inside(&self) -> MutexGuard<'_, Inside<W>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, inside: &mut Inside<W>) {
        let moment =
            Moment { durable: inside.durable.clone(), pending: inside.pending.clone(), world: (self.look)() };
        inside.moments.push(moment);
    }

    fn make(&self, inside: &mut Inside<W>, change: Change) {
        self.note(inside);
        inside.now.make(&change);
        inside.pending.push(change);
    }

    /// What `is_meant` of the changes is durable from now on.
    fn sync(&self, is_meant: impl Fn(&Change) -> bool) {
        let mut inside = self.inside();
        self.note(&mut inside);
        if inside.forgets_to_sync {
            return;
        }
        let (durable, pending): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut inside.pending).into_iter().partition(|change| is_meant(change));
        durable.iter().for_each(|change| inside.durable.make(change));
        inside.pending = pending;
    }
}

impl<W> Inside<W> {
    fn attributes(&self, inode: u64) -> Result<fuser::FileAttr, Errno> {
        if inode == 1 {
            return Ok(attributes(INodeNo(1), FileType::Directory, 0, 0o700));
        }
        let content = self.now.contents.get(&inode).ok_or(Errno::ENOENT)?;
        Ok(attributes(INodeNo(inode), FileType::RegularFile, content.len() as u64, 0o600))
    }

    fn named(&self, name: &OsStr) -> Result<u64, Errno> {
        self.now.names.get(&*name.to_string_lossy()).copied().ok_or(Errno::ENOENT)
    }
}

const UNCACHED: Duration = Duration::ZERO;
const DIRECT: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

impl<W: Clone + Send + 'static> Filesystem for Disk<W> {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inside = self.inside();
        match inside.named(name).and_then(|inode| inside.attributes(inode)) {
            Ok(found) => reply.entry(&UNCACHED, &found, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inside().attributes(inode.0) {
            Ok(found) => reply.attr(&UNCACHED, &found),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut inside = self.inside();
        if let Some(length) = size.and_then(|size| usize::try_from(size).ok()) {
            self.make(&mut inside, Change::Length { inode: inode.0, length });
        }
        match inside.attributes(inode.0) {
            Ok(found) => reply.attr(&UNCACHED, &found),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut inside = self.inside();
        let inode = inside.next;
        inside.next += 1;
        self.make(&mut inside, Change::Name { name: name.to_string_lossy().into_owned(), inode });
        inside.now.contents.insert(inode, Vec::new());
        match inside.attributes(inode) {
            Ok(made) => reply.created(&UNCACHED, &made, Generation(0), FileHandle(0), DIRECT),
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut inside = self.inside();
        match inside.named(name) {
            Ok(_) => {
                self.make(&mut inside, Change::Forgotten { name: name.to_string_lossy().into_owned() });
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut inside = self.inside();
        match inside.named(name) {
            Ok(inode) => {
                let (from, to) = (name.to_string_lossy().into_owned(), new.to_string_lossy().into_owned());
                self.make(&mut inside, Change::Renamed { from, to, inode });
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), DIRECT | FopenFlags::FOPEN_NOFLUSH);
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
        let inside = self.inside();
        let Some(content) = inside.now.contents.get(&inode.0) else { return reply.error(Errno::ENOENT) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = content.len().min(start + usize::try_from(size).unwrap_or(0));
        reply.data(&content[start..end]);
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let at = usize::try_from(offset).unwrap_or(0);
        let change = Change::Bytes { inode: inode.0, at, bytes: data.to_vec() };
        self.make(&mut self.inside(), change);
        reply.written(u32::try_from(data.len()).unwrap_or(0));
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        let length = usize::try_from(offset + length).unwrap_or(0);
        self.make(&mut self.inside(), Change::Length { inode: inode.0, length });
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(|change| match change {
            Change::Bytes { inode: of, .. } | Change::Length { inode: of, .. } => *of == inode.0,
            _ => false,
        });
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(|change| !matches!(change, Change::Bytes { .. } | Change::Length { .. }));
        reply.ok();
    }
}

/// Puts the files of a cut into a directory of a real disk, as the next process finds them.
pub fn lay_out(files: &BTreeMap<String, Vec<u8>>, dir: &Path) {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
    for (name, bytes) in files {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(dir.join(name)).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }
}
