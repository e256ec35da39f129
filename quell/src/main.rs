//! The command on the host.
//!
//! `main` dispatches and turns the outcome into an exit code; every subcommand is one file below `cmd`. stdout is data,
//! stderr is messages. A reader that goes away (a closed pipe) is no failure.

mod cli;
mod client;
mod cmd;
mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_usage) => return cli::not_run(&help_or_usage).into(),
    };
    let outcome = match cli.command {
        cli::Command::Up(options) => cmd::up::run(&options),
        cli::Command::Agent(options) => cmd::agent::run(&options),
        cli::Command::Report(options) => cmd::read::report(&options),
        cli::Command::Budgets(options) => cmd::read::budgets(&options),
        cli::Command::Stalls(options) => cmd::read::stalls(&options),
        cli::Command::Tune(options) => cmd::tune::run(&options),
        cli::Command::Doctor(options) => cmd::doctor::run(&options),
        cli::Command::Config(options) => cmd::config::run(&options),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => failure::tell(&error).into(),
    }
}
