//! Files on a disk that must be whole after a power cut: the boot loader's.
//!
//! Two ways, because two readers differ. [`Root::replace`] puts a new file in the place of the old one: whoever reads the
//! directory later sees one of the two, whole. [`Root::overwrite`] keeps the file where it is on the disk: for a file that
//! the boot loader writes to as well, by block number, and which must therefore never move. Kernel attributes are neither;
//! they are [`Root::write`]'s. Source: open(2), rename(2), fsync(2).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::{Error, Root};

/// Readable by all: no secret stands on a kernel's command line, which every process may read.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o644);

/// Bytes that a disk writes whole or not at all, on every disk there is.
pub const SECTOR_BYTES: usize = 512;

impl Root {
    /// Puts `bytes` in the place of the file `path`, whole or not at all, and returns when that is on the disk.
    ///
    /// # Errors
    /// [`Error::Absent`] when the directory does not exist, [`Error::Write`], [`Error::Path`].
    pub fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.count_write();
        let outside = Error::Path { path: path.to_owned(), problem: "names no entry of a directory" };
        let (parent, name) = path.rsplit_once('/').ok_or(outside)?;
        let dir = self.open(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        self.replace_in(&dir, name, bytes).map_err(|cause| self.not_written(path, bytes, cause))
    }

    fn replace_in(&self, dir: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.new");
        match unlinkat(dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {} // left by a process that was killed here
            Err(errno) => return Err(errno.into()),
        }
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC)
            .mode(FILE_MODE)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let mut file = File::from(openat2(dir, temporary.as_str(), how)?);
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat(dir, temporary.as_str(), dir, name)?;
        Ok(fsync(dir)?)
    }

    /// Overwrites the first sector of `path` where it stands, with one write, and returns when that is on the disk.
    ///
    /// The file keeps its length and its blocks; what is behind `text` in it stays.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Write`] (also when the file is shorter than `text`, or `text` longer than a sector),
    /// [`Error::Path`].
    pub fn overwrite(&self, path: &str, text: &[u8]) -> Result<(), Error> {
        self.count_write();
        let file = File::from(self.open(path, OFlag::O_WRONLY)?);
        self.overwrite_file(&file, text).map_err(|cause| self.not_written(path, text, cause))
    }

    fn overwrite_file(&self, file: &File, text: &[u8]) -> io::Result<()> {
        if text.len() > SECTOR_BYTES || file.metadata()?.len() < text.len() as u64 {
            let problem = "does not fit into the first sector of the file as it is";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        match file.write_at(text, 0)? {
            written if written == text.len() => file.sync_data(),
            written => Err(io::Error::other(format!("{written} of {} bytes were taken", text.len()))),
        }
    }

    fn not_written(&self, path: &str, bytes: &[u8], cause: io::Error) -> Error {
        let value = String::from_utf8_lossy(bytes).trim_end_matches('#').to_owned();
        Error::Write { path: self.display(path), value, cause }
    }

    /// What can be read of `path` now without waiting: for streams of records that end only with the machine.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Path`].
    pub(crate) fn read_stream(&self, path: &str, bytes_max: usize) -> Result<String, Error> {
        let mut file = File::from(self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        let (mut bytes, mut record) = (Vec::new(), vec![0; RECORD_BYTES_MAX]);
        while bytes.len() < bytes_max {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => bytes.extend_from_slice(&record[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The oldest records went while we read: the next read goes on behind them.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Error::Read { path: self.display(path), cause }),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A read of fewer bytes than a record has is refused; the kernel's own buffer has this size (kernel/printk/printk.c,
/// CONSOLE_EXT_LOG_MAX).
const RECORD_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot/grub/quell")).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    const PATH: &str = "/boot/grub/quell/armed.env";

    #[test]
    fn a_file_is_replaced_whole_and_what_a_kill_left_is_cleared() {
        let (dir, root) = tree();
        root.replace(PATH, b"one").unwrap();
        let leftover = dir.path().join("boot/grub/quell/armed.env.new");
        File::create(&leftover).unwrap().write_all(b"half").unwrap();
        root.replace(PATH, b"two").unwrap();
        assert_eq!(root.read(PATH).unwrap(), "two");
        assert!(!leftover.exists());
        assert_eq!(root.write_count(), 2);
        assert!(root.replace("/boot/grub/other/armed.env", b"x").unwrap_err().is_absent());
    }

    #[test]
    fn a_file_is_overwritten_where_it_stands() {
        let (dir, root) = tree();
        root.replace(PATH, &[b'#'; 1024]).unwrap();
        let number = || std::fs::metadata(dir.path().join(&PATH[1..])).unwrap().ino();
        let before = number();
        root.overwrite(PATH, b"armed").unwrap();
        assert_eq!(root.read(PATH).unwrap(), format!("armed{}", "#".repeat(1019)));
        assert_eq!(number(), before, "the boot loader writes to its blocks");
        assert!(root.overwrite(PATH, &[b'x'; 513]).unwrap_err().to_string().contains("first sector"));
        assert!(root.overwrite("/boot/grub/quell/none.env", b"x").unwrap_err().is_absent(), "never made");
    }
}
