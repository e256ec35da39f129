//! `quell-keeper`, the built program, on captured hosts: how it starts, ends and comes back; what it does on orders, and
//! what it refuses, stands in the files beside this one.

mod calls;
mod hold;
mod orders;
mod sessions;
mod strangers;
mod trading;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ::orders::{Addressed, MAJOR, Order, Outcome, Status, decode_answer, encode_order};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};
use report::Exit;

use crate::harness::{Daemon, Fixture, Quell, process, require_root, until};

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";

/// What the captured host holds, and what the profile wants.
const ORIGINAL: &str = "60\n";
const WANTED: &str = "10\n";

/// A profile of two harmless knobs.
const PROFILE: &str = "schema = 'quell.profile/1'\n[knobs]\n'mem.swap' = { swappiness = 10 }\n\
                       'iso.hung' = { timeout_secs = 600 }\n";

/// A captured host with a policy, a profile and a place for the keeper.
struct Host {
    host: Fixture,
    quell: Quell,
}

impl Host {
    /// With this policy, behind the key that names the profile.
    fn with(policy: &str) -> Self {
        let host = Self { host: Fixture::copy("firecracker-2cpu-6.18"), quell: Quell::new() };
        let profile = host.quell.file("held.toml", PROFILE);
        host.policy(&format!("profile = {:?}\n{policy}", profile.display().to_string()));
        host
    }

    fn policy(&self, text: &str) {
        let path = self.quell.file("policy.toml", text);
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }

    /// The keeper's command line; whoever runs the tests is the agent.
    fn keeper(&self) -> Quell {
        let uid = nix::unistd::geteuid().to_string();
        let keeper = self.quell.program("quell-keeper").on(&self.host);
        keeper.args(["--policy", "policy.toml", "--socket", "keeper.sock", "--agent-uid", &uid])
    }

    /// The keeper, when it has said READY.
    fn start(&self) -> Daemon {
        self.keeper().start().ready()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.quell.folder().join("state").join(name)
    }

    fn socket(&self) -> PathBuf {
        self.quell.folder().join("keeper.sock")
    }

    /// The lines of the audit log that are about this.
    fn audit(&self, about: &str) -> Vec<String> {
        let log = fs::read_to_string(self.state("audit.log")).unwrap();
        log.lines().filter(|line| line.contains(about)).map(str::to_owned).collect()
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    fn status(&self) -> Status {
        match self.client().ask(Order::Status) {
            Outcome::Done(::orders::Answer::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }
}

/// The agent's end of a connection.
struct Client {
    socket: OwnedFd,
    sequence: u64,
    fence: u64,
}

impl Client {
    fn connect(path: &std::path::Path) -> io::Result<Self> {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { socket, sequence: 0, fence: 0 })
    }

    /// What becomes of an order.
    #[track_caller]
    fn ask(&mut self, what: Order) -> Outcome {
        self.sequence += 1;
        let order = Addressed { sequence: self.sequence, fence: self.fence, what };
        let answer = self.exchange(&encode_order(&order)).expect("an answer");
        let answer = decode_answer(&answer).unwrap();
        assert_eq!(answer.sequence, self.sequence);
        self.fence = answer.fence;
        answer.what
    }

    /// The bytes that come back; `None` when the keeper hung up.
    fn exchange(&self, message: &[u8]) -> Option<Vec<u8>> {
        send(self.socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL).ok()?;
        self.receive()
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut answer = [0; 512];
        match recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
            Ok(length @ 1..) => Some(answer[..length].to_vec()),
            _ => None,
        }
    }
}

#[test]
fn the_profile_stands_when_ready_is_said() {
    let host = Host::with("");
    let keeper = host.start();
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    let status = host.status();
    assert!(status.fit, "{}", status.reason);
    assert_eq!(status.knobs[0], 2, "both knobs are counted as ok");
    assert_eq!(status.journal, Some(1));
    keeper.stop().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), WANTED, "its end leaves the tuning");
    assert!(!host.socket().exists());
}

