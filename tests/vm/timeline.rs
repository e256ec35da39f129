//! A host's life from its first plan to its last roll-back, as one story: each step finds the host as the one before it
//! left it.

use serde_json::Value;

use crate::harness::{Dice, Guest, Kernel, Lab, Spec, figure};

const FOREIGN_WRITER: &str = include_str!("guest/foreign.py");
const SNAPSHOT: &str = include_str!("guest/snapshot.py");

/// What stands for the application: something in the trading slice, started at boot.
const TRADER: &str = "[Service]\nSlice=trading.slice\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// Root's ceiling: the keeper puts back what others change.
const POLICY: &str =
    "allow = [\"rings\", \"repair\"]\nrepair = true\nboot_settle = \"1s\"\nmax_changes_per_hour = 1000\n";

/// An emulated machine is slow: a probe every millisecond on each of its CPUs would leave nothing to the story.
const AGENT: &str = "[measure]\nprobes = [\"timer-wakeup\"]\ninterval = \"50ms\"\n[[budget]]\nname = \"wake-up\"\n\
                     channel = \"timer-wakeup\"\nlimit = \"p99 <= 50ms for 60s over 60s\"\n";

const DROP_IN: &str = "/usr/share/doc/quell/drop-ins/quell-keeper.service.d";

/// A change so long after a repair is no round of a fight, by the keeper's own default.
const SETTLE_SECONDS: u32 = 11;

/// What a foreign writer sets, each unlike the profile and unlike the first value.
const FOREIGN: [(&str, &str); 5] = [
    ("/proc/sys/vm/swappiness", "77"),
    ("/proc/sys/vm/dirty_ratio", "33"),
    ("/proc/sys/vm/stat_interval", "7"),
    ("/proc/sys/kernel/hung_task_timeout_secs", "99"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always"),
];

/// What stands for the last of them on a kernel that makes no transparent huge pages, as real-time ones are built.
const INSTEAD: (&str, &str) = ("/proc/sys/vm/compaction_proactiveness", "44");

/// Kernel arguments with which no host comes up: no root, no initial file system, a first process that ends. (What is
/// only not there, as `init=/nowhere`, Debian's initial file system replaces by the default.)
const BROKEN: [&str; 3] = ["root=/dev/nowhere panic=5", "rdinit=/nowhere panic=5", "init=/bin/false panic=5"];

/// Where the keeper writes down what it did.
const AUDIT: &str = "/var/lib/quell/keeper/audit.log";

const PROFILE: &str = "/etc/quell/host.toml";
const OTHER: &str = "/etc/quell/other.toml";

#[test]
fn a_host_from_its_first_plan_to_its_last_roll_back() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(lab.length(&[Kernel::Stock], &[Kernel::Stock, Kernel::Rt])) {
        let mut host = Host::set_up(&lab, kernel);
        let before = host.snapshot();
        host.plans_and_applies();
        host.is_tuned_after_a_reboot();
        host.was_ready_before_the_trading_slice();
        host.puts_back_what_a_foreign_writer_sets(lab.length(1, 5));
        host.leaves_a_fight();
        host.outlives_its_daemons();
        host.is_right_after_power_cuts_in_an_apply(1);
        host.is_right_after_power_cuts_in_an_edit_of_the_boot_line(1);
        host.comes_back_from_broken_boot_lines();
        host.is_as_before_after_the_last_roll_back(&before);
    }
}

/// The same moments again and again: half an hour, and so not a part of the story.
#[test]
fn a_host_is_right_after_each_of_many_power_cuts() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(lab.length(&[Kernel::Stock], &[Kernel::Stock, Kernel::Rt])) {
        let mut host = Host::set_up(&lab, kernel);
        host.plans_and_applies();
        host.is_tuned_after_a_reboot();
        let cuts = lab.length(1, 10);
        host.is_right_after_power_cuts_in_an_edit_of_the_boot_line(cuts);
        host.is_right_after_power_cuts_in_an_apply(cuts);
    }
}

struct Host {
    guest: Guest,
    kernel: Kernel,
    dice: Dice,
}

