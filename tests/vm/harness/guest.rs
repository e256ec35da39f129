//! A guest: a machine with its disk, over all its boots.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::figure;
use super::lab::{Lab, Spec};
use super::output::Output;
use super::qemu::{PARTITION, Qemu, WHOLE, Wiring, console_length, console_tail, is_spoilt};
use super::ssh::Ssh;
use super::until::until;

/// A machine that answers, until it is cut off or dropped.
#[derive(Debug)]
pub struct Guest {
    lab: Lab,
    spec: Spec,
    wiring: Wiring,
    // The connection is closed, then the machine killed, then the folder removed: the order of these fields.
    ssh: Ssh,
    qemu: Option<Qemu>,
    _folder: TempDir,
}

impl Guest {
    /// On a disk of its own above `disk`, which stays as it is.
    #[track_caller]
    pub(super) fn boot(lab: &Lab, spec: &Spec, disk: &Path) -> Self {
        let folder = TempDir::with_prefix("quell-vm-").unwrap();
        let overlay = folder.path().join("disk.qcow2");
        create_overlay(disk, &overlay);
        let root = if spec.grub { None } else { Some(WHOLE) };
        Self::switch_on(lab, spec, folder, (overlay, "qcow2"), root)
    }

    /// On `disk` itself, from its partition.
    #[track_caller]
    pub(super) fn on_disk(lab: &Lab, spec: &Spec, disk: &Path) -> Self {
        let folder = TempDir::with_prefix("quell-vm-").unwrap();
        Self::switch_on(lab, spec, folder, (disk.to_owned(), "raw"), Some(PARTITION))
    }

    #[track_caller]
    fn switch_on(
        lab: &Lab,
        spec: &Spec,
        folder: TempDir,
        (disk, format): (PathBuf, &'static str),
        root: Option<&'static str>,
    ) -> Self {
        let console = folder.path().join("console");
        let wiring = Wiring { disk, format, root, ssh: free_tcp_port(), udp: free_udp_port(), console };
        let ssh = Ssh::new(wiring.ssh, lab.image("id_ed25519"), folder.path());
        let mut guest =
            Self { lab: lab.clone(), spec: spec.clone(), wiring, ssh, qemu: None, _folder: folder };
        guest.start();
        guest
    }

    /// Runs `line` in the guest's shell, as root.
    pub fn run(&self, line: &str) -> Output {
        self.ssh.run(line, Stdio::null())
    }

    /// What `line` says, which succeeds.
    #[track_caller]
    pub fn text(&self, line: &str) -> String {
        self.run(line).succeeds().text().to_owned()
    }

    /// Looks again until `line` succeeds; what it said then.
    #[track_caller]
    pub fn wait_for(&self, what: &str, line: &str) -> Output {
        let mut last = None;
        let found = until(|| {
            let output = self.run(line);
            let done = output.code == Some(0);
            last = Some(output.clone());
            done.then_some(output)
        });
        found.unwrap_or_else(|| panic!("waited in vain until {what}\n{}", last.unwrap()))
    }

    /// Writes a file of the guest.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let input = File::open(file.path()).unwrap();
        self.ssh.run(&format!("install -D -m 644 /dev/stdin {path}"), Stdio::from(input)).succeeds();
    }

    /// Installs the product as its users do: the layout of `cargo xtask install` over the guest's root, then the
    /// commands that a package runs. Nothing is enabled and nothing is started.
    #[track_caller]
    pub fn install(&self) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--owner=root", "--group=root", "--directory"])
            .arg(self.lab.product())
            .arg(".");
        let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
        let archive = Stdio::from(tar.stdout.take().unwrap());
        self.ssh.run("tar --extract --no-overwrite-dir --directory /", archive).succeeds();
        assert!(tar.wait().unwrap().success(), "tar could not read the product");
        self.run("systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload").succeeds();
        if self.spec.grub {
            self.run("quell tune boot init && update-grub").succeeds();
        }
    }

    /// Boots it again, in order; the new boot is another one. A boot that the emulation spoiled is made again, and told.
    #[track_caller]
    pub fn reboot(&mut self) {
        let before = self.boot_id();
        let begin = console_length(&self.wiring.console);
        self.run("systemctl --no-block reboot");
        self.ssh.close();
        let booted = self.answers("it rebooted", |guest| {
            let is_another = || guest.run("cat /proc/sys/kernel/random/boot_id").text() != before;
            let is_spoilt = is_spoilt(&guest.wiring.console, begin);
            if is_spoilt { Some(false) } else { (guest.ssh.connect() && is_another()).then_some(true) }
        });
        if !booted {
            figure(SPOILT);
            self.power_cut();
            self.start();
        }
    }

    /// Cuts its power: what it had not made durable is lost.
    pub fn power_cut(&mut self) {
        self.qemu = None;
        self.ssh.close();
    }

    /// Switches it on (again), and waits until it answers. A boot that the emulation spoiled is made again, and told.
    #[track_caller]
    pub fn start(&mut self) {
        for attempt in 1..=ATTEMPTS_MAX {
            let begin = console_length(&self.wiring.console);
            self.qemu = Some(Qemu::start(&self.lab, &self.spec, &self.wiring));
            let is_spoilt = |guest: &Self| attempt < ATTEMPTS_MAX && is_spoilt(&guest.wiring.console, begin);
            let booted = self.answers("it booted", |guest| {
                if is_spoilt(guest) { Some(false) } else { guest.ssh.connect().then_some(true) }
            });
            if booted {
                return;
            }
            figure(SPOILT);
            self.power_cut();
        }
    }

    /// Switches it off in order.
    #[track_caller]
    pub fn power_off(&mut self) {
        self.run("systemctl --no-block poweroff");
        self.ssh.close();
        let Some(mut qemu) = self.qemu.take() else { return };
        let ended = until(|| qemu.has_ended().then_some(()));
        assert!(ended.is_some(), "waited in vain until it was off\n{}", self.console());
    }

    /// Waits until somebody else switches it off.
    pub fn wait(&mut self) {
        self.ssh.close();
        if let Some(qemu) = &mut self.qemu {
            qemu.wait();
        }
    }

    /// This boot's id.
    #[track_caller]
    pub fn boot_id(&self) -> String {
        self.text("cat /proc/sys/kernel/random/boot_id")
    }

    /// How a person logs in.
    pub fn ssh_line(&self) -> String {
        self.ssh.line()
    }

    /// The UDP port of this machine that leads to port 7777 of the guest.
    pub fn udp_port(&self) -> u16 {
        self.wiring.udp
    }

    /// The end of what it wrote to its serial line.
    pub fn console(&self) -> String {
        console_tail(&self.wiring.console)
    }

    #[track_caller]
    fn answers<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let answered = until(|| {
            let ended = self.qemu.as_mut().is_none_or(Qemu::has_ended);
            assert!(!ended, "the machine ended before {what}\n{}", self.console());
            look(self)
        });
        answered.unwrap_or_else(|| panic!("waited in vain until {what}; its console:\n{}", self.console()))
    }
}

const SPOILT: &str =
    "a boot ended in an instruction that another CPU was rewriting, which is the emulation's: once more";

/// Boots of which the emulation may spoil all but the last.
const ATTEMPTS_MAX: u32 = 3;

#[track_caller]
fn create_overlay(disk: &Path, overlay: &Path) {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).args([disk, overlay]);
    assert!(command.status().unwrap().success(), "cannot create {}", overlay.display());
}

/// One that nobody had a moment ago.
fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
