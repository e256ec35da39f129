//! Knobs that are told by their row alone: what a profile's values come to, where they stand, and whether they took effect.
//!
//! Everything here follows from an attribute's kind, home, shape and sign; nothing knows a single knob.

use std::borrow::Cow;

use host::{Error, Root, if_present};
use units::CpuSet;

use crate::boot::contribute;
use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::effect::{Sight, ok};
use crate::facts::Facts;
use crate::profile::{Setting, Value, Wanted};
use crate::registry::{self, Attribute, Home, Kind, Meaning, Shape, Sign, pattern};
use crate::status::Status;

/// Wishes for every attribute that has a home.
pub(crate) fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    for (name, setting) in &wanted.settings {
        let attribute = wanted.knob.attribute(name).expect("a profile is typed by the registry");
        match attribute.home {
            Home::Knob | Home::Chooser => {}
            Home::Argument(parameter) => {
                if let Some(value) = value(scope, wanted, draft, attribute) {
                    contribute(scope, wanted, draft, name, format!("{parameter}={value}"));
                }
            }
            Home::Switch(parameter) if setting.value == Value::Flag(true) => {
                contribute(scope, wanted, draft, name, parameter.to_owned());
            }
            Home::Switch(_) => {} // not there by itself
            Home::Each(files) => wish_each(scope, wanted, draft, (attribute, setting), files),
            Home::Sysctl(_) | Home::File(_) | Home::Firmware(_) | Home::Elsewhere(_) => {
                if let Some(value) = value(scope, wanted, draft, attribute) {
                    draft.wish(scope, wanted, name, "", value);
                }
            }
        }
    }
}

/// The value as the kernel takes it; `None` after noting why there is none.
fn value(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, attribute: &Attribute) -> Option<String> {
    match attribute.kind {
        Kind::Cpus => draft.cpus(scope, wanted, attribute.name).map(|cpus| cpus.to_string()),
        _ => wanted.text(attribute.name),
    }
}

/// One wish a file, on the CPUs that were chosen where the knob has a choice.
fn wish_each(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    (attribute, setting): (&Attribute, &Setting),
    files: &'static str,
) {
    let Some(value) = value(scope, wanted, draft, attribute) else { return };
    let (id, name) = (wanted.knob.id, attribute.name);
    let chooser = wanted.knob.attributes.iter().find(|attribute| matches!(attribute.home, Home::Chooser));
    let chosen = match chooser {
        None => None,
        Some(chooser) if wanted.setting(chooser.name).is_none() => {
            let chooser = chooser.name;
            let problem =
                format!("{id}: {chooser} is missing; say which CPUs, as in {chooser} = \"isolated\"");
            return draft.mistake(setting, &problem);
        }
        Some(chooser) => match draft.cpus(scope, wanted, chooser.name) {
            None => return,
            chosen => chosen,
        },
    };
    let found = scope.facts.files.get(files).map_or(&[][..], Vec::as_slice);
    if found.is_empty() {
        let (status, reason) = wanted.knob.absence_of(name).told();
        return draft.skip_attribute(id, name, status, reason);
    }
    let is_chosen = |identity: &&String| chosen.as_ref().is_none_or(|cpus| is_of(identity, cpus));
    let mut these = found.iter().filter(is_chosen).peekable();
    if these.peek().is_none() {
        let cpus = chosen.unwrap_or_else(CpuSet::empty);
        let reason = format!("CPU {cpus} has no such file");
        return draft.skip_attribute(id, name, Status::NotApplicable, reason);
    }
    these.for_each(|identity| draft.wish(scope, wanted, name, identity, value.clone()));
}

/// Whether a file is one of these CPUs': "cpu3/state1" is CPU 3's.
fn is_of(identity: &str, cpus: &CpuSet) -> bool {
    let number = identity
        .split('/')
        .next()
        .and_then(|first| first.trim_start_matches(char::is_alphabetic).parse().ok());
    number.is_some_and(|number| cpus.contains(units::CpuId(number)))
}

/// A value that is only reported; what a window shows of it is watched all the same.
fn reported(path: &str, attribute: &'static Attribute) -> Cell {
    let effect = Effect::Declared { attribute, identity: String::new() };
    Cell { effect, ..Cell::plain(path, Form::Inferred(attribute)) }
}

