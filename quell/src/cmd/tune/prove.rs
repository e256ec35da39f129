//! `quell tune prove`: which knobs earn their place on this host, by switching them on and off under its own probes.
//!
//! Every switch is an apply and its way back through the engine, so that a journal stands behind each block. An apply
//! waits to be confirmed and never is: one guard, started before the first, undoes what a killed prove leaves once the
//! block's time is over, and the keeper and the next `quell tune` do the same. Signals end the block they meet, and the
//! way back is the next thing that happens.
//!
//! Here is what meets the machine; what the pairs say is [`latency::Proof`]'s to judge.

mod candidates;
mod document;
mod switch;

use std::io::{self, IsTerminal};

use agent::Settings;
use agent::blocks::{Blocks, Taken};
use agent::foreground;
use fastrand::Rng;
use latency::{Proof, Terms};
use probes::Kind;
use report::{Exit, ProveDocument, text};
use sys_tuning::Engine;
use units::limits::{BLOCK_MAX, BLOCK_MIN, BLOCKS_MAX};
use units::{Nanos, Quantile};

use self::candidates::{Candidate, Candidates};
use self::switch::{Off, Switch};
use super::confirm::Guard;
use crate::cli::{Prove, Tune};
use crate::failure::Failure;
use crate::output::{self, Live};

/// What is compared of each probe.
const QUANTILES: [Quantile; 2] = [Quantile::P99, Quantile::P99_99];

/// How often one of all knobs may be misjudged.
const ERROR: f64 = 0.05;

/// Of each 100 ms, when other probes share the CPU: as much as there is room for, since gaps are found only meanwhile.
const SPIN: Nanos = Nanos::from_millis(10);

/// A knob whose pairs are void time and again is given up: after as many as it may have, and these for a bad start.
const VOID_SPARE: usize = 10;

/// One figure that every block gives.
#[derive(Debug, Clone, Copy)]
struct Figure {
    probe: Kind,
    quantile: Quantile,
    wanted: Quantile,
    /// What it was in the block before the first pair.
    before: Nanos,
}

/// What became of the pairs of one knob.
#[derive(Debug, Clone, Default)]
struct Course {
    void: usize,
    given_up: Option<String>,
}

/// What one pair came to.
enum Pair {
    /// The differences of its figures.
    Counts(Vec<f64>),
    /// It says nothing, and the next may.
    Void,
    /// This knob cannot be switched.
    GivenUp(String),
    /// Somebody asked for the end.
    Aborted,
}

/// What one block came to.
enum Half {
    Figures(Vec<f64>),
    Void,
    GivenUp(String),
    Aborted,
}

/// Runs it.
pub fn run(engine: &Engine, options: &Tune, asked: &Prove) -> Result<Exit, Failure> {
    let settings = settings(options, asked)?;
    let profile = super::profile_at(&asked.profile.profile, None)?;
    let seed = asked.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let mut found = ProveDocument {
        profile: profile.name.clone(),
        block: asked.for_,
        settle: asked.settle,
        seed,
        error: ERROR,
        margin_percent: f64::from(asked.margin),
        pairs_max: u64::from(asked.blocks / 2),
        ..ProveDocument::default()
    };
    let Candidates { knobs, skipped, refused } = candidates::choose(engine, &profile, asked)?;
    found.skipped = skipped;
    if knobs.is_empty() || (refused && !asked.knobs.is_empty()) {
        let (exit, result) = if refused { (Exit::Refused, "refused") } else { (Exit::Held, "held") };
        return tell_nothing(
            options,
            found,
            exit,
            result,
            "no knob of these can be switched on and off here",
        );
    }
    // What a trading window keeps from being applied is not switched on and off in it either.
    for knob in &knobs {
        super::refuse_in_session(options, &engine.plan(&knob.profile)?, super::now())?;
    }
    let (figures, blocks) = match pilot(&settings, asked)? {
        Pilot::Figures(figures, blocks) => (figures, blocks),
        Pilot::Held(reason) => return tell_nothing(options, found, Exit::Held, "held", &reason),
        Pilot::Aborted => {
            return tell_nothing(options, found, Exit::Aborted, "aborted", "before the first pair");
        }
    };
    found.cpus = Some(blocks.cpus().to_string());
    let proof = Proof::new(knobs.len(), figures.len(), terms(asked))
        .map_err(|problem| Failure::new(Exit::Usage, format!("--blocks {}: {problem}", asked.blocks)))?;
    let _guard = Guard::start(options)?;
    let mut bench = Bench {
        asked,
        engine,
        blocks,
        courses: vec![Course::default(); knobs.len()],
        knobs,
        figures,
        proof,
        rng: Rng::with_seed(seed),
        live: Live::default(),
        is_watched: io::stdout().is_terminal() && !options.json,
    };
    let ended = bench.pairs();
    if bench.is_watched {
        bench.live.clear();
    }
    let aborted = ended?;
    document::fill(&mut found, &bench, aborted);
    super::show(options, || found.to_json(), || text::prove(&found, &output::style()))?;
    Ok(if aborted { Exit::Aborted } else { Exit::Yes })
}

