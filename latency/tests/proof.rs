//! A host that is made up, of which it is known which of its knobs matter: what the comparison says of it.
//!
//! The noise is worse than a host's is hoped to be: the figures of blocks drift together (a random walk that is pulled
//! back), jump for a while, have tails (Student's t with two degrees of freedom: its variance is infinite), and one block
//! in thirty is a burst of many times its size. All of it is seeded, so that a failure is the same one everywhere.

#![expect(clippy::unwrap_used, reason = "a test binary, helpers included")]

use fastrand::Rng;
use latency::{Proof, SignedRank, Terms, Verdict};

const TERMS: Terms = Terms { error: 0.05, margin: 0.05, pairs_max: 40 };
const KNOBS: usize = 5;
const FIGURES: usize = 2;

/// The logarithms of a made-up host's figures, block by block.
struct Host {
    rng: Rng,
    drift: f64,
    jump: f64,
}

impl Host {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), drift: 0.0, jump: 0.0 }
    }

    /// Normal, by twelve uniform ones (Irwin and Hall): its own tails do not matter here.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.rng.f64()).sum::<f64>() - 6.0
    }

    /// Student's t with two degrees of freedom, through its inverse distribution.
    fn heavy(&mut self) -> f64 {
        let u = self.rng.f64().clamp(1e-6, 1.0 - 1e-6);
        (2.0 * u - 1.0) / (2.0 * u * (1.0 - u)).sqrt()
    }

    /// One block's two figures, moved by what is on. They share the block's weather.
    fn block(&mut self, moved: f64) -> [f64; FIGURES] {
        self.drift = self.drift * 0.98 + self.normal() * 0.05;
        if self.rng.f64() < 0.02 {
            self.jump = self.normal() * 0.5;
        }
        let burst = if self.rng.f64() < 1.0 / 30.0 { self.rng.f64() * 2.0 } else { 0.0 };
        let weather = 10.0 + self.drift + self.jump + burst;
        [0.02, 0.04].map(|noise| weather + moved + self.heavy() * noise)
    }

    /// A pair: what the figures differ by.
    fn pair(&mut self, effect: f64) -> Vec<f64> {
        let with_first = self.rng.bool();
        let (first, second) = if with_first { (effect, 0.0) } else { (0.0, effect) };
        let (first, second) = (self.block(first), self.block(second));
        let (with, without) = if with_first { (first, second) } else { (second, first) };
        with.iter().zip(without).map(|(with, without)| with - without).collect()
    }
}

/// Runs to the end, pair by pair of every knob that is open; the knobs in a new order each round.
fn run(seed: u64, effects: &[f64]) -> Proof {
    let mut host = Host::new(seed);
    let mut proof = Proof::new(effects.len(), FIGURES, TERMS).unwrap();
    let mut order: Vec<usize> = (0..effects.len()).collect();
    while order.iter().any(|knob| proof.is_open(*knob)) {
        host.rng.shuffle(&mut order);
        for knob in &order {
            if proof.is_open(*knob) {
                proof.add(*knob, host.pair(effects[*knob]));
            }
        }
    }
    proof
}

fn matters(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Helps | Verdict::Hurts | Verdict::Mixed)
}

#[test]
fn of_five_knobs_the_one_that_matters_is_named_and_no_other() {
    let (mut named_alone, mut pairs, mut called_nothing) = (0, 0, 0);
    for seed in 0..100 {
        let one = usize::try_from(seed % KNOBS as u64).unwrap();
        let mut effects = [0.0; KNOBS];
        effects[one] = -0.25; // a fifth off
        let proof = run(seed, &effects);
        let right = |knob| matters(proof.verdict(knob)) == (knob == one);
        named_alone += usize::from((0..KNOBS).all(right) && proof.verdict(one) == Verdict::Helps);
        pairs += (0..KNOBS).map(|knob| proof.pairs(knob)).sum::<usize>();
        called_nothing += (0..KNOBS).filter(|knob| proof.verdict(*knob) == Verdict::Nothing).count();
    }
    println!(
        "named alone in {named_alone} of 100 seeds; {called_nothing} of 400 others called nothing; {} of {} pairs used",
        pairs / 100,
        KNOBS * TERMS.pairs_max
    );
    assert!(named_alone >= 95, "{named_alone} of 100");
}