/// Where a declared attribute of one identity stands; `None` when the machine has no such thing (any more).
pub(crate) fn locate(facts: &Facts, attribute: &'static Attribute, identity: &str) -> Option<Cell> {
    let path = match attribute.home {
        Home::Firmware(_) => return Some(reported("/firmware", attribute)),
        Home::Elsewhere(_) => return Some(reported("/elsewhere", attribute)),
        Home::Each(files) if !facts.has_file(files, identity) => return None,
        home => home.path(identity)?,
    };
    let form = match (attribute.shape, attribute.kind) {
        (Shape::Bracketed, _) => Form::Choice,
        (Shape::YesNo, _) => Form::YesNo,
        (Shape::Mask, _) => Form::CpuMask { online: facts.online().into(), requested: None },
        (Shape::Plain, Kind::Cpus) => Form::CpuList,
        (Shape::Plain, Kind::Numbers(_)) => Form::Numbers,
        (Shape::Plain, Kind::Integer { .. } | Kind::Flag) => Form::Number,
        (Shape::Plain, _) => Form::Word,
    };
    let effect = match attribute.sign {
        Sign::Itself => Effect::ReadBack,
        _ => Effect::Declared { attribute, identity: identity.to_owned() },
    };
    Some(Cell { effect, ..Cell::plain(path, form) })
}

/// Looks at the effect of `want`, of which the file has `have`.
pub(crate) fn look(
    root: &Root,
    attribute: &Attribute,
    identity: &str,
    want: &str,
    have: &str,
) -> Result<Sight, Error> {
    look_for(root, attribute.sign, identity, want, have)
}

fn look_for(root: &Root, sign: Sign, identity: &str, want: &str, have: &str) -> Result<Sight, Error> {
    let seen = match sign {
        Sign::All(signs) => {
            let mut last = ok(Some(have.to_owned()));
            for sign in signs {
                last = look_for(root, *sign, identity, want, have)?;
                if last.status != Status::Ok {
                    break;
                }
            }
            return Ok(last);
        }
        // What a window showed is told by whoever waited for it.
        Sign::Itself | Sign::Flat(_) => return Ok(ok(Some(have.to_owned()))),
        Sign::Shown(files) => {
            let path = pattern::path(files, identity).unwrap_or_else(|| files.to_owned());
            let shown = shown(root, &path)?.ok_or_else(|| Error::Absent { path: root.display(&path) })?;
            let holds = shown == want;
            Some((format!("{path}: {shown}"), holds, shown))
        }
        Sign::Means(meanings) => mean(root, meanings, want)?,
        Sign::Lacks(path) => {
            let shown = shown(root, path)?.ok_or_else(|| Error::Absent { path: root.display(path) })?;
            let both = (shown.parse::<CpuSet>(), want.parse::<CpuSet>());
            let holds = matches!(both, (Ok(shown), Ok(want)) if shown.intersection(&want).is_empty());
            Some((format!("{path} has CPU {shown}"), holds, shown))
        }
        Sign::Told(told) => told(root, want).map(|(shown, holds)| (shown.clone(), holds, shown)),
    };
    Ok(match seen {
        None => ok(Some(have.to_owned())),
        Some((_, true, shown)) => ok(Some(shown)),
        Some((said, false, shown)) => Sight {
            effective: Some(shown),
            status: Status::Failed,
            reason: format!("written, and the kernel shows otherwise: {said}"),
        },
    })
}

/// What the kernel shows of `value` given as an argument of its command line, and whether that is what was asked for;
/// `None` where it shows nothing, or may have been set otherwise since by a knob of the running system.
pub(crate) fn look_at_argument(root: &Root, attribute: &Attribute, value: &str) -> Option<(String, bool)> {
    match attribute.sign {
        Sign::Itself | Sign::Flat(_) | Sign::Lacks(_) | Sign::All(_) => None,
        Sign::Shown(path) => {
            let shown = shown(root, path).ok()??;
            let holds = shown == value || matches!((shown.as_str(), value), ("Y", "1") | ("N", "0"));
            (holds || !registry::is_settable(path)).then_some((shown, holds))
        }
        Sign::Means(meanings) => {
            let (_, holds, shown) = mean(root, meanings, value).ok()??;
            let may_differ = meanings.iter().any(|meaning| registry::is_settable(meaning.path));
            (holds || !may_differ).then_some((shown, holds))
        }
        Sign::Told(told) => told(root, value),
    }
}

/// What stands where the value has a meaning: in words, whether it is so, and bare.
fn mean(root: &Root, meanings: &[Meaning], value: &str) -> Result<Option<(String, bool, String)>, Error> {
    let mut last = None;
    for Meaning { path, shows, .. } in meanings.iter().filter(|meaning| meaning.of == value) {
        let shown = shown(root, path)?;
        let holds = shown.as_deref() == *shows;
        let shown = shown.unwrap_or_else(|| crate::cell::ABSENT.to_owned());
        last = Some((format!("{path}: {shown}"), holds, shown));
        if !holds {
            break;
        }
    }
    Ok(last)
}

/// What a file says: the bracketed word where it has one, else all of it. `None`: it is not there.
fn shown(root: &Root, path: &str) -> Result<Option<String>, Error> {
    let Some(text) = if_present(root.read_lossy(path))? else { return Ok(None) };
    let bracketed = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    let shown: Cow<'_, str> = bracketed.map_or_else(|| text.trim().into(), Into::into);
    Ok(Some(shown.into_owned()))
}
