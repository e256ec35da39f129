//! One thing in the kernel that a knob sets: where it stands, what its text means, and what to write to get another value.
//!
//! A cell speaks two languages. Outside, its value is one *canonical* text ("madvise", "0-1", "ratio 20") that plans,
//! journals and results carry and that can be compared. Inside, it is what the kernel shows and takes, which are often
//! not the same (`always [madvise] never` is taken back as `madvise`; a pair of files is one value, because writing one
//! zeroes the other). Text to write is rendered from a parsed value, never passed through, so a damaged or forged record
//! cannot make the engine write anything but a well-formed value of the right kind. Cells are made by the registry alone.

use host::ethtool::{self, Address, Aspect, Settings, Value};
use host::hugepages::{self, PageSize};
use host::numa::NodeId;
use host::steering::{self, Flow, Spread};
use host::tasks::Pid;
use host::threads::Policy;
use host::{Error, Root, affinity, resctrl, scheduling, swaps};
use units::{CpuId, CpuSet};

use crate::boot::{self, Line};
use crate::fence::Fence;
use crate::headroom::Floor;
use crate::knobs::network::flow;
use crate::registry::Attribute;

/// One thing to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The file or directory; for a pair, the member that is called by a ratio.
    pub path: String,
    /// What its text means.
    pub form: Form,
    /// How it is seen whether a value took effect.
    pub effect: Effect,
    /// The directory that brings the file into being, when that is one the engine makes itself.
    pub lives_in: Option<String>,
}

/// What a cell's text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// A signed decimal number.
    Number,
    /// Several numbers: one blank between them where they are compared, whatever the kernel puts there.
    Numbers,
    /// A list of words with the current one in brackets; takes the bare word.
    Choice,
    /// One word.
    Word,
    /// CPUs as a list.
    CpuList,
    /// CPUs as a hexadecimal mask; the canonical text is a list.
    CpuMask {
        /// CPUs beyond these do not count in a comparison: the kernel shows masks with CPUs that are off line.
        online: Box<CpuSet>,
        /// Where the requested value is shown, when the file itself shows what came of it.
        requested: Option<String>,
    },
    /// Two files of which the kernel zeroes one when the other is written: "ratio 20" or "bytes 8192".
    Pair {
        /// The member that is called by a number of bytes.
        bytes: String,
    },
    /// Huge pages of one node.
    Pages {
        /// Which.
        node: NodeId,
        /// Of what size.
        size: PageSize,
        /// What the node keeps.
        floor: Floor,
    },
    /// The table that spreads received packets over an interface's queues.
    Spread {
        /// Of which interface.
        address: Address,
    },
    /// The queue that a flow is steered to by a rule of its own: "queue 3", or "none".
    FlowRule {
        /// On which interface.
        address: Address,
        /// Which flow.
        flow: Flow,
    },
    /// An area to swap to: "off", or "on" and how it is in use. Switched by a system call; shown in a list.
    SwapArea {
        /// The device or file.
        area: String,
        /// What each memory node keeps when what is swapped out comes back.
        floor: Floor,
    },
    /// A word in a list of words: "on" when it is there. Taken as "+word" or "-word".
    Switch(&'static str),
    /// A directory: "present" or "absent".
    Directory,
    /// The state of a cgroup v2 partition: a word, and ` invalid (reason)` behind it when the kernel could not do it.
    Partition,
    /// The CPUs one thread may use. Set by a system call; shown in a file.
    Affinity {
        /// Its number.
        tid: Pid,
        /// When it started: whoever has its number later is somebody else.
        start_ticks: u64,
        /// CPUs beyond these do not count in a comparison: a call does not set them.
        online: Box<CpuSet>,
        /// Whether it is one of the kernel's own, whose CPUs the kernel sets anew when partitions come and go.
        is_kernel: bool,
    },
    /// How one of the kernel's threads is scheduled: "other", "fifo:11". Set by a system call; shown in a file.
    Schedule {
        /// Its number.
        tid: Pid,
        /// When it started: whoever has its number later is somebody else.
        start_ticks: u64,
    },
    /// The ways of each cache of level 3 that a group may fill, as in "0=ff0;1=ff0"; a line among others of its file.
    CacheWays,
    /// What a network interface's driver holds: all of it is read, what differs is set.
    Link {
        /// Of which interface.
        address: Address,
        /// Which part.
        aspect: Aspect,
    },
    /// The threads that reach over a fence: never written, watched.
    Strays(Box<Fence>),
    /// The kernel's work queues whose own mask reaches beyond these CPUs: never written, watched.
    QueuesBeyond {
        /// Where their work may run.
        cpus: Box<CpuSet>,
        /// CPUs beyond these do not count.
        online: Box<CpuSet>,
    },
    /// A flag that is shown as `Y` or `N`; the canonical text is "1" or "0".
    YesNo,
    /// A setting of the firmware or of somebody else: never written, inferred from what the kernel shows.
    Inferred(&'static Attribute),
    /// quell's part of the kernel command line, in the blocks that the boot loader reads.
    BootLine {
        /// Where they stand.
        dir: String,
    },
}

/// How it is seen whether a value took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The file is the variable that the kernel acts on.
    ReadBack,
    /// Interrupts move when they fire: this list lies within the wanted CPUs then.
    MovesInto(String),
    /// This mask lies within the wanted CPUs.
    MaskWithin(String),
    /// This list equals the wanted CPUs.
    ListEquals(String),
    /// The CPUs of the first list are among those of the second, where the kernel has that one.
    ListsWithin(String, String),
    /// What limits real-time threads, throttling and fair server, is told beside the value.
    RealtimeGuards,
    /// No other set of this tree that balances load has CPUs of this group, once its own balancing is off.
    Unbalanced {
        /// The hierarchy.
        tree: String,
        /// The directory of the group.
        group: String,
    },
    /// This list has the CPU for "1", and lacks it for "0".
    Listed {
        /// The list.
        path: String,
        /// The CPU.
        cpu: CpuId,
    },
    /// This counter of an idle state's uses stays as it is for "1".
    Unused(String),
    /// This boot was made with the line, and the kernel accepted it.
    Booted,
    /// As the attribute's row says.
    Declared {
        /// The row.
        attribute: &'static Attribute,
        /// Of which file, where its home is a pattern.
        identity: String,
    },
}