/// Made-up hosts of a kind; five times as many knobs.
const HOSTS: u64 = 600;

#[test]
fn knobs_that_do_nothing_are_rarely_called_to_matter() {
    let (mut wrong_hosts, mut wrong_knobs, mut early) = (0, 0, 0);
    for seed in 0..HOSTS {
        let proof = run(1_000_000 + seed, &[0.0; KNOBS]);
        let wrong = (0..KNOBS).filter(|knob| matters(proof.verdict(*knob))).count();
        wrong_knobs += wrong;
        wrong_hosts += usize::from(wrong > 0);
        early += (0..KNOBS).filter(|knob| proof.pairs(*knob) < TERMS.pairs_max).count();
    }
    let share = wrong_hosts as f64 / HOSTS as f64;
    println!(
        "{HOSTS} hosts of {KNOBS} knobs that do nothing: {wrong_knobs} knobs on {wrong_hosts} hosts ({:.2} %) called to \
         matter; {:.0} % of the knobs decided early",
        share * 100.0,
        early as f64 / (HOSTS as f64 * KNOBS as f64) * 100.0
    );
    assert!(share <= 0.05, "{wrong_hosts} of {HOSTS}");
}

#[test]
fn a_knob_at_the_margin_is_rarely_called_nothing() {
    let wrong = (0..HOSTS).filter(|seed| {
        let effect = if seed % 2 == 0 { TERMS.margin } else { -TERMS.margin };
        run(2_000_000 + seed, &[effect]).verdict(0) == Verdict::Nothing
    });
    let wrong = wrong.count();
    println!("{HOSTS} knobs that move everything by the margin: {wrong} called nothing");
    assert!(wrong as f64 <= HOSTS as f64 * 0.05, "{wrong} of {HOSTS}");
}

#[test]
fn intervals_hold_the_truth_wherever_the_comparison_stopped() {
    let effects = [-0.3, -0.1, 0.0, 0.02, 0.3];
    let (mut held, mut of, mut width) = (0, 0, 0.0);
    for seed in 0..HOSTS / 2 {
        let proof = run(3_000_000 + seed, &effects);
        for (knob, effect) in effects.iter().enumerate() {
            for figure in 0..FIGURES {
                let Some((low, high)) = proof.change(knob, figure).interval else { continue };
                held += u64::from((low..=high).contains(effect));
                width += high - low;
                of += 1;
            }
        }
    }
    let coverage = held as f64 / of as f64;
    println!(
        "{held} of {of} intervals hold the truth ({:.2} %), {:.3} wide on average",
        coverage * 100.0,
        width / of as f64
    );
    assert!(of >= HOSTS / 2 * 9 && coverage >= 0.95, "{held} of {of}");
}

/// The mistake that the looks are there to prevent, as the control of these simulations: they can show it.
#[test]
fn looking_after_each_pair_without_paying_for_it_is_wrong_far_more_often() {
    let wrong = (0..HOSTS / 2).filter(|seed| {
        let mut host = Host::new(4_000_000 + seed);
        let mut differences = Vec::new();
        (0..TERMS.pairs_max).any(|_| {
            differences.push(host.pair(0.0)[0]);
            SignedRank::of(&differences).p_apart(0.0) <= 0.05
        })
    });
    let share = wrong.count() as f64 / (HOSTS / 2) as f64;
    println!("unpaid looks call {:.0} % of knobs that do nothing to matter", share * 100.0);
    assert!(share > 0.10, "{share}");
}
