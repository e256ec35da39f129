//! The loop: one thread that waits for signals, clients and sources, and does one thing at a time.
//!
//! The order of the start is the promise: lock, audit log and fence first, then the host is brought to its profile, then
//! READY. Nothing of the end touches the host: the tuning stays, whoever ends us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use host::Root;
use host::threads::{allowed_cpus, lock_program, monotonic_now, pin, reachable_cpus};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use orders::{Malformed, ORDER_BYTES, Order, Outcome};
use report::wall_time_now;
use units::{CpuSet, Nanos};

use crate::arguments::Arguments;
use crate::audit::{Entry, Level, Often};
use crate::carry_out::{Done, carry_out, refused};
use crate::duty::Duty;
use crate::edges::Edges;
use crate::moment::Moment;
use crate::notify::Notify;
use crate::peer::{self, Peer};
use crate::policy::Policy;
use crate::rings::Rings;
use crate::server::Server;
use crate::source::Source;
use crate::trial::Trial;
use crate::watch::Watch;

/// Where a message is read into: one byte more than an order shows that it is too long, some more its version.
const MESSAGE_BYTES: usize = 2 * ORDER_BYTES;

/// How soon the profile is tried again while another engine is at work.
const RETRY: Nanos = Nanos::from_secs(1);

/// The keeper at work.
#[derive(Debug)]
pub struct Keeper {
    arguments: Arguments,
    duty: Duty,
    rings: Rings,
    server: Server,
    signals: SignalFd,
    notify: Notify,
    /// The machine's own /proc and /etc, whatever tree is tuned: the peers are processes of this machine.
    machine: Root,
    agent: Option<u32>,
    /// When to try the profile again.
    retry_at: Option<Nanos>,
    watch: Watch,
    trial: Trial,
    edges: Edges,
    refusals: u64,
    /// Where the service manager lets this thread run.
    home: CpuSet,
}

/// What is ready in one pass.
struct Ready {
    signal: bool,
    listener: bool,
    clients: Vec<u64>,
    /// One a source.
    sources: Vec<bool>,
}

impl Keeper {
    /// Everything is open, nothing is done yet.
    #[must_use]
    pub fn new(arguments: Arguments, duty: Duty, server: Server, signals: SignalFd, notify: Notify) -> Self {
        let machine = Root::system();
        let trial = Trial::due_at(monotonic_now() + duty.policy.boot_settle);
        let mut keeper = Self {
            arguments,
            duty,
            rings: Rings::default(),
            server,
            signals,
            notify,
            machine,
            agent: None,
            retry_at: None,
            watch: Watch::default(),
            trial,
            edges: Edges::default(),
            refusals: 0,
            home: allowed_cpus().unwrap_or_else(|_| CpuSet::empty()),
        };
        keeper.know_the_agent();
        keeper
    }

