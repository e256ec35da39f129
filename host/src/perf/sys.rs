//! The system calls of perf events that nix does not wrap, and the mapped ring as words: the unsafe part.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use units::CpuId;
use units::limits::TRACE_RING_BYTES;

/// Bytes of the page that the kernel keeps before the ring: `struct perf_event_mmap_page`.
pub const HEAD_PAGE_BYTES: usize = 4096;

/// `struct perf_event_attr` as of its fifth version (Linux 4.1 knows the clock id, 4.14 this size).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const ATTRIBUTES_BYTES: u32 = 112;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_BYTES as usize);

// include/uapi/linux/perf_event.h
const TYPE_TRACEPOINT: u32 = 2;
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_RAW: u64 = 1 << 10;
const SAMPLE_IDENTIFIER: u64 = 1 << 16;
/// Count the bytes for a wake-up, not the events: a whole ring of them is the rarest there is.
const FLAG_WATERMARK: u64 = 1 << 14;
/// Records about the ring itself (lost ones) carry id and time, too.
const FLAG_SAMPLE_ID_ALL: u64 = 1 << 18;
const FLAG_USE_CLOCKID: u64 = 1 << 25;
const OPEN_CLOEXEC: libc::c_ulong = 1 << 3;

// `_IO('$', 5)` and `_IOR('$', 7, __u64 *)`.
const IOC_SET_OUTPUT: libc::c_ulong = 0x2405;
const IOC_ID: libc::c_ulong = 0x8008_2407;

/// Opens the tracepoint `id` on `cpu`, for every thread that runs there.
pub fn open(id: u64, cpu: CpuId) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: TYPE_TRACEPOINT,
        size: ATTRIBUTES_BYTES,
        config: id,
        sample_period: 1,
        sample_type: SAMPLE_IDENTIFIER | SAMPLE_TIME | SAMPLE_RAW,
        flags: FLAG_WATERMARK | FLAG_SAMPLE_ID_ALL | FLAG_USE_CLOCKID,
        wakeup_watermark: TRACE_RING_BYTES,
        clockid: libc::CLOCK_MONOTONIC_RAW,
        ..Attributes::default()
    };
    let (every_thread, no_group) = (-1, -1);
    let cpu = libc::c_int::from(cpu.0);
    // SAFETY: `attributes` is a live, initialised structure of the size that stands in it, which the kernel only reads;
    // the other arguments are numbers.
    #[expect(unsafe_code, reason = "no crate we use wraps perf_event_open")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            every_thread,
            cpu,
            no_group,
            OPEN_CLOEXEC,
        )
    };
    let number = Errno::result(result).map_err(io::Error::from)?;
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the call above succeeded, so this is a descriptor that nobody else owns.
    #[expect(unsafe_code, reason = "a bare system call returns a bare number")]
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether the kernel calls this descriptor a perf event.
pub fn is_event(fd: BorrowedFd<'_>) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.is_ok_and(|target| target.as_os_str() == "anon_inode:[perf_event]")
}

/// The number by which records name the event.
pub fn id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut id = 0_u64;
    // SAFETY: the request writes one u64, and `id` is one that lives until the call has returned.
    #[expect(unsafe_code, reason = "no crate we use wraps this request")]
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), IOC_ID, &raw mut id) };
    Errno::result(result).map(|_| id).map_err(io::Error::from)
}

/// Sends the records of `fd` into the ring of `owner`, which is mapped.
pub fn redirect(fd: BorrowedFd<'_>, owner: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes a descriptor by value and touches no memory of this process.
    #[expect(unsafe_code, reason = "no crate we use wraps this request")]
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), IOC_SET_OUTPUT, owner.as_raw_fd()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// A mapped ring with the page before it.
#[derive(Debug)]
pub struct Map(MmapRaw);

impl Map {
    /// Maps the ring of `fd`, which must be a perf event: its mapping keeps its size for as long as it stands.
    pub fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let bytes = HEAD_PAGE_BYTES + TRACE_RING_BYTES as usize;
        MmapOptions::new().len(bytes).map_raw(&fd).map(Self)
    }

    /// All of it, as words that the kernel writes meanwhile.
    pub fn words(&self) -> &[AtomicU64] {
        let (start, count) = (self.0.as_ptr().cast::<AtomicU64>(), self.0.len() / size_of::<AtomicU64>());
        // SAFETY: the mapping is `len` bytes long, begins at a page and lives as long as `self`. A perf event's mapping
        // cannot shrink under us ([`is_event`] was asked), every pattern of bits is a u64, and whoever else writes (the
        // kernel) does so beside us, which is what atomic words are for.
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        unsafe {
            std::slice::from_raw_parts(start, count)
        }
    }
}
