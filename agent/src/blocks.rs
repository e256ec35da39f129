//! Blocks of measuring, one after the other, on threads that keep running between them: for whoever changes the host from
//! one to the next, and wants to see nothing but the change.
//!
//! A block is what was counted between two snapshots, so that its ends are those of the collector's passes (10 ms) and no
//! sample is in two. What ran before the first and between two is thrown away.

use std::time::Duration;

use clock::Clock;
use host::Root;
use latency::{Block, Histogram, Layout, LookedAt};
use probes::{Channel, Kind};
use tokio::runtime::Runtime;
use units::{CpuSet, Nanos, Ticks};

use crate::desk;
use crate::foreground::{Error, Stops};
use crate::measuring::Measuring;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sources;

/// Probes that run, and a loop to wait with.
#[derive(Debug)]
pub struct Blocks {
    runtime: Runtime,
    stops: Stops,
    measuring: Measuring,
    settings: Settings,
    channels: Vec<Channel>,
    clock: Clock,
}

/// What one block came to.
#[derive(Debug)]
pub struct Taken {
    /// One a probe, the samples of all CPUs in it.
    pub probes: Vec<(Kind, Block)>,
    /// Samples lost because a ring was full: what is left is not a fair part of them.
    pub dropped: u64,
}

impl Blocks {
    /// Starts the probes that `settings` ask for. From now on SIGINT and SIGTERM end no more than the block they meet.
    ///
    /// # Errors
    /// [`Error`]; nothing runs then.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|cause| Error::System { what: "create the event loop", cause })?;
        let stops = runtime.block_on(async { Stops::listen() })?;
        let measuring = Measuring::start(settings, &Root::system(), None)?;
        let ground = measuring.ground();
        let (channels, clock) = (ground.channels, ground.time);
        Ok(Self { runtime, stops, measuring, settings: settings.clone(), channels, clock })
    }

    /// The CPUs that are measured.
    #[must_use]
    pub fn cpus(&self) -> &CpuSet {
        self.measuring.measured()
    }

    /// Lets `settle` pass, then measures for `length`. `None` as soon as somebody asks for the end.
    ///
    /// # Errors
    /// [`Error::Desk`].
    pub fn take(&mut self, settle: Nanos, length: Nanos) -> Result<Option<Taken>, Error> {
        let Self { runtime, stops, measuring, .. } = self;
        let ends = runtime.block_on(async {
            tokio::select! {
                biased;
                () = stops.come() => Ok(None),
                ends = ends(measuring, settle.into(), length.into()) => ends.map(Some),
            }
        })?;
        Ok(ends.map(|(from, to)| self.between(&from, &to)))
    }

    fn between(&self, from: &Snapshot, to: &Snapshot) -> Taken {
        let mut probes: Vec<(Kind, Block)> = Vec::new();
        for (index, channel) in self.channels.iter().enumerate() {
            let samples = to.channels[index].total.since(&from.channels[index].total);
            match probes.iter_mut().find(|(kind, _)| *kind == channel.probe) {
                Some((_, block)) => block.samples.merge(&samples),
                None => probes.push((channel.probe, self.block(channel.probe, samples, from, to))),
            }
        }
        let dropped =
            |snapshot: &Snapshot| snapshot.counted.iter().map(|counted| counted.dropped).sum::<u64>();
        Taken { probes, dropped: dropped(to).saturating_sub(dropped(from)) }
    }

    fn block(&self, probe: Kind, samples: Histogram, from: &Snapshot, to: &Snapshot) -> Block {
        let spun = |snapshot: &Snapshot| snapshot.counted.iter().map(|counted| counted.spun.0).sum::<u64>();
        let threshold = || sources::channel_facts(probe, &self.settings, &Layout::default()).floor;
        let looked_at = (probe == Kind::SpinGap).then(|| LookedAt {
            time: self.clock.to_nanos(Ticks(spun(to).saturating_sub(spun(from)))),
            threshold: threshold(),
        });
        Block { samples, looked_at }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.measuring.stop();
    }
}

/// The counts at both ends of a block.
async fn ends(
    measuring: &Measuring,
    settle: Duration,
    length: Duration,
) -> Result<(Box<Snapshot>, Box<Snapshot>), Error> {
    tokio::time::sleep(settle).await;
    let from = desk::snapshot(measuring, None).await?;
    tokio::time::sleep(length).await;
    Ok((from, desk::snapshot(measuring, None).await?))
}
