//! Whether a value took effect, which is another question than whether the file reads back.

use host::rt::{self, Throttling};
use host::{Error, Root, if_present};
use units::{CpuId, CpuSet, Nanos, ParseError};

use crate::boot::{self, Verdict};
use crate::cell::{Cell, Effect};
use crate::declared;
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
        Effect::Booted => return booted(root, want),
        Effect::ListEquals(path) => cpus(root, path, list).map(|cpus| equal(&cpus, want)),
        Effect::ListsWithin(..) if want != "isolated" => return ok(Some(have.to_owned())),
        Effect::ListsWithin(inner, outer) => listed(root, inner, outer, have),
        Effect::RealtimeGuards => realtime_guards(root, want),
        Effect::Unbalanced { .. } if want != "0" => return ok(Some(have.to_owned())),
        Effect::Unbalanced { tree, group } => unbalanced(root, tree, group, have),
        Effect::Listed { path, cpu } => cpus(root, path, list).map(|cpus| in_list(&cpus, *cpu, want)),
        Effect::Unused(usage) => entered(root, usage),
        Effect::Declared { attribute, identity } => declared::look(root, attribute, identity, want, have),
    };
    seen.unwrap_or_else(|error| Sight {
        effective: None,
        status: Status::Failed,
        reason: format!("its effect cannot be read: {error}"),
    })
}

/// A line takes hold with a boot, and then as far as the kernel accepts it.
fn booted(root: &Root, want: &str) -> Sight {
    let sight = |status, reason: String| Sight { effective: None, status, reason };
    let state = match boot::state(root) {
        Ok(Some(state)) => state,
        Ok(None) => return sight(Status::Failed, "the boot loader's blocks are gone".to_owned()),
        Err(error) => return sight(Status::Failed, format!("its effect cannot be read: {error}")),
    };
    if !state.is_running() {
        let reason = if want == boot::NONE {
            "holds from the next boot on: without arguments the machine booted before quell, so nothing is tried".to_owned()
        } else {
            "tried once with the next boot, and kept when the kernel accepts it".to_owned()
        };
        return sight(Status::NeedsReboot, reason);
    }
    let judged = boot::judge_line(root, want);
    match judged.iter().find(|one| one.verdict == Verdict::Refused) {
        Some(refused) => sight(Status::Failed, format!("{}: {}", refused.argument, refused.reason)),
        None => ok(Some(want.to_owned())),
    }
}

fn list(text: &str) -> Result<CpuSet, ParseError> {
    text.parse()
}

fn cpus(
    root: &Root,
    path: &str,
    parse: impl Fn(&str) -> Result<CpuSet, ParseError>,
) -> Result<CpuSet, Error> {
    let text =
        if_present(root.read_attribute(path))?.ok_or_else(|| Error::Absent { path: root.display(path) })?;
    parse(&text).map_err(|error| Error::Format {
        path: root.display(path),
        line: error.text,
        problem: error.problem,
    })
}

/// A partition's CPUs are out of the machine's scheduling when the root's list of such CPUs has them (Linux 6.7 or later).
fn listed(root: &Root, inner: &str, outer: &str, have: &str) -> Result<Sight, Error> {
    let inner = cpus(root, inner, list)?;
    let Some(outer) = if_present(cpus(root, outer, list))? else { return Ok(ok(Some(have.to_owned()))) };
    if inner.is_subset(&outer) && !inner.is_empty() {
        return Ok(ok(Some(inner.to_string())));
    }
    let reason = format!("the group has CPU {inner}, and the kernel keeps CPU {outer} out of its scheduling");
    Ok(Sight { effective: Some(outer.to_string()), status: Status::Failed, reason })
}

/// Two guards limit real-time threads, each of its own: either leaves ordinary threads a share.
fn realtime_guards(root: &Root, want: &str) -> Result<Sight, Error> {
    let throttling = Throttling::read(root)?;
    let micros = throttling.runtime.map_or("-1".to_owned(), |runtime| (runtime.0 / 1000).to_string());
    if micros != want {
        let reason = format!("wanted {want}, and the scheduler has {micros} by now");
        return Ok(Sight { effective: Some(micros), status: Status::Failed, reason });
    }
    let throttled = match throttling.runtime {
        Some(runtime) => format!("throttled to {runtime} of each {}", throttling.period),
        None => "not throttled".to_owned(),
    };
    let mut served = CpuSet::empty();
    let mut problem = None;
    for cpu in host::cpus::Cpus::read(root)?.online.iter() {
        match rt::fair_server_runtime(root, cpu) {
            Ok(runtime) if runtime > Nanos::ZERO => served.insert(cpu),
            Ok(_) => {}
            Err(error) if error.is_absent() => {}
            Err(error) => problem = Some(error),
        }
    }
    let fair = match problem {
        Some(error) => format!("whether a fair server is in force cannot be told: {error}"),
        None if served.is_empty() => "no fair server".to_owned(),
        None => format!("fair server on CPU {served}"),
    };
    Ok(ok(Some(format!("{throttled}, {fair}"))))
}

/// A CPU is on line when the kernel's list has it.
fn in_list(cpus: &CpuSet, cpu: CpuId, want: &str) -> Sight {
    let has = cpus.contains(cpu);
    let effective = Some(u8::from(has).to_string());
    match has == (want == "1") {
        true => ok(effective),
        false => {
            let reason = format!("written, and the kernel's list has CPU {cpus}");
            Sight { effective, status: Status::Failed, reason }
        }
    }
}

/// How often an idle state was entered; whether that stands still is for whoever looks twice.
fn entered(root: &Root, usage: &str) -> Result<Sight, Error> {
    Ok(ok(Some(format!("entered {} times since boot", root.read(usage)?.trim()))))
}

fn unbalanced(root: &Root, tree: &str, group: &str, have: &str) -> Result<Sight, Error> {
    let own = cpus(root, &format!("{group}/cpuset.effective_cpus"), list)?;
    let balancing = host::cgroups::balancing(root, tree)?;
    let overlaps = |set: &&(String, CpuSet)| !set.1.intersection(&own).is_empty();
    let Some((dir, cpus)) = balancing.iter().find(overlaps) else { return Ok(ok(Some(have.to_owned()))) };
    let reason =
        format!("{dir} has CPU {cpus} and balances load among them; switch its sched_load_balance off");
    Ok(Sight { effective: Some("1".to_owned()), status: Status::Failed, reason })
}

pub(crate) fn ok(effective: Option<String>) -> Sight {
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
