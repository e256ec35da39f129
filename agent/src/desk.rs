//! Where reports are written: between the collector that has the figures and whoever asks.
//!
//! One snapshot is under way at a time, and a report younger than [`FRESH`] is handed out again, so the collector's work
//! does not grow with the number of readers.

use std::sync::{Arc, RwLock};

use host::Root;
use host::threads::monotonic_now;
use report::{Report, wall_time_now};
use tokio::sync::Mutex;
use tokio::time::timeout;
use units::Nanos;

use crate::measuring::Measuring;
use crate::reporter::{self, Own, Wanted};

/// A report is handed out again for this long.
pub const FRESH: Nanos = Nanos::from_millis(100);

/// The collector answers within one of its periods; a hundred of them is a hang.
const COLLECTOR_DEADLINE: Nanos = Nanos::from_secs(1);

/// Why there is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// The collector does not take requests.
    #[error("the collector has ended")]
    Ended,
    /// The collector did not answer.
    #[error("the collector did not answer within {COLLECTOR_DEADLINE}")]
    Late,
}

/// The last report, what it was asked with, and when.
type Last = Option<(Wanted, Nanos, Arc<Report>)>;

/// Writes reports about what is measured at the moment.
#[derive(Debug)]
pub struct Desk {
    measuring: RwLock<Arc<Measuring>>,
    last: Mutex<Last>,
}

impl Desk {
    /// A desk that reports about `measuring`.
    #[must_use]
    pub fn new(measuring: Arc<Measuring>) -> Self {
        Self { measuring: RwLock::new(measuring), last: Mutex::new(None) }
    }

    /// What is measured now.
    ///
    /// # Panics
    /// When a thread panicked while it held the lock; the process is on its way down then.
    #[must_use]
    pub fn measuring(&self) -> Arc<Measuring> {
        self.measuring.read().expect("nobody panics while holding it").clone()
    }

    /// Reports about `measuring` from now on; the former is handed back to be stopped.
    ///
    /// # Panics
    /// As [`Desk::measuring`].
    pub fn switch(&self, measuring: Arc<Measuring>) -> Arc<Measuring> {
        std::mem::replace(&mut *self.measuring.write().expect("nobody panics while holding it"), measuring)
    }

    /// The report that is wanted, at most [`FRESH`] old.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn report(&self, wanted: Wanted) -> Result<Arc<Report>, DeskError> {
        let mut last = self.last.lock().await;
        if let Some((asked, at, report)) = &*last
            && *asked == wanted
            && monotonic_now() - *at < FRESH
        {
            return Ok(report.clone());
        }
        let measuring = self.measuring();
        let answer = measuring.ask(wanted.span).ok_or(DeskError::Ended)?;
        let snapshot = timeout(COLLECTOR_DEADLINE.into(), answer).await.map_err(|_| DeskError::Late)?;
        let snapshot = snapshot.map_err(|_| DeskError::Ended)?;
        let own = Own::read(&Root::system());
        let report =
            Arc::new(reporter::report(&measuring.ground(), &snapshot, &own, wanted, wall_time_now()));
        *last = Some((wanted, monotonic_now(), report.clone()));
        Ok(report)
    }
}
