//! What the keeper has said, and how a report tells it.

use std::collections::{BTreeMap, VecDeque};

use orders::{DriftEvent, Status};
use report::{
    DriftReport, FitnessState, KeeperReport, KnobsReport, Missing, Report, StatusCounts, WallTime,
    WriterReport, wall_time_now,
};
use units::limits::DRIFT_EVENTS_KEPT;
use units::{CpuId, Nanos};

use super::line::Broken;

/// Everything known of the keeper; what it said is kept while it is away, and said to be old by its time.
#[derive(Debug, Default)]
pub struct View {
    connected: bool,
    /// Since when it does or does not answer.
    since: Option<WallTime>,
    problem: Option<String>,
    version: Option<String>,
    /// Its last word, when that was, and the fence then.
    status: Option<(Status, WallTime, u64)>,
    drift: VecDeque<DriftReport>,
    last_drift: u64,
    /// Why the kernel events of a CPU are not all read.
    ring_problems: BTreeMap<CpuId, String>,
}

impl View {
    /// It answers. Numbers of drift events begin anew with a keeper that was started anew, and one that was not gives those
    /// we have again.
    pub fn greeted(&mut self, version: &str) {
        let since = Some(wall_time_now());
        *self = Self { connected: true, since, version: Some(version.to_owned()), ..Self::default() };
    }

    /// It does not answer any more, or never did; whether that is news.
    pub fn lost(&mut self, why: &Broken) -> bool {
        let problem = (!why.is_absence()).then(|| why.to_string());
        let is_new = self.connected || self.since.is_none() || self.problem != problem;
        if is_new {
            self.since = Some(wall_time_now());
        }
        (self.connected, self.problem) = (false, problem);
        is_new
    }

    /// How the host stands, just now.
    pub fn stands(&mut self, status: &Status, fence: u64) {
        self.status = Some((*status, wall_time_now(), fence));
    }

    /// One attribute drifted.
    pub fn drifted(&mut self, event: &DriftEvent) {
        self.last_drift = event.number;
        if self.drift.len() == DRIFT_EVENTS_KEPT {
            self.drift.pop_front();
        }
        self.drift.push_back(drift(event));
    }

    /// The number of the last drift event.
    pub fn last_drift(&self) -> u64 {
        self.last_drift
    }

    /// Why the kernel events of `cpu` are not all read; nothing when they are.
    pub fn ring_problem(&mut self, cpu: CpuId, problem: Option<String>) {
        match problem {
            Some(problem) => self.ring_problems.insert(cpu, problem),
            None => self.ring_problems.remove(&cpu),
        };
    }

    /// Puts it all into `report`: a host that is not as it is to be held is not fit.
    pub fn tell(&self, report: &mut Report) {
        let status = self.status.as_ref().filter(|(status, ..)| !status.profile.as_str().is_empty());
        report.knobs = status.map(|(status, at, _)| KnobsReport {
            profile: Some(status.profile.to_string()),
            checked_at: Some(*at),
            counts: counts(&status.knobs),
        });
        report.drift = self.drift.iter().cloned().collect();
        report.keeper = Some(self.keeper());
        report.missing.extend(self.ring_problems.iter().map(|(cpu, problem)| Missing {
            what: format!("kernel events of CPU {cpu}"),
            why: problem.clone(),
            fix: None,
        }));
        let reasons = self.unfit();
        if !reasons.is_empty() {
            report.fitness.state = FitnessState::Degraded;
            report.fitness.reasons.splice(0..0, reasons);
        }
    }

    fn keeper(&self) -> KeeperReport {
        let status = self.status.as_ref().map(|(status, ..)| status);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        KeeperReport {
            connected: self.connected,
            since: self.since,
            problem: self.problem.clone(),
            version: self.version.clone(),
            profile: status.and_then(|status| text(status.profile.as_str())),
            applied: status.map(|status| status.fit),
            reason: status.and_then(|status| text(status.reason.as_str())),
            fence: self.status.as_ref().map(|(_, _, fence)| *fence),
            drifted: status.map(|status| status.drifts),
            repaired: status.map(|status| status.repairs),
            fights: status.map(|status| status.fights),
            confirm_left_s: status.and_then(|status| status.confirm_left_s),
        }
    }

    /// Why the host is not as it is to be held.
    fn unfit(&self) -> Vec<String> {
        let Some((status, ..)) = &self.status else { return Vec::new() };
        let profile = status.profile.as_str();
        let mut reasons = Vec::new();
        if !status.fit {
            reasons.push(format!("profile {profile} is not applied: {}", status.reason));
        }
        let counts = counts(&status.knobs);
        let bad = [
            (counts.drifted, "drifted"),
            (counts.foreign, "foreign"),
            (counts.blocked, "blocked"),
            (counts.failed, "failed"),
        ];
        let bad = bad.into_iter().filter(|(count, _)| *count > 0);
        reasons.extend(bad.map(|(count, word)| format!("profile {profile}: {count} {word}")));
        reasons
    }
}

fn counts(knobs: &[u32; orders::STATUS_WORDS.len()]) -> StatusCounts {
    let [ok, pending, needs_reboot, not_applicable, drifted, foreign, blocked, failed] = knobs.map(u64::from);
    StatusCounts { ok, pending, needs_reboot, not_applicable, drifted, foreign, blocked, failed }
}

fn drift(event: &DriftEvent) -> DriftReport {
    DriftReport {
        seq: event.number,
        at: WallTime::from_unix(Nanos(event.at)),
        knob: event.knob.to_string(),
        attribute: event.attribute.to_string(),
        identity: Some(event.identity.to_string()).filter(|identity| !identity.is_empty()),
        want: event.wanted.to_string(),
        found: event.found.to_string(),
        writer: event
            .writer
            .as_ref()
            .map(|writer| WriterReport { pid: writer.pid, comm: writer.comm.to_string() }),
        seen_ns: Nanos(event.seen_at),
        repaired_ns: event.repaired_at.map(Nanos),
        action: event.deed.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orders::{STATUS_WORDS, Text};

    #[test]
    fn counts_stand_at_their_words() {
        let words = counts(&[1, 2, 3, 4, 5, 6, 7, 8]).by_word();
        assert_eq!(words.map(|(word, _)| word), STATUS_WORDS);
        assert_eq!(words.map(|(_, count)| count), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_host_that_strays_is_not_fit_and_says_why() {
        let mut view = View::default();
        assert_eq!(view.unfit(), [""; 0]);
        let mut status = Status { profile: Text::cut("colo"), fit: true, ..Status::default() };
        status.knobs[0] = 31;
        view.stands(&status, 7);
        assert_eq!(view.unfit(), [""; 0]);
        status.knobs[4] = 1;
        (status.fit, status.reason) = (false, Text::cut("no such node"));
        view.stands(&status, 7);
        assert_eq!(view.unfit(), ["profile colo is not applied: no such node", "profile colo: 1 drifted"]);
        assert_eq!((view.keeper().fence, view.keeper().profile.as_deref()), (Some(7), Some("colo")));
    }

    #[test]
    fn absence_is_told_once_and_is_no_problem() {
        let absent = || Broken::Connection(std::io::ErrorKind::NotFound.into());
        let mut view = View::default();
        assert!(view.lost(&absent()));
        assert!(!view.lost(&absent()));
        assert_eq!(view.keeper().problem, None);
        assert!(view.lost(&Broken::Late));
        assert_eq!(view.keeper().problem.as_deref(), Some("no answer within 10 s"));
        view.greeted("0.1.0");
        assert!(view.keeper().connected && view.keeper().problem.is_none());
        assert!(view.lost(&absent()));
    }
}
