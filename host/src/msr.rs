//! A model-specific register of the first CPU.
//!
//! Reading another CPU's register interrupts it, so only CPU 0's is read: it is never isolated, and what is counted here is
//! counted on every CPU alike. Source: msr(4); Intel SDM volume 4, MSR_SMI_COUNT.

use crate::{Error, Root};

/// The device, whose offset is the register's number. It needs the msr module and CAP_SYS_RAWIO.
const DEVICE: &str = "/dev/cpu/0/msr";
const SMI_COUNT: u64 = 0x34;

/// System management interrupts since the machine was reset.
///
/// # Errors
/// [`Error::Absent`] without the module, [`Error::Read`] without the right or the register (EIO: not an Intel processor, or
/// a virtual one).
pub fn smis(root: &Root) -> Result<u64, Error> {
    let bytes: [u8; 8] = root.read_at(DEVICE, SMI_COUNT)?;
    Ok(u64::from_le_bytes(bytes) & u64::from(u32::MAX)) // the count is of 32 bits, the rest is reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_lower_half_of_its_register() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("dev/cpu/0/msr");
        std::fs::create_dir_all(device.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&device).unwrap();
        let mut registers = vec![0xee; 0x34];
        registers.extend([7, 1, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        std::io::Write::write_all(&mut file, &registers).unwrap();
        assert_eq!(smis(&Root::at(dir.path())).unwrap(), 263);
    }

    #[test]
    fn without_the_module_there_is_no_count() {
        let dir = tempfile::tempdir().unwrap();
        assert!(smis(&Root::at(dir.path())).is_err());
    }
}
