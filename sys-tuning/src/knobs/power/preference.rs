//! How the processor is told to weigh energy against performance.
//!
//! Two hints: one a policy, where the processor chooses its frequency itself, and Intel's older one a CPU, which the
//! processor may keep once for several CPUs: those that nobody chose are remembered. Under the performance governor the
//! kernel sets the first to performance and refuses every other word with EBUSY. Sources:
//! Documentation/admin-guide/pm/intel_pstate.rst, "Energy vs Performance Hints"; Documentation/admin-guide/pm/intel_epb.rst.

use host::cpufreq::{Policy, Scaling};
use host::energy_bias;
use units::{CpuId, CpuSet};

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Group, Kind, Knob, PLAIN, Topic};
use crate::status::Status;

/// Why the kernel answers EBUSY.
pub(crate) const UNDER_PERFORMANCE: &str = "under the performance governor the kernel takes no other preference than \
     performance: ask for that, or for another governor (cpu.gov)";

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.epp",
    group: Group::Power,
    doc: "a processor that chooses its frequency itself saves energy at the price of a slower start after a pause",
    attributes: &[
        Attribute::new(
            "preference",
            Kind::Choice(&["performance", "balance_performance", "balance_power", "power"]),
            "the hint for every policy",
        ),
        Attribute::new("cpus", Kind::Cpus, "the CPUs that get the bias; all unless given"),
        Attribute::new(
            "bias",
            Kind::Integer { min: 0, max: energy_bias::BIAS_MAX as i64 },
            "Intel's older hint: 0 is performance, 6 is usual, 15 saves most",
        ),
    ],
    source: "performance: TuneD latency-performance, network-latency",
    absence: Absence::NotApplicable("no frequency control here"),
    effect: "the kernel answers with the hint in force",
    undo: "the original hints are written, those too of CPUs that share one",
    paths: &[
        "/sys/devices/system/cpu/cpufreq/policy{policy}/energy_performance_preference",
        "/sys/devices/system/cpu/cpu{cpu}/power/energy_perf_bias",
    ],
    reads: &[Topic::Cpus, Topic::Cpufreq, Topic::Power],
    wish,
    locate,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(preference) = wanted.text("preference") {
        match &scope.facts.scaling {
            None => {}
            Some(Scaling::None { reason }) => {
                draft.skip_attribute(KNOB.id, "preference", Status::NotApplicable, (*reason).to_owned());
            }
            Some(Scaling::Policies(policies)) => {
                policies.iter().for_each(|policy| wish_policy(scope, wanted, draft, policy, &preference));
            }
        }
    }
    if let Some(bias) = wanted.text("bias") {
        wish_bias(scope, wanted, draft, &bias);
    }
}

fn wish_policy(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, policy: &Policy, word: &str) {
    let identity = identity(policy);
    let Some(preference) = &policy.preference else {
        let reason =
            format!("driver {} gives the processor no hint: it does not choose by itself", policy.driver);
        return draft.skip(wanted, &identity, Status::NotApplicable, reason);
    };
    if !preference.available.iter().any(|known| known == word) {
        let offered = preference.available.join(", ");
        let reason = format!("driver {} offers {offered}, not {word}", policy.driver);
        return draft.skip(wanted, &identity, Status::Failed, reason);
    }
    if policy.governor == "performance" && word != "performance" && preference.current != word {
        return draft.skip(wanted, &identity, Status::Failed, UNDER_PERFORMANCE);
    }
    draft.wish(scope, wanted, "preference", &identity, word.to_owned());
}

fn wish_bias(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, bias: &str) {
    let biased: CpuSet = scope.facts.power.biased.iter().copied().collect();
    if biased.is_empty() {
        let reason = "this processor has no such hint, or the kernel does not show it".to_owned();
        return draft.skip_attribute(KNOB.id, "bias", Status::NotApplicable, reason);
    }
    let chosen = match wanted.setting("cpus") {
        None => biased.clone(),
        Some(_) => match draft.cpus(scope, wanted, "cpus") {
            Some(cpus) => cpus.intersection(&biased),
            None => return,
        },
    };
    chosen.iter().for_each(|cpu| draft.wish(scope, wanted, "bias", &format!("cpu{cpu}"), bias.to_owned()));
    for cpu in biased.difference(&chosen).iter() {
        draft.remember(scope, wanted, "bias", &format!("cpu{cpu}"));
    }
}

fn identity(policy: &Policy) -> String {
    format!("policy{}", policy.id)
}

fn locate(facts: &Facts, attribute: &str, wanted: &str) -> Option<Cell> {
    if attribute == "bias" {
        let cpu = CpuId(wanted.strip_prefix("cpu")?.parse().ok()?);
        let is_known = facts.power.biased.contains(&cpu);
        return is_known.then(|| Cell::plain(energy_bias::path(cpu), Form::Number));
    }
    let Some(Scaling::Policies(policies)) = &facts.scaling else { return None };
    let policy = policies.iter().find(|policy| identity(policy) == wanted)?;
    let has_hint = attribute == "preference" && policy.preference.is_some();
    has_hint.then(|| Cell::plain(policy.preference_path(), Form::Word))
}
