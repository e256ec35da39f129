//! `quell config`: is this configuration right, and what is in force.

use std::path::Path;

use agent::{Explained, Settings};
use report::Exit;

use crate::cli::{Config, ConfigVerb};
use crate::failure::Failure;
use crate::output;

/// Runs a verb.
pub fn run(options: &Config) -> Result<Exit, Failure> {
    match &options.verb {
        ConfigVerb::Check { file } => {
            let values = read(file)?;
            output::print(&format!("{}: {} values, nothing wrong", file.display(), values.len()))?;
        }
        ConfigVerb::Explain { file } => {
            let lines: Vec<String> = read(file)?
                .iter()
                .map(|Explained { key, value, place }| format!("{key:<20} {value:<52} {place}"))
                .collect();
            output::print(&lines.join("\n"))?;
        }
    }
    Ok(Exit::Yes)
}

fn read(file: &Path) -> Result<Vec<Explained>, Failure> {
    Settings::read(file, true)
        .map(|(_, explained)| explained)
        .map_err(|mistakes| Failure::from_error(Exit::Usage, &mistakes))
}
