//! Who had the CPU when: events one after the other become stretches of time, each with one owner.
//!
//! An interrupt has the CPU before a softirq, and that before a thread, so that no instant belongs to two. Idle and our own
//! probe own nothing. Memory is fixed: the newest stretches are kept.

use host::perf::{Edge, Event, Label, Point};
use latency::Culprit;
use units::Nanos;

/// Stretches kept a CPU: 40 KiB, a tenth of a second of a CPU that is interrupted ten thousand times in one.
const KEPT: usize = 1024;

/// The kernel's names of its softirqs (kernel/softirq.c).
const SOFTIRQS: [&str; 10] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

/// The kind of a thread; the others are named by their class.
const TASK: &str = "task";

/// Who has the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    kind: &'static str,
    number: u32,
    name: Label,
}

/// A stretch of time in which one owner had the CPU; CLOCK_MONOTONIC_RAW.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Nanos,
    to: Nanos,
    owner: Owner,
}

/// The recent past of one CPU, and who has it now.
#[derive(Debug)]
pub struct Track {
    stretches: Vec<Stretch>,
    /// Where the next one goes once there are [`KEPT`].
    next: usize,
    /// Our own thread on this CPU.
    probe: Option<u32>,
    task: Option<Owner>,
    softirq: Option<Owner>,
    interrupt: Option<Owner>,
    /// Since when the present owner has it.
    since: Nanos,
    /// Before this, nothing is known; `None` before the first event.
    known_from: Option<Nanos>,
}

impl Track {
    /// Nothing known yet, in all the memory it will ever use.
    #[must_use]
    pub fn new(probe: Option<u32>) -> Self {
        Self {
            stretches: Vec::with_capacity(KEPT),
            next: 0,
            probe,
            task: None,
            softirq: None,
            interrupt: None,
            since: Nanos::ZERO,
            known_from: None,
        }
    }

    /// Takes one event in, in the order of time.
    pub fn step(&mut self, event: &Event) {
        if self.known_from.is_none() {
            self.known_from = Some(event.at);
            self.since = event.at;
        }
        if self.task.is_none() {
            self.task = Some(Owner { kind: TASK, number: event.pid, name: Label::default() });
        }
        let owner = |kind| Owner { kind, number: event.number, name: event.name };
        match (event.point, event.point.meaning()) {
            (Point::Switch, _) => {
                self.close(event.at);
                self.task = Some(owner(TASK));
            }
            (Point::SoftirqEntry, (class, _)) => {
                self.close(event.at);
                let name =
                    SOFTIRQS.get(event.number as usize).map_or(Label::default(), |name| Label::new(name));
                self.softirq = Some(Owner { kind: class.as_str(), number: event.number, name });
            }
            (Point::SoftirqExit, _) => {
                self.close(event.at);
                self.softirq = None;
            }
            (_, (class, Edge::Begin)) => {
                self.close(event.at);
                self.interrupt = Some(owner(class.as_str()));
            }
            (_, (_, Edge::End)) => {
                self.close(event.at);
                self.interrupt = None;
            }
            (_, (_, Edge::Instant)) => {}
        }
    }

    /// Forgets everything: events were lost, so nobody knows what ended meanwhile.
    pub fn lose(&mut self) {
        self.stretches.clear();
        self.next = 0;
        (self.task, self.softirq, self.interrupt, self.known_from) = (None, None, None, None);
    }

    /// Who had the CPU for more than half of the time between `from` and `to`, even if both time lines are `error` apart;
    /// nobody when the answer is not certain. Looks through what is kept, twice.
    #[must_use]
    pub fn most(&self, from: Nanos, to: Nanos, error: Nanos) -> Option<Culprit> {
        if self.known_from.is_none_or(|known| known > from) {
            return None;
        }
        // Whoever has more than half survives the vote; whether somebody does is counted then.
        let mut leader: Option<(Owner, Nanos)> = None;
        for (owner, time) in self.within(from, to) {
            leader = match leader {
                Some((first, votes)) if first == owner => Some((first, votes + time)),
                Some((first, votes)) if votes >= time => Some((first, votes - time)),
                Some((_, votes)) => Some((owner, time - votes)),
                None => Some((owner, time)),
            };
        }
        let (leader, _) = leader?;
        let covered: Nanos =
            self.within(from, to).filter(|(owner, _)| *owner == leader).map(|(_, time)| time).sum();
        let certain = covered - error.times(2);
        (certain.times(2) > to - from).then(|| Culprit {
            kind: leader.kind,
            number: leader.number,
            name: leader.name.bytes(),
            covered,
            error,
        })
    }

    /// The owners between `from` and `to`, each time with how long.
    fn within(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = (Owner, Nanos)> + '_ {
        let now = self.owner().map(|owner| Stretch { from: self.since, to: Nanos::MAX, owner });
        let (older, newer) = (&self.stretches[self.next..], &self.stretches[..self.next]);
        older.iter().chain(newer).copied().chain(now).filter_map(move |stretch| {
            let time = stretch.to.min(to) - stretch.from.max(from);
            (time > Nanos::ZERO).then_some((stretch.owner, time))
        })
    }

