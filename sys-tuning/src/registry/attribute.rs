//! One value of a knob: its type, where it stands, and where its effect is seen.
//!
//! An attribute that has a home needs no code: its wish, its cell and its effect follow from the declaration
//! ([`crate::declared`]). One without is the business of its knob.

use std::borrow::Cow;
use std::fmt;

use host::Root;
use units::CpuSet;

use super::{Absence, pattern};

/// One value of a knob.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// As profiles name it.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What it means, with its unit.
    pub doc: &'static str,
    /// The attribute that means the same in another way: the later one of the two holds.
    pub excludes: Option<&'static str>,
    /// Where it stands.
    pub home: Home,
    /// How it looks there.
    pub shape: Shape,
    /// Where it is seen that it took effect.
    pub sign: Sign,
    /// What it means that the kernel does not have it, where that is not what it means of the knob.
    pub absence: Option<Absence>,
}

impl Attribute {
    /// An attribute that its knob's own `wish` and `locate` take care of.
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self::at(name, kind, doc, Home::Knob)
    }

    /// An attribute that stands in files of the kernel or on its command line.
    pub(crate) const fn at(name: &'static str, kind: Kind, doc: &'static str, home: Home) -> Self {
        Self { name, kind, doc, excludes: None, home, shape: Shape::Plain, sign: Sign::Itself, absence: None }
    }

    pub(crate) const fn excluding(self, other: &'static str) -> Self {
        Self { excludes: Some(other), ..self }
    }

    pub(crate) const fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    pub(crate) const fn seen(self, sign: Sign) -> Self {
        Self { sign, ..self }
    }

    pub(crate) const fn absent(self, absence: Absence) -> Self {
        Self { absence: Some(absence), ..self }
    }

    /// The parameter of the kernel's command line that it is.
    pub(crate) fn parameter(&self) -> Option<&'static str> {
        match self.home {
            Home::Argument(parameter) | Home::Switch(parameter) => Some(parameter),
            _ => None,
        }
    }

    /// Whether the kernel's command line may have this behind the parameter's `=`; `None`: a bare word.
    pub(crate) fn takes(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| number.to_string() == text);
        match (self.home, self.kind, value) {
            (Home::Switch(_), _, value) => value.is_none(),
            (Home::Argument(_), Kind::Flag, Some(value)) => value == "0" || value == "1",
            (Home::Argument(_), Kind::Integer { min, max }, Some(value)) => {
                number(value).is_some_and(|number| (min..=max).contains(&number))
            }
            (Home::Argument(_), Kind::Choice(words), Some(value)) => words.contains(&value),
            (Home::Argument(_), Kind::Cpus, Some(value)) => {
                value.parse::<CpuSet>().is_ok_and(|cpus| !cpus.is_empty() && cpus.to_string() == value)
            }
            _ => false,
        }
    }
}

/// An attribute is itself: two that look alike stand in different rows.
impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Attribute {}

