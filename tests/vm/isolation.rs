//! Isolation on a machine of its own: every thread, partition, queue and guard there and back, on each kernel.

use serde_json::Value;

use crate::harness::{Guest, Kernel, Lab, Output, Spec, figure};

/// Everything isolation may change, a line each. Left out: this conversation's own processes, workers that come and go by
/// themselves, the threads of interrupts, which follow these when they next fire, and khugepaged, which ends and starts
/// with transparent huge pages.
const SNAPSHOT: &str = r#"
for t in /proc/[0-9]*/task/[0-9]*; do
  [ -r $t/status ] || continue
  name=$(sed -n 's/^Name:\t//p' $t/status 2>/dev/null)
  cpus=$(sed -n 's/^Cpus_allowed_list:\t//p' $t/status 2>/dev/null)
  case "$name" in ''|sshd*|sh|bash|sed|sort|cat|kworker*|irq/*|khugepaged|systemd-*|'('*) continue;; esac
  echo "task ${t##*/} $name $cpus"
done | sort
for f in /sys/devices/virtual/workqueue/cpumask* /sys/devices/virtual/workqueue/*/cpumask /proc/irq/*/smp_affinity_list \
    /proc/irq/default_smp_affinity /sys/kernel/debug/sched/fair_server/cpu*/runtime /proc/sys/kernel/sched_rt_runtime_us \
    /proc/sys/kernel/timer_migration /proc/sys/vm/swappiness /proc/sys/vm/stat_interval /sys/fs/cgroup/cpuset.cpus.isolated \
    /sys/fs/cgroup/cgroup.subtree_control /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us; do
  [ -f $f ] && echo "$f $(cat $f)"
done
ls -d /sys/fs/cgroup/quell 2>/dev/null; true
"#;

const STATE: &str = "--state-dir /var/lib/isolation-test";

fn tune(guest: &Guest, words: &str) -> Output {
    guest.run(&format!("quell tune {words} {STATE}"))
}

/// The rows of a verification that are not as wanted.
fn troubles(verified: &Value) -> Vec<String> {
    let is_trouble = |row: &&Value| !matches!(row["status"].as_str(), Some("ok" | "not-applicable"));
    let row =
        |row: &Value| format!("{} {} {}: {}", row["knob"], row["attribute"], row["identity"], row["reason"]);
    verified["knobs"].as_array().unwrap().iter().filter(is_trouble).map(row).collect()
}

#[track_caller]
fn isolate_there_and_back(guest: &Guest, profile: &str) {
    let before = guest.text(SNAPSHOT);
    guest.write(
        "/root/host.toml",
        &format!(
            "schema = \"quell.profile/1\"\ninclude = [\"{profile}\"]\n[cpus]\nisolated = \"2-3\"\n[knobs]\n\
             \"iso.cpuset2\" = {{ cpus = \"isolated\", partition = \"isolated\" }}\n"
        ),
    );
    tune(guest, "apply --profile /root/host.toml").succeeds();
    assert_eq!(guest.text("cat /sys/fs/cgroup/cpuset.cpus.isolated"), "2-3");
    assert_eq!(guest.text("cat /sys/devices/virtual/workqueue/cpumask"), "3");
    let verified = tune(guest, "verify --profile /root/host.toml --json").json("quell.verify/1");
    // Interrupts that have not fired since are on their way: nothing else may be open.
    let open = troubles(&verified);
    assert!(open.iter().all(|row| row.contains("irq.aff") && row.contains("next fires")), "{open:#?}");
    tune(guest, "apply --profile /root/host.toml").succeeds();
    tune(guest, "drift").succeeds();
    tune(guest, "rollback --to baseline").succeeds();
    assert_eq!(guest.text(SNAPSHOT), before);
}

