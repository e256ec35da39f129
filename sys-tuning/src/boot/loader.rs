//! Whether this machine's boot loader can try a line once: all reasons against it, before anything is written.
//!
//! GRUB can, when it expands our variable and can write one block back: on a plain partition with a file system that
//! keeps a file's blocks where they are. Others are refused by name, with what to do. Sources: GRUB manual, "save_env"
//! ("does not work on ... LVM, RAID"); grub-core/commands/loadenv.c (check_blocklists); Boot Loader Specification.

use host::{Error, Root, block, if_present, mounts};

use super::environment::{self, GRUB_DIRS, State};

/// What there is to boot with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loader {
    /// GRUB, with our snippet, and able to write.
    Ready,
    /// Nothing of ours: not applicable, with the reason.
    Absent(String),
    /// It cannot try a line: refused, with the reason and what to do.
    Unfit(String),
}

/// File systems on which GRUB may write over a file's blocks: they are where they were, and nothing sums them up.
const WRITABLE: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "vfat"];

/// What our generator puts into grub.cfg.
const SNIPPET: &str = "quell/armed.env";
/// What the menu entries hold.
const VARIABLE: &str = "$quell_args";

pub(crate) fn find(root: &Root, state: Option<&State>) -> Result<Loader, Error> {
    let grub = GRUB_DIRS.iter().find(|dir| root.exists(&format!("{dir}/grub.cfg")));
    let Some(state) = state else { return Ok(without_blocks(root, grub.copied())) };
    let grub = state.dir.trim_end_matches("/quell");
    let refusal = match unwritable(root, grub)? {
        None => not_in_menu(root, grub)?,
        found => found,
    };
    Ok(refusal.map_or(Loader::Ready, Loader::Unfit))
}

fn without_blocks(root: &Root, grub: Option<&str>) -> Loader {
    let foreign = ["/boot/loader/loader.conf", "/boot/efi/loader/loader.conf"];
    match (environment::dir(root), foreign.iter().find(|path| root.exists(path)), grub) {
        (Some(dir), ..) => Loader::Unfit(format!(
            "{}: a block is missing (`quell tune boot init` makes those that are)",
            root.display(&dir)
        )),
        (None, Some(conf), None) => Loader::Unfit(format!(
            "{}: systemd-boot hands entries to the kernel as they stand and tries none once for its arguments; boot with \
             GRUB, or put the arguments there by hand",
            root.display(conf)
        )),
        (None, _, Some(grub)) => Loader::Absent(format!(
            "quell's part of GRUB is not installed: there is no {} (`quell tune boot init` makes it)",
            root.display(&format!("{grub}/quell"))
        )),
        (None, None, None) => Loader::Absent("no boot loader is configured from this system".to_owned()),
    }
}

/// Why GRUB could not take a trial back.
fn unwritable(root: &Root, grub: &str) -> Result<Option<String>, Error> {
    let Some(mount) = if_present(mounts::of(root, grub))?.flatten() else {
        return Ok(Some(format!("{}: it cannot be seen which file system holds it", root.display(grub))));
    };
    let place = root.display(grub);
    let remedy = "put /boot on a partition of its own with ext4";
    if !WRITABLE.contains(&mount.kind.as_str()) {
        return Ok(Some(format!(
            "{place} is on {}, where GRUB cannot write a block back, so that a trial would be tried for ever ({remedy})",
            mount.kind
        )));
    }
    if mount.is_read_only {
        return Ok(Some(format!("{place} is mounted read-only (mount -o remount,rw {})", mount.point)));
    }
    Ok(match block::kind(root, &mount.device)? {
        Some(block::Kind::Disk) => None,
        Some(kind) => {
            let name = block::mapped_name(root, &mount.device)?.unwrap_or(mount.source);
            Some(format!(
                "{place} is on {kind} ({name}), which GRUB reads and does not write, so that a trial would be tried for \
                 ever ({remedy})"
            ))
        }
        None => Some(format!(
            "{place} is on {}, which is no block device of this machine ({remedy})",
            mount.source
        )),
    })
}

/// Why the entries of the menu would not carry the line.
fn not_in_menu(root: &Root, grub: &str) -> Result<Option<String>, Error> {
    let path = format!("{grub}/grub.cfg");
    let menu = match root.read_lossy(&path) {
        Ok(menu) => menu,
        Err(error) if error.is_absent() => {
            return Ok(Some(format!("{}: there is no menu (run update-grub once)", root.display(&path))));
        }
        // Without rights one can plan all the same; whoever applies reads it.
        Err(error) if error.is_permission() => return Ok(None),
        Err(error) => return Err(error),
    };
    if !menu.contains(SNIPPET) {
        let path = root.display(&path);
        return Ok(Some(format!("{path}: /etc/grub.d/01_quell is not in it yet (run update-grub once)")));
    }
    if menu.lines().any(|line| is_linux(line) && line.contains(VARIABLE)) {
        return Ok(None);
    }
    if !menu.lines().any(|line| line.trim() == "blscfg") {
        let path = root.display(&path);
        return Ok(Some(format!("{path}: no entry holds {VARIABLE} (run update-grub once)")));
    }
    entry_without(root)
}

fn is_linux(line: &str) -> bool {
    line.split_ascii_whitespace().next().is_some_and(|word| word.starts_with("linux"))
}

const ENTRIES: &str = "/boot/loader/entries";

/// The first entry of the Boot Loader Specification that does not carry the line.
// Format: "options root=/dev/sda1 ro quiet $quell_args"   (Boot Loader Specification, type #1)
fn entry_without(root: &Root) -> Result<Option<String>, Error> {
    let names = if_present(root.list(ENTRIES))?.unwrap_or_default();
    for name in names.iter().filter(|name| name.ends_with(".conf") && !name.contains("rescue")) {
        let path = format!("{ENTRIES}/{name}");
        let entry = root.read_lossy(&path)?;
        let carries =
            |line: &str| line.starts_with("options") && line.split(' ').any(|word| word == VARIABLE);
        if !entry.lines().any(carries) {
            let path = root.display(&path);
            let remedy = "grubby --update-kernel=ALL --args='$quell_args'";
            return Ok(Some(format!("{path}: its options lack {VARIABLE} ({remedy})")));
        }
    }
    let none = || format!("{}: there is no entry to boot", root.display(ENTRIES));
    Ok(names.is_empty().then(none))
}
