//! What the agent is configured to do, checked.
//!
//! Layers: built-in defaults, `/etc/quell/quell.toml`, the files of `conf.d` beside it in order of their names, flags.
//! A missing main file is no mistake (everything has a default); one that was named on the command line is. What can
//! only be known on the host (does CPU 7 exist?) is checked when measuring starts, from the same values.

use std::path::{Path, PathBuf};

use config::{Document, Located, Mistakes, Place, Section};
use host::threads::Policy;
use latency::{Budget, Layout};
use probes::{DEFAULT_PROBES, Kind};
use units::limits::{BUDGETS_MAX, BUDGETS_PER_CHANNEL_MAX};
use units::{CpuId, CpuSet, Name, Nanos};

use crate::sources;

/// Everything the agent can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// CPUs to measure; `None` is "choose".
    pub cpus: Option<CpuSet>,
    /// Probes to run on each of them.
    pub probes: Vec<Kind>,
    /// How probe threads are scheduled.
    pub policy: Policy,
    /// Period of the timer-wakeup probe.
    pub interval: Nanos,
    /// Of each 100 ms, the time in which the spin-gap probe spins when it shares the CPU with other probes: its CPU
    /// cost.
    pub spin: Nanos,
    /// Samples from this length on are kept as stalls.
    pub stall: Nanos,
    /// What to judge.
    pub budgets: Vec<Budget>,
    /// Where to answer.
    pub socket: PathBuf,
    /// Where the keeper takes orders.
    pub keeper: PathBuf,
}

/// Where the report socket is by default.
const SOCKET: &str = "/run/quell/report.sock";

/// Where the keeper takes orders by default.
const KEEPER: &str = "/run/quell/keeper.sock";

/// The budget of a host that was told nothing: a wake-up that is later than this, one time in a hundred, is a host on
/// which nobody has looked at C-states, interrupts or isolation yet. Tighten it to what your strategy needs.
const BUDGET: (&str, &str, &str) = ("wake-up", "timer-wakeup", "p99 <= 50us for 5s over 2s");

/// Shortest period of the timer probe: a wake-up costs 23 us of CPU on a virtual machine (the probe's catalogue), so
/// that below it the probe would be the load.
const INTERVAL_MIN: Nanos = Nanos::from_micros(50);

/// Longest period: with a second between samples nothing is judged for minutes.
const INTERVAL_MAX: Nanos = Nanos::from_secs(1);

/// Shortest time worth spinning, of each 100 ms: the probe warms up in 100 us of it.
const SPIN_MIN: Nanos = Nanos::from_micros(500);

/// Longest: the other probes have 90 ms of each 100 ms.
const SPIN_MAX: Nanos = Nanos::from_millis(10);

/// Shortest stall kept: below it the list would hold a host's ordinary ticks.
const STALL_MIN: Nanos = Nanos::from_micros(1);

impl Default for Settings {
    fn default() -> Self {
        let name = |text: &str| text.parse().expect("a built-in name is one");
        let budget =
            Budget::parse(name(BUDGET.0), name(BUDGET.1), BUDGET.2).expect("the built-in budget reads");
        Self {
            cpus: None,
            probes: DEFAULT_PROBES.to_vec(),
            policy: Policy::Other,
            interval: Nanos::from_millis(1),
            spin: Nanos::from_millis(1),
            stall: Nanos::from_micros(50),
            budgets: vec![budget],
            socket: PathBuf::from(SOCKET),
            keeper: PathBuf::from(KEEPER),
        }
    }
}

/// One value in force and where it comes from, for `quell config explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The key, dotted.
    pub key: String,
    /// The value as it would be written.
    pub value: String,
    /// Its source.
    pub place: Place,
}

impl Settings {
    /// Reads `file` and `conf.d/*.toml` beside it; `required` when the file was named by a person.
    ///
    /// # Errors
    /// Every mistake of every file, with its line.
    pub fn read(file: &Path, required: bool) -> Result<(Self, Vec<Explained>), Mistakes> {
        let mut layers = Vec::new();
        let mistakes = Mistakes::default();
        for path in layer_files(file, required) {
            match Document::read(&path) {
                Ok(document) => layers.push(document),
                Err(broken) => broken
                    .list()
                    .iter()
                    .for_each(|mistake| mistakes.add(&mistake.place, mistake.problem.clone())),
            }
        }
        Self::from_layers(&layers, mistakes)
    }

