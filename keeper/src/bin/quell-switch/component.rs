//! A component's folder: staged generations and the link that says which one runs.
//!
//! ```text
//! /opt/quell/engine/generations/7.0/…
//! /opt/quell/engine/generations/7.1/…
//! /opt/quell/engine/current -> generations/7.0
//! ```
//!
//! Every folder on the way must be root's and closed to other writers; so nobody can change what was looked at between
//! the look and the switch, and plain paths are enough.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use units::Name;

use crate::switch::Refusal;

/// Write permission of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folder of one component.
pub struct Component {
    folder: PathBuf,
    /// Whose files are believed: root; in tests whoever runs them.
    owner: u32,
}

impl Component {
    /// The component below `base` (/opt/quell).
    pub fn new(base: &Path, name: &Name, owner: u32) -> Self {
        Self { folder: base.join(name.as_str()), owner }
    }

    /// The generation that `current` leads to; `None` before the first switch.
    ///
    /// # Errors
    /// `current` is something else than our link.
    pub fn current(&self) -> Result<Option<Name>, Refusal> {
        let link = self.folder.join("current");
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Refusal::request(&link, "is no symbolic link; move it away"));
            }
            Err(error) => return Err(Refusal::system("read", &link, error)),
        };
        let generation = target.to_str().and_then(|target| target.strip_prefix("generations/")?.parse().ok());
        let foreign =
            || format!("leads to {:?} and not to generations/ID; point it there or remove it", target);
        generation.map(Some).ok_or_else(|| Refusal::request(&link, foreign()))
    }

    /// Whether `generation` is staged and nobody but root can change it.
    ///
    /// # Errors
    /// It is not there, or open to others.
    pub fn check_staged(&self, generation: &Name) -> Result<(), Refusal> {
        let generations = self.folder.join("generations");
        let staged = generations.join(generation.as_str());
        let base = self.folder.parent().unwrap_or(Path::new("/"));
        [base, &self.folder, &generations, &staged]
            .into_iter()
            .try_for_each(|folder| self.check_closed(folder))
    }

    fn check_closed(&self, folder: &Path) -> Result<(), Refusal> {
        let found = match fs::symlink_metadata(folder) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Refusal::request(folder, "is not there; stage the generation first"));
            }
            Err(error) => return Err(Refusal::system("look at", folder, error)),
        };
        if !found.is_dir() {
            return Err(Refusal::request(folder, "is no folder (links are not followed)"));
        }
        if found.uid() != self.owner || found.mode() & WRITABLE_BY_OTHERS != 0 {
            let (uid, mode) = (found.uid(), found.mode() & 0o7777);
            let fault = format!(
                "belongs to uid {uid} with mode {mode:04o}; it must be root's and writable by root alone"
            );
            return Err(Refusal::request(folder, fault));
        }
        Ok(())
    }

    /// Makes `current` lead to `generation`: a link beside it, renamed over it. A crash leaves the old one or the new one.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn point_to(&self, generation: &Name) -> Result<(), Refusal> {
        let (current, beside) = (self.folder.join("current"), self.folder.join(".current.new"));
        match fs::remove_file(&beside) {
            Ok(()) => {} // of a run that was killed
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Refusal::system("remove", &beside, error)),
        }
        symlink(Path::new("generations").join(generation.as_str()), &beside)
            .map_err(|error| Refusal::system("create", &beside, error))?;
        fs::rename(&beside, &current).map_err(|error| Refusal::system("replace", &current, error))?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Refusal::system("sync", &self.folder, error))
    }
}
