//! `quell tune explain`: the registry in words.

use report::{Exit, ExplainDocument, ExplainedAttribute, ExplainedKnob, text};
use sys_tuning::registry::{self, Absence, Attribute, Home, Knob, Meaning, SideEffect, Sign};

use super::given;
use crate::cli::Tune;
use crate::failure::Failure;
use crate::output;

/// Explains one knob or all, or what a plan is held against.
pub fn run(options: &Tune, id: Option<&str>, markdown: bool) -> Result<Exit, Failure> {
    if let Some(told) = rules(id) {
        output::print(&told)?;
        return Ok(Exit::Yes);
    }
    let knobs: Vec<&Knob> = match id {
        None => registry::all().to_vec(),
        Some(id) => vec![registry::find(id).ok_or_else(|| unknown(id))?],
    };
    let document =
        ExplainDocument { knobs: knobs.into_iter().map(explained).collect(), ..ExplainDocument::default() };
    let told = match (options.json, markdown, id) {
        (true, ..) => document.to_json(),
        (false, true, _) => text::knobs_markdown(&document),
        (false, false, None) => text::knobs(&document),
        (false, false, Some(_)) => document.knobs.iter().map(text::knob).collect(),
    };
    output::print(&told)?;
    Ok(Exit::Yes)
}

/// The rules of that name; every one for `contradictions`; `None` for anything else.
fn rules(id: Option<&str>) -> Option<String> {
    let id = id?;
    let rules = sys_tuning::contradiction_rules().filter(|(name, _)| id == "contradictions" || *name == id);
    let lines: Vec<String> = rules.map(|(name, doc)| format!("{name}\n    {doc}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn unknown(id: &str) -> Failure {
    let known = registry::all().iter().map(|knob| knob.id);
    let hint = units::nearest(id, known)
        .map_or("see `quell tune explain`".to_owned(), |near| format!("did you mean {near}?"));
    Failure::new(Exit::Usage, format!("{id}: no such knob; {hint}"))
}

fn explained(knob: &Knob) -> ExplainedKnob {
    ExplainedKnob {
        id: knob.id.to_owned(),
        group: knob.group.to_string(),
        doc: knob.doc.to_owned(),
        attributes: knob.attributes.iter().map(attribute).collect(),
        source: knob.source.to_owned(),
        needs: knob.needs.to_string(),
        when: knob.when.to_string(),
        blast: knob.blast.to_string(),
        absence: absence(knob.absence),
        effect: knob.effect.to_owned(),
        undo: knob.undo.to_owned(),
        side_effects: knob.side_effects.iter().map(side_effect).collect(),
        files: knob.files().into_iter().map(Into::into).collect(),
    }
}

fn attribute(attribute: &Attribute) -> ExplainedAttribute {
    ExplainedAttribute {
        name: attribute.name.to_owned(),
        kind: attribute.kind.to_string(),
        doc: attribute.doc.to_owned(),
        excludes: attribute.excludes.map(str::to_owned),
        home: given(&home(attribute.home)),
        effect: given(&sign(attribute.sign)),
        absence: attribute.absence.map(absence),
    }
}

fn side_effect(effect: &SideEffect) -> String {
    format!("{} {}: {}", effect.of.id, effect.attribute, effect.doc)
}

fn home(home: Home) -> String {
    match home {
        Home::Knob => String::new(),
        Home::Sysctl(name) => format!("the variable {name}"),
        Home::File(path) => path.to_owned(),
        Home::Each(pattern) => format!("each {pattern}"),
        Home::Chooser => "which CPUs the other attributes are set on".to_owned(),
        Home::Argument(parameter) => format!("the boot argument {parameter}="),
        Home::Switch(parameter) => format!("the boot argument {parameter}"),
        Home::Firmware(_) => "set by hand in the firmware's set-up, and inferred".to_owned(),
        Home::Elsewhere(other) => format!("reported only: {}", other.remedy),
    }
}

fn sign(of: Sign) -> String {
    match of {
        Sign::Itself | Sign::Told(_) => String::new(),
        Sign::All(signs) => signs.iter().map(|one| sign(*one)).collect::<Vec<_>>().join("; "),
        Sign::Shown(path) => format!("{path} shows the value too"),
        Sign::Means(meanings) => meanings.iter().map(meaning).collect::<Vec<_>>().join(", "),
        Sign::Flat(flat) => {
            format!(
                "over a window, these counters stay as they are while it is {1}: {0}",
                flat.counters.join(", "),
                flat.of.join(" or ")
            )
        }
        Sign::Lacks(path) => format!("{path} has none of these CPUs"),
    }
}

fn meaning(meaning: &Meaning) -> String {
    let of = if meaning.of.is_empty() { String::new() } else { format!("{}: ", meaning.of) };
    match meaning.shows {
        Some(text) => format!("{of}{} shows {text}", meaning.path),
        None => format!("{of}{} is not there", meaning.path),
    }
}

fn absence(absence: Absence) -> String {
    match absence {
        Absence::NotApplicable(reason) => format!("not-applicable: {reason}"),
        Absence::Satisfied(reason) => format!("satisfied: {reason}"),
        Absence::Missing(reason) => format!("missing: {reason}"),
    }
}
