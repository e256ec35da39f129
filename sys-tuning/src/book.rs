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
    /// The ledger tells of writes that were stuck what the machine shows of them; the journal does not yet.
    pub is_unsettled: bool,
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
        Ok(Self { identity, contents, ledger, is_unsettled: false })
    }
}

/// A book, with the stamp of the file that it was read from.
struct Kept {
    stamp: Stamp,
    book: Arc<Book>,
}

/// The book that was read last.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Option<Kept>>>);

impl Shelf {
    /// The book of the journal in `dir`, read anew unless it is the same file, with the same change as its last.
    pub fn book(&self, dir: Option<&StateDir>, identity: Identity) -> Result<Arc<Book>, Error> {
        let Some((dir, file)) = dir.zip(dir.map(journal::open).transpose()?.flatten()) else {
            return Ok(Arc::new(Book::of(None, identity)?));
        };
        let stamp = Stamp::of(&file); // before the reading: what comes between is read next time
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*shelf
            && Some(kept.stamp) == stamp
            && kept.book.identity == identity
        {
            return Ok(kept.book.clone());
        }
        *shelf = None;
        let book = Arc::new(Book::of(Some((dir, file)), identity)?);
        let is_kept = |stamp: &Stamp| stamp.bytes() <= KEPT_BYTES_MAX && stamp.is_older(SETTLED);
        *shelf = stamp.filter(is_kept).map(|stamp| Kept { stamp, book: book.clone() });
        Ok(book)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::record::{Confirm, Record};
    use std::time::SystemTime;

    fn identity(boot: &str) -> Identity {
        Identity { boot: boot.to_owned(), machine: None }
    }

    /// Appends one record, as of long ago unless it is to be `fresh`.
    fn append(dir: &StateDir, fresh: bool) {
        let book = Book::read(Some(dir), identity("boot")).unwrap();
        let mut journal = Journal::new(dir, &book.contents, None, u64::MAX).unwrap();
        journal.commit(&Record::Confirm(Confirm { id: 1, boot: "boot".into() })).unwrap();
        if !fresh {
            let file = dir.file(journal::NAME, nix::fcntl::OFlag::O_RDWR, "age it").unwrap().unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)).unwrap();
        }
    }

    /// Two looks at the journal, of one boot and then the other: whether the second one is the book of the first, and its
    /// records.
    #[track_caller]
    fn check(shelf: &Shelf, dir: &StateDir, boots: [&str; 2], is_same: bool, records: usize) {
        let [first, second] = boots.map(|boot| shelf.book(Some(dir), identity(boot)).unwrap());
        assert_eq!(Arc::ptr_eq(&first, &second), is_same, "{boots:?}");
        assert_eq!(second.contents.records.len(), records, "{boots:?}");
        assert_eq!(second.identity, identity(boots[1]));
    }

    #[test]
    fn a_journal_that_is_the_same_is_not_read_again() {
        let place = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&place.path().join("state")).unwrap();
        let shelf = Shelf::default();
        check(&shelf, &dir, ["boot", "boot"], false, 0); // there is none: nothing to keep
        append(&dir, false);
        check(&shelf, &dir, ["boot", "boot"], true, 2);
        check(&shelf, &dir, ["boot", "next"], false, 2); // the same file says something else in another boot
        append(&dir, false);
        check(&shelf, &dir, ["boot", "boot"], true, 3);
        append(&dir, true);
        check(&shelf, &dir, ["boot", "boot"], false, 4); // a change in the same tick would not show
        dir.remove(journal::NAME).unwrap();
        check(&shelf, &dir, ["boot", "boot"], false, 0);
    }
}
