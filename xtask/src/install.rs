//! `cargo xtask install --root DIR`: the product as it lies on a host, below any folder.
//!
//! One table says what is installed where and how; packages, Ansible and the VM lab have no other. It writes files and
//! nothing else: no user is made, no unit is enabled, no generator is run. Those are the package's scripts' work, or
//! three commands that the README names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::repo;

/// A file of the layout.
struct Row {
    from: Origin,
    /// Where it lies on the host, from `/`.
    to: &'static str,
    mode: u32,
}

/// Where a file comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// A program of the release folder.
    Built(&'static str),
    /// A file of the repository, copied at every installation.
    Kept(&'static str),
    /// A file of the repository that the operator owns once it is there: an installation leaves theirs alone.
    Once(&'static str),
    /// Every profile of this folder of the repository; `to` is a folder too.
    Profiles(&'static str),
}

use Origin::{Built, Kept, Once, Profiles};

const fn row(from: Origin, to: &'static str, mode: u32) -> Row {
    Row { from, to, mode }
}

/// The layout. A file of `systemd/`, `boot/` or `config/` that no row names is a failed test.
const LAYOUT: &[Row] = &[
    row(Built("quell"), "usr/bin/quell", 0o755),
    row(Built("quell-hold"), "usr/libexec/quell/quell-hold", 0o755),
    row(Built("quell-keeper"), "usr/libexec/quell/quell-keeper", 0o755),
    row(Built("quell-switch"), "usr/libexec/quell/quell-switch", 0o755),
    row(Profiles("sys-tuning/profiles"), "usr/lib/quell/profiles", 0o644),
    row(Once("config/quell.toml"), "etc/quell/quell.toml", 0o644),
    row(Once("config/policy.toml"), "etc/quell/policy.toml", 0o644),
    row(Kept("boot/etc/default/grub.d/quell.cfg"), "etc/default/grub.d/quell.cfg", 0o644),
    row(Kept("boot/etc/grub.d/01_quell"), "etc/grub.d/01_quell", 0o755),
    row(
        Kept("boot/usr/lib/kernel/install.d/95-quell.install"),
        "usr/lib/kernel/install.d/95-quell.install",
        0o755,
    ),
    row(Kept("systemd/quell-keeper.service"), "usr/lib/systemd/system/quell-keeper.service", 0o644),
    row(Kept("systemd/quell-keeper.socket"), "usr/lib/systemd/system/quell-keeper.socket", 0o644),
    row(Kept("systemd/quell-hold.service"), "usr/lib/systemd/system/quell-hold.service", 0o644),
    row(Kept("systemd/quell-switch@.service"), "usr/lib/systemd/system/quell-switch@.service", 0o644),
    row(Kept("systemd/quell-switch@.path"), "usr/lib/systemd/system/quell-switch@.path", 0o644),
    row(Kept("systemd/quell-agent.service"), "usr/lib/systemd/system/quell-agent.service", 0o644),
    row(Kept("systemd/quell-report.socket"), "usr/lib/systemd/system/quell-report.socket", 0o644),
    row(Kept("systemd/quell.sysusers"), "usr/lib/sysusers.d/quell.conf", 0o644),
    row(Kept("systemd/quell.tmpfiles"), "usr/lib/tmpfiles.d/quell.conf", 0o644),
    row(Kept("systemd/README.md"), "usr/share/doc/quell/systemd.md", 0o644),
    // Not active where they lie: an operator copies the ones that are wanted below /etc/systemd/system.
    row(
        Kept("systemd/drop-ins/quell-keeper.service.d/10-cap-sys-admin.conf"),
        "usr/share/doc/quell/drop-ins/quell-keeper.service.d/10-cap-sys-admin.conf",
        0o644,
    ),
    row(
        Kept("systemd/drop-ins/quell-keeper.service.d/20-network.conf"),
        "usr/share/doc/quell/drop-ins/quell-keeper.service.d/20-network.conf",
        0o644,
    ),
    row(
        Kept("systemd/drop-ins/quell-agent.service.d/10-housekeeping.conf"),
        "usr/share/doc/quell/drop-ins/quell-agent.service.d/10-housekeeping.conf",
        0o644,
    ),
    row(
        Kept("systemd/drop-ins/trading.slice.d/10-quell.conf"),
        "usr/share/doc/quell/drop-ins/trading.slice.d/10-quell.conf",
        0o644,
    ),
];

/// What was typed behind `install`.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    root: PathBuf,
    release: PathBuf,
}

/// Installs as `arguments` say.
///
/// # Errors
/// Arguments that are not understood, a program that was not built, a file that cannot be written.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    let files = files(&repo::root(), &options.release)?;
    let count = files.iter().map(|file| file.install(&options.root)).sum::<anyhow::Result<usize>>()?;
    println!("{}: {count} files of {} written", options.root.display(), files.len());
    Ok(())
}

/// `--root DIR [--release-dir DIR]`
fn options(arguments: &[&str]) -> anyhow::Result<Options> {
    let (mut root, mut release) = (None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let place = match *argument {
            "--root" => &mut root,
            "--release-dir" => &mut release,
            other => bail!("install: {other:?} is not understood; use --root DIR [--release-dir DIR]"),
        };
        let value = rest.next().with_context(|| format!("install: {argument} wants a folder behind it"))?;
        *place = Some(PathBuf::from(value));
    }
    let root =
        root.context("install: where to? give --root DIR (a staging folder, or / on the host itself)")?;
    Ok(Options { root, release: release.unwrap_or_else(release_folder) })
}

fn release_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    repo::root().join(target).join("release")
}

