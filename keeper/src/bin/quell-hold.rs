//! `quell-hold`: keeps the idle states of all CPUs shallow, and packets stamped, for as long as it lives.
//!
//! The kernel ties both requests to an open descriptor (of `/dev/cpu_dma_latency`, of a socket), so somebody has to sit
//! there and hold it. That is all this process does: it asks, reads back what is in force, says READY and waits for its end,
//! with which the requests are gone, however that end came. Limits of single CPUs need no holder and are the better choice
//! where they do.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use host::Root;
use host::pm_qos::{GLOBAL, GlobalLatency};
use host::timestamps::Held;
use keeper::notify::Notify;
use keeper::policy::{HOLD_LATENCY_US, Policy};
use nix::sys::signal::{SigSet, Signal};
use report::Exit;

const HELP: &str = "\
Holds a limit on the wake-up latency of all CPUs (/dev/cpu_dma_latency), or the stamping of packets, for as long as it runs.

Usage: quell-hold [OPTIONS]

Options:
      --latency-us N   microseconds an idle CPU may take to wake up; 0 makes it poll [default: the policy's hold.latency_us]
      --timestamps     keep the stamping of packets on (SO_TIMESTAMP), so that switching it interrupts no CPU
                       [default: the policy's hold.timestamps]
      --policy FILE    the policy [default: /etc/quell/policy.toml]
      --root DIR       a captured tree in place of the machine [default: /]
  -h, --help           this text
  -V, --version        the version
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    latency_us: Option<u32>,
    timestamps: bool,
    policy: Option<PathBuf>,
    root: PathBuf,
}

/// How it ended, when not well.
type Failure = (Exit, String);

fn main() -> ExitCode {
    let exit = match parse(std::env::args_os().skip(1)) {
        Ok(None) => Exit::Yes,
        Ok(Some(arguments)) => match hold(&arguments) {
            Ok(()) => Exit::Yes,
            Err((exit, problem)) => fail(exit, &problem),
        },
        Err(problem) => fail(Exit::Usage, &problem),
    };
    exit.into()
}

/// The arguments; `None` when a text was all that was asked for.
fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Option<Arguments>, String> {
    let mut given = given.into_iter();
    let mut arguments = Arguments { latency_us: None, timestamps: false, policy: None, root: "/".into() };
    while let Some(flag) = given.next() {
        let name = flag.to_string_lossy().into_owned();
        let mut value = || {
            let value = given.next().filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{name}: a value is missing behind it; see --help"))
        };
        match flag.to_str() {
            Some("-h" | "--help") => return Ok(print(HELP)),
            Some("-V" | "--version") => {
                return Ok(print(concat!("quell-hold ", env!("CARGO_PKG_VERSION"), "\n")));
            }
            Some("--timestamps") => arguments.timestamps = true,
            Some("--latency-us") => arguments.latency_us = Some(latency(&value()?)?),
            Some("--policy") => arguments.policy = Some(value()?.into()),
            Some("--root") => arguments.root = value()?.into(),
            _ => return Err(format!("{name:?} is no argument of quell-hold; see --help")),
        }
    }
    Ok(Some(arguments))
}

fn latency(text: &OsString) -> Result<u32, String> {
    let number = text.to_str().and_then(|text| text.parse::<i64>().ok());
    let known = number
        .filter(|number| HOLD_LATENCY_US.contains(number))
        .and_then(|number| u32::try_from(number).ok());
    known.ok_or_else(|| {
        let (least, most) = HOLD_LATENCY_US.into_inner();
        format!("--latency-us {}: not a number of {least} to {most} microseconds", text.display())
    })
}

fn hold(arguments: &Arguments) -> Result<(), Failure> {
    let ends: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    let failed = |problem: String| (Exit::Failure, problem);
    ends.thread_block().map_err(|errno| failed(format!("cannot block signals: {errno}")))?;
    let (micros, timestamps) = wanted(arguments)?;
    let mut notify = Notify::from_environment()
        .map_err(|cause| failed(format!("NOTIFY_SOCKET: cannot reach the service manager: {cause}")))?;
    let (mut held, mut told) = ((None, None), Vec::new());
    if let Some(micros) = micros {
        let (latency, status) = hold_latency(arguments, micros).map_err(failed)?;
        (held.0, told) = (Some(latency), vec![status]);
    }
    if timestamps {
        held.1 = Some(hold_timestamps().map_err(failed)?);
        told.push("holds the stamping of packets".to_owned());
    }
    let status = told.join("; ");
    let _ = writeln!(io::stderr(), "quell-hold: {status}"); // the journal may be away; the request holds
    notify.status(&status);
    notify.ready();
    ends.wait().map_err(|errno| failed(format!("cannot wait: {errno}")))?;
    notify.stopping();
    drop(held);
    Ok(())
}

/// The request, and what is in force with it.
fn hold_latency(arguments: &Arguments, micros: u32) -> Result<(GlobalLatency, String), String> {
    let held = GlobalLatency::hold(&Root::at(&arguments.root), micros).map_err(|error| match error.is_absent() {
        true => format!(
            "{GLOBAL}: this kernel has no such device (CONFIG_CPU_IDLE, or the unit hides it: DeviceAllow=)"
        ),
        false => error.to_string(),
    })?;
    let in_force = held.in_force().map_err(|error| error.to_string())?;
    if in_force > micros {
        return Err(format!("{GLOBAL}: asked for {micros} us, and {in_force} us is in force"));
    }
    let status = match in_force < micros {
        true => format!("holds {micros} us; somebody else holds {in_force} us, which is in force"),
        false => format!("holds {micros} us, which is in force"),
    };
    Ok((held, status))
}

fn hold_timestamps() -> Result<Held, String> {
    let failed = |cause| {
        format!(
            "SO_TIMESTAMP: cannot ask for the stamping of packets: {cause} (RestrictAddressFamilies= takes AF_NETLINK)"
        )
    };
    let held = Held::hold().map_err(failed)?;
    match held.is_in_force().map_err(failed)? {
        true => Ok(held),
        false => Err("SO_TIMESTAMP: asked for, and the kernel says that it is not".to_owned()),
    }
}

/// What to hold: at least one of both.
fn wanted(arguments: &Arguments) -> Result<(Option<u32>, bool), Failure> {
    if arguments.latency_us.is_some() || arguments.timestamps {
        return Ok((arguments.latency_us, arguments.timestamps));
    }
    let path = arguments.policy.clone().unwrap_or_else(|| "/etc/quell/policy.toml".into());
    let policy = Policy::read(&path, arguments.policy.is_some());
    let policy = policy.map_err(|mistakes| (Exit::Usage, mistakes.to_string()))?;
    if policy.hold_latency_us.is_none() && !policy.hold_timestamps {
        let problem = "nothing to hold: set hold.latency_us to a number or hold.timestamps to true, give --latency-us N or \
                       --timestamps, or disable the unit";
        return Err((Exit::Usage, format!("{}: {problem}", path.display())));
    }
    Ok((policy.hold_latency_us, policy.hold_timestamps))
}

fn print(text: &str) -> Option<Arguments> {
    let _ = io::stdout().write_all(text.as_bytes()); // a reader that has gone misses nothing
    None
}

fn fail(exit: Exit, problem: &str) -> Exit {
    let _ = writeln!(io::stderr(), "quell-hold: {problem}"); // nobody else is left to tell
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Arguments, &str>) {
        let given = line.split_whitespace().map(OsString::from);
        assert_eq!(parse(given).map(Option::unwrap), expected.map_err(str::to_owned));
    }

    #[test]
    fn the_command_line() {
        let nothing = || Arguments { latency_us: None, timestamps: false, policy: None, root: "/".into() };
        check("", Ok(nothing()));
        check("--latency-us 0", Ok(Arguments { latency_us: Some(0), ..nothing() }));
        check(
            "--latency-us 10 --policy p --root r",
            Ok(Arguments {
                latency_us: Some(10),
                timestamps: false,
                policy: Some("p".into()),
                root: "r".into(),
            }),
        );
        for bad in ["-1", "any", "1000001"] {
            let problem = format!("--latency-us {bad}: not a number of 0 to 1000000 microseconds");
            check(&format!("--latency-us {bad}"), Err(&problem));
        }
        check("10", Err("\"10\" is no argument of quell-hold; see --help"));
        check("--timestamps", Ok(Arguments { timestamps: true, ..nothing() }));
        check("--policy", Err("--policy: a value is missing behind it; see --help"));
    }
}
