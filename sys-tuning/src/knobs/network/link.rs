//! What drivers hold: one cell for each aspect of an interface.
//!
//! A cell is the whole set of values, because a driver changes neighbours of what it is told (a send value with the
//! receive value, a feature with the one it needs) and takes some only together; what a profile wants of it is a part. So
//! originals are whole sets, whatever followed by itself comes back with them, and a card's queues are made anew once and
//! not once a value.

use host::ethtool::{self, Aspect, Settings, State, Value as Setting};
use host::interfaces::Interface;

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::interfaces::InterfaceChoice;
use crate::profile::{Value, Wanted};
use crate::registry::{Attribute, Kind};
use crate::status::Status;

/// Of every knob that is about interfaces.
pub(crate) const INTERFACES: Attribute = Attribute::new(
    "interfaces",
    Kind::Interfaces,
    "which interfaces: devices (cards and virtual functions; the default), or names as in eth0,eth1",
);

/// What a knob asks of a driver.
pub(crate) fn aspect(knob: &str) -> Option<Aspect> {
    Some(match knob {
        "net.coal" => Aspect::Coalesce,
        "net.ring" => Aspect::Rings,
        "net.chan" => Aspect::Channels,
        "net.offload" => Aspect::Features,
        "net.pause" => Aspect::Pause,
        "net.eee" => Aspect::Eee,
        _ => return None,
    })
}

/// Which interfaces a profile means.
pub(crate) fn choice(wanted: &Wanted) -> InterfaceChoice {
    match wanted.setting(INTERFACES.name).map(|setting| &setting.value) {
        Some(Value::Interfaces(choice)) => choice.clone(),
        _ => InterfaceChoice::default(),
    }
}

/// The interfaces that a profile means; what it names in vain is told.
pub(crate) fn chosen<'f>(scope: &Scope<'f>, wanted: &Wanted, draft: &mut Draft) -> Vec<&'f Interface> {
    let choice = choice(wanted);
    let known = &scope.facts.network.interfaces;
    let found: Vec<&Interface> = known.iter().filter(|interface| choice.means(interface)).collect();
    match &choice {
        InterfaceChoice::Devices if found.is_empty() => {
            draft.not_applicable(wanted, "this machine has no network card");
        }
        InterfaceChoice::Devices => {}
        InterfaceChoice::Named(names) => {
            for name in names.iter().filter(|name| !known.iter().any(|one| one.name == **name)) {
                draft.skip(wanted, name, Status::NotApplicable, "this machine has no interface of that name");
            }
        }
    }
    found
}

pub(super) fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let network = &scope.facts.network;
    if let Some(reason) = &network.barred {
        return draft.not_applicable(wanted, reason.clone());
    }
    let Some(aspect) = aspect(wanted.knob.id) else { return };
    for interface in chosen(scope, wanted, draft) {
        let answer = network.states.get(&(interface.index, aspect));
        if let Some(state) = told(answer, interface, wanted, draft, "has no such settings") {
            wish_one(scope, wanted, draft, (interface, aspect, state));
        }
    }
}

/// What the driver of `interface` answered; `None` after noting why there is nothing to set. `lacks` says what a driver
/// that knows no such thing does not have.
pub(super) fn told<'f, T>(
    answer: Option<&'f Result<Option<T>, String>>,
    interface: &Interface,
    wanted: &Wanted,
    draft: &mut Draft,
    lacks: &str,
) -> Option<&'f T> {
    match answer {
        Some(Ok(Some(state))) => return Some(state),
        Some(Err(problem)) => draft.skip(wanted, &interface.identity, Status::Failed, problem.clone()),
        Some(Ok(None)) | None => {
            let driver = interface.driver.as_deref().unwrap_or("without a device");
            let reason = format!("{}: its driver ({driver}) {lacks}", interface.name);
            draft.skip(wanted, &interface.identity, Status::NotApplicable, reason);
        }
    }
    None
}

