//! The project's own tasks, one word each: `tidy`, `check`, `test`, `full`, `ci`, `install`, `vm`.
//!
//! `ci` is `check` then `test`, and `.ci/run` is the same two on a clean clone, so that what CI says can be
//! had at home with one command. Nothing of the product is linked in here: the tasks must run while the
//! product does not compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool: it is there to print")]

mod ci;
mod debian;
mod finding;
mod house;
mod install;
mod manifest;
mod repo;
mod rust;
mod step;
mod tally;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  tidy    the rules no compiler checks: levels, leftovers, dead rows, proofs (file:line: what, use what)
  check   all that CI asks besides the tests: fmt, tidy, clippy, docs, deny
  test    the tests of every crate and the benches in short mode; installs what they need where it may
  full [NAME]
          the campaigns that test runs shortened (lies, plans, kills, power cuts), in full, with the figures
  ci      check, then test: what .ci/run does
  install --root DIR [--release-dir DIR]
          programs, units, profiles and configuration as they lie on a host, below DIR

the VM lab, emulated machines on which the product is really tried:

  vm build                                      its images, unless they are there
  vm boot [--kernel K] [--grub] [--numa] [--memory MIB]
                                                a guest to try things in; says how to log in
  vm test [--kernel K] [NAME]                   the tests that need a booted machine, in short
  vm full [--kernel K] [NAME]                   the same in full length, with the figures

K is 6.12, 6.12-rt or 6.1.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
        ["check"] => ci::check(),
        ["test"] => test::run(),
        ["full"] => test::full(None),
        ["full", name] if !name.starts_with('-') => test::full(Some(name)),
        ["ci"] => ci::run(),
        ["install", ref rest @ ..] => install::run(rest),
        ["vm", ref words @ ..] => match vm::Task::parse(words) {
            Some(task) => task.run(),
            None => return usage(),
        },
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
