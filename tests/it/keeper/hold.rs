//! `quell-hold`, the built program: the request is in force while it lives, and no longer.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::signal::Signal;
use report::Exit;

use crate::harness::{Fixture, Quell, require_root, until};

const DEVICE: &str = "/dev/cpu_dma_latency";

/// A latency that nobody else would ask for.
const MICROS: i32 = 7;

/// The limit in force on this machine; every open descriptor is a request itself, one for nothing.
fn in_force() -> i32 {
    let mut micros = [0; 4];
    File::open(DEVICE).unwrap().read_exact_at(&mut micros, 0).unwrap();
    i32::from_ne_bytes(micros)
}

fn hold() -> Quell {
    Quell::new().program("quell-hold")
}

#[test]
fn the_limit_is_in_force_as_long_as_somebody_holds_it() {
    if !require_root() {
        return;
    }
    let hold = hold().args(["--latency-us", &MICROS.to_string()]);
    if !Path::new(DEVICE).exists() {
        hold.run().exits(Exit::Failure).says_one_line(&[DEVICE, "no such device"]);
        return;
    }
    let before = in_force();
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut holder = hold.start().ready();
        assert_eq!(in_force(), before.min(MICROS));
        let told = holder.told().join(" ") + &holder.said().stderr;
        assert!(told.contains("holds 7 us") && told.contains("in force"), "{told}");
        holder.signal(end);
        holder.wait();
        until("the request is gone", || (in_force() == before).then_some(()));
    }
}

#[test]
fn what_to_hold_comes_from_the_policy_and_nothing_is_no_wish() {
    let host = Fixture::copy("firecracker-2cpu-6.18");
    host.write(DEVICE, "");
    let hold = hold().args(["--root".as_ref(), host.path().as_os_str()]);
    let policy = |text: &str| hold.file("policy.toml", text);
    let named = hold.args(["--policy", "policy.toml"]);
    policy("[hold]\nlatency_us = 20\n");
    named.start().ready().stop().succeeds();
    assert_eq!(fs::read(host.path().join("dev/cpu_dma_latency")).unwrap(), 20_i32.to_ne_bytes());
    policy("[hold]\nlatency_us = 'any'\n");
    named.run().exits(Exit::Usage).says_one_line(&["policy.toml", "nothing to hold", "--latency-us"]);
    policy("[hold]\nlatency_us = -1\n");
    named.run().exits(Exit::Usage).says_one_line(&["policy.toml:2", "outside 0 to 1000000"]);
    host.remove(DEVICE);
    hold.args(["--latency-us", "20"]).run().exits(Exit::Failure).says_one_line(&[DEVICE, "no such device"]);
}
