//! Configuration that is spread over directories, as systemd's tools read it: `sysctl.d`, `tmpfiles.d`, `rules.d`.
//!
//! The files of all directories are read in the order of their names, whichever directory they stand in; of files with the
//! same name only that of the first directory counts, even when it is empty or leads to /dev/null (which is how a vendor's
//! file is masked). Links are followed within the tree. Sources: sysctl.d(5), tmpfiles.d(5), udev(7);
//! systemd's `conf-files.c`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use nix::dir::{Dir, Type};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use units::limits::{CONF_FILE_BYTES_MAX, CONF_FILES_MAX};

use crate::Root;

/// One file that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfFile {
    /// Where it stands.
    pub path: String,
    /// What is in it; nothing when it cannot be read.
    pub text: String,
}

/// The directories of this kind of configuration, the first of which counts most. The last is that of systems whose `/lib`
/// is no link.
#[must_use]
pub fn dirs(kind: &str) -> [String; 5] {
    ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map(|place| format!("{place}/{kind}"))
}

/// The files of `kind` whose names end in `suffix`, in the order in which they are read. What cannot be read has no text,
/// because the tool that should read it cannot either; beyond [`CONF_FILES_MAX`] files and [`CONF_FILE_BYTES_MAX`] of one
/// nothing is read.
#[must_use]
pub fn read(root: &Root, kind: &str, suffix: &str) -> Vec<ConfFile> {
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for dir in dirs(kind) {
        for name in names(root, &dir) {
            if name.ends_with(suffix) && !name.starts_with('.') && by_name.len() < CONF_FILES_MAX {
                by_name.entry(name.clone()).or_insert_with(|| format!("{dir}/{name}"));
            }
        }
    }
    let read = |path: String| ConfFile { text: text(root, &path).unwrap_or_default(), path };
    by_name.into_values().map(read).collect()
}

/// The files and links of a directory.
fn names(root: &Root, dir: &str) -> Vec<String> {
    let Some(dir) = open(root, dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { return Vec::new() };
    let Ok(mut dir) = Dir::from_fd(dir.into()) else { return Vec::new() };
    let is_file = |kind: Option<Type>| matches!(kind, None | Some(Type::File | Type::Symlink));
    let entries = dir.iter().filter_map(Result::ok).filter(|entry| is_file(entry.file_type()));
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The beginning of a file of the tree, its links followed within the tree; `None` when it is not there.
#[must_use]
pub fn text(root: &Root, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    // Not blocking, because a link may lead to a pipe.
    let file = open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    file.take(CONF_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn open(root: &Root, path: &str, flags: OFlag) -> Option<File> {
    let top = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let top = openat2(AT_FDCWD, root.prefix(), top).ok()?;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(top, path, how).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_first_directory_has_the_name_and_names_have_the_order() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("usr/lib/sysctl.d/10-vendor.conf", "vendor");
        put("usr/lib/sysctl.d/50-masked.conf", "masked");
        put("etc/sysctl.d/50-masked.conf", "");
        put("etc/sysctl.d/90-late.conf", "late");
        put("run/sysctl.d/20-run.conf", "run");
        put("usr/lib/sysctl.d/20-run.conf", "hidden");
        put("etc/sysctl.d/.hidden.conf", "no");
        put("etc/sysctl.d/README", "no");
        put("etc/sysctl.conf", "linked");
        put("etc/sysctl.d/a-folder.conf/x", "no");
        symlink("../sysctl.conf", dir.path().join("etc/sysctl.d/99-sysctl.conf")).unwrap();
        symlink("/etc/sysctl.conf", dir.path().join("run/sysctl.d/98-absolute.conf")).unwrap();
        symlink("/dev/null", dir.path().join("run/sysctl.d/90-late.conf")).unwrap();
        symlink("/nowhere", dir.path().join("etc/sysctl.d/10-vendor.conf")).unwrap();
        let files = read(&Root::at(dir.path()), "sysctl.d", ".conf");
        let told: Vec<String> = files.iter().map(|file| format!("{} {}", file.path, file.text)).collect();
        assert_eq!(
            told,
            [
                "/etc/sysctl.d/10-vendor.conf ", // a link that leads nowhere masks as well
                "/run/sysctl.d/20-run.conf run",
                "/etc/sysctl.d/50-masked.conf ",
                "/etc/sysctl.d/90-late.conf late",
                "/run/sysctl.d/98-absolute.conf linked",
                "/etc/sysctl.d/99-sysctl.conf linked",
            ]
        );
        assert!(read(&Root::at(dir.path()), "tmpfiles.d", ".conf").is_empty());
    }
}
