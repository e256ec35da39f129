//! The desk of one component: the request that came, the one being carried out, the answer.
//!
//! A request is claimed by renaming it, so that a newer one, renamed into place meanwhile, is never taken for the old one
//! and never lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use units::Name;

use crate::component::Component;
use crate::request::{Answer, REQUEST_BYTES_MAX, Request};
use crate::switch::Refusal;

/// Where a component's files are.
pub struct Desk {
    /// Whom it is about.
    pub name: Name,
    /// Its generations.
    pub component: Component,
    folder: PathBuf,
    owner: u32,
}

impl Desk {
    /// On this host.
    pub fn system(name: Name) -> Self {
        const ROOT: u32 = 0;
        Self::new(name, Path::new("/var/lib/quell/switch"), Path::new("/opt/quell"), ROOT)
    }

    /// With requests in `folder` and components below `base`, believing files of `owner`.
    pub fn new(name: Name, folder: &Path, base: &Path, owner: u32) -> Self {
        let component = Component::new(base, &name, owner);
        Self { name, component, folder: folder.to_owned(), owner }
    }

    /// `NAME.SUFFIX`.
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}.{suffix}", self.name))
    }

    /// Claims the request, unless one is claimed already: that of a run which was killed comes first.
    ///
    /// # Errors
    /// There is none, or the system does not let us.
    pub fn claim(&self) -> Result<(), Refusal> {
        let (request, taken) = (self.file("request"), self.file("taken"));
        if taken.symlink_metadata().is_ok() {
            return Ok(());
        }
        match fs::rename(&request, &taken) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Refusal::request(&request, "is not there: nobody asked for a switch"))
            }
            Err(error) => Err(Refusal::system("claim", &request, error)),
        }
    }

    /// The claimed request.
    ///
    /// # Errors
    /// It is not root's, or does not say what it should.
    pub fn request(&self) -> Result<Request, Refusal> {
        let path = self.file("taken");
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
            .open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
                return Err(Refusal::request(&path, "is a symbolic link; write a file"));
            }
            Err(error) => return Err(Refusal::system("open", &path, error)),
        };
        let found = file.metadata().map_err(|error| Refusal::system("look at", &path, error))?;
        if !found.is_file()
            || found.uid() != self.owner
            || found.mode() & 0o022 != 0
            || found.len() > REQUEST_BYTES_MAX
        {
            let (uid, mode, length) = (found.uid(), found.mode() & 0o7777, found.len());
            let fault = format!(
                "uid {uid}, mode {mode:04o}, {length} bytes; it must be a file of root's, writable by root alone, \
                 {REQUEST_BYTES_MAX} bytes at most"
            );
            return Err(Refusal::request(&path, fault));
        }
        let mut text = String::new();
        let read = Read::by_ref(&mut file).take(REQUEST_BYTES_MAX).read_to_string(&mut text);
        match read {
            Ok(_) => Request::parse(&text, &self.name).map_err(|problem| Refusal::request(&path, problem)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Refusal::request(&path, "is not UTF-8"))
            }
            Err(error) => Err(Refusal::system("read", &path, error)),
        }
    }

    /// `(old, new)` of a switch that was begun and not ended.
    pub fn interrupted(&self) -> Option<(Option<Name>, Name)> {
        Answer::interrupted(&fs::read_to_string(self.file("result")).ok()?)
    }

    /// Puts `answer` in place, durable before it returns.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn answer(&self, answer: &Answer) -> Result<(), Refusal> {
        let (result, beside) = (self.file("result"), self.file("result.new"));
        let text = answer.text(report::wall_time_now());
        let written = write_durably(&beside, text.as_bytes()).and_then(|()| fs::rename(&beside, &result));
        written.and_then(|()| self.sync()).map_err(|error| Refusal::system("write", &result, error))
    }

    /// Lets go of the claimed request: it has its answer.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn close(&self) -> Result<(), Refusal> {
        let taken = self.file("taken");
        let removed = match fs::remove_file(&taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        removed.and_then(|()| self.sync()).map_err(|error| Refusal::system("remove", &taken, error))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let no_follow = OFlag::O_NOFOLLOW.bits();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(no_follow)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