    /// Reads settings from parsed documents, adding to the mistakes found so far.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn from_layers(layers: &[Document], mistakes: Mistakes) -> Result<(Self, Vec<Explained>), Mistakes> {
        let mut reader = Reader { explained: Vec::new() };
        let mut settings = Self::default();
        let top = Section::top(layers, &mistakes);
        let measure = top.section("measure");
        reader.measure(&measure, &mut settings);
        pace(&measure, &settings);
        measure.finish();
        let report = top.section("report");
        reader.take("report.socket", report.parsed::<PathBuf>("socket"), &mut settings.socket, |v| {
            v.display().to_string()
        });
        report.finish();
        let keeper = top.section("keeper");
        reader.take("keeper.socket", keeper.parsed::<PathBuf>("socket"), &mut settings.keeper, |v| {
            v.display().to_string()
        });
        keeper.finish();
        reader.budgets(&top, &mut settings);
        top.finish();
        mistakes.into_result((settings, reader.explained))
    }

    /// Leaves out the budgets that cannot be judged with these settings: for defaults that nobody asked for.
    pub fn drop_infeasible(&mut self) {
        let all = self.clone();
        self.budgets.retain(|budget| budget_problems(budget, &all).is_empty());
    }

    /// Every reason why a budget cannot be judged with these settings, by the budget's name.
    #[must_use]
    pub fn infeasible(&self) -> Vec<String> {
        self.budgets.iter().flat_map(|budget| budget_problems(budget, self)).collect()
    }
}

/// The main file and what stands in `conf.d` beside it, in the order in which they are layered.
fn layer_files(file: &Path, required: bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if required || file.exists() {
        files.push(file.to_owned());
    }
    let beside = file.parent().unwrap_or(Path::new(".")).join("conf.d");
    let mut dropins: Vec<PathBuf> = std::fs::read_dir(beside)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    dropins.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    dropins.sort();
    files.extend(dropins);
    files
}

struct Reader {
    explained: Vec<Explained>,
}

impl Reader {
    /// Puts `found` into `setting` if it was given, and notes what is in force and why.
    fn take<T>(
        &mut self,
        key: &str,
        found: Option<Located<T>>,
        setting: &mut T,
        show: impl Fn(&T) -> String,
    ) {
        let place = match found {
            Some(Located { value, place }) => {
                *setting = value;
                place
            }
            None => Place::named("default"),
        };
        self.explained.push(Explained { key: key.to_owned(), value: show(setting), place });
    }

    fn measure(&mut self, measure: &Section<'_>, settings: &mut Settings) {
        let cpus = measure.string("cpus").and_then(|found| cpus(measure, found));
        self.take("measure.cpus", cpus, &mut settings.cpus, |v| {
            v.as_ref().map_or("auto".to_owned(), ToString::to_string)
        });
        let probes = measure.list::<Kind>("probes").and_then(|found| distinct(measure, found));
        let names = |list: &Vec<Kind>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.take("measure.probes", probes, &mut settings.probes, names);
        self.take("measure.policy", measure.parsed("policy"), &mut settings.policy, ToString::to_string);
        let interval = within(measure, "interval", INTERVAL_MIN, INTERVAL_MAX);
        self.take("measure.interval", interval, &mut settings.interval, ToString::to_string);
        let spin = within(measure, "spin", SPIN_MIN, SPIN_MAX);
        self.take("measure.spin", spin, &mut settings.spin, ToString::to_string);
        let stall = within(measure, "stall", STALL_MIN, INTERVAL_MAX);
        self.take("measure.stall", stall, &mut settings.stall, ToString::to_string);
    }

    fn budgets(&mut self, top: &Section<'_>, settings: &mut Settings) {
        let sections = top.sections("budget");
        if sections.is_empty() {
            self.note_budgets(&settings.budgets, |_| Place::named("default"));
            return;
        }
        let mut read: Vec<(Budget, Place)> = Vec::new();
        if let Some(place) = sections.get(BUDGETS_MAX).and_then(Section::place) {
            top.mistake(place, format!("{} budgets; at most {BUDGETS_MAX} are watched", sections.len()));
        }
        for section in sections.into_iter().take(BUDGETS_MAX) {
            if let Some((budget, place)) = budget(&section) {
                if let Some((_, first)) = read.iter().find(|(other, _)| other.name == budget.name) {
                    section.mistake(
                        &place,
                        format!("budget {:?} was defined at {first} already", budget.name.as_str()),
                    );
                }
                read.push((budget, place));
            }
            section.finish();
        }
        settings.budgets = read.iter().map(|(budget, _)| budget.clone()).collect();
        for (budget, place) in &read {
            for problem in budget_problems(budget, settings) {
                top.mistake(place, problem);
            }
        }
        self.note_budgets(&settings.budgets, |index| read[index].1.clone());
    }

