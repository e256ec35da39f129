//! Whether a value took effect, which is another question than whether the file reads back.

use host::{Error, Root, if_present};
use units::{CpuSet, ParseError};

use crate::cell::{Cell, Effect};
use crate::status::Status;

/// What was seen of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    pub effective: Option<String>,
    pub status: Status,
    pub reason: String,
}

/// Looks at the effect of `want`, which `cell` holds as `have`.
pub(crate) fn look(root: &Root, cell: &Cell, want: &str, have: &str) -> Sight {
    let seen = match &cell.effect {
        Effect::ReadBack => return ok(Some(have.to_owned())),
        Effect::MovesInto(path) => cpus(root, path, list).map(|cpus| moved(&cpus, want)),
        Effect::MaskWithin(path) => cpus(root, path, CpuSet::from_mask).map(|cpus| within(&cpus, want)),
        Effect::ListEquals(path) => cpus(root, path, list).map(|cpus| equal(&cpus, want)),
    };
    seen.unwrap_or_else(|error| Sight {
        effective: None,
        status: Status::Failed,
        reason: format!("its effect cannot be read: {error}"),
    })
}

fn list(text: &str) -> Result<CpuSet, ParseError> {
    text.parse()
}

fn cpus(
    root: &Root,
    path: &str,
    parse: impl Fn(&str) -> Result<CpuSet, ParseError>,
) -> Result<CpuSet, Error> {
    let text = if_present(root.read(path))?.ok_or_else(|| Error::Absent { path: root.display(path) })?;
    parse(&text).map_err(|error| Error::Format {
        path: root.display(path),
        line: error.text,
        problem: error.problem,
    })
}

fn ok(effective: Option<String>) -> Sight {
    Sight { effective, status: Status::Ok, reason: String::new() }
}

/// An interrupt goes where it went until it fires again.
fn moved(effective: &CpuSet, want: &str) -> Sight {
    let is_inside = want.parse::<CpuSet>().is_ok_and(|want| effective.is_subset(&want));
    if is_inside {
        return ok(Some(effective.to_string()));
    }
    let reason = format!("still delivered to CPU {effective}; it moves when it next fires");
    Sight { effective: Some(effective.to_string()), status: Status::Pending, reason }
}

fn within(effective: &CpuSet, want: &str) -> Sight {
    let is_inside =
        want.parse::<CpuSet>().is_ok_and(|want| effective.is_subset(&want) && !effective.is_empty());
    if is_inside {
        return ok(Some(effective.to_string()));
    }
    let reason = format!("the kernel uses CPU {effective} all the same");
    Sight { effective: Some(effective.to_string()), status: Status::Failed, reason }
}

fn equal(effective: &CpuSet, want: &str) -> Sight {
    if want.parse::<CpuSet>().is_ok_and(|want| *effective == want) {
        return ok(Some(effective.to_string()));
    }
    let reason = format!("of CPU {want} the group has CPU {effective}");
    Sight { effective: Some(effective.to_string()), status: Status::Failed, reason }
}
