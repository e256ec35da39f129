//! What the kernel tells of writes to files: that there was one (inotify), and by which process (fanotify).
//!
//! Both work on /proc/sys, /proc/irq and /sys for writes from user space (Linux 6.12 and 6.18, tried); what the kernel
//! changes by itself they do not see, and neither what is written through another mount of procfs, as a container has one:
//! its files are other inodes, and the sweep finds their changes. Fanotify needs CAP_SYS_ADMIN; without it writers stay
//! unknown. Each file is held open by its path alone: procfs makes a new inode for a file whose old one it forgot, and the
//! watch would be on the old.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use host::Root;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags as FanInit, MarkFlags, MaskFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::stat::{Mode, fstat};
use units::Nanos;
use units::limits::{
    COMMAND_BYTES_MAX, NOTICE_READS_MAX, WATCHED_FILES_MAX, WRITER_PATIENCE, WRITER_READS_MAX,
};

/// The process that wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrote {
    /// Its number.
    pub pid: u32,
    /// Its name; empty when it was gone before it could be asked.
    pub comm: String,
    /// Its command line, with blanks between the words; empty likewise.
    pub command: String,
}

/// What was told since the last time.
#[derive(Debug, Default)]
pub struct Told {
    /// Lines of which a file was written.
    pub lines: BTreeSet<usize>,
    /// Who wrote, by line, the last one.
    pub writers: BTreeMap<usize, Wrote>,
    /// More was told than the kernel could keep: anything may have changed.
    pub overflowed: bool,
}

/// Writers that were told before the writes themselves, which the two kinds of notices make possible: they are for the
/// drifts that the next pass sees.
#[derive(Debug, Default)]
pub struct Unclaimed(BTreeMap<usize, (Wrote, Nanos)>);

impl Unclaimed {
    /// Adds those that are kept to what was `told` by `now`.
    pub fn give(&mut self, told: &mut Told, now: Nanos) {
        self.0.retain(|_, (_, until)| now < *until);
        for (line, (wrote, _)) in &self.0 {
            told.writers.entry(*line).or_insert_with(|| wrote.clone());
        }
    }

    /// Keeps, for a while from `now` on, those that no drift was found for.
    pub fn keep(&mut self, told: Told, now: Nanos) {
        let before = std::mem::take(&mut self.0);
        for (line, wrote) in told.writers {
            let known = before.get(&line).filter(|(known, _)| *known == wrote);
            let until = known.map_or(now + WRITER_PATIENCE, |(_, until)| *until);
            self.0.insert(line, (wrote, until));
        }
    }
}

/// The watched files.
#[derive(Debug)]
pub struct Notices {
    inotify: Inotify,
    /// Why there is none is told once.
    fanotify: Result<Fanotify, Errno>,
    /// Each file's watch, and the lines it belongs to.
    watches: BTreeMap<WatchDescriptor, Vec<usize>>,
    /// The lines by device and inode, which is how fanotify's descriptors are told apart.
    inodes: BTreeMap<(u64, u64), Vec<usize>>,
    held: Vec<OwnedFd>,
    /// Files that could not be watched: their lines are looked at by the sweep alone.
    pub unwatched: usize,
    proc: Root,
}

