//! `cargo xtask vm`: whole machines with systemd, emulated, on which the product is really tried.
//!
//! What is built here is the images ([`image`]) and nothing else: booting them, and everything that is asked of a
//! booted machine, is the language of tests/vm, which is started with the folder of the images in `QUELL_VM`. That
//! folder is named after its inputs and kept below `QUELL_VM_CACHE` (target/vm without it), so a second run starts
//! at once. Building needs root: a root file system has owners and device files.

mod cache;
mod image;
mod mirror;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::debian;
use crate::install;
use crate::step::Step;

/// What stands behind `vm` on the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// The images alone.
    Build,
    /// A guest for a person.
    Boot(Options<'a>),
    /// The tests in a guest, in this length.
    Test(&'static str, Options<'a>),
}

impl<'a> Task<'a> {
    /// `None` for what is no task, or no option of it.
    pub fn parse(words: &[&'a str]) -> Option<Self> {
        let (task, rest) = words.split_first()?;
        let options = Options::parse(rest)?;
        match *task {
            "build" if rest.is_empty() => Some(Self::Build),
            "boot" if options.name.is_none() => Some(Self::Boot(options)),
            "test" => Some(Self::Test("short", options)),
            "full" => Some(Self::Test("full", options)),
            _ => None,
        }
    }

    /// Does it, on images that are built first if they are not there.
    pub fn run(&self) -> anyhow::Result<()> {
        debian::provide(true)?;
        let images = images()?;
        match self {
            Self::Build => println!("{}", images.display()),
            // One test of tests/vm boots a guest and keeps it until somebody ends it.
            Self::Boot(options) => {
                let hold = tests("boot", &images, options, &["--exact", "hold::a_guest_for_a_person"]);
                hold.env("QUELL_VM_HOLD", "1").run()?;
            }
            Self::Test(length, options) => {
                in_length(length, &images, options)?.run()?;
            }
        }
        Ok(())
    }
}

/// All of the tests, in short; what they need is built by now.
pub fn short() -> anyhow::Result<Step> {
    in_length("short", &images()?, &Options { env: Vec::new(), name: None })
}

fn images() -> anyhow::Result<PathBuf> {
    cache::folder(&image::recipe()?, image::build)
}

fn in_length(length: &str, images: &Path, options: &Options<'_>) -> anyhow::Result<Step> {
    let filter: Vec<&str> = options.name.into_iter().collect();
    let step = tests("vm", images, options, &filter).env("QUELL_VM_LENGTH", length);
    Ok(step.env("QUELL_VM_PRODUCT", product()?.display().to_string()))
}

/// A folder with the product as it lies on a host, built as it is shipped.
fn product() -> anyhow::Result<PathBuf> {
    Step::new("release", "cargo build --release --workspace --bins").run()?;
    let folder = cache::target().join("vm-product");
    let path = folder.to_str().context("the target folder has no name in UTF-8")?;
    install::run(&["--root", path])?;
    Ok(folder)
}

/// One guest at a time: the emulation takes every CPU there is.
fn tests(name: &'static str, images: &Path, options: &Options<'_>, filter: &[&str]) -> Step {
    let mut step = Step::new(name, "cargo test --package quell --test vm -- --test-threads=1 --nocapture");
    step.line.extend(filter.iter().map(|&word| word.to_owned()));
    let step = step.env("QUELL_VM", images.display().to_string());
    options.env.iter().fold(step, |step, (key, value)| step.env(key, *value))
}

/// What the words behind a task say, each as the variable in which tests/vm looks for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Options<'a> {
    env: Vec<(&'static str, &'a str)>,
    name: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn parse(mut words: &[&'a str]) -> Option<Self> {
        let mut options = Self { env: Vec::new(), name: None };
        loop {
            words = match *words {
                [] => return Some(options),
                ["--kernel", kernel, ref rest @ ..] => options.set("QUELL_VM_KERNEL", kernel, rest),
                ["--memory", mib, ref rest @ ..] => options.set("QUELL_VM_MEMORY", mib, rest),
                ["--grub", ref rest @ ..] => options.set("QUELL_VM_GRUB", "1", rest),
                ["--numa", ref rest @ ..] => options.set("QUELL_VM_NUMA", "1", rest),
                [name, ref rest @ ..] if !name.starts_with('-') && options.name.is_none() => {
                    options.name = Some(name);
                    rest
                }
                _ => return None,
            }
        }
    }

    fn set<'w>(&mut self, key: &'static str, value: &'a str, rest: &'w [&'a str]) -> &'w [&'a str] {
        self.env.push((key, value));
        rest
    }
}

/// Whether this process may build a root file system, or why not.
fn need_root() -> anyhow::Result<()> {
    if debian::is_root() {
        return Ok(());
    }
    bail!("a root file system is built by root: run `cargo xtask vm build` as root once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: Option<&Task<'_>>) {
        assert_eq!(Task::parse(words).as_ref(), expected, "{words:?}");
    }

    #[test]
    fn words_become_a_task_and_its_variables() {
        check(&["build"], Some(&Task::Build));
        let options = Options { env: vec![("QUELL_VM_KERNEL", "6.1")], name: Some("irq") };
        check(&["test", "--kernel", "6.1", "irq"], Some(&Task::Test("short", options)));
        let options = Options { env: vec![("QUELL_VM_GRUB", "1"), ("QUELL_VM_NUMA", "1")], name: None };
        check(&["boot", "--grub", "--numa"], Some(&Task::Boot(options)));
        check(&["full"], Some(&Task::Test("full", Options { env: Vec::new(), name: None })));
        for words in [&[][..], &["build", "x"], &["boot", "irq"], &["test", "--memory"], &["test", "--fast"]]
        {
            check(words, None);
        }
        check(&["test", "irq", "huge"], None);
    }
}