/// What a cell held when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A value.
    Value {
        /// In the form that can be compared and written again.
        text: String,
        /// The files' contents, byte for byte, in the order of [`Cell::files`].
        raw: Vec<String>,
    },
    /// The file is not there.
    Absent,
    /// A plain file of no bytes: it was emptied and not yet written.
    Torn,
}

impl Reading {
    /// The canonical text; `absent` for what is not there.
    pub fn text(&self) -> &str {
        match self {
            Self::Value { text, .. } => text,
            Self::Absent => ABSENT,
            Self::Torn => "",
        }
    }

    pub fn raw(&self) -> &[String] {
        if let Self::Value { raw, .. } = self { raw } else { &[] }
    }
}

/// The canonical text of a file or directory that is not there.
pub(crate) const ABSENT: &str = "absent";
/// The canonical text of a directory that is.
pub(crate) const PRESENT: &str = "present";
const ON: &str = "on";
pub(crate) const OFF: &str = "off";
/// What stands before how an area is swapped to.
const ON_AS: &str = "on: ";

/// One change of one file, as the kernel wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// One write of the whole text.
    Write {
        /// Where.
        path: String,
        /// What.
        text: String,
    },
    /// Makes a directory: a control group.
    MakeDir {
        /// Which.
        path: String,
    },
    /// Removes an empty directory: a control group.
    RemoveDir {
        /// Which.
        path: String,
    },
    /// Lets a thread use these CPUs and no others: sched_setaffinity(2).
    Affinity {
        /// The thread.
        tid: Pid,
        /// When it started: its number may be somebody else's by now.
        start_ticks: u64,
        /// What it may use.
        cpus: Box<CpuSet>,
    },
    /// Has one of the kernel's threads scheduled so: sched_setscheduler(2).
    Schedule {
        /// The thread.
        tid: Pid,
        /// When it started: its number may be somebody else's by now.
        start_ticks: u64,
        /// How.
        policy: Policy,
    },
    /// Has a network interface's driver spread packets so.
    Spread {
        /// Which interface.
        address: Address,
        /// How.
        to: Spread,
    },
    /// Has a network interface's driver steer a flow to a queue, or not any more.
    Steer {
        /// Which interface.
        address: Address,
        /// Which flow.
        flow: Flow,
        /// Where to; `None`: its rule goes.
        queue: Option<u32>,
    },
    /// Swaps to an area, or no more: swapon(2), swapoff(2).
    Swap {
        /// Which.
        area: String,
        /// How it is to be in use; `None`: not at all.
        to: Option<swaps::State>,
    },
    /// Tells a network interface's driver these values.
    Link {
        /// Which interface.
        address: Address,
        /// What part of it.
        aspect: Aspect,
        /// What is to be changed.
        values: Settings,
    },
    /// Has the boot loader try a line once, or forgets every line.
    BootLine {
        /// Where its blocks stand.
        dir: String,
        /// The line as GRUB puts it on the command line; empty for none.
        line: String,
        /// What it is known by.
        id: String,
    },
}

