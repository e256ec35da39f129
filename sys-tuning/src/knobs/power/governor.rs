//! Who decides how fast the CPUs run.

use host::cpufreq::{Policy, Scaling};

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.gov",
    group: Group::Power,
    doc: "a governor that lowers the clock when idle makes the first work after a pause slow",
    attributes: &[Attribute::new(
        "governor",
        Kind::Choice(&["performance", "powersave", "schedutil", "ondemand", "conservative", "userspace"]),
        "the rule by which frequencies are chosen, on every CPU",
    )],
    source: "performance: rigtorp.se, TuneD latency-performance",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("no frequency control here"),
    effect: "the governor in charge; the frequency it leads to is for the probes to tell",
    undo: "the original governor is written",
    paths: &["/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_governor"],
    side_effects: &[],
    reads: &[Topic::Cpufreq],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(governor) = wanted.text("governor") else { return };
    match &scope.facts.scaling {
        None => {}
        Some(Scaling::None { reason }) => draft.not_applicable(wanted, *reason),
        Some(Scaling::Policies(policies)) => {
            for policy in policies {
                wish_policy(scope, wanted, draft, policy, &governor);
            }
        }
    }
}

fn wish_policy(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, policy: &Policy, governor: &str) {
    let identity = identity(policy);
    if policy.governors.iter().any(|offered| offered == governor) {
        draft.wish(scope, wanted, "governor", &identity, governor.to_owned());
    } else {
        let offered = policy.governors.join(", ");
        let reason = format!("driver {} offers {offered}, not {governor}", policy.driver);
        draft.skip(wanted, &identity, Status::Failed, reason);
    }
}

fn identity(policy: &Policy) -> String {
    format!("policy{}", policy.id)
}

fn locate(facts: &Facts, attribute: &str, wanted: &str) -> Option<Cell> {
    let Some(Scaling::Policies(policies)) = &facts.scaling else { return None };
    let policy = policies.iter().find(|policy| identity(policy) == wanted)?;
    (attribute == "governor").then(|| Cell::plain(policy.governor_path(), Form::Word))
}
