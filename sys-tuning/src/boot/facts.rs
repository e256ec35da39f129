//! What is known about this machine's boot line before anything is planned.

use host::{Error, Root, if_present};

use super::environment::{self, State};
use super::loader::{self, Loader};

/// What was read.
#[derive(Debug, Clone)]
pub(crate) struct BootFacts {
    pub loader: Loader,
    pub state: Option<State>,
    /// Characters of this boot's command line; `None` where the kernel does not show it.
    pub cmdline_len: Option<usize>,
}

impl BootFacts {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Format`] of what decides; a block that is missing is a matter of the loader.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let state = if_present(environment::state(root))?.flatten();
        let cmdline_len = if_present(root.read_lossy("/proc/cmdline"))?.map(|text| text.trim().len());
        Ok(Self { loader: loader::find(root, state.as_ref())?, state, cmdline_len })
    }

    /// Why the loader takes no arguments of ours; `None` where it does.
    pub fn unfit(&self) -> Option<&str> {
        match &self.loader {
            Loader::Ready => None,
            Loader::Absent(reason) | Loader::Unfit(reason) => Some(reason),
        }
    }

    /// Whether a line stands there that this boot was not made with.
    pub fn waits(&self) -> bool {
        self.state.as_ref().is_some_and(|state| !state.is_running())
    }

    /// Where the blocks stand.
    pub fn dir(&self) -> Option<&str> {
        self.state.as_ref().map(|state| state.dir.as_str())
    }
}

#[cfg(test)]
impl BootFacts {
    /// Of a machine whose loader takes arguments, none of which stands yet.
    pub fn ready() -> Self {
        Self { loader: Loader::Ready, state: None, cmdline_len: None }
    }
}
