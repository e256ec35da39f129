//! A control group as a profile names it.

use std::fmt;
use std::str::FromStr;

use host::cgroups::GroupName;

/// The path of a group below the root of its hierarchy, of the characters that systemd gives its units: a name that goes
/// into lists and scripts as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPath(GroupName);

impl GroupPath {
    /// The group.
    #[must_use]
    pub fn name(&self) -> &GroupName {
        &self.0
    }
}

impl FromStr for GroupPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@:\\/".contains(&b);
        if text.len() > units::limits::GROUP_PATH_BYTES_MAX {
            return Err(format!(
                "longer than {} bytes; a group is named as in trading.slice",
                units::limits::GROUP_PATH_BYTES_MAX
            ));
        }
        if !text.bytes().all(plain) {
            return Err(format!(
                "{text:?}: only a-z A-Z 0-9 . _ - @ : \\ and / are taken, as in trading.slice"
            ));
        }
        text.parse().map(Self)
    }
}

impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = text.parse::<GroupPath>().map_or_else(|problem| problem, |path| path.to_string());
        assert_eq!(told, expected);
    }

    #[test]
    fn groups_as_profiles_name_them() {
        check("quell", "quell");
        check("trading.slice/trading-engine.slice", "trading.slice/trading-engine.slice");
        check("a,b", "\"a,b\": only a-z A-Z 0-9 . _ - @ : \\ and / are taken, as in trading.slice");
        check("a b", "\"a b\": only a-z A-Z 0-9 . _ - @ : \\ and / are taken, as in trading.slice");
        check("../etc", "\"..\" is no name of a control group: it climbs");
        check("/abs", "\"\" is no name of a control group: empty; a group is named as in trading/engine");
        check(&"x".repeat(300), "longer than 255 bytes; a group is named as in trading.slice");
    }
}
