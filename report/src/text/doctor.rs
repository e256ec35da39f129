//! `quell doctor` as text: what is wrong first, each with its fix below it.

use super::Style;
use super::page::Page;
use crate::json::doctor::{DoctorDocument, Finding};

/// Every finding.
#[must_use]
pub fn doctor(doctor: &DoctorDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let count = |severity: &str| doctor.findings.iter().filter(|found| found.severity == severity).count();
    let rest = match (count("serious"), count("notice")) {
        (0, 0) => "nothing to put right".to_owned(),
        (0, notices) => format!("nothing in a profile's way, {notices} worth knowing"),
        (serious, notices) => format!("{serious} in a profile's way, {notices} worth knowing"),
    };
    page.headline("doctor", None, &rest);
    for (severity, heading) in [("serious", "In the way"), ("notice", "Worth knowing"), ("fine", "Fine")] {
        let those: Vec<&Finding> =
            doctor.findings.iter().filter(|found| found.severity == severity).collect();
        if !those.is_empty() {
            page.heading(heading);
        }
        for found in those {
            page.text(2, &format!("{}: {}", found.check, found.what));
            if let Some(fix) = &found.fix {
                page.text(6, &format!("-> {fix}"));
            }
        }
    }
    page.finish()
}
