//! What the kernel said about its command line while it booted.
//!
//! The command line shows what was asked for; what the kernel made of it stands in its log, and only there for some
//! arguments. The log is a ring: a machine that runs for long may have lost its beginning, and then silence proves nothing
//! ([`BootLog::is_whole`]). Sources: Documentation/ABI/testing/dev-kmsg; init/main.c (print_unknown_bootoptions);
//! kernel/sched/isolation.c.

use crate::{Error, Root};

const KMSG: &str = "/dev/kmsg";

/// The largest ring a distribution's kernel is built with is 1 MiB (CONFIG_LOG_BUF_SHIFT=20), its text with prefixes
/// about twice that.
const LOG_BYTES_MAX: usize = 4 << 20;

/// Microseconds within which the kernel has said everything about its arguments: the line on unknown ones comes before the
/// first process is started. What programs write later is no business of this module.
const BOOT_US: u64 = 120_000_000;

/// The lines of the kernel's own log from its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootLog {
    /// Whether its first record is there.
    pub is_whole: bool,
    /// The messages, without their prefixes.
    pub lines: Vec<String>,
}

impl BootLog {
    /// The log as far as it is kept.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`] (EPERM where `kernel.dmesg_restrict` is set and CAP_SYSLOG is missing).
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.read_stream(KMSG, LOG_BYTES_MAX).map(|text| parse(&text))
    }

    /// The arguments that no part of the kernel knew, as it lists them before it starts the first process.
    // Format: "Unknown kernel command line parameters \"nohz_full=1-3\", will be passed to user space."   (init/main.c)
    #[must_use]
    pub fn unknown_arguments(&self) -> Vec<&str> {
        let listed = self.lines.iter().filter_map(|line| {
            line.strip_prefix("Unknown kernel command line parameters \"")?.rsplit_once('"')
        });
        listed.flat_map(|(words, _)| words.split(' ')).collect()
    }

    /// The lines that hold one of these texts.
    pub fn lines_with<'l>(&'l self, texts: &'l [&str]) -> impl Iterator<Item = &'l str> {
        self.lines.iter().map(String::as_str).filter(|line| texts.iter().any(|text| line.contains(text)))
    }
}

// Format: "4,13,0,-;Housekeeping: nohz_full= must match isolcpus=\n SUBSYSTEM=pci\n"
//         priority, sequence number, microseconds, flags   (Documentation/ABI/testing/dev-kmsg)
fn parse(text: &str) -> BootLog {
    let mut log = BootLog::default();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        let Some((prefix, message)) = line.split_once(';') else { continue };
        let mut fields = prefix.split(',').map(str::parse::<u64>);
        let (Some(Ok(priority)), Some(Ok(sequence)), Some(Ok(at_us))) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        log.is_whole |= sequence == 0;
        let is_kernels = priority >> 3 == 0; // the facility above the three bits of the level
        if is_kernels && at_us <= BOOT_US {
            log.lines.push(message.to_owned());
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a guest that was booted with lists that do not match (Linux 6.12.95).
    const MISMATCH: &str = "5,0,0,-;Linux version 6.12.95+deb12-amd64\n\
        6,1,0,-;Command line: root=/dev/vda isolcpus=nohz,domain,2-3 nohz_full=1-3\n\
        4,58,0,-;Housekeeping: nohz_full= must match isolcpus=\n\
        5,61,0,-;Unknown kernel command line parameters \"BOOT_IMAGE=/vmlinuz nohz_full=1-3\", will be passed to user \
        space.\n\
        12,300,2000000,-;systemd[1]: Housekeeping: nothing of the kernel's\n \
        SUBSYSTEM=cpu\n";

    #[test]
    fn refusals_are_found() {
        let log = parse(MISMATCH);
        assert!(log.is_whole);
        assert_eq!(log.unknown_arguments(), ["BOOT_IMAGE=/vmlinuz", "nohz_full=1-3"]);
        let told: Vec<&str> = log.lines_with(&["Housekeeping:"]).collect();
        assert_eq!(told, ["Housekeeping: nohz_full= must match isolcpus="]);
    }

    #[test]
    fn a_log_without_its_beginning_proves_nothing() {
        let log = parse("6,4711,8000000,-;eth0: link up\n");
        assert!(!log.is_whole);
        assert_eq!(parse(""), BootLog::default());
        assert_eq!(parse("garbage\n;\n,,;x\n"), BootLog::default());
    }
}
