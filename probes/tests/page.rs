//! docs/probes.md is what the catalogue says; `QUELL_BLESS=1` renews it.

use probes::{About, DEFAULT_PROBES, PROBES};

const OPENING: &str = "# Probes

What each probe measures, needs and costs, and what its numbers do not say. Each is a channel of the report, \
for each measured CPU, by its name; a budget, `--probe` and `measure.probes` use the same names.

Probes on one CPU take turns in a cycle of 100 ms, so that they never disturb each other: a probe alone has \
the whole cycle. Those that time calls in bursts tell what two readings of the clock with nothing between them \
take as their floor, and a burst that took long is followed by a pause as long, so that no probe has more than \
half of a CPU. Costs are of a virtual machine with two CPUs.
";

fn section(about: &About) -> String {
    let when =
        if DEFAULT_PROBES.contains(&about.kind) { "unless others are named" } else { "when it is named" };
    format!(
        "\n## {}\n\n- Measures ({}): {}\n- Runs: {when}\n- Needs: {}\n- Costs: {}\n- Does not say: {}\n",
        about.name, about.unit, about.measures, about.needs, about.cost, about.silent_on
    )
}

#[test]
fn the_page_of_probes_is_what_the_catalogue_says() {
    let told = OPENING.to_owned() + &PROBES.iter().map(section).collect::<String>();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/probes.md");
    if std::env::var_os("QUELL_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a page of the repository")]
        std::fs::write(page, &told).unwrap();
    }
    assert!(
        std::fs::read_to_string(page).unwrap() == told,
        "docs/probes.md is of another catalogue (QUELL_BLESS=1)"
    );
}