/// One file to write.
#[derive(Debug)]
struct File {
    from: PathBuf,
    to: PathBuf,
    mode: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Text,
    /// Left alone where it is.
    Owned,
}

/// The whole layout with its sources, or every program that is missing at once: nothing is half installed.
fn files(repository: &Path, release: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for row in LAYOUT {
        match row.from {
            Built(name) => files.push(file(release.join(name), row.to, row.mode, Kind::Program)),
            Kept(path) => files.push(file(repository.join(path), row.to, row.mode, Kind::Text)),
            Once(path) => files.push(file(repository.join(path), row.to, row.mode, Kind::Owned)),
            Profiles(folder) => files.extend(profiles(&repository.join(folder), row)?),
        }
    }
    let missing = files.iter().filter(|file| !file.from.is_file());
    let missing: Vec<String> = missing.map(|file| file.from.display().to_string()).collect();
    ensure!(
        missing.is_empty(),
        "not there: {}; build first: cargo build --release --workspace (other place: --release-dir DIR)",
        missing.join(", ")
    );
    Ok(files)
}

fn file(from: PathBuf, to: impl Into<PathBuf>, mode: u32, kind: Kind) -> File {
    File { from, to: to.into(), mode, kind }
}

fn profiles(folder: &Path, row: &Row) -> anyhow::Result<Vec<File>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}: cannot list", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let target = |path: &Path| Path::new(row.to).join(path.file_name().unwrap_or_default());
    Ok(paths.into_iter().map(|path| file(path.clone(), target(&path), row.mode, Kind::Text)).collect())
}

impl File {
    /// Writes it below `root`; 1, or 0 where it is the operator's and there already.
    fn install(&self, root: &Path) -> anyhow::Result<usize> {
        let to = root.join(&self.to);
        if self.kind == Kind::Owned && to.symlink_metadata().is_ok() {
            return Ok(0);
        }
        let folder = to.parent().unwrap_or(root);
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot create", folder.display()))?;
        // Beside it and renamed: a program that runs keeps its old file, and nobody reads half of one.
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.new"));
        let written = self.copy(&beside).and_then(|()| Ok(fs::rename(&beside, &to)?));
        if written.is_err() {
            let _ = fs::remove_file(&beside); // may not have been made
        }
        written.with_context(|| format!("{}: cannot install from {}", to.display(), self.from.display()))?;
        Ok(1)
    }

    fn copy(&self, to: &Path) -> anyhow::Result<()> {
        match self.kind {
            Kind::Program => strip(&self.from, to)?,
            Kind::Text | Kind::Owned => fs::copy(&self.from, to).map(drop)?,
        }
        Ok(fs::set_permissions(to, fs::Permissions::from_mode(self.mode))?)
    }
}