#[test]
fn isolation_there_and_back() {
    let Some(lab) = Lab::open_in_full() else { return };
    for (kernel, profile) in [(Kernel::Stock, "colo"), (Kernel::Rt, "colo-rt")] {
        if lab.kernels(&[kernel]).is_empty() {
            continue;
        }
        let guest = lab.boot(&Spec::new(kernel));
        guest.install();
        guest.wait_for("it is up", "systemctl is-system-running --wait || true");
        isolate_there_and_back(&guest, profile);
    }
}

#[test]
fn more_huge_pages_than_a_small_machine_has_are_refused() {
    let Some(lab) = Lab::open() else { return };
    let guest = lab.boot(&Spec { memory_mib: 512, ..Spec::new(Kernel::Stock) });
    guest.install();
    let mut dice = 1u64;
    let mut asked = Vec::new();
    for _ in 0..100 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        asked.push((1 + (dice >> 33) % 100_000).to_string());
    }
    // One conversation: a hundred would be about the network.
    let told = guest.text(&format!(
        "for pages in {}; do
           echo 'schema = \"quell.profile/1\"' > /root/huge.toml
           echo '[knobs.\"mem.huge\".2M]' >> /root/huge.toml
           echo \"node0 = $pages\" >> /root/huge.toml
           echo \"$pages: $(quell tune apply --profile /root/huge.toml {STATE} 2>&1) = $?\"
         done",
        asked.join(" ")
    ));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), asked.len(), "one line each\n{told}");
    for (line, pages) in lines.iter().zip(&asked) {
        for part in [&format!("{pages} × 2M"), "MiB are free", "MiB of them stay free", "at most", "= 22"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert_eq!(guest.text("cat /proc/sys/vm/nr_hugepages"), "0");
    assert_eq!(guest.text("dmesg | grep -ci 'out of memory' || true"), "0");
}

#[test]
fn huge_pages_up_to_the_boundary_are_given_and_none_beyond() {
    let Some(lab) = Lab::open_in_full() else { return };
    let guest = lab.boot(&Spec::new(Kernel::Stock));
    guest.install();
    guest.wait_for("it is up", "systemctl is-system-running --wait || true");
    let ask = |pages: u64| {
        let text = format!("schema = \"quell.profile/1\"\n[knobs.\"mem.huge\".2M]\nnode0 = {pages}\n");
        guest.write("/root/huge.toml", &text);
        tune(&guest, "apply --profile /root/huge.toml")
    };
    // What is free is free, and stays so: nothing is left in caches that would be given back meanwhile.
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches").succeeds();
    let refused = ask(100_000).exits(REFUSED);
    let most = refused.stderr.split("at most ").nth(1).and_then(|rest| rest.split(' ').next());
    let most_mib: u64 = most.and_then(|mib| mib.parse().ok()).unwrap_or_else(|| panic!("{refused}"));
    // The machine itself takes and gives a little between the two.
    let pages = (most_mib - SLACK_MIB) / 2;
    ask(pages).succeeds();
    assert_eq!(guest.text("cat /proc/sys/vm/nr_hugepages"), pages.to_string());
    let beyond = ask(pages + 2 * SLACK_MIB).exits(REFUSED);
    assert!(beyond.stderr.contains("MiB of them stay free"), "{beyond}");
    assert_eq!(guest.text("cat /proc/sys/vm/nr_hugepages"), pages.to_string(), "as it was");
    figure(&format!(
        "2048 MiB: {pages} huge pages of {most_mib} MiB given; free after it: {}",
        guest.text("grep MemFree /proc/meminfo")
    ));
    tune(&guest, "rollback --to baseline").succeeds();
    assert_eq!(guest.text("cat /proc/sys/vm/nr_hugepages"), "0");
    assert_eq!(guest.text("dmesg | grep -ci 'out of memory' || true"), "0");
}

/// Exit code of what is refused.
const REFUSED: i32 = 22;

/// Memory that comes and goes on an idle machine, in MiB.
const SLACK_MIB: u64 = 32;
