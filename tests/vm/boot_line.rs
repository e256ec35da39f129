//! The boot line on a machine with GRUB: a line that is accepted, three that are not, and the power cut in between.

use serde_json::Value;

use crate::harness::{Guest, Kernel, Lab, Spec};

// Exit codes of the product.
const NO: i32 = 3;
const NEEDS_REBOOT: i32 = 8;

const PROFILE: &str = "schema = \"quell.profile/1\"\n[cpus]\nisolated = \"2-3\"\n[knobs]\n\
                       \"iso.isolcpus\" = { cpus = \"isolated\" }\n\"iso.nohz\" = { cpus = \"isolated\" }\n\
                       \"iso.rcu\" = { cpus = \"isolated\", poll = true }\n\"iso.skew\" = { enabled = true }\n\
                       \"irq.default\" = { boot = \"housekeeping\" }\n\"iso.lockup\" = { nosoftlockup = true }\n\
                       \"mem.hugeboot\" = { \"2M\" = { node0 = 16 } }\n";

/// A machine that boots by GRUB, with quell's part of it installed as the package does.
fn bootable(lab: &Lab) -> Guest {
    let guest = lab.boot(&Spec { grub: true, ..Spec::new(Kernel::Stock) });
    guest.install();
    guest.write("/root/quiet.toml", PROFILE);
    guest.run("grep -c quell_args /boot/grub/grub.cfg").succeeds();
    guest
}

fn boot(guest: &Guest) -> Value {
    guest.run("quell tune boot --json").json("quell.boot/1")
}

#[test]
fn an_accepted_line_is_kept_and_goes_back() {
    let Some(lab) = Lab::open() else { return };
    let mut guest = bootable(&lab);
    guest.run("quell tune apply --profile /root/quiet.toml").exits(NEEDS_REBOOT);
    assert_eq!(boot(&guest)["standing"], "armed");
    // GRUB sees the new pair after a power cut only when the disk has it; either way the machine boots a whole line.
    guest.reboot();
    let tried = boot(&guest);
    assert_eq!(tried["standing"], "on-trial", "{tried:#}");
    for row in tried["arguments"].as_array().unwrap() {
        assert_eq!(row["verdict"], "accepted", "{tried:#}");
    }
    guest.run("quell tune boot confirm").succeeds();
    guest.run("quell tune verify --profile /root/quiet.toml").succeeds();
    guest.reboot();
    let kept = boot(&guest);
    assert_eq!(
        (&kept["standing"], &kept["booted"]),
        (&Value::from("settled"), &kept["good"]["id"]),
        "{kept:#}"
    );
    assert_eq!(guest.text("cat /sys/devices/system/cpu/isolated"), "2-3");
    guest.run("quell tune verify --profile /root/quiet.toml").succeeds();
    guest.run("quell tune drift").succeeds();
    guest.run("quell tune rollback --to baseline").exits(NEEDS_REBOOT);
    guest.reboot();
    assert_eq!(guest.text("cat /sys/devices/system/cpu/isolated"), "");
    assert_eq!(guest.run("grep -c quell /proc/cmdline").text(), "0");
}

/// Arms `line` as an edit would, which no profile could ask for.
fn arm(guest: &Guest, line: &str, id: &str) {
    let dir = "/boot/grub/quell";
    guest
        .run(&format!(
            "grub-editenv {dir}/trial.env set 'quell_trial={line} quell.boot={id} panic=10' quell_trial_id={id} && \
             grub-editenv {dir}/armed.env set quell_armed={id} quell_tried= && sync"
        ))
        .succeeds();
}

#[test]
fn broken_lines_lead_back_to_the_one_before() {
    let Some(lab) = Lab::open_in_full() else { return };
    let mut guest = bootable(&lab);
    // Dies without a root; dies with its first process; comes up without what it asked for. (One that hangs, as with too
    // many huge pages, comes back when somebody cuts its power, or a hardware watchdog does.)
    for (line, id) in [("root=/dev/nonexistent rootdelay=5", "aaaa1111"), ("init=/bin/false", "aaaa2222")] {
        arm(&guest, line, id);
        guest.reboot();
        let back = boot(&guest);
        assert_eq!(back["standing"], "came-back", "{line}: {back:#}");
        assert_eq!(back["booted"], Value::Null, "{line}: {back:#}");
        guest.run("quell tune boot forget").succeeds();
    }
    arm(&guest, "isolcpus=nohz,domain,2-3 nohz_full=1-3", "aaaa3333");
    guest.reboot();
    let refused = guest.run("quell tune boot confirm --json").exits(NO).json("quell.boot/1");
    assert_eq!(refused["standing"], "refused", "{refused:#}");
    let why = refused["trial"]["refused"].as_str().unwrap();
    assert!(
        why.contains("nohz_full=1-3: the kernel said: Housekeeping: nohz_full= must match isolcpus="),
        "{why}"
    );
    guest.reboot();
    assert_eq!(boot(&guest)["booted"], Value::Null);
}

#[test]
fn a_power_cut_after_arming_boots_a_whole_line() {
    let Some(lab) = Lab::open_in_full() else { return };
    let mut guest = bootable(&lab);
    for _ in 0..lab.length(1, 20) {
        guest.run("quell tune boot forget; quell tune apply --profile /root/quiet.toml").exits(NEEDS_REBOOT);
        guest.power_cut();
        guest.start();
        let found = boot(&guest);
        let isolated = guest.text("cat /sys/devices/system/cpu/isolated");
        match found["standing"].as_str().unwrap() {
            "on-trial" => assert_eq!(isolated, "2-3", "{found:#}"),
            _ => assert_eq!(isolated, "", "{found:#}"),
        }
    }
}
