//! `cargo xtask vm boot`: not a test, but a guest for a person, in the one place that knows how to make one.

use crate::harness::{Lab, Spec};

#[test]
fn a_guest_for_a_person() {
    if std::env::var_os("QUELL_VM_HOLD").is_none() {
        return;
    }
    let Some(lab) = Lab::open() else { return };
    let mut guest = lab.boot(&Spec::from_environment());
    println!("{}", guest.ssh_line());
    println!(
        "(udp port {} leads to port 7777; `systemctl poweroff` in it, or Ctrl-C here, ends it)",
        guest.udp_port()
    );
    guest.wait();
}
