//! The network interfaces, by something that a rename does not change.
//!
//! udev renames interfaces at boot, and people do at any time; what an interface is known by here is where its device sits
//! and which of its ports it is, else its hardware address, and only where it has neither of its own its name. Which
//! interfaces are shown is decided by whoever mounted `/sys`, which may be another network namespace than that of this
//! process: [`own_names`] tells. Source: Documentation/ABI/testing/sysfs-class-net.

use std::collections::{BTreeMap, BTreeSet};

use crate::numa::NodeId;
use crate::root::Root;
use crate::{Error, if_present, text};

const DIR: &str = "/sys/class/net";

/// One interface as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What it is called now.
    pub name: String,
    /// Its number, which no rename changes and no other interface of this boot has had.
    pub index: u32,
    /// What it is known by: `0000:3b:00.0`, `0000:3b:00.0 port 1`, `02:fc:00:00:00:01`, `name lo`.
    pub identity: String,
    /// The driver of its device; `None` for one without a device.
    pub driver: Option<String>,
    /// The memory node of its device, where it is said to have one.
    pub node: Option<NodeId>,
    /// Its queues, `rx-0` and `tx-0` and so on.
    pub queues: Vec<String>,
}

impl Interface {
    /// Whether there is a device behind it: a card, a port, a virtual function.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.driver.is_some()
    }

    /// The file `file` of the interface, or of one of its queues with `queues/rx-0/` before it.
    #[must_use]
    pub fn file(&self, file: &str) -> String {
        format!("{DIR}/{}/{file}", self.name)
    }

    /// Where it can be asked about.
    #[must_use]
    pub fn address(&self) -> crate::ethtool::Address {
        crate::ethtool::Address { index: self.index, name: self.name.clone() }
    }
}

/// Every interface that `/sys` shows, by name.
///
/// # Errors
/// [`Error::Absent`] where there is no such folder, [`Error::Read`], [`Error::Format`].
pub fn interfaces(root: &Root) -> Result<Vec<Interface>, Error> {
    let mut found = Vec::new();
    for name in root.list(DIR)? {
        // Also listed: `bonding_masters`, a file. Absent: it went away since the folder was listed.
        found.extend(if_present(interface(root, &name))?);
    }
    tell_apart(&mut found);
    Ok(found.into_iter().map(|(_, interface)| interface).collect())
}

