//! `quell-hold`, the built program: the request is in force while it lives, and no longer.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::ReceiveTimestamp;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use report::Exit;
use serde_json::Value;

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

/// A datagram to ourselves that is received before anybody asked its socket for stamps: asked afterwards, the kernel tells
/// when it arrived if it stamps all packets, and the present otherwise.
fn is_stamped_on_arrival() -> bool {
    let (to, from) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    from.send_to(b"when?", to.local_addr().unwrap()).unwrap();
    while to.peek(&mut [0; 8]).unwrap() == 0 {}
    let between = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Longer than the clock's resolution, so that the present is told from `between`.
    until("time goes on", || {
        (UNIX_EPOCH.elapsed().unwrap() > between + Duration::from_millis(2)).then_some(())
    });
    setsockopt(&to, ReceiveTimestamp, &true).unwrap();
    let (mut bytes, mut space) = ([0; 8], nix::cmsg_space!(nix::sys::time::TimeVal));
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(to.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let stamp = message.cmsgs().unwrap().find_map(|part| match part {
        ControlMessageOwned::ScmTimestamp(stamp) => Some(stamp),
        _ => None,
    });
    let stamp = stamp.expect("a socket that asks for stamps gets one");
    let micros = i128::from(stamp.tv_sec()) * 1_000_000 + i128::from(stamp.tv_usec());
    micros <= i128::try_from(between.as_micros()).unwrap()
}

/// While it lives packets are stamped on arrival though nobody who receives them asked, and the host is told as held.
#[test]
fn packets_are_stamped_as_long_as_somebody_holds_it() {
    if !require_root() {
        return;
    }
    let profile = "schema = 'quell.profile/1'\n[knobs]\n'iso.static_key' = { timestamps = 'held' }\n";
    let verify = || {
        let quell = Quell::new();
        quell.file("held.toml", profile);
        let words = ["tune", "verify", "--profile", "held.toml", "--state-dir", "state", "--json"];
        quell.args(words).run().json("quell.verify/1")
    };
    let status = |told: &Value| told["knobs"][0]["status"].as_str().map(str::to_owned);
    let mut holder = hold().args(["--timestamps"]).start().ready();
    let told = holder.told().join(" ") + &holder.said().stderr;
    assert!(told.contains("holds the stamping of packets"), "{told}");
    // A worker of the kernel switches it.
    until("packets are stamped", || is_stamped_on_arrival().then_some(()));
    assert_eq!(status(&verify()).as_deref(), Some("ok"));
    holder.signal(Signal::SIGKILL);
    holder.wait();
    assert_eq!(status(&verify()).as_deref(), Some("failed"));
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
    policy("[hold]\ntimestamps = true\n");
    let mut holder = named.start().ready();
    let told = holder.told().join(" ") + &holder.said().stderr;
    assert!(told.contains("holds the stamping of packets") && !told.contains(" us"), "{told}");
    holder.stop().succeeds();
    host.remove(DEVICE);
    hold.args(["--latency-us", "20"]).run().exits(Exit::Failure).says_one_line(&[DEVICE, "no such device"]);
}
