//! Figures that only a booted machine gives, each with what it has to be. They are printed, for benches/README.md.
//!
//! The machine is emulated: what is counted (switches, datagrams, refusals) is a host's too; times are not.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Dice, Guest, Kernel, Lab, Spec, figure};

const COUNT: &str = include_str!("guest/count.py");
const MOVE: &str = include_str!("guest/move.sh");
const DISTURB: &str = include_str!("guest/disturb.py");
const ECHO: &str = include_str!("guest/echo.py");

/// What stands for the application: it spins on the CPU it is bound to, under the ordinary scheduler.
const SPINNER: &str =
    "[Service]\nSlice=trading.slice\nExecStart=/usr/bin/taskset -c %i /bin/sh -c 'while :; do :; done'\n";

/// What `colo` does at run time: the boot line of these machines is qemu's.
const HOST_PROFILE: &str = r#"
schema = "quell.profile/1"
include = ["balanced"]
[cpus]
isolated = "2-3"
[knobs]
"iso.cpuset2"  = { cpus = "isolated", partition = "isolated" }
"iso.tasks"    = { cpus = "housekeeping" }
"iso.kthreads" = { cpus = "housekeeping" }
"iso.vmstat"   = { stat_interval = 120 }
"iso.timermig" = { enabled = true }
"#;

/// Share of one CPU that watching may cost, in parts of a million: 0.1 %.
const WATCHING_PPM_MAX: u64 = 1000;

#[test]
fn nothing_of_quell_reaches_an_isolated_cpu() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(&[Kernel::Stock, Kernel::Rt]) {
        let append = "isolcpus=managed_irq,2-3 nohz_full=2-3 rcu_nocbs=2-3".to_owned();
        let guest = lab.boot(&Spec { append, ..Spec::new(kernel) });
        guest.install();
        hold_to_profile(&guest);
        let seconds = lab.length(20, 60);
        let steady = count(&guest, seconds);
        figure(&format!("{}: {seconds} s on CPUs 2-3 under spinners: {steady}", kernel.name()));
        assert_eq!(steady["lost"], 0, "{steady}");
        assert_eq!(steady["switches_by_quell"], 0, "{steady}");
        assert_eq!(steady["sent_by_quell"], 0, "{steady}");

        // The counter sees quell where quell is: a thread in the agent's group that wakes up on one of these CPUs, and
        // one that sends interrupts there from a housekeeping CPU.
        guest.write("/root/disturb.py", DISTURB);
        let (inside, outside) =
            ("/sys/fs/cgroup/quell/quell-disturb", "/sys/fs/cgroup/system.slice/quell-agent.service");
        let disturb = format!("python3 /root/disturb.py 2 1 {inside} {outside}");
        guest.run(&format!("systemd-run --quiet --unit disturb {disturb}")).succeeds();
        guest.wait_for("it disturbs", &format!("grep . {inside}/cgroup.procs"));
        let told = count(&guest, 5);
        figure(&format!("{}: the same with a disturber (negative control, 5 s): {told}", kernel.name()));
        assert!(told["switches_by_quell"].as_u64().unwrap() > 0, "{told}");
        assert!(told["sent_by_quell"].as_u64().unwrap() > 0, "{told}");
        guest.run("systemctl kill --signal=KILL disturb");
    }
}

/// A tuned host in steady state: spinners on the isolated CPUs, keeper and agent at work beside them.
fn hold_to_profile(guest: &Guest) {
    guest.write("/etc/quell/host.toml", HOST_PROFILE);
    guest.write("/etc/systemd/system/spinner@.service", SPINNER);
    guest.run("systemctl daemon-reload && systemctl start spinner@2 spinner@3").succeeds();
    let applied = guest.run("quell tune apply --profile /etc/quell/host.toml");
    assert!(matches!(applied.code, Some(0 | 8)), "{applied}");
    guest.run("systemctl start quell-keeper.service quell-agent.service").succeeds();
    guest.run("systemctl is-system-running --wait");
}

fn count(guest: &Guest, seconds: u32) -> Value {
    guest.write("/root/count.py", COUNT);
    // A service of its own: on a busy machine it takes longer than a conversation may.
    let line =
        format!("python3 /root/count.py {seconds} 2 3 > /root/count.new && mv /root/count.new /root/count");
    guest.run("rm -f /root/count").succeeds();
    guest.run(&format!("systemd-run --quiet taskset -c 0 sh -c '{line}'")).succeeds();
    guest.wait_for("it is counted", "test -e /root/count");
    guest.run("cat /root/count").json("lab.count/1")
}

