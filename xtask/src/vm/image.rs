//! The images: one root file system by debootstrap, with three kernels and everything a test asks a guest for.
//!
//! Two disks come of it. `plain.img` is one ext4 file system, for a kernel that qemu itself loads; `parted.img` has
//! a partition and room for a boot sector, from which tests/vm makes the disks that boot by themselves (GRUB is
//! installed from inside a guest, as on a host). Nothing of the product is in them: tests install it, as its users
//! do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::step::Step;
use crate::vm::{mirror, need_root};

/// What a guest has beside Debian's minimum: systemd as on a host, and the tools that tests call in it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,kmod,procps,iproute2,ethtool,openssh-server,python3,strace,curl,\
    initramfs-tools,zstd,grub-pc";

/// A kernel of the lab.
struct Kernel {
    /// What tests call it.
    name: &'static str,
    /// The package that stands for the newest of its kind, and the suite that has it.
    package: &'static str,
    suite: &'static str,
    /// What a release of its kind looks like: its beginning and its end.
    release: (&'static str, &'static str),
}

const BACKPORTS: &str = "bookworm-backports";

/// Oldest first: a newer one of the same package replaces the package, and leaves the kernel.
const KERNELS: [Kernel; 3] = [
    Kernel { name: "6.1", package: "linux-image-amd64", suite: mirror::SUITE, release: ("6.1.", "-amd64") },
    Kernel { name: "6.12", package: "linux-image-amd64", suite: BACKPORTS, release: ("6.12.", "-amd64") },
    Kernel {
        name: "6.12-rt",
        package: "linux-image-rt-amd64",
        suite: BACKPORTS,
        release: ("6.12.", "-rt-amd64"),
    },
];

/// Files of the guest that are ours, with what they are for where their text does not say it.
const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "quell-vm\n"),
    ("etc/fstab", "LABEL=quell / ext4 defaults 0 0\n"),
    // One network card, served by qemu's own DHCP; no waiting for addresses nobody hands out.
    (
        "etc/systemd/network/lab.network",
        "[Match]\nName=en*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
    ),
    // Without PAM a login starts no session: a second faster each on an emulated machine.
    ("etc/ssh/sshd_config.d/lab.conf", "PermitRootLogin prohibit-password\nUsePAM no\nUseDNS no\n"),
    // A host keeps its log across boots, and tests read what an earlier boot said.
    ("etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n"),
    (
        "etc/default/grub.d/lab.cfg",
        "GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX=console=ttyS0\n",
    ),
    // A disk that is virtio's and ext4's: six megabytes of initial file system instead of forty.
    ("etc/initramfs-tools/conf.d/lab", "MODULES=list\nCOMPRESS=zstd\n"),
    ("etc/initramfs-tools/modules", "virtio_pci\nvirtio_blk\next4\n"),
    (
        "etc/dpkg/dpkg.cfg.d/lab",
        "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n\
         path-exclude=/lib/modules/*/kernel/sound/*\npath-exclude=/lib/modules/*/kernel/drivers/gpu/*\n\
         path-exclude=/lib/modules/*/kernel/drivers/media/*\npath-exclude=/lib/modules/*/kernel/drivers/infiniband/*\n\
         path-exclude=/lib/modules/*/kernel/drivers/staging/*\npath-exclude=/lib/modules/*/kernel/drivers/scsi/*\n\
         path-exclude=/lib/modules/*/kernel/drivers/net/wireless/*\n\
         path-exclude=/lib/modules/*/kernel/drivers/net/ethernet/*\n",
    ),
];

/// What would wake up by itself in the middle of a measurement, or wait for something that is not there.
const UNWANTED_UNITS: &str = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    systemd-networkd-wait-online.service systemd-timesyncd.service getty@tty1.service serial-getty@ttyS0.service";

/// Bytes of a disk, as its tools want them: sparse, so it costs what is in it (about one gigabyte).
const DISK: &str = "3G";

