//! The ways in which a kernel file says what is not so, or does what it does not say. Each was seen on a real machine, or
//! is what a container, another program or a driver that goes away looks like from the file.

use nix::errno::Errno;

use super::{Kernel, rules};

/// One path that does not behave.
#[derive(Debug, Clone)]
pub struct Lie {
    pub path: String,
    pub kind: Kind,
    /// Writes to the path so far.
    writes: u32,
    /// Reads of it since the last write.
    reads: u32,
    /// What it showed before the first write.
    before: Option<String>,
}

/// How it does not behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The write succeeds and nothing changes.
    Dropped,
    /// The write succeeds and something between the old value and the new one stands there.
    Clamped,
    /// Fewer bytes are taken than were given, and nothing changes.
    Short,
    /// The write is refused with this number.
    Refused(i32),
    /// The write is refused with this number, and the value stands there all the same.
    RefusedButDone(i32),
    /// Refused twice with this number, then taken.
    BusyTwice(i32),
    /// The file goes away with the write.
    Gone,
    /// It reads as nothing from the write on.
    Emptied,
    /// It cannot be read from the write on.
    Unreadable(i32),
    /// The new value stands for this many reads, then the old one again: somebody writes it back.
    ChangesBack(u32),
    /// The next write to any other file puts the old value back: what the kernel does to coupled files.
    CoupledReset,
    /// It takes the value, and what follows from it does not happen.
    NoEffect,
    /// Taken, and shown in another way that means the same.
    Reformatted,
    /// Taken at once, though this many reads still show the old value.
    LooksOld(u32),
}

impl Kind {
    /// Every kind, with the numbers that kernels use.
    pub const ALL: &[Self] = &[
        Self::Dropped,
        Self::Clamped,
        Self::Short,
        Self::Refused(nix::libc::EINVAL),
        Self::Refused(nix::libc::EPERM),
        Self::Refused(nix::libc::EIO),
        Self::Refused(nix::libc::EACCES),
        Self::Refused(nix::libc::EROFS),
        Self::Refused(nix::libc::EBUSY),
        Self::Refused(nix::libc::ENOMEM),
        Self::RefusedButDone(nix::libc::EIO),
        Self::BusyTwice(nix::libc::EINTR),
        Self::BusyTwice(nix::libc::EAGAIN),
        Self::Gone,
        Self::Emptied,
        Self::Unreadable(nix::libc::EACCES),
        Self::Unreadable(nix::libc::EIO),
        Self::ChangesBack(1),
        Self::ChangesBack(2),
        Self::CoupledReset,
        Self::NoEffect,
        Self::Reformatted,
        Self::LooksOld(1),
        Self::LooksOld(2),
    ];

    /// Whether what is so can be seen by whoever reads the file: then nothing true may be told as failed.
    pub fn is_visible(self) -> bool {
        !matches!(self, Self::Gone | Self::Emptied | Self::Unreadable(_) | Self::LooksOld(_))
    }
}

impl Lie {
    pub fn new(path: &str, kind: Kind) -> Self {
        Self { path: path.to_owned(), kind, writes: 0, reads: 0, before: None }
    }

    fn is_awake(&self) -> bool {
        self.writes > 0
    }
}

/// Whether a lie has taken the path away.
pub fn is_gone(kernel: &Kernel, path: &str) -> bool {
    kernel.lies.iter().any(|lie| lie.kind == Kind::Gone && lie.is_awake() && lie.path == path)
}

/// What a reader is told; what is so may change by being read often enough.
pub fn told(kernel: &mut Kernel, path: &str, text: String) -> Result<String, Errno> {
    let Some(lie) = kernel.lies.iter_mut().find(|lie| lie.path == path && lie.is_awake()) else {
        return Ok(text);
    };
    lie.reads += 1;
    let before = lie.before.clone().unwrap_or_default();
    match lie.kind {
        Kind::Gone => Err(Errno::ENOENT),
        Kind::Emptied => Ok(String::new()),
        Kind::Unreadable(errno) => Err(Errno::from_raw(errno)),
        Kind::ChangesBack(reads) if lie.reads > reads => {
            lie.reads = 0; // once
            lie.writes = 0;
            kernel.show(path, before.trim_end());
            Ok(before)
        }
        Kind::LooksOld(reads) if lie.reads <= reads => Ok(before),
        Kind::Reformatted => Ok(reformatted(path, &text)),
        _ => Ok(text),
    }
}

/// One write to a path, told the truth about or not.
pub fn written(kernel: &mut Kernel, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
    put_coupled_back(kernel, path);
    let text = kernel.files.get(path).map(|file| file.text.clone()).ok_or(Errno::ENOENT)?;
    let Some(index) = kernel.lies.iter().position(|lie| lie.path == path) else {
        return rules::write(kernel, path, bytes).map(|()| bytes.len());
    };
    let lie = &mut kernel.lies[index];
    lie.writes += 1;
    lie.reads = 0;
    lie.before.get_or_insert_with(|| text.clone());
    let (kind, writes) = (lie.kind, lie.writes);
    match kind {
        Kind::Dropped => Ok(bytes.len()),
        Kind::Clamped => {
            rules::write(kernel, path, bytes)?;
            let clamped = between(&text, &kernel.files[path].text);
            kernel.show(path, clamped.trim_end());
            Ok(bytes.len())
        }
        Kind::Short => Ok(bytes.len() / 2),
        Kind::Refused(errno) => Err(Errno::from_raw(errno)),
        Kind::RefusedButDone(errno) => {
            rules::write(kernel, path, bytes)?;
            Err(Errno::from_raw(errno))
        }
        Kind::BusyTwice(errno) if writes <= 2 => Err(Errno::from_raw(errno)),
        Kind::NoEffect => {
            let mut honest = kernel.clone();
            rules::write(&mut honest, path, bytes)?;
            let shown = honest.files[path].text.clone();
            kernel.show(path, shown.trim_end());
            Ok(bytes.len())
        }
        _ => rules::write(kernel, path, bytes).map(|()| bytes.len()),
    }
}

fn put_coupled_back(kernel: &mut Kernel, written: &str) {
    let coupled = |lie: &&mut Lie| lie.kind == Kind::CoupledReset && lie.is_awake() && lie.path != written;
    let Some(lie) = kernel.lies.iter_mut().find(coupled) else { return };
    lie.writes = 0;
    let (path, before) = (lie.path.clone(), lie.before.clone().unwrap_or_default());
    kernel.show(&path, before.trim_end());
}

/// A value that was not asked for: between the two numbers, or the old one.
fn between(before: &str, after: &str) -> String {
    match (before.trim().parse::<i64>(), after.trim().parse::<i64>()) {
        (Ok(old), Ok(new)) if (old - new).abs() > 1 => ((old + new) / 2).to_string(),
        _ => before.to_owned(),
    }
}

/// The same value, as another version of the kernel shows it.
// Formats: "00000000,00000003" for "3"; "0,1,2" for "0-2"; a number with no newline
fn reformatted(path: &str, text: &str) -> String {
    let word = text.trim_end();
    if rules::is_mask(path) {
        return format!("00000000,{word:0>8}\n");
    }
    match word.parse::<units::CpuSet>() {
        Ok(cpus) if rules::is_list(path) && !cpus.is_empty() => {
            let each: Vec<String> = cpus.iter().map(|cpu| cpu.to_string()).collect();
            format!("{}\n", each.join(","))
        }
        _ => word.to_owned(),
    }
}