impl Notices {
    fn new() -> Result<Self, Errno> {
        let flags = FanInit::FAN_CLASS_NOTIF | FanInit::FAN_NONBLOCK | FanInit::FAN_CLOEXEC;
        Ok(Self {
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            fanotify: Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC),
            watches: BTreeMap::new(),
            inodes: BTreeMap::new(),
            held: Vec::new(),
            unwatched: 0,
            proc: Root::system(),
        })
    }

    /// Why writers stay unknown; `None` when they can be named.
    #[must_use]
    pub fn anonymous(&self) -> Option<Errno> {
        self.fanotify.as_ref().err().copied()
    }

    /// Watches these files, each for the lines it belongs to.
    ///
    /// # Errors
    /// The system has no inotify left.
    pub fn watching(files: BTreeMap<String, Vec<usize>>) -> Result<Self, Errno> {
        let mut notices = Self::new()?;
        for (path, lines) in files {
            if notices.held.len() == WATCHED_FILES_MAX || notices.add(&path, lines).is_err() {
                notices.unwatched += 1;
            }
        }
        Ok(notices)
    }

    fn add(&mut self, path: &str, lines: Vec<usize>) -> Result<(), Errno> {
        let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        let held = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = self.inotify.add_watch(held.as_str(), AddWatchFlags::IN_MODIFY)?;
        if let Ok(fanotify) = &self.fanotify {
            let (add, modify) = (MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_MODIFY);
            let marked = fanotify.mark(add, modify, AT_FDCWD, Some(held.as_str()));
            // A file system that has no such marks leaves its writers unknown.
            let _ = marked;
        }
        let stat = fstat(&file)?;
        self.inodes.insert((stat.st_dev, stat.st_ino), lines.clone());
        self.watches.insert(watch, lines);
        self.held.push(file);
        Ok(())
    }

    /// Adds what becomes readable when something was written.
    pub fn descriptors<'s>(&'s self, into: &mut Vec<BorrowedFd<'s>>) {
        into.push(self.inotify.as_fd());
        into.extend(self.fanotify.as_ref().ok().map(AsFd::as_fd));
    }

    /// Takes what was told. The writers first: they are short-lived, and their names go with them.
    ///
    /// No more than so many reads: who writes faster than we read must not keep us here for good.
    pub fn take(&mut self) -> Told {
        let mut told = Told::default();
        self.take_writers(&mut told);
        let reads = (0..NOTICE_READS_MAX).map_while(|_| self.inotify.read_events().ok());
        for event in reads.flatten() {
            told.overflowed |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            told.lines.extend(self.watches.get(&event.wd).into_iter().flatten());
        }
        told
    }

    /// Who wrote, as far as that was told by now: the two kinds of notices come one after the other.
    pub fn take_writers(&mut self, told: &mut Told) {
        let Ok(fanotify) = &self.fanotify else { return };
        let own = host::own::pid();
        let mut known: BTreeMap<u32, Wrote> = BTreeMap::new();
        let reads = (0..WRITER_READS_MAX).map_while(|_| fanotify.read_events().ok());
        for event in reads.flatten() {
            let Ok(pid) = u32::try_from(event.pid()) else { continue };
            let Some(stat) = event.fd().and_then(|fd| fstat(fd).ok()) else { continue };
            let lines = self.inodes.get(&(stat.st_dev, stat.st_ino)).into_iter().flatten();
            if pid != own {
                let wrote = known.entry(pid).or_insert_with(|| self.wrote(pid));
                told.writers.extend(lines.map(|line| (*line, wrote.clone())));
            }
        }
    }

    fn wrote(&self, pid: u32) -> Wrote {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            self.proc.read_beginning(&path, COMMAND_BYTES_MAX).unwrap_or_default()
        };
        let (comm, command) = (read("comm"), read("cmdline"));
        Wrote {
            pid,
            comm: comm.trim_end().to_owned(),
            command: command.trim_end_matches('\0').replace('\0', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(writers: &[(usize, u32)]) -> Told {
        let wrote = |pid| Wrote { pid, comm: "tuned".to_owned(), command: String::new() };
        Told { writers: writers.iter().map(|(line, pid)| (*line, wrote(*pid))).collect(), ..Told::default() }
    }

    fn pids(told: &Told) -> Vec<(usize, u32)> {
        told.writers.iter().map(|(line, wrote)| (*line, wrote.pid)).collect()
    }

    #[test]
    fn a_writer_is_kept_for_the_drift_that_is_seen_next() {
        let (mut unclaimed, begin) = (Unclaimed::default(), Nanos::from_secs(10));
        unclaimed.keep(told(&[(1, 100), (2, 200)]), begin);
        let soon = begin + Nanos(WRITER_PATIENCE.0 / 2);
        let mut next = told(&[(2, 201)]); // wrote since
        unclaimed.give(&mut next, soon);
        assert_eq!(pids(&next), [(1, 100), (2, 201)]);
        next.writers.remove(&2); // its drift was found
        unclaimed.keep(next, soon);
        let mut last = told(&[]);
        unclaimed.give(&mut last, begin + WRITER_PATIENCE - Nanos(1));
        assert_eq!(pids(&last), [(1, 100)]);
        unclaimed.keep(last, begin + WRITER_PATIENCE - Nanos(1));
        let mut late = told(&[]);
        unclaimed.give(&mut late, begin + WRITER_PATIENCE);
        assert_eq!(pids(&late), [], "asked for again and again, it is kept no longer");
    }
}