#[test]
fn its_program_is_in_memory_before_ready_is_said() {
    if !require_root() {
        return; // others may have a limit
    }
    let host = Host::with("");
    let keeper = host.start();
    let (locked, program) = (process::kib_of(keeper.pid(), "VmLck"), process::kib_of(keeper.pid(), "VmExe"));
    assert!(locked >= program && program > 0, "{locked} KiB locked, {program} KiB of program");
    assert_eq!(host.audit("not-locked"), [""; 0]);
    keeper.stop().succeeds();
}

#[test]
fn killed_and_restarted_it_keeps_the_tuning_and_writes_nothing() {
    let host = Host::with("");
    let keeper = host.start();
    keeper.signal(Signal::SIGKILL);
    keeper.wait();
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    let keeper = host.start();
    assert_eq!(host.audit("\"applied\"").len(), 1, "the second start had nothing to apply");
    assert!(host.status().fit);
    keeper.stop().succeeds();
}

#[test]
fn what_root_asked_for_comes_before_the_policy() {
    let host = Host::with("");
    let mine = PROFILE.replace("swappiness = 10", "swappiness = 20");
    let mine = host.quell.file("mine.toml", &mine).display().to_string();
    let tune = |words: &[&str]| host.quell.args(["tune"]).args(words.iter().copied()).on(&host.host).run();
    tune(&["apply", "--profile", &mine]).succeeds();
    host.host.write(SWAPPINESS, ORIGINAL); // as after a reboot
    let keeper = host.start();
    assert_eq!(host.host.read(SWAPPINESS), "20\n");
    tune(&["rollback", "--to", "baseline"]).succeeds();
    let mut client = host.client();
    let refused = client.ask(Order::Reverify);
    assert!(matches!(refused, Outcome::Refused { why: ::orders::Refusal::NothingHeld, .. }), "{refused:?}");
    keeper.stop().succeeds();
    host.start().stop().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL, "taken back is taken back");
}

#[test]
fn a_profile_that_cannot_be_applied_is_said_and_stops_nobody() {
    let host = Host::with("");
    host.policy("profile = 'balanced'\n");
    for file in ["dirty_ratio", "dirty_bytes", "dirty_background_ratio", "dirty_background_bytes"] {
        host.host.remove(&format!("/proc/sys/vm/{file}"));
    }
    let mut keeper = host.keeper().start().ready();
    let told = keeper.wait_told("STATUS=");
    assert!(told.contains("unfit"), "{told}");
    let status = host.status();
    assert!(!status.fit && status.reason.as_str().contains("mem.dirty"), "{status:?}");
    assert_eq!(host.host.read(SWAPPINESS), WANTED, "the rest is applied");
    keeper.stop().succeeds();
}

#[test]
fn another_engine_at_work_is_waited_for_after_ready() {
    let host = Host::with("");
    fs::create_dir(host.state("")).unwrap();
    fs::set_permissions(host.state(""), Permissions::from_mode(0o700)).unwrap();
    let lock = File::options().write(true).create_new(true).open(host.state("lock")).unwrap();
    fs::set_permissions(host.state("lock"), Permissions::from_mode(0o600)).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).unwrap();
    let keeper = host.start();
    let status = host.status();
    assert!(!status.fit && status.reason.as_str().contains("another quell"), "{status:?}");
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL);
    drop(lock);
    until("the profile is taken up", || host.status().fit.then_some(()));
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    keeper.stop().succeeds();
}

#[test]
fn an_interrupted_apply_is_finished() {
    let host = Host::with("");
    host.start().stop().succeeds();
    // The journal of an apply that was killed before its first write: its last line, the end of the transaction, is missing.
    let journal = fs::read(host.state("journal")).unwrap();
    let begin = journal.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let second = begin + journal[begin..].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    fs::write(host.state("journal"), &journal[..second]).unwrap();
    host.host.write(SWAPPINESS, ORIGINAL);
    let drift = host.quell.args(["tune", "drift"]).on(&host.host).run();
    assert!(drift.stdout.contains("interrupted"), "{}", drift.stdout);
    host.start().stop().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    host.quell.args(["tune", "rollback", "--to", "baseline"]).on(&host.host).run().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL);
}

