//! Figures that only a booted machine gives, each with what it has to be. They are printed, for benches/README.md.
//!
//! The machine is emulated: what is counted (switches, datagrams, refusals) is a host's too; times are not.

use std::net::UdpSocket;
use std::time::Duration;

use crate::harness::{Dice, Guest, Kernel, Lab, Spec, figure};

const MOVE: &str = include_str!("guest/move.sh");
const ECHO: &str = include_str!("guest/echo.py");

#[test]
fn moving_interrupts_loses_no_datagram() {
    let Some(lab) = Lab::open() else { return };
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
        assert_eq!(moved.split_whitespace().next(), Some(moves.to_string().as_str()), "{moved}");
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
