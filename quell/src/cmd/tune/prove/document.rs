//! What was found, as a document: the knobs that earn their place first.

use latency::{Change, Verdict};
use report::{ProveDocument, ProveFigure, ProveLook, ProvedChange, ProvedKnob};

use super::{Bench, Figure};

/// Adds what the bench has found.
pub fn fill(found: &mut ProveDocument, bench: &Bench<'_>, aborted: bool) {
    let look = |look: &latency::Look| ProveLook { pairs: whole(look.pairs), share: look.share };
    found.looks = bench.proof.looks().iter().map(look).collect();
    found.figures = bench.figures.iter().map(figure).collect();
    let mut order: Vec<usize> = (0..bench.knobs.len()).collect();
    order.sort_by(|one, other| {
        rank(bench, *one).partial_cmp(&rank(bench, *other)).expect("estimates are numbers")
    });
    found.knobs = order.into_iter().map(|index| knob(bench, index, aborted)).collect();
    let undecided = found.knobs.iter().any(|knob| knob.verdict == verdict(Verdict::Undecided));
    found.result = match (aborted, undecided) {
        (true, _) => "aborted",
        (false, true) => "undecided",
        (false, false) => "proved",
    }
    .to_owned();
    if aborted {
        found.reason = Some("somebody asked for the end; everything is as it was before".to_owned());
    }
}

/// The verdict as a word.
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Helps => "helps",
        Verdict::Mixed => "mixed",
        Verdict::Hurts => "hurts",
        Verdict::Nothing => "nothing",
        Verdict::Undecided => "undecided",
    }
}

/// By verdict, within one by the figure that falls most.
fn rank(bench: &Bench<'_>, knob: usize) -> (Verdict, f64) {
    let changes = (0..bench.figures.len()).map(|figure| bench.proof.change(knob, figure).estimate);
    (bench.proof.verdict(knob), changes.fold(f64::INFINITY, f64::min))
}

fn figure(figure: &Figure) -> ProveFigure {
    ProveFigure {
        probe: figure.probe.to_string(),
        quantile: figure.quantile.to_string(),
        instead_of: (figure.wanted != figure.quantile).then(|| figure.wanted.to_string()),
        before: figure.before,
    }
}

fn knob(bench: &Bench<'_>, index: usize, aborted: bool) -> ProvedKnob {
    let (candidate, course) = (&bench.knobs[index], &bench.courses[index]);
    let pairs = bench.proof.pairs(index);
    let found = bench.proof.verdict(index);
    let stopped = match found {
        Verdict::Undecided if course.given_up.is_some() => "given up",
        Verdict::Undecided if aborted => "aborted",
        Verdict::Undecided if bench.proof.is_open(index) => "too many void pairs",
        Verdict::Undecided => "all pairs used",
        _ => "decided",
    };
    let change = |figure| change(bench.proof.change(index, figure), pairs);
    ProvedKnob {
        knob: candidate.id.to_owned(),
        switched: candidate.switched.clone(),
        verdict: verdict(found).to_owned(),
        pairs: whole(pairs),
        void: whole(course.void),
        stopped: stopped.to_owned(),
        reason: course.given_up.clone(),
        changes: (0..bench.figures.len()).map(change).collect(),
    }
}

fn change(change: Change, pairs: usize) -> ProvedChange {
    let percent = |difference: f64| difference.exp_m1() * 100.0;
    ProvedChange {
        percent: (pairs > 0).then(|| percent(change.estimate)),
        low_percent: change.interval.map(|(low, _)| percent(low)),
        high_percent: change.interval.map(|(_, high)| percent(high)),
        moved: change.is_moved,
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
