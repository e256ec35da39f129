//! A profile: the values somebody wants, typed by the registry before anything else sees them.
//!
//! TOML with the schema `quell.profile/1`. A profile includes others, by the name of a shipped one or by a file relative
//! to itself; what stands later overrides single attributes of what was included. Every mistake of every file is
//! reported at once with `file:line`. CPUs that this machine does not have are found when planning, not here: the same
//! profile serves many machines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Document, Mistakes, Node, Place, Section};
use host::numa::NodeId;
use units::{CpuSet, Name};

use crate::assertions::{self, Assertion};
use crate::error::{Error, ProfileMistakes};
use crate::flow_rules::FlowRules;
use crate::group::GroupPath;
use crate::headroom::Floor;
use crate::interfaces::InterfaceChoice;
use crate::registry::{self, Attribute, Kind, Knob};
use crate::roles::{CpuChoice, Isolated};
use crate::sessions::{self, Session};

/// The schema this version reads.
pub const SCHEMA: &str = "quell.profile/1";

/// Profiles that come with quell, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("observe", include_str!("../profiles/observe.toml")),
    ("balanced", include_str!("../profiles/balanced.toml")),
    ("colo", include_str!("../profiles/colo.toml")),
    ("colo-rt", include_str!("../profiles/colo-rt.toml")),
    ("colo-net", include_str!("../profiles/colo-net.toml")),
    ("qualify", include_str!("../profiles/qualify.toml")),
];

/// The knob that isolates CPUs at run time.
const PARTITION: &str = "iso.cpuset2";

/// What is wrong with a partition of the CPUs that `isolated = "auto"` leaves over.
const CIRCLE: &str = "iso.cpuset2.cpus: a partition of what isolated = \"auto\" leaves over would change what that is; \
                      name the CPUs, or say \"isolated\"";

/// How deep profiles may include one another; deeper is a mistake of the files.
const INCLUDE_DEPTH_MAX: usize = 8;

/// Wanted knob values.
#[derive(Debug, Clone)]
pub struct Profile {
    /// As it was asked for.
    pub name: String,
    /// The files it was read from, included ones first.
    pub sources: Vec<String>,
    /// Which CPUs are kept for the application.
    pub isolated: Isolated,
    /// Where that stands, for messages.
    pub(crate) isolated_place: String,
    /// How much of each memory node nobody is given.
    pub(crate) floor: Floor,
    /// What it takes for granted of the machine.
    pub(crate) assertions: Vec<Assertion>,
    /// What is wanted of each knob, in the registry's order.
    pub(crate) wanted: Vec<Wanted>,
    /// When some of it is otherwise.
    pub(crate) sessions: Vec<Session>,
    /// What is wanted outside of all sessions, where `wanted` is what it comes to at one moment.
    pub(crate) base: Option<Vec<Wanted>>,
    /// The sessions that are on at that moment.
    pub(crate) on: Vec<String>,
}

/// What is wanted of one knob.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub knob: &'static Knob,
    pub settings: BTreeMap<&'static str, Setting>,
}

/// One attribute's value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub value: Value,
    pub place: String,
}

/// A typed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Word(String),
    Flag(bool),
    Cpus(CpuChoice),
    Nodes(Vec<(NodeId, u64)>),
    /// `None`: any latency.
    Latency(Option<u32>),
    Numbers(Vec<u64>),
    Interfaces(InterfaceChoice),
    Flows(FlowRules),
    Name(Name),
    Group(GroupPath),
}

impl Wanted {
    pub fn setting(&self, attribute: &str) -> Option<&Setting> {
        self.settings.get(attribute)
    }

