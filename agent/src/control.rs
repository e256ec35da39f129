//! The control loop: sockets, signals and the service manager, on one current-thread runtime.
//!
//! Without a keeper to talk to and isolated CPUs to leave it has no timer of its own: between requests, signals and budget
//! events it sleeps, so that a quiet agent wakes nobody. Start-up is one list, shut-down is that list backwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::Mistakes;
use host::Root;
use tokio::signal::unix::{Signal, SignalKind, signal};
use units::CpuSet;

use crate::collector::BudgetEvent;
use crate::desk::Desk;
use crate::facts::Used;
use crate::keeper::Keeper;
use crate::measuring::{Measuring, StartError};
use crate::notify;
use crate::placement::OCCUPIED_SHARE;
use crate::settings::Settings;
use crate::socket::{Answers, BindError, Bound, routes, serve};
use crate::watchdog::Watchdog;

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its configuration.
    pub config: PathBuf,
    /// Whether a person named that file, so that its absence is a mistake.
    pub config_required: bool,
    /// The report socket, instead of the configured one.
    pub socket: Option<PathBuf>,
}

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Settings(Mistakes),
    /// The report socket is taken or cannot be made.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Measuring could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A reload stopped what was measured, and neither the new configuration nor the old one could be started after it.
    #[error("nothing is measured any more: {wanted}; and going back to the old configuration: {back}")]
    Lost {
        /// Why the new one did not start.
        wanted: Box<StartError>,
        /// Why the old one did not.
        back: Box<StartError>,
    },
    /// The system refused something the control loop is made of.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was asked.
        what: &'static str,
        /// The system's reason.
        cause: std::io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |cause| Error::System { what, cause }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// [`Error`] when it could not start; once it serves, it ends well.
pub fn run(options: &Options) -> Result<(), Error> {
    // 1. What to do. 2. The right to do it here. 3. The service manager's ear. 4. Measuring. 5. The loop.
    let settings = read_settings(options)?;
    let inherited = host::inherited::take().map_err(system("take what the service manager hands over"))?;
    let (stored, inherited) = inherited.into_iter().partition(Keeper::wants);
    let bound = match Bound::handed_over(inherited)? {
        Some(bound) => bound,
        None => Bound::take(options.socket.as_deref().unwrap_or(&settings.socket))?,
    };
    let watchdog =
        Watchdog::from_environment().map_err(system("reach the service manager's watchdog socket"))?;
    let measuring = Measuring::start(&settings, &Root::system(), watchdog.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system("create the event loop"))?;
    let keeper = Arc::new(Keeper::new(&settings.keeper, stored));
    keeper.plant(&measuring);
    let daemon = Daemon { options, socket: settings.socket, keeper, watchdog };
    let measuring = runtime.block_on(daemon.serve_until_stopped(&bound, Arc::new(measuring)))?;
    drop(runtime); // open connections end here
    notify::stopping();
    measuring.stop();
    drop(bound);
    tracing::info!("stopped");
    Ok(())
}

fn read_settings(options: &Options) -> Result<Settings, Error> {
    Settings::read(&options.config, options.config_required)
        .map(|(settings, _)| settings)
        .map_err(Error::Settings)
}

/// What stays the same until the daemon ends.
struct Daemon<'o> {
    options: &'o Options,
    /// As it was configured at the start, where it serves until the end.
    socket: PathBuf,
    /// Talked to at the place that was configured at the start.
    keeper: Arc<Keeper>,
    /// For each collector, one after the other.
    watchdog: Option<Watchdog>,
}

