//! What a network interface's driver can be told: how it coalesces interrupts, its rings, channels, features, pause frames
//! and energy saving, as `ethtool` shows and sets them.
//!
//! An aspect of an interface is one set of named values, read and written as a whole: a driver may change neighbours of
//! what it was asked for, round, or take two values only together, so that whoever wants to put an original back needs all
//! of it. Names are those of ethtool(8). An interface is addressed by its number, which a rename does not change. Writing
//! sends the differences in one message; what came of it only another look tells. There is none of this in a captured
//! tree. Left out: flow rules and driver strings, which the kernel offers by ioctl alone.
//! Source: Documentation/networking/ethtool-netlink.rst; include/uapi/linux/ethtool_netlink.h.

mod fields;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;

use crate::netlink::wire::{Request, as_number, as_text, attributes};
use crate::netlink::{Family, Refusal};
use crate::{Error, Root};
pub use fields::Aspect;
use fields::{Field, Width};
pub use settings::{Settings, Value};

/// An interface, as far as asking about it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its number: the same under any name, until it goes away.
    pub index: u32,
    /// What it was called when it was looked up, for messages.
    pub name: String,
}

/// What an aspect of an interface holds, and how far it can go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Every value that can be set.
    pub settings: Settings,
    /// The most of those that have a bound.
    pub most: BTreeMap<String, u32>,
    /// Features that cannot be changed, and whether they are on.
    pub fixed: BTreeMap<String, bool>,
}

/// What `aspect` of the interface holds now.
///
/// Takes the lock of all network configuration, so it may wait for whoever configures another interface.
///
/// # Errors
/// [`Error::Absent`] in a captured tree, for an interface that is gone and for what its driver does not have;
/// [`Error::Netlink`].
pub fn get(root: &Root, interface: &Address, aspect: Aspect) -> Result<State, Error> {
    let told = |refusal| told(interface, aspect, "read".to_owned(), refusal);
    if !root.is_system() {
        return Err(Error::Absent { path: path(interface, aspect) });
    }
    let mut family = Family::find(FAMILY).map_err(told)?;
    let answer = family.ask(aspect.commands().0, |request| head(request, interface)).map_err(told)?;
    Ok(state(aspect, &answer))
}

fn state(aspect: Aspect, answer: &[u8]) -> State {
    match aspect {
        Aspect::Features => features(answer),
        _ => values(answer, aspect.fields()),
    }
}

/// Sets `changes`, all in one message; nothing is sent when there are none.
///
/// # Errors
/// [`Error::Absent`] in a captured tree and for an interface that is gone; [`Error::Netlink`] with the driver's words.
pub fn set(root: &Root, interface: &Address, aspect: Aspect, changes: &Settings) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let told = |refusal| told(interface, aspect, format!("set {:?}", changes.to_string()), refusal);
    if !root.is_system() {
        return Err(Error::Absent { path: path(interface, aspect) });
    }
    root.count_write();
    let mut family = Family::find(FAMILY).map_err(told)?;
    let fill = |request: &mut Request| {
        head(request, interface);
        match aspect {
            Aspect::Features => put_features(request, changes),
            _ => put_values(request, aspect.fields(), changes),
        }
    };
    family.ask(aspect.commands().1, fill).map(drop).map_err(told)
}

/// How received packets are spread over an interface's queues: which queues the table names, in order.
///
/// # Errors
/// As [`get`]; the kernel tells it since Linux 6.3.
pub fn spread(root: &Root, interface: &Address) -> Result<BTreeSet<u32>, Error> {
    let aspect = Aspect::Channels;
    let told = |refusal| told(interface, aspect, "read the spread of its queues".to_owned(), refusal);
    if !root.is_system() {
        return Err(Error::Absent { path: path(interface, aspect) });
    }
    let mut family = Family::find(FAMILY).map_err(told)?;
    let answer = family.ask(SPREAD, |request| head(request, interface)).map_err(told)?;
    let table = attributes(&answer).find(|(kind, _)| *kind == SPREAD_TABLE).map(|(_, table)| table);
    Ok(table.unwrap_or_default().chunks_exact(4).filter_map(as_number).collect())
}

const FAMILY: &str = "ethtool";

/// Of every question: whom it is about.
const HEADER: u16 = 1;
const HEADER_INDEX: u16 = 1;

const SPREAD: u8 = 38;
const SPREAD_TABLE: u16 = 4;

/// Sets of features, and of a set its bits.
const FEATURES_CHANGEABLE: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_FIXED: u16 = 5;
const BITSET_ALL_ARE_ON: u16 = 1;
const BITSET_BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_IS_ON: u16 = 3;