    fn note_budgets(&mut self, budgets: &[Budget], place: impl Fn(usize) -> Place) {
        for (index, budget) in budgets.iter().enumerate() {
            let value = format!("{} {budget}", budget.channel);
            self.explained.push(Explained {
                key: format!("budget.{}", budget.name),
                value,
                place: place(index),
            });
        }
    }
}

/// "auto", or a list with at least one CPU.
fn cpus(section: &Section<'_>, found: Located<String>) -> Option<Located<Option<CpuSet>>> {
    let Located { value, place } = found;
    let problem = match value.parse::<CpuSet>() {
        _ if value == "auto" => return Some(Located { value: None, place }),
        Ok(set) if set.is_empty() => "no CPU in it; use auto, or a list as in 2-3,7".to_owned(),
        Ok(set) => return Some(Located { value: Some(set), place }),
        Err(problem) => problem.to_string(),
    };
    section.mistake(&place, format!("measure.cpus: {problem}"));
    None
}

/// At least one probe, none twice.
fn distinct(section: &Section<'_>, found: Located<Vec<Located<Kind>>>) -> Option<Located<Vec<Kind>>> {
    let mut probes = Vec::new();
    let mut twice = false;
    for Located { value, place } in found.value {
        if probes.contains(&value) {
            section.mistake(&place, format!("measure.probes: {value} is listed twice"));
            twice = true;
        }
        probes.push(value);
    }
    if probes.is_empty() {
        section.mistake(&found.place, "measure.probes: no probe in it; leave the key out for the usual ones");
    }
    (!twice && !probes.is_empty()).then_some(Located { value: probes, place: found.place })
}

fn within(section: &Section<'_>, key: &str, min: Nanos, max: Nanos) -> Option<Located<Nanos>> {
    let found = section.parsed::<Nanos>(key)?;
    if !(min..=max).contains(&found.value) {
        section.mistake(&found.place, format!("measure.{key} = {} is outside {min} to {max}", found.value));
        return None;
    }
    Some(found)
}

/// Whether the probes can be run at this pace together, on whatever host: what a start would refuse is refused here.
fn pace(measure: &Section<'_>, settings: &Settings) {
    let any_cpu = CpuSet::from(CpuId(0));
    let Err(probes::Error::Spec(objections)) = sources::spec(settings, any_cpu, None).plan() else { return };
    let key = ["interval", "probes", "policy"].into_iter().find_map(|key| measure.value(key));
    let place = key.map_or_else(|| Place::named("measure"), |node| node.place.clone());
    for objection in objections {
        measure.mistake(&place, objection);
    }
}

/// One `[[budget]]`: name, channel and limit are needed, the rest has defaults.
fn budget(section: &Section<'_>) -> Option<(Budget, Place)> {
    let place = section.place().cloned().unwrap_or_else(|| Place::named("budget"));
    let name = section.parsed::<Name>("name");
    let channel = section.parsed::<Name>("channel");
    let limit = section.string("limit");
    let clear_after = section.parsed::<Nanos>("clear_after");
    let stale_after = section.parsed::<Nanos>("stale_after");
    for (key, present) in [
        ("name", section.value("name")),
        ("channel", section.value("channel")),
        ("limit", section.value("limit")),
    ] {
        if present.is_none() {
            section.mistake(
                &place,
                format!("budget without {key}, which it needs, as in limit = \"p99 <= 50us for 5s over 2s\""),
            );
        }
    }
    let limit = limit?;
    let mut budget = match Budget::parse(name?.value, channel?.value, &limit.value) {
        Ok(budget) => budget,
        Err(problem) => {
            section.mistake(&limit.place, format!("budget.limit: {problem}"));
            return None;
        }
    };
    budget.clear_after = clear_after.map_or(budget.clear_after, |found| found.value);
    budget.stale_after = stale_after.map_or(budget.stale_after, |found| found.value);
    Some((budget, limit.place))
}

