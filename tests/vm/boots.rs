//! The lab itself: each kernel boots, by qemu and by its own boot sector, and a guest is what the other tests take
//! it for.

use crate::harness::{Kernel, Lab, Spec};

#[test]
fn each_kernel_boots_and_keeps_what_it_made_durable() {
    let Some(lab) = Lab::open() else { return };
    for kernel in
        lab.kernels(lab.length(&[Kernel::Stock, Kernel::Rt], &[Kernel::Stock, Kernel::Rt, Kernel::Old]))
    {
        let mut guest = lab.boot(&Spec::new(kernel));
        let release = guest.text("uname -r");
        assert!(release.starts_with(kernel.name().trim_end_matches("-rt")), "{release}");
        assert_eq!(release.contains("-rt-"), kernel == Kernel::Rt, "{release}");
        assert_eq!(guest.text("cat /proc/1/comm"), "systemd");
        assert_eq!(guest.text("cat /sys/devices/system/cpu/online"), "0-3");
        guest.write("/kept", "kept\n");
        guest.run("sync && dd if=/dev/zero of=/lost bs=1 count=1").succeeds();
        guest.power_cut();
        guest.start();
        assert_eq!(guest.text("cat /kept"), "kept");
        guest.run("test ! -s /lost").succeeds();
    }
}

#[test]
fn a_machine_boots_by_itself_with_a_changed_line() {
    let Some(lab) = Lab::open_in_full() else { return };
    let mut guest = lab.boot(&Spec { grub: true, ..Spec::new(Kernel::Stock) });
    let before = guest.boot_id();
    guest.run("echo 'GRUB_CMDLINE_LINUX=\"console=ttyS0 isolcpus=domain,2-3 nohz_full=2-3\"' >> /etc/default/grub.d/lab.cfg");
    guest.run("update-grub").succeeds();
    guest.reboot();
    assert_ne!(guest.boot_id(), before);
    assert_eq!(guest.text("cat /sys/devices/system/cpu/isolated"), "2-3");
    assert_eq!(guest.text("cat /sys/devices/system/cpu/nohz_full"), "2-3");
}

#[test]
fn a_machine_with_two_nodes_takes_the_product() {
    let Some(lab) = Lab::open_in_full() else { return };
    let guest = lab.boot(&Spec { numa: true, ..Spec::new(Kernel::Stock) });
    assert_eq!(guest.text("cat /sys/devices/system/node/online"), "0-1");
    guest.install();
    guest.run("quell tune plan --profile balanced --json").json("quell.plan/1");
    guest.wait_for("it is up", "systemctl is-system-running --wait || true");
}
