//! The command line of `quell-keeper`, read by hand: five flags do not need a parser that could do more.

use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To keep the host.
    Run(Arguments),
    /// To judge the policy and end.
    Check(Arguments),
    /// The help text.
    Help,
    /// The version.
    Version,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The policy.
    pub policy: PathBuf,
    /// Whether somebody named it: then it must be there.
    pub policy_is_named: bool,
    /// Journal, fence and audit log.
    pub state_dir: PathBuf,
    /// The machine, or a captured tree.
    pub root: PathBuf,
    /// Where orders come in, unless the service manager hands a socket over.
    pub socket: PathBuf,
    /// The agent's uid in the place of its user's: for hosts without that user.
    pub agent_uid: Option<u32>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            policy: "/etc/quell/policy.toml".into(),
            policy_is_named: false,
            state_dir: "/var/lib/quell/keeper".into(),
            root: "/".into(),
            socket: "/run/quell/keeper.sock".into(),
            agent_uid: None,
        }
    }
}

/// What `--help` prints.
pub const HELP: &str = "\
Holds this host to its tuning profile and carries out the agent's orders within root's policy.

Usage: quell-keeper [OPTIONS]

Options:
      --policy FILE     the ceiling that root sets [default: /etc/quell/policy.toml]
      --state-dir DIR   journal, fence and audit log [default: /var/lib/quell/keeper]
      --root DIR        a captured tree in place of the machine [default: /]
      --socket PATH     where orders come in, unless systemd hands a socket over [default: /run/quell/keeper.sock]
      --agent-uid UID   accept this uid in place of the policy's agent_user
      --check           judge the policy, print every mistake, and end
  -h, --help            this text
  -V, --version         the version

SIGHUP reads the policy again, all of it or nothing. SIGTERM ends the keeper; the tuning stays.
";

/// Reads the arguments behind the program's name.
///
/// # Errors
/// One line for the first that cannot be understood.
pub fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut given = given.into_iter();
    let mut arguments = Arguments::default();
    let mut check = false;
    while let Some(flag) = given.next() {
        let name = flag.to_string_lossy().into_owned();
        let mut value = || {
            given
                .next()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{name}: a value is missing behind it; see --help"))
        };
        match flag.to_str() {
            Some("-h" | "--help") => return Ok(Asked::Help),
            Some("-V" | "--version") => return Ok(Asked::Version),
            Some("--check") => check = true,
            Some("--policy") => {
                arguments.policy = value()?.into();
                arguments.policy_is_named = true;
            }
            Some("--state-dir") => arguments.state_dir = value()?.into(),
            Some("--root") => arguments.root = value()?.into(),
            Some("--socket") => arguments.socket = value()?.into(),
            Some("--agent-uid") => arguments.agent_uid = Some(uid(&value()?)?),
            _ => return Err(format!("{name:?} is no argument of quell-keeper; see --help")),
        }
    }
    Ok(if check { Asked::Check(arguments) } else { Asked::Run(arguments) })
}

fn uid(text: &OsString) -> Result<u32, String> {
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("--agent-uid {}: not a number", text.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Asked, &str>) {
        let given = line.split_whitespace().map(OsString::from);
        assert_eq!(parse(given), expected.map_err(str::to_owned));
    }

    #[test]
    fn the_command_line() {
        check("", Ok(Asked::Run(Arguments::default())));
        check("--policy p --help", Ok(Asked::Help));
        check("-V", Ok(Asked::Version));
        let named = Arguments { policy: "p".into(), policy_is_named: true, ..Arguments::default() };
        check("--check --policy p", Ok(Asked::Check(named)));
        let moved = Arguments {
            state_dir: "s".into(),
            root: "r".into(),
            socket: "k".into(),
            agent_uid: Some(7),
            ..Arguments::default()
        };
        check("--state-dir s --root r --socket k --agent-uid 7", Ok(Asked::Run(moved)));
        check("--policy", Err("--policy: a value is missing behind it; see --help"));
        check("--agent-uid quell", Err("--agent-uid quell: not a number"));
        check("--verbose", Err("\"--verbose\" is no argument of quell-keeper; see --help"));
        check("x", Err("\"x\" is no argument of quell-keeper; see --help"));
    }
}