fn head(request: &mut Request, interface: &Address) {
    request.nest(HEADER, |header| header.attribute(HEADER_INDEX, &interface.index.to_ne_bytes()));
}

/// As a person would name it.
#[must_use]
pub fn path(interface: &Address, aspect: Aspect) -> String {
    format!("{} {aspect}", interface.name.escape_debug())
}

fn told(interface: &Address, aspect: Aspect, asked: String, refusal: Refusal) -> Error {
    // No such interface; nothing of the kind in its driver; no such family, or no such question, in this kernel.
    let absent = [Errno::ENODEV, Errno::EOPNOTSUPP, Errno::ENOENT];
    if absent.iter().any(|errno| refusal.is(*errno)) && asked.starts_with("read") || refusal.is(Errno::ENODEV)
    {
        return Error::Absent { path: path(interface, aspect) };
    }
    Error::Netlink { of: path(interface, aspect), asked, cause: refusal.cause, said: refusal.said }
}

fn values(answer: &[u8], fields: &[Field]) -> State {
    let mut state = State::default();
    for (kind, content) in attributes(answer) {
        let Some(number) = as_number(content) else { continue };
        if let Some(field) = fields.iter().find(|field| field.kind == kind) {
            let value = match field.width {
                Width::Switch => Value::switch(number != 0),
                Width::Byte | Width::Word => Value::Number(number),
            };
            state.settings.insert(field.name, value);
        }
        if let Some(field) = fields.iter().find(|field| field.most == Some(kind)) {
            state.most.insert(field.name.to_owned(), number);
        }
    }
    state
}

fn put_values(request: &mut Request, fields: &[Field], changes: &Settings) {
    for field in fields {
        let Some(value) = changes.value(field.name) else { continue };
        let number = value.number();
        match field.width {
            Width::Word => request.attribute(field.kind, &number.to_ne_bytes()),
            Width::Byte | Width::Switch => {
                request.attribute(field.kind, &[u8::try_from(number).unwrap_or(u8::MAX)]);
            }
        }
    }
}

/// A feature is asked for, and it is on or not: what others need for themselves may keep it off, or on.
fn features(answer: &[u8]) -> State {
    let set =
        |kind| attributes(answer).find(|(found, _)| *found == kind).map(|(_, set)| set).unwrap_or_default();
    let [wanted, active, fixed] =
        [FEATURES_WANTED, FEATURES_ACTIVE, FEATURES_FIXED].map(|kind| on(set(kind)));
    let changeable = on(set(FEATURES_CHANGEABLE));
    let mut state = State::default();
    for (name, _) in bits(set(FEATURES_CHANGEABLE)) {
        let (is_wanted, is_active) = (wanted.contains(&name), active.contains(&name));
        if changeable.contains(&name) && !fixed.contains(&name) {
            state.settings.insert(&name, Value::feature(is_wanted, is_active));
        } else {
            state.fixed.insert(name, is_active);
        }
    }
    state
}

fn on(set: &[u8]) -> BTreeSet<String> {
    let all_are = attributes(set).any(|(kind, _)| kind == BITSET_ALL_ARE_ON);
    bits(set).into_iter().filter(|(_, is_on)| *is_on || all_are).map(|(name, _)| name).collect()
}

/// The bits of a set by name, with whether each is on.
fn bits(set: &[u8]) -> Vec<(String, bool)> {
    let listed = attributes(set).find(|(kind, _)| *kind == BITSET_BITS).map(|(_, bits)| bits);
    let bit = |(_, bit): (u16, &[u8])| {
        let name = attributes(bit).find(|(kind, _)| *kind == BIT_NAME).map(|(_, name)| as_text(name))?;
        // Names go into texts that are read again; the kernel's are letters, digits, dashes.
        settings::is_name(&name).then_some(())?;
        Some((name, attributes(bit).any(|(kind, _)| kind == BIT_IS_ON)))
    };
    attributes(listed.unwrap_or_default()).filter(|(kind, _)| *kind == BIT).filter_map(bit).collect()
}