fn wish_one(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    (interface, aspect, state): (&Interface, Aspect, &State),
) {
    let mut want = Settings::default();
    for attribute in wanted.settings.keys().filter(|name| **name != INTERFACES.name) {
        let Some(value) = asked(scope, wanted, draft, attribute, state) else { continue };
        match values(state, aspect, attribute, value) {
            Ok(values) => values.iter().for_each(|(name, value)| want.insert(name, value)),
            Err((status, reason)) => {
                let reason = format!("{}: {reason}", interface.name);
                draft.skip_one(wanted, attribute, &interface.identity, status, reason);
            }
        }
    }
    if want.is_empty() {
        return;
    }
    if aspect == Aspect::Channels && !want.beyond(&state.settings).is_empty() {
        let reason = format!(
            "{}: its interrupts and queues are made anew by this; irq.aff, irq.rps and irq.napi reach them with the next \
             apply, which the keeper makes by itself",
            interface.name
        );
        draft.skip(wanted, &interface.identity, Status::Pending, reason);
    }
    let reason = format!("{}: {}", interface.name, wanted.knob.doc);
    draft.wish_because(scope, wanted, aspect.word(), &interface.identity, want.to_string(), reason);
}

/// What is asked of one attribute.
fn asked(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    attribute: &str,
    state: &State,
) -> Option<Setting> {
    match &wanted.setting(attribute)?.value {
        Value::Integer(number) => u32::try_from(*number).ok().map(Setting::Number),
        Value::Flag(flag) => Some(Setting::switch(*flag)),
        Value::Cpus(_) => {
            let count = draft.cpus(scope, wanted, attribute)?.intersection(&scope.roles.online).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
            Some(Setting::Number(state.most.get("combined").map_or(count, |most| count.min(*most))))
        }
        _ => None,
    }
}

/// An attribute's value as the driver's own values, or why it comes to nothing.
fn values(
    state: &State,
    aspect: Aspect,
    attribute: &str,
    value: Setting,
) -> Result<Settings, (Status, String)> {
    let mut values = Settings::default();
    let names = names(aspect, attribute);
    for name in names.iter().filter(|name| state.settings.value(name).is_some()) {
        if let (Setting::Number(number), Some(most)) = (value, state.most.get(*name))
            && number > *most
        {
            return Err((
                Status::Failed,
                format!("{name} {number} is beyond what its driver can: {most} at most"),
            ));
        }
        values.insert(name, value);
    }
    if !values.is_empty() {
        return Ok(values);
    }
    let is = |name: &&&str| state.fixed.get(**name).map(|is_on| Setting::switch(*is_on));
    let fixed: Vec<Setting> = names.iter().filter_map(|name| is(&name)).collect();
    match fixed.first() {
        None => Err((Status::NotApplicable, format!("its driver has no {}", names.join(" or ")))),
        Some(_) if fixed.iter().all(|fixed| *fixed == value) => {
            Err((Status::Ok, format!("already so: its driver has {} {value} for good", names.join(", "))))
        }
        Some(other) => Err((Status::NotApplicable, format!("its driver keeps {} {other}", names.join(", ")))),
    }
}