/// Where the partition begins, past the boot sector and GRUB's core: 2 048 sectors of 512 bytes.
const PARTITION_SECTOR: u64 = 2048;

/// The partition ends a megabyte before the disk does.
const PARTITION: &str = "3070M";

/// All that decides what the images are, as one text: this file, and the mirror.
pub fn recipe() -> anyhow::Result<String> {
    Ok(format!("{}\n{}", include_str!("image.rs"), mirror::uri()?))
}

/// Fills `folder` with the images, the kernels and the key that logs in.
pub fn build(folder: &Path) -> anyhow::Result<()> {
    need_root()?;
    let root = folder.join("root");
    let mut times = Vec::new();
    times.push(("root file system", debootstrap(&root)?));
    times.push(("configuration", configure(folder, &root)?));
    for kernel in &KERNELS {
        times.push((kernel.name, install(&root, kernel)?));
        keep(folder, &root, kernel)?;
    }
    times.push(("disks", disks(folder, &root)?));
    fs::remove_dir_all(&root)?;
    for (step, time) in times {
        eprintln!("vm build: {step:<18}{:>7.1} s", time.as_secs_f64());
    }
    Ok(())
}

fn debootstrap(root: &Path) -> anyhow::Result<Duration> {
    let mut step = Step::new("debootstrap", "debootstrap --variant=minbase");
    step.line.extend([format!("--include={PACKAGES}"), mirror::SUITE.to_owned(), root.display().to_string()]);
    step.line.push(mirror::uri()?);
    step.env("DEBIAN_FRONTEND", "noninteractive").run()
}

fn configure(folder: &Path, root: &Path) -> anyhow::Result<Duration> {
    for (path, text) in FILES {
        write(&root.join(path), text)?;
    }
    write(&root.join("etc/apt/apt.conf.d/00lab"), &mirror::acquire()?)?;
    let uri = mirror::uri()?;
    let source = |suite: &str| format!("deb {uri} {suite} main\n");
    write(&root.join("etc/apt/sources.list"), &[mirror::SUITE, BACKPORTS].map(source).concat())?;
    // The guest's names are this machine's while packages are fetched; DHCP's afterwards.
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).context("/etc/resolv.conf: cannot copy")?;
    log_in_with_a_key(folder, root)?;
    let units = inside(root, &format!("systemctl --quiet mask {UNWANTED_UNITS}")).run()?;
    inside(root, "systemctl --quiet enable systemd-networkd.service ssh.service").run()?;
    Ok(units + inside(root, "apt-get update --quiet").run()?)
}

fn log_in_with_a_key(folder: &Path, root: &Path) -> anyhow::Result<()> {
    let key = folder.join("id_ed25519");
    let mut step = Step::new("ssh-keygen", "ssh-keygen -q -t ed25519 -C quell-vm -N");
    step.line.extend([String::new(), "-f".to_owned(), key.display().to_string()]);
    step.run()?;
    let keys = root.join("root/.ssh/authorized_keys");
    write(&keys, &fs::read_to_string(key.with_extension("pub"))?)?;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
    Ok(fs::set_permissions(root.join("root/.ssh"), fs::Permissions::from_mode(0o700))?)
}

fn install(root: &Path, kernel: &Kernel) -> anyhow::Result<Duration> {
    let (suite, package) = (kernel.suite, kernel.package);
    inside(
        root,
        &format!("apt-get install --quiet --quiet --yes --no-install-recommends -t {suite} {package}"),
    )
    .run()
}

/// `command` in the guest's root file system, without a machine around it.
fn inside(root: &Path, command: &str) -> Step {
    let mut step = Step::new("in the guest's root", "chroot");
    step.line.push(root.display().to_string());
    step.line.extend(command.split_whitespace().map(str::to_owned));
    step.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8")
}

