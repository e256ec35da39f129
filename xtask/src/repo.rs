//! The repository as a map from path to text, so that every check is a function of values and a test can seed
//! a fault.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::manifest::Manifest;
use crate::rust::RustFile;

/// Every file git knows or would add, read once.
pub struct Repo {
    texts: BTreeMap<String, String>,
    rust: Vec<RustFile>,
}

impl Repo {
    /// Reads the work tree at `root`, files not yet added included: tidy is asked before the commit.
    pub fn load(root: &Path) -> anyhow::Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("cannot run git (install git)")?;
        ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
        let listed = String::from_utf8(listed.stdout).context("git ls-files: a path is not UTF-8")?;
        let read = |path: &str| match fs::symlink_metadata(root.join(path)) {
            // Listed and gone: deleted, not yet committed. A link's target is listed under its own name.
            Ok(meta) if meta.is_file() => Some((path.to_owned(), text_of(&root.join(path)))),
            _ => None,
        };
        Ok(Self::new(listed.split_terminator('\0').filter_map(read).collect()))
    }

    fn new(texts: BTreeMap<String, String>) -> Self {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let rust = rust.map(|(path, text)| RustFile::new(path, text)).collect();
        Self { texts, rust }
    }

    /// A repository of these files alone.
    #[cfg(test)]
    pub fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self::new(files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    /// The text of the file at `path`; empty for what is not UTF-8.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Path and text of every file.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every Rust file.
    pub fn rust(&self) -> &[RustFile] {
        &self.rust
    }

    /// The manifests of the crates (not the root's); one that is not TOML is left out here and told by cargo
    /// itself.
    pub fn manifests(&self) -> impl Iterator<Item = Manifest<'_>> {
        self.texts().filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            Manifest::parse(path, folder, text).ok()
        })
    }

    /// The root's manifest.
    pub fn root_manifest(&self) -> Option<Manifest<'_>> {
        Manifest::parse("Cargo.toml", "", self.text("Cargo.toml")?).ok()
    }
}

/// Whether the file was captured from a machine, byte for byte, and follows nobody's form.
pub fn is_captured(path: &str) -> bool {
    path.starts_with("tests/fixtures/")
}

/// The root of the repository: this crate's folder is directly below it.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn text_of(path: &Path) -> String {
    fs::read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_this_repository() {
        let repo = Repo::load(&root()).unwrap();
        assert!(repo.text("xtask/src/repo.rs").unwrap().contains("fn loads_this_repository"));
        assert!(repo.manifests().any(|manifest| manifest.folder == "xtask"));
        assert!(repo.root_manifest().is_some());
        assert!(repo.texts().all(|(path, _)| !path.starts_with("target/")), "ignored files are not ours");
    }

    #[test]
    fn what_is_not_a_repository_is_refused() {
        let error = Repo::load(Path::new("/proc")).err().unwrap();
        assert!(error.to_string().contains("not a git repository"), "{error}");
    }
}