impl Host {
    /// The package installed and its units enabled, nothing tuned.
    fn set_up(lab: &Lab, kernel: Kernel) -> Self {
        let guest = lab.boot(&Spec { grub: true, ..Spec::new(kernel) });
        guest.install();
        guest.write("/etc/quell/policy.toml", POLICY);
        guest.write("/etc/quell/quell.toml", AGENT);
        // For the names of foreign writers, and for kernel events with Debian's perf_event_paranoid.
        guest
            .run(&format!("mkdir -p /etc/systemd/system && cp -r {DROP_IN} /etc/systemd/system/"))
            .succeeds();
        guest.write("/etc/systemd/system/trader.service", TRADER);
        guest.write("/root/snapshot.py", SNAPSHOT);
        guest.run("systemctl daemon-reload && systemctl enable quell-keeper quell-agent trader").succeeds();
        let mut host = Self { guest, kernel, dice: Dice::new(3) };
        host.guest.reboot();
        host.settles();
        host
    }

    fn snapshot(&self) -> String {
        self.guest.run("python3 /root/snapshot.py").succeeds().stdout
    }

    fn plans_and_applies(&self) {
        self.guest.write(PROFILE, &profile(self.base(), "2-3", ""));
        let plan = self.guest.run(&format!("quell tune plan --profile {PROFILE} --json")).exits(10);
        let plan = plan.json("quell.plan/1");
        assert_eq!(plan["reboot_required"], true, "{plan}");
        self.guest.run(&format!("quell tune apply --profile {PROFILE}")).exits(8);
        self.say(&format!("{} changes planned and applied", plan["changes"].as_array().unwrap().len()));
    }

    fn is_tuned_after_a_reboot(&mut self) {
        self.guest.reboot();
        self.settles();
        self.guest.wait_for("the trial is kept", "quell tune boot --json | grep settled");
        let verified = self.verified(PROFILE);
        assert_eq!(open(&verified), [""; 0]);
        assert_eq!(self.guest.text("cat /sys/devices/system/cpu/nohz_full"), "2-3");
        self.say(&format!("after the reboot: {}", verified["summary"]));
    }

    fn was_ready_before_the_trading_slice(&self) {
        let at = |unit: &str, property: &str| -> u64 {
            self.guest.text(&format!("systemctl show --value -p {property} {unit}")).parse().unwrap()
        };
        let keeper = at("quell-keeper.service", "ActiveEnterTimestampMonotonic");
        let agent = at("quell-agent.service", "ActiveEnterTimestampMonotonic");
        let slice = at("trading.slice", "ActiveEnterTimestampMonotonic");
        let trader = at("trader.service", "ExecMainStartTimestampMonotonic");
        assert!(
            0 < keeper && keeper <= agent && agent <= slice && slice <= trader,
            "{keeper} {agent} {slice} {trader}"
        );
        self.say(&format!(
            "READY: keeper at {keeper} us, agent {agent} us; trading slice {slice} us, trader {trader} us"
        ));
    }

    /// Several times, with enough between them that they are no fight: the first finds the keeper's code cold.
    fn puts_back_what_a_foreign_writer_sets(&self, times: u32) {
        self.guest.write("/root/foreign.py", FOREIGN_WRITER);
        let mut foreign = FOREIGN;
        let last = foreign.last_mut().unwrap();
        if self.guest.text(&format!("test -e {} && echo there || true", last.0)).is_empty() {
            *last = INSTEAD;
        }
        let writes = foreign.map(|(path, value)| format!("{path}={value}")).join(" ");
        let mut took_us = Vec::new();
        for time in 0..times {
            let pause = if time == 0 { 0 } else { SETTLE_SECONDS };
            let line = format!("sleep {pause}; python3 /root/foreign.py {writes}");
            let told = self.guest.run(&line).succeeds().json("lab.foreign/1");
            let repairs = told["repairs"].as_array().unwrap();
            repairs.iter().for_each(|repair| self.say(&format!("a foreign value was put back: {repair}")));
            assert_eq!(repairs.len(), FOREIGN.len(), "{told:#}");
            assert!(repairs.iter().all(|repair| repair["comm"] == "python3"), "{told:#}");
            took_us.extend(repairs.iter().filter_map(|repair| repair["repaired_in_us"].as_u64()));
            assert_eq!(open(&self.verified(PROFILE)), [""; 0]);
        }
        took_us.sort_unstable();
        let (median, most) = (took_us[took_us.len() / 2], took_us[took_us.len() - 1]);
        let count = took_us.len();
        self.say(&format!("{count} foreign values put back, median {median} us, the slowest {most} us"));
    }

