//! The documents of `quell tune` as text.

use super::Style;
use super::page::{Page, Tone};
use super::table::{Column, Table};
use crate::json::tune::{
    AppliedChange, ApplyDocument, Change, Danger, DriftDocument, Drifted, HistoryDocument, PlanDocument,
    RollbackDocument, Skipped, StatusCounts, Transaction, VerifiedKnob, VerifyDocument,
};

/// What would be changed.
#[must_use]
pub fn plan(plan: &PlanDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let reboot = if plan.reboot_required { ", part of it with a reboot" } else { "" };
    let session = in_session(&plan.sessions);
    let rest = match plan.changes.len() {
        0 => format!("profile {}{session}, nothing to change", plan.profile),
        n => format!("profile {}{session}, {} to make{reboot}", plan.profile, counted(n, "change")),
    };
    page.headline("plan", None, &rest);
    warnings(&mut page, "Contradictions", &plan.contradictions);
    warnings(&mut page, "Dangers", &plan.dangers);
    if !plan.changes.is_empty() {
        page.heading("Changes");
        entries(&mut page, plan.changes.iter().map(planned));
    }
    if !plan.skipped.is_empty() {
        page.heading("Left as it is");
        entries(&mut page, plan.skipped.iter().map(skipped));
    }
    if !plan.hints.is_empty() {
        page.heading("Hints");
        plan.hints.iter().for_each(|hint| page.text(2, &format!("{}: {}", hint.topic, hint.what)));
    }
    page.finish()
}

/// One line of a list that is grouped by knob.
struct Entry<'d> {
    knob: &'d str,
    /// What is said once about the knob.
    about: Option<String>,
    status: Option<&'d str>,
    /// Which of its attributes, of which instance.
    label: String,
    value: String,
    /// What is said about this line.
    notes: Option<String>,
}

fn planned(change: &Change) -> Entry<'_> {
    let mut about = change.reason.clone().unwrap_or_default();
    if change.blast != "harmless" {
        about.push_str(&format!(" [{}]", change.blast));
    }
    if change.when != "runtime" {
        about.push_str(&format!(" [takes hold: {}]", change.when));
    }
    Entry {
        knob: &change.knob,
        about: Some(about),
        status: None,
        label: label(change.identity.as_deref(), &change.attribute),
        value: arrow(change.from.as_deref(), &change.to),
        notes: None,
    }
}

fn skipped(skipped: &Skipped) -> Entry<'_> {
    let attribute = skipped.attribute.as_deref().unwrap_or("");
    Entry {
        knob: &skipped.knob,
        about: None,
        status: Some(&skipped.status),
        label: label(skipped.identity.as_deref(), attribute),
        value: String::new(),
        notes: skipped.reason.clone(),
    }
}

