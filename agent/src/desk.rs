//! Where reports are written: between the collector that has the figures and whoever asks.
//!
//! One snapshot is under way at a time, and a report younger than [`FRESH`] is handed out again to whoever asks for the
//! same. So the collector fills one snapshot a pass at most, however many readers there are and whatever they ask for.

use std::sync::{Arc, RwLock};

use host::Root;
use host::threads::monotonic_now;
use report::{Report, wall_time_now};
use tokio::sync::Mutex;
use tokio::time::timeout;
use units::Nanos;

use crate::keeper::Keeper;
use crate::measuring::Measuring;
use crate::reporter::{self, Own, Wanted};
use crate::snapshot::Snapshot;
use crate::socket::Answers;

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
    #[error("the collector did not answer within {COLLECTOR_DEADLINE}; does something keep its CPU?")]
    Late,
}

/// What `measuring` has counted as of now, with the figures of the last `span`.
///
/// # Errors
/// [`DeskError`].
pub async fn snapshot(measuring: &Measuring, span: Option<Nanos>) -> Result<Box<Snapshot>, DeskError> {
    let answer = measuring.ask(span).ok_or(DeskError::Ended)?;
    let snapshot = timeout(COLLECTOR_DEADLINE.into(), answer).await.map_err(|_| DeskError::Late)?;
    snapshot.map_err(|_| DeskError::Ended)
}

/// A report about `measuring` as it is now.
///
/// # Errors
/// [`DeskError`].
pub async fn write(measuring: &Measuring, root: &Root, wanted: Wanted) -> Result<Report, DeskError> {
    let snapshot = snapshot(measuring, wanted.span).await?;
    let own = Own::read(root);
    // Both clocks are read together, and the snapshot is older than they are.
    let (wall, now) = (wall_time_now(), monotonic_now());
    Ok(reporter::report(&measuring.ground(), &snapshot, &own, wanted, wall.before(now - snapshot.at)))
}

/// The last report, what it was asked with, and when.
type Last = Option<(Wanted, Nanos, Arc<Report>)>;

/// Writes reports about what is measured at the moment.
#[derive(Debug)]
pub struct Desk {
    measuring: RwLock<Arc<Measuring>>,
    answers: Arc<Answers>,
    keeper: Arc<Keeper>,
    last: Mutex<Last>,
}

impl Desk {
    /// A desk that reports about `measuring`, about what the `keeper` says, and about the `answers` its own clients got.
    #[must_use]
    pub fn new(measuring: Arc<Measuring>, keeper: Arc<Keeper>, answers: Arc<Answers>) -> Self {
        Self { measuring: RwLock::new(measuring), answers, keeper, last: Mutex::new(None) }
    }

    /// What is measured now.
    ///
    /// # Panics
    /// When a thread panicked while it held the lock; the process is on its way down then.
    #[must_use]
    pub fn measuring(&self) -> Arc<Measuring> {
        self.measuring.read().expect("nobody panics while holding it").clone()
    }

    /// Reports about `measuring` from now on, in place of one that was stopped.
    ///
    /// # Panics
    /// As [`Desk::measuring`].
    pub fn switch(&self, measuring: Arc<Measuring>) {
        *self.measuring.write().expect("nobody panics while holding it") = measuring;
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
        let mut report = write(&self.measuring(), &Root::system(), wanted).await?;
        self.keeper.tell(&mut report);
        report.notes.extend(self.answers.told());
        let report = Arc::new(report);
        *last = Some((wanted, monotonic_now(), report.clone()));
        Ok(report)
    }
}