/// Where an attribute stands.
#[derive(Debug, Clone, Copy)]
pub enum Home {
    /// Its knob finds it.
    Knob,
    /// A variable of sysctl(8), by its dotted name.
    Sysctl(&'static str),
    /// A file, by its whole path.
    File(&'static str),
    /// Every file of this pattern: `/sys/devices/system/cpu/cpu{cpu}/online`. What stands in the braces' place is the
    /// identity, by the whole component ("cpu3"); digits where the component has a beginning, else any plain name.
    Each(&'static str),
    /// On which CPUs the knob's [`Home::Each`] attributes are set: the files whose identity begins with one of them.
    Chooser,
    /// A parameter of the kernel's command line with a value: `skew_tick` is `skew_tick=1`.
    Argument(&'static str),
    /// A parameter of the kernel's command line that is there or not.
    Switch(&'static str),
    /// Nowhere: set by hand in the firmware's set-up, and inferred from what the kernel shows.
    Firmware(Infer),
    /// Not quell's to write: it belongs to a service or a process, and the kernel shows what came of it.
    Elsewhere(&'static Elsewhere),
}

/// What somebody else holds.
#[derive(Debug)]
pub struct Elsewhere {
    /// What the kernel shows.
    pub infer: Infer,
    /// Whether that is as good as what is wanted.
    pub suits: fn(shown: &str, wanted: &str) -> bool,
    /// Whose it is, and what to do about it.
    pub remedy: &'static str,
}

/// Reads what a firmware's setting must be; `None` where nothing shows it.
pub type Infer = fn(&Root) -> Option<String>;

impl Home {
    /// The file, or the pattern of files.
    pub(crate) fn file(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Sysctl(name) => Some(Cow::Owned(format!("/proc/sys/{}", name.replace('.', "/")))),
            Self::File(path) | Self::Each(path) => Some(Cow::Borrowed(path)),
            Self::Knob
            | Self::Chooser
            | Self::Argument(_)
            | Self::Switch(_)
            | Self::Firmware(_)
            | Self::Elsewhere(_) => None,
        }
    }

    /// What is read of it, where it is only reported.
    pub(crate) fn infer(self) -> Option<Infer> {
        match self {
            Self::Firmware(infer) => Some(infer),
            Self::Elsewhere(other) => Some(other.infer),
            _ => None,
        }
    }

    /// Whether what is reported is as good as what is wanted.
    pub(crate) fn suits(self, shown: &str, wanted: &str) -> bool {
        match self {
            Self::Elsewhere(other) => (other.suits)(shown, wanted),
            _ => shown == wanted,
        }
    }

    /// What to do about a value that is only reported.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Elsewhere(other) => other.remedy,
            _ => "it is set by hand in the firmware's set-up",
        }
    }

    /// The file of one identity.
    pub(crate) fn path(self, identity: &str) -> Option<String> {
        match self {
            Self::Each(files) => pattern::path(files, identity),
            _ => self.file().filter(|_| identity.is_empty()).map(Cow::into_owned),
        }
    }
}

/// How the kernel shows and takes an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number, one word, CPUs as a list; true and false as 1 and 0.
    Plain,
    /// All words with the current one in brackets; takes the bare word.
    Bracketed,
    /// `Y` and `N`, as modules show their flags.
    YesNo,
    /// CPUs as a hexadecimal mask.
    Mask,
}

/// Where it is seen that a value took effect.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// The file it is written to is the variable that the kernel acts on.
    Itself,
    /// This other file has the value too (the bracketed word, where it shows words); braces as in its home.
    Shown(&'static str),
    /// For some values other files say what came of them.
    Means(&'static [Meaning]),
    /// Counters of the kernel that do not grow while it holds.
    Flat(&'static Flat),
    /// All of these.
    All(&'static [Sign]),
    /// This list of CPUs of the kernel's has none of the wanted ones.
    Lacks(&'static str),
    /// What a function makes of several files: what the kernel shows, and whether that is the value.
    Told(fn(&Root, value: &str) -> Option<(String, bool)>),
}

/// What one value comes to elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    /// The value, as the kernel takes it; empty for a bare word.
    pub of: &'static str,
    /// The file.
    pub path: &'static str,
    /// What stands there; `None`: it is not there.
    pub shows: Option<&'static str>,
}

/// Counters that stay as they are: of `/proc/vmstat` by name, a file with one number by its path.
#[derive(Debug)]
pub struct Flat {
    /// For these values.
    pub of: &'static [&'static str],
    /// Counters that nothing else moves.
    pub counters: &'static [&'static str],
    /// While one of these moves, the others say nothing: something else than the knob moves them too.
    pub unless: &'static [&'static str],
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// The least allowed.
        min: i64,
        /// The most allowed.
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A cpulist, or `housekeeping`, `isolated`, `all`.
    Cpus,
    /// A table of a number a memory node: `{ node0 = 512 }`.
    Nodes {
        /// The most allowed on one node.
        max: i64,
    },
    /// Microseconds, or `any`.
    Latency,
    /// A checked name.
    Name,
    /// So many numbers, as in "4096 131072 6291456".
    Numbers(usize),
    /// Flows, each with the queue it goes to.
    Flows,
    /// Names of network interfaces, or `devices`.
    Interfaces,
    /// The path of a control group.
    Group,
    /// A line that other knobs compose: no profile can give it.
    Line,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "integer, {min} to {max}"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Flag => f.write_str("true or false"),
            Self::Cpus => f.write_str("CPUs: a list as in 2-3, or housekeeping, isolated, all"),
            Self::Nodes { max } => write!(f, "a number a memory node, 0 to {max}, as in {{ node0 = 512 }}"),
            Self::Latency => f.write_str("microseconds, or \"any\""),
            Self::Name => f.write_str("a name of a-z 0-9 . _ -"),
            Self::Numbers(count) => {
                let example: Vec<String> = (1..=*count).map(|place| (4096 * place).to_string()).collect();
                write!(f, "{count} numbers, as in \"{}\"", example.join(" "))
            }
            Self::Flows => {
                f.write_str("flows, each to a queue, as in \"udp4 to 239.1.1.1:14310 queue 3; tcp4 from 10.0.0.1 queue 2\"")
            }
            Self::Interfaces => f.write_str("network interfaces: devices, or names as in eth0,eth1"),
            Self::Group => f.write_str("a control group, as in trading.slice"),
            Self::Line => f.write_str("composed of other knobs' arguments"),
        }
    }
}
