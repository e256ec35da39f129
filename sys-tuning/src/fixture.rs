//! What the kernel does by itself when one of its files is written, done to plain files.
//!
//! A captured tree (`--root DIR`) is made of plain files: they neither move a bracket, nor zero a partner, nor end in a
//! newline. This module does the little that the forms of [`crate::cell`] need, so that plan, apply, verify and roll-back
//! can be tried on a tree of another machine. Left out on purpose: effects (an interrupt's effective CPUs stay as they
//! were captured, so such a change stays `pending`), clamping, refusals, and files that appear in a new control group.

use host::threads::Policy;
use host::{Error, Root, choice, swaps};
use units::CpuSet;

use crate::cell::{Cell, Form, Step};

/// Puts `to` into the cell's plain files; `restored` is their content byte for byte, where it is known.
pub(crate) fn write(root: &Root, cell: &Cell, to: &str, restored: Option<&[String]>) -> Result<(), Error> {
    if let Some(raw) = restored.filter(|raw| cell.reads_as(raw).as_deref() == Some(to)) {
        return write_all(root, cell.files().into_iter().zip(raw.iter().cloned()));
    }
    let steps = cell.steps("", to).map_err(|problem| malformed(root, cell, problem))?;
    for step in steps {
        match step {
            Step::MakeDir { path } => root.make_dir(&path)?,
            Step::RemoveDir { path } => root.remove_dir(&path)?,
            Step::Write { path, text } => write_all(root, shown(root, cell, &path, &text)?.into_iter())?,
            Step::Affinity { cpus, .. } => confine(root, cell, &cpus)?,
            Step::Schedule { policy, .. } => schedule(root, cell, policy)?,
            Step::Swap { area, to } => swap(root, &area, to)?,
            // Its blocks are plain files everywhere: the writer takes care of them.
            // A captured tree has neither a boot loader nor drivers.
            Step::BootLine { .. } | Step::Link { .. } | Step::Spread { .. } | Step::Steer { .. } => {}
        }
    }
    Ok(())
}

/// Gives a thread these CPUs: where no call may be made, its status file is what there is of it.
pub(crate) fn confine(root: &Root, cell: &Cell, cpus: &CpuSet) -> Result<(), Error> {
    root.write(&cell.path, &with_cpus(&root.read_lossy(&cell.path)?, &cpus.to_string()))
}

/// Puts an area on the list of those that are swapped to, or takes it off.
pub(crate) fn swap(root: &Root, path: &str, to: Option<swaps::State>) -> Result<(), Error> {
    let text = root.read_lossy(swaps::SWAPS)?;
    let is_other = |line: &&str| line.split_ascii_whitespace().next() != Some(path);
    let mut text: String = text.lines().filter(is_other).map(|line| format!("{line}\n")).collect();
    if let Some(state) = to {
        text.push_str(&swaps::line(&swaps::Area { path: path.to_owned(), state, used_kib: 0 }));
    }
    root.write(swaps::SWAPS, &text)
}

/// Gives a thread this policy, likewise.
pub(crate) fn schedule(root: &Root, cell: &Cell, policy: Policy) -> Result<(), Error> {
    root.write(&cell.path, &with_policy(&root.read_lossy(&cell.path)?, policy))
}

/// Zeroes first: while one member of a pair is written the other must not look like the value in force.
fn write_all<P: AsRef<str>>(root: &Root, files: impl Iterator<Item = (P, String)>) -> Result<(), Error> {
    let mut files: Vec<(P, String)> = files.collect();
    files.sort_by_key(|(_, text)| text.trim() != "0");
    files.iter().try_for_each(|(path, text)| root.write(path.as_ref(), text))
}

/// What the files show once `text` was written to `path`.
fn shown(root: &Root, cell: &Cell, path: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let line = |path: &str, text: &str| (path.to_owned(), format!("{}\n", text.trim_end()));
    Ok(match &cell.form {
        Form::Choice => vec![line(path, &bracket(&choice::read(root, path)?, text))],
        Form::Pair { bytes } if path == bytes => vec![line(path, text), line(&cell.path, "0")],
        Form::Pair { bytes } => vec![line(path, text), line(bytes, "0")],
        Form::CpuMask { requested: Some(requested), .. } => vec![line(requested, text), line(path, text)],
        Form::CacheWays => vec![line(path, &with_ways(&root.read(path)?, text))],
        Form::Switch(word) => vec![line(path, &switched(&root.read(path)?, word, text.starts_with('+')))],
        _ => vec![line(path, text)],
    })
}

fn bracket(choice: &choice::Choice, current: &str) -> String {
    let shown = |word: &String| if word == current { format!("[{word}]") } else { word.clone() };
    choice.options.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn switched(list: &str, word: &str, on: bool) -> String {
    let mut words: Vec<&str> = list.split_ascii_whitespace().filter(|other| *other != word).collect();
    words.extend(on.then_some(word));
    words.join(" ")
}

/// A thread's status file with other CPUs in the line that is read; the mask beside it stays as it was captured.
fn with_cpus(status: &str, cpus: &str) -> String {
    let line = |line: &str| match line.split_once(":\t") {
        Some((key @ "Cpus_allowed_list", _)) => format!("{key}:\t{cpus}\n"),
        _ => line.to_owned(),
    };
    status.split_inclusive('\n').map(line).collect()
}

/// A thread's line with another policy and priority: fields 40 and 41 of proc_pid_stat(5), and 18, which follows from them.
fn with_policy(stat: &str, policy: Policy) -> String {
    let (class, priority) = match policy {
        Policy::Other => (0, 0),
        Policy::Fifo(priority) => (1, i64::from(priority)),
    };
    let Some((name, fields)) = stat.rsplit_once(") ") else { return stat.to_owned() };
    let field = |(index, field): (usize, &str)| match index + 3 {
        // The nice value stays: an ordinary thread's is 20 above it here.
        18 if class == 1 => (-1 - priority).to_string(),
        18 => fields
            .split(' ')
            .nth(16)
            .and_then(|nice| nice.parse::<i64>().ok())
            .map_or(20, |n| n + 20)
            .to_string(),
        40 => priority.to_string(),
        41 => class.to_string(),
        _ => field.to_owned(),
    };
    let fields: Vec<String> = fields.split(' ').enumerate().map(field).collect();
    format!("{name}) {}", fields.join(" "))
}

/// A group's masks with another line of level 3; the others stay as they were captured.
fn with_ways(schemata: &str, line: &str) -> String {
    let other = |shown: &str| match shown.trim_start().starts_with("L3:") {
        true => format!("    {}", line.trim_end()),
        false => shown.to_owned(),
    };
    schemata.lines().map(other).collect::<Vec<_>>().join("\n")
}

fn malformed(root: &Root, cell: &Cell, problem: String) -> Error {
    Error::Format { path: root.display(&cell.path), line: String::new(), problem }
}