fn put_features(request: &mut Request, changes: &Settings) {
    request.nest(FEATURES_WANTED, |set| {
        set.nest(BITSET_BITS, |bits| {
            for (name, value) in changes.iter() {
                bits.nest(BIT, |bit| {
                    bit.text(BIT_NAME, name);
                    if value.is_asked_for() {
                        bit.attribute(BIT_IS_ON, &[]);
                    }
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::{self, Answer};
    use proptest::prelude::*;

    fn lo() -> Address {
        Address { index: 1, name: "lo".to_owned() }
    }

    #[test]
    fn the_loopback_has_features_and_no_rings() {
        let root = Root::system();
        let found = match get(&root, &lo(), Aspect::Features) {
            Ok(state) => state,
            Err(error) => return println!("skipped: {error}"),
        };
        println!("{}", found.settings);
        assert_eq!(found.fixed.get("loopback"), Some(&true), "{found:?}");
        assert!(found.settings.value("tx-tcp-segmentation").is_some());
        assert!(get(&root, &lo(), Aspect::Rings).unwrap_err().is_absent());
        let gone = Address { index: u32::MAX >> 1, name: "gone".to_owned() };
        for aspect in Aspect::ALL {
            assert!(get(&root, &gone, aspect).unwrap_err().is_absent());
        }
    }

    #[test]
    fn a_captured_tree_has_no_driver_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert!(get(&root, &lo(), Aspect::Features).unwrap_err().is_absent());
        let to = "tx-tcp-segmentation off".parse().unwrap();
        assert!(set(&root, &lo(), Aspect::Features, &to).unwrap_err().is_absent());
        assert_eq!(root.write_count(), 0);
    }

    /// What a captured answer says, and how far its values can go.
    #[track_caller]
    fn check(aspect: Aspect, captured: &str, settings: &str, most: &str) {
        let bytes = bytes(captured);
        let answers = wire::answers(&bytes, 7);
        let [Answer::Message(body), Answer::Ack(0, None)] = answers.as_slice() else { panic!("{answers:?}") };
        let state = state(aspect, body);
        let told: Vec<String> = state.most.iter().map(|(name, most)| format!("{name} {most}")).collect();
        assert_eq!((state.settings.to_string().as_str(), told.join(", ").as_str()), (settings, most));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks_exact(2).map(byte).collect()
    }

    macro_rules! captured {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/netlink/", $name, ".hex"))
        };
    }

    #[test]
    fn what_a_kernel_answered() {
        let coalesce = "adaptive-rx off, rx-frames 1, rx-usecs 0, tx-frames 1, tx-usecs 0";
        check(Aspect::Coalesce, captured!("virtio_net-coalesce"), coalesce, "");
        check(
            Aspect::Rings,
            captured!("virtio_net-rings"),
            "rx 256, rx-push off, tx 256, tx-push off",
            "rx 256, tx 256",
        );
        check(Aspect::Channels, captured!("virtio_net-channels"), "combined 1", "combined 1");
        let features = "rx-gro on, rx-gro-list off, rx-udp-gro-forwarding off, tx-generic-segmentation on, \
                        tx-gso-list on, tx-sctp-segmentation on, tx-tcp-accecn-segmentation on, \
                        tx-tcp-ecn-segmentation on, tx-tcp-mangleid-segmentation on, tx-tcp-segmentation on, \
                        tx-tcp6-segmentation on, tx-udp-segmentation on";
        check(Aspect::Features, captured!("loopback-features"), features, "");
    }

    #[test]
    fn a_refusal_carries_the_words_of_the_kernel() {
        let bytes = bytes(captured!("veth-channels-refused"));
        let words = "requested channel count exceeds maximum".to_owned();
        assert_eq!(wire::answers(&bytes, 7), [Answer::Ack(22, Some(words.clone()))]);
        let refusal = Refusal { cause: std::io::Error::from_raw_os_error(22), said: Some(words) };
        let error = told(&lo(), Aspect::Channels, "set \"rx 100\"".to_owned(), refusal);
        let expected = "lo channels: cannot set \"rx 100\": Invalid argument (os error 22) (requested channel count \
                        exceeds maximum)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_read_as_far_as_it_goes() {
        let bytes = bytes(captured!("loopback-features"));
        for length in (0..bytes.len()).step_by(7) {
            for answer in wire::answers(&bytes[..length], 7) {
                if let Answer::Message(body) = answer {
                    let _ = state(Aspect::Features, body);
                    let _ = state(Aspect::Features, &body[..body.len() / 2]);
                }
            }
        }
    }

    proptest! {
        /// Whatever an answer holds, it is read without a panic, and what was read can be written down and read again.
        #[test]
        fn any_answer_is_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for aspect in Aspect::ALL {
                let state = state(aspect, &bytes);
                if !state.settings.is_empty() {
                    prop_assert_eq!(state.settings.to_string().parse(), Ok(state.settings));
                }
            }
        }
    }
}