    /// Brings the host to its profile, says READY, and serves until it is told to end.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn run(mut self) -> io::Result<()> {
        if let Err(cause) = lock_program() {
            let why = format!("mlock: {cause}: a repair may wait for the disk (LimitMEMLOCK=)");
            let entry = Entry::new(Level::Notice, "not-locked").text("reason", &why);
            self.duty.audit.tell(Moment::now().wall, &entry);
        }
        self.take_up(Moment::now());
        self.notify.ready();
        loop {
            self.notify.status(&self.story());
            let ready = self.wait(monotonic_now())?;
            let now = Moment::now();
            self.notify.feed(now.monotonic);
            if ready.signal && self.is_told_to_end(now)? {
                self.notify.stopping();
                self.watch.finish(now, &mut self.duty);
                self.duty.audit.tell(now.wall, &Entry::new(Level::Info, "stops"));
                return Ok(());
            }
            self.step(&ready, now);
        }
    }

    /// What has work for the loop beside clients and signals, in the order in which it is done.
    fn sources(&self) -> Vec<&dyn Source> {
        vec![&self.watch, &self.trial, &self.edges]
    }

    /// The same, with what they work on.
    fn sources_mut(&mut self) -> (Vec<&mut dyn Source>, &mut Duty) {
        (vec![&mut self.watch, &mut self.trial, &mut self.edges], &mut self.duty)
    }

    fn step(&mut self, ready: &Ready, now: Moment) {
        if self.retry_at.is_some_and(|at| at <= now.monotonic) {
            self.take_up(now);
        }
        let (sources, duty) = self.sources_mut();
        for (source, is_readable) in sources.into_iter().zip(&ready.sources) {
            if *is_readable || source.deadline().is_some_and(|at| at <= now.monotonic) {
                source.on_ready(now, duty);
            }
        }
        for client in &ready.clients {
            self.serve(*client, now);
        }
        if ready.listener {
            self.accept(now);
        }
    }

    /// Before, so that nothing of this process is on a CPU from the moment it becomes the application's; after, because a
    /// partition that came or went has set this thread's CPUs anew. Whoever writes for us inherits them.
    fn take_up(&mut self, now: Moment) {
        self.stay_off_isolated_cpus();
        let is_busy = self.duty.take_up(now);
        self.retry_at = is_busy.then(|| now.monotonic + RETRY);
        self.stay_off_isolated_cpus();
    }

    /// The unit's `CPUAffinity=` cannot know which CPUs a profile isolates.
    fn stay_off_isolated_cpus(&mut self) {
        let apart = self.duty.set_apart(&self.machine);
        let reachable = reachable_cpus().unwrap_or_else(|_| CpuSet::empty());
        if let Some(cpus) = berth([&self.home, &reachable], &apart) {
            // Refused only inside a cpuset that has none of them: then the cpuset says where this thread is.
            let _ = pin(&cpus);
        }
    }

    /// Waits until something is ready or due.
    fn wait(&self, now: Nanos) -> io::Result<Ready> {
        let sources = self.sources();
        let clients = self.server.clients();
        let listening = self.server.listening(now);
        let mut descriptors = vec![self.signals.as_fd()];
        descriptors.extend(clients.iter().map(Server::descriptor));
        descriptors.extend(listening);
        let mut ends = Vec::with_capacity(sources.len());
        for source in &sources {
            source.descriptors(&mut descriptors);
            ends.push(descriptors.len());
        }
        let mut waiting: Vec<PollFd<'_>> =
            descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut waiting, timeout(self.due(&sources, now), now)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |index: usize| waiting[index].revents().is_some_and(|events| !events.is_empty());
        let of_sources = 1 + clients.len() + usize::from(listening.is_some());
        let begins = std::iter::once(of_sources).chain(ends.iter().copied());
        Ok(Ready {
            signal: is_ready(0),
            clients: (1..)
                .zip(clients)
                .filter(|(index, _)| is_ready(*index))
                .map(|(_, client)| client.id())
                .collect(),
            listener: listening.is_some() && is_ready(of_sources - 1),
            sources: begins.zip(&ends).map(|(begin, end)| (begin..*end).any(is_ready)).collect(),
        })
    }

    /// The first deadline there is.
    fn due(&self, sources: &[&dyn Source], now: Nanos) -> Option<Nanos> {
        let ours = [self.retry_at, self.notify.deadline(), self.server.deadline(now)];
        let theirs = sources.iter().filter_map(|source| source.deadline());
        ours.into_iter().flatten().chain(theirs).min()
    }

    /// Takes the signals that came: SIGHUP reads the policy again, the others end.
    fn is_told_to_end(&mut self, now: Moment) -> io::Result<bool> {
        while let Some(signal) = self.signals.read_signal()? {
            match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGHUP) => self.reload(now),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// All of the new policy or nothing of it.
    fn reload(&mut self, now: Moment) {
        self.notify.reloading(now.monotonic);
        match Policy::read(&self.arguments.policy, self.arguments.policy_is_named) {
            Ok(policy) => {
                self.duty.policy = policy;
                self.know_the_agent();
                self.duty.audit.tell(now.wall, &Entry::new(Level::Notice, "policy-read"));
                self.take_up(now);
            }
            Err(mistakes) => {
                let entry = Entry::new(Level::Error, "policy-kept").text("mistakes", &mistakes.to_string());
                self.duty.audit.tell(now.wall, &entry);
            }
        }
        self.notify.ready();
    }

    fn know_the_agent(&mut self) {
        let user = &self.duty.policy.agent_user;
        self.agent = match self.arguments.agent_uid {
            Some(uid) => Some(uid),
            None => peer::uid_of(&self.machine, user.as_str()).unwrap_or_else(|error| {
                let entry = Entry::new(Level::Error, "no-agent").text("reason", &error.to_string());
                self.duty.audit.tell(wall_time_now(), &entry);
                None
            }),
        };
    }

    /// Takes one connection; one that is not the agent's is closed unread.
    fn accept(&mut self, now: Moment) {
        let (stream, peer) = match self.server.accept(now.monotonic) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(error) => {
                let entry = Entry::new(Level::Error, "accept").text("reason", &error.to_string());
                return self.refuse(now, entry);
            }
        };
        if let Err(why) = peer.check(&stream, &self.machine, self.agent) {
            let entry = from(Entry::new(Level::Warning, "stranger"), peer).text("reason", &why);
            return self.refuse(now, entry);
        }
        if let Some(idle) = self.server.admit(stream, peer, now.monotonic) {
            let entry = from(Entry::new(Level::Warning, "dropped"), idle)
                .text("reason", "too many connections, idle longest");
            self.refuse(now, entry);
        }
    }

    fn refuse(&mut self, now: Moment, entry: Entry) {
        self.refusals += 1;
        self.duty.audit.tell_some(now.wall, now.monotonic, Often::Refusal, entry);
    }

    /// Reads one order of a client and answers it.
    fn serve(&mut self, client: u64, now: Moment) {
        let mut message = [0; MESSAGE_BYTES];
        let Some(peer) = self.server.peer(client) else { return };
        let Some(length) = self.server.receive(client, &mut message, now.monotonic) else { return };
        let order = match message.get(..length).map(orders::decode_order) {
            Some(Ok(order)) => order,
            Some(Err(malformed)) => return self.refuse_noise(client, peer, malformed, now),
            None => {
                let malformed = Malformed::Length { found: length, expected: ORDER_BYTES };
                return self.refuse_noise(client, peer, malformed, now);
            }
        };
        let Done { outcome, descriptor } =
            carry_out(&mut self.duty, &mut self.rings, order, self.refusals, now);
        self.write_down(order.what, &outcome, peer, now);
        self.answer(client, order.sequence, outcome, descriptor.as_ref().map(AsFd::as_fd), now);
    }

    fn write_down(&mut self, order: Order, outcome: &Outcome, peer: Peer, now: Moment) {
        let entry = |level| from(Entry::new(level, "order"), peer).text("order", &format!("{order:?}"));
        match outcome {
            Outcome::Done(_) if order.kind().only_reads() => {}
            Outcome::Done(_) => {
                let entry = entry(Level::Notice).text("outcome", "done");
                self.duty.audit.tell_some(now.wall, now.monotonic, Often::Order, entry);
            }
            Outcome::Refused { why, reason, .. } => {
                let entry = entry(Level::Warning).text("outcome", why.word()).text("reason", reason.as_str());
                self.refuse(now, entry);
            }
            Outcome::Failed { reason, .. } => {
                let entry = entry(Level::Error).text("outcome", "failed").text("reason", reason.as_str());
                self.duty.audit.tell_some(now.wall, now.monotonic, Often::Order, entry);
            }
        }
    }

    /// What came is no order: it is answered, and the sender hung up on.
    fn refuse_noise(&mut self, client: u64, peer: Peer, malformed: Malformed, now: Moment) {
        let why = malformed.to_string();
        self.refuse(now, from(Entry::new(Level::Warning, "malformed"), peer).text("reason", &why));
        self.answer(client, 0, refused(None, orders::Refusal::Malformed, &why), None, now);
        self.server.close(client);
    }

    fn answer(
        &mut self,
        client: u64,
        sequence: u64,
        outcome: Outcome,
        descriptor: Option<BorrowedFd<'_>>,
        now: Moment,
    ) {
        let answer = orders::Addressed { sequence, fence: self.duty.fence.number(), what: outcome };
        if let Err(error) = self.server.answer(client, &orders::encode_answer(&answer), descriptor) {
            let entry = Entry::new(Level::Warning, "unanswered").text("reason", &error.to_string());
            self.refuse(now, entry);
        }
    }

    /// The line for `systemctl status`.
    fn story(&self) -> String {
        let held = match &self.duty.held.wish {
            Some(wish) => format!("holds {}", wish.profile.name),
            None => "holds nothing".to_owned(),
        };
        let on = match self.duty.held.on.as_slice() {
            [] => String::new(),
            on => format!(" in session {}", on.join(", ")),
        };
        let why = self.duty.held.unfit.iter().chain(&self.duty.held.late).next();
        let unfit = why.map_or_else(String::new, |why| format!("; unfit: {why}"));
        let agent = match self.agent {
            Some(_) => String::new(),
            None => format!("; no user {} on this host: no orders", self.duty.policy.agent_user),
        };
        format!("{held}{on}{unfit}{agent}")
    }
}

