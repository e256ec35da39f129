//! The programs that tests ask for, and where Debian has them.
//!
//! With root, or with sudo that asks for no password, missing packages are installed; otherwise the line to
//! type is printed and the tests that need them say that they were skipped. With `CI=true` nothing may be
//! missing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A Debian package with the programs that tests start.
pub struct Package {
    /// As apt knows it.
    pub name: &'static str,
    /// What tests ask for by `require`.
    pub programs: &'static [&'static str],
    /// Why the tests need it.
    pub reason: &'static str,
}

/// Everything the tests start beside the product. tidy holds it against the tests, both ways.
pub const PACKAGES: &[Package] = &[
    Package { name: "curl", programs: &["curl"], reason: "reads the report socket as an operator does" },
    Package {
        name: "rt-tests",
        programs: &["cyclictest", "oslat"],
        reason: "the peers our probes must agree with",
    },
    Package {
        name: "tuned",
        programs: &["tuned", "tuned-adm", "dbus-daemon"],
        reason: "the peer that our applying and verifying are compared with, and the bus that it depends on",
    },
    Package {
        name: "util-linux",
        programs: &["setpriv", "unshare"],
        reason: "runs a command without rights, or in a mount namespace of its own",
    },
    Package {
        name: "systemd",
        programs: &[
            "systemd-analyze",
            "systemd-socket-activate",
            "systemd-sysusers",
            "systemd-tmpfiles",
            "kernel-install",
        ],
        reason: "judges our units as a host would, hands over sockets, and writes boot entries",
    },
    Package {
        name: "grub-common",
        programs: &["grub-editenv", "grub-script-check"],
        reason: "reads and writes the boot line's blocks as GRUB does, and judges our script",
    },
    Package {
        name: "grub-emu",
        programs: &["grub-emu"],
        reason: "boots from a disk's blocks as far as the kernel",
    },
    Package { name: "bsdutils", programs: &["script"], reason: "gives GRUB the terminal it wants" },
    Package { name: "bash", programs: &["bash"], reason: "runs the GRUB script on files" },
    Package { name: "perl-base", programs: &["perl"], reason: "connects to the keeper as somebody else" },
    Package {
        name: "iproute2",
        programs: &["ip"],
        reason: "makes network interfaces in a network of a test's own",
    },
    Package { name: "strace", programs: &["strace"], reason: "kills a run at each of its system calls" },
    Package {
        name: "qemu-system-x86",
        programs: &["qemu-system-x86_64"],
        reason: "emulates the VM lab's machines",
    },
    Package {
        name: "qemu-utils",
        programs: &["qemu-img"],
        reason: "keeps the VM lab's images as they were built",
    },
    Package {
        name: "openssh-client",
        programs: &["ssh", "ssh-keygen"],
        reason: "commands the VM lab's machines",
    },
    Package {
        name: "debootstrap",
        programs: &["debootstrap"],
        reason: "builds the VM lab's root file system",
    },
    Package {
        name: "e2fsprogs",
        programs: &["mke2fs", "debugfs"],
        reason: "makes the VM lab's disks and the one that GRUB boots from, and looks into it",
    },
    Package {
        name: "fdisk",
        programs: &["sfdisk"],
        reason: "partitions the VM lab's disk that boots by itself",
    },
];

/// Services that a package would start, and that would tune the machine of whoever runs the tests: they are masked before
/// it is installed, and the tests start the programs themselves.
const MASKED: [(&str, &str); 1] = [("tuned", "tuned.service")];

/// Where Debian keeps programs; root's PATH may lack the sbin folders, a user's always does.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Installs what is missing where that is allowed; otherwise says how to, and fails if `strict`.
pub fn provide(strict: bool) -> anyhow::Result<()> {
    let missing = missing(PACKAGES, is_installed);
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("missing: {} ({}: {})", package.programs.join(", "), package.name, package.reason);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    match privilege().map(|privilege| install(privilege, &names)) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) if strict => Err(error),
        None if strict => bail!("CI=true and no right to install; run: {}", install_line(&names)),
        Some(Err(error)) => {
            eprintln!("{error:#}");
            Ok(())
        }
        None => {
            eprintln!("to run every test: {}", install_line(&names));
            Ok(())
        }
    }
}

/// The packages of which a program is missing.
fn missing(packages: &[Package], is_installed: impl Fn(&str) -> bool) -> Vec<&Package> {
    packages.iter().filter(|package| !package.programs.iter().all(|program| is_installed(program))).collect()
}

fn is_installed(program: &str) -> bool {
    FOLDERS.iter().any(|folder| Path::new(folder).join(program).exists())
}

/// The line a person types.
fn install_line(names: &[&str]) -> String {
    format!("sudo apt-get install -y {}", names.join(" "))
}

/// How commands become root's here.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

fn privilege() -> Option<Privilege> {
    if is_root() { Some(Privilege::Root) } else { answer("sudo", &["-n", "true"]).map(|_| Privilege::Sudo) }
}

/// Whether the task itself runs as root.
pub fn is_root() -> bool {
    answer("id", &["-u"]).is_some_and(|id| id.trim_ascii() == b"0")
}

fn answer(program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// The package lists are renewed only when they turn out to be too old or absent, as on a fresh image.
fn install(privilege: Privilege, names: &[&str]) -> anyhow::Result<()> {
    for (_, service) in MASKED.iter().filter(|(package, _)| names.contains(package)) {
        mask(privilege, service)?;
    }
    let arguments = [&["install", "-y", "--no-install-recommends"], names].concat();
    if apt_get(privilege, &arguments).is_ok() {
        return Ok(());
    }
    apt_get(privilege, &["update"])?;
    apt_get(privilege, &arguments)
}

/// Keeps a service from being started, now and at the next boot; where systemd does not run, nothing starts any.
fn mask(privilege: Privilege, service: &str) -> anyhow::Result<()> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    run(privilege, &["systemctl", "mask", service])
}

fn apt_get(privilege: Privilege, arguments: &[&str]) -> anyhow::Result<()> {
    run(privilege, &[&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat())
}

/// Runs a command line as root.
fn run(privilege: Privilege, command: &[&str]) -> anyhow::Result<()> {
    let prefix: &[&str] = match privilege {
        Privilege::Root => &[],
        Privilege::Sudo => &["sudo", "-n"],
    };
    let line = [prefix, command].concat();
    eprintln!("+ {}", line.join(" "));
    let status = Command::new(line[0]).args(&line[1..]).stdin(Stdio::null()).status();
    match status.with_context(|| format!("cannot run {}", line[0]))? {
        status if status.success() => Ok(()),
        status => bail!("{}: {status}", line.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_with_any_of_its_programs() {
        let package = |name, programs| Package { name, programs, reason: "" };
        let packages = [package("curl", &["curl"]), package("rt-tests", &["cyclictest", "oslat"])];
        let names = |installed: &[&str]| {
            let missing = missing(&packages, |program| installed.contains(&program));
            missing.iter().map(|package| package.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["curl", "rt-tests"]);
        assert_eq!(names(&["curl", "cyclictest"]), ["rt-tests"]);
        assert_eq!(names(&["curl", "cyclictest", "oslat"]), [""; 0]);
    }

    #[test]
    fn the_line_can_be_typed() {
        assert_eq!(install_line(&["rt-tests", "strace"]), "sudo apt-get install -y rt-tests strace");
    }

    #[test]
    fn programs_are_found_where_debian_has_them() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