/// The interfaces of this thread's own network namespace, by name.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`].
// Format: two lines of heading, then "  eth0: 1234 ..."   (Documentation/filesystems/proc.rst, 1.4)
pub fn own_names(root: &Root) -> Result<BTreeSet<String>, Error> {
    let table = root.read_lossy("/proc/thread-self/net/dev")?;
    Ok(table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

/// How far what is known of an interface is its own: the bus place, the address, the name.
struct Known {
    place: Option<String>,
    address: Option<String>,
}

fn interface(root: &Root, name: &str) -> Result<(Known, Interface), Error> {
    let of = |file: &str| format!("{DIR}/{name}/{file}");
    let index: u32 = root.parse(&of("ifindex"), text::number)?;
    let device = if_present(root.link_name(&of("device")))?;
    let uevent = if_present(root.read_lossy(&of("device/uevent")))?.unwrap_or_default();
    let driver = uevent.lines().find_map(|line| line.strip_prefix("DRIVER=")).map(str::to_owned);
    let port: u32 = if_present(root.parse(&of("dev_port"), text::number))?.unwrap_or_default();
    let node = if_present(root.read(&of("device/numa_node")))?;
    let mut queues = if_present(root.list(&of("queues")))?.unwrap_or_default();
    queues.sort_by_key(|queue| (queue.starts_with("tx"), queue.len(), queue.clone()));
    let place = device.map(|place| if port == 0 { place } else { format!("{place} port {port}") });
    let interface = Interface {
        name: name.to_owned(),
        index,
        identity: String::new(),
        driver,
        node: node.and_then(|text| text.trim().parse().ok()).map(NodeId),
        queues,
    };
    Ok((Known { place, address: own_address(root, name)? }, interface))
}

/// The hardware address, where it is the interface's own: given by the device, or drawn by the kernel when it was made.
// Format: "02:fc:00:00:00:01\n", and of addr_assign_type "0\n" given, "1\n" drawn, "2\n" taken from another, "3\n" set
fn own_address(root: &Root, name: &str) -> Result<Option<String>, Error> {
    let kind = if_present(root.read(&format!("{DIR}/{name}/addr_assign_type")))?.unwrap_or_default();
    let address = if_present(root.read(&format!("{DIR}/{name}/address")))?.unwrap_or_default();
    let address = address.trim();
    let is_own = matches!(kind.trim(), "0" | "1") && address.bytes().any(|b| !b"0:".contains(&b));
    Ok(is_own.then(|| address.to_owned()))
}

/// Gives each the first of place, address and name that no other has too.
fn tell_apart(found: &mut [(Known, Interface)]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (known, _) in &*found {
        for text in [&known.place, &known.address].into_iter().flatten() {
            *seen.entry(text.clone()).or_default() += 1;
        }
    }
    for (known, interface) in found {
        let own = [&known.place, &known.address].into_iter().flatten().find(|text| seen[*text] == 1);
        interface.identity = own.cloned().unwrap_or_else(|| format!("name {}", interface.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join("sys").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            std::io::Write::write_all(&mut fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        }

        /// An interface of the device at `place`, if any.
        fn interface(&self, name: &str, index: u32, place: Option<&str>, address: &str, kind: u8, port: u8) {
            let dir = match place {
                Some(place) => format!("devices/{place}/net/{name}"),
                None => format!("devices/virtual/net/{name}"),
            };
            self.put(&format!("{dir}/ifindex"), &format!("{index}\n"));
            self.put(&format!("{dir}/address"), &format!("{address}\n"));
            self.put(&format!("{dir}/addr_assign_type"), &format!("{kind}\n"));
            self.put(&format!("{dir}/dev_port"), &format!("{port}\n"));
            for queue in ["rx-10", "rx-9", "tx-0"] {
                self.put(&format!("{dir}/queues/{queue}/x"), "");
            }
            let top = self.0.path().join("sys");
            fs::create_dir_all(top.join("class/net")).unwrap();
            let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
            link(&format!("../../{dir}"), &top.join("class/net").join(name));
            if let Some(place) = place {
                self.put(&format!("devices/{place}/uevent"), "DRIVER=mlx5_core\nPCI_CLASS=20000\n");
                self.put(&format!("devices/{place}/numa_node"), "1\n");
                link(
                    &format!("../../../{}", place.rsplit('/').next().unwrap()),
                    &top.join(&dir).join("device"),
                );
            }
        }
    }

    #[test]
    fn each_is_known_by_what_it_alone_has() {
        let tree = Tree(tempfile::tempdir().unwrap());
        fs::create_dir(tree.0.path().join("proc")).unwrap();
        tree.put("class/net/bonding_masters", "bond0\n");
        tree.interface("lo", 1, None, "00:00:00:00:00:00", 0, 0);
        tree.interface("p0", 2, Some("pci0/0000:3b:00.0"), "0c:42:a1:00:00:01", 0, 0);
        tree.interface("p1", 3, Some("pci0/0000:3b:00.0"), "0c:42:a1:00:00:02", 0, 1);
        tree.interface("rep0", 4, Some("pci0/0000:3b:00.1"), "0c:42:a1:00:00:03", 0, 0);
        tree.interface("rep1", 5, Some("pci0/0000:3b:00.1"), "0c:42:a1:00:00:04", 1, 0);
        tree.interface("bond0", 6, None, "0c:42:a1:00:00:01", 2, 0); // taken from a port
        tree.interface("set0", 7, None, "0a:00:00:00:00:01", 3, 0);
        tree.interface("veth0", 8, None, "0a:00:00:00:00:02", 1, 0);
        let found = interfaces(&Root::at(tree.0.path())).unwrap();
        let known: Vec<(&str, &str)> =
            found.iter().map(|one| (one.name.as_str(), one.identity.as_str())).collect();
        let expected = [
            ("bond0", "name bond0"),
            ("lo", "name lo"),
            ("p0", "0000:3b:00.0"),
            ("p1", "0000:3b:00.0 port 1"),
            ("rep0", "0c:42:a1:00:00:03"),
            ("rep1", "0c:42:a1:00:00:04"),
            ("set0", "name set0"),
            ("veth0", "0a:00:00:00:00:02"),
        ];
        assert_eq!(known, expected);
        let p1 = &found[3];
        assert_eq!((p1.driver.as_deref(), p1.node, p1.index), (Some("mlx5_core"), Some(NodeId(1)), 3));
        assert_eq!(p1.queues, ["rx-9", "rx-10", "tx-0"]);
        assert!(!found[7].is_device());
    }

    #[test]
    fn this_process_has_the_loopback() {
        assert!(own_names(&Root::system()).unwrap().contains("lo"));
    }
}
