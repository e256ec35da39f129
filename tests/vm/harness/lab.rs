//! The lab: the images that `cargo xtask vm` built, and which machines are wanted.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guest::Guest;

/// The images, and how long the tests may be.
#[derive(Debug, Clone)]
pub struct Lab {
    images: PathBuf,
}

/// The kernels a guest can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's newest: fair server, EPERM for managed interrupts.
    Stock,
    /// The same with PREEMPT_RT.
    Rt,
    /// Debian 12's own.
    Old,
}

impl Kernel {
    /// As the images, and `--kernel`, call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "6.12",
            Self::Rt => "6.12-rt",
            Self::Old => "6.1",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Stock, Self::Rt, Self::Old].into_iter().find(|kernel| kernel.name() == name)
    }
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What runs on it.
    pub kernel: Kernel,
    /// Whether it boots by its own boot sector, as a host does; else qemu loads the kernel.
    pub grub: bool,
    /// Its memory.
    pub memory_mib: u32,
    /// Whether its four CPUs and its memory are two nodes.
    pub numa: bool,
    /// What is added to the command line of a kernel that qemu loads.
    pub append: String,
}

impl Spec {
    /// Four CPUs, 2 GiB, one node, a kernel that qemu loads.
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, grub: false, memory_mib: 2048, numa: false, append: String::new() }
    }

    /// As `cargo xtask vm boot` was told.
    pub fn from_environment() -> Self {
        let value = |key: &str| env::var(key).ok();
        let kernel = value("QUELL_VM_KERNEL").map_or(Kernel::Stock, |name| known(&name));
        let memory_mib =
            value("QUELL_VM_MEMORY").map_or(2048, |mib| mib.parse().expect("--memory takes MiB"));
        let is_set = |key: &str| value(key).is_some();
        Self { grub: is_set("QUELL_VM_GRUB"), numa: is_set("QUELL_VM_NUMA"), memory_mib, ..Self::new(kernel) }
    }
}

#[track_caller]
fn known(name: &str) -> Kernel {
    Kernel::named(name).unwrap_or_else(|| panic!("--kernel {name}: there are 6.12, 6.12-rt and 6.1"))
}

impl Lab {
    /// `None`, and a word about it, where these tests are not asked for.
    #[must_use = "a test without a lab returns"]
    pub fn open() -> Option<Self> {
        let images = env::var_os("QUELL_VM").map(PathBuf::from);
        if images.is_none() && env::var_os("QUELL_SKIPS").is_none() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a test");
            // Past libtest, which keeps the output of a passing test to itself.
            let line = format!("skipped: {name}: needs a machine (cargo xtask vm test)\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        images.map(|images| Self { images })
    }

    /// As [`Self::open`], for what takes too long for a short run unless it is asked for by name.
    #[must_use = "a test without a lab returns"]
    pub fn open_in_full() -> Option<Self> {
        let is_named = env::args().skip(1).any(|word| !word.starts_with('-'));
        Self::open().filter(|lab| is_named || lab.length(false, true))
    }

    /// Those of `kernels` that this run is for: all, or the one it was told.
    pub fn kernels(&self, kernels: &[Kernel]) -> Vec<Kernel> {
        let told = env::var("QUELL_VM_KERNEL").ok().map(|name| known(&name));
        kernels.iter().copied().filter(|kernel| told.is_none_or(|told| told == *kernel)).collect()
    }

    /// `full` in a full run, else `short`.
    pub fn length<T>(&self, short: T, full: T) -> T {
        if env::var("QUELL_VM_LENGTH").is_ok_and(|length| length == "full") { full } else { short }
    }

    /// A guest that answers.
    #[track_caller]
    pub fn boot(&self, spec: &Spec) -> Guest {
        let disk = if spec.grub { self.bootable(spec.kernel) } else { self.image("plain.img") };
        Guest::boot(self, spec, &disk)
    }

    /// The folder with the product as it lies on a host.
    #[track_caller]
    pub(super) fn product(&self) -> PathBuf {
        let product = env::var_os("QUELL_VM_PRODUCT").map(PathBuf::from);
        product.expect("QUELL_VM_PRODUCT names the folder that `cargo xtask install --root` filled")
    }

    /// A file of the images.
    pub(super) fn image(&self, name: &str) -> PathBuf {
        self.images.join(name)
    }

    /// A disk that boots `kernel` by itself; made the first time it is asked for.
    ///
    /// GRUB is installed by its own tools in a guest, as a person does on a host. The other kernels are taken off
    /// the disk, so that the default entry is the wanted one.
    #[track_caller]
    fn bootable(&self, kernel: Kernel) -> PathBuf {
        let disk = self.image(&format!("grub-{}.img", kernel.name()));
        if !disk.exists() {
            let partial = self.image(&format!("grub-{}.{}", kernel.name(), std::process::id()));
            copy_sparse(&self.image("parted.img"), &partial);
            let release = fs::read_to_string(self.image(&format!("release-{}", kernel.name()))).unwrap();
            let mut guest =
                Guest::on_disk(self, &Spec { append: "rw".to_owned(), ..Spec::new(kernel) }, &partial);
            guest
                .run(&format!("cd /boot && ls | grep -e - | grep -v -e '-{release}$' | xargs rm"))
                .succeeds();
            guest.run("grub-install /dev/vda && update-grub").succeeds();
            guest.power_off();
            fs::rename(&partial, &disk).unwrap();
        }
        disk
    }
}

fn copy_sparse(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--sparse=always").args([from, to]).status().unwrap();
    assert!(status.success(), "cannot copy {} to {}", from.display(), to.display());
}
