//! CPU numbers and sets of them, in the kernel's two notations.
//!
//! One copy of the cpulist and mask parsers for the whole product. The set is a plain bitmap of
//! [`limits::CPUS_MAX`](crate::limits::CPUS_MAX) bits, so that it is `Copy`-cheap to compare and never allocates.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;
use crate::limits::CPUS_MAX;

/// One logical CPU, numbered as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

impl CpuId {
    /// For indexing what has one entry a CPU.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

const WORD_BITS: usize = 64;
const WORDS: usize = CPUS_MAX / WORD_BITS;
const _: () = assert!(CPUS_MAX.is_multiple_of(WORD_BITS), "the bitmap has whole words");
const _: () = assert!(CPUS_MAX <= 1 << 16, "a CpuId holds every CPU");

/// A set of CPUs.
///
/// `Display` is the kernel's cpulist ("0-3,7"; nothing for the empty set) and `FromStr` reads it; [`CpuSet::mask`] and
/// [`CpuSet::from_mask`] are its hexadecimal form. Source: Documentation/admin-guide/cputopology.rst, bitmap_parselist.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CpuSet {
    words: [u64; WORDS],
}

impl CpuSet {
    /// No CPU.
    #[must_use]
    pub const fn empty() -> Self {
        Self { words: [0; WORDS] }
    }

    /// Whether no CPU is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many CPUs are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        cpu.index() < CPUS_MAX && self.words[cpu.index() / WORD_BITS] >> (cpu.index() % WORD_BITS) & 1 == 1
    }

    /// Adds `cpu`.
    ///
    /// # Panics
    /// When `cpu` is at or above [`CPUS_MAX`]; parsers refuse such numbers before they get here.
    pub fn insert(&mut self, cpu: CpuId) {
        assert!(cpu.index() < CPUS_MAX, "CPU {cpu} is beyond the {CPUS_MAX} CPUs quell knows");
        self.words[cpu.index() / WORD_BITS] |= 1 << (cpu.index() % WORD_BITS);
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| cpus_of(index, *word))
    }

    /// The lowest CPU, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// CPUs of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// CPUs of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// CPUs of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// Whether every CPU of this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    fn zip(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.words;
        for (word, theirs) in words.iter_mut().zip(other.words) {
            *word = combine(*word, theirs);
        }
        Self { words }
    }

    /// The kernel's hexadecimal mask: 32-bit groups, highest first, joined by commas, without leading zero groups.
    #[must_use]
    pub fn mask(&self) -> String {
        let groups: Vec<u32> =
            self.words.iter().flat_map(|word| [low_half(*word), low_half(*word >> 32)]).collect();
        let used = groups.iter().rposition(|group| *group != 0).unwrap_or(0);
        let mut text = format!("{:x}", groups[used]);
        for group in groups[..used].iter().rev() {
            text.push_str(&format!(",{group:08x}"));
        }
        text
    }

    /// Reads a hexadecimal mask, with or without commas between 32-bit groups.
    ///
    /// # Errors
    /// [`ParseError`] for a text that is empty, not hexadecimal, or names CPUs at or above [`CPUS_MAX`].
    // Format: "ffffffff,00000003" or "3\n"   (Documentation/core-api/irq/irq-affinity.rst)
    pub fn from_mask(text: &str) -> Result<Self, ParseError> {
        let problem =
            |what: &str| ParseError::new(text, format!("{what}; a CPU mask reads like ff or 1,00000003"));
        let digits: String = text.trim().split(',').map(|group| format!("{group:0>8}")).collect();
        let mut set = Self::empty();
        if text.trim().is_empty() {
            return Err(problem("empty"));
        }
        for (position, digit) in digits.bytes().rev().enumerate() {
            let value = char::from(digit).to_digit(16).ok_or_else(|| problem("not hexadecimal"))?;
            for bit in (0..4).filter(|bit| value >> bit & 1 == 1) {
                let cpu = position * 4 + bit;
                if cpu >= CPUS_MAX {
                    return Err(problem("names more CPUs than the kernel can have"));
                }
                set.insert(CpuId(u16::try_from(cpu).expect("below CPUS_MAX")));
            }
        }
        Ok(set)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low_half(word: u64) -> u32 {
    word as u32
}

/// The CPUs of the word at `index`, lowest first: as many steps as there are CPUs in the set, not in a kernel. Bit
/// by bit, printing a set of two took 4.5 us, about what it takes to read its file; now 0.15 us (2-vCPU VM).
fn cpus_of(index: usize, word: u64) -> impl Iterator<Item = CpuId> {
    let mut left = word;
    std::iter::from_fn(move || {
        let bit = left.trailing_zeros() as usize; // WORD_BITS when nothing is left
        left &= left.wrapping_sub(1);
        let cpu = index * WORD_BITS + bit;
        (bit < WORD_BITS).then(|| CpuId(u16::try_from(cpu).expect("below CPUS_MAX")))
    })
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut set = Self::empty();
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

impl From<CpuId> for CpuSet {
    fn from(cpu: CpuId) -> Self {
        Self::from_iter([cpu])
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut run: Option<(CpuId, CpuId)> = None;
        let mut flush = |run: Option<(CpuId, CpuId)>| {
            let Some((first, last)) = run else { return };
            let comma = if text.is_empty() { "" } else { "," };
            text.push_str(&if first == last {
                format!("{comma}{first}")
            } else {
                format!("{comma}{first}-{last}")
            });
        };
        for cpu in self.iter() {
            run = match run {
                Some((first, last)) if last.0 + 1 == cpu.0 => Some((first, cpu)),
                other => {
                    flush(other);
                    Some((cpu, cpu))
                }
            };
        }
        flush(run);
        f.pad(&text)
    }
}

/// The kernel's cpulist: numbers and ranges, in any order; the empty text is the empty set.
impl FromStr for CpuSet {
    type Err = ParseError;

    // Format: "0-3,7\n", and "\n" for none   (Documentation/admin-guide/cputopology.rst)
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut set = Self::empty();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (cpu_number(text, first)?, cpu_number(text, last)?);
            if last < first {
                return Err(ParseError::new(text, format!("{part}: range runs backwards")));
            }
            for cpu in first..=last {
                set.insert(CpuId(cpu));
            }
        }
        Ok(set)
    }
}

