//! Which of an interface's queues a received packet goes to: the table that spreads packets by their hash, and the
//! rules that steer single flows past it, as `ethtool -x` and `ethtool -n` show them.
//!
//! The kernel offers the rules by ioctl alone, and the table to be set by netlink only since Linux 6.17, so both are
//! asked by ioctl (`ioctl.rs`). Only rules for UDP and TCP over IPv4 by whole addresses and ports are known here; all
//! others are left alone, and their places in the driver's table with them. Most drivers want `ntuple` on (`ethtool
//! -K`) before they take a rule. There is none of this in a captured tree. Source:
//! Documentation/networking/scaling.rst; include/uapi/linux/ethtool.h.

mod ioctl;
pub mod rules;
pub mod spread;

use std::io;

use crate::ethtool::Address;
use crate::{Error, Root, if_present, text};

pub use rules::Flow;
pub use spread::Spread;

/// What an interface's driver has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steering {
    /// Queues that receive.
    pub queues: u32,
    /// How packets are spread over them; `None` where the driver shows no table.
    pub spread: Option<Spread>,
    /// Whether it takes rules.
    pub takes_rules: bool,
}

/// Puts one question to the driver: the kernel, or a model of it.
type Ask<'a> = dyn FnMut(&mut [u8]) -> io::Result<()> + 'a;

/// What the driver has.
///
/// # Errors
/// [`Error::Absent`] in a captured tree, for an interface that is gone and for a driver without queues to choose from;
/// [`Error::Read`].
pub fn get(root: &Root, interface: &Address) -> Result<Steering, Error> {
    let mut ask = driver(root, interface)?;
    let queues = rules::queues(&mut ask).map_err(|cause| told(interface, None, cause))?;
    let spread = match spread::get(&mut ask).map_err(|cause| told(interface, None, cause)) {
        Ok(spread) => spread,
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    let takes_rules =
        if_present(rules::count(&mut ask).map_err(|cause| told(interface, None, cause)))?.is_some();
    Ok(Steering { queues, spread, takes_rules })
}

/// Spreads packets so from now on. A table that is the driver's own for its count of queues is asked for as that, so that it
/// follows when the count changes.
///
/// # Errors
/// [`Error::Absent`] as in [`get`]; [`Error::Write`].
pub fn set_spread(root: &Root, interface: &Address, spread: &Spread) -> Result<(), Error> {
    let mut ask = driver(root, interface)?;
    root.count_write();
    let refused = |cause| told(interface, Some(spread.to_string()), cause);
    let queues = rules::queues(&mut ask).map_err(refused)?;
    spread::set(&mut ask, spread, queues).map_err(|cause| told(interface, Some(spread.to_string()), cause))
}

/// The queue that the flow is steered to; `None`: to none by a rule of its own.
///
/// # Errors
/// As [`get`].
pub fn queue_of(root: &Root, interface: &Address, flow: &Flow) -> Result<Option<u32>, Error> {
    let mut ask = driver(root, interface)?;
    let found = rules::find(&mut ask, flow).map_err(|cause| told(interface, None, cause))?;
    Ok(found.map(|rule| rule.queue))
}

/// Steers the flow to this queue, or takes its rule away.
///
/// # Errors
/// [`Error::Absent`] as in [`get`]; [`Error::Write`].
pub fn steer(root: &Root, interface: &Address, flow: &Flow, queue: Option<u32>) -> Result<(), Error> {
    let mut ask = driver(root, interface)?;
    root.count_write();
    rules::steer(&mut ask, flow, queue).map_err(|cause| {
        let to = queue.map_or("none".to_owned(), |queue| format!("{flow} to queue {queue}"));
        told(interface, Some(to), cause)
    })
}

/// The version of the card's firmware that its driver tells.
///
/// # Errors
/// [`Error::Absent`] where it tells none, and as in [`get`].
pub fn firmware(root: &Root, interface: &Address) -> Result<String, Error> {
    // In struct ethtool_drvinfo: command, driver's name, its version, this.
    const VERSION: std::ops::Range<usize> = 68..100;
    let mut ask = driver(root, interface)?;
    let mut block = ioctl::GET_DRIVER.to_ne_bytes().to_vec();
    block.resize(ioctl::DRIVER_BYTES, 0);
    ask(&mut block).map_err(|cause| told(interface, None, cause))?;
    let text = block[VERSION].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text).trim().to_owned();
    // "N/A" is how ethtool's drivers say that there is none.
    if text.is_empty() || text == "N/A" { Err(Error::Absent { path: path(interface) }) } else { Ok(text) }
}

fn driver<'a>(
    root: &Root,
    interface: &'a Address,
) -> Result<impl FnMut(&mut [u8]) -> io::Result<()> + 'a, Error> {
    let gone = || Error::Absent { path: path(interface) };
    if !root.is_system() {
        return Err(gone());
    }
    // The call goes by the name, which another interface may have by now.
    let index: u32 = root
        .parse(&format!("/sys/class/net/{}/ifindex", interface.name), text::number)
        .map_err(|error| if error.is_absent() { gone() } else { error })?;
    if index != interface.index {
        return Err(gone());
    }
    Ok(|block: &mut [u8]| ioctl::ask(&interface.name, block))
}

fn told(interface: &Address, value: Option<String>, cause: io::Error) -> Error {
    let path = path(interface);
    let absent = [libc::ENODEV, libc::EOPNOTSUPP];
    match (value, cause.raw_os_error()) {
        (_, Some(libc::ENODEV)) => Error::Absent { path },
        (None, Some(errno)) if absent.contains(&errno) => Error::Absent { path },
        (None, _) => Error::Read { path, cause },
        (Some(value), _) => Error::Write { path, value, cause },
    }
}

/// As a person would name it.
#[must_use]
pub fn path(interface: &Address) -> String {
    format!("{} flows", interface.name.escape_debug())
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_no_queues_and_a_captured_tree_no_driver() {
        let lo = Address { index: 1, name: "lo".to_owned() };
        let flow: Flow = "udp4 to 239.1.1.1:14310".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for root in [Root::system(), Root::at(dir.path())] {
            assert!(get(&root, &lo).unwrap_err().is_absent());
            assert!(queue_of(&root, &lo, &flow).unwrap_err().is_absent());
            assert!(firmware(&root, &lo).unwrap_err().is_absent());
        }
        let other = Address { index: u32::MAX >> 1, name: "lo".to_owned() };
        assert!(get(&Root::system(), &other).unwrap_err().is_absent(), "another has its name by now");
    }
}
