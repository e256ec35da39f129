//! The few shapes kernel text comes in: one number, one word, one list of CPUs, and lines of `key: value`.

use std::str::FromStr;

use units::CpuSet;

use crate::error::Malformed;

/// The number a file or a field consists of.
pub(crate) fn number<N: FromStr>(text: &str) -> Result<N, Malformed> {
    text.trim().parse().map_err(|_| Malformed::new(text, "not a number in range"))
}

/// The text of a one-line file, without its newline.
pub(crate) fn line(text: &str) -> Result<String, Malformed> {
    let line = text.trim();
    if line.is_empty() || line.contains('\n') {
        return Err(Malformed::new(text, "not one line of text"));
    }
    Ok(line.to_owned())
}

/// The words of a file, however many there are.
pub(crate) fn words(text: &str) -> Result<Vec<String>, Malformed> {
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// The CPUs of a file in cpulist form; an empty line is the empty set.
pub(crate) fn cpulist(text: &str) -> Result<CpuSet, Malformed> {
    Ok(text.parse()?)
}

/// The CPUs of a file in hexadecimal mask form.
pub(crate) fn cpumask(text: &str) -> Result<CpuSet, Malformed> {
    Ok(CpuSet::from_mask(text)?)
}

/// What stands after `key` and a colon, on the first line that begins with them.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::trim))
}

/// The bytes of a `key:   123 kB` line, as `/proc/meminfo` and `/proc/PID/status` write them.
pub(crate) fn field_kib(text: &str, key: &str) -> Result<Option<u64>, Malformed> {
    let Some(value) = field(text, key) else { return Ok(None) };
    let problem = || Malformed::new(&format!("{key}: {value}"), "not a number of kB");
    let kib: u64 = value.strip_suffix("kB").ok_or_else(problem)?.trim().parse().map_err(|_| problem())?;
    kib.checked_mul(1024).map(Some).ok_or_else(problem)
}

/// [`field_kib`] for a line that every kernel writes.
pub(crate) fn required_kib(text: &str, key: &str) -> Result<u64, Malformed> {
    field_kib(text, key)?.ok_or_else(|| missing(text, key))
}

/// The complaint that a line every kernel writes is not there.
pub(crate) fn missing(text: &str, key: &str) -> Malformed {
    Malformed::new(text.lines().next().unwrap_or_default(), format!("the file has no line {key:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_key() {
        let text =
            "MemTotal:       24684084 kB\nMemFree:  7 kB\nHugePages_Total:       0\nmodel name\t: AMD EPYC\n";
        assert_eq!(field_kib(text, "MemTotal"), Ok(Some(24_684_084 * 1024)));
        assert_eq!(field_kib(text, "Mem"), Ok(None), "a prefix is another key");
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert!(field_kib(text, "HugePages_Total").is_err(), "a count is no size");
        assert!(required_kib(text, "MemAvailable").is_err());
        assert!(field_kib("A: 18446744073709551615 kB", "A").is_err(), "beyond the address space");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(line("tsc\n").unwrap(), "tsc");
        assert!(line("\n").is_err() && line("a\nb\n").is_err());
    }
}