impl Daemon<'_> {
    async fn serve_until_stopped(
        &self,
        bound: &Bound,
        measuring: Arc<Measuring>,
    ) -> Result<Arc<Measuring>, Error> {
        let answers = Arc::new(Answers::default());
        let desk = Arc::new(Desk::new(measuring, self.keeper.clone(), answers.clone()));
        let listener = bound.listener().map_err(system("share the report socket with the event loop"))?;
        let mut terminate = on(SignalKind::terminate())?;
        let mut interrupt = on(SignalKind::interrupt())?;
        let mut hangup = on(SignalKind::hangup())?;
        let mut server = tokio::spawn(serve(listener, routes(desk.clone()), answers));
        let mut neighbours = Neighbours::default();
        let talk = tokio::spawn(self.keeper.clone().run(desk.clone()));
        let status = status(&desk.measuring());
        tracing::info!(socket = %bound.path().display(), status, "serving");
        notify::ready(&status);
        loop {
            let measuring = desk.measuring();
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.reload(&desk)?,
                () = measuring.bell() => tell(&measuring),
                () = tokio::time::sleep(NEIGHBOURS_EVERY), if measuring.isolated().is_some() => {
                    self.make_way(&desk, &mut neighbours)?;
                }
                ended = &mut server => {
                    let cause = match ended {
                        Ok(Err(cause)) => cause,
                        Ok(Ok(never)) => match never {},
                        Err(panic) => std::io::Error::other(panic),
                    };
                    return Err(system("serve the report socket")(cause));
                }
            }
        }
        server.abort();
        talk.abort();
        Ok(desk.measuring())
    }

    /// Takes on a changed configuration, all of it or nothing.
    ///
    /// Everything that can be known to be wrong with it is found before anything is stopped. What was measured so far
    /// belongs to the old settings: a change begins new windows. Requests wait meanwhile, 115 ms (2-vCPU VM) when
    /// nothing keeps the threads off their CPUs.
    ///
    /// # Errors
    /// [`Error::Lost`]: better to end, and to be started anew, than to serve without measuring.
    fn reload(&self, desk: &Desk) -> Result<(), Error> {
        notify::reloading();
        let outcome = match self.take_on(desk) {
            Ok(line) => line,
            Err(error @ Error::Lost { .. }) => return Err(error),
            Err(error) => {
                tracing::error!("configuration not taken on, the old one stays: {error}");
                "new configuration refused, the old one stays (see the log)"
            }
        };
        notify::ready(&format!("{}; {outcome}", status(&desk.measuring())));
        Ok(())
    }

    fn take_on(&self, desk: &Desk) -> Result<&'static str, Error> {
        let former = desk.measuring();
        let mut wanted = read_settings(self.options)?;
        if self.options.socket.is_none() && wanted.socket != self.socket {
            tracing::warn!(path = %wanted.socket.display(), "report.socket takes effect at the next start");
        }
        if wanted.keeper != former.settings().keeper {
            tracing::warn!(path = %wanted.keeper.display(), "keeper.socket takes effect at the next start");
        }
        wanted.socket.clone_from(&former.settings().socket);
        wanted.keeper.clone_from(&former.settings().keeper);
        if wanted == *former.settings() {
            return Ok("configuration read again, nothing changed");
        }
        let ready = former.prepare(&wanted, &Root::system())?;
        former.stop();
        match ready.start(self.watchdog.clone()) {
            Ok(measuring) => {
                self.keeper.plant(&measuring);
                desk.switch(Arc::new(measuring));
                tracing::info!("configuration taken on, windows begin anew");
                Ok("configuration taken on")
            }
            Err(refusal) => Err(self.go_back(desk, &former, refusal)),
        }
    }

    /// Leaves the isolated CPUs on which somebody has begun to spin: a probe there would be the application's noise.
    ///
    /// # Errors
    /// [`Error::Lost`].
    fn make_way(&self, desk: &Desk, neighbours: &mut Neighbours) -> Result<(), Error> {
        let former = desk.measuring();
        let Some(isolated) = former.isolated() else { return Ok(()) };
        let occupied = neighbours.on(isolated);
        if occupied.is_empty() {
            return Ok(());
        }
        tracing::warn!(cpus = %occupied, "an application spins where we measure: leaving these CPUs to it");
        let ready = match former.prepare(former.settings(), &Root::system()) {
            Ok(ready) => ready,
            Err(refusal) => {
                tracing::error!("cannot leave these CPUs: {refusal}");
                return Ok(());
            }
        };
        former.stop();
        match ready.start(self.watchdog.clone()) {
            Ok(measuring) => {
                self.keeper.plant(&measuring);
                desk.switch(Arc::new(measuring));
                notify::status(&status(&desk.measuring()));
                Ok(())
            }
            Err(refusal) => match self.go_back(desk, &former, refusal) {
                lost @ Error::Lost { .. } => Err(lost),
                told => {
                    tracing::error!("cannot leave these CPUs: {told}");
                    Ok(())
                }
            },
        }
    }

    /// Measures by the settings of `former` again, after new ones did not start; what to tell of it.
    fn go_back(&self, desk: &Desk, former: &Measuring, refusal: StartError) -> Error {
        let again = former
            .prepare(former.settings(), &Root::system())
            .and_then(|ready| ready.start(self.watchdog.clone()));
        match again {
            Ok(measuring) => {
                self.keeper.plant(&measuring);
                desk.switch(Arc::new(measuring));
                tracing::warn!("windows begin anew, by the old configuration");
                refusal.into()
            }
            Err(back) => Error::Lost { wanted: Box::new(refusal), back: Box::new(back) },
        }
    }
}