impl Cell {
    /// A cell whose file is the variable itself.
    pub fn plain(path: impl Into<String>, form: Form) -> Self {
        Self { path: path.into(), form, effect: Effect::ReadBack, lives_in: None }
    }

    /// Every file that takes part, the one that is written first.
    pub fn files(&self) -> Vec<&str> {
        let second = match &self.form {
            Form::Pair { bytes } => Some(bytes.as_str()),
            Form::CpuMask { requested, .. } => requested.as_deref(),
            _ => None,
        };
        std::iter::once(self.path.as_str()).chain(second).collect()
    }

    /// What it holds now.
    pub fn read(&self, root: &Root) -> Result<Reading, Error> {
        if self.form == Form::Directory {
            let text = if root.exists(&self.path) { PRESENT } else { return Ok(Reading::Absent) };
            return Ok(Reading::Value { text: text.to_owned(), raw: Vec::new() });
        }
        match &self.form {
            Form::Affinity { tid, start_ticks, .. } => {
                return match affinity::allowed(root, *tid, *start_ticks) {
                    // The whole status file would be a kilobyte of journal for one line of it.
                    Ok(cpus) => Ok(Reading::Value { text: cpus.to_string(), raw: Vec::new() }),
                    Err(error) if error.is_absent() => Ok(Reading::Absent),
                    Err(error) => Err(error),
                };
            }
            Form::Schedule { tid, start_ticks } => {
                return match scheduling::schedule_of(root, *tid, *start_ticks) {
                    Ok(schedule) => Ok(Reading::Value { text: schedule.to_string(), raw: Vec::new() }),
                    Err(error) if error.is_absent() => Ok(Reading::Absent),
                    Err(error) => Err(error),
                };
            }
            Form::Link { address, aspect } => {
                return match ethtool::get(root, address, *aspect) {
                    Ok(state) => Ok(Reading::Value { text: state.settings.to_string(), raw: Vec::new() }),
                    Err(error) if error.is_absent() => Ok(Reading::Absent),
                    Err(error) => Err(error),
                };
            }
            Form::Spread { address } => {
                return match steering::get(root, address).map(|steering| steering.spread) {
                    Ok(Some(spread)) => Ok(Reading::Value { text: spread.to_string(), raw: Vec::new() }),
                    Ok(None) => Ok(Reading::Absent),
                    Err(error) if error.is_absent() => Ok(Reading::Absent),
                    Err(error) => Err(error),
                };
            }
            Form::FlowRule { address, flow } => {
                return match steering::queue_of(root, address, flow) {
                    Ok(queue) => Ok(Reading::Value { text: flow::canonical(queue), raw: Vec::new() }),
                    Err(error) if error.is_absent() => Ok(Reading::Absent),
                    Err(error) => Err(error),
                };
            }
            Form::SwapArea { area, .. } => {
                return match host::if_present(swaps::areas(root))? {
                    None => Ok(Reading::Absent),
                    Some(areas) => {
                        let found = areas.iter().find(|known| known.path == *area);
                        let text = found.map_or(OFF.to_owned(), |known| format!("{ON_AS}{}", known.state));
                        Ok(Reading::Value { text, raw: Vec::new() })
                    }
                };
            }
            Form::Strays(fence) => {
                return fence.strays(root).map(|text| Reading::Value { text, raw: Vec::new() });
            }
            Form::QueuesBeyond { cpus, online } => {
                return queues_beyond(root, cpus, online)
                    .map(|text| Reading::Value { text, raw: Vec::new() });
            }
            Form::Inferred(attribute) => {
                let Some(infer) = attribute.home.infer() else { return Ok(Reading::Absent) };
                let value = |text| Reading::Value { text, raw: Vec::new() };
                return Ok(infer(root).map_or(Reading::Absent, value));
            }
            Form::BootLine { dir } => {
                // Its meaning is compared, not the blocks' bytes: keeping a trial moves it from one to another.
                let value = |text| Reading::Value { text, raw: Vec::new() };
                return Ok(boot::read_line(root, dir)?.map_or(Reading::Absent, value));
            }
            _ => {}
        }
        let mut raw = Vec::new();
        for file in self.files() {
            match root.read_attribute(file) {
                Ok(text) => raw.push(text),
                Err(error) if error.is_absent() => return Ok(Reading::Absent),
                Err(error) => return Err(error),
            }
        }
        // The kernel's own files are empty only where that is a value: a list of nothing.
        if !root.is_live() && !matches!(self.form, Form::Switch(_)) && raw.iter().any(String::is_empty) {
            return Ok(Reading::Torn);
        }
        let text = match self.form {
            Form::Choice => host::choice::of(root, &self.path, &raw[0])?.current,
            _ => self.canonical(&raw).map_err(|problem| Error::Format {
                path: root.display(&self.path),
                line: raw.concat(),
                problem,
            })?,
        };
        Ok(Reading::Value { text, raw })
    }

