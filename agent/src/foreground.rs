//! Measuring in the foreground, as `quell up` does: the daemon's threads without its sockets.

use std::time::Duration;

use host::Root;
use report::Report;
use tokio::signal::unix::{Signal, SignalKind, signal};
use units::Nanos;

use crate::desk::{self, DeskError};
use crate::measuring::{Measuring, StartError};
use crate::reporter::Wanted;
use crate::settings::Settings;

/// How long, and what is shown meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Measure for this long; `None` is until SIGINT or SIGTERM.
    pub for_: Option<Nanos>,
    /// Show a report about the last seconds this often; `None` shows nothing until the end.
    pub live_every: Option<Nanos>,
    /// Whether the last report holds histograms.
    pub hist: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Measuring could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refused something the loop is made of.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was asked.
        what: &'static str,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The collector gives no figures.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// A live report is about this much of the past.
const LIVE_SPAN: Nanos = Nanos::from_secs(2);

/// Measures with `settings`, calling `show` now and then, and returns the report about all of it.
///
/// # Errors
/// [`Error`]; nothing runs then.
pub fn run(settings: &Settings, options: &Options, show: impl FnMut(&Report)) -> Result<Report, Error> {
    let system = |what| move |cause| Error::System { what, cause };
    let root = Root::system();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system("create the event loop"))?;
    // Before the first thread: whoever stops us while we start gets a report, too.
    let stops = runtime.block_on(async { Stops::listen() })?;
    let measuring = Measuring::start(settings, &root, None)?;
    let ended = runtime.block_on(until_ended(&measuring, options, stops, &root, show));
    let wanted = Wanted { span: None, hist: options.hist };
    let last = ended.and_then(|()| Ok(runtime.block_on(desk::write(&measuring, &root, wanted))?));
    measuring.stop();
    last
}

/// The signals that ask for the end.
#[derive(Debug)]
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    pub(crate) fn listen() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(|cause| Error::System { what: "listen for signals", cause });
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Returns when one has come, at once when it came before.
    pub(crate) async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn until_ended(
    measuring: &Measuring,
    options: &Options,
    mut stops: Stops,
    root: &Root,
    mut show: impl FnMut(&Report),
) -> Result<(), Error> {
    // A hundred years stand for no end: the timer wheel holds no more.
    let for_ = options.for_.map_or(Duration::from_secs(3_155_760_000), Duration::from);
    let end = tokio::time::sleep(for_);
    tokio::pin!(end);
    loop {
        let next = options.live_every.map_or(for_, Duration::from);
        tokio::select! {
            () = &mut end => return Ok(()),
            () = stops.come() => return Ok(()),
            () = tokio::time::sleep(next), if options.live_every.is_some() => {
                show(&desk::write(measuring, root, Wanted { span: Some(LIVE_SPAN), hist: false }).await?);
            }
        }
    }
}
