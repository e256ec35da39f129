//! The agent's side of the keeper: what it says of the tuning, and the kernel events it opens for us.
//!
//! One task of the control loop talks to `keeper.sock`: it says who it is, asks for the events of the CPUs worth tracing,
//! and then each second how the host stands and what drifted. A host without a keeper is no error: the agent measures, and
//! looks for one again with growing pauses. Nothing here is waited for by anything that measures, every wait has an end,
//! and what comes is checked to the byte: a keeper that talks nonsense is hung up on.
//!
//! Descriptors of events are put into the service manager's store, so that an agent that was killed goes on with the same
//! events and nobody has to open them again; opening interrupts the CPU.

mod line;
mod store;
mod view;

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use host::Root;
use host::cpus;
use host::inherited::Inherited;
use host::perf::{self, Handle, Layout, Point, Ring};
use orders::{Answer, Order, Outcome, Refusal, Text};
use report::Report;
use units::CpuId;

use crate::desk::Desk;
use crate::measuring::Measuring;
use line::{Broken, Line};
use view::View;

/// Between two questions about the host's state.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The first pause before the keeper is looked for again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Drift events fetched in one go; more wait for the next second.
const DRIFT_A_GO: usize = 32;

/// The events of one CPU, open for as long as this lives.
#[derive(Debug, Clone)]
struct Held {
    cpu: CpuId,
    /// The life of the CPU that they are of.
    life: Option<u64>,
    handles: Arc<[Handle]>,
}

/// What is known of the keeper, and what it gave us.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    root: Root,
    view: Mutex<View>,
    held: Mutex<Vec<Held>>,
}

impl Keeper {
    /// Nothing known yet of a keeper at `path`; `stored` is what the service manager kept of an agent before us. What is
    /// not understood of it is closed and given up.
    #[must_use]
    pub fn new(path: &Path, stored: Vec<Inherited>) -> Self {
        let root = Root::system();
        let held = store::restore(stored).into_iter().map(|(cpu, handles)| {
            let life = cpus::life(&root, cpu);
            Held { cpu, life, handles: handles.into() }
        });
        let held = Mutex::new(held.collect());
        Self { path: path.to_owned(), root, view: Mutex::default(), held }
    }

    /// Whether `inherited` is for [`Keeper::new`].
    #[must_use]
    pub fn wants(inherited: &Inherited) -> bool {
        store::is_ours(&inherited.name)
    }

    /// Puts what is known into a report.
    pub fn tell(&self, report: &mut Report) {
        self.view().tell(report);
    }

    /// Gives `measuring`, which has none yet, the rings of the CPUs that it wants and that are held; lets go of others.
    pub fn plant(&self, measuring: &Measuring) {
        let wanted = measuring.traced();
        let mut held = self.held();
        held.retain(|held| {
            let keep = wanted.contains(held.cpu) && self.read(measuring, held).is_ok();
            if !keep {
                store::remove(held.cpu, &held.handles);
            }
            keep
        });
    }