    /// What files of this content would be read as; `None` when they are not well formed, or not as many as there are.
    pub fn reads_as(&self, raw: &[String]) -> Option<String> {
        if raw.len() != self.files().len() || raw.iter().any(String::is_empty) {
            return None;
        }
        match self.form {
            Form::Choice => {
                let mut bracketed = raw[0]
                    .split_ascii_whitespace()
                    .filter_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
                bracketed.next().map(str::to_owned)
            }
            _ => self.canonical(raw).ok(),
        }
    }

    /// The canonical text of what the kernel shows.
    fn canonical(&self, raw: &[String]) -> Result<String, String> {
        let shown = raw.first().map_or("", |text| text.trim());
        let second = raw.get(1).map(|text| text.trim());
        match &self.form {
            Form::Number | Form::Pages { .. } => number(shown).map(|n| n.to_string()),
            Form::Numbers => numbers(shown),
            Form::Word | Form::Partition if shown.is_empty() => Err("an empty line".to_owned()),
            Form::Word
            | Form::Choice
            | Form::Partition
            | Form::Schedule { .. }
            | Form::Strays(_)
            | Form::SwapArea { .. }
            | Form::Spread { .. }
            | Form::FlowRule { .. }
            | Form::QueuesBeyond { .. }
            | Form::Inferred(_) => Ok(shown.to_owned()),
            Form::CacheWays => resctrl::masks(&raw.concat()).map(|masks| masks.to_string()),
            Form::YesNo => match shown {
                "Y" => Ok("1".to_owned()),
                "N" => Ok("0".to_owned()),
                _ => Err(format!("{shown:?} is neither Y nor N")),
            },
            Form::CpuList | Form::Affinity { .. } => cpus(shown.parse()).map(|set| set.to_string()),
            Form::CpuMask { .. } => {
                cpus(CpuSet::from_mask(second.unwrap_or(shown))).map(|set| set.to_string())
            }
            Form::Pair { .. } => pair(shown, second.unwrap_or_default()),
            Form::Switch(word) => {
                Ok(if shown.split_ascii_whitespace().any(|w| w == *word) { ON } else { OFF }.to_owned())
            }
            Form::Directory => Ok(PRESENT.to_owned()),
            Form::Link { .. } | Form::BootLine { .. } => Err("not a file with one value".to_owned()),
        }
    }

