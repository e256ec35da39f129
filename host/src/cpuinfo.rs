//! What the processors say they are.
//!
//! Only what every processor of the machine has counts as a feature: code that relies on it may run on any of them.
//! Architectures other than x86 write other lines, hence the options. Source: Documentation/filesystems/proc.rst
//! (cpuinfo); arch/x86/include/asm/cpufeatures.h for the flags.

use std::collections::BTreeSet;

use crate::error::Malformed;
use crate::{Error, Root, text};

/// The processors' common description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuInfo {
    /// The first processor's name.
    pub model_name: Option<String>,
    /// The features that all processors have; `None` where the kernel lists none.
    pub flags: Option<BTreeSet<String>>,
}

impl CpuInfo {
    /// What holds now.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/cpuinfo", parse)
    }

    /// Whether all processors have `flag`; `None` where the kernel does not tell.
    #[must_use]
    pub fn has(&self, flag: &str) -> Option<bool> {
        self.flags.as_ref().map(|flags| flags.contains(flag))
    }

    /// Whether the time-stamp counter runs at one rate whatever the frequency and in every idle state: the two flags
    /// together are the "invariant TSC" of the manuals.
    #[must_use]
    pub fn has_invariant_tsc(&self) -> Option<bool> {
        Some(self.has("constant_tsc")? && self.has("nonstop_tsc")?)
    }

    /// Whether a hypervisor runs below: stalls may then be the host's.
    #[must_use]
    pub fn is_virtual(&self) -> Option<bool> {
        self.has("hypervisor")
    }
}

// Format: "model name\t: AMD EPYC", "flags\t\t: fpu vme ... constant_tsc", a block a processor
//         (Documentation/filesystems/proc.rst, cpuinfo)
fn parse(text: &str) -> Result<CpuInfo, Malformed> {
    if text::field(text, "processor").is_none() {
        return Err(text::missing(text, "processor"));
    }
    let of_processor =
        |block: &str| text::field(block, "flags").map(|flags| flags.split(' ').map(str::to_owned).collect());
    let common = |all: BTreeSet<String>, some: BTreeSet<String>| &all & &some;
    Ok(CpuInfo {
        model_name: text::field(text, "model name").map(str::to_owned),
        flags: text.split("\n\n").filter_map(of_processor).reduce(common),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_of_some_is_no_feature() {
        let text = "processor\t: 0\nflags\t\t: fpu constant_tsc nonstop_tsc\n\nprocessor\t: 1\nflags\t\t: fpu constant_tsc\n\n";
        let info = parse(text).unwrap();
        assert_eq!((info.has("constant_tsc"), info.has("nonstop_tsc")), (Some(true), Some(false)));
        assert_eq!(info.has_invariant_tsc(), Some(false));
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        let info = parse("processor\t: 0\nBogoMIPS\t: 50.00\n").unwrap();
        assert_eq!(
            (info.model_name.as_deref(), info.has("tsc"), info.has_invariant_tsc()),
            (None, None, None)
        );
        assert!(parse("").is_err());
    }
}