    fn leaves_a_fight(&self) {
        let foe = "while :; do echo 88 > /proc/sys/vm/swappiness; sleep 0.2; done";
        self.guest.run(&format!("systemd-run --quiet --unit foe sh -c '{foe}'")).succeeds();
        self.guest.wait_for("the keeper leaves the fight", &format!("grep '\"deed\":\"left\"' {AUDIT}"));
        self.guest.run("systemctl stop foe").succeeds();
        assert_eq!(self.guest.text("cat /proc/sys/vm/swappiness"), "88");
        let left = self.guest.text(&format!("grep '\"deed\":\"left\"' {AUDIT} | tail -1"));
        self.say(&format!("a fight was left: {left}"));
        self.guest.run(&format!("quell tune apply --profile {PROFILE}")).exits(0);
        assert_eq!(open(&self.verified(PROFILE)), [""; 0]);
    }

    fn outlives_its_daemons(&self) {
        let before = self.snapshot();
        for unit in ["quell-keeper", "quell-agent"] {
            let pid = self.guest.text(&format!("systemctl show --value -p MainPID {unit}"));
            self.guest.run(&format!("kill -9 {pid}")).succeeds();
            let again = format!(
                "p=$(systemctl show --value -p MainPID {unit}); systemctl is-active {unit} && test $p != {pid} -a $p != 0"
            );
            self.guest.wait_for("it runs again", &again);
            assert_eq!(self.differences(&before), [""; 0], "{unit} was killed");
        }
        assert_eq!(open(&self.verified(PROFILE)), [""; 0]);
        let rings = self
            .guest
            .text("ls -l /proc/$(pidof quell-agent quell | cut -d' ' -f1)/fd | grep -c perf_event || true");
        self.say(&format!("keeper and agent killed: tuning as before, rings of the agent: {rings}"));
    }

    /// Applies of two profiles by turns are cut off at a drawn moment; after the next boot the host is held to one of
    /// the two, whole.
    fn is_right_after_power_cuts_in_an_apply(&mut self, cuts: u32) {
        let other = profile(self.base(), "2-3", "\"mem.swap\" = { swappiness = 20 }\n");
        self.guest.write(OTHER, &other);
        for _ in 0..cuts {
            self.cut_amid_applies();
            self.is_held_to_one_of(&[PROFILE, OTHER]);
            self.say("a power cut amid applies: right after the boot");
        }
        self.guest.run(&format!("quell tune apply --profile {PROFILE}")).exits(0);
        self.say(&format!("{cuts} power cuts amid applies: right after each boot"));
    }

    /// The same for applies that change nothing but the boot line, to and fro.
    fn is_right_after_power_cuts_in_an_edit_of_the_boot_line(&mut self, cuts: u32) {
        let other = profile(self.base(), "2-3", "\"iso.rcu\" = { patience_ms = 1100 }\n");
        self.guest.write(OTHER, &other);
        let mut interrupted = 0;
        for _ in 0..cuts {
            self.cut_amid_applies();
            interrupted += u32::from(self.has_an_interrupted_edit());
            self.is_held_to_one_of(&[PROFILE, OTHER]);
            self.say("a power cut amid edits of the boot line: right after the boot");
        }
        let back = self.guest.run(&format!("quell tune apply --profile {PROFILE}"));
        assert!(matches!(back.code, Some(0 | 8)), "{back}");
        self.guest.reboot();
        self.settles();
        self.guest.wait_for("the line stands", "quell tune boot --json | grep settled");
        assert_eq!(open(&self.verified(PROFILE)), [""; 0]);
        self.say(&format!("{cuts} power cuts amid edits of the boot line: right after each boot, {interrupted} told as interrupted"));
    }

    fn comes_back_from_broken_boot_lines(&mut self) {
        let good = self.guest.text("cat /proc/cmdline");
        for broken in BROKEN {
            let other = profile(self.base(), "2-3", "\"iso.rcu\" = { patience_ms = 1500 }\n");
            self.guest.write(OTHER, &other);
            self.guest.run("quell tune apply --profile /etc/quell/other.toml").exits(8);
            self.guest.run(&format!(
                "cd /boot/grub/quell && line=$(grub-editenv trial.env list | sed -n 's/^quell_trial=//p') && \
                 grub-editenv trial.env set \"quell_trial=$line {broken}\""
            ));
            self.guest.reboot();
            self.settles();
            assert_eq!(self.guest.text("cat /proc/cmdline"), good, "after {broken}");
            self.guest.run("quell tune rollback").succeeds();
            self.say(&format!("a boot with {broken:?} failed, and the next one was the old line's"));
        }
    }