    pub fn integer(&self, attribute: &str) -> Option<i64> {
        match self.setting(attribute)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The value as the kernel writes it, for attributes that are one number, word or flag.
    pub fn text(&self, attribute: &str) -> Option<String> {
        match &self.setting(attribute)?.value {
            Value::Integer(number) => Some(number.to_string()),
            Value::Word(word) => Some(word.clone()),
            Value::Flag(flag) => Some(u8::from(*flag).to_string()),
            Value::Name(name) => Some(name.to_string()),
            Value::Group(group) => Some(group.to_string()),
            Value::Numbers(numbers) => Some(words(numbers)),
            Value::Cpus(_) | Value::Nodes(_) | Value::Latency(_) | Value::Interfaces(_) | Value::Flows(_) => {
                None
            }
        }
    }
}

impl Wanted {
    /// As one line of a profile.
    pub fn to_toml(&self) -> String {
        let setting = |(name, setting): (&&str, &Setting)| format!("{name:?} = {}", setting.value.to_toml());
        let settings: Vec<String> = self.settings.iter().map(setting).collect();
        format!("{:?} = {{ {} }}", self.knob.id, settings.join(", "))
    }
}

impl Value {
    /// As a profile writes it.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Word(word) => format!("{word:?}"),
            Self::Flag(flag) => flag.to_string(),
            Self::Cpus(choice) => format!("\"{choice}\""),
            Self::Nodes(counts) => {
                let count = |(node, count): &(NodeId, u64)| format!("{node} = {count}");
                format!("{{ {} }}", counts.iter().map(count).collect::<Vec<_>>().join(", "))
            }
            Self::Latency(None) => "\"any\"".to_owned(),
            Self::Latency(Some(micros)) => micros.to_string(),
            Self::Name(name) => format!("\"{name}\""),
            Self::Group(path) => format!("\"{path}\""),
            Self::Interfaces(choice) => format!("\"{choice}\""),
            Self::Flows(rules) => format!("\"{rules}\""),
            Self::Numbers(numbers) => format!("\"{}\"", words(numbers)),
        }
    }

    pub fn as_cpus(&self) -> Option<&CpuChoice> {
        if let Self::Cpus(choice) = self { Some(choice) } else { None }
    }
}

impl Profile {
    /// Reads the shipped profile `which`, or the file at that path when it holds a `/` or ends in `.toml`.
    ///
    /// # Errors
    /// [`Error::Profile`] with every mistake of every file.
    pub fn load(which: &str) -> Result<Self, Error> {
        let mistakes = Mistakes::default();
        let mut loader = Loader { documents: Vec::new(), loaded: Vec::new(), stack: Vec::new(), mistakes };
        loader.load(which, None, &Place::named("--profile"));
        loader.finish(which)
    }

