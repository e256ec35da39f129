//! What `quell tune prove` found, as text.

use super::Style;
use super::page::Page;
use super::table::{Column, Table};
use crate::json::prove::{ProveDocument, ProvedChange, ProvedKnob};
use crate::json::tune::Skipped;

/// The ranking, and what it rests on.
#[must_use]
pub fn prove(prove: &ProveDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    page.headline(&prove.result, None, &found(prove));
    if let Some(reason) = &prove.reason {
        page.text(2, reason);
    }
    if !prove.knobs.is_empty() {
        page.heading("What each knob changes here, with it on");
        page.table(&ranking(prove));
        page.text(2, &terms(prove));
    }
    for figure in &prove.figures {
        if let Some(wanted) = &figure.instead_of {
            let (probe, quantile) = (&figure.probe, &figure.quantile);
            page.text(
                2,
                &format!(
                    "{probe}: a block of {} has too few samples for {wanted}; its {quantile} is compared",
                    prove.block
                ),
            );
        }
    }
    for knob in &prove.knobs {
        if let Some(reason) = &knob.reason {
            page.text(2, &format!("{}: given up: {reason}", knob.knob));
        }
    }
    if !prove.skipped.is_empty() {
        page.heading("Not compared");
        for Skipped { knob, status, reason, .. } in &prove.skipped {
            page.text(2, &format!("{knob}: {status}: {}", reason.as_deref().unwrap_or("no reason given")));
        }
    }
    page.finish()
}

/// The answer in a line.
fn found(prove: &ProveDocument) -> String {
    let of = |verdicts: &[&str]| {
        let them = prove.knobs.iter().filter(|knob| verdicts.contains(&knob.verdict.as_str()));
        them.map(|knob| knob.knob.as_str()).collect::<Vec<_>>()
    };
    let margin = format!("do nothing beyond {} %", prove.margin_percent);
    let groups = [
        (of(&["helps"]), "earn their place"),
        (of(&["hurts"]), "make it worse"),
        (of(&["mixed"]), "improve one figure and worsen another"),
        (of(&["nothing"]), margin.as_str()),
        (of(&["undecided"]), "are undecided"),
    ];
    let told: Vec<String> = groups
        .iter()
        .filter(|(knobs, _)| !knobs.is_empty())
        .map(|(knobs, what)| format!("{} {}", knobs.join(", "), number(knobs.len(), what)))
        .collect();
    if told.is_empty() { "no knob was compared".to_owned() } else { told.join("; ") }
}

/// The words for one knob.
fn number(knobs: usize, what: &str) -> String {
    if knobs > 1 {
        return what.to_owned();
    }
    let one = [
        ("earn their", "earns its"),
        ("make ", "makes "),
        ("improve ", "improves "),
        ("worsen ", "worsens "),
    ];
    let more = [("do nothing", "does nothing"), ("are ", "is ")];
    one.into_iter().chain(more).fold(what.to_owned(), |text, (many, single)| text.replace(many, single))
}

fn ranking(prove: &ProveDocument) -> Table {
    let mut table = Table::new([
        ("knob", Column::Left),
        ("verdict", Column::Left),
        ("figure", Column::Left),
        ("change", Column::Right),
        ("95 % interval", Column::Right),
        ("pairs", Column::Right),
        ("stopped", Column::Flex),
    ]);
    for knob in &prove.knobs {
        for (index, (change, figure)) in knob.changes.iter().zip(&prove.figures).enumerate() {
            let figure =
                format!("{} {}{}", figure.probe, figure.quantile, if change.moved { " *" } else { "" });
            let [name, verdict, pairs, stopped] = if index == 0 { about(knob) } else { Default::default() };
            table.row([
                &name,
                &verdict,
                &figure,
                &percent(change.percent),
                &interval(change),
                &pairs,
                &stopped,
            ]);
        }
    }
    table
}

fn about(knob: &ProvedKnob) -> [String; 4] {
    let void = if knob.void > 0 { format!(", {} void", knob.void) } else { String::new() };
    [knob.knob.clone(), knob.verdict.clone(), knob.pairs.to_string(), format!("{}{void}", knob.stopped)]
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or("-".to_owned(), |percent| format!("{percent:+.1} %"))
}

fn interval(change: &ProvedChange) -> String {
    match (change.low_percent, change.high_percent) {
        (Some(low), Some(high)) => format!("{low:+.1} to {high:+.1} %"),
        _ => "no look yet".to_owned(),
    }
}

fn terms(prove: &ProveDocument) -> String {
    let looks: Vec<String> = prove.looks.iter().map(|look| look.pairs.to_string()).collect();
    format!(
        "A pair is two blocks of {} on CPU {}, one with the knob and one without, in random order (seed {}). Looked after \
         {} pairs; of all knobs one is misjudged in {} % of such runs at most. * made the verdict.",
        prove.block,
        prove.cpus.as_deref().unwrap_or("?"),
        prove.seed,
        looks.join(", "),
        prove.error * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, golden};

    #[test]
    fn the_ranking_is_as_its_golden_file() {
        golden("prove.txt", &prove(&example::prove(), &Style::PLAIN));
        golden("prove-held.txt", &prove(&example::prove_held(), &Style::PLAIN));
    }
}
