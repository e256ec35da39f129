//! The journal as it was read, and the one that was read last.
//!
//! Whoever looks without changing anything looks often: a keeper that sweeps, a verify after a plan. Reading four hundred
//! changes and their ends as JSON costs 0.5 ms, seeing that the file is still the same costs 5 us. Whoever changes something
//! reads the file itself, under the lock.

use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::journal::{self, Contents};
use crate::ledger::Ledger;
use crate::state::{Stamp, StateDir};

/// A file that changed less than this ago may change again within one tick of the clock that stamps it (10 ms at most), at
/// the same length: it is not kept yet.
const SETTLED: Duration = Duration::from_millis(20);

/// A longer journal is not kept: in memory it takes several times its length, and the keeper has little.
const KEPT_BYTES_MAX: u64 = 256 << 10;

/// Which boot of which machine; a captured tree may tell neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub boot: String,
    pub machine: Option<String>,
}

/// The journal as it was read.
pub(crate) struct Book {
    pub identity: Identity,
    pub contents: Contents,
    pub ledger: Ledger,
}

impl Book {
    /// Reads it, in the directory if there is one.
    pub fn read(dir: Option<&StateDir>, identity: Identity) -> Result<Self, Error> {
        let file = dir.map(journal::open).transpose()?.flatten();
        Self::of(dir.zip(file), identity)
    }

    fn of(file: Option<(&StateDir, File)>, identity: Identity) -> Result<Self, Error> {
        let contents = match file {
            Some((dir, file)) => journal::load(dir, file, identity.machine.as_deref())?,
            None => journal::decode(&[]),
        };
        let ledger = Ledger::of(&contents.records, &identity.boot);
        Ok(Self { identity, contents, ledger })
    }
}

/// The book that was read last, with the file's stamp.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Option<(Stamp, Arc<Book>)>>>);

impl Shelf {
    /// The book of the journal in `dir`, read anew unless it is the same file, with the same change as its last.
    pub fn book(&self, dir: Option<&StateDir>, identity: Identity) -> Result<Arc<Book>, Error> {
        let Some((dir, file)) = dir.zip(dir.map(journal::open).transpose()?.flatten()) else {
            return Ok(Arc::new(Book::of(None, identity)?));
        };
        let stamp = Stamp::of(&file); // before the reading: what comes between is read next time
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, book)) = &*shelf
            && Some(of) == stamp.as_ref()
            && book.identity == identity
        {
            return Ok(book.clone());
        }
        *shelf = None;
        let book = Arc::new(Book::of(Some((dir, file)), identity)?);
        let is_kept = |stamp: &Stamp| stamp.bytes() <= KEPT_BYTES_MAX && stamp.is_older(SETTLED);
        *shelf = stamp.filter(is_kept).map(|stamp| (stamp, book.clone()));
        Ok(book)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}
