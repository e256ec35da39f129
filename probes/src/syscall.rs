//! How long one system call takes: getppid, the cheapest that the kernel really carries out.
//!
//! It shows what entering and leaving the kernel costs on this host now: mitigations, tracing, audit and seccomp
//! filters all stand in that path.

use crate::bursts::Operation;

/// One getppid.
pub struct Getppid;

impl Operation for Getppid {
    #[inline]
    fn perform(&mut self) -> bool {
        getppid();
        true
    }
}

/// The call under measurement, past libc's own function so that nothing can cache the answer.
#[inline]
fn getppid() {
    // SAFETY: getppid takes no argument, touches no memory of the process and cannot fail (getppid(2)); its result is
    // not used. JUSTIFICATION: the call is what is measured; a safe wrapper would be part of the figure.
    #[expect(unsafe_code, reason = "the bare system call is what is measured")]
    unsafe {
        libc::syscall(libc::SYS_getppid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;

    #[test]
    fn the_real_call_is_dearer_than_no_call() {
        check_is_real(Kind::Syscall, Getppid);
    }
}
