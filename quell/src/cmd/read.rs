//! `quell report`, `quell budgets`, `quell stalls`: what the running agent knows.

use report::{BudgetState, BudgetsDocument, Exit, FitnessState, JsonError, Report, StallsDocument, text};

use crate::cli::Reading;
use crate::failure::Failure;
use crate::{client, output};

/// The report; yes when the host is fit, and only then: what is not known is no yes.
pub fn report(options: &Reading) -> Result<Exit, Failure> {
    let body = client::get(&options.socket, "/v1/report")?;
    let report = Report::from_json(&body).map_err(|problem| not_ours(options, &problem))?;
    output::print(&if options.json { body } else { text::report(&report, &output::style()) })?;
    Ok(match report.fitness.state {
        FitnessState::Fit => Exit::Yes,
        FitnessState::Unknown | FitnessState::Degraded | FitnessState::Quarantined => Exit::No,
    })
}

/// The budgets; yes when each one is met, or missed too shortly to be a breach.
pub fn budgets(options: &Reading) -> Result<Exit, Failure> {
    let body = client::get(&options.socket, "/v1/budgets")?;
    let document = BudgetsDocument::from_json(&body).map_err(|problem| not_ours(options, &problem))?;
    output::print(&if options.json { body } else { text::budgets(&document, &output::style()) })?;
    let met = |state: BudgetState| matches!(state, BudgetState::Ok | BudgetState::Pending);
    let all_met = !document.budgets.is_empty() && document.budgets.iter().all(|budget| met(budget.state));
    Ok(if all_met { Exit::Yes } else { Exit::No })
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
