//! Every knob that can be written while the machine runs: set, taken back, and nothing is left of it.

use serde_json::Value;

use crate::harness::{Guest, Kernel, Lab, Spec, figure};

const KNOBS: &str = include_str!("guest/knobs.py");
const SNAPSHOT: &str = include_str!("guest/snapshot.py");

#[test]
fn every_knob_is_applied_and_undone_on_each_kernel() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(&[Kernel::Stock, Kernel::Rt, Kernel::Old]) {
        let guest = lab.boot(&Spec::new(kernel));
        guest.install();
        guest.wait_for("it is up", "systemctl is-system-running --wait || true");
        guest.write("/root/snapshot.py", SNAPSHOT);
        guest.write("/root/knobs.py", KNOBS);
        guest.run("quell tune explain --json > /root/registry.json").succeeds();
        let registry = guest.run("cat /root/registry.json").json("quell.explain/1");
        let knobs = registry["knobs"].as_array().unwrap().iter().filter(|knob| knob["when"] == "runtime");
        let rows: Vec<Value> = knobs.flat_map(|knob| tried(&guest, kernel, &knob["id"])).collect();
        let written = rows.iter().filter(|row| row["changes"] != 0).count();
        figure(&format!("{}: {written} of {} attributes set and taken back", kernel.name(), rows.len()));
        let left: Vec<&Value> =
            rows.iter().filter(|row| row["differs"] != Value::Array(Vec::new())).collect();
        assert!(left.is_empty(), "{left:#?}");
        let unknown = |row: &&Value| row["why"].as_str().is_some_and(|why| why.starts_with("unknown kind"));
        assert_eq!(rows.iter().filter(unknown).count(), 0, "{rows:#?}");
        assert!(written >= WRITTEN_MIN, "{rows:#?}");
    }
}

/// Fewer attributes than this on any kernel means that the test has lost its way: the rest is hardware no guest has.
const WRITTEN_MIN: usize = 12;

/// What became of each attribute of one knob.
fn tried(guest: &Guest, kernel: Kernel, knob: &Value) -> Vec<Value> {
    let knob = knob.as_str().unwrap();
    let told = guest.run(&format!("python3 /root/knobs.py {knob} < /root/registry.json")).succeeds();
    if !told.stderr.is_empty() {
        figure(&format!("{}: {knob} says: {}", kernel.name(), told.stderr.trim_end()));
    }
    let told = told.json("lab.knobs/1");
    figure(&format!("{}: {told}", kernel.name()));
    told["attributes"].as_array().unwrap().iter().map(|row| named(knob, row)).collect()
}

fn named(knob: &str, row: &Value) -> Value {
    let mut row = row.clone();
    row["knob"] = knob.into();
    row
}