    /// Whether `one` means the same to the kernel as `other`, which it may have been asked for.
    pub fn same(&self, one: &str, other: &str) -> bool {
        let online = match &self.form {
            Form::CpuMask { online, .. } | Form::Affinity { online, .. } => online,
            Form::Link { .. } => return same_settings(one, other),
            Form::SwapArea { .. } => return same_area(one, other),
            // A partition that was invalid is asked for by its word; whether it becomes so again is the kernel's business.
            Form::Partition if is_invalid(other) => return partition_word(one) == partition_word(other),
            _ => return one == other,
        };
        let masked = |text: &str| text.parse::<CpuSet>().map(|set| set.intersection(online));
        match (masked(one), masked(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }

    /// Whether what stands there is good enough for a profile that wants `want`: an interrupt that may only go to some of
    /// the wanted CPUs does not go to any other.
    pub fn satisfies(&self, now: &str, want: &str) -> bool {
        if let Form::Inferred(attribute) = &self.form {
            return attribute.home.suits(now, want);
        }
        let moves = matches!(self.effect, Effect::MovesInto(_));
        if !moves && !matches!(self.form, Form::Affinity { .. }) {
            return self.same(now, want);
        }
        match (now.parse::<CpuSet>(), want.parse::<CpuSet>()) {
            (Ok(now), Ok(want)) if moves => !now.is_empty() && now.is_subset(&want),
            // A thread that keeps itself to fewer CPUs is not on any other.
            (Ok(now), Ok(want)) => self.same(&now.difference(&want).to_string(), ""),
            _ => self.same(now, want),
        }
    }

    /// Whether it is a rule over things that come and go, which comes true when what it is about is changed.
    pub fn is_rule(&self) -> bool {
        matches!(self.form, Form::Strays(_) | Form::QueuesBeyond { .. })
    }

    /// Whether nothing that quell does can change it.
    pub fn is_reported(&self) -> bool {
        matches!(self.form, Form::Inferred(_))
    }

    /// Whether the kernel sets it anew by itself: what stands there later says nothing about who set it.
    pub fn is_reset_by_kernel(&self) -> bool {
        matches!(self.form, Form::Affinity { is_kernel: true, .. })
    }

    /// Of what stands there, what is comparable with `to`: of all that a driver holds, what is to be changed.
    pub fn told(&self, now: &str, to: &str) -> String {
        if !matches!(self.form, Form::Link { .. }) {
            return now.to_owned();
        }
        match (now.parse::<Settings>(), to.parse::<Settings>()) {
            (Ok(now), Ok(to)) => now.named_in(&to).to_string(),
            _ => now.to_owned(),
        }
    }

    /// Whether what it belongs to may go away at any time, which is no trouble: a thread, a network interface.
    pub fn is_fleeting(&self) -> bool {
        self.is_thread()
            || matches!(self.form, Form::Link { .. } | Form::Spread { .. } | Form::FlowRule { .. })
    }

    /// Whether a value that is shown already can be written all the same.
    pub fn can_be_written_again(&self) -> bool {
        !matches!(
            self.form,
            Form::Directory
                | Form::BootLine { .. }
                | Form::Link { .. }
                | Form::Spread { .. }
                | Form::FlowRule { .. }
                | Form::SwapArea { .. }
        )
    }

    /// Whether this is a thread's: threads end, and that is no trouble.
    pub fn is_thread(&self) -> bool {
        matches!(self.form, Form::Affinity { .. } | Form::Schedule { .. })
    }

    /// What to do to get from one canonical value to another.
    ///
    /// # Errors
    /// Why `to` is no value of this cell.
    pub fn steps(&self, from: &str, to: &str) -> Result<Vec<Step>, String> {
        let write = |path: &str, text: String| Step::Write { path: path.to_owned(), text };
        Ok(match &self.form {
            Form::Directory if to == PRESENT => vec![Step::MakeDir { path: self.path.clone() }],
            Form::Directory if to == ABSENT => vec![Step::RemoveDir { path: self.path.clone() }],
            // The file goes with its directory.
            _ if to == ABSENT && self.lives_in.is_some() => Vec::new(),
            Form::Pair { bytes } => match limit(to)? {
                // The kernel zeroes the bytes only when the ratio *changes*, and it has been 0 since the bytes were set.
                Limit::Ratio(0) if from.starts_with("bytes") => {
                    vec![write(&self.path, "1".to_owned()), write(&self.path, "0".to_owned())]
                }
                Limit::Ratio(ratio) => vec![write(&self.path, ratio.to_string())],
                Limit::Bytes(count) => vec![write(bytes, count.to_string())],
            },
            Form::Affinity { tid, start_ticks, .. } => {
                let cpus = cpus(to.parse::<CpuSet>())?;
                if cpus.is_empty() {
                    return Err("a thread needs a CPU".to_owned());
                }
                vec![Step::Affinity { tid: *tid, start_ticks: *start_ticks, cpus: cpus.into() }]
            }
            Form::Schedule { tid, start_ticks } => {
                vec![Step::Schedule { tid: *tid, start_ticks: *start_ticks, policy: to.parse()? }]
            }
            Form::Spread { address } => vec![Step::Spread { address: address.clone(), to: to.parse()? }],
            Form::FlowRule { address, flow } => {
                vec![Step::Steer { address: address.clone(), flow: *flow, queue: flow::queue(to)? }]
            }
            Form::SwapArea { area, .. } => {
                let to = if to == OFF { None } else { Some(swapped(to)?) };
                vec![Step::Swap { area: area.clone(), to }]
            }
            Form::Link { address, aspect } => settings_steps(from, to)?
                .into_iter()
                .map(|values| Step::Link { address: address.clone(), aspect: *aspect, values })
                .collect(),
            Form::Strays(_) | Form::QueuesBeyond { .. } | Form::Inferred(_) => Vec::new(),
            Form::BootLine { dir } => {
                let line: Line = to.parse()?;
                let (dir, id) = (dir.clone(), line.id());
                let line = if line.is_empty() { String::new() } else { line.tried() };
                vec![Step::BootLine { dir, line, id }]
            }
            _ => vec![write(&self.path, self.rendered(to)?)],
        })
    }

    /// The kernel's text for a canonical value that is one write.
    fn rendered(&self, to: &str) -> Result<String, String> {
        match &self.form {
            Form::Number => number(to).map(|n| n.to_string()),
            Form::Numbers => numbers(to),
            Form::Pages { .. } => {
                to.parse::<u64>().map(|n| n.to_string()).map_err(|_| format!("{to:?} is no count"))
            }
            Form::Choice | Form::Word => word(to),
            Form::YesNo if to == "1" => Ok("Y".to_owned()),
            Form::YesNo if to == "0" => Ok("N".to_owned()),
            Form::Partition => word(partition_word(to)),
            // An empty text would be a write of nothing.
            Form::CpuList => {
                cpus(to.parse()).map(|set| if set.is_empty() { "\n".to_owned() } else { set.to_string() })
            }
            Form::CpuMask { .. } => cpus(to.parse::<CpuSet>()).map(|set| set.mask()),
            Form::CacheWays => to.parse::<resctrl::Masks>().map(|masks| format!("L3:{masks}\n")),
            Form::Switch(name) if to == ON => Ok(format!("+{name}")),
            Form::Switch(name) if to == OFF => Ok(format!("-{name}")),
            Form::Switch(_)
            | Form::YesNo
            | Form::Inferred(_)
            | Form::Directory
            | Form::Pair { .. }
            | Form::Affinity { .. }
            | Form::Schedule { .. }
            | Form::SwapArea { .. }
            | Form::Spread { .. }
            | Form::FlowRule { .. }
            | Form::Strays(_)
            | Form::QueuesBeyond { .. }
            | Form::Link { .. }
            | Form::BootLine { .. } => Err(format!("{to:?} is no value of it")),
        }
    }

    /// Whether `now` may stand there when a change from `from` to `to` was interrupted: `to` itself, or what is passed on
    /// the way; never `from`.
    pub fn on_the_way(&self, from: &str, to: &str, now: &str) -> bool {
        if self.same(now, to) {
            return true;
        }
        match &self.form {
            // In a group that was just made stands what the kernel puts there.
            _ if from == ABSENT && self.lives_in.is_some() => true,
            // Each value as it was or as it is to be: a driver is told some before others.
            Form::Link { .. } => now != from && is_mixed(from, to, now),
            Form::Pages { .. } => between(from, to, now),
            // The rule that is there is taken away before its successor comes.
            Form::FlowRule { .. } => now != from && now == crate::fence::NONE,
            // A trial that is replaced is disarmed in between: then the good line holds, whichever that is.
            Form::BootLine { .. } => now != from,
            Form::Pair { .. } => {
                // "ratio 1" is written to get to "ratio 0"; a tree of plain files passes "ratio 0".
                (to == "ratio 0" && now == "ratio 1") || (now == "ratio 0" && from != now)
            }
            _ => false,
        }
    }
}

/// How an area is in use.
// Format: "on: partition, 1048572 KiB, priority -2"
fn swapped(text: &str) -> Result<swaps::State, String> {
    text.strip_prefix(ON_AS).ok_or_else(|| format!("{text:?} is no value of it"))?.parse()
}

/// Two areas that are used alike: where the kernel chooses the priority, it chooses the next one down each time.
fn same_area(one: &str, other: &str) -> bool {
    match (swapped(one), swapped(other)) {
        (Ok(one), Ok(other)) => one.priority == other.priority || (one.priority < 0 && other.priority < 0),
        _ => one == other,
    }
}

/// The queues that may work elsewhere, by name: "none", or how many and which.
fn queues_beyond(root: &Root, cpus: &CpuSet, online: &CpuSet) -> Result<String, Error> {
    let queues = host::workqueues::queues(root)?;
    let is_beyond = |mask: &CpuSet| !mask.intersection(online).is_subset(cpus);
    let beyond: Vec<String> = queues
        .into_iter()
        .filter(|queue| queue.cpus.as_ref().is_some_and(is_beyond))
        .map(|queue| queue.name.escape_debug().to_string())
        .collect();
    Ok(match beyond.len() {
        0 => crate::fence::NONE.to_owned(),
        count => format!("{count} queues: {}", beyond.join(", ")),
    })
}

// Format: "isolated\n", "isolated invalid (Cpu list in cpuset.cpus not exclusive)\n"
//         (Documentation/admin-guide/cgroup-v2.rst, cpuset.cpus.partition)
fn partition_word(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(word, _)| word)
}

fn is_invalid(partition: &str) -> bool {
    partition.split_once(' ').is_some_and(|(_, behind)| behind.starts_with("invalid"))
}

/// Whether a number lies between two others, the first of them excluded.
fn between(from: &str, to: &str, now: &str) -> bool {
    match (from.parse::<u64>(), to.parse::<u64>(), now.parse::<u64>()) {
        (Ok(from), Ok(to), Ok(now)) => now != from && (from.min(to)..=from.max(to)).contains(&now),
        _ => false,
    }
}

/// The two ways of naming one limit.
enum Limit {
    Ratio(u64),
    Bytes(u64),
}

fn limit(text: &str) -> Result<Limit, String> {
    let wrong = || format!("{text:?} is not \"ratio N\" or \"bytes N\"");
    let (kind, digits) = text.split_once(' ').ok_or_else(wrong)?;
    let count = digits.parse().map_err(|_| wrong())?;
    match kind {
        "ratio" => Ok(Limit::Ratio(count)),
        "bytes" => Ok(Limit::Bytes(count)),
        _ => Err(wrong()),
    }
}

/// The member that is in force: the kernel keeps the other one at zero.
// Format: "20\n" and "0\n"   (Documentation/admin-guide/sysctl/vm.rst, dirty_bytes)
fn pair(ratio: &str, bytes: &str) -> Result<String, String> {
    let count = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is not a count"));
    Ok(match (count(ratio)?, count(bytes)?) {
        (ratio, 0) => format!("ratio {ratio}"),
        (_, bytes) => format!("bytes {bytes}"),
    })
}

/// Whether two sets agree where they name the same. What a driver chooses by itself while it is told to do so counts as
/// agreed.
fn same_settings(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<Settings>(), other.parse::<Settings>()) else { return false };
    let common = one.named_in(&other);
    let is_chosen = |name: &str| is_chosen_by(&one, name) && is_chosen_by(&other, name);
    !common.is_empty()
        && common.iter().all(|(name, value)| other.value(name) == Some(value) || is_chosen(name))
}

