//! Rules that steer single flows to a queue.
//!
//! A rule stands at a place of the driver's table; a driver that chooses the place by itself says so, of others the last one
//! that is free is taken, because earlier places go first. Two rules for one flow are never made: the one that is there is
//! taken away before its successor comes.

use core::net::Ipv4Addr; // a value: no socket is made of it
use std::fmt;
use std::io;
use std::str::FromStr;

use super::Ask;
use super::ioctl::{
    COUNT_RULES, DELETE_RULE, GET_RINGS, GET_RULE, INSERT_RULE, LIST_RULES, PLACES, RULE_BYTES,
};

/// Rules that are read of one interface.
const RULES_MAX: u32 = 1 << 14;

/// Where things stand in struct ethtool_rxnfc: the table's size and its flags, the rule, and in that its kind, the
/// values and the masks, the bits of a mask being those that count; the queue, the place; how many places follow.
const DATA: usize = 8;
const KIND: usize = 16;
const VALUES: usize = 20;
const VALUES_BEYOND: usize = 72;
const MASKS: usize = 92;
const MASKS_BEYOND: usize = 144;
const MASKS_END: usize = 164;
const COOKIE: usize = 168;
const PLACE: usize = 176;
const COUNT: usize = 184;

/// In struct ethtool_tcpip4_spec.
const SOURCE: usize = 0;
const DESTINATION: usize = 4;
const SOURCE_PORT: usize = 8;
const DESTINATION_PORT: usize = 10;
const SPEC_END: usize = 13;

/// Of the size: the driver chooses the place when it is asked for any.
const CHOOSES: u32 = 0x8000_0000;
const ANY_PLACE: u32 = 0xffff_ffff;

/// Kinds of rules.
const TCP4: u32 = 1;
const UDP4: u32 = 2;

/// Packets that belong together: a protocol over IPv4, and any of an address and a port at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    is_udp: bool,
    from: End,
    to: End,
}

/// One end; what is not said is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct End {
    address: Option<Ipv4Addr>,
    port: Option<u16>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("any")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for End {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, port) =
            text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
        let address = if address == "any" { None } else { Some(address.parse().map_err(drop)?) };
        let port: Option<u16> = port.map(str::parse).transpose().map_err(drop)?;
        Ok(Self { address, port: port.map(|port| if port == 0 { Err(()) } else { Ok(port) }).transpose()? })
    }
}

// Format: "udp4 to 239.1.1.1:14310", "tcp4 from 10.0.0.1 to any:5001"
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_udp { "udp4" } else { "tcp4" })?;
        for (word, end) in [("from", self.from), ("to", self.to)] {
            if end != End::default() {
                write!(f, " {word} {end}")?;
            }
        }
        Ok(())
    }
}

impl Flow {
    /// As `ethtool -N DEVNAME flow-type` wants it.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = if self.is_udp { "udp4" } else { "tcp4" }.to_owned();
        for (side, end) in [("src", self.from), ("dst", self.to)] {
            words += &end.address.map(|address| format!(" {side}-ip {address}")).unwrap_or_default();
            words += &end.port.map(|port| format!(" {side}-port {port}")).unwrap_or_default();
        }
        words
    }
}

impl FromStr for Flow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut words = text.split_ascii_whitespace();
            let is_udp = match words.next()? {
                "udp4" => true,
                "tcp4" => false,
                _ => return None,
            };
            let mut flow = Self { is_udp, from: End::default(), to: End::default() };
            while let Some(word) = words.next() {
                let end = match word {
                    "from" if flow.from == End::default() && flow.to == End::default() => &mut flow.from,
                    "to" if flow.to == End::default() => &mut flow.to,
                    _ => return None,
                };
                *end = words.next()?.parse().ok()?;
                if *end == End::default() {
                    return None;
                }
            }
            (flow.from != End::default() || flow.to != End::default()).then_some(flow)
        };
        parse().ok_or_else(|| {
            format!("{text:?} is no flow; it reads like \"udp4 to 239.1.1.1:14310\" or \"tcp4 from 10.0.0.1 to any:5001\"")
        })
    }
}

/// A rule of the driver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub queue: u32,
    pub place: u32,
}

pub(super) fn queues(ask: &mut Ask<'_>) -> io::Result<u32> {
    let mut block = block(GET_RINGS);
    ask(&mut block)?;
    Ok(word(&block, DATA))
}

/// How many rules there are, and how many the driver says that there can be, with its flags; some say 0.
pub(super) fn count(ask: &mut Ask<'_>) -> io::Result<(u32, u32)> {
    let mut block = block(COUNT_RULES);
    ask(&mut block)?;
    Ok((word(&block, COUNT), word(&block, DATA)))
}

/// The places that have a rule, and how many places there are.
fn places(ask: &mut Ask<'_>, count: u32) -> io::Result<(Vec<u32>, u32)> {
    let count = count.min(RULES_MAX);
    let mut block = block(LIST_RULES);
    block.resize(RULE_BYTES.max(PLACES + 4 * usize::try_from(count).unwrap_or(0)), 0);
    put(&mut block, COUNT, &count.to_ne_bytes());
    ask(&mut block)?;
    let found = usize::try_from(word(&block, COUNT).min(count)).unwrap_or(0);
    let places = block[PLACES..].chunks_exact(4).take(found).map(|place| word(place, 0)).collect();
    Ok((places, word(&block, DATA) & !CHOOSES))
}