#[test]
fn mistakes_of_the_policy_come_at_once_and_nothing_starts() {
    let host = Host::with("");
    host.policy("profil = 'x'\nrepair = 1\nmax_changes_per_hour = 99999\n");
    let refused = host.keeper().run().exits(Exit::Usage);
    for part in [
        "policy.toml:1: unknown key \"profil\"",
        "policy.toml:2: repair must be",
        "policy.toml:3: max_changes",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert!(!host.socket().exists() && !host.state("").exists());
    host.keeper().args(["--check"]).run().exits(Exit::Usage);
    host.policy("repair = true\n");
    host.keeper().args(["--check"]).run().succeeds();
    fs::set_permissions(host.quell.folder().join("policy.toml"), Permissions::from_mode(0o666)).unwrap();
    host.keeper().run().exits(Exit::Usage).says_one_line(&["policy.toml", "others can write it", "chmod"]);
}

#[test]
fn a_new_policy_holds_whole_or_not_at_all() {
    let host = Host::with("allow = ['repair']\n");
    let mut keeper = host.start();
    let repair = Order::Repair { knob: ::orders::Text::cut("mem.swap") };
    let mut client = host.client();
    assert!(matches!(client.ask(repair), Outcome::Done(_)));
    let before = fs::read_to_string(host.quell.folder().join("policy.toml")).unwrap();
    host.policy("allow = []\nrepair = 'perhaps'\n");
    let reload = |keeper: &mut Daemon| {
        keeper.told();
        keeper.signal(Signal::SIGHUP);
        keeper.wait_told("RELOADING=1");
        keeper.wait_told("READY=1");
    };
    reload(&mut keeper);
    assert!(matches!(client.ask(repair), Outcome::Done(_)), "the old policy holds");
    assert_eq!(host.audit("\"policy-kept\"").len(), 1);
    host.policy(&before.replace("'repair'", "'fence'"));
    reload(&mut keeper);
    assert!(matches!(client.ask(repair), Outcome::Refused { why: ::orders::Refusal::Policy, .. }));
    keeper.stop().succeeds();
}

#[test]
fn a_second_keeper_is_refused_and_a_dead_ones_socket_replaced() {
    let host = Host::with("");
    let keeper = host.start();
    host.keeper().run().exits(Exit::Busy);
    let elsewhere = host.keeper().args(["--state-dir", "elsewhere"]);
    elsewhere.run().exits(Exit::Busy).says_one_line(&["keeper.sock", "another keeper"]);
    assert!(matches!(host.client().ask(Order::Status), Outcome::Done(_)), "the first is undisturbed");
    keeper.signal(Signal::SIGKILL);
    keeper.wait();
    assert!(host.socket().exists());
    host.start().stop().succeeds();
}

#[test]
fn the_socket_is_its_owners_alone() {
    let host = Host::with("");
    let keeper = host.start();
    let mode = fs::metadata(host.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    keeper.stop().succeeds();
}

#[test]
fn another_version_is_refused_naming_both() {
    let host = Host::with("");
    let keeper = host.start();
    let mut message = encode_order(&Addressed { sequence: 1, fence: 0, what: Order::Status });
    message[4] = MAJOR + 1;
    let answer = decode_answer(&host.client().exchange(&message).unwrap()).unwrap();
    let Outcome::Refused { reason, .. } = answer.what else { panic!("{answer:?}") };
    assert!(reason.as_str().contains("version 2, this side speaks 1"), "{reason}");
    keeper.stop().succeeds();
}

#[test]
fn a_damaged_fence_stops_the_start() {
    let host = Host::with("");
    host.start().stop().succeeds();
    fs::write(host.state("fence"), "seven\n").unwrap();
    fs::set_permissions(host.state("fence"), Permissions::from_mode(0o600)).unwrap();
    host.keeper().run().exits(Exit::Integrity).says_one_line(&["fence", "does not hold one number"]);
}