/// Whether the driver chooses this value by itself: with adaptive coalescing on, the times and counts of that side.
fn is_chosen_by(settings: &Settings, name: &str) -> bool {
    let side = [("rx-usecs", "adaptive-rx"), ("rx-frames", "adaptive-rx")]
        .into_iter()
        .chain([("tx-usecs", "adaptive-tx"), ("tx-frames", "adaptive-tx")])
        .find(|(chosen, _)| *chosen == name);
    side.is_some_and(|(_, adaptive)| settings.value(adaptive) == Some(Value::On))
}

/// What a driver is told to get from one set to another: it stops choosing by itself before it is told what it chose, and
/// begins to only after; some refuse both in one message. What it chooses before and after is not told at all.
fn settings_steps(from: &str, to: &str) -> Result<Vec<Settings>, String> {
    let (from, to) = (from.parse::<Settings>()?, to.parse::<Settings>()?);
    let (mut first, mut then, mut last) = (Settings::default(), Settings::default(), Settings::default());
    for (name, value) in to.beyond(&from).iter() {
        match (name, value) {
            ("adaptive-rx" | "adaptive-tx", Value::Off) => first.insert(name, value),
            ("adaptive-rx" | "adaptive-tx", _) => last.insert(name, value),
            _ if is_chosen_by(&from, name) && is_chosen_by(&to, name) => {}
            _ => then.insert(name, value),
        }
    }
    Ok([first, then, last].into_iter().filter(|values| !values.is_empty()).collect())
}