/// Without line tables and with names of functions: a profile taken on the host stays readable.
fn strip(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("strip");
    command.arg("--strip-debug").arg("-o").arg(to).arg(from).stdin(Stdio::null());
    let done = command.output().context("cannot run strip (install binutils)")?;
    ensure!(done.status.success(), "strip: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::Repo;

    /// The files that must have a row: all of the folders that are there to be installed.
    fn installable(path: &str) -> bool {
        let is_crate = path.starts_with("config/src/") || path == "config/Cargo.toml";
        ["systemd/", "boot/", "config/"].iter().any(|folder| path.starts_with(folder)) && !is_crate
    }

    fn source(row: &Row) -> Option<&'static str> {
        match row.from {
            Kept(path) | Once(path) => Some(path),
            Built(_) | Profiles(_) => None,
        }
    }

    #[test]
    fn every_file_has_a_row_and_every_row_a_file() {
        let repo = Repo::load(&repo::root()).unwrap();
        let sources: Vec<&str> = LAYOUT.iter().filter_map(source).collect();
        for (path, _) in repo.texts().filter(|(path, _)| installable(path)) {
            assert!(sources.contains(&path), "{path}: no row of LAYOUT installs it");
        }
        for path in sources {
            assert!(repo.text(path).is_some(), "{path}: a row without a file");
        }
    }

    /// Programs are `src/main.rs` under the crate's `[[bin]]` name and each file of `src/bin`.
    #[test]
    fn every_program_has_a_row() {
        let repo = Repo::load(&repo::root()).unwrap();
        let built: Vec<&str> = LAYOUT
            .iter()
            .filter_map(|row| if let Built(name) = row.from { Some(name) } else { None })
            .collect();
        let beside = repo.rust().iter().filter_map(|file| file.path.split_once("/src/bin/"));
        let beside = beside.filter_map(|(_, path)| path.split(['/', '.']).next());
        let named: Vec<String> = repo.manifests().flat_map(|manifest| programs(&manifest)).collect();
        let mut programs: Vec<&str> = beside.chain(named.iter().map(String::as_str)).collect();
        programs.sort_unstable();
        programs.dedup();
        let mut sorted = built.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, programs);
    }

    fn programs(manifest: &crate::manifest::Manifest<'_>) -> Vec<String> {
        let bins = manifest.at(&["bin"]).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        bins.iter().filter_map(|bin| Some(bin.get("name")?.as_str()?.to_owned())).collect()
    }

    #[test]
    fn targets_are_below_the_root_and_unique() {
        for (index, row) in LAYOUT.iter().enumerate() {
            assert!(!row.to.starts_with('/') && !row.to.contains(".."), "{}", row.to);
            assert!(LAYOUT[..index].iter().all(|other| other.to != row.to), "{} twice", row.to);
        }
    }

    /// A folder with a program by each name of the table: any ELF file will do.
    fn release(folder: &Path) -> PathBuf {
        let release = folder.join("release");
        fs::create_dir_all(&release).unwrap();
        for row in LAYOUT {
            if let Built(name) = row.from {
                fs::copy(std::env::current_exe().unwrap(), release.join(name)).unwrap();
            }
        }
        release
    }

    #[test]
    fn an_installation_keeps_what_is_the_operators() {
        let folder = std::env::temp_dir().join(format!("quell-install-{}", std::process::id()));
        let (release, root) = (release(&folder), folder.join("root"));
        let arguments = ["--release-dir", release.to_str().unwrap(), "--root", root.to_str().unwrap()];
        run(&arguments).unwrap();
        for row in LAYOUT {
            let installed = fs::metadata(root.join(row.to)).unwrap();
            assert!(installed.is_dir() || installed.permissions().mode() & 0o7777 == row.mode, "{}", row.to);
        }
        let (theirs, ours) =
            (root.join("etc/quell/quell.toml"), root.join("usr/lib/systemd/system/quell-keeper.service"));
        fs::copy(release.join("quell"), &theirs).unwrap();
        fs::copy(release.join("quell"), &ours).unwrap();
        run(&arguments).unwrap();
        assert_eq!(fs::read(theirs).unwrap(), fs::read(release.join("quell")).unwrap());
        assert_ne!(fs::read(ours).unwrap(), fs::read(release.join("quell")).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[track_caller]
    fn check_refused(arguments: &[&str], expected: &str) {
        assert_eq!(run(arguments).unwrap_err().to_string(), expected);
    }

    #[test]
    fn mistakes_are_told_before_anything_is_written() {
        check_refused(&[], "install: where to? give --root DIR (a staging folder, or / on the host itself)");
        check_refused(&["--root"], "install: --root wants a folder behind it");
        check_refused(
            &["--rot", "/x"],
            "install: \"--rot\" is not understood; use --root DIR [--release-dir DIR]",
        );
        let error = run(&["--root", "/nowhere", "--release-dir", "/no-release"]).unwrap_err().to_string();
        assert!(error.starts_with("not there: /no-release/quell"), "{error}");
        assert!(error.contains("build first: cargo build --release --workspace"), "{error}");
        assert!(!Path::new("/nowhere").exists());
    }
}
