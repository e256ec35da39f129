//! The boot command line as text.

use super::Style;
use super::page::Page;
use super::table::{Column, Table};
use crate::json::boot::{BootDocument, BootLine};

/// How it stands with the boot line.
#[must_use]
pub fn boot(boot: &BootDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let Some(standing) = &boot.standing else {
        page.headline("boot", None, "quell has no part in how this machine boots (quell tune boot init)");
        return page.finish();
    };
    let rest = match standing.as_str() {
        "armed" => "a line is armed: the next boot tries it once",
        "on-trial" => "this boot is a trial; the next one has the good line unless it is kept",
        "not-taken" => {
            "a line is armed, and GRUB did not take it: it cannot write, or was not asked (quell tune boot forget)"
        }
        "passed-over" => "an entry without it was booted in its place: a line waits to be tried",
        "came-back" => "a line was tried, and the machine came back with the good one",
        "refused" => "a line was tried, and not kept",
        _ if boot.reboot_required => "the line holds from the next boot on",
        _ => "the good line is in force",
    };
    page.headline("boot", None, rest);
    page.text(2, &format!("good: {}", boot.good.as_ref().map_or("none", |line| &line.arguments)));
    if let Some(trial) = &boot.trial {
        page.text(2, &format!("trial: {}", trial.arguments));
        if let Some(refused) = &trial.refused {
            page.text(10, refused);
        }
    }
    page.text(2, &format!("booted: {}", booted(boot)));
    if !boot.arguments.is_empty() {
        page.heading("What the kernel made of it");
        let mut table = Table::new([
            ("argument", Column::Left),
            ("verdict", Column::Left),
            ("kernel shows", Column::Left),
            ("reason", Column::Flex),
        ]);
        for one in &boot.arguments {
            let effective = one.effective.as_deref().unwrap_or("-");
            table.row([&one.argument, &one.verdict, effective, one.reason.as_deref().unwrap_or("")]);
        }
        page.table(&table);
    }
    page.finish()
}

/// Which line this boot was made with.
fn booted(boot: &BootDocument) -> String {
    let Some(id) = &boot.booted else { return "without arguments of quell's".to_owned() };
    let is = |line: &Option<BootLine>| line.as_ref().is_some_and(|line| line.id.as_ref() == Some(id));
    match () {
        () if is(&boot.good) => format!("the good line ({id})"),
        () if is(&boot.trial) => format!("the trial ({id})"),
        () => format!("a line that is not kept any more ({id})"),
    }
}
