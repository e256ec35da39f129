//! `quell up`: measure here, now, and say what was found.

use std::io::{self, IsTerminal};

use agent::Settings;
use agent::foreground::{self, Options};
use latency::Budget;
use report::{Exit, text};
use units::Nanos;

use crate::cli::Up;
use crate::failure::Failure;
use crate::output::{self, Live};

/// A terminal is shown new figures this often.
const LIVE_EVERY: Nanos = Nanos::from_millis(500);

/// Rows of the live table; a terminal of 24 lines keeps its prompt.
const LIVE_ROWS_MAX: usize = 18;

/// Runs it.
pub fn run(options: &Up) -> Result<Exit, Failure> {
    let settings = settings(options)?;
    let watched = io::stdout().is_terminal() && !options.json;
    if watched && options.for_.is_none() {
        output::tell("measuring until Ctrl-C; nothing on this host is changed");
    }
    let measure =
        Options { for_: options.for_, live_every: watched.then_some(LIVE_EVERY), hist: options.hist };
    let (mut live, style) = (Live::default(), output::style());
    let report =
        foreground::run(&settings, &measure, |report| live.show(&text::live(report, &style, LIVE_ROWS_MAX)));
    if watched {
        live.clear();
    }
    let report = report.map_err(|error| Failure::from_error(failure_exit(&error), &error))?;
    output::print(&if options.json { report.to_json() } else { text::report(&report, &style) })?;
    Ok(Exit::Yes)
}

/// What the flags ask for, with every mistake at once.
fn settings(options: &Up) -> Result<Settings, Failure> {
    let mut mistakes = Vec::new();
    let mut settings = Settings {
        cpus: options.cpus.clone(),
        policy: options.policy,
        interval: options.interval,
        spin: options.spin,
        stall: options.stall,
        ..Settings::default()
    };
    if options.cpus.as_ref().is_some_and(units::CpuSet::is_empty) {
        mistakes.push("--cpus: no CPU in it; leave it out to have them chosen".to_owned());
    }
    if options.for_ == Some(Nanos::ZERO) {
        mistakes.push("--for: no time to measure in; try --for 10s".to_owned());
    }
    if !options.probes.is_empty() {
        settings.probes.clear();
        for name in &options.probes {
            match name.parse() {
                Ok(probe) => settings.probes.push(probe),
                Err(problem) => mistakes.push(format!("--probe: {problem}")),
            }
        }
    }
    if let Some(terms) = &options.budget {
        match budget(terms) {
            Ok(budget) => settings.budgets = vec![budget],
            Err(problem) => mistakes.push(format!("--budget: {problem}")),
        }
    } else {
        // The built-in budget is about a probe, and at a pace, that may not have been asked for.
        let probes = settings.probes.clone();
        settings.budgets.retain(|budget| probes.iter().any(|probe| probe.name() == budget.channel.as_str()));
        settings.drop_infeasible();
    }
    mistakes.extend(settings.infeasible());
    if mistakes.is_empty() { Ok(settings) } else { Err(Failure::new(Exit::Usage, mistakes.join("\n"))) }
}

/// "CHANNEL pQ <= LIMIT for TIME over TIME"; the budget is called after its channel.
fn budget(terms: &str) -> Result<Budget, String> {
    let (channel, limit) = terms.trim().split_once(' ').ok_or_else(|| {
        format!("{terms:?}: a channel and its terms, as in \"timer-wakeup p99 <= 50us for 5s over 2s\"")
    })?;
    let channel: units::Name = channel.parse().map_err(|problem: units::ParseError| problem.to_string())?;
    Budget::parse(channel.clone(), channel, limit).map_err(|problem| problem.to_string())
}

/// A wish that this host cannot fulfil is a matter of usage; the rest went wrong.
fn failure_exit(error: &foreground::Error) -> Exit {
    use agent::StartError::{Budgets, Placement, Probes};
    match error {
        foreground::Error::Start(Placement(_) | Budgets(_) | Probes(probes::Error::Spec(_))) => Exit::Usage,
        _ => Exit::Failure,
    }
}
