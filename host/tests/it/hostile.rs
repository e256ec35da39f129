//! A tree whose files hold anything at all: an answer or an error that names the file, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::facts;
use crate::fixtures::{Copy, hosts};

/// Texts that parsers of this kind have tripped over elsewhere.
const NASTY: [&str; 9] = [
    "",
    "\n",
    "\0",
    "-1\n",
    "18446744073709551616\n",
    "18446744073709551615 18446744073709551615 18446744073709551615 18446744073709551615\n",
    "0-99999999\n",
    ") ( R\u{fffd}: kB [",
    "cpu0 18446744073709551615 18446744073709551615 1 18446744073709551615 18446744073709551615 1 1 1\n",
];

impl Copy {
    /// Runs all readers while each of `damage` holds its bytes.
    fn with(&self, damage: &[(&PathBuf, Vec<u8>)]) {
        let originals: Vec<Vec<u8>> = damage.iter().map(|(file, _)| fs::read(file).unwrap()).collect();
        for (file, bytes) in damage {
            put(file, bytes);
        }
        for (key, fact) in facts::all(&self.root) {
            if let Err(error) = fact {
                let message = error.to_string();
                let named = message.starts_with(self.root.prefix().to_str().unwrap());
                assert!(
                    named && !message.contains('\n'),
                    "{key}: {message:?} does not name the file on one line"
                );
            }
        }
        for ((file, _), original) in damage.iter().zip(originals) {
            put(file, &original);
        }
    }
}

fn put(file: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::File::create(file).unwrap().write_all(bytes).unwrap();
}

/// Files damaged at once: few enough that most readers still get past their first file.
const EVERY: usize = 8;

#[test]
fn no_file_can_make_a_reader_panic() {
    for host in hosts() {
        let victim = Copy::of(&host);
        for first in 0..EVERY {
            let group: Vec<&PathBuf> = victim.files.iter().skip(first).step_by(EVERY).collect();
            victim.with(&group.iter().map(|file| (*file, half(file))).collect::<Vec<_>>());
            for text in NASTY {
                victim.with(&group.iter().map(|file| (*file, text.as_bytes().to_vec())).collect::<Vec<_>>());
            }
        }
    }
}

fn half(file: &Path) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Damage to one file: bytes instead of it, or bytes changed in it.
#[derive(Debug, Clone)]
enum Damage {
    Replaced(Vec<u8>),
    Changed(Vec<(prop::sample::Index, u8)>),
}

impl Damage {
    fn of(&self, file: &Path) -> Vec<u8> {
        let spots = match self {
            Self::Replaced(bytes) => return bytes.clone(),
            Self::Changed(spots) => spots,
        };
        let mut bytes = fs::read(file).unwrap();
        for (spot, byte) in spots.iter().take(bytes.len()) {
            let at = spot.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes
    }
}

#[test]
fn neither_can_arbitrary_bytes() {
    let victim = Copy::of(&hosts()[1]);
    let damage = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Replaced),
        proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8).prop_map(Damage::Changed),
    ];
    let all = proptest::collection::vec((prop::sample::select(victim.files.clone()), damage), EVERY);
    proptest!(ProptestConfig::with_cases(64), |(all in all)| {
        let mut all = all;
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(one, _), (other, _)| one == other); // each file is put back once
        victim.with(&all.iter().map(|(file, damage)| (file, damage.of(file))).collect::<Vec<_>>());
    });
}