    /// Talks to the keeper until the loop ends.
    pub async fn run(self: Arc<Self>, desk: Arc<Desk>) {
        let (mut pause, mut has_met) = (PAUSES.0, false);
        loop {
            let (ended, lasted) = match Line::open(&self.path) {
                Ok(line) => self.converse(line, &desk).await,
                Err(cause) => (Broken::Connection(cause), false),
            };
            has_met |= lasted;
            let is_new = self.view().lost(&ended);
            if is_new {
                tracing::info!(path = %self.path.display(), "no keeper: measuring only ({ended})");
            }
            // Where one is installed its socket is there, whether or not it runs: without, there is no hurry to wake up.
            let is_installed = has_met || self.path.exists();
            pause = match lasted {
                true => PAUSES.0,
                false if is_installed => PAUSES.1.min(pause * 2),
                false => PAUSES.1,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from the first word to its end; whether it got beyond the greeting.
    async fn converse(&self, mut line: Line, desk: &Desk) -> (Broken, bool) {
        if let Err(broken) = self.greet(&mut line).await {
            return (broken, false);
        }
        match self.follow(&mut line, desk).await {
            Ok(never) => match never {},
            Err(broken) => (broken, true),
        }
    }

    /// Keeps up with the host until the connection ends; other CPUs may be measured after a reload, and one that went off
    /// line has lost its events when it comes back.
    async fn follow(&self, line: &mut Line, desk: &Desk) -> Result<Infallible, Broken> {
        let mut traced = None;
        loop {
            let measuring = desk.measuring();
            let lives = self.lives(&measuring);
            if traced.as_ref() != Some(&lives) {
                self.let_go_of_the_dead(&lives);
                self.fetch_rings(line, &measuring).await?;
                traced = Some(lives);
            }
            self.ask(line).await?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// The CPUs that `measuring` wants traced, each with the life it is in.
    fn lives(&self, measuring: &Measuring) -> Vec<(CpuId, Option<u64>)> {
        measuring.traced().iter().map(|cpu| (cpu, cpus::life(&self.root, cpu))).collect()
    }

    fn let_go_of_the_dead(&self, lives: &[(CpuId, Option<u64>)]) {
        self.held().retain(|held| {
            let is_dead = lives.iter().any(|(cpu, life)| *cpu == held.cpu && *life != held.life);
            if is_dead {
                store::remove(held.cpu, &held.handles);
            }
            !is_dead
        });
    }

    async fn greet(&self, line: &mut Line) -> Result<(), Broken> {
        let version = Text::cut(env!("CARGO_PKG_VERSION"));
        match line.ask(Order::Hello { version }).await?.0 {
            Outcome::Done(Answer::Hello(hello)) => {
                tracing::info!(path = %self.path.display(), version = %hello.version, "the keeper answers");
                self.view().greeted(hello.version.as_str());
                Ok(())
            }
            other => Err(Broken::refused(&other)),
        }
    }

    /// How the host stands, and what drifted since the last time.
    async fn ask(&self, line: &mut Line) -> Result<(), Broken> {
        match line.ask(Order::Status).await?.0 {
            Outcome::Done(Answer::Status(status)) => self.view().stands(&status, line.fence()),
            other => return Err(Broken::refused(&other)),
        }
        for _ in 0..DRIFT_A_GO {
            let after = self.view().last_drift();
            match line.ask(Order::Drift { after }).await?.0 {
                Outcome::Done(Answer::Drift(Some(event))) if event.number > after => {
                    self.view().drifted(&event);
                }
                Outcome::Done(Answer::Drift(None)) => break,
                Outcome::Done(_) => return Err(Broken::Foreign),
                Outcome::Refused { .. } | Outcome::Failed { .. } => break, // it has no watch
            }
        }
        Ok(())
    }

    /// Asks for the rings of the CPUs that `measuring` wants and that are not held.
    async fn fetch_rings(&self, line: &mut Line, measuring: &Measuring) -> Result<(), Broken> {
        for cpu in measuring.traced().iter() {
            if self.held().iter().any(|held| held.cpu == cpu) {
                continue;
            }
            let life = cpus::life(&self.root, cpu); // before: should it go meanwhile, they are asked for again
            let (handles, refused) = fetch(line, cpu).await?;
            let held = Held { cpu, life, handles: handles.into() };
            let read = if held.handles.is_empty() { Ok(()) } else { self.read(measuring, &held) };
            let problem = read.as_ref().err().map(ToString::to_string).or(refused);
            if let Some(problem) = &problem {
                tracing::warn!(%cpu, "kernel events are not all there: {problem}");
            }
            self.view().ring_problem(cpu, problem);
            if read.is_ok() && !held.handles.is_empty() {
                store::put(cpu, &held.handles);
                self.held().push(held);
            }
        }
        Ok(())
    }

    fn read(&self, measuring: &Measuring, held: &Held) -> std::io::Result<()> {
        let ring = Ring::map(held.cpu, held.handles.clone()).inspect_err(|cause| {
            tracing::warn!(cpu = %held.cpu, %cause, "cannot map the ring of its kernel events");
        })?;
        measuring.read_ring(ring);
        Ok(())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("nobody panics while holding it")
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().expect("nobody panics while holding it")
    }
}

/// Every event of `cpu` that the keeper gives, and why it does not give one, beyond that the kernel has none such.
async fn fetch(line: &mut Line, cpu: CpuId) -> Result<(Vec<Handle>, Option<String>), Broken> {
    let mut handles = Vec::with_capacity(perf::POINTS);
    for point in Point::ALL {
        match line.ask(Order::Rings { cpu, point: point.number() }).await? {
            (Outcome::Done(Answer::Ring(ring)), Some(fd)) => {
                if (ring.cpu, ring.point) != (cpu, point.number()) || !perf::is_event(fd.as_fd()) {
                    return Err(Broken::Foreign);
                }
                let layout = Layout { number: ring.number_at, name: ring.name_at };
                handles.push(Handle { point, layout, fd });
            }
            (Outcome::Refused { why: Refusal::Absent, .. }, _) => {}
            (Outcome::Refused { reason, .. } | Outcome::Failed { reason, .. }, _) => {
                return Ok((handles, Some(reason.to_string()))); // the others would be refused, too
            }
            _ => return Err(Broken::Foreign),
        }
    }
    Ok((handles, None))
}
