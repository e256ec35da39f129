//! A plan as plain shell, for hosts where one wants to read it, or type it, first.

use host::ethtool::{Address, Aspect, Settings, Value};
use host::threads::Policy;

use crate::cell::Step;
use crate::plan::Plan;

/// One line a step, in order; each stops the script when it fails under `sh -e`.
#[must_use]
pub fn shell<'s>(steps: impl IntoIterator<Item = &'s Step>) -> String {
    steps.into_iter().map(|step| line(step) + "\n").collect()
}

/// The steps of a plan as a script, with what each is for. Unlike `apply` it keeps no originals, checks no effect and
/// takes huge pages in one step.
#[must_use]
pub fn of_plan(plan: &Plan) -> String {
    let mut text = format!("#!/bin/sh -e\n# profile {}\n", comment(&plan.profile));
    for change in &plan.changes {
        let name = [change.knob, &change.attribute, &change.identity].join(" ");
        let why =
            format!("# {}: {} -> {}\n", comment(name.trim_end()), comment(&change.from), comment(&change.to));
        text.push_str(&why);
        text.push_str(&shell(&change.steps));
    }
    text
}

fn line(step: &Step) -> String {
    match step {
        Step::Write { path, text } => format!("echo {} > {}", quoted(text.trim_end()), quoted(path)),
        Step::MakeDir { path } => format!("mkdir {}", quoted(path)),
        Step::RemoveDir { path } => format!("rmdir {}", quoted(path)),
        Step::Affinity { tid, cpus, .. } => format!("taskset -pc {cpus} {tid}"),
        Step::Schedule { tid, policy: Policy::Other, .. } => format!("chrt --other --pid 0 {tid}"),
        Step::Schedule { tid, policy: Policy::Fifo(priority), .. } => {
            format!("chrt --fifo --pid {priority} {tid}")
        }
        Step::Spread { address, to } => match to.even_over() {
            Some(queues) => format!("ethtool -X {} equal {queues}", quoted(&address.name)),
            None => format!("# {}: the table {to}, which ethtool cannot be told", comment(&address.name)),
        },
        Step::Steer { address, flow, queue: Some(queue) } => {
            format!("ethtool -N {} flow-type {} action {queue}", quoted(&address.name), flow.words())
        }
        Step::Steer { address, flow, queue: None } => {
            format!("# {}: ethtool -N NAME delete N, of the rule for {flow}", comment(&address.name))
        }
        Step::Swap { area, to: None } => format!("swapoff {}", quoted(area)),
        Step::Swap { area, to: Some(state) } if state.priority < 0 => format!("swapon {}", quoted(area)),
        Step::Swap { area, to: Some(state) } => {
            format!("swapon --priority {} {}", state.priority, quoted(area))
        }
        Step::Link { address, aspect, values } => told_driver(address, *aspect, values),
        Step::BootLine { dir, line, .. } if line.is_empty() => format!(
            "grub-editenv {0}/armed.env set quell_armed= && grub-editenv {0}/good.env set quell_good= quell_good_id=",
            quoted(dir)
        ),
        Step::BootLine { dir, line, id } => format!(
            "grub-editenv {0}/trial.env set {1} quell_trial_id={id} && grub-editenv {0}/armed.env set quell_armed={id}",
            quoted(dir),
            quoted(&format!("quell_trial={line}"))
        ),
    }
}

/// ethtool(8) knows the values by the names they have here.
fn told_driver(address: &Address, aspect: Aspect, values: &Settings) -> String {
    let option = match aspect {
        Aspect::Coalesce => "-C",
        Aspect::Rings => "-G",
        Aspect::Channels => "-L",
        Aspect::Features => "-K",
        Aspect::Pause => "-A",
        Aspect::Eee => "--set-eee",
    };
    let value = |(name, value): (&str, Value)| match value {
        Value::Waiting => format!(" {name} on"),
        Value::Needed => format!(" {name} off"),
        value => format!(" {name} {value}"),
    };
    let values: String = values.iter().map(value).collect();
    format!("ethtool {option} {}{values}", quoted(&address.name))
}

/// As one word of shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+,:".contains(&b);
    // A word that begins with a dash could be taken for an option of echo.
    if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As part of a comment: names come from drivers and must not end the line.
fn comment(text: &str) -> String {
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        let step = Step::Write { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(line(&step), expected);
    }

    #[test]
    fn lines() {
        check("/proc/sys/vm/swappiness", "10", "echo 10 > /proc/sys/vm/swappiness");
        check("/f", "-1", "echo '-1' > /f");
        check("/f", "n/a", "echo n/a > /f");
        check("/f", "\n", "echo '' > /f"); // a cpuset without CPUs
        check("/a b", "it's", r"echo 'it'\''s' > '/a b'");
    }
}
