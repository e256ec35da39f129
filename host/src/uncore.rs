//! How fast the part of Intel's processors runs that is no core: the shared cache, the mesh, the memory controllers.
//!
//! One directory a package and die, or a domain of either; the limits the machine booted with stay readable. Source:
//! Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst.

use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/devices/system/cpu/intel_uncore_frequency";

/// The limits of one part, in kHz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its directory: `package_00_die_00`, `uncore03`.
    pub name: String,
    /// The lowest frequency used.
    pub min: u64,
    /// The highest frequency used.
    pub max: u64,
    /// The highest that was allowed when the machine booted.
    pub initial_max: u64,
}

/// Every part that has limits, by name; `None` where the kernel has no such driver.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "800000\n"   (Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst)
pub fn domains(root: &Root) -> Result<Option<Vec<Domain>>, Error> {
    let Some(names) = if_present(root.list(DIR))? else { return Ok(None) };
    let domain = |name: &String| {
        let khz = |file: &str| root.parse(&format!("{DIR}/{name}/{file}"), text::number);
        let limits = (khz("min_freq_khz")?, khz("max_freq_khz")?, khz("initial_max_freq_khz")?);
        let (min, max, initial_max) = limits;
        Ok(Domain { name: name.clone(), min, max, initial_max })
    };
    // A part that is no directory of limits, as the module's own, is left out.
    let domains = names.iter().map(domain).filter_map(|domain| if_present(domain).transpose());
    domains.collect::<Result<_, _>>().map(Some)
}

/// The attribute with the lowest frequency of the part `name`, in kHz.
#[must_use]
pub fn min_path(name: &str) -> String {
    format!("{DIR}/{name}/min_freq_khz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    #[test]
    fn parts_are_found_by_name() {
        let tree = Tree::of(&[]);
        assert_eq!(domains(&tree.root).unwrap(), None);
        for (file, text) in [
            ("min_freq_khz", "800000\n"),
            ("max_freq_khz", "2400000\n"),
            ("initial_max_freq_khz", "2500000\n"),
        ] {
            tree.put(&format!("{DIR}/package_00_die_00/{file}"), text);
        }
        tree.put(&format!("{DIR}/power/control"), "auto\n");
        let found = domains(&tree.root).unwrap().unwrap();
        let expected =
            Domain { name: "package_00_die_00".into(), min: 800_000, max: 2_400_000, initial_max: 2_500_000 };
        assert_eq!(found, [expected]);
    }
}
