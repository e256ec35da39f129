//! Which of several changes to a host matter: paired blocks, looked at now and then, until each is decided.
//!
//! A *treatment* (a knob) is compared with its absence in pairs of blocks, one with and one without in an order that a
//! coin decides. A pair gives one difference for each *figure* (a probe's p99, its p99.99): the logarithm of the figure
//! with, less that of the figure without, so that ln 1.1 is "a tenth more". Two questions are asked of the differences at
//! each look, both by the exact signed-rank test:
//!
//! - **does it matter?** Is there a figure whose centre is not zero? Said of no treatment that changes nothing, with the
//!   agreed error for all treatments together.
//! - **does it do nothing?** Is every figure's centre within the margin? Said of no treatment that moves a figure by the
//!   margin or more, with the agreed error for all treatments together.
//!
//! How the error is divided: among the looks by [`Looks`]; among the figures of a treatment evenly, for the first question
//! (the second asks about all of them at once, which costs nothing); among the treatments by Holm's procedure. The chances
//! kept are the least of all looks so far, each already paid for, so that Holm's procedure may be repeated after any of
//! them: it can only reject more. A treatment that is decided gets no further pairs.
//!
//! Pure: pairs come in, verdicts come out. Source: Holm, Scandinavian Journal of Statistics 6 (1979); Schuirmann, Journal
//! of Pharmacokinetics and Biopharmaceutics 15 (1987), for the second question.

use crate::looks::{Look, Looks};
use crate::signed_rank::SignedRank;

/// What is agreed before the first pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// How often one of all treatments may be misjudged, for each of the two questions.
    pub error: f64,
    /// What is too small to matter, as a difference of logarithms: ln 1.05 for 5 %.
    pub margin: f64,
    /// Pairs that a treatment gets at most.
    pub pairs_max: usize,
}

/// Terms under which nothing could ever be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at most {pairs_max} pairs cannot decide anything here, however clear it is: {needed} can")]
pub struct TooFewPairs {
    /// What was agreed.
    pub pairs_max: usize,
    /// What would do.
    pub needed: usize,
}

/// What is known of a treatment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Figures that move become smaller.
    Helps,
    /// Some become smaller, some larger.
    Mixed,
    /// Figures that move become larger.
    Hurts,
    /// Every figure stays within the margin.
    Nothing,
    /// Not decided.
    Undecided,
}

/// What is known of one figure of a treatment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The most likely difference.
    pub estimate: f64,
    /// Where it lies, with all looks so far wrong about it no more often than the agreed error; `None` before the first.
    pub interval: Option<(f64, f64)>,
    /// Whether it is one of those that make the treatment matter.
    pub is_moved: bool,
}

/// A comparison of several treatments.
#[derive(Debug, Clone)]
pub struct Proof {
    terms: Terms,
    looks: Looks,
    figures: usize,
    treatments: Vec<Treatment>,
}

/// The evidence about one treatment.
#[derive(Debug, Clone, Default)]
struct Treatment {
    /// The differences of each pair, one a figure.
    pairs: Vec<Vec<f64>>,
    /// One a figure.
    seen: Vec<Seen>,
    /// The chance of all this if it did something beyond the margin.
    p_nothing: f64,
    /// Holm's procedure rejects that it does not matter, at this part of the error.
    matters_at: Option<f64>,
    does_nothing: bool,
}

/// The evidence about one figure, as of the last look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The chance of all this if it did not move, paid for by its looks.
    p_moved: f64,
    interval: Option<(f64, f64)>,
}

impl Proof {
    /// A comparison of so many treatments, each by so many figures.
    ///
    /// # Errors
    /// [`TooFewPairs`].
    ///
    /// # Panics
    /// When there is nothing to compare.
    pub fn new(treatments: usize, figures: usize, terms: Terms) -> Result<Self, TooFewPairs> {
        assert!(treatments > 0 && figures > 0, "something is compared by something");
        let hardest = terms.error / (treatments * figures) as f64;
        let looks = Looks::new(terms.pairs_max, hardest)
            .map_err(|needed| TooFewPairs { pairs_max: terms.pairs_max, needed })?;
        let fresh = Treatment {
            seen: vec![Seen { p_moved: 1.0, interval: None }; figures],
            p_nothing: 1.0,
            ..Treatment::default()
        };
        Ok(Self { terms, looks, figures, treatments: vec![fresh; treatments] })
    }

    /// The looks that were laid down.
    #[must_use]
    pub fn looks(&self) -> &[Look] {
        self.looks.all()
    }

    /// Whether the treatment is to get another pair.
    #[must_use]
    pub fn is_open(&self, treatment: usize) -> bool {
        self.verdict(treatment) == Verdict::Undecided && self.pairs(treatment) < self.terms.pairs_max
    }

    /// How many pairs it has.
    #[must_use]
    pub fn pairs(&self, treatment: usize) -> usize {
        self.treatments[treatment].pairs.len()
    }

    /// Takes a pair: the differences of its figures. What it decides, it decides for every treatment.
    ///
    /// # Panics
    /// When they are not as many as there are figures, or one is not a number.
    pub fn add(&mut self, treatment: usize, differences: Vec<f64>) {
        assert!(differences.len() == self.figures && differences.iter().all(|d| d.is_finite()));
        let one = &mut self.treatments[treatment];
        one.pairs.push(differences);
        if let Some(look) = self.looks.after(one.pairs.len()) {
            one.look(look, &self.terms);
            self.decide();
        }
    }

