//! `quell-switch`: switches one component of this host to a staged generation.
//!
//! A one-shot that systemd starts when a request lies in its place (quell-switch@.path). Its inputs are closed: a name on
//! the command line, a file of three lines that root wrote, and the folders below /opt/quell. It starts nothing; the unit
//! restarts the component when this has succeeded. Not here yet: signatures, fences, digests of what is staged.

mod component;
mod desk;
mod request;
mod switch;

use std::io::Write;
use std::process::ExitCode;

use report::Exit;
use units::Name;

use desk::Desk;
use switch::Refusal;

const USAGE: &str = "\
usage: quell-switch due NAME      is there something to do? exit 3 when that generation runs already
       quell-switch switch NAME   carries out the request for the component NAME
The request lies in /var/lib/quell/switch/NAME.request, the answer in NAME.result.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments).into()
}

fn run(arguments: &[&str]) -> Exit {
    let (verb, name) = match arguments {
        [verb @ ("due" | "switch"), name] => (*verb, *name),
        _ => return tell(Exit::Usage, USAGE),
    };
    let component: Name = match name.parse() {
        Ok(component) => component,
        Err(error) => return tell(Exit::Usage, &format!("component {error}")),
    };
    let desk = Desk::system(component);
    let outcome = if verb == "due" { switch::due(&desk) } else { switch::switch(&desk) };
    match outcome {
        Ok(done) => tell(done.exit(), &done.to_string()),
        Err(refusal @ Refusal::Request(_)) => tell(Exit::Refused, &refusal.to_string()),
        Err(failure @ Refusal::System { .. }) => tell(Exit::Failure, &failure.to_string()),
    }
}

/// One line for the journal.
fn tell(exit: Exit, line: &str) -> Exit {
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody else is left to tell
    exit
}
