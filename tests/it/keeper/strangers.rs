//! What comes to the keeper's socket and is no order of the agent's: refused, written down, and without effect.

use std::fs::{self, Permissions};
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use orders::{
    Addressed, ORDER_BYTES, Order, Outcome, Refusal, Text, decode_answer, decode_order, encode_order,
};

use super::{Client, Host};
use crate::harness::process::descriptors;
use crate::harness::{NOBODY, require, require_root, until};

/// Sends one message (in hexadecimal digits) and says how long the answer is: another user, or one in another namespace,
/// has to be another process, and perl is on every Debian.
const SEND: &str = r#"$SIG{PIPE} = "IGNORE"; socket(my $s, PF_UNIX, SOCK_SEQPACKET, 0) or die "socket: $!";
connect($s, pack_sockaddr_un($ARGV[0])) or die "connect: $!";
send($s, pack("H*", $ARGV[1]), 0); recv($s, my $answer, 512, 0); print length($answer);"#;

/// The length of the answer to `order` when it comes through `wrapper`; 0 when the keeper hung up on it.
fn answered(host: &Host, wrapper: &[&str], order: Order) -> usize {
    // The folder and the socket are open, so that the keeper itself has to refuse.
    fs::set_permissions(host.quell.folder(), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(host.socket(), Permissions::from_mode(0o666)).unwrap();
    let order = encode_order(&Addressed { sequence: 1, fence: 0, what: order });
    let order: String = order.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut words = wrapper.iter().copied().chain(["perl", "-MSocket", "-e", SEND]);
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).arg(host.socket()).arg(order).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{wrapper:?}: {said}");
    String::from_utf8(output.stdout).unwrap().parse().unwrap_or(0)
}

/// Whether a message can be sent as somebody else.
#[track_caller]
fn may_be_others() -> bool {
    let is_here = require("perl");
    is_here && require_root()
}

const REPAIR: &str = "allow = ['repair']\n";

fn repair() -> Order {
    Order::Repair { knob: Text::cut("mem.swap") }
}

#[test]
fn another_user_is_refused_and_written_down() {
    if !(require("setpriv") && may_be_others()) {
        return;
    }
    let host = Host::with(REPAIR);
    let keeper = host.start();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    assert_eq!(answered(&host, &nobody, repair()), 0);
    let written = until("it is written down", || host.audit("\"stranger\"").pop());
    assert!(written.contains("\"uid\":65534,\"reason\":\"uid 65534 is not the agent's (0)\""), "{written}");
    // And the agent itself, the same way: it is not the way that is refused.
    assert_eq!(answered(&host, &["env"], repair()), orders::ANSWER_BYTES);
    keeper.stop().succeeds();
    let keeper = host.keeper().args(["--agent-uid", &NOBODY.to_string()]).start().ready();
    assert_eq!(answered(&host, &nobody, repair()), orders::ANSWER_BYTES);
    assert_eq!(answered(&host, &["env"], repair()), 0, "root is not the agent");
    keeper.stop().succeeds();
}

#[test]
fn the_root_of_a_container_is_a_stranger() {
    if !(require("unshare") && may_be_others()) {
        return;
    }
    let host = Host::with(REPAIR);
    let keeper = host.start();
    // The agent's own uid each time, as the keeper sees it.
    for (container, reason) in [
        (&["unshare", "--user", "--map-root-user"][..], "another user namespace"),
        (&["unshare", "--pid", "--fork"][..], "another pid namespace"),
        (
            &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"][..],
            "another user namespace",
        ),
    ] {
        let before = host.audit(reason).len();
        assert_eq!(answered(&host, container, repair()), 0, "{container:?}");
        until("it is written down", || (host.audit(reason).len() > before).then_some(()));
    }
    assert_eq!(answered(&host, &["env"], repair()), orders::ANSWER_BYTES);
    keeper.stop().succeeds();
}

