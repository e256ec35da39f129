//! The documents of `quell tune` as text.

use super::Style;
use super::page::{Page, Tone};
use super::table::{Column, Table};
use crate::json::tune::{
    AppliedChange, ApplyDocument, Danger, DriftDocument, HistoryDocument, PlanDocument, RollbackDocument,
    StatusCounts, Transaction, VerifiedKnob, VerifyDocument,
};

/// What would be changed.
#[must_use]
pub fn plan(plan: &PlanDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let reboot = if plan.reboot_required { ", part of it with a reboot" } else { "" };
    let rest = match plan.changes.len() {
        0 => format!("profile {}, nothing to change", plan.profile),
        n => format!("profile {}, {} to make{reboot}", plan.profile, counted(n, "change")),
    };
    page.headline("plan", None, &rest);
    warnings(&mut page, "Contradictions", &plan.contradictions);
    warnings(&mut page, "Dangers", &plan.dangers);
    if !plan.changes.is_empty() {
        page.heading("Changes");
        page.table(&planned(plan));
    }
    if !plan.skipped.is_empty() {
        page.heading("Left as it is");
        page.table(&skipped(plan));
    }
    page.finish()
}

fn planned(plan: &PlanDocument) -> Table {
    let mut table = Table::new([
        ("knob", Column::Left),
        ("attribute", Column::Left),
        ("change", Column::Flex),
        ("when", Column::Left),
        ("blast", Column::Left),
    ]);
    for change in &plan.changes {
        let what = with_reason(&arrow(change.from.as_deref(), &change.to), change.reason.as_deref());
        let knob = named(&change.knob, change.identity.as_deref());
        table.row([&knob, &change.attribute, &what, &change.when, &change.blast]);
    }
    table
}

fn skipped(plan: &PlanDocument) -> Table {
    let mut table = Table::new([
        ("status", Column::Left),
        ("knob", Column::Left),
        ("attribute", Column::Left),
        ("reason", Column::Flex),
    ]);
    for skipped in &plan.skipped {
        let knob = named(&skipped.knob, skipped.identity.as_deref());
        let attribute = skipped.attribute.as_deref().unwrap_or("");
        table.row([&skipped.status, &knob, attribute, skipped.reason.as_deref().unwrap_or("")]);
    }
    table
}

fn warnings(page: &mut Page, title: &str, dangers: &[Danger]) {
    if dangers.is_empty() {
        return;
    }
    page.heading(title);
    for danger in dangers {
        let knob = danger.knob.as_deref().map_or_else(String::new, |knob| format!("{knob}: "));
        page.toned(2, &format!("{knob}{}", danger.what), Some(Tone::Warning));
        if let Some(fix) = &danger.fix {
            page.text(4, &format!("instead: {fix}"));
        }
    }
}

/// What was changed.
#[must_use]
pub fn apply(apply: &ApplyDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let transaction = apply.id.as_deref().map_or_else(String::new, |id| format!(", transaction {id}"));
    let written = format!("{} written", counted_u64(apply.writes, "value"));
    let rest = format!("profile {}, {written}{transaction}", apply.profile);
    page.headline(&apply.result, Tone::of(&apply.result), &rest);
    changes(&mut page, &apply.changes);
    if apply.reboot_required {
        page.text(0, "part of it takes hold with the next reboot");
    }
    if let Some(way_back) = &apply.way_back {
        page.text(0, &format!("to take it back: {way_back}"));
    }
    page.finish()
}

/// What was put back.
#[must_use]
pub fn rollback(rollback: &RollbackDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let transaction = rollback.id.as_deref().map_or_else(String::new, |id| format!(", transaction {id}"));
    let to = rollback.to.as_deref().map_or_else(String::new, |to| format!(", back to {to}"));
    let rest = format!("{} written{to}{transaction}", counted_u64(rollback.writes, "value"));
    page.headline(&rollback.result, Tone::of(&rollback.result), &rest);
    changes(&mut page, &rollback.changes);
    page.finish()
}

fn changes(page: &mut Page, changes: &[AppliedChange]) {
    if changes.is_empty() {
        return;
    }
    let mut table = Table::new([
        ("status", Column::Left),
        ("knob", Column::Left),
        ("attribute", Column::Left),
        ("change", Column::Flex),
    ]);
    for change in changes {
        let what = with_reason(&arrow(change.from.as_deref(), &change.to), change.reason.as_deref());
        let knob = named(&change.knob, change.identity.as_deref());
        table.row([&change.status, &knob, &change.attribute, &what]);
    }
    page.table(&table);
}

/// Whether every knob took effect; what did not comes first.
#[must_use]
pub fn verify(verify: &VerifyDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let word = verdict(&verify.summary);
    page.headline(word, Tone::of(word), &format!("profile {}, {}", verify.profile, summary(&verify.summary)));
    if verify.knobs.is_empty() {
        return page.finish();
    }
    let mut table = Table::new([
        ("status", Column::Left),
        ("knob", Column::Left),
        ("attribute", Column::Left),
        ("finding", Column::Flex),
    ]);
    let (fine, other): (Vec<_>, Vec<_>) = verify.knobs.iter().partition(|knob| knob.status == "ok");
    for knob in other.into_iter().chain(fine) {
        let name = named(&knob.knob, knob.identity.as_deref());
        table.row([&knob.status, &name, &knob.attribute, &finding(knob)]);
    }
    page.table(&table);
    page.finish()
}