/// The rule for just this flow.
pub(super) fn find(ask: &mut Ask<'_>, flow: &Flow) -> io::Result<Option<Rule>> {
    let (count, _) = count(ask)?;
    for place in places(ask, count)?.0 {
        let mut block = block(GET_RULE);
        put(&mut block, PLACE, &place.to_ne_bytes());
        match ask(&mut block) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {} // gone meanwhile
            Err(error) => return Err(error),
            Ok(()) if flow_of(&block) == Some(*flow) => {
                return Ok(Some(Rule { queue: word(&block, COOKIE), place }));
            }
            Ok(()) => {}
        }
    }
    Ok(None)
}

pub(super) fn steer(ask: &mut Ask<'_>, flow: &Flow, queue: Option<u32>) -> io::Result<()> {
    if let Some(rule) = find(ask, flow)? {
        let mut block = block(DELETE_RULE);
        put(&mut block, PLACE, &rule.place.to_ne_bytes());
        ask(&mut block)?;
    }
    let Some(queue) = queue else { return Ok(()) };
    let (count, size) = count(ask)?;
    let place = if size & CHOOSES == 0 { last_free(ask, count)? } else { ANY_PLACE };
    ask(&mut insertion(flow, queue, place))
}

fn last_free(ask: &mut Ask<'_>, count: u32) -> io::Result<u32> {
    let (taken, size) = places(ask, count)?;
    let full = || io::Error::from_raw_os_error(libc::ENOSPC);
    (0..size).rev().find(|place| !taken.contains(place)).ok_or_else(full)
}

fn insertion(flow: &Flow, queue: u32, place: u32) -> Vec<u8> {
    let mut block = block(INSERT_RULE);
    put(&mut block, KIND, &(if flow.is_udp { UDP4 } else { TCP4 }).to_ne_bytes());
    for (end, address, port) in [(flow.from, SOURCE, SOURCE_PORT), (flow.to, DESTINATION, DESTINATION_PORT)] {
        if let Some(known) = end.address {
            put(&mut block, VALUES + address, &known.octets());
            put(&mut block, MASKS + address, &[0xff; 4]);
        }
        if let Some(known) = end.port {
            put(&mut block, VALUES + port, &known.to_be_bytes());
            put(&mut block, MASKS + port, &[0xff; 2]);
        }
    }
    put(&mut block, COOKIE, &u64::from(queue).to_ne_bytes());
    put(&mut block, PLACE, &place.to_ne_bytes());
    block
}

/// The flow of a rule; `None` for a rule of another kind, by parts of an address, or to somewhere else than a queue.
fn flow_of(block: &[u8]) -> Option<Flow> {
    let is_udp = match word(block, KIND) {
        UDP4 => true,
        TCP4 => false,
        _ => return None,
    };
    let is_zero =
        |from: usize, to: usize| block.get(from..to).is_some_and(|bytes| bytes.iter().all(|b| *b == 0));
    // What we do not know must not count; nor is the cookie one that names a virtual function, or says that it is dropped.
    if !is_zero(MASKS + SPEC_END - 1, MASKS_BEYOND)
        || !is_zero(MASKS_BEYOND, MASKS_END)
        || word(block, COOKIE + 4) != 0
    {
        return None;
    }
    let end = |address: usize, port: usize| {
        let part = |at: usize, length: usize| {
            let mask = block.get(MASKS + at..MASKS + at + length)?;
            let value = block.get(VALUES + at..VALUES + at + length)?;
            match mask {
                _ if mask.iter().all(|b| *b == 0) => Some(None),
                _ if mask.iter().all(|b| *b == 0xff) => Some(Some(value)),
                _ => None,
            }
        };
        let (address, port) = (part(address, 4)?, part(port, 2)?);
        let address = address.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(Ipv4Addr::from);
        let port = port.and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).map(u16::from_be_bytes);
        Some(End { address, port })
    };
    Some(Flow { is_udp, from: end(SOURCE, SOURCE_PORT)?, to: end(DESTINATION, DESTINATION_PORT)? })
}

