//! Frequencies above the sustained ones.
//!
//! Three interfaces, and each has its trap. Intel's switch is inverted, and while it forbids, the kernel lowers every
//! policy's limits and may leave them so: they are remembered as those of `cpu.range` and put back. The switch of other
//! drivers sets every policy's own switch with it; a policy's own is refused with EINVAL while the machine's is off. So on
//! the way up the machine's goes first, on the way down last, and a policy's that was off by itself is remembered. Guides
//! disagree on the value: boost is faster, and its end is a stall. Sources: Documentation/admin-guide/pm/intel_pstate.rst,
//! no_turbo; Documentation/admin-guide/pm/cpufreq.rst, "The boost File in sysfs"; drivers/cpufreq/cpufreq.c,
//! cpufreq_boost_trigger_state.

use host::cpufreq::{BOOST, Policy, Scaling};
use host::pstate::NO_TURBO;

use super::range;
use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Group, Kind, Knob, PLAIN, Topic};

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.boost",
    group: Group::Power,
    doc: "boost frequencies are faster and depend on temperature and neighbours: work takes less time, and not always the \
          same",
    attributes: &[Attribute::new(
        "enabled",
        Kind::Flag,
        "whether frequencies above the sustained ones may be used",
    )],
    source: "true with good cooling: rigtorp.se, TuneD 2.27, redno2; false: Solarflare user guide",
    absence: Absence::NotApplicable("no driver of this machine switches boost frequencies"),
    effect: "the switch, the machine's and each policy's; the frequency under load is for the probes to tell",
    undo: "the original switches are written, the machine's before the policies' where it has to be on; then limits that \
           the kernel lowered",
    paths: &[NO_TURBO, BOOST, "/sys/devices/system/cpu/cpufreq/policy{policy}/boost"],
    reads: &[Topic::Cpufreq, Topic::Power],
    wish,
    locate,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(Value::Flag(is_on)) = wanted.setting("enabled").map(|setting| &setting.value) else { return };
    let power = &scope.facts.power;
    if power.intel.as_ref().is_some_and(|driver| driver.no_turbo.is_some()) {
        draft.wish(scope, wanted, "no_turbo", "", u8::from(!is_on).to_string());
    } else if let Some(allows) = power.boost {
        wish_boost(scope, wanted, draft, *is_on, allows);
    } else {
        let reason = match &scope.facts.scaling {
            Some(Scaling::None { reason }) => *reason,
            _ => "no driver of this machine switches boost frequencies",
        };
        draft.not_applicable(wanted, reason);
    }
    if is_switched(scope, draft) {
        for policy in policies(scope.facts).iter().filter(|policy| policy.range.is_some()) {
            draft.remember_of(scope, wanted, &range::KNOB, "max_khz", &identity(policy));
            draft.remember_of(scope, wanted, &range::KNOB, "min_khz", &identity(policy));
        }
    }
}

/// The machine's switch takes every policy's with it: first on the way up, last on the way down.
fn wish_boost(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, is_on: bool, allows: bool) {
    let to = || u8::from(is_on).to_string();
    if is_on {
        draft.wish(scope, wanted, "boost", "", to());
    }
    for policy in policies(scope.facts) {
        match policy.boost {
            // It would come on with the machine's on the way back.
            Some(false) if !is_on && allows => draft.remember(scope, wanted, "boost", &identity(policy)),
            Some(_) => draft.wish(scope, wanted, "boost", &identity(policy), to()),
            None => {}
        }
    }
    if !is_on {
        draft.wish(scope, wanted, "boost", "", to());
    }
}

/// Whether the profile switches boost over: what a policy's highest frequency is shows only then.
pub(super) fn is_switched(scope: &Scope<'_>, draft: &Draft) -> bool {
    let power = &scope.facts.power;
    let (forbids, allows) = (power.intel.as_ref().and_then(|driver| driver.no_turbo), power.boost);
    draft.wishes.iter().filter(|wish| wish.knob.id == KNOB.id).any(|wish| {
        let now = match wish.attribute.as_str() {
            "no_turbo" => forbids,
            "boost" if wish.identity.is_empty() => allows,
            _ => return false,
        };
        wish.to.is_some() && wish.to != now.map(|now| u8::from(now).to_string())
    })
}

fn policies(facts: &Facts) -> &[Policy] {
    if let Some(Scaling::Policies(policies)) = &facts.scaling { policies } else { &[] }
}

fn identity(policy: &Policy) -> String {
    format!("policy{}", policy.id)
}

fn locate(facts: &Facts, attribute: &str, wanted: &str) -> Option<Cell> {
    let path = match (attribute, wanted) {
        ("no_turbo", "") => facts.power.intel.as_ref()?.no_turbo.map(|_| NO_TURBO.to_owned()),
        ("boost", "") => facts.power.boost.map(|_| BOOST.to_owned()),
        _ => {
            let policy = policies(facts).iter().find(|policy| identity(policy) == wanted)?;
            match attribute {
                "boost" => policy.boost.map(|_| policy.boost_path()),
                _ => None,
            }
        }
    };
    path.map(|path| Cell::plain(path, Form::Number))
}