#[test]
fn what_is_no_order_is_answered_written_down_and_hung_up_on() {
    let host = Host::with("");
    let keeper = host.start();
    let good = encode_order(&Addressed { sequence: 1, fence: 0, what: Order::Status });
    let long = [&good[..], &[0]].concat();
    let huge = vec![b'q'; 100_000];
    for (message, part) in [
        (&b"\x7f"[..], "1 bytes are no message"),
        (&good[..63], "63 bytes are no message"),
        (&long, "65 bytes are no message"),
        (&huge, "100000 bytes are no message"),
        (&[0xff; ORDER_BYTES], "magic"),
        (b"GET / HTTP/1.1\r\nHost: quell\r\n\r\n", "31 bytes are no message"),
    ] {
        let client = host.client();
        let answer = decode_answer(&client.exchange(message).expect("a refusal")).unwrap();
        let Outcome::Refused { order: None, why: Refusal::Malformed, reason } = answer.what else {
            panic!("{answer:?}");
        };
        assert!(reason.as_str().contains(part), "{reason}");
        assert_eq!(client.exchange(&good), None, "hung up");
        assert!(host.audit("\"malformed\"").pop().unwrap().contains(part));
    }
    keeper.stop().succeeds();
}

#[test]
fn descriptors_that_are_stuffed_into_orders_gain_nothing() {
    let host = Host::with("");
    let keeper = host.start();
    let client = host.client();
    let order = encode_order(&Addressed { sequence: 1, fence: 0, what: Order::Status });
    assert!(client.exchange(&order).is_some());
    let before = descriptors(keeper.pid());
    let stuffed = [client.socket.as_raw_fd(); 250];
    for _ in 0..100 {
        let rights = [ControlMessage::ScmRights(&stuffed)];
        let message = [IoSlice::new(&order)];
        sendmsg::<UnixAddr>(client.socket.as_raw_fd(), &message, &rights, MsgFlags::MSG_NOSIGNAL, None)
            .unwrap();
        assert!(client.receive().is_some());
    }
    assert_eq!(descriptors(keeper.pid()), before);
    keeper.stop().succeeds();
}

#[test]
fn few_connections_are_served_and_the_idlest_makes_room() {
    let host = Host::with("");
    let keeper = host.start();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..20 {
        let mut client = host.client();
        assert!(matches!(client.ask(Order::Status), Outcome::Done(_)));
        clients.push(client);
    }
    let order = encode_order(&Addressed { sequence: 9, fence: 0, what: Order::Status });
    let served = clients.iter().filter(|client| client.exchange(&order).is_some()).count();
    assert_eq!(served, units::limits::KEEPER_CLIENTS_MAX);
    keeper.stop().succeeds();
}

/// A xorshift generator: the same messages in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// Noise, or an order with a few bytes changed.
    fn message(&mut self) -> Vec<u8> {
        let mut message = match self.below(2) {
            0 => vec![0; 1 + self.below(3 * ORDER_BYTES)],
            _ => encode_order(&Addressed { sequence: 1, fence: 0, what: Order::Drift { after: 0 } }).to_vec(),
        };
        for _ in 0..=self.below(4) {
            let place = self.below(message.len());
            message[place] = u8::try_from(self.below(256)).unwrap();
        }
        message
    }
}

#[test]
fn ten_thousand_hostile_messages_change_nothing() {
    let host = Host::with(REPAIR);
    let keeper = host.start();
    let before = host.host.snapshot();
    assert_eq!(host.status().refused, 0);
    let open = descriptors(keeper.pid()); // what looking at a peer opens is open by now
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut client, mut malformed) = (host.client(), 0);
    for _ in 0..10_000 {
        let message = random.message();
        let answer = decode_answer(&client.exchange(&message).expect("an answer")).unwrap();
        if decode_order(&message).is_err() {
            assert!(matches!(answer.what, Outcome::Refused { why: Refusal::Malformed, .. }), "{answer:?}");
            malformed += 1;
            client = host.client();
        }
    }
    assert!(malformed > 5_000, "{malformed} were malformed");
    drop(client);
    until("their connections are closed", || (descriptors(keeper.pid()) <= open).then_some(()));
    assert!(host.host.snapshot() == before, "a file of the host changed");
    let status = host.status();
    assert!(status.fit && status.refused >= malformed, "{status:?}");
    let told = host.audit("\"malformed\"").len();
    assert!((1..=5_000).contains(&told), "{told} lines of {malformed}: a flood is counted, not written down");
    keeper.stop().succeeds();
}
