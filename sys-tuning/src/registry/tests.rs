//! What must hold of every row, asked of the table itself.

use std::path::Path;

use super::*;

/// Trees below which everything that a knob writes stands.
const TREES: &[&str] = &[
    "/proc/sys/",
    "/proc/irq/",
    "/proc/{tid}/",
    "/sys/",
    "/boot/{grub}/quell/",
    "/dev/cpu_dma_latency",
    "ethtool of ",
    "flows of ",
    "swap area ",
];

fn rows() -> impl Iterator<Item = &'static Knob> {
    ALL.iter().chain(COMPOSED).copied()
}

#[test]
fn no_knob_reaches_a_denied_file() {
    for knob in rows() {
        for path in knob.files() {
            let reached =
                DENIED.iter().find(|denied| path.starts_with(**denied) || denied.starts_with(&*path));
            // A group's directory is above what is denied in it; the knob makes and removes it, no more.
            let is_group = path.ends_with("/{group}");
            assert!(reached.is_none() || is_group, "{} reaches {reached:?}", knob.id);
        }
    }
}

#[test]
fn every_file_stands_in_a_known_tree() {
    for knob in rows() {
        for path in knob.files() {
            assert!(TREES.iter().any(|tree| path.starts_with(tree)), "{}: {path}", knob.id);
            assert!(!path.contains("..") && !path.ends_with('/'), "{}: {path}", knob.id);
        }
        // What is only reported has no file, and everything else has one.
        let is_reported = matches!(knob.when, When::Firmware | When::Elsewhere);
        assert_eq!(knob.files().is_empty(), is_reported, "{}", knob.id);
    }
}

#[test]
fn ids_and_attributes_are_unique_and_told() {
    let mut ids: Vec<&str> = rows().map(|knob| knob.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows().count());
    for knob in rows() {
        assert!(knob.id.parse::<units::Name>().is_ok(), "{}", knob.id);
        assert!(!knob.attributes.is_empty(), "{}", knob.id);
        let told = [knob.doc, knob.source, knob.effect, knob.undo];
        assert!(told.iter().all(|text| !text.is_empty() && !text.contains('\n')), "{}", knob.id);
        let mut names: Vec<&str> = knob.attributes.iter().map(|attribute| attribute.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), knob.attributes.len(), "{}", knob.id);
        for attribute in knob.attributes {
            let other = attribute.excludes.map(|other| knob.attributes.iter().any(|a| a.name == other));
            assert_ne!(other, Some(false), "{} {}", knob.id, attribute.name);
            assert!(!attribute.doc.is_empty(), "{} {}", knob.id, attribute.name);
        }
    }
}

#[test]
fn homes_fit_what_stands_there() {
    for knob in rows() {
        for attribute in knob.attributes {
            let name = format!("{} {}", knob.id, attribute.name);
            match attribute.home {
                Home::Knob => {}
                Home::Each(pattern) => assert!(pattern.contains('{') && pattern.contains('}'), "{name}"),
                Home::Sysctl(variable) => assert!(!variable.contains(['/', '{']), "{name}"),
                Home::File(path) => assert!(path.starts_with('/') && !path.contains('{'), "{name}"),
                Home::Chooser => assert_eq!(attribute.kind, Kind::Cpus, "{name}"),
                Home::Argument(_) => {
                    let takes = match attribute.kind {
                        Kind::Choice(words) => words.iter().all(|word| attribute.takes(Some(word))),
                        Kind::Flag => attribute.takes(Some("1")) && !attribute.takes(Some("2")),
                        Kind::Integer { max, .. } => attribute.takes(Some(&max.to_string())),
                        Kind::Cpus => attribute.takes(Some("0-1,3")) && !attribute.takes(Some("3,0-1")),
                        _ => false,
                    };
                    assert!(takes && !attribute.takes(None) && !attribute.takes(Some("x y")), "{name}");
                }
                Home::Switch(_) => assert!(attribute.kind == Kind::Flag && attribute.takes(None), "{name}"),
                Home::Firmware(_) => assert_eq!(knob.when, When::Firmware, "{name}"),
                Home::Elsewhere(other) => assert!(!other.remedy.is_empty(), "{name}"),
            }
            // What goes on a line or into a file as a word is one of plain characters.
            if let Kind::Choice(words) = attribute.kind {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-_,.".contains(&b);
                assert!(words.iter().all(|word| !word.is_empty() && word.bytes().all(plain)), "{name}");
            }
            if let Sign::Flat(flat) = attribute.sign {
                assert!(!flat.of.is_empty() && !flat.counters.is_empty(), "{name}");
            }
        }
        let parameters: Vec<&str> = knob.attributes.iter().filter_map(Attribute::parameter).collect();
        for parameter in parameters {
            let of = rows().flat_map(|knob| knob.attributes).filter(|a| a.parameter() == Some(parameter));
            assert_eq!(of.count(), 1, "{parameter} is one attribute's alone");
        }
    }
}

/// The sources of every test of the product but this one.
fn test_sources() -> String {
    fn add(dir: &Path, text: &mut String) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() => add(&path, text),
                Some("rs") => text.push_str(&std::fs::read_to_string(&path).unwrap()),
                _ => {}
            }
        }
    }
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    add(&house.join("tests"), &mut text);
    add(&house.join("../tests"), &mut text);
    text
}

#[test]
fn every_knob_is_named_by_a_test() {
    let sources = test_sources();
    for knob in rows() {
        let named =
            [format!("\"{}\"", knob.id), format!("'{}'", knob.id)].iter().any(|id| sources.contains(id));
        assert!(named, "{}: no test below tests/ names it", knob.id);
    }
}
