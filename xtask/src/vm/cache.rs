//! Folders named by what went into them, so that nothing is built twice and nothing stale is used.
//!
//! A folder appears whole or not at all: it is filled under another name and renamed. What the mirror held on the
//! day is no input (it changes daily); whoever wants newer packages removes the folder.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::repo;

/// Digits of the digest in a folder's name: 64 bits, for a handful of folders.
const DIGITS: usize = 16;

/// The folder for `inputs`, filled by `fill` if it is not there yet.
pub fn folder(inputs: &str, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let cache = root();
    let folder = cache.join(digest(inputs)?);
    if folder.exists() {
        return Ok(folder);
    }
    let partial = cache.join(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("{}: cannot create", partial.display()))?;
    let filled = fill(&partial).and_then(|()| into_place(&partial, &folder));
    // After success it is gone already; after a failure a half-built gigabyte helps nobody.
    let _ = fs::remove_dir_all(&partial);
    filled.map(|()| folder)
}

/// Somebody else may have been faster; then theirs is as good.
fn into_place(partial: &Path, folder: &Path) -> anyhow::Result<()> {
    match fs::rename(partial, folder) {
        Err(_) if folder.exists() => Ok(()),
        done => done.with_context(|| format!("{}: cannot move into place", folder.display())),
    }
}

fn root() -> PathBuf {
    repo::root().join(env::var_os("QUELL_VM_CACHE").map_or_else(|| target().join("vm"), PathBuf::from))
}

/// Where this work tree is built.
pub fn target() -> PathBuf {
    repo::root().join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from))
}

/// By coreutils: the tasks link no digest of their own.
fn digest(inputs: &str) -> anyhow::Result<String> {
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    sum.stdin.take().context("sha256sum has no input")?.write_all(inputs.as_bytes())?;
    let output = sum.wait_with_output()?;
    ensure!(output.status.success(), "sha256sum failed ({})", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.get(..DIGITS).map(str::to_owned).context("sha256sum said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_known_one() {
        assert_eq!(digest("").unwrap(), "e3b0c44298fc1c14");
        assert_eq!(digest("abc").unwrap(), "ba7816bf8f01cfea");
    }

    #[test]
    fn a_folder_appears_whole() {
        let place = env::temp_dir().join(format!("quell-place-{}", std::process::id()));
        let (partial, folder) = (place.join("partial"), place.join("folder"));
        fs::create_dir_all(&partial).unwrap();
        into_place(&partial, &folder).unwrap();
        assert!(folder.exists() && !partial.exists());
        // The second of two builders finds it there.
        fs::create_dir_all(partial.join("image")).unwrap();
        fs::create_dir_all(folder.join("image")).unwrap();
        into_place(&partial, &folder).unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(into_place(&partial, &folder).unwrap_err().to_string().ends_with("cannot move into place"));
    }
}
