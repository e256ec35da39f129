//! What the running kernel was built with, where it says so: `/proc/config.gz`, else the file that distributions put beside
//! the kernel. Sources: Documentation/kbuild/kconfig.rst; init/Kconfig (IKCONFIG_PROC).

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use units::limits::KERNEL_FILE_BYTES_MAX;

use crate::{Error, Root, if_present};

const PACKED: &str = "/proc/config.gz";

/// A kernel's options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelConfig {
    /// The file that says so.
    pub file: String,
    values: BTreeMap<String, String>,
}

impl KernelConfig {
    /// The options of the running kernel, whose release is `release`; `None` where nothing says.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(root: &Root, release: &str) -> Result<Option<Self>, Error> {
        if let Some(packed) = if_present(root.read_bytes(PACKED))? {
            let failed = |cause| Error::Read { path: root.display(PACKED), cause };
            let mut text = String::new();
            // Bounded like every kernel file: what unpacks to more is none.
            let unpacked = GzDecoder::new(packed.as_slice()).take(KERNEL_FILE_BYTES_MAX as u64);
            { unpacked }.read_to_string(&mut text).map_err(failed)?;
            return Ok(Some(Self { file: PACKED.to_owned(), values: parse(&text) }));
        }
        let file = format!("/boot/config-{release}");
        let text = if_present(root.read_lossy(&file))?;
        Ok(text.map(|text| Self { values: parse(&text), file }))
    }

    /// The value of an option, as in `NO_HZ_FULL`; `None` where it is not set.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        self.values.get(option).map(String::as_str)
    }
}

// Format: "CONFIG_NO_HZ_FULL=y", "# CONFIG_X is not set"   (Documentation/kbuild/kconfig.rst)
fn parse(text: &str) -> BTreeMap<String, String> {
    let options = text.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
    options.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &str =
        "# CONFIG_NO_HZ_FULL is not set\nCONFIG_CPUSETS=y\nCONFIG_HZ=250\nCONFIG_LOCALVERSION=\"-x\"\n";

    #[track_caller]
    fn check(file: &str, bytes: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(&file[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        let config = KernelConfig::read(&Root::at(dir.path()), "6.12").unwrap().unwrap();
        assert_eq!(config.file, file);
        let values = ["CPUSETS", "HZ", "LOCALVERSION", "NO_HZ_FULL"].map(|option| config.value(option));
        assert_eq!(values, [Some("y"), Some("250"), Some("-x"), None]);
    }

    #[test]
    fn both_places_say_the_same() {
        check("/boot/config-6.12", TEXT.as_bytes());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(TEXT.as_bytes()).unwrap();
        check("/proc/config.gz", &packed.finish().unwrap());
        let none = tempfile::tempdir().unwrap();
        assert_eq!(KernelConfig::read(&Root::at(none.path()), "6.12").unwrap(), None);
    }

    #[test]
    fn a_packed_file_that_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/config.gz"), "plain").unwrap();
        let told = KernelConfig::read(&Root::at(dir.path()), "6.12").unwrap_err().to_string();
        assert!(told.contains("/proc/config.gz: cannot read"), "{told}");
    }
}