fn finding(knob: &VerifiedKnob) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "unreadable".to_owned());
    let mut parts = vec![match (&knob.want, knob.want == knob.have) {
        (None, _) => value(&knob.have),
        (Some(want), true) => want.clone(),
        (Some(want), false) => format!("wanted {want}, is {}", value(&knob.have)),
    }];
    parts.extend(match (knob.effective, knob.observed_for_s) {
        (Some(true), Some(seconds)) => Some(format!("effect seen over {seconds:.1} s")),
        (Some(true), None) => Some("effect seen".to_owned()),
        (Some(false), _) => Some("no effect".to_owned()),
        (None, _) => None,
    });
    parts.extend(knob.reason.clone());
    parts.extend(knob.owner.as_deref().map(|owner| format!("also set by {owner}")));
    parts.extend(knob.fix.as_deref().map(|fix| format!("to mend it: {fix}")));
    parts.join("; ")
}

/// What is no longer as it was applied.
#[must_use]
pub fn drift(drift: &DriftDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let profile =
        drift.profile.as_deref().map_or("nothing was applied".to_owned(), |p| format!("profile {p}"));
    let word = if drift.drifted.is_empty() { "no drift" } else { "drifted" };
    let tone = if drift.drifted.is_empty() { Some(Tone::Good) } else { Some(Tone::Bad) };
    page.headline(word, tone, &format!("{profile}, {}", summary(&drift.summary)));
    if drift.drifted.is_empty() {
        return page.finish();
    }
    let mut table = Table::new([
        ("status", Column::Left),
        ("knob", Column::Left),
        ("attribute", Column::Left),
        ("finding", Column::Flex),
    ]);
    for drifted in &drift.drifted {
        let unreadable = || "unreadable".to_owned();
        let want = drifted.want.clone().unwrap_or_else(unreadable);
        let mut parts =
            vec![format!("applied {want}, is {}", drifted.have.clone().unwrap_or_else(unreadable))];
        parts.extend(drifted.since.map(|since| format!("since {since:.0}")));
        parts.extend(drifted.by.as_deref().map(|by| format!("by {by}")));
        parts.extend(drifted.reason.clone());
        let knob = named(&drifted.knob, drifted.identity.as_deref());
        table.row([&drifted.status, &knob, &drifted.attribute, &parts.join("; ")]);
    }
    page.table(&table);
    page.finish()
}

/// What was done to this host.
#[must_use]
pub fn history(history: &HistoryDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    if history.transactions.is_empty() {
        page.text(0, "nothing was ever applied here");
        return page.finish();
    }
    page.text(0, &format!("{}, newest first", counted(history.transactions.len(), "transaction")));
    let mut table = Table::new([
        ("id", Column::Left),
        ("at", Column::Left),
        ("what", Column::Left),
        ("profile", Column::Left),
        ("changes", Column::Right),
        ("result", Column::Flex),
    ]);
    for transaction in &history.transactions {
        let at = transaction.at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let profile = transaction.profile.as_deref().unwrap_or("-");
        let (changes, result) =
            (transaction.changes.to_string(), with_reason(&transaction.result, remark(transaction)));
        table.row([&transaction.id, &at, &transaction.verb, profile, &changes, &result]);
    }
    page.table(&table);
    page.finish()
}

fn remark(transaction: &Transaction) -> Option<&'static str> {
    match (transaction.undone, transaction.this_boot) {
        (true, _) => Some("taken back"),
        (false, false) => Some("before this boot"),
        (false, true) => None,
    }
}

fn verdict(counts: &StatusCounts) -> &'static str {
    let by_weight = [
        ("failed", counts.failed),
        ("blocked", counts.blocked),
        ("drifted", counts.drifted),
        ("foreign", counts.foreign),
        ("needs-reboot", counts.needs_reboot),
        ("pending", counts.pending),
        ("ok", counts.ok),
    ];
    by_weight.into_iter().find(|(_, count)| *count > 0).map_or("nothing checked", |(word, _)| word)
}

fn summary(counts: &StatusCounts) -> String {
    let some: Vec<String> = counts
        .by_word()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    if some.is_empty() { "nothing was checked".to_owned() } else { some.join(", ") }
}

fn arrow(from: Option<&str>, to: &str) -> String {
    format!("{} -> {to}", from.unwrap_or("?"))
}

fn with_reason(what: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what}; {reason}"))
}

fn named(knob: &str, identity: Option<&str>) -> String {
    identity.map_or_else(|| knob.to_owned(), |identity| format!("{knob} {identity}"))
}

fn counted(count: usize, what: &str) -> String {
    counted_u64(count as u64, what)
}

fn counted_u64(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, golden};

    #[test]
    fn tuning_reads_as_its_golden_files() {
        golden("plan.txt", &plan(&example::plan(), &Style::PLAIN));
        golden(
            "plan-nothing.txt",
            &plan(&PlanDocument { profile: "balanced".into(), ..Default::default() }, &Style::PLAIN),
        );
        golden("apply.txt", &apply(&example::apply(), &Style::PLAIN));
        golden("rollback.txt", &rollback(&example::rollback(), &Style::PLAIN));
        golden("verify.txt", &verify(&example::verify(), &Style::PLAIN));
        golden("drift.txt", &drift(&example::drift(), &Style::PLAIN));
        golden("drift-none.txt", &drift(&example::no_drift(), &Style::PLAIN));
        golden("history.txt", &history(&example::history(), &Style::PLAIN));
        golden("history-none.txt", &history(&HistoryDocument::default(), &Style::PLAIN));
    }

    #[test]
    fn nothing_checked_is_not_ok() {
        let text = verify(&VerifyDocument { profile: "colo".into(), ..Default::default() }, &Style::PLAIN);
        assert_eq!(text, "NOTHING CHECKED: profile colo, nothing was checked\n");
    }
}