/// Between two looks for applications on isolated CPUs that we measure. One that starts there shares its CPU with our
/// probe, a tenth of it by default, for this long and up to twice as long.
const NEIGHBOURS_EVERY: Duration = Duration::from_secs(5);

/// Who else is on the isolated CPUs, from one look to the next.
#[derive(Debug, Default)]
struct Neighbours {
    last: Option<Used>,
}

impl Neighbours {
    /// Those of `cpus` that others used most of since the last look.
    fn on(&mut self, cpus: &CpuSet) -> CpuSet {
        let now = Used::read(&Root::system()).ok();
        let before = std::mem::replace(&mut self.last, now);
        let (Some(before), Some(now)) = (before, &self.last) else { return CpuSet::empty() };
        let shares = now.shares_since(&before, cpus);
        shares.into_iter().filter(|(_, share)| *share > OCCUPIED_SHARE).map(|(cpu, _)| cpu).collect()
    }
}

fn on(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(system("listen for signals"))
}

/// Logs the changes of budgets that are waiting, and renews the status line.
fn tell(measuring: &Measuring) {
    for BudgetEvent { watched, transition } in measuring.events() {
        let Some((key, budget)) = measuring.watched(watched) else { continue };
        let (from, to) = (transition.from, transition.to);
        let seen = transition.seen;
        let line = format!(
            "budget {} ({} {budget}) on CPU {}: {from} -> {to}",
            budget.name, budget.channel, key.cpu
        );
        if transition.is_new_breach() {
            tracing::warn!(samples = seen.samples, exceeded = seen.exceeded, "{line}");
        } else {
            tracing::info!(samples = seen.samples, exceeded = seen.exceeded, "{line}");
        }
        measuring.note(watched, to);
    }
    notify::status(&status(measuring));
}

/// The line for `systemctl status`.
fn status(measuring: &Measuring) -> String {
    let (breached, budgets) = measuring.breached();
    format!("measuring CPUs {}; {} of {budgets} budgets breached", measuring.measured(), breached)
}

/// Whether `path` is the built-in place of the configuration, whose absence is no mistake.
#[must_use]
pub fn is_default_config(path: &Path) -> bool {
    path == Path::new("/etc/quell/quell.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::Wanted;

    #[test]
    fn whoever_spins_is_noticed() {
        let cpu = host::threads::allowed_cpus().unwrap().first().unwrap();
        let mut neighbours = Neighbours::default();
        assert!(neighbours.on(&cpu.into()).is_empty(), "nothing to compare with yet");
        let role = host::threads::Role {
            name: "spinner".to_owned(),
            cpus: cpu.into(),
            policy: host::threads::Policy::Other,
        };
        let end = host::threads::monotonic_now() + units::Nanos::from_millis(300);
        let spin = host::threads::spawn(role, move |_| while host::threads::monotonic_now() < end {});
        spin.unwrap().join().unwrap();
        // A thread of ours that is bound to one CPU counts as a probe while it lives; this one has ended, and is a stranger.
        assert_eq!(neighbours.on(&cpu.into()), cpu.into());
    }

    #[test]
    fn settings_that_do_not_start_leave_the_old_ones_measuring() {
        let options = Options { config: PathBuf::new(), config_required: false, socket: None };
        let keeper = Arc::new(Keeper::new(Path::new("/nowhere"), Vec::new()));
        let daemon = Daemon { options: &options, socket: PathBuf::new(), keeper, watchdog: None };
        let settings = Settings { stall: units::Nanos::from_millis(7), ..Settings::default() };
        let first = Arc::new(Measuring::start(&settings, &Root::system(), None).unwrap());
        let desk = Desk::new(first.clone(), daemon.keeper.clone(), Arc::default());
        first.stop();
        let told = daemon.go_back(&desk, &first, StartError::Budgets(vec!["because".to_owned()]));
        assert_eq!(told.to_string(), "because");
        let second = desk.measuring();
        assert_eq!(second.settings(), &settings);
        assert_eq!(second.ground().not_locked, first.ground().not_locked, "refused twice, told twice");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let report = runtime.block_on(desk.report(Wanted { span: None, hist: false })).unwrap();
        assert!(!report.channels.is_empty());
        second.stop();
    }
}
