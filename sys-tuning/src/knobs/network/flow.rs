//! Which queue a packet goes to, and what the card's firmware is: asked of drivers by ioctl.
//!
//! A queue is an interrupt, and an interrupt is a CPU: what the application reads has a queue of its own, and
//! everything else keeps to the others. The table that spreads packets by their hash is one cell, each rule another,
//! so that rules of others stay. Tried on a model of the kernel's calls (`host`): no machine of a test has a card
//! that takes rules.

use host::interfaces::Interface;
use host::steering::{self, Flow, Steering};

use super::DRIVER;
use super::link::{self, INTERFACES};
use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::fence::NONE;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Group, Kind, Knob, REPORTED, Topic};
use crate::status::Status;

/// Where packets go.
pub(crate) static STEERING: Knob = Knob {
    id: "net.flow",
    doc: "a feed that shares its queue with other packets waits behind them, and is worked on wherever their interrupt goes",
    attributes: &[
        INTERFACES,
        Attribute::new(
            "queues",
            Kind::Integer { min: 1, max: 4096 },
            "packets that no rule steers are spread evenly over this many queues, from the first",
        ),
        Attribute::new(
            "rules",
            Kind::Flows,
            "flows that go to a queue of their own; rules for other flows stay. Most drivers want net.offload ntuple on first",
        ),
    ],
    source: "the application's flow to its queue: Documentation/networking/scaling.rst; which one is the application's matter",
    effect: "the driver is asked again for its table, and for the rule that it has for the flow",
    undo: "the original table is told to the driver, as its own where it was; a rule goes, or its original queue comes back",
    paths: &["flows of {interface}"],
    wish,
    locate,
    ..DRIVER
};

/// What runs on the card.
pub(crate) static FIRMWARE: Knob = Knob {
    id: "net.fw",
    group: Group::Network,
    doc: "some cards have firmware for low latency beside the usual one, or need a version that has a fault mended",
    attributes: &[
        INTERFACES,
        Attribute::new(
            "says",
            Kind::Name,
            "what the firmware's version has to hold, in small letters: rx1 for Solarflare's ultra-low-latency variant",
        ),
    ],
    source: "ultra-low-latency (sfboot firmware-variant): Solarflare user guide",
    absence: Absence::NotApplicable("the interface is gone"),
    effect: "the version that the driver tells (ethtool -i)",
    reads: &[Topic::Network],
    wish: wish_firmware,
    ..REPORTED
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(reason) = &scope.facts.network.barred {
        return draft.not_applicable(wanted, reason.clone());
    }
    for interface in link::chosen(scope, wanted, draft) {
        let answer = scope.facts.network.steering.get(&interface.index);
        if let Some(steering) = link::told(answer, interface, wanted, draft, "lets no queue be chosen") {
            wish_spread(scope, wanted, draft, (interface, steering));
            wish_rules(scope, wanted, draft, (interface, steering));
        }
    }
}

fn wish_spread(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    (interface, steering): (&Interface, &Steering),
) {
    let Some(asked) = wanted.integer("queues").and_then(|queues| u32::try_from(queues).ok()) else { return };
    let identity = &interface.identity;
    let skip = match &steering.spread {
        None => (
            Status::NotApplicable,
            format!("{}: its driver shows no table that spreads packets", interface.name),
        ),
        Some(_) if asked > steering.queues => (Status::Failed, has_fewer(interface, steering)),
        Some(table) => {
            let reason = format!("{}: {}", interface.name, wanted.knob.doc);
            let to = table.even(asked).to_string();
            return draft.wish_because(scope, wanted, "queues", identity, to, reason);
        }
    };
    draft.skip_one(wanted, "queues", identity, skip.0, skip.1);
}

fn wish_rules(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    (interface, steering): (&Interface, &Steering),
) {
    let Some(Value::Flows(rules)) = wanted.setting("rules").map(|setting| &setting.value) else { return };
    if !steering.takes_rules {
        let reason = format!("{}: its driver takes no rules for flows", interface.name);
        return draft.skip_one(wanted, "rules", &interface.identity, Status::NotApplicable, reason);
    }
    for (flow, queue) in rules.iter() {
        let identity = format!("{} {flow}", interface.identity);
        if *queue >= steering.queues {
            draft.skip_one(wanted, "rules", &identity, Status::Failed, has_fewer(interface, steering));
            continue;
        }
        let reason = format!("{}: {}", interface.name, wanted.knob.doc);
        draft.wish_because(scope, wanted, "rules", &identity, format!("queue {queue}"), reason);
    }
}

fn has_fewer(interface: &Interface, steering: &Steering) -> String {
    format!("{} has {} queues that receive, the first of them 0", interface.name, steering.queues)
}

// Format of an identity: "0000:3b:00.0", "0000:3b:00.0 port 1 udp4 to 239.1.1.1:14310"
fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let address = |of: &str| Some(facts.network.find(of).filter(|_| !facts.is_fixture)?.address());
    if attribute == "queues" {
        let address = address(identity)?;
        return Some(Cell::plain(steering::path(&address), Form::Spread { address }));
    }
    let at = [" udp4 ", " tcp4 "].into_iter().find_map(|protocol| identity.find(protocol))?;
    let (of, flow) = identity.split_at(at);
    let (address, flow): (_, Flow) = (address(of)?, flow.trim_start().parse().ok()?);
    let path = format!("{} {flow}", steering::path(&address));
    (attribute == "rules").then(|| Cell::plain(path, Form::FlowRule { address, flow }))
}

