//! An order and what becomes of it.
//!
//! The order of the checks is the order of what they cost an attacker to find out: first whether the policy allows such an
//! order at all, then whether a later fence has outdated it, then whether they come too fast, then what it is about.

use std::os::fd::OwnedFd;

use orders::{Addressed, Answer, Hello, Kind, Order, Outcome, Refusal, Status, Text};
use units::CpuId;
use units::limits::{CHANGING_ORDERS_BURST, CHANGING_ORDERS_PER_SECOND};

use crate::duty::{Changed, Duty, NotDone};
use crate::moment::Moment;
use crate::rings::{NoRing, Rings};

/// What goes back.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub outcome: Outcome,
    /// The descriptor that goes with it.
    pub descriptor: Option<OwnedFd>,
}

/// Carries out `order`; `refused` are the orders that were refused so far.
pub fn carry_out(
    duty: &mut Duty,
    rings: &mut Rings,
    order: Addressed<Order>,
    refused_before: u64,
    now: Moment,
) -> Done {
    let kind = order.what.kind();
    let answered = permitted(duty, &order, now).and_then(|()| match order.what {
        Order::Rings { cpu, point } => ring(duty, rings, cpu, point),
        other => answer(duty, other, refused_before, now).map(|answer| (answer, None)),
    });
    match answered {
        Ok((answer, descriptor)) => Done { outcome: Outcome::Done(answer), descriptor },
        Err(NotDone::Refused(why, reason)) => {
            Done { outcome: refused(Some(kind), why, &reason), descriptor: None }
        }
        Err(NotDone::Failed(reason)) => {
            Done { outcome: Outcome::Failed { order: kind, reason: Text::cut(&reason) }, descriptor: None }
        }
    }
}

/// A refusal.
#[must_use]
pub fn refused(order: Option<Kind>, why: Refusal, reason: &str) -> Outcome {
    Outcome::Refused { order, why, reason: Text::cut(reason) }
}

fn permitted(duty: &mut Duty, order: &Addressed<Order>, now: Moment) -> Result<(), NotDone> {
    let kind = order.what.kind();
    if !duty.policy.allows(kind) {
        let reason = format!("the policy does not allow {kind} (allow = [...] in policy.toml)");
        return Err(NotDone::Refused(Refusal::Policy, reason));
    }
    let fence = duty.fence.number();
    if order.fence < fence && !kind.only_reads() {
        return Err(NotDone::Refused(Refusal::Fence, format!("outdated by fence {fence}")));
    }
    if kind.changes() && !duty.measure.take(now.monotonic) {
        let reason = format!(
            "more orders that change something than {CHANGING_ORDERS_BURST} at once and \
             {CHANGING_ORDERS_PER_SECOND} a second"
        );
        return Err(NotDone::Refused(Refusal::Busy, reason));
    }
    Ok(())
}

fn answer(duty: &mut Duty, order: Order, refused_before: u64, now: Moment) -> Result<Answer, NotDone> {
    match order {
        Order::Hello { .. } => {
            let version = Text::cut(env!("CARGO_PKG_VERSION"));
            Ok(Answer::Hello(Hello { version, holds: duty.held.wish.is_some() }))
        }
        Order::Status => Ok(Answer::Status(status(duty, refused_before, now))),
        Order::Repair { knob } => {
            let Changed { written, id } = duty.repair(knob.as_str(), now)?;
            Ok(Answer::Repaired { written, id })
        }
        Order::Reverify => duty.reverify(now).map(Answer::Reverified),
        Order::Evacuate { what } => {
            let Changed { written, id } = duty.evacuate(what, now)?;
            Ok(Answer::Evacuated { written, id })
        }
        Order::Fence { to } => duty.raise_fence(to).map(|()| Answer::Fenced),
        Order::Drift { after } => Ok(Answer::Drift(duty.drifts.after(after))),
        Order::Rings { .. } => {
            let reason = format!("this keeper does not serve {}", order.kind());
            Err(NotDone::Refused(Refusal::Absent, reason))
        }
    }
}

fn ring(duty: &Duty, rings: &mut Rings, cpu: CpuId, point: u8) -> Result<(Answer, Option<OwnedFd>), NotDone> {
    let (ring, descriptor) =
        rings.hand_over(duty.engine.root(), cpu, point).map_err(|error| match error {
            NoRing::Absent(why) => NotDone::Refused(Refusal::Absent, why),
            NoRing::Full => NotDone::Refused(Refusal::Busy, error.to_string()),
            NoRing::Failed(why) => NotDone::Failed(why),
        })?;
    // A duplicate: the answer is sent while the next order may already be changing what is open.
    let descriptor = descriptor.try_clone_to_owned().map_err(|cause| NotDone::Failed(cause.to_string()))?;
    Ok((Answer::Ring(ring), Some(descriptor)))
}

fn status(duty: &mut Duty, refused: u64, now: Moment) -> Status {
    let trial = duty.engine.on_trial().ok().flatten();
    let held = &duty.held;
    Status {
        profile: Text::cut(held.wish.as_ref().map_or("", |wish| &wish.profile.name)),
        knobs: held.knobs,
        journal: held.journal,
        drifts: duty.drifts.seen,
        repairs: duty.drifts.repairs,
        fights: duty.drifts.fights,
        confirm_left_s: trial.map(|trial| (trial.deadline - now.boottime).0 / 1_000_000_000),
        refused,
        changes_left: duty.ceiling.left(now.monotonic, duty.policy.changes_per_hour_max),
        fit: held.unfit.is_none() && held.late.is_none(),
        reason: Text::cut(held.unfit.as_ref().or(held.late.as_ref()).map_or("", String::as_str)),
    }
}