/// Why `budget` cannot be judged by an agent with `settings`, each reason with the budget's name.
fn budget_problems(budget: &Budget, settings: &Settings) -> Vec<String> {
    let named = |problem: String| format!("budget {:?}: {problem}", budget.name.as_str());
    let running = || settings.probes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Ok(probe) = budget.channel.as_str().parse::<Kind>() else {
        return vec![named(format!(
            "no channel {:?}; channels are those of the probes: {}",
            budget.channel.as_str(),
            running()
        ))];
    };
    if !settings.probes.contains(&probe) {
        return vec![named(format!("its channel {probe} is not measured; running are {}", running()))];
    }
    let facts = sources::channel_facts(probe, settings, &Layout::default());
    let mut problems: Vec<String> =
        latency::infeasible(budget, &facts).into_iter().map(|reason| named(reason.to_string())).collect();
    let on_channel = settings.budgets.iter().filter(|other| other.channel == budget.channel).count();
    if on_channel > BUDGETS_PER_CHANNEL_MAX {
        problems.push(named(format!(
            "{on_channel} budgets on channel {probe}; at most {BUDGETS_PER_CHANNEL_MAX} are counted"
        )));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Mistakes> {
        let document = Document::parse("quell.toml", text)?;
        Settings::from_layers(&[document], Mistakes::default()).map(|(settings, _)| settings)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        match read(text) {
            Ok(_) => assert_eq!("accepted", expected),
            Err(mistakes) => assert_eq!(mistakes.to_string(), expected),
        }
    }

    #[test]
    fn nothing_said_is_the_default_and_the_shipped_file_says_it() {
        assert_eq!(read("").unwrap(), Settings::default());
        assert_eq!(read(include_str!("../../config/quell.toml")).unwrap(), Settings::default());
        assert!(Settings::default().infeasible().is_empty());
    }

    #[test]
    fn values_are_checked_where_they_stand() {
        check(
            "[measure]\ncpus = '2-'\n",
            "quell.toml:2: measure.cpus: \"2-\": \"\" is no CPU number; a CPU list reads like 0-3,7",
        );
        check(
            "[measure]\ncpus = ''\n",
            "quell.toml:2: measure.cpus: no CPU in it; use auto, or a list as in 2-3,7",
        );
        check(
            "[measure]\ninterval = '1us'\n",
            "quell.toml:2: measure.interval = 1.00 us is outside 50.0 us to 1.00 s",
        );
        check(
            "[measure]\ninterval = '500ms'\n[[budget]]\nname = 'a'\nchannel = 'syscall'\nlimit = 'p50 <= 1us'\n",
            "quell.toml:2: timer-wakeup: an interval of 500 ms does not fit its slot of 80.0 ms",
        );
        check(
            "[measure]\nintervall = '1ms'\n",
            "quell.toml:2: unknown key \"measure.intervall\"; did you mean \"interval\"?",
        );
        check(
            "[measure]\nprobes = ['syscall', 'syscall']\n[[budget]]\nname = 'a'\nchannel = 'syscall'\nlimit = 'p50 <= 1us'\n",
            "quell.toml:2: measure.probes: syscall is listed twice",
        );
        check(
            "[measure]\nprobes = []\n",
            "quell.toml:2: measure.probes: no probe in it; leave the key out for the usual ones",
        );
    }

    #[test]
    fn budgets_that_cannot_be_judged_are_refused() {
        let budget =
            |limit: &str| format!("[[budget]]\nname = 'a'\nchannel = 'timer-wakeup'\nlimit = '{limit}'\n");
        assert!(read(&budget("p99 <= 1us for 5s over 2s")).is_ok());
        let refused = read(&budget("p99.99 <= 1us")).unwrap_err().to_string();
        assert!(refused.starts_with("quell.toml:4: budget \"a\": p99.99 needs 100000 samples"), "{refused}");
        check(
            "[[budget]]\nname = 'a'\nchannel = 'b'\nlimit = 'p99 <= 1ms'\n",
            "quell.toml:4: budget \"a\": no channel \"b\"; channels are those of the probes: timer-wakeup, spin-gap, syscall",
        );
        check(
            "[[budget]]\nname = 'a'\nchannel = 'b'\n",
            "quell.toml:1: budget without limit, which it needs, as in limit = \"p99 <= 50us for 5s over 2s\"",
        );
    }
}
