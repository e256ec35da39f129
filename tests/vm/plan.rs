//! What a plan says is what stands there afterwards, on each kernel: the rest of the proof is on machines that are models.

use serde_json::Value;

use crate::harness::{Guest, Kernel, Lab, Output, Spec, figure};

const PROFILE: &str = "/root/plan.toml";
const STATE: &str = "--state-dir /var/lib/plan-test";

#[test]
fn the_plan_is_the_result() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(&[Kernel::Stock, Kernel::Rt, Kernel::Old]) {
        let guest = lab.boot(&Spec::new(kernel));
        guest.install();
        guest.wait_for("it is up", "systemctl is-system-running --wait || true");
        for base in ["balanced", "colo", "colo-rt", "qualify", "colo-net"] {
            // The boot line of these machines is qemu's.
            let text =
                format!("schema = \"quell.profile/1\"\ninclude = [\"{base}\"]\n[cpus]\nisolated = \"2-3\"\n");
            guest.write(PROFILE, &text);
            let (count, unlike) = unlike_the_plan(&guest);
            figure(&format!(
                "{}: {base}: {count} changes planned, {} came out otherwise",
                kernel.name(),
                unlike.len()
            ));
            assert!(count > 0, "{base}");
            assert_eq!(unlike, [""; 0], "{base}");
            tune(&guest, "rollback --to baseline");
        }
    }
}

/// Plans, applies, and looks: how many changes were planned for now, and which of them stand otherwise.
fn unlike_the_plan(guest: &Guest) -> (usize, Vec<String>) {
    let plan = tune(guest, &format!("plan --profile {PROFILE} --json")).json("quell.plan/1");
    let applied = tune(guest, &format!("apply --profile {PROFILE} --json")).json("quell.apply/1");
    let verified = tune(guest, &format!("verify --profile {PROFILE} --json")).json("quell.verify/1");
    let again = tune(guest, &format!("plan --profile {PROFILE} --json")).json("quell.plan/1");
    let planned = now(&plan);
    let [written, seen] = [&applied["changes"], &verified["knobs"]].map(|rows| rows.as_array().unwrap());
    let mut unlike: Vec<String> =
        planned.iter().filter_map(|change| otherwise(change, written, seen)).collect();
    let is_new_thread =
        |change: &&Value| is_thread(change) && !planned.iter().any(|known| is_same(change, known));
    let again = now(&again).into_iter().filter(|change| !is_new_thread(change));
    unlike.extend(again.map(|change| format!("planned again: {change}")));
    (planned.len(), unlike)
}

/// The changes that are made while the machine runs.
fn now(plan: &Value) -> Vec<&Value> {
    plan["changes"].as_array().unwrap().iter().filter(|change| change["when"] == "runtime").collect()
}

/// How a change came out otherwise than planned; `None` when it did not. That an interrupt is its driver's, and when one
/// fires next, only the kernel knows; threads end, and one that keeps within its fence has no row of its own any more.
fn otherwise(change: &Value, written: &[Value], seen: &[Value]) -> Option<String> {
    let is_its = |row: &&Value| is_same(row, change);
    let Some(row) = written.iter().find(is_its) else {
        // It ended before the apply looked; one that did not would be planned again.
        return (!is_thread(change)).then(|| format!("no row: {change}"));
    };
    let is_irq = change["knob"] == "irq.aff";
    let is_thread = is_thread(change);
    let is_as_planned = match row["status"].as_str() {
        Some("ok") => true,
        Some("pending") => is_irq,
        Some("not-applicable") => is_irq || is_thread,
        _ => false,
    };
    let stands = match seen.iter().find(is_its) {
        Some(row) => row["have"] == change["to"] || row["status"] == "not-applicable",
        None => is_thread,
    };
    (!is_as_planned || !stands).then(|| format!("planned {change}, came to {row}"))
}

fn is_same(one: &Value, other: &Value) -> bool {
    ["knob", "attribute", "identity"].iter().all(|key| one[key] == other[key])
}

/// Threads come and go: one that came since is in nobody's plan.
fn is_thread(change: &Value) -> bool {
    ["iso.tasks", "iso.kthreads"].iter().any(|knob| change["knob"] == *knob)
}

fn tune(guest: &Guest, words: &str) -> Output {
    guest.run(&format!("quell tune {words} {STATE}"))
}
