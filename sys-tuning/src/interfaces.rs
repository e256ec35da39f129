//! Network interfaces as the planners see them: which there are, which a profile means, and what their drivers hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use host::ethtool::{self, Aspect, State};
use host::interfaces::{self, Interface};
use host::steering::{self, Steering};
use host::{Error, Root, if_present};
use units::limits::INTERFACES_MAX;

/// What is known of the network. Everything that drivers hold is read before anything is planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    pub interfaces: Vec<Interface>,
    /// Why this process cannot change the host's network at all.
    pub elsewhere: Option<String>,
    /// Why it cannot ask or tell drivers.
    pub barred: Option<String>,
    /// What the drivers that were asked hold, by the interface's number; `None`: nothing of the kind.
    pub states: BTreeMap<(u32, Aspect), Result<Option<State>, String>>,
    /// How packets get to queues, likewise.
    pub steering: BTreeMap<u32, Result<Option<Steering>, String>>,
    /// The firmware that drivers tell of, likewise.
    pub firmware: BTreeMap<u32, Result<Option<String>, String>>,
}

/// How the right comes to whoever lacks it.
const REMEDY: &str = "the drop-in quell-keeper.service.d/20-network.conf gives it to the keeper";

impl Network {
    pub fn read(root: &Root) -> Result<Self, Error> {
        let interfaces = if_present(interfaces::interfaces(root))?.unwrap_or_default();
        if !root.is_system() {
            let barred = Some("a captured tree has no drivers to ask".to_owned());
            return Ok(Self { interfaces, barred, ..Self::default() });
        }
        let shown: BTreeSet<String> = interfaces.iter().map(|interface| interface.name.clone()).collect();
        // /sys shows the host's interfaces to a service with a network of its own, and /proc/sys/net is its own.
        let elsewhere = (if_present(interfaces::own_names(root))?.unwrap_or_default() != shown)
            .then(|| format!("this process has a network of its own, not the host's; {REMEDY}"));
        let barred = elsewhere.clone().or_else(|| {
            let is_short = nix::unistd::geteuid().is_root() && !host::process::may_configure_network(root);
            is_short.then(|| format!("this process lacks CAP_NET_ADMIN; {REMEDY}"))
        });
        Ok(Self { interfaces, elsewhere, barred, ..Self::default() })
    }

    /// Asks the drivers of the interfaces that `choice` means.
    pub fn ask(&mut self, root: &Root, aspect: Aspect, choice: &InterfaceChoice) {
        if self.barred.is_some() {
            return;
        }
        for interface in self.interfaces.iter().filter(|one| choice.means(one)).take(INTERFACES_MAX) {
            let state = if_present(ethtool::get(root, &interface.address(), aspect));
            self.states.insert((interface.index, aspect), state.map_err(|error| error.to_string()));
        }
    }

    /// Asks the same drivers how packets get to their queues.
    pub fn ask_steering(&mut self, root: &Root, choice: &InterfaceChoice) {
        self.steering = match self.barred {
            Some(_) => BTreeMap::new(),
            None => self.answers(choice, |interface| steering::get(root, &interface.address())),
        };
    }

    /// Asks the same drivers what runs on their cards, which takes no right.
    pub fn ask_firmware(&mut self, root: &Root, choice: &InterfaceChoice) {
        let ask = |interface: &Interface| steering::firmware(root, &interface.address());
        self.firmware = self.answers(choice, ask);
    }

    fn answers<T>(
        &self,
        choice: &InterfaceChoice,
        ask: impl Fn(&Interface) -> Result<T, Error>,
    ) -> BTreeMap<u32, Result<Option<T>, String>> {
        let chosen = self.interfaces.iter().filter(|one| choice.means(one)).take(INTERFACES_MAX);
        chosen.map(|one| (one.index, if_present(ask(one)).map_err(|error| error.to_string()))).collect()
    }

    /// The interface that is known by this.
    pub fn find(&self, identity: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.identity == identity)
    }
}

/// Which interfaces a profile means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum InterfaceChoice {
    /// Those with a device behind them: cards and virtual functions, not bridges or the loopback.
    #[default]
    Devices,
    /// Those of these names.
    Named(BTreeSet<String>),
}

impl InterfaceChoice {
    pub(crate) fn means(&self, interface: &Interface) -> bool {
        match self {
            Self::Devices => interface.is_device(),
            Self::Named(names) => names.contains(&interface.name),
        }
    }
}

// Format: "devices", "eth0", "eth0,eth1"
impl FromStr for InterfaceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "devices" {
            return Ok(Self::Devices);
        }
        let names: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(bad) => Err(format!("{bad:?} is no interface's name; it reads like eth0,eth1 or devices")),
            None => Ok(Self::Named(names)),
        }
    }
}

/// As the kernel checks it (net/core/dev.c, dev_valid_name), without what no one-line text should have.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"/:\"\\".contains(&b);
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !["..", "."].contains(&name)
        && name.bytes().all(plain)
}

/// IFNAMSIZ without its final zero.
const NAME_BYTES_MAX: usize = 15;

impl fmt::Display for InterfaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Devices => f.pad("devices"),
            Self::Named(names) => f.pad(&names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = text.parse::<InterfaceChoice>().map_or_else(|e| format!("error: {e}"), |c| c.to_string());
        assert_eq!(told, expected);
    }

    #[test]
    fn choices() {
        check("devices", "devices");
        check("eth1, eth0", "eth0,eth1");
        check("eth0.100", "eth0.100");
        let refused = |name: &str| {
            format!("error: {name:?} is no interface's name; it reads like eth0,eth1 or devices")
        };
        for bad in ["", "..", "a/b", "a b", "sixteen-letters-", "eth0:1"] {
            check(bad, &refused(bad));
        }
    }
}