#[test]
fn watching_costs_next_to_nothing() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(lab.length(&[Kernel::Stock], &[Kernel::Stock, Kernel::Rt])) {
        let guest = lab.boot(&Spec::new(kernel));
        guest.install();
        hold_to_profile(&guest);
        let seconds = lab.length(20, 60);
        let (before, after) = cpu_ns_over(&guest, "quell-keeper", seconds);
        let ppm = (after - before) / (u64::from(seconds) * 1000);
        let memory = guest.text(
            "grep -E 'RssAnon|RssFile|RssShmem' /proc/$(pidof quell-keeper)/status | tr -s '\\t\\n' ' '",
        );
        figure(&format!(
            "{}: keeper watching for {seconds} s: {ppm} ppm of one CPU; {memory}",
            kernel.name()
        ));
        assert!(ppm <= WATCHING_PPM_MAX, "{ppm} ppm of one CPU");
    }
}

/// CPU time of all threads of `program` before and after `seconds`. Format of schedstat: "1234567 890 12", ns on a CPU
/// first (Documentation/scheduler/sched-stats.rst).
fn cpu_ns_over(guest: &Guest, program: &str, seconds: u32) -> (u64, u64) {
    let once = format!(
        "cat /proc/$(pidof {program})/task/*/schedstat | awk '{{ sum += $1 }} END {{ printf \"%d\\n\", sum }}'"
    );
    let said = guest.text(&format!("{once}; sleep {seconds}; {once}"));
    let mut numbers = said.lines().map(|line| line.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn moving_interrupts_loses_no_datagram() {
    let Some(lab) = Lab::open_in_full() else { return };
    for kernel in lab.kernels(lab.length(&[Kernel::Stock], &[Kernel::Stock, Kernel::Rt])) {
        let guest = lab.boot(&Spec::new(kernel));
        guest.install();
        guest.write("/root/echo.py", ECHO);
        guest.run("systemd-run --quiet --unit echo python3 /root/echo.py 7777").succeeds();
        let stream = Stream::to(&guest);
        let moves = lab.length(20, 200);
        move_interrupts(&guest, moves);
        let sent = stream.last_until(|| guest.run("test -e /root/moved").code == Some(0));
        let moved = guest.text("cat /root/moved");
        figure(&format!(
            "{}: {moved} moves of every interrupt, {sent} datagrams, each acknowledged",
            kernel.name()
        ));
        let why = guest.text("cat /root/moved.why");
        assert_eq!(moved.split_whitespace().next(), Some(moves.to_string().as_str()), "{moved}\n{why}");
    }
}

/// Has quell move every movable interrupt `moves` times, to a CPU that is drawn, in the background; at the end how often,
/// and on how many CPUs the network card's interrupts then fired, stand in a file.
fn move_interrupts(guest: &Guest, moves: u32) {
    for cpu in 0..4 {
        let profile =
            format!("schema = \"quell.profile/1\"\n[knobs]\n\"irq.aff\" = {{ cpus = \"{cpu}\" }}\n");
        guest.write(&format!("/root/irq{cpu}.toml"), &profile);
    }
    let mut dice = Dice::new(7);
    // Each move is one: to another CPU than the last.
    let targets = (0..moves).scan(0, |last, _| {
        *last = (*last + 1 + dice.below(3)) % 4;
        Some(last.to_string())
    });
    let targets = targets.collect::<Vec<_>>().join(" ");
    guest.write("/root/move.sh", MOVE);
    guest.run(&format!("systemd-run --quiet --unit move sh /root/move.sh {targets}")).succeeds();
}

/// Datagrams with numbers, each sent when the one before it was acknowledged.
struct Stream(UdpSocket);

impl Stream {
    /// Silence after which a datagram counts as lost: far above what an emulated machine on busy CPUs takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// To the echo in `guest`, which answers already.
    fn to(guest: &Guest) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", guest.udp_port())).unwrap();
        socket.set_read_timeout(Some(Self::PATIENCE)).unwrap();
        guest.wait_for("the echo listens", "grep -q ':1E61 ' /proc/net/udp");
        Self(socket)
    }

    /// How many came back until `is_over`, asked after every two hundred.
    #[track_caller]
    fn last_until(&self, is_over: impl Fn() -> bool) -> u64 {
        const BETWEEN_LOOKS: u64 = 200;
        let mut number: u64 = 0;
        loop {
            number += 1;
            self.0.send(&number.to_be_bytes()).unwrap();
            let mut answer = [0; 8];
            let received =
                self.0.recv(&mut answer).unwrap_or_else(|error| panic!("datagram {number} is lost: {error}"));
            assert_eq!((received, u64::from_be_bytes(answer)), (8, number));
            if number.is_multiple_of(BETWEEN_LOOKS) && is_over() {
                return number;
            }
        }
    }
}