/// What the flags ask for, with every mistake at once.
fn settings(options: &Tune, asked: &Prove) -> Result<Settings, Failure> {
    let mut mistakes = Vec::new();
    let mut settings = Settings {
        cpus: asked.cpus.clone(),
        probes: Vec::new(),
        policy: asked.policy,
        interval: asked.interval,
        spin: SPIN,
        budgets: Vec::new(),
        ..Settings::default()
    };
    if options.root != std::path::Path::new("/") {
        mistakes.push("--root: only the running machine can be measured".to_owned());
    }
    if asked.cpus.as_ref().is_some_and(units::CpuSet::is_empty) {
        mistakes.push("--cpus: no CPU in it; leave it out to have them chosen".to_owned());
    }
    for name in &asked.probes {
        match name.parse() {
            Ok(probe) => settings.probes.push(probe),
            Err(problem) => mistakes.push(format!("--probe: {problem}")),
        }
    }
    if !(BLOCK_MIN..=BLOCK_MAX).contains(&asked.for_) {
        mistakes.push(format!("--for {}: a block is {BLOCK_MIN} to {BLOCK_MAX} long", asked.for_));
    }
    if asked.settle > BLOCK_MAX {
        mistakes.push(format!("--settle {}: {BLOCK_MAX} at most", asked.settle));
    }
    if !(2..=BLOCKS_MAX).contains(&asked.blocks) {
        mistakes.push(format!("--blocks {}: allowed is 2 to {BLOCKS_MAX}", asked.blocks));
    }
    if !(1..=100).contains(&asked.margin) {
        mistakes.push(format!("--margin {}: allowed is 1 to 100 per cent", asked.margin));
    }
    if mistakes.is_empty() { Ok(settings) } else { Err(Failure::new(Exit::Usage, mistakes.join("\n"))) }
}

fn terms(asked: &Prove) -> Terms {
    let pairs_max = usize::try_from(asked.blocks / 2).unwrap_or(usize::MAX);
    Terms { error: ERROR, margin: (f64::from(asked.margin) / 100.0).ln_1p(), pairs_max }
}

fn tell_nothing(
    options: &Tune,
    found: ProveDocument,
    exit: Exit,
    result: &str,
    reason: &str,
) -> Result<Exit, Failure> {
    let found = ProveDocument { result: result.to_owned(), reason: Some(reason.to_owned()), ..found };
    super::show(options, || found.to_json(), || text::prove(&found, &output::style()))?;
    Ok(exit)
}

/// What a first block shows, before anything is switched.
enum Pilot {
    Figures(Vec<Figure>, Box<Blocks>),
    Held(String),
    Aborted,
}

fn pilot(settings: &Settings, asked: &Prove) -> Result<Pilot, Failure> {
    let mut blocks = match Blocks::start(settings) {
        Ok(blocks) => blocks,
        // Nobody named CPUs, and none is left to measure: that is no mistake of whoever asked.
        Err(error @ foreground::Error::Start(agent::StartError::Placement(_))) if settings.cpus.is_none() => {
            return Ok(Pilot::Held(error.to_string()));
        }
        Err(error) => return Err(unmeasured(&error)),
    };
    let Some(taken) = blocks.take(asked.settle, asked.for_).map_err(|error| unmeasured(&error))? else {
        return Ok(Pilot::Aborted);
    };
    let figures = figures(&taken);
    Ok(match figures.is_empty() {
        true => {
            Pilot::Held(format!("no probe gave a figure in a block of {}; try a longer --for", asked.for_))
        }
        false => Pilot::Figures(figures, Box::new(blocks)),
    })
}

fn unmeasured(error: &foreground::Error) -> Failure {
    use agent::StartError::{Placement, Probes};
    let exit = match error {
        foreground::Error::Start(Placement(_) | Probes(probes::Error::Spec(_))) => Exit::Usage,
        _ => Exit::Failure,
    };
    Failure::from_error(exit, error)
}

/// The figures that blocks of this kind give; of two that fall back to the same quantile, one.
fn figures(taken: &Taken) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for (probe, block) in &taken.probes {
        for wanted in QUANTILES {
            let Some(quantile) = block.supports(wanted) else { continue };
            let Some(before) = block.value(quantile) else { continue };
            match figures.iter_mut().find(|known| known.probe == *probe && known.quantile == quantile) {
                Some(known) => known.wanted = wanted,
                None => figures.push(Figure { probe: *probe, quantile, wanted, before }),
            }
        }
    }
    figures
}

