//! `quell report`, `quell budgets`, `quell stalls`: what the running agent knows.

use report::{BudgetsDocument, Exit, FitnessState, JsonError, Report, StallsDocument, text};

use crate::cli::Reading;
use crate::failure::Failure;
use crate::{client, output};

/// The report; whoever wants a yes or no asks for the budgets.
pub fn report(options: &Reading) -> Result<Exit, Failure> {
    let body = client::get(&options.socket, "/v1/report")?;
    let report = Report::from_json(&body).map_err(|problem| not_ours(options, &problem))?;
    output::print(&if options.json { body } else { text::report(&report, &output::style()) })?;
    Ok(match report.fitness.state {
        FitnessState::Fit | FitnessState::Unknown => Exit::Yes,
        FitnessState::Degraded | FitnessState::Quarantined => Exit::No,
    })
}

/// The budgets; no when one is breached.
pub fn budgets(options: &Reading) -> Result<Exit, Failure> {
    let body = client::get(&options.socket, "/v1/budgets")?;
    let document = BudgetsDocument::from_json(&body).map_err(|problem| not_ours(options, &problem))?;
    output::print(&if options.json { body } else { text::budgets(&document, &output::style()) })?;
    let breached = document.budgets.iter().any(|budget| budget.state.is_breach());
    Ok(if breached { Exit::No } else { Exit::Yes })
}

/// The stalls.
pub fn stalls(options: &Reading) -> Result<Exit, Failure> {
    let body = client::get(&options.socket, "/v1/stalls")?;
    let document = StallsDocument::from_json(&body).map_err(|problem| not_ours(options, &problem))?;
    output::print(&if options.json { body } else { text::stalls(&document, &output::style()) })?;
    Ok(Exit::Yes)
}

fn not_ours(options: &Reading, problem: &JsonError) -> Failure {
    Failure::no_answer(&options.socket, &problem.to_string())
}