fn block(command: u32) -> Vec<u8> {
    let mut block = vec![0; RULE_BYTES];
    put(&mut block, 0, &command.to_ne_bytes());
    block
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(block: &[u8], at: usize) -> u32 {
    block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

// The values end where the fields beyond them begin, and the masks likewise: 52 bytes each, and 20 beyond.
const _: () =
    assert!(VALUES + 52 == VALUES_BEYOND && VALUES_BEYOND + 20 == MASKS && MASKS + 52 == MASKS_BEYOND);
const _: () =
    assert!(MASKS_BEYOND + 20 == MASKS_END && MASKS_END.next_multiple_of(8) == COOKIE && COOKIE + 8 == PLACE);
const _: () =
    assert!((PLACE + 4).next_multiple_of(8) == COUNT && COUNT + 4 == PLACES && PLACES + 4 == RULE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::model::Driver;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, is_one: bool) {
        match text.parse::<Flow>() {
            Ok(flow) => assert!(is_one && flow.to_string() == text, "{text:?} is {flow}"),
            Err(error) => assert!(!is_one && error.starts_with(&format!("{text:?} is no flow; ")), "{error}"),
        }
    }

    #[test]
    fn flows_as_text() {
        check("udp4 to 239.1.1.1:14310", true);
        check("tcp4 from 10.0.0.1 to any:5001", true);
        check("udp4 from 10.0.0.1:7 to 10.0.0.2:8", true);
        for bad in
            ["", "udp4", "udp6 to ::1", "udp4 to any", "udp4 to 1.2.3", "udp4 to any:0", "udp4 to any:x"]
        {
            check(bad, false);
        }
        let flow: Flow = "udp4 from any:7 to 239.1.1.1:14310".parse().unwrap();
        assert_eq!(flow.words(), "udp4 src-port 7 dst-ip 239.1.1.1 dst-port 14310");
        check("udp4 to 10.0.0.1 from 10.0.0.2", false); // one order, so that one flow has one name
        check("udp4 to 10.0.0.1 to 10.0.0.2", false);
    }

    /// `ethtool -N X flow-type udp4 dst-ip 239.1.1.1 dst-port 14310 action 3 loc 7`, by the header (ethtool.h):
    /// values in the network's order, and the bits of masks that count set.
    #[test]
    fn a_rule_as_the_kernel_takes_it() {
        let block = insertion(&"udp4 to 239.1.1.1:14310".parse().unwrap(), 3, 7);
        let set: Vec<(usize, u8)> =
            block.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).collect();
        let expected = [
            (0, 0x32),
            (16, 2),
            (24, 239),
            (25, 1),
            (26, 1),
            (27, 1),
            (30, 0x37),
            (31, 0xe6),
            (96, 0xff),
            (97, 0xff),
            (98, 0xff),
            (99, 0xff),
            (102, 0xff),
            (103, 0xff),
            (168, 3),
            (176, 7),
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(set, expected);
        }
    }

    #[test]
    fn flows_are_steered_and_left_again() {
        let [feed, order]: [Flow; 2] =
            ["udp4 to 239.1.1.1:14310", "tcp4 from 10.0.0.1:5001"].map(|text| text.parse().unwrap());
        for chooses in [false, true] {
            let mut driver = Driver { chooses, ..Driver::of(4, 128) };
            driver.ask(&mut foreign()).unwrap();
            let untouched = driver.rules.clone();
            let ask: &mut Ask<'_> = &mut |block| driver.ask(block);
            assert_eq!(find(ask, &feed).unwrap(), None);
            steer(ask, &feed, Some(3)).unwrap();
            steer(ask, &order, Some(1)).unwrap();
            assert_eq!(find(ask, &feed).unwrap().unwrap().queue, 3);
            steer(ask, &feed, Some(2)).unwrap();
            assert_eq!(find(ask, &feed).unwrap().unwrap().queue, 2);
            assert_eq!(find(ask, &order).unwrap().unwrap().queue, 1);
            assert_eq!(count(ask).unwrap().0, 3, "one rule a flow");
            steer(ask, &feed, None).unwrap();
            steer(ask, &order, None).unwrap();
            steer(ask, &order, None).unwrap();
            assert!(steer(ask, &feed, Some(9)).is_err(), "there is no such queue");
            assert_eq!(driver.rules, untouched, "rules of others stay where they are");
        }
    }

    #[test]
    fn a_table_that_is_full_takes_no_rule() {
        let mut driver = Driver { size: 1, ..Driver::of(4, 128) };
        let ask: &mut Ask<'_> = &mut |block| driver.ask(block);
        steer(ask, &"udp4 to any:1".parse().unwrap(), Some(0)).unwrap();
        let full = steer(ask, &"udp4 to any:2".parse().unwrap(), Some(0)).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
    }

    /// A rule by a part of an address, which is none of ours.
    fn foreign() -> Vec<u8> {
        let mut block = insertion(&"udp4 to 239.1.1.1:14310".parse().unwrap(), 0, 0);
        put(&mut block, MASKS + DESTINATION, &[0xff, 0xff, 0xff, 0]);
        block
    }

    proptest! {
        /// Whatever a driver answers is read without harm, and a flow is what it was made of.
        #[test]
        fn any_answer_is_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = flow_of(&bytes);
        }

        #[test]
        fn a_rule_is_read_back(udp in any::<bool>(), ip in any::<u32>(), port in 1u16.., queue in 0u32..64) {
            let protocol = if udp { "udp4" } else { "tcp4" };
            let flow: Flow = format!("{protocol} from {}:{port} to any:{port}", Ipv4Addr::from(ip)).parse().unwrap();
            let block = insertion(&flow, queue, 0);
            prop_assert_eq!((flow_of(&block), word(&block, COOKIE)), (Some(flow), queue));
        }
    }
}
