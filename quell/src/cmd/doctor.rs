//! `quell doctor`: every precondition of tuning and measuring, each with its fix.

use std::sync::Arc;

use host::Root;
use report::{DoctorDocument, Exit, Finding, text};
use sys_tuning::{Engine, is_serious};

use crate::cli::Doctor;
use crate::failure::Failure;
use crate::output;

/// Looks, and tells.
pub fn run(options: &Doctor) -> Result<Exit, Failure> {
    if !options.root.is_dir() {
        let problem =
            format!("{}: no such directory (--root names a tree in place of /)", options.root.display());
        return Err(Failure::new(Exit::Usage, problem));
    }
    let findings = Engine::new(Arc::new(Root::at(&options.root)), &options.state_dir).diagnose();
    let serious = is_serious(&findings);
    let finding = |found: sys_tuning::Finding| Finding {
        check: found.check.to_owned(),
        severity: found.severity.word().to_owned(),
        what: found.what,
        fix: found.fix,
    };
    let document = DoctorDocument {
        findings: findings.into_iter().map(finding).collect(),
        serious,
        ..DoctorDocument::default()
    };
    output::print(&if options.json {
        document.to_json()
    } else {
        text::doctor(&document, &output::style())
    })?;
    Ok(if serious { Exit::No } else { Exit::Yes })
}