/// What the kernel calls an attribute.
fn names(aspect: Aspect, attribute: &str) -> &'static [&'static str] {
    match (aspect, attribute) {
        (Aspect::Coalesce, "adaptive_rx") => &["adaptive-rx"],
        (Aspect::Coalesce, "adaptive_tx") => &["adaptive-tx"],
        (Aspect::Coalesce, "rx_usecs") => &["rx-usecs"],
        (Aspect::Coalesce, "rx_frames") => &["rx-frames"],
        (Aspect::Coalesce, "tx_usecs") => &["tx-usecs"],
        (Aspect::Coalesce, "tx_frames") => &["tx-frames"],
        (Aspect::Channels, "cpus" | "combined") => &["combined"],
        (Aspect::Rings | Aspect::Channels | Aspect::Pause, "rx") => &["rx"],
        (Aspect::Rings | Aspect::Channels | Aspect::Pause, "tx") => &["tx"],
        (Aspect::Pause, "autoneg") => &["autoneg"],
        (Aspect::Eee, "enabled") => &["eee"],
        (Aspect::Eee, "tx_lpi") => &["tx-lpi"],
        (Aspect::Features, "gro") => &["rx-gro"],
        (Aspect::Features, "gro_hw") => &["rx-gro-hw"],
        (Aspect::Features, "lro") => &["rx-lro"],
        (Aspect::Features, "sg") => &["tx-scatter-gather"],
        (Aspect::Features, "gso") => &["tx-generic-segmentation"],
        (Aspect::Features, "tso") => &[
            "tx-tcp-segmentation",
            "tx-tcp-ecn-segmentation",
            "tx-tcp-mangleid-segmentation",
            "tx-tcp6-segmentation",
            "tx-tcp-accecn-segmentation",
        ],
        (Aspect::Features, "ntuple") => &["rx-ntuple-filter"],
        (Aspect::Features, "rxhash") => &["rx-hashing"],
        (Aspect::Features, "rxvlan") => &["rx-vlan-hw-parse"],
        (Aspect::Features, "txvlan") => &["tx-vlan-hw-insert"],
        _ => &[],
    }
}

pub(super) fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let aspect: Aspect = attribute.parse().ok()?;
    let address = facts.network.find(identity).filter(|_| !facts.is_fixture)?.address();
    Some(Cell::plain(ethtool::path(&address, aspect), Form::Link { address, aspect }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(settings: &str, most: &[(&str, u32)], fixed: &[(&str, bool)]) -> State {
        State {
            settings: settings.parse().unwrap(),
            most: most.iter().map(|(name, most)| ((*name).to_owned(), *most)).collect(),
            fixed: fixed.iter().map(|(name, is_on)| ((*name).to_owned(), *is_on)).collect(),
        }
    }

    #[track_caller]
    fn check(state: &State, aspect: Aspect, attribute: &str, value: Setting, expected: &str) {
        let told = match values(state, aspect, attribute, value) {
            Ok(values) => values.to_string(),
            Err((status, reason)) => format!("{status}: {reason}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn what_a_driver_is_asked_for() {
        let rings = state("rx 256, tx 256", &[("rx", 4096), ("tx", 4096)], &[]);
        check(&rings, Aspect::Rings, "rx", Setting::Number(4096), "rx 4096");
        let beyond = "failed: rx 8192 is beyond what its driver can: 4096 at most";
        check(&rings, Aspect::Rings, "rx", Setting::Number(8192), beyond);
        let features = state(
            "rx-gro on, tx-tcp-segmentation on, tx-tcp6-segmentation on",
            &[],
            &[("rx-lro", false), ("rx-hashing", true)],
        );
        let off = Setting::Off;
        check(&features, Aspect::Features, "gro", off, "rx-gro off");
        check(&features, Aspect::Features, "tso", off, "tx-tcp-segmentation off, tx-tcp6-segmentation off");
        check(&features, Aspect::Features, "lro", off, "ok: already so: its driver has rx-lro off for good");
        check(&features, Aspect::Features, "rxhash", off, "not-applicable: its driver keeps rx-hashing on");
        check(&features, Aspect::Features, "gro_hw", off, "not-applicable: its driver has no rx-gro-hw");
        let coalesce = state("rx-usecs 50", &[], &[]);
        check(
            &coalesce,
            Aspect::Coalesce,
            "adaptive_rx",
            off,
            "not-applicable: its driver has no adaptive-rx",
        );
    }

    #[test]
    fn every_attribute_has_a_name_of_the_kernels() {
        use crate::registry::all;
        let knobs: Vec<_> = all().iter().filter(|knob| aspect(knob.id).is_some()).collect();
        assert_eq!(knobs.len(), Aspect::ALL.len());
        for knob in knobs {
            for attribute in knob.attributes.iter().filter(|attribute| attribute.name != INTERFACES.name) {
                let aspect = aspect(knob.id).unwrap();
                assert!(!names(aspect, attribute.name).is_empty(), "{} {}", knob.id, attribute.name);
            }
        }
    }
}
