//! The call by which drivers are asked what netlink does not ask: how packets are spread over queues, and the rules
//! for flows.
//!
//! Each question is a block of bytes that begins with its number, read and written by the kernel; how long it is follows
//! from the number and from the counts in it, and [`ask`] makes no call with a block that is shorter. Source:
//! include/uapi/linux/ethtool.h; net/ethtool/ioctl.c.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// struct ethtool_drvinfo.
pub(super) const GET_DRIVER: u32 = 0x3;
/// struct ethtool_rxfh_indir: command, size, and as many numbers of queues.
pub(super) const GET_TABLE: u32 = 0x38;
pub(super) const SET_TABLE: u32 = 0x39;
/// struct ethtool_rxnfc: command, and what [`super::rules`] says.
pub(super) const GET_RINGS: u32 = 0x2d;
pub(super) const COUNT_RULES: u32 = 0x2e;
pub(super) const GET_RULE: u32 = 0x2f;
pub(super) const LIST_RULES: u32 = 0x30;
pub(super) const DELETE_RULE: u32 = 0x31;
pub(super) const INSERT_RULE: u32 = 0x32;

/// Bytes of struct ethtool_rxnfc, and where its list of places begins.
pub(super) const RULE_BYTES: usize = 192;
pub(super) const PLACES: usize = 188;

/// Bytes of struct ethtool_drvinfo.
pub(super) const DRIVER_BYTES: usize = 196;

/// How long a block of this beginning has to be; `None` for a question that is not asked.
pub(super) fn least(block: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_ne_bytes(block.get(at..at + 4)?.try_into().ok()?));
    let count = |at: usize| Some(usize::try_from(word(at)?).ok()?.min(1 << 20));
    match word(0)? {
        GET_DRIVER => Some(DRIVER_BYTES),
        GET_TABLE | SET_TABLE => Some(8 + 4 * count(4)?),
        LIST_RULES => Some((PLACES + 4 * count(184)?).max(RULE_BYTES)),
        GET_RINGS | COUNT_RULES | GET_RULE | DELETE_RULE | INSERT_RULE => Some(RULE_BYTES),
        _ => None,
    }
}

/// Asks the driver of the interface `name`; its answer stands in `block` afterwards.
pub(super) fn ask(name: &str, block: &mut [u8]) -> io::Result<()> {
    if least(block).is_none_or(|least| block.len() < least) {
        return Err(Errno::EINVAL.into());
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return Err(Errno::ENODEV.into());
    }
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: block.as_mut_ptr().cast() };
    let mut request = libc::ifreq { ifr_name, ifr_ifru };
    // SAFETY: `request` is an ifreq whose name ends in a zero and whose pointer is to `block`, which lives, and is nobody
    // else's, until the call returns. For each number that `least` knows, the kernel reads and writes no more than the bytes
    // that `least` counts, by the counts that stand in the block when it is given, and it is that long (checked above).
    #[expect(unsafe_code, reason = "nix 0.31 has no ethtool calls, and netlink not these")]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
