//! What this process may do: who it is, what it is capable of, and on which CPUs.
//!
//! Source: Documentation/filesystems/proc.rst, 1.1 (status); capabilities(7).

use units::CpuSet;

use crate::error::Malformed;
use crate::{Error, Root, text};

/// The rights of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Its effective user, as its own user namespace counts.
    pub uid: u32,
    /// Its effective capabilities, one bit each, numbered as in capabilities(7).
    pub effective: u64,
    /// The CPUs it may use: its cpuset and its affinity.
    pub allowed: CpuSet,
}

impl Rights {
    /// Those of this process.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn own(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/self/status", parse)
    }
}

// Format: "Uid:\t1000\t1000\t1000\t1000" (real, effective, saved, file system), "CapEff:\t000001ffffffffff",
// "Cpus_allowed_list:\t0-3"
fn parse(status: &str) -> Result<Rights, Malformed> {
    let field = |key: &str| text::field(status, key).ok_or_else(|| text::missing(status, key));
    let effective_uid = field("Uid")?.split_ascii_whitespace().nth(1).unwrap_or_default();
    let bits = field("CapEff")?;
    Ok(Rights {
        uid: text::number(effective_uid)?,
        effective: u64::from_str_radix(bits, 16).map_err(|_| Malformed::new(bits, "no hexadecimal mask"))?,
        allowed: text::cpulist(field("Cpus_allowed_list")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &str, expected: Option<(u32, u64, &str)>) {
        let told =
            parse(status).ok().map(|rights| (rights.uid, rights.effective, rights.allowed.to_string()));
        assert_eq!(told, expected.map(|(uid, bits, cpus)| (uid, bits, cpus.to_owned())));
    }

    #[test]
    fn who_a_process_is() {
        check(
            "Uid:\t0\t1000\t0\t0\nCapEff:\t0000000000200000\nCpus_allowed_list:\t0-1,3\n",
            Some((1000, 1 << 21, "0-1,3")),
        );
        check("Uid:\t0\t0\t0\t0\nCapEff:\tx\nCpus_allowed_list:\t0\n", None);
        check("CapEff:\t0\nCpus_allowed_list:\t0\n", None);
        assert!(Rights::own(&Root::system()).is_ok());
    }
}