/// Puts `kernel` beside the disks, under the lab's name for it, for boots without a boot loader.
fn keep(folder: &Path, root: &Path, kernel: &Kernel) -> anyhow::Result<()> {
    let release = release_of(kernel, &names(&root.join("boot"))?)?;
    for file in ["vmlinuz", "initrd.img"] {
        let (from, to) = (format!("boot/{file}-{release}"), format!("{file}-{}", kernel.name));
        fs::copy(root.join(&from), folder.join(to)).with_context(|| format!("{from}: cannot copy"))?;
    }
    write(&folder.join(format!("release-{}", kernel.name)), &release)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}: cannot read", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

// Format: "vmlinuz-6.12.95+deb12-rt-amd64"; the real-time one ends as the stock one does, too.
fn release_of(kernel: &Kernel, files: &[String]) -> anyhow::Result<String> {
    let (begin, end) = kernel.release;
    let is_rt = |release: &str| release.ends_with("-rt-amd64");
    let fits =
        |release: &&str| release.starts_with(begin) && release.ends_with(end) && is_rt(release) == is_rt(end);
    let mut found = files.iter().filter_map(|file| file.strip_prefix("vmlinuz-")).filter(fits);
    let release =
        found.next().with_context(|| format!("{} brought no kernel {begin}*{end}", kernel.package))?;
    ensure!(found.next().is_none(), "{} brought several kernels {begin}*{end}", kernel.package);
    Ok(release.to_owned())
}

fn disks(folder: &Path, root: &Path) -> anyhow::Result<Duration> {
    // From now on names come from DHCP's server, which is qemu.
    fs::remove_file(root.join("etc/resolv.conf"))?;
    write(&root.join("etc/resolv.conf"), "nameserver 10.0.2.3\n")?;
    // The link that grub-pc's scripts follow to know which device is `/`.
    let _ = symlink("/proc/self/mounts", root.join("etc/mtab")); // there already in later releases
    let plain = format_disk(root, &folder.join("plain.img"), &[], DISK)?;
    let parted = folder.join("parted.img");
    partition(&parted)?;
    let offset = format!("offset={}", PARTITION_SECTOR * 512);
    Ok(plain + format_disk(root, &parted, &["-E", &offset], PARTITION)?)
}

fn format_disk(root: &Path, disk: &Path, place: &[&str], size: &str) -> anyhow::Result<Duration> {
    let mut step = Step::new("mke2fs", "mke2fs -q -F -t ext4 -L quell");
    step.line.extend(place.iter().map(|&word| word.to_owned()));
    step.line.extend([
        "-d".to_owned(),
        root.display().to_string(),
        disk.display().to_string(),
        size.to_owned(),
    ]);
    step.run()
}

fn partition(disk: &Path) -> anyhow::Result<()> {
    let script = disk.with_extension("sfdisk");
    write(&script, &format!("label: dos\nstart={PARTITION_SECTOR}, type=83, bootable\n"))?;
    let mut step = Step::new("sfdisk", "sh -c");
    let (disk, script) = (disk.display(), script.display());
    step.line.push(format!("truncate -s {DISK} {disk} && sfdisk --quiet {disk} < {script}"));
    step.run().map(drop)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    #[expect(clippy::disallowed_methods, reason = "files of an image that appears whole or not at all")]
    fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, files: &[&str], expected: Result<&str, &str>) {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == name).unwrap();
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let found = release_of(kernel, &files).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_kernel_is_found_among_the_others() {
        let files = [
            "grub",
            "vmlinuz-6.1.0-50-amd64",
            "vmlinuz-6.12.95+deb12-amd64",
            "vmlinuz-6.12.95+deb12-rt-amd64",
        ];
        check("6.1", &files, Ok("6.1.0-50-amd64"));
        check("6.12", &files, Ok("6.12.95+deb12-amd64"));
        check("6.12-rt", &files, Ok("6.12.95+deb12-rt-amd64"));
        check("6.12", &files[..2], Err("linux-image-amd64 brought no kernel 6.12.*-amd64"));
        let two = ["vmlinuz-6.1.0-49-amd64", "vmlinuz-6.1.0-50-amd64"];
        check("6.1", &two, Err("linux-image-amd64 brought several kernels 6.1.*-amd64"));
    }
}
