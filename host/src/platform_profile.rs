//! The firmware's own choice between quiet, balanced and fast.
//!
//! Mostly laptops and some servers have it. Source: Documentation/userspace-api/sysfs-platform_profile.rst.

use crate::{Error, Root, if_present, text};

/// The attribute.
pub const PATH: &str = "/sys/firmware/acpi/platform_profile";

/// What is chosen, and what can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformProfile {
    /// `balanced`, `performance`, ...; `custom` when the keys of the machine set something else.
    pub current: String,
    /// The words it takes.
    pub choices: Vec<String>,
}

/// The choice; `None` where the firmware leaves none.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "balanced\n"; "low-power balanced performance\n"   (Documentation/userspace-api/sysfs-platform_profile.rst)
pub fn read(root: &Root) -> Result<Option<PlatformProfile>, Error> {
    let Some(current) = if_present(root.parse(PATH, text::line))? else { return Ok(None) };
    let choices = root.parse("/sys/firmware/acpi/platform_profile_choices", text::words)?;
    Ok(Some(PlatformProfile { current, choices }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    #[test]
    fn the_choice_and_the_choices() {
        let tree = Tree::of(&[]);
        assert_eq!(read(&tree.root).unwrap(), None);
        tree.put(PATH, "balanced\n");
        assert!(read(&tree.root).unwrap_err().is_absent(), "half an interface is no choice");
        tree.put("/sys/firmware/acpi/platform_profile_choices", "low-power balanced performance\n");
        let profile = read(&tree.root).unwrap().unwrap();
        assert_eq!((profile.current.as_str(), profile.choices.len()), ("balanced", 3));
    }
}
