//! The product's own binary, of the same build as the bench.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use report::Report;

/// The folder that this bench was built into: `target/release` under `cargo bench`.
///
/// # Errors
/// When the bench does not lie where cargo puts benches.
pub fn target_dir() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe().context("where is this bench?")?;
    let built = bench.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent);
    built.map(Path::to_owned).with_context(|| format!("{}: not below target/<profile>/deps", bench.display()))
}

/// The `quell` of the same sources and profile: cargo is asked each time, so that it is never an old one.
///
/// # Errors
/// Cargo's own; it says why on stderr.
pub fn quell() -> anyhow::Result<PathBuf> {
    program("quell", "quell")
}

/// The program `name` of `package`, as [`quell`].
///
/// # Errors
/// As [`quell`].
pub fn program(package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let folder = target_dir()?;
    let target = folder.parent().context("a target folder has a parent")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", package, "--bin", name, "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = build.arg("--manifest-path").arg(manifest).status().context("cannot start cargo")?;
    let binary = folder.join(name);
    if !status.success() || !binary.is_file() {
        bail!("cargo did not build {}: {status}", binary.display());
    }
    Ok(binary)
}

/// The report that `command` (a `quell up --json`) prints when it ends.
///
/// # Errors
/// When it cannot be started, ends badly, or prints something else.
pub fn report_of(command: &mut Command) -> anyhow::Result<Report> {
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start quell")?;
    if !output.status.success() {
        bail!("quell ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("quell printed something other than a report")
}
