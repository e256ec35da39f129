//! quell's part of the kernel command line, typed: a closed list of parameters, each with its grammar.
//!
//! What a journal or a file says is parsed into this before anything is written, so that neither can make the machine
//! boot with a parameter that no knob can ask for.

use std::fmt;
use std::str::FromStr;

use units::CpuSet;

use crate::registry;

/// The canonical text of a line without arguments.
pub(crate) const NONE: &str = "none";

/// Says which line was booted. The kernel takes a parameter with a dot for a module's and passes it over in silence.
pub(crate) const MARK: &str = "quell.boot=";

/// Has a kernel that dies on a trial reboot by itself, ten seconds later, into the line before; initramfs-tools does the
/// same when it finds no root file system (initramfs-tools(7), panic).
const ON_TRIAL: &str = "panic=10";

/// What may stand behind a parameter's `=`.
#[derive(Debug, Clone, Copy)]
enum Grammar {
    /// Nothing: a bare word.
    Bare,
    /// A list of CPUs.
    Cpus,
    /// `managed_irq,domain,` and a list of CPUs.
    Isolation,
    /// A decimal number.
    Number,
    /// A size of huge pages.
    Size,
    /// `0:512,1:512`: pages a node.
    PagesByNode,
}

/// Every parameter that quell may put on the line beside those that are an attribute of a knob by themselves: of these the
/// registry knows the values.
const PARAMETERS: &[(&str, Grammar)] = &[
    ("isolcpus", Grammar::Isolation),
    ("nohz_full", Grammar::Cpus),
    ("rcu_nocbs", Grammar::Cpus),
    ("rcu_nocb_poll", Grammar::Bare),
    ("rcupdate.rcu_normal_after_boot", Grammar::Number),
    ("rcutree.nohz_full_patience_delay", Grammar::Number),
    ("irqaffinity", Grammar::Cpus),
    ("hugepagesz", Grammar::Size),
    ("hugepages", Grammar::PagesByNode),
];

/// The arguments, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line {
    words: Vec<String>,
}

impl Line {
    /// The line of these arguments, each one word or several.
    pub fn of<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let words = arguments.into_iter().flat_map(|argument| argument.split(' '));
        let words = words.map(|word| checked(word).map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Self { words })
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Says of two lines whether they are the same: made of the line itself, so that two blocks that carry one id carry
    /// one line, however old either is. FNV-1a, 64 bits.
    pub fn id(&self) -> String {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", self.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// What GRUB puts on the command line once this line is kept.
    pub fn kept(&self) -> String {
        if self.is_empty() { String::new() } else { format!("{self} {MARK}{}", self.id()) }
    }

    /// What GRUB puts there while it is tried.
    pub fn tried(&self) -> String {
        format!("{} {ON_TRIAL}", self.kept())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.pad(NONE) } else { f.pad(&self.words.join(" ")) }
    }
}

impl FromStr for Line {
    type Err = String;

    /// The canonical text.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE { Ok(Self::default()) } else { Self::of([text]) }
    }
}

/// The arguments of a stored line, without what quell adds for itself: canonical where it is one of ours.
pub(crate) fn arguments(stored: &str) -> String {
    let ours = |word: &&str| word.starts_with(MARK) || *word == ON_TRIAL || word.is_empty();
    let words: Vec<&str> = stored.split(' ').filter(|word| !ours(word)).collect();
    if words.is_empty() { NONE.to_owned() } else { words.join(" ") }
}

fn checked(word: &str) -> Result<&str, String> {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let known = PARAMETERS.iter().find(|(known, _)| *known == name);
    let grammar = match (known, registry::argument(name)) {
        (Some((_, grammar)), _) => grammar,
        (None, Some(attribute)) if attribute.takes(value) => return Ok(word),
        (None, Some(_)) => return Err(format!("{word:?}: not a value of the kernel parameter {name}")),
        (None, None) => {
            return Err(format!("{word:?}: quell puts no such parameter on the kernel's command line"));
        }
    };
    let is_sound = match (grammar, value) {
        (Grammar::Bare, None) => true,
        (Grammar::Cpus, Some(value)) => is_cpus(value),
        (Grammar::Isolation, Some(value)) => is_cpus(without_flags(value)),
        (Grammar::Number, Some(value)) => is_number(value),
        (Grammar::Size, Some(value)) => value.parse::<host::hugepages::PageSize>().is_ok(),
        (Grammar::PagesByNode, Some(value)) => value.split(',').all(is_node_count),
        _ => false,
    };
    if is_sound { Ok(word) } else { Err(format!("{word:?}: not a value of the kernel parameter {name}")) }
}

/// The list behind the flags of `isolcpus=`.
pub(crate) fn without_flags(value: &str) -> &str {
    let value = value.strip_prefix("managed_irq,").unwrap_or(value);
    value.strip_prefix("domain,").unwrap_or(value)
}

fn is_cpus(value: &str) -> bool {
    // As we write it: the kernel knows more forms, and none of them is needed.
    value.parse::<CpuSet>().is_ok_and(|cpus| !cpus.is_empty() && cpus.to_string() == value)
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.len() <= 9 && value.bytes().all(|b| b.is_ascii_digit())
}

fn is_node_count(part: &str) -> bool {
    part.split_once(':').is_some_and(|(node, count)| is_number(node) && is_number(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told =
            text.parse::<Line>().map_or_else(|problem| format!("error: {problem}"), |line| line.kept());
        assert_eq!(told, expected);
    }

    #[test]
    fn only_what_a_knob_can_ask_for_is_a_line() {
        check("none", "");
        check("skew_tick=1", "skew_tick=1 quell.boot=b7a89cff839c7d1b");
        check(
            "isolcpus=managed_irq,domain,2-3 nohz_full=2-3",
            "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 quell.boot=98285e9badad9cca",
        );
        check(
            "init=/bin/sh",
            "error: \"init=/bin/sh\": quell puts no such parameter on the kernel's command line",
        );
        check("isolcpus=3-2", "error: \"isolcpus=3-2\": not a value of the kernel parameter isolcpus");
        check("nohz_full=all", "error: \"nohz_full=all\": not a value of the kernel parameter nohz_full");
        check("skew_tick", "error: \"skew_tick\": not a value of the kernel parameter skew_tick");
        check(
            "nosoftlockup=0",
            "error: \"nosoftlockup=0\": not a value of the kernel parameter nosoftlockup",
        );
        check(
            "skew_tick=1  skew_tick=1",
            "error: \"\": quell puts no such parameter on the kernel's command line",
        );
    }

    #[test]
    fn a_stored_line_is_known_by_its_arguments() {
        let line: Line = "skew_tick=1 nosoftlockup".parse().unwrap();
        for stored in [line.kept(), line.tried()] {
            assert_eq!(arguments(&stored), line.to_string());
        }
        assert_eq!(arguments(""), NONE);
        assert_eq!(arguments("root=/dev/nonexistent panic=10"), "root=/dev/nonexistent"); // somebody else's
    }

    proptest! {
        /// Whatever a journal says, what reaches the boot loader is made of known words and plain characters.
        #[test]
        fn nothing_else_is_ever_written(text in "\\PC{0,40}|(isolcpus|nohz_full|hugepages|skew_tick)=[ -~]{0,12}") {
            if let Ok(line) = text.parse::<Line>() {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b" _.,:=-".contains(&b);
                prop_assert!(line.tried().bytes().all(plain), "{:?}", line);
                prop_assert_eq!(line.to_string(), text);
            }
        }
    }
}
