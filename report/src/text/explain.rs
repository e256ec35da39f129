//! Knobs for a person: a list, one in full, and all of them as a page of Markdown.

use crate::{ExplainDocument, ExplainedAttribute, ExplainedKnob};

/// One line a knob: its id, and what it does.
#[must_use]
pub fn knobs(explained: &ExplainDocument) -> String {
    explained.knobs.iter().map(|knob| format!("{:<14} {}\n", knob.id, knob.doc)).collect()
}

/// One knob in full.
#[must_use]
pub fn knob(knob: &ExplainedKnob) -> String {
    let mut lines = vec![format!("{} ({})", knob.id, knob.group), format!("  {}", knob.doc), String::new()];
    for attribute in &knob.attributes {
        lines.push(format!("  {} ({})", attribute.name, attribute.kind));
        lines.push(format!("      {}", attribute.doc));
        lines.extend(remarks(attribute).into_iter().map(|remark| format!("      {remark}")));
    }
    lines.push(String::new());
    let changes = format!("{}; takes hold: {}; needs {}", knob.blast, knob.when, knob.needs);
    let (with_it, files) = (knob.side_effects.join(", "), knob.files.join(", "));
    for (what, said) in [
        ("source", &knob.source),
        ("effect", &knob.effect),
        ("undo", &knob.undo),
        ("absent", &knob.absence),
        ("changes", &changes),
        ("with it", &with_it),
        ("files", &files),
    ] {
        if !said.is_empty() {
            lines.push(format!("  {what:<8} {said}"));
        }
    }
    lines.join("\n")
}

fn remarks(attribute: &ExplainedAttribute) -> Vec<String> {
    let mut remarks = Vec::new();
    remarks.extend(attribute.home.as_ref().map(|home| format!("it is {home}")));
    remarks.extend(attribute.effect.as_ref().map(|effect| format!("effect: {effect}")));
    remarks.extend(attribute.absence.as_ref().map(|absence| format!("absent: {absence}")));
    remarks.extend(attribute.excludes.as_ref().map(|other| format!("instead of {other}")));
    remarks
}

/// Every knob, as a page of Markdown: a table of all, then each in full, by group.
#[must_use]
pub fn knobs_markdown(explained: &ExplainDocument) -> String {
    let mut lines = vec![
        "# Knobs".to_owned(),
        String::new(),
        format!(
            "Everything that quell can set or report, {} knobs. Made by `quell tune explain --markdown`; do not edit.",
            explained.knobs.len()
        ),
        String::new(),
    ];
    let mut groups: Vec<&str> = Vec::new();
    for knob in &explained.knobs {
        if !groups.contains(&knob.group.as_str()) {
            groups.push(&knob.group);
        }
    }
    for group in groups {
        lines.push(format!("## {group}"));
        lines.push(String::new());
        lines.push("| knob | attributes | takes hold | changes | source |".to_owned());
        lines.push("|---|---|---|---|---|".to_owned());
        let of_group = || explained.knobs.iter().filter(|knob| knob.group == group);
        lines.extend(of_group().map(row));
        lines.push(String::new());
        of_group().for_each(|knob| section(&mut lines, knob));
    }
    lines.join("\n")
}

fn row(knob: &ExplainedKnob) -> String {
    let names: Vec<String> =
        knob.attributes.iter().map(|attribute| format!("`{}`", attribute.name)).collect();
    let cells = [
        format!("`{}`", knob.id),
        names.join(", "),
        knob.when.clone(),
        knob.blast.clone(),
        cell(&knob.source),
    ];
    format!("| {} |", cells.join(" | "))
}

fn section(lines: &mut Vec<String>, knob: &ExplainedKnob) {
    lines.extend([format!("### {}", knob.id), String::new(), sentence(&knob.doc), String::new()]);
    lines.extend(["| attribute | values | meaning |".to_owned(), "|---|---|---|".to_owned()]);
    for attribute in &knob.attributes {
        let meaning =
            std::iter::once(attribute.doc.clone()).chain(remarks(attribute)).collect::<Vec<_>>().join("; ");
        lines.push(format!("| `{}` | {} | {} |", attribute.name, cell(&attribute.kind), cell(&meaning)));
    }
    lines.push(String::new());
    let files = knob.files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ");
    for (what, said) in [
        ("Effect", knob.effect.clone()),
        ("Undo", knob.undo.clone()),
        ("Absent", knob.absence.clone()),
        ("Needs", knob.needs.clone()),
        ("Put back with it", knob.side_effects.join(", ")),
        ("Files", files),
    ] {
        if !said.is_empty() {
            lines.push(format!("- {what}: {said}"));
        }
    }
    lines.push(String::new());
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), characters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, golden};

    #[test]
    fn texts_are_as_their_golden_files() {
        let explained = example::explain();
        golden("explain-list.txt", &knobs(&explained));
        golden("explain-knob.txt", &knob(&explained.knobs[0]));
        golden("explain.md", &knobs_markdown(&explained));
    }
}