/// The first of these places that has CPUs beside those that are set apart, without them; `None` where all are.
fn berth(places: [&CpuSet; 2], apart: &CpuSet) -> Option<CpuSet> {
    places.into_iter().map(|cpus| cpus.difference(apart)).find(|cpus| !cpus.is_empty())
}

fn from(entry: Entry, peer: Peer) -> Entry {
    entry.number("pid", peer.pid.into()).number("uid", peer.uid.into())
}

/// Until `due`, rounded up to the millisecond: called early, there would be nothing to do.
fn timeout(due: Option<Nanos>, now: Nanos) -> PollTimeout {
    let Some(due) = due else { return PollTimeout::NONE };
    let millis = (due - now).0.div_ceil(1_000_000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(home: &str, reachable: &str, apart: &str, expected: Option<&str>) {
        let set = |list: &str| list.parse::<CpuSet>().unwrap();
        let found = berth([&set(home), &set(reachable)], &set(apart));
        assert_eq!(found, expected.map(set));
    }

    #[test]
    fn this_thread_is_where_nobody_trades() {
        check("0-3", "0-3", "2-3", Some("0-1"));
        check("0", "0-3", "2-3", Some("0")); // as narrow as the unit wants it
        check("0-1", "0-3", "0-1", Some("2-3")); // another profile than the unit was written for
        check("0-1", "0-1", "0-1", None); // there is nowhere else
        check("0-1", "0-3", "", Some("0-1"));
    }
}