    fn is_as_before_after_the_last_roll_back(&mut self, before: &str) {
        self.guest.run("quell tune rollback --to baseline").exits(8);
        self.guest.reboot();
        self.settles();
        assert_eq!(self.differences(before), [""; 0]);
        self.say(&format!(
            "rolled back and rebooted: {} settings as before the first plan",
            before.lines().count()
        ));
    }

    /// Has the two profiles applied by turns without end, cuts the power at a drawn moment, and boots.
    fn cut_amid_applies(&mut self) {
        let turns = format!(
            "while :; do for profile in {OTHER} {PROFILE}; do quell tune apply --profile $profile; echo $? >> /run/turns; done; done"
        );
        self.guest.run(&format!("sync; systemd-run --quiet --unit cut sh -c '{turns}'")).succeeds();
        // Several are over, so that one is under way whenever it is cut, however fast the machine is.
        self.guest.wait_for("some are over", "test $(wc -l < /run/turns) -ge 2");
        let wait_ms = self.dice.below(1000);
        let codes = self.guest.text(&format!("sleep 0.{wait_ms:03}; sort -u /run/turns | tr '\\n' ' '"));
        assert!(codes.split(' ').all(|code| matches!(code, "" | "0" | "8")), "applies ended with {codes}");
        self.guest.power_cut();
        self.guest.start();
        self.settles();
    }

    /// Whether an edit was cut off. The machine has booted a whole line then, it is told, and the next step is a person's:
    /// nobody else edits that line.
    fn has_an_interrupted_edit(&self) -> bool {
        let told = self.guest.run("quell tune drift --json");
        if !told.stderr.contains("was interrupted") {
            return false;
        }
        let drift = told.clone().exits(3).json("quell.drift/1");
        let rows = drift["drifted"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["knob"] == "boot.line"), "{told}");
        let again = self.guest.run(&format!("quell tune apply --profile {PROFILE}"));
        assert!(matches!(again.code, Some(0 | 8)), "{again}");
        true
    }

    fn is_held_to_one_of(&self, profiles: &[&str]) {
        self.guest.run("quell tune drift").exits(0);
        let open: Vec<Vec<String>> = profiles.iter().map(|profile| open(&self.verified(profile))).collect();
        assert!(open.iter().any(Vec::is_empty), "{open:#?}");
    }

    fn verified(&self, profile: &str) -> Value {
        self.guest.run(&format!("quell tune verify --profile {profile} --json")).json("quell.verify/1")
    }

    /// Waits until everything that starts at boot has started, and the keeper holds the host.
    fn settles(&self) {
        self.guest.run("systemctl is-system-running --wait");
        for unit in ["quell-keeper", "quell-agent", "trader"] {
            self.guest.wait_for(&format!("{unit} is there"), &format!("systemctl is-active {unit}"));
        }
    }

    fn differences(&self, before: &str) -> Vec<String> {
        let after = self.snapshot();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        let (before, after) = (lines(before), lines(&after));
        let gone = before.difference(&after).map(|line| format!("- {line}"));
        gone.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect()
    }

    fn base(&self) -> &'static str {
        if self.kernel == Kernel::Rt { "colo-rt" } else { "colo" }
    }

    fn say(&self, text: &str) {
        figure(&format!("{}: {text}", self.kernel.name()));
    }
}

/// What does not hold. An interrupt that has not fired since is on its way, and an argument waits for a boot.
fn open(verified: &Value) -> Vec<String> {
    let is_open = |row: &&Value| match row["status"].as_str() {
        Some("ok" | "not-applicable" | "needs-reboot") => false,
        Some("pending") => row["knob"] != "irq.aff",
        _ => true,
    };
    verified["knobs"].as_array().unwrap().iter().filter(is_open).map(Value::to_string).collect()
}

fn profile(base: &str, isolated: &str, knobs: &str) -> String {
    format!(
        "schema = \"quell.profile/1\"\ninclude = [\"{base}\"]\n[cpus]\nisolated = \"{isolated}\"\n[knobs]\n{knobs}"
    )
}