    /// What is known of the treatment.
    #[must_use]
    pub fn verdict(&self, treatment: usize) -> Verdict {
        let one = &self.treatments[treatment];
        if one.does_nothing {
            return Verdict::Nothing; // also where it moves something by less than the margin
        }
        if one.matters_at.is_none() {
            return Verdict::Undecided;
        }
        let moved =
            (0..self.figures).map(|figure| self.change(treatment, figure)).filter(|change| change.is_moved);
        let (smaller, larger): (Vec<_>, Vec<_>) = moved.partition(|change| change.estimate < 0.0);
        match (smaller.is_empty(), larger.is_empty()) {
            (true, true) => Verdict::Undecided,
            (false, true) => Verdict::Helps,
            (true, false) => Verdict::Hurts,
            (false, false) => Verdict::Mixed,
        }
    }

    /// What is known of one figure of the treatment.
    #[must_use]
    pub fn change(&self, treatment: usize, figure: usize) -> Change {
        let one = &self.treatments[treatment];
        let differences = one.differences(figure);
        let seen = one.seen[figure];
        let estimate = if differences.is_empty() { 0.0 } else { SignedRank::of(&differences).estimate() };
        let is_moved = one.matters_at.is_some_and(|error| seen.p_moved * self.figures as f64 <= error);
        Change { estimate, interval: seen.interval, is_moved }
    }

    /// Holm's procedure over the treatments, for both questions.
    fn decide(&mut self) {
        let p_matters: Vec<f64> = self.treatments.iter().map(Treatment::p_matters).collect();
        for (treatment, error) in rejected(&p_matters, self.terms.error) {
            self.treatments[treatment].matters_at.get_or_insert(error);
        }
        let p_nothing: Vec<f64> = self.treatments.iter().map(|one| one.p_nothing).collect();
        for (treatment, _) in rejected(&p_nothing, self.terms.error) {
            self.treatments[treatment].does_nothing = true;
        }
    }
}

impl Treatment {
    fn differences(&self, figure: usize) -> Vec<f64> {
        self.pairs.iter().map(|pair| pair[figure]).collect()
    }

    fn look(&mut self, look: Look, terms: &Terms) {
        let mut p_nothing: f64 = 0.0;
        for figure in 0..self.seen.len() {
            let ranked = SignedRank::of(&self.differences(figure));
            let seen = &mut self.seen[figure];
            seen.p_moved = seen.p_moved.min(ranked.p_apart(0.0) / look.share);
            seen.interval = ranked.interval(terms.error * look.share).or(seen.interval);
            p_nothing = p_nothing.max(ranked.p_above(-terms.margin)).max(ranked.p_below(terms.margin));
        }
        self.p_nothing = self.p_nothing.min(p_nothing / look.share);
    }

    fn p_matters(&self) -> f64 {
        let least = self.seen.iter().map(|seen| seen.p_moved).fold(1.0, f64::min);
        (least * self.seen.len() as f64).min(1.0)
    }
}

/// What Holm's procedure rejects at `error`, each with the part of it that it was compared with.
fn rejected(chances: &[f64], error: f64) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|one, other| chances[*one].total_cmp(&chances[*other]));
    let part = |rank: usize| error / (chances.len() - rank) as f64;
    let ranked = order.into_iter().enumerate().map(|(rank, index)| (index, part(rank)));
    ranked.take_while(|(index, part)| chances[*index] <= *part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { error: 0.05, margin: 0.05, pairs_max: 24 };

    /// The verdicts, each with its number of pairs, when every pair of a treatment has these differences.
    #[track_caller]
    fn check(treatments: &[&[f64]], expected: &[(Verdict, usize)]) {
        let mut proof = Proof::new(treatments.len(), treatments[0].len(), TERMS).unwrap();
        while (0..treatments.len()).any(|one| proof.is_open(one)) {
            for (index, differences) in treatments.iter().enumerate() {
                if proof.is_open(index) {
                    let wiggle = 1.0 + proof.pairs(index) as f64 / 1e6; // no two pairs alike
                    proof.add(index, differences.iter().map(|d| d * wiggle).collect());
                }
            }
        }
        let got: Vec<_> = (0..treatments.len()).map(|one| (proof.verdict(one), proof.pairs(one))).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_is_clear_is_decided_at_the_first_look() {
        check(&[&[-0.5]], &[(Verdict::Helps, 9)]);
        check(&[&[0.5]], &[(Verdict::Hurts, 9)]);
        check(&[&[0.001]], &[(Verdict::Nothing, 9)]); // it moves, and by less than the margin
        check(&[&[-0.5, 0.5]], &[(Verdict::Mixed, 10)]); // two figures share the error, and the first look comes later
        check(&[&[-0.5, 0.0]], &[(Verdict::Helps, 10)]);
        check(&[&[0.0, 0.0], &[-0.5, -0.5]], &[(Verdict::Nothing, 11), (Verdict::Helps, 11)]);
    }

    #[test]
    fn terms_that_decide_nothing_are_refused() {
        let refused = Proof::new(5, 2, Terms { pairs_max: 8, ..TERMS }).unwrap_err();
        assert_eq!(refused.needed, 9);
        assert!(refused.to_string().starts_with("at most 8 pairs cannot decide anything"), "{refused}");
    }

    #[test]
    fn holm_goes_on_until_one_holds() {
        let check = |chances: &[f64], expected: &[usize]| {
            let got: Vec<usize> = rejected(chances, 0.05).into_iter().map(|(index, _)| index).collect();
            assert_eq!(got, expected, "{chances:?}");
        };
        check(&[0.03, 0.012, 0.9], &[1]); // 0.012 <= 0.05/3, 0.03 > 0.05/2
        check(&[0.024, 0.012, 0.04], &[1, 0, 2]);
        check(&[0.02, 0.04, 0.03], &[]); // the least is above a third
    }
}