fn is_mixed(from: &str, to: &str, now: &str) -> bool {
    let (Ok(from), Ok(to), Ok(now)) =
        (from.parse::<Settings>(), to.parse::<Settings>(), now.parse::<Settings>())
    else {
        return false;
    };
    now.iter().all(|(name, value)| from.value(name) == Some(value) || to.value(name) == Some(value))
}

fn numbers(text: &str) -> Result<String, String> {
    let words: Vec<String> = text
        .split_ascii_whitespace()
        .map(|word| number(word).map(|n| n.to_string()))
        .collect::<Result<_, _>>()?;
    if words.is_empty() { Err("no number".to_owned()) } else { Ok(words.join(" ")) }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is not one number"))
}

fn cpus<E: std::fmt::Display>(parsed: Result<CpuSet, E>) -> Result<CpuSet, String> {
    parsed.map_err(|error| error.to_string())
}

/// Selectors and their words hold nothing else, so nothing else is ever written.
fn word(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-_/".contains(&b);
    let sound = !text.is_empty() && text.len() <= units::limits::NAME_LEN_MAX && text.bytes().all(plain);
    if sound { Ok(text.to_owned()) } else { Err(format!("{text:?} is not one word")) }
}

/// The attribute of a pool of huge pages, as a cell.
pub(crate) fn pages(node: NodeId, size: PageSize, floor: Floor) -> Cell {
    Cell::plain(hugepages::nr_path(Some(node), size), Form::Pages { node, size, floor })
}

#[cfg(test)]
mod tests;
