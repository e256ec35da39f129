//! The machine under a guest: qemu's command line, its process, its console.
//!
//! Software emulation, because a lab inside a virtual machine has nothing else; so time in a guest is not a host's,
//! and its time stamp counter is not invariant.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::lab::{Lab, Spec};

/// Where the kernel of a guest finds its root: the whole disk, or the first partition of it.
pub const WHOLE: &str = "/dev/vda";
pub const PARTITION: &str = "/dev/vda1";

/// The UDP port in a guest that [`Wiring::udp`] leads to.
pub const GUEST_UDP: u16 = 7777;

/// How a machine is wired to this one.
#[derive(Debug)]
pub struct Wiring {
    /// Its disk.
    pub disk: PathBuf,
    /// `qcow2` or `raw`.
    pub format: &'static str,
    /// Where a kernel that qemu loads finds its root; `None`: it boots by its boot sector.
    pub root: Option<&'static str>,
    /// Ports of this machine that lead to ssh, and to [`GUEST_UDP`].
    pub ssh: u16,
    pub udp: u16,
    /// What it writes to its serial line, over all its boots.
    pub console: PathBuf,
}

/// A running machine; killed, which is a power cut, when it is dropped.
#[derive(Debug)]
pub struct Qemu(Child);

impl Qemu {
    /// Switches it on.
    #[track_caller]
    pub fn start(lab: &Lab, spec: &Spec, wiring: &Wiring) -> Self {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(arguments(lab, spec, wiring));
        // It dies with the thread that started it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(qemu.get_program()).args(qemu.get_args());
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("setpriv: cannot start: {error}")))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until somebody switches it off from inside.
    pub fn wait(&mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill(); // gone already after a power-off
        let _ = self.0.wait();
    }
}

/// The end of what a machine wrote to its serial line.
pub fn console_tail(console: &Path) -> String {
    const LINES: usize = 40;
    let text =
        fs::read(console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// How much a machine has written to its serial line.
pub fn console_length(console: &Path) -> u64 {
    fs::metadata(console).map_or(0, |metadata| metadata.len())
}

/// Whether the emulation ended the boot whose console begins at `begin`. Kernels rewrite their code while other CPUs run it,
/// as for each tracepoint that is switched on; on several threads (tcg,thread=multi) now and then one meets half of an
/// instruction, which is fatal in an interrupt.
pub fn is_spoilt(console: &Path, begin: u64) -> bool {
    let bytes = fs::read(console).unwrap_or_default();
    let begin = usize::try_from(begin).unwrap_or(usize::MAX).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[begin..]);
    let is_half = ["invalid opcode: 0000", "Oops: int3: 0000"].iter().any(|what| text.contains(what));
    is_half && text.contains("Kernel panic - not syncing: Fatal exception")
}

fn arguments(lab: &Lab, spec: &Spec, wiring: &Wiring) -> Vec<String> {
    let memory = spec.memory_mib;
    // GRUB draws its menu through the video BIOS, and hangs where there is none.
    let video = if wiring.root.is_some() { "none" } else { "std" };
    let mut line = format!(
        "-accel tcg,thread=multi -cpu max -smp 4 -m {memory} -display none -monitor none -vga {video} \
         -drive file={},if=virtio,format={} \
         -netdev user,id=net,hostfwd=tcp:127.0.0.1:{}-:22,hostfwd=udp:127.0.0.1:{}-:{GUEST_UDP} \
         -device virtio-net-pci,netdev=net -device virtio-rng-pci \
         -chardev file,id=console,path={},append=on -serial chardev:console",
        wiring.disk.display(),
        wiring.format,
        wiring.ssh,
        wiring.udp,
        wiring.console.display(),
    );
    if spec.numa {
        let half = memory / 2;
        for (node, cpus) in [(0, "0-1"), (1, "2-3")] {
            write!(line, " -object memory-backend-ram,id=m{node},size={half}M").unwrap();
            write!(line, " -numa node,nodeid={node},cpus={cpus},memdev=m{node}").unwrap();
        }
    }
    let mut arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if let Some(root) = wiring.root {
        let file = |name: &str| lab.image(&format!("{name}-{}", spec.kernel.name())).display().to_string();
        arguments.extend(["-kernel".to_owned(), file("vmlinuz"), "-initrd".to_owned(), file("initrd.img")]);
        arguments
            .extend(["-append".to_owned(), format!("root={root} console=ttyS0 panic=5 {}", spec.append)]);
    }
    arguments
}