    /// Who has the CPU now, if anybody who counts.
    fn owner(&self) -> Option<Owner> {
        let task = self.task.filter(|task| task.number != 0 && Some(task.number) != self.probe);
        self.interrupt.or(self.softirq).or(task)
    }

    /// Ends the present owner's stretch.
    fn close(&mut self, at: Nanos) {
        if let Some(owner) = self.owner()
            && at > self.since
        {
            self.keep(Stretch { from: self.since, to: at, owner });
        }
        self.since = at;
    }

    fn keep(&mut self, stretch: Stretch) {
        if self.stretches.len() < KEPT {
            self.stretches.push(stretch);
            return;
        }
        self.stretches[self.next] = stretch;
        self.next = (self.next + 1) % KEPT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: u32 = 77;

    fn event(at: u64, point: Point, number: u32, name: &str) -> Event {
        Event { at: Nanos(at), point, pid: PROBE, number, name: Label::new(name) }
    }

    /// After `events`, who had most of the time between `from` and `to`, and how much.
    #[track_caller]
    fn check(events: &[(u64, Point, u32, &str)], (from, to): (u64, u64), expected: Option<&str>) {
        let mut track = Track::new(Some(PROBE));
        for (at, point, number, name) in events {
            track.step(&event(*at, *point, *number, name));
        }
        let got = track.most(Nanos(from), Nanos(to), Nanos(1)).map(|culprit| {
            let name = Label::from(culprit.name);
            format!("{} {} {name}: {}", culprit.kind, culprit.number, culprit.covered.0)
        });
        assert_eq!(got.as_deref(), expected);
    }

    #[test]
    fn whoever_has_most_of_it_is_named() {
        use Point::{CallEntry, CallExit, IrqEntry, IrqExit, SoftirqEntry, SoftirqExit, Switch};
        let taken = [(0, Switch, PROBE, "probe"), (100, Switch, 5, "thief"), (900, Switch, PROBE, "probe")];
        check(&taken, (0, 1000), Some("task 5 thief: 800"));
        check(&taken, (100, 900), Some("task 5 thief: 800"));
        check(&taken, (0, 300), Some("task 5 thief: 200"));
        check(&taken, (0, 200), None); // half is not most
        check(&taken, (900, 2000), None); // the probe itself: nobody's doing that the kernel knows of
        let irq = [(0, Switch, PROBE, "probe"), (10, IrqEntry, 24, "eth0"), (90, IrqExit, 24, "")];
        check(&irq, (0, 100), Some("irq 24 eth0: 80"));
        let inside = [
            (0, Switch, 5, "thief"),
            (10, IrqEntry, 24, "eth0"),
            (20, IrqExit, 24, ""),
            (20, SoftirqEntry, 3, ""),
            (90, SoftirqExit, 3, ""),
            (95, CallEntry, 0, ""),
            (96, CallExit, 0, ""),
        ];
        check(&inside, (0, 100), Some("softirq 3 NET_RX: 70")); // not the thread below it
        check(&inside, (10, 20), Some("irq 24 eth0: 10"));
        check(&inside, (96, 200), Some("task 5 thief: 104")); // still there
        let idle = [(0, Switch, 0, "swapper/0"), (900, Switch, PROBE, "probe")];
        check(&idle, (0, 1000), None); // an idle CPU had nobody
        check(
            &[(0, Switch, PROBE, "probe"), (1, CallEntry, 0, "")],
            (0, 10),
            Some("function-call-ipi 0 : 9"),
        );
    }

    #[test]
    fn many_short_ones_of_one_owner_are_one() {
        let mut events = vec![(0, Point::Switch, PROBE, "probe")];
        for n in 0..20 {
            events.push((n * 10, Point::IrqEntry, u32::from(n % 4 == 3) + 24, "a")); // 24 three times of four
            events.push((n * 10 + 8, Point::IrqExit, 0, ""));
        }
        check(&events, (0, 200), Some("irq 24 a: 120"));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let taken = [(100, Point::Switch, 5, "thief"), (900, Point::Switch, PROBE, "probe")];
        check(&taken, (0, 900), None); // began before the first event
        let mut track = Track::new(Some(PROBE));
        for (at, point, number, name) in taken {
            track.step(&event(at, point, number, name));
        }
        let (from, to) = (Nanos(100), Nanos(900));
        assert!(track.most(from, to, Nanos(100)).is_some());
        assert!(track.most(from, to, Nanos(200)).is_none(), "the time lines may be too far apart");
        track.lose();
        assert!(track.most(from, to, Nanos(1)).is_none(), "events were lost");
    }

    #[test]
    fn the_newest_are_kept() {
        let mut track = Track::new(None);
        for n in 0..3 * KEPT as u64 {
            track.step(&event(n * 10, Point::Switch, 1 + u32::from(n % 2 == 1), "x"));
        }
        assert_eq!(track.stretches.len(), KEPT);
        let end = 3 * KEPT as u64 * 10;
        let known: Nanos = track.within(Nanos::ZERO, Nanos(end)).map(|(_, time)| time).sum();
        assert_eq!(known, Nanos(KEPT as u64 * 10 + 10));
        assert!(track.most(Nanos(end - 10), Nanos(end), Nanos::ZERO).is_some());
        assert!(track.most(Nanos::ZERO, Nanos(end), Nanos::ZERO).is_none());
    }
}
