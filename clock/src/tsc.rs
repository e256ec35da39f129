//! The time-stamp counter itself: the only unsafe code of this crate.
//!
//! Three reads that differ in what they wait for, and the one CPUID bit that says whether the counter may be a clock.
//! On machines without the counter the reads are CLOCK_MONOTONIC_RAW in nanoseconds, and [`invariant`] says no, so
//! that nothing ever chooses them. Under Miri, which has no counter, likewise.

pub use arch::{invariant, read, read_fenced, read_ordered};

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "the counter has no safe instruction")]
mod arch {
    use std::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};

    /// CPUID leaf with the power-management facts; its EDX bit 8 says that the counter keeps one rate in all P-, C- and
    /// T-states. Source: Intel SDM volume 3, 19.17.1; AMD APM volume 3, E.4.6.
    const POWER_LEAF: u32 = 0x8000_0007;
    const INVARIANT_BIT: u32 = 8;
    /// The leaf that names the highest leaf of its range.
    const HIGHEST_LEAF: u32 = 0x8000_0000;

    /// Whether this CPU declares its counter invariant.
    pub fn invariant() -> bool {
        cpuid(HIGHEST_LEAF).eax >= POWER_LEAF && cpuid(POWER_LEAF).edx >> INVARIANT_BIT & 1 == 1
    }

    fn cpuid(leaf: u32) -> std::arch::x86_64::CpuidResult {
        // SAFETY: every x86-64 CPU has the instruction; it touches nothing but its four registers.
        #[allow(unused_unsafe, reason = "the intrinsic is safe in compilers newer than our oldest")]
        unsafe {
            __cpuid(leaf)
        }
    }

    /// The counter, wherever the CPU happens to read it: earlier instructions may be unfinished, later ones begun.
    #[inline]
    pub fn read() -> u64 {
        // SAFETY: every x86-64 CPU has the instruction. It faults only in a process that asked for that
        // (PR_SET_TSC), and we never do.
        unsafe { _rdtsc() }
    }

    /// The counter after everything before has finished; later instructions may have begun.
    #[inline]
    pub fn read_ordered() -> u64 {
        fence();
        read()
    }

    /// The counter after everything before has finished and before anything later begins.
    #[inline]
    pub fn read_fenced() -> u64 {
        let ticks = read_ordered();
        fence();
        ticks
    }

    #[inline]
    fn fence() {
        // SAFETY: the instruction belongs to SSE2, which is part of x86-64; it touches no register and no memory.
        unsafe { _mm_lfence() }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod arch {
    pub use read as read_fenced;
    pub use read as read_ordered;

    /// There is no counter here to be invariant.
    pub fn invariant() -> bool {
        false
    }

    /// The fall-back, so that this compiles everywhere.
    pub fn read() -> u64 {
        crate::raw::now().0
    }
}