    /// Reads a profile from text, as if it stood in the file `name`.
    ///
    /// # Errors
    /// [`Error::Profile`] with every mistake.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let mistakes = Mistakes::default();
        let mut loader = Loader { documents: Vec::new(), loaded: Vec::new(), stack: Vec::new(), mistakes };
        match Document::parse(name, text) {
            Ok(document) => loader.add(&Source::File(PathBuf::from(name)), document),
            Err(found) => loader.take_over(&found),
        }
        loader.finish(name)
    }

    /// The profile as one text, its includes resolved: parsed again it wants the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut lines = vec![format!("schema = {SCHEMA:?}"), "[cpus]".to_owned()];
        lines.push(format!("isolated = \"{}\"", self.isolated));
        if self.floor != Floor::default() {
            lines.push(format!("[guard]\nmemory_left_percent = {}", self.floor.percent));
        }
        if !self.assertions.is_empty() {
            lines.push("[assert]".to_owned());
            lines.extend(self.assertions.iter().map(|assertion| assertion.what.to_string()));
        }
        lines.push("[knobs]".to_owned());
        lines.extend(self.base.as_ref().unwrap_or(&self.wanted).iter().map(Wanted::to_toml));
        lines.extend(self.sessions.iter().flat_map(Session::to_toml));
        lines.join("\n") + "\n"
    }

    /// Whether it wants something of this knob.
    #[must_use]
    pub fn wants(&self, knob: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.knob.id == knob)
    }

    /// What of it concerns one knob, at the moment it was asked about. What it asserts of the machine stays: its values were
    /// chosen for machines that are so, and a trial of one of them on another tells nothing.
    #[must_use]
    pub fn only(&self, knob: &str) -> Self {
        let wanted = self.wanted.iter().filter(|wanted| wanted.knob.id == knob).cloned().collect();
        Self { wanted, sessions: Vec::new(), base: None, on: Vec::new(), ..self.clone() }
    }

    /// Where it wants this of the knob, for messages.
    pub(crate) fn place(&self, knob: &str, attribute: &str) -> String {
        self.setting(knob, attribute).map_or_else(String::new, |setting| setting.place.clone())
    }

    /// What it wants of one attribute.
    pub(crate) fn setting(&self, knob: &str, attribute: &str) -> Option<&Setting> {
        self.wanted.iter().find(|wanted| wanted.knob.id == knob)?.setting(attribute)
    }

    /// The CPUs that it names for a partition of its own to isolate.
    pub(crate) fn own_partition(&self) -> Option<&CpuSet> {
        match self.isolating()?.value.as_cpus()? {
            CpuChoice::List(cpus) => Some(cpus),
            CpuChoice::Housekeeping | CpuChoice::Isolated | CpuChoice::All => None,
        }
    }

    /// What it says of the CPUs that a partition of its own is to isolate.
    fn isolating(&self) -> Option<&Setting> {
        let isolated = Value::Word("isolated".to_owned());
        self.setting(PARTITION, "partition").filter(|setting| setting.value == isolated)?;
        self.setting(PARTITION, "cpus")
    }

    /// Where it isolates what it takes for the CPUs of everybody else, which would be other CPUs from then on.
    fn circle(&self) -> Option<&Setting> {
        let is_rest = |setting: &&Setting| {
            matches!(setting.value.as_cpus(), Some(CpuChoice::Housekeeping | CpuChoice::All))
        };
        self.isolating().filter(|_| self.isolated == Isolated::Auto).filter(is_rest)
    }

    /// The knobs it wants something of.
    pub fn knobs(&self) -> impl Iterator<Item = &'static Knob> + '_ {
        self.wanted.iter().map(|wanted| wanted.knob)
    }
}

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Shipped(&'static str, &'static str),
    File(PathBuf),
}