/// Lists `entries`: a line for each knob, its entries below it in columns, notes below their entry.
fn entries<'d>(page: &mut Page, entries: impl Iterator<Item = Entry<'d>>) {
    let entries: Vec<Entry<'d>> = entries.collect();
    for group in entries.chunk_by(|a, b| a.knob == b.knob) {
        let about = group[0].about.as_deref().filter(|about| !about.is_empty());
        page.text(
            2,
            &about.map_or_else(|| group[0].knob.to_owned(), |about| format!("{}: {about}", group[0].knob)),
        );
        let widest = |text: fn(&Entry<'d>) -> usize| group.iter().map(text).max().unwrap_or(0);
        let statuses = widest(|entry| entry.status.map_or(0, |status| status.chars().count()));
        let labels = widest(|entry| entry.label.chars().count());
        for entry in group {
            let row = [(entry.label.as_str(), labels), (entry.value.as_str(), 0)];
            match entry.status {
                Some(status) => page.columns(4, &[(status, statuses), row[0], row[1]]),
                None => page.columns(4, &row),
            }
            if let Some(notes) = entry.notes.as_deref().filter(|notes| !notes.is_empty()) {
                page.text(8, notes);
            }
        }
    }
}

fn label(identity: Option<&str>, attribute: &str) -> String {
    match identity {
        Some(identity) if attribute.is_empty() => identity.to_owned(),
        Some(identity) => format!("{identity} {attribute}"),
        None => attribute.to_owned(),
    }
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
    // What does not apply here is the plan's to tell; what stands in the way must not be missed.
    let is_trouble = |skipped: &&Skipped| !matches!(skipped.status.as_str(), "ok" | "not-applicable");
    entries(&mut page, apply.skipped.iter().filter(is_trouble).map(skipped));
    if apply.reboot_required {
        page.text(0, "part of it takes hold with the next reboot");
    }
    if let (Some(confirm), Some(within)) = (&apply.confirm, apply.confirm_within_s) {
        page.text(0, &format!("it undoes itself in {within} s, unless: {confirm}"));
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
    entries(
        page,
        changes.iter().map(|change| Entry {
            knob: &change.knob,
            about: None,
            status: Some(&change.status),
            label: label(change.identity.as_deref(), &change.attribute),
            value: arrow(change.from.as_deref(), &change.to),
            notes: change.reason.clone(),
        }),
    );
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
    let (fine, other): (Vec<_>, Vec<_>) = verify.knobs.iter().partition(|knob| knob.status == "ok");
    entries(&mut page, other.into_iter().chain(fine).map(verified));
    page.finish()
}

fn verified(knob: &VerifiedKnob) -> Entry<'_> {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "unreadable".to_owned());
    let value = match (&knob.want, knob.want == knob.have) {
        (None, _) => value(&knob.have),
        (Some(want), true) => want.clone(),
        (Some(want), false) => format!("wanted {want}, is {}", value(&knob.have)),
    };
    let mut notes = Vec::new();
    let ago = knob.observed_ago_s.filter(|seconds| *seconds >= 1.0);
    let ago = ago.map_or_else(String::new, |seconds| format!(", {seconds:.0} s ago"));
    notes.extend(knob.observed_for_s.map(|seconds| format!("effect watched for {seconds:.1} s{ago}")));
    notes.extend(knob.reason.clone());
    notes
        .extend(knob.owner.as_deref().filter(|_| knob.status != "ok").map(|owner| format!("set by {owner}")));
    notes.extend(knob.fix.as_deref().map(|fix| format!("to mend it: {fix}")));
    Entry {
        knob: &knob.knob,
        about: None,
        status: Some(&knob.status),
        label: label(knob.identity.as_deref(), &knob.attribute),
        value,
        notes: Some(notes.join("; ")),
    }
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
    entries(&mut page, drift.drifted.iter().map(drifted));
    page.finish()
}

fn drifted(drifted: &Drifted) -> Entry<'_> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unreadable".to_owned());
    let mut notes = Vec::new();
    notes.extend(drifted.since.map(|since| format!("since {since:.0}")));
    notes.extend(drifted.by.as_deref().map(|by| format!("by {by}")));
    notes.extend(drifted.reason.clone());
    Entry {
        knob: &drifted.knob,
        about: None,
        status: Some(&drifted.status),
        label: label(drifted.identity.as_deref(), &drifted.attribute),
        value: format!("applied {}, is {}", known(&drifted.want), known(&drifted.have)),
        notes: Some(notes.join("; ")),
    }
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
        let profile = match transaction.sessions.as_slice() {
            [] => profile.to_owned(),
            on => format!("{profile} ({})", on.join(", ")),
        };
        let (changes, result) =
            (transaction.changes.to_string(), with_reason(&transaction.result, remark(transaction)));
        table.row([&transaction.id, &at, &transaction.verb, &profile, &changes, &result]);
    }
    page.table(&table);
    page.finish()
}

/// What is said behind the name of a profile.
fn in_session(sessions: &[String]) -> String {
    if sessions.is_empty() { String::new() } else { format!(" in session {}", sessions.join(", ")) }
}

fn remark(transaction: &Transaction) -> Option<&'static str> {
    match (transaction.undone, transaction.this_boot) {
        (false, _) if transaction.on_trial => Some("waits to be confirmed"),
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