/// What stands there for a flow that is steered to this queue, or to none.
pub(crate) fn canonical(queue: Option<u32>) -> String {
    queue.map_or(NONE.to_owned(), |queue| format!("queue {queue}"))
}

/// The queue of such a text.
pub(crate) fn queue(text: &str) -> Result<Option<u32>, String> {
    let queue = || text.strip_prefix("queue ")?.parse().ok();
    if text == NONE { Ok(None) } else { queue().map(Some).ok_or_else(|| format!("{text:?} is no queue")) }
}

fn wish_firmware(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(says) = wanted.text("says") else { return };
    if let Some(reason) = &scope.facts.network.elsewhere {
        return draft.not_applicable(wanted, reason.clone());
    }
    for interface in link::chosen(scope, wanted, draft) {
        let name = &interface.name;
        let (status, reason) = match scope.facts.network.firmware.get(&interface.index) {
            Some(Ok(Some(version))) if version.to_ascii_lowercase().contains(&says) => {
                (Status::Ok, format!("{name}: {}", version.escape_debug()))
            }
            Some(Ok(Some(version))) => (
                Status::Failed,
                format!(
                    "{name}: the firmware is {:?}, which does not hold {says}; it is changed with the maker's program",
                    version
                ),
            ),
            Some(Err(problem)) => (Status::Failed, problem.clone()),
            Some(Ok(None)) | None => (
                Status::NotApplicable,
                format!("{name}: its driver tells of no firmware, as in most virtual machines"),
            ),
        };
        draft.skip_one(wanted, "says", &interface.identity, status, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Scope;
    use crate::interfaces::Network;
    use crate::profile::Profile;
    use crate::roles::Roles;
    use std::collections::BTreeMap;

    /// What a profile comes to on a card of four queues and a table of eight entries, or on one whose driver has `steering`.
    #[track_caller]
    fn check(settings: &str, steering: Option<Steering>, expected: &[&str]) {
        let card = Interface {
            name: "eth0".into(),
            index: 2,
            identity: "0000:3b:00.0 port 1".into(),
            driver: Some("sfc".into()),
            node: None,
            queues: Vec::new(),
        };
        let network = Network {
            interfaces: vec![card],
            steering: BTreeMap::from([(2, Ok(steering))]),
            firmware: BTreeMap::from([(2, Ok(Some("6.2.7 rx1 tx1".to_owned())))]),
            ..Network::default()
        };
        let facts = Facts { network, ..Facts::default() };
        let text = format!("schema = \"quell.profile/1\"\n[knobs]\n{settings}");
        let profile = Profile::parse("flows.toml", &text).unwrap();
        assert_eq!(Profile::parse("again.toml", &profile.to_toml()).unwrap().to_toml(), profile.to_toml());
        let roles = Roles::divide(&facts, &profile.isolated, None);
        let (scope, mut draft) = (Scope { facts: &facts, roles: &roles }, Draft::default());
        for wanted in &profile.wanted {
            (wanted.knob.wish)(&scope, wanted, &mut draft);
        }
        for wish in &draft.wishes {
            let cell = wanted_again(&facts, &wish.attribute, &wish.identity);
            assert_eq!(cell.as_ref(), Some(&wish.cell), "it is found by what the journal keeps");
        }
        let wishes = draft.wishes.iter().map(|wish| {
            format!("{} [{}]: {}", wish.cell.path, wish.identity, wish.to.as_deref().unwrap_or_default())
        });
        let skipped =
            draft.skipped.iter().map(|row| format!("{} {}: {}", row.attribute, row.status, row.reason));
        assert_eq!(wishes.chain(skipped).collect::<Vec<_>>(), expected);
    }

    fn wanted_again(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
        STEERING.cell(facts, attribute, identity)
    }

    fn card() -> Steering {
        Steering { queues: 4, spread: Some("0,1,2,3 times 2".parse().unwrap()), takes_rules: true }
    }

    #[test]
    fn what_a_card_is_asked_for() {
        check(
            "'net.flow' = { queues = 2 }",
            Some(card()),
            &["eth0 flows [0000:3b:00.0 port 1]: 0,1 times 4"],
        );
        check(
            "'net.flow' = { rules = 'udp4 to 239.1.1.1:14310 queue 3; tcp4 from 10.0.0.1 queue 4' }",
            Some(card()),
            &[
                "eth0 flows udp4 to 239.1.1.1:14310 [0000:3b:00.0 port 1 udp4 to 239.1.1.1:14310]: queue 3",
                "rules failed: eth0 has 4 queues that receive, the first of them 0",
            ],
        );
        let too_many = "queues failed: eth0 has 4 queues that receive, the first of them 0";
        check("'net.flow' = { queues = 5 }", Some(card()), &[too_many]);
        check(
            "'net.flow' = { queues = 1, rules = 'udp4 to any:7 queue 0' }",
            Some(Steering { spread: None, takes_rules: false, ..card() }),
            &[
                "queues not-applicable: eth0: its driver shows no table that spreads packets",
                "rules not-applicable: eth0: its driver takes no rules for flows",
            ],
        );
        check(
            "'net.flow' = { queues = 1 }",
            None,
            &[" not-applicable: eth0: its driver (sfc) lets no queue be chosen"],
        );
    }

    #[test]
    fn what_runs_on_a_card_is_told() {
        check("'net.fw' = { says = 'rx1' }", None, &["says ok: eth0: 6.2.7 rx1 tx1"]);
        check(
            "'net.fw' = { says = 'rx0' }",
            None,
            &[
                "says failed: eth0: the firmware is \"6.2.7 rx1 tx1\", which does not hold rx0; it is changed with the \
                 maker's program",
            ],
        );
    }
}