impl Source {
    /// `which` as named in `from`, or on the command line.
    fn find(which: &str, from: Option<&Self>) -> Result<Self, String> {
        if which.contains('/') || Path::new(which).extension().is_some_and(|end| end == "toml") {
            let beside = match from {
                Some(Self::File(file)) => file.parent().unwrap_or(Path::new("")).join(which),
                _ => PathBuf::from(which),
            };
            // One file, however it is spelled, so that a circle of includes is recognised.
            return Ok(Self::File(beside.canonicalize().unwrap_or(beside)));
        }
        let shipped = SHIPPED.iter().find(|(name, _)| *name == which);
        shipped.map(|(name, text)| Self::Shipped(name, text)).ok_or_else(|| {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            let hint = match units::nearest(which, names.iter().copied()) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("shipped are {}; a file is named with a / or .toml", names.join(", ")),
            };
            format!("there is no profile {which:?}; {hint}")
        })
    }

    fn read(&self) -> Result<Document, Mistakes> {
        match self {
            Self::Shipped(name, text) => Document::parse(&format!("{name} (shipped)"), text),
            Self::File(path) => Document::read(path),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Shipped(name, _) => format!("{name} (shipped)"),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Collects a profile's documents, included ones first.
struct Loader {
    documents: Vec<Document>,
    loaded: Vec<Source>,
    /// The files being read, from the outermost to this one.
    stack: Vec<Source>,
    mistakes: Mistakes,
}

impl Loader {
    fn load(&mut self, which: &str, from: Option<&Source>, place: &Place) {
        match Source::find(which, from) {
            Err(problem) => self.mistakes.add(place, problem),
            Ok(source) if self.stack.contains(&source) => {
                self.mistakes.add(place, format!("include {which:?}: it includes this file in turn"));
            }
            Ok(_) if self.stack.len() == INCLUDE_DEPTH_MAX => {
                self.mistakes.add(place, format!("includes are nested deeper than {INCLUDE_DEPTH_MAX}"));
            }
            Ok(source) if self.loaded.contains(&source) => {} // reached a second way; its first place counts
            Ok(source) => match source.read() {
                Ok(document) => self.add(&source, document),
                Err(found) => self.take_over(&found),
            },
        }
    }

    fn add(&mut self, source: &Source, document: Document) {
        self.loaded.push(source.clone());
        self.stack.push(source.clone());
        for (which, place) in self.includes(&document) {
            self.load(&which, Some(source), &place);
        }
        self.stack.pop();
        self.documents.push(document);
    }

    fn take_over(&self, found: &Mistakes) {
        for mistake in found.list() {
            self.mistakes.add(&mistake.place, mistake.problem);
        }
    }

    /// What the document includes; its schema is checked on the way, because each file states its own.
    fn includes(&self, document: &Document) -> Vec<(String, Place)> {
        let top = Section::top(std::slice::from_ref(document), &self.mistakes);
        match top.string("schema") {
            Some(schema) if schema.value == SCHEMA => {}
            Some(schema) => {
                let problem = format!("schema {:?}: this version of quell reads {SCHEMA:?}", schema.value);
                self.mistakes.add(&schema.place, problem);
            }
            None if top.value("schema").is_some() => {} // told already: not a string
            None => {
                let place = top.place().cloned().unwrap_or_else(|| Place::named("profile"));
                self.mistakes.add(&place, format!("schema = {SCHEMA:?} is missing"));
            }
        }
        let list = top.list::<String>("include");
        list.map_or_else(Vec::new, |list| {
            list.value.into_iter().map(|item| (item.value, item.place)).collect()
        })
    }

    fn finish(self, name: &str) -> Result<Profile, Error> {
        let mistakes = self.mistakes.clone();
        let top = Section::top(&self.documents, &mistakes);
        // These are read file by file; asking again only says that they are known here.
        let _ = (top.value("schema"), top.value("include"), top.value("drop"));
        let cpus = top.section("cpus");
        let isolated = cpus.parsed::<Isolated>("isolated");
        cpus.finish();
        let guard = top.section("guard");
        let percent = guard.integer("memory_left_percent", 1..=90);
        let floor = percent.and_then(|found| u8::try_from(found.value).ok()).map(|percent| Floor { percent });
        guard.finish();
        let assert = top.section("assert");
        let assertions = assertions::read(&assert);
        assert.finish();
        let dropped = self.dropped();
        let knobs = top.section("knobs");
        let wanted: Vec<Wanted> =
            registry::all().iter().filter_map(|knob| self.wanted(knob, &knobs, &dropped)).collect();
        knobs.finish();
        let sessions = sessions::read(&top, &wanted);
        top.finish();
        let profile = Profile {
            name: name.to_owned(),
            sources: self.loaded.iter().map(Source::name).collect(),
            isolated_place: isolated.as_ref().map_or_else(|| "default".to_owned(), |at| at.place.to_string()),
            isolated: isolated.map_or(Isolated::Auto, |found| found.value),
            floor: floor.unwrap_or_default(),
            assertions,
            wanted,
            sessions,
            base: None,
            on: Vec::new(),
        };
        let circle = profile.circle().map(|setting| format!("{}: {CIRCLE}", setting.place));
        if mistakes.is_empty() && circle.is_none() {
            return Ok(profile);
        }
        let mut lines: Vec<String> = mistakes.list().iter().map(ToString::to_string).chain(circle).collect();
        lines.dedup(); // a broken value of a table shared by several sections is told by each
        Err(Error::Profile(ProfileMistakes(lines)))
    }

    /// The knobs that files drop, each with the number of the last file that does: what stands in files before it is gone.
    fn dropped(&self) -> BTreeMap<&'static str, usize> {
        let mut dropped = BTreeMap::new();
        for (index, document) in self.documents.iter().enumerate() {
            let top = Section::top(std::slice::from_ref(document), &self.mistakes);
            let list = top.list::<String>("drop").map_or_else(Vec::new, |list| list.value);
            for item in list {
                match registry::find(&item.value) {
                    Some(knob) if self.is_set_before(knob, index) => drop(dropped.insert(knob.id, index)),
                    Some(knob) => {
                        let problem = format!("drop: no file that is included wants {}", knob.id);
                        self.mistakes.add(&item.place, problem);
                    }
                    None => {
                        let known = registry::all().iter().map(|knob| knob.id);
                        let hint = units::nearest(&item.value, known)
                            .map_or("see `quell tune explain`".to_owned(), |near| {
                                format!("did you mean {near:?}?")
                            });
                        self.mistakes
                            .add(&item.place, format!("drop: there is no knob {:?}; {hint}", item.value));
                    }
                }
            }
        }
        dropped
    }

    fn is_set_before(&self, knob: &Knob, index: usize) -> bool {
        let top = Section::top(&self.documents[..index], &Mistakes::default());
        top.section("knobs").section(knob.id).place().is_some()
    }

    fn wanted(
        &self,
        knob: &'static Knob,
        knobs: &Section<'_>,
        dropped: &BTreeMap<&'static str, usize>,
    ) -> Option<Wanted> {
        let section = knobs.section(knob.id);
        let section = match dropped.get(knob.id) {
            Some(first) => {
                Section::top(&self.documents[*first..], &self.mistakes).section("knobs").section(knob.id)
            }
            None => section,
        };
        section.place()?;
        let mut settings = BTreeMap::new();
        for attribute in knob.attributes {
            if let Some((value, place)) = setting(&section, attribute) {
                settings.insert(attribute.name, (value, place));
            }
        }
        section.finish();
        self.drop_overridden(knob, &mut settings);
        let settings = settings
            .into_iter()
            .map(|(name, (value, place))| (name, Setting { value, place: place.to_string() }))
            .collect();
        Some(Wanted { knob, settings })
    }

    /// Of two attributes that exclude each other the later file's holds; in one file they are a mistake.
    fn drop_overridden(&self, knob: &Knob, settings: &mut BTreeMap<&'static str, (Value, Place)>) {
        for attribute in knob.attributes {
            let Some(other) = attribute.excludes else { continue };
            let (Some((_, mine)), Some((_, theirs))) = (settings.get(attribute.name), settings.get(other))
            else {
                continue;
            };
            let rank = |place: &Place| self.documents.iter().position(|document| is_in(document, place));
            match rank(mine).cmp(&rank(theirs)) {
                std::cmp::Ordering::Less => drop(settings.remove(attribute.name)),
                std::cmp::Ordering::Greater => drop(settings.remove(other)),
                std::cmp::Ordering::Equal => {
                    let problem = format!(
                        "knobs.{}: {} and {other} are two ways to say one thing; keep one of them",
                        knob.id, attribute.name
                    );
                    self.mistakes.add(mine, problem);
                    settings.remove(other); // told once
                }
            }
        }
    }
}

/// Whether `place` is in this document.
fn is_in(document: &Document, place: &Place) -> bool {
    let top = Section::top(std::slice::from_ref(document), &Mistakes::default());
    top.place().is_some_and(|start| start.file == place.file)
}

/// One attribute, typed.
pub(crate) fn setting(section: &Section<'_>, attribute: &Attribute) -> Option<(Value, Place)> {
    let name = attribute.name;
    match attribute.kind {
        Kind::Integer { min, max } => {
            section.integer(name, min..=max).map(|found| (Value::Integer(found.value), found.place))
        }
        Kind::Choice(words) => choice(section, name, words),
        Kind::Flag => section.boolean(name).map(|found| (Value::Flag(found.value), found.place)),
        Kind::Cpus => section.parsed(name).map(|found| (Value::Cpus(found.value), found.place)),
        Kind::Group => section.parsed(name).map(|found| (Value::Group(found.value), found.place)),
        Kind::Name => section.parsed(name).map(|found| (Value::Name(found.value), found.place)),
        Kind::Interfaces => section.parsed(name).map(|found| (Value::Interfaces(found.value), found.place)),
        Kind::Flows => section.parsed(name).map(|found| (Value::Flows(found.value), found.place)),
        Kind::Numbers(count) => numbers(section, name, count),
        Kind::Nodes { max } => nodes(section, name, max),
        Kind::Latency => latency(section, name),
        Kind::Line => None,
    }
}

fn choice(section: &Section<'_>, name: &str, words: &[&str]) -> Option<(Value, Place)> {
    let found = section.string(name)?;
    if words.contains(&found.value.as_str()) {
        return Some((Value::Word(found.value), found.place));
    }
    let hint = match units::nearest(&found.value, words.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("it is one of {}", words.join(", ")),
    };
    section.mistake(&found.place, format!("{name} = {:?}: no such choice; {hint}", found.value));
    None
}

/// Numbers as the kernel shows several of them.
fn words(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn numbers(section: &Section<'_>, name: &str, count: usize) -> Option<(Value, Place)> {
    let found = section.string(name)?;
    let numbers: Result<Vec<u64>, _> = found.value.split_ascii_whitespace().map(str::parse).collect();
    match numbers {
        Ok(numbers) if numbers.len() == count => Some((Value::Numbers(numbers), found.place)),
        _ => {
            section.mistake(&found.place, format!("{name} = {:?}: expected {count} numbers", found.value));
            None
        }
    }
}

fn nodes(section: &Section<'_>, name: &str, max: i64) -> Option<(Value, Place)> {
    let table = section.section(name);
    let place = table.place()?.clone();
    let mut counts = Vec::new();
    for (key, at) in table.rest() {
        let count = table.integer(key, 0..=max);
        match key.parse::<NodeId>() {
            Ok(node) => counts.extend(count.and_then(|c| Some((node, u64::try_from(c.value).ok()?)))),
            Err(problem) => section.mistake(at, format!("{name}.{key}: {problem}")),
        }
    }
    table.finish();
    Some((Value::Nodes(counts), place))
}

fn latency(section: &Section<'_>, name: &str) -> Option<(Value, Place)> {
    let Node { value, place } = section.value(name)?;
    let micros = match value {
        config::Value::String(text) if text == "any" => None,
        config::Value::Integer(number) => match u32::try_from(*number) {
            Ok(micros) if i32::try_from(micros).is_ok() => Some(micros),
            _ => {
                section.mistake(place, format!("{name} = {number} is outside 0 to {} us", i32::MAX));
                return None;
            }
        },
        other => {
            let kind = other.kind();
            section.mistake(place, format!("{name} must be microseconds or \"any\", not {kind}"));
            return None;
        }
    };
    Some((Value::Latency(micros), place.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(profile: &Profile) -> Vec<(&str, Vec<(&str, Value)>)> {
        let settings = |wanted: &Wanted| {
            wanted.settings.iter().map(|(name, setting)| (*name, setting.value.clone())).collect()
        };
        profile.wanted.iter().map(|wanted| (wanted.knob.id, settings(wanted))).collect()
    }

    #[test]
    fn one_text_says_what_the_files_said() {
        let every_kind = r#"
            schema = "quell.profile/1"
            [cpus]
            isolated = "1"
            [knobs]
            "mem.swap" = { swappiness = 1 }
            "net.coal" = { interfaces = "eth1, eth0", rx_usecs = 0 }
            "net.buf" = { tcp_rmem = "4096  131072 6291456" }
            "mem.thp" = { enabled = "never" }
            "mem.huge" = { "2M" = { node0 = 3 } }
            "iso.timermig" = { enabled = false }
            "irq.aff" = { cpus = "housekeeping" }
            "cpu.qos" = { cpus = "1", latency_us = "any" }
            "iso.cpuset1" = { group = "trading", cpus = "1" }"#;
        let shipped = SHIPPED.iter().map(|(name, _)| Profile::load(name).unwrap());
        for profile in shipped.chain([Profile::parse("p.toml", every_kind).unwrap()]) {
            let text = profile.to_toml();
            let again = Profile::parse(&profile.name, &text).unwrap();
            assert_eq!((values(&again), &again.isolated), (values(&profile), &profile.isolated), "{text}");
            assert_eq!(again.to_toml(), text);
        }
    }

    /// What a profile in two files comes to: the file `base.toml`, and one that includes it.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn check(base: &str, own: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let schema = "schema = \"quell.profile/1\"\n";
        let own = format!("{schema}include = [\"./base.toml\"]\n{own}");
        std::fs::write(dir.path().join("base.toml"), format!("{schema}{base}")).unwrap();
        std::fs::write(dir.path().join("own.toml"), own).unwrap();
        let told = match Profile::load(dir.path().join("own.toml").to_str().unwrap()) {
            Ok(profile) => profile.to_toml().lines().skip(3).map(|line| format!("{line}\n")).collect(),
            Err(error) => {
                error.to_string().replace(&format!("{}/", dir.path().canonicalize().unwrap().display()), "")
            }
        };
        assert_eq!(told.trim_end(), expected);
    }

    #[test]
    fn what_was_included_is_overridden_by_attribute_or_dropped_by_knob() {
        let base =
            "[knobs]\n'mem.swap' = { swappiness = 10 }\n'mem.dirty' = { ratio = 10, background_ratio = 3 }";
        let swap = "[knobs]\n\"mem.swap\" = { \"swappiness\" = 10 }";
        let dirty = "\"mem.dirty\" = { \"background_ratio\" = 3, \"ratio\" = 10 }";
        check(base, "", &format!("{swap}\n{dirty}"));
        check(base, "drop = ['mem.dirty']", swap);
        check(base, "drop = ['mem.dirty', 'mem.swap']", "[knobs]");
        // A file's own wish stands: it starts from nothing, not from what was included.
        let anew = "drop = ['mem.dirty']\n[knobs]\n'mem.dirty' = { ratio = 20 }";
        check(base, anew, &format!("{swap}\n\"mem.dirty\" = {{ \"ratio\" = 20 }}"));
        let over = "[knobs]\n'mem.dirty' = { ratio = 20 }";
        check(base, over, &format!("{swap}\n\"mem.dirty\" = {{ \"background_ratio\" = 3, \"ratio\" = 20 }}"));
        check(base, "drop = ['mem.thp']", "own.toml:3: drop: no file that is included wants mem.thp");
        check(
            base,
            "drop = ['mem.swp']",
            "own.toml:3: drop: there is no knob \"mem.swp\"; did you mean \"mem.swap\"?",
        );
        check(base, "drop = 'mem.swap'", "own.toml:3: drop must be an array of strings, not a string");
    }

    #[test]
    fn a_partition_of_the_cpus_that_are_left_over_is_a_circle() {
        let partition = |cpus: &str, kind: &str| {
            format!("[knobs]\n'iso.cpuset2' = {{ cpus = '{cpus}', partition = '{kind}' }}")
        };
        let is_accepted = |cpus: &str, kind: &str| {
            let expected =
                format!("[knobs]\n\"iso.cpuset2\" = {{ \"cpus\" = \"{cpus}\", \"partition\" = \"{kind}\" }}");
            check("", &partition(cpus, kind), &expected);
        };
        is_accepted("2-3", "isolated");
        is_accepted("isolated", "isolated");
        is_accepted("housekeeping", "root"); // isolates nothing
        check("", &partition("housekeeping", "isolated"), &format!("own.toml:4: {CIRCLE}"));
        let named = "[cpus]\nisolated = '1'\n";
        let stands = Profile::parse(
            "p",
            &format!("schema = '{SCHEMA}'\n{named}{}", partition("housekeeping", "isolated")),
        );
        assert!(stands.is_ok(), "who names the CPUs means the same ones before and after");
    }

    #[test]
    fn how_much_memory_stays_is_the_profiles_to_say() {
        let said = "[guard]\nmemory_left_percent = 25";
        check(said, "", "[guard]\nmemory_left_percent = 25\n[knobs]");
        check(said, "[guard]\nmemory_left_percent = 10", "[knobs]"); // as without a word
        check(
            said,
            "[guard]\nmemory_left_percent = 0",
            "own.toml:4: guard.memory_left_percent = 0 is outside 1 to 90",
        );
    }
}