fn cpu_number(text: &str, digits: &str) -> Result<u16, ParseError> {
    let wrong = |what: String| ParseError::new(text, format!("{what}; a CPU list reads like 0-3,7"));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(format!("{digits:?} is no CPU number")));
    }
    match digits.parse::<u16>() {
        Ok(cpu) if usize::from(cpu) < CPUS_MAX => Ok(cpu),
        _ => Err(wrong(format!("CPU {digits} is beyond the {CPUS_MAX} CPUs a kernel can have"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(cpulist: &str, expected: &str) {
        let got = match cpulist.parse::<CpuSet>() {
            Ok(set) => set.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn cpulist() {
        check("0-3,7", "0-3,7");
        check("3,1,2", "1-3"); // sorted and merged
        check("", ""); // the kernel writes an empty line for "none"
        check("\n", "");
        check("63,64", "63-64"); // across words
        check("2-1", "error: \"2-1\": 2-1: range runs backwards");
        check("1,,2", "error: \"1,,2\": \"\" is no CPU number; a CPU list reads like 0-3,7");
        check("a", "error: \"a\": \"a\" is no CPU number; a CPU list reads like 0-3,7");
        check("+1", "error: \"+1\": \"+1\" is no CPU number; a CPU list reads like 0-3,7");
        check(
            "9999",
            "error: \"9999\": CPU 9999 is beyond the 8192 CPUs a kernel can have; a CPU list reads like 0-3,7",
        );
    }

    #[track_caller]
    fn check_mask(mask: &str, expected: &str) {
        let got = match CpuSet::from_mask(mask) {
            Ok(set) => format!("{set} = {}", set.mask()),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn masks() {
        check_mask("3\n", "0-1 = 3");
        check_mask("1,00000003", "0-1,32 = 1,00000003");
        check_mask("1,3", "0-1,32 = 1,00000003"); // the kernel also reads short groups
        check_mask("0", " = 0");
        check_mask("", "error: \"\": empty; a CPU mask reads like ff or 1,00000003");
        check_mask("xyz", "error: \"xyz\": not hexadecimal; a CPU mask reads like ff or 1,00000003");
    }

    proptest! {
        #[test]
        fn both_notations_round_trip(cpus in proptest::collection::vec(0u16..1024, 0..40)) {
            let set: CpuSet = cpus.into_iter().map(CpuId).collect();
            prop_assert_eq!(&set.to_string().parse::<CpuSet>().unwrap(), &set);
            prop_assert_eq!(&CpuSet::from_mask(&set.mask()).unwrap(), &set);
        }
    }
}