/// The comparison under way.
struct Bench<'a> {
    asked: &'a Prove,
    engine: &'a Engine,
    blocks: Box<Blocks>,
    knobs: Vec<Candidate>,
    courses: Vec<Course>,
    figures: Vec<Figure>,
    proof: Proof,
    rng: Rng,
    live: Live,
    is_watched: bool,
}

impl Bench<'_> {
    /// Pairs of each open knob, all of them in a new order each round, until none is open. Whether somebody asked for the
    /// end before.
    fn pairs(&mut self) -> Result<bool, Failure> {
        let mut order: Vec<usize> = (0..self.knobs.len()).collect();
        while order.iter().any(|knob| self.is_open(*knob)) {
            self.rng.shuffle(&mut order);
            for knob in order.clone() {
                if !self.is_open(knob) {
                    continue; // also when the pair of another knob has decided this one
                }
                self.show(knob);
                match self.pair(knob)? {
                    Pair::Counts(differences) => self.proof.add(knob, differences),
                    Pair::Void => self.courses[knob].void += 1,
                    Pair::GivenUp(reason) => self.courses[knob].given_up = Some(reason),
                    Pair::Aborted => return Ok(true),
                }
            }
        }
        Ok(false)
    }

    fn is_open(&self, knob: usize) -> bool {
        let Course { void, given_up } = &self.courses[knob];
        self.proof.is_open(knob) && given_up.is_none() && *void < self.proof.pairs(knob) + VOID_SPARE
    }

    /// The knob on in one block and off in the other.
    fn pair(&mut self, knob: usize) -> Result<Pair, Failure> {
        let on_first = self.rng.bool();
        let first = if on_first { self.with(knob)? } else { self.without()? };
        let Half::Figures(first) = first else { return Ok(first.into()) };
        let second = if on_first { self.without()? } else { self.with(knob)? };
        let Half::Figures(second) = second else { return Ok(second.into()) };
        let (with, without) = if on_first { (first, second) } else { (second, first) };
        Ok(Pair::Counts(with.iter().zip(without).map(|(with, without)| with - without).collect()))
    }

    /// A block with the knob on. It is off again when this returns, unless that failed.
    fn with(&mut self, knob: usize) -> Result<Half, Failure> {
        let Self { asked, engine, knobs, .. } = self;
        let time = asked.settle + asked.for_;
        let on = match Switch::on(engine, &knobs[knob], time, asked.accept_dangers)? {
            Ok(on) => on,
            Err(reason) => return Ok(Half::GivenUp(reason)),
        };
        let half = self.without();
        let stood = on.stands(self.engine, &self.knobs[knob]);
        let back = on.off(self.engine)?;
        Ok(match (half?, back) {
            (half @ Half::Figures(_), Off::AsBefore) if stood => half,
            (Half::Figures(_), Off::AsBefore | Off::AlreadyOff) => Half::Void,
            (half, _) => half,
        })
    }

    /// A block with everything as it is.
    fn without(&mut self) -> Result<Half, Failure> {
        let Self { blocks, asked, figures, .. } = self;
        let taken = blocks.take(asked.settle, asked.for_).map_err(|error| unmeasured(&error))?;
        let Some(taken) = taken else { return Ok(Half::Aborted) };
        if taken.dropped > 0 {
            return Ok(Half::Void);
        }
        let value = |figure: &Figure| {
            let (_, block) = taken.probes.iter().find(|(probe, _)| *probe == figure.probe)?;
            // A figure of zero has no logarithm; the clock knows nothing below a nanosecond.
            Some(logarithm(block.value(figure.quantile)?.max(Nanos(1))))
        };
        Ok(figures.iter().map(value).collect::<Option<Vec<f64>>>().map_or(Half::Void, Half::Figures))
    }

    fn show(&mut self, knob: usize) {
        if !self.is_watched {
            return;
        }
        let rows = self.knobs.iter().enumerate().map(|(index, one)| {
            let (pairs, mark) = (self.proof.pairs(index), if index == knob { ">" } else { " " });
            let state = document::verdict(self.proof.verdict(index));
            format!("{mark} {:<14} {pairs} of at most {} pairs, {state}", one.id, self.asked.blocks / 2)
        });
        let rows: Vec<String> = rows.collect();
        self.live.show(&rows);
    }
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
fn logarithm(value: Nanos) -> f64 {
    (value.0 as f64).ln()
}

impl From<Half> for Pair {
    fn from(half: Half) -> Self {
        match half {
            Half::Figures(_) | Half::Void => Self::Void,
            Half::GivenUp(reason) => Self::GivenUp(reason),
            Half::Aborted => Self::Aborted,
        }
    }
}
