//! Which boot of which machine this is, and what the kernel was told at its start.
//!
//! The command line is what was *asked for*: the kernel drops arguments it does not like and still shows them here, so
//! effects are read elsewhere (`cpus`, `cgroups`). Sources: Documentation/admin-guide/kernel-parameters.rst;
//! lib/cmdline.c, next_arg; random(4); machine-id(5).

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

/// One boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Made anew at each boot; what was written in another boot says nothing about this one.
    pub boot_id: String,
    /// Made at installation; `None` where the system has not been given one (a container, a first boot).
    pub machine_id: Option<String>,
    /// The machine's own name for itself.
    pub hostname: String,
    /// As `uname -r` prints it.
    pub kernel_release: String,
    /// Whether the kernel is a real-time one (PREEMPT_RT).
    pub realtime: bool,
}

impl Boot {
    /// This boot.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        Ok(Self {
            boot_id: root.parse("/proc/sys/kernel/random/boot_id", parse_boot_id)?,
            machine_id: if_present(root.parse("/etc/machine-id", parse_machine_id))?.flatten(),
            hostname: root.parse("/proc/sys/kernel/hostname", text::line)?,
            kernel_release: root.parse("/proc/sys/kernel/osrelease", text::line)?,
            realtime: is_realtime(root)?,
        })
    }
}

// Format: "8b0a4c3e-52f7-4f6a-9d1e-1f2b3c4d5e6f\n"   (random(4))
fn parse_boot_id(text: &str) -> Result<String, Malformed> {
    let id = text.trim();
    let well_formed = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if well_formed { Ok(id.to_owned()) } else { Err(Malformed::new(text, "not a UUID")) }
}

// Format: 32 hexadecimal digits, "uninitialized" during the first boot, or nothing   (machine-id(5))
fn parse_machine_id(text: &str) -> Result<Option<String>, Malformed> {
    let id = text.trim();
    match id {
        "" | "uninitialized" => Ok(None),
        _ if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Some(id.to_owned())),
        _ => Err(Malformed::new(text, "not 32 hexadecimal digits")),
    }
}

/// The flag file comes with the real-time patches; a kernel that is real-time without them says so in its version only.
// Format: "1\n"; "#1 SMP PREEMPT_RT Debian 6.1.172-1 (2026-05-01)\n"   (real-time patches, kernel/ksysfs.c)
fn is_realtime(root: &Root) -> Result<bool, Error> {
    let flag = if_present(root.parse("/sys/kernel/realtime", text::number::<u8>))?;
    let version = if_present(root.parse("/proc/sys/kernel/version", text::line))?.unwrap_or_default();
    Ok(flag == Some(1) || version.split(' ').any(|word| word == "PREEMPT_RT"))
}

/// What the boot loader passed to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmdline {
    /// In order; where a name stands twice, most parameters take the last one.
    pub arguments: Vec<Argument>,
    /// The words after `--`, which are the first process's.
    pub init: Vec<String>,
}

/// One kernel argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands behind it, without quotes; `None` for a bare word.
    pub value: Option<String>,
}

impl Cmdline {
    /// The command line of this boot.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/cmdline", |text| Ok(Self::parse(text)))
    }

    /// Splits a command line as the kernel does: at blanks outside double quotes, the quotes then taken off.
    // Format: "root=/dev/vda1 isolcpus=managed_irq,domain,2-3 dyndbg=\"file a.c +p\" -- single\n"   (lib/cmdline.c)
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut quoted = false;
        let mut words = text.trim().split(|c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        });
        let arguments =
            words.by_ref().take_while(|word| *word != "--").filter(|word| !word.is_empty()).map(argument);
        Self {
            arguments: arguments.collect(),
            init: words.filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// The value of the last argument `name`: `Some(None)` when it stands there bare. As to the kernel, `-` and `_` are
    /// one character in a name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Option<&str>> {
        let same = |other: &str| other.replace('-', "_") == name.replace('-', "_");
        self.arguments.iter().rfind(|argument| same(&argument.name)).map(|argument| argument.value.as_deref())
    }
}

fn argument(word: &str) -> Argument {
    let unquote = |text: &str| text.trim_matches('"').to_owned();
    match word.split_once('=') {
        Some((name, value)) => Argument { name: unquote(name), value: Some(unquote(value)) },
        None => Argument { name: unquote(word), value: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cmdline: &str, name: &str, expected: Option<Option<&str>>) {
        assert_eq!(Cmdline::parse(cmdline).last(name), expected, "{cmdline:?}");
    }

    #[test]
    fn arguments_are_split_as_the_kernel_splits_them() {
        check("quiet isolcpus=domain,2-3\n", "isolcpus", Some(Some("domain,2-3")));
        check("quiet\n", "quiet", Some(None));
        check("quiet", "nohz_full", None);
        check("hugepages=1 hugepages=2", "hugepages", Some(Some("2"))); // the last one holds
        check("transparent-hugepage=never", "transparent_hugepage", Some(Some("never")));
        check("dyndbg=\"file a.c +p\" x=1", "dyndbg", Some(Some("file a.c +p")));
        check("\"dyndbg=file a.c +p\" x=1", "dyndbg", Some(Some("file a.c +p")));
        check("root=UUID=1-2 ro", "root", Some(Some("UUID=1-2"))); // only the first = divides
        check("a -- isolcpus=2", "isolcpus", None); // that is the first process's word
        check("a=\"never closed b=1", "b", None);
        check("", "", None);
    }

    #[test]
    fn words_after_the_dashes_are_for_init() {
        assert_eq!(Cmdline::parse("quiet -- --level 3").init, ["--level", "3"]);
    }

    #[test]
    fn identities_are_checked() {
        assert!(parse_boot_id("8b0a4c3e-52f7-4f6a-9d1e-1f2b3c4d5e6f\n").is_ok());
        assert!(parse_boot_id("../../etc").is_err());
        assert_eq!(parse_machine_id("uninitialized\n"), Ok(None));
        assert_eq!(parse_machine_id(""), Ok(None));
        assert!(parse_machine_id("0123456789abcdef0123456789abcde\n").is_err(), "a digit short");
    }
}
