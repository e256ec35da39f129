//! `quell.report/1` and its parts as text: the verdict, then channels, budgets, stalls, and what is not
//! known.

use units::{CpuId, Nanos, Quantile};

use super::Style;
use super::page::{Page, Tone};
use super::table::{Column, Table};
use crate::json::keeper::{DriftReport, KeeperReport, RingReport};
use crate::json::lists::{BudgetsDocument, StallsDocument};
use crate::json::report::{
    BudgetReport, BudgetState, Cause, ChannelReport, ClockReport, KnobsReport, Report, SelfReport,
    StallReport, ThreadReport,
};

/// Drift events a report prints, the newest first.
const DRIFT_SHOWN: usize = 5;

/// Stalls a report prints; the list by itself prints all.
const STALLS_SHOWN: usize = 10;

/// The whole report.
#[must_use]
pub fn report(report: &Report, style: &Style) -> String {
    let mut page = Page::new(style);
    headline(&mut page, report);
    origin(&mut page, report);
    clock(&mut page, &report.clock);
    if let Some(measuring) = &report.measuring {
        let kind = if measuring.isolated { "isolated" } else { "not isolated" };
        page.text(0, &format!("measured on CPU {} ({kind}): {}", measuring.cpus, measuring.why));
    }
    channels(&mut page, report);
    evidence(&mut page, &report.channels);
    delays(&mut page, &report.channels);
    if !report.budgets.is_empty() {
        page.heading("Budgets");
        budget_table(&mut page, &report.budgets);
    }
    page.heading(&stalls_title(report.stalls.len(), report.stalls_seen, report.stalls_dropped));
    stall_table(&mut page, &report.stalls, STALLS_SHOWN);
    tuning(&mut page, report);
    kernel_events(&mut page, &report.rings);
    threads(&mut page, &report.threads);
    page.heading("The agent itself");
    page.text(2, &self_cost(&report.self_));
    missing(&mut page, report);
    if !report.notes.is_empty() {
        page.heading("Notes");
        report.notes.iter().for_each(|note| page.text(2, note));
    }
    page.finish()
}

/// A short view that is drawn again and again: the verdict, at most `rows_max` channels (those with the
/// longest maximum), budgets, and the worst stall. Lines without line ends, none longer than the style's
/// width, for whoever moves the cursor.
#[must_use]
pub fn live(report: &Report, style: &Style, rows_max: usize) -> Vec<String> {
    let mut page = Page::cut(style);
    headline(&mut page, report);
    let mut shown: Vec<&ChannelReport> = report.channels.iter().collect();
    shown.sort_by_key(|channel| std::cmp::Reverse(channel.max));
    shown.truncate(rows_max);
    let rows: Vec<&ChannelReport> = report
        .channels
        .iter()
        .filter(|channel| shown.iter().any(|kept| std::ptr::eq(*kept, *channel)))
        .collect();
    page.table(&channel_table(&rows));
    let left_out = report.channels.len() - rows.len();
    if left_out > 0 {
        page.toned(2, &format!("and {left_out} more with shorter maxima"), Some(Tone::Faint));
    }
    if !report.budgets.is_empty() {
        budget_table(&mut page, &report.budgets);
    }
    let seen = report.stalls_seen.unwrap_or(report.stalls.len() as u64);
    page.text(
        2,
        &match report.stalls.first() {
            None => "no stall so far".to_owned(),
            Some(worst) => format!(
                "{seen} stalls, worst {} on CPU {}: {}",
                worst.duration,
                worst.cpu,
                cause(&worst.cause)
            ),
        },
    );
    page.into_lines()
}

/// The budgets by themselves.
#[must_use]
pub fn budgets(document: &BudgetsDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let (word, rest) = budgets_verdict(&document.budgets);
    page.headline(word, Tone::of(word), &format!("{}, {rest}", document.host));
    budget_table(&mut page, &document.budgets);
    page.finish()
}

/// The stalls by themselves.
#[must_use]
pub fn stalls(document: &StallsDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let title = stalls_title(document.stalls.len(), document.stalls_seen, document.stalls_dropped);
    page.text(0, &format!("{}, {}: {title}", document.host, format_args!("{:.0}", document.generated_at)));
    stall_table(&mut page, &document.stalls, usize::MAX);
    page.finish()
}

fn headline(page: &mut Page, report: &Report) {
    let word = report.fitness.state.as_str();
    let reasons = match report.fitness.reasons.is_empty() {
        true => "no reason given".to_owned(),
        false => report.fitness.reasons.join("; "),
    };
    page.headline(word, Tone::of(word), &format!("{}, {reasons}", report.host));
}

fn origin(page: &mut Page, report: &Report) {
    let version = report.agent_version.as_deref().unwrap_or("of unknown version");
    let since = report.started_at.map_or_else(String::new, |started| {
        format!(", measuring for {}", report.generated_at.since(started))
    });
    let boot = report.boot_id.as_deref().unwrap_or("unknown");
    page.text(0, &format!("{:.0}, agent {version}{since}, boot {boot}", report.generated_at));
}

fn clock(page: &mut Page, clock: &ClockReport) {
    #[expect(clippy::cast_precision_loss, reason = "nine digits for reading")]
    let rate = format!("{:.6} GHz", clock.hz as f64 / 1e9);
    let mut parts = vec![format!("clock {} {rate}", clock.source)];
    parts.push(match clock.error_ppb {
        Some(error) => format!("error <= {error} ppb"),
        None => "error bound not known".to_owned(),
    });
    parts.extend(clock.calibrated_over.map(|span| format!("calibrated over {span}")));
    parts.push(match clock.checked {
        Some(true) => "checked against a longer measurement".to_owned(),
        Some(false) => "NOT within its bound on a longer measurement".to_owned(),
        None => "not checked yet".to_owned(),
    });
    parts.push(match clock.skew_bound {
        Some(bound) => format!("CPUs agree within {bound}"),
        None => "agreement of CPUs not known".to_owned(),
    });
    page.text(0, &parts.join(", "));
    for doubt in &clock.doubts {
        page.toned(2, doubt, Some(Tone::Warning));
    }
}

fn channels(page: &mut Page, report: &Report) {
    page.heading(&format!("Latency over the last {:.1} s", report.window_s));
    if report.channels.is_empty() {
        page.text(2, "no channel");
        return;
    }
    let rows: Vec<&ChannelReport> = report.channels.iter().collect();
    page.table(&channel_table(&rows));
    if rows.iter().any(|channel| printed_quantiles(channel).contains(&None)) {
        page.toned(2, &too_few(), Some(Tone::Faint));
    }
    for channel in rows {
        for reason in &channel.degraded {
            page.toned(2, &format!("{}: {reason}", place(&channel.name, channel.cpu)), Some(Tone::Warning));
        }
    }
}

fn printed_quantiles(channel: &ChannelReport) -> [Option<Nanos>; 4] {
    [channel.p50, channel.p99, channel.p99_9, channel.p99_99]
}

fn too_few() -> String {
    let needs = [Quantile::P50, Quantile::P99, Quantile::P99_9, Quantile::P99_99]
        .map(|quantile| format!("{quantile} {}", quantile.samples_min()));
    format!("- stands for a figure with too few samples behind it ({})", needs.join(", "))
}

fn channel_table(channels: &[&ChannelReport]) -> Table {
    let mut table = Table::new([
        ("channel", Column::Flex),
        ("cpu", Column::Right),
        ("count", Column::Right),
        ("p50", Column::Right),
        ("p99", Column::Right),
        ("p99.9", Column::Right),
        ("p99.99", Column::Right),
        ("max", Column::Right),
        ("lost", Column::Right),
    ]);
    for channel in channels {
        let [p50, p99, p99_9, p99_99] = printed_quantiles(channel).map(figure);
        let (cpu, count) = (number(channel.cpu), count(channel.count));
        let (max, dropped) = (figure(channel.max), self::count(channel.dropped));
        table.row([&channel.name, &cpu, &count, &p50, &p99, &p99_9, &p99_99, &max, &dropped]);
    }
    table
}

/// What stands behind the figures: what the probe costs, what was due and came too late, how sure p99 is.
fn evidence(page: &mut Page, channels: &[ChannelReport]) {
    if channels.is_empty() {
        return;
    }
    page.heading("Behind these figures (due, missed and max since the start)");
    let mut table = Table::new([
        ("channel", Column::Flex),
        ("cpu", Column::Right),
        ("floor", Column::Right),
        ("due", Column::Right),
        ("missed", Column::Right),
        ("p99, 95 % sure", Column::Left),
        ("max", Column::Right),
    ]);
    for channel in channels {
        let amount = |amount: Option<u64>| amount.map_or_else(absent, count);
        let interval = channel.p99_interval.map_or_else(absent, |(low, high)| format!("{low} to {high}"));
        let (cpu, floor) = (number(channel.cpu), figure(channel.floor));
        let (due, late) = (amount(channel.scheduled), amount(channel.corrected));
        let max = figure(channel.total_max);
        table.row([&channel.name, &cpu, &floor, &due, &late, &interval, &max]);
    }
    page.table(&table);
}

/// The law of delay, for channels that have one.
fn delays(page: &mut Page, channels: &[ChannelReport]) {
    if channels.iter().all(|channel| channel.delay.is_empty()) {
        return;
    }
    page.heading("Chance that an arrival at a random instant waits longer than");
    for channel in channels.iter().filter(|channel| !channel.delay.is_empty()) {
        let points: Vec<String> = channel
            .delay
            .iter()
            .map(|point| format!("{} with {}", point.longer_than, chance(point.probability)))
            .collect();
        page.text(2, &format!("{}: {}", place(&channel.name, channel.cpu), points.join(", ")));
    }
}

fn chance(probability: f64) -> String {
    if probability > 0.0 { format!("{probability:.1e}") } else { "0".to_owned() }
}

fn budgets_verdict(budgets: &[BudgetReport]) -> (&'static str, String) {
    let all = budgets.len();
    let with = |wanted: fn(BudgetState) -> bool| budgets.iter().filter(|budget| wanted(budget.state)).count();
    let breached = with(BudgetState::is_breach);
    let unknown = with(|state| state == BudgetState::Unknown);
    let pending = with(|state| state == BudgetState::Pending);
    match (all, breached, unknown, pending) {
        (0, ..) => ("unknown", "no budget is set".to_owned()),
        (_, 1.., ..) => ("breached", format!("{breached} of {all} budgets breached")),
        (_, _, _, 1..) => ("pending", format!("{pending} of {all} budgets missed, not yet for long enough")),
        (_, _, 1.., _) => ("unknown", format!("{unknown} of {all} budgets have too few samples")),
        _ => ("ok", format!("{all} of {all} budgets met")),
    }
}

fn budget_table(page: &mut Page, budgets: &[BudgetReport]) {
    let mut table = Table::new([
        ("state", Column::Left),
        ("budget", Column::Left),
        ("channel", Column::Flex),
        ("value", Column::Right),
        ("terms", Column::Left),
    ]);
    let mut budgets: Vec<&BudgetReport> = budgets.iter().collect();
    budgets.sort_by_key(|budget| urgency(budget.state));
    for budget in &budgets {
        let limit = format!("<= {}", budget.limit);
        let terms = budget.terms.as_deref().unwrap_or(&limit);
        let place = place(&budget.channel, budget.cpu);
        table.row([budget.state.as_str(), &budget.name, &place, &figure(budget.value), terms]);
    }
    page.table(&table);
    for budget in budgets.into_iter().filter(|budget| budget.state != BudgetState::Ok) {
        page.text(4, &budget_detail(budget));
    }
}

/// What the reader has to see first.
fn urgency(state: BudgetState) -> u8 {
    match state {
        BudgetState::Breached => 0,
        BudgetState::Resolving => 1,
        BudgetState::Pending => 2,
        BudgetState::Unknown => 3,
        BudgetState::Ok => 4,
    }
}

fn budget_detail(budget: &BudgetReport) -> String {
    let place = place(&budget.channel, budget.cpu);
    let exceeded = budget.exceeded.map_or_else(String::new, |exceeded| {
        format!(", {exceeded} of {} samples above {}", budget.samples, budget.limit)
    });
    let missing = budget.missing_for.map_or_else(String::new, |span| format!(", too few samples for {span}"));
    let state = budget.state.as_str();
    format!("{} on {place}: {state} since {:.0}{exceeded}{missing}", budget.name, budget.since)
}

fn stalls_title(kept: usize, seen: Option<u64>, dropped: Option<u64>) -> String {
    let seen = seen.unwrap_or(kept as u64);
    let dropped = match dropped {
        Some(dropped @ 1..) => format!(", {dropped} of them no longer kept"),
        _ => String::new(),
    };
    match seen {
        0 => "No stall".to_owned(),
        1 => "One stall".to_owned(),
        _ => format!("{seen} stalls{dropped}"),
    }
}

fn stall_table(page: &mut Page, stalls: &[StallReport], shown: usize) {
    if stalls.is_empty() {
        return;
    }
    let mut table = Table::new([
        ("at", Column::Left),
        ("cpu", Column::Right),
        ("duration", Column::Right),
        ("cause", Column::Flex),
    ]);
    for stall in stalls.iter().take(shown) {
        let at = format!("{:.3}", stall.at);
        table.row([&at, &stall.cpu.to_string(), &stall.duration.to_string(), &cause(&stall.cause)]);
    }
    page.table(&table);
    if stalls.len() > shown {
        page.toned(2, &format!("and {} more", stalls.len() - shown), Some(Tone::Faint));
    }
}

fn cause(cause: &Cause) -> String {
    let who = cause.who.as_deref().map_or_else(String::new, |who| format!(" {who}"));
    let evidence = cause.evidence.as_deref().map_or_else(String::new, |evidence| format!(" ({evidence})"));
    format!("{}{who}{evidence}", cause.kind)
}

/// What the host is held to, by whom, and what strayed.
fn tuning(page: &mut Page, report: &Report) {
    if report.knobs.is_none() && report.keeper.is_none() {
        return;
    }
    page.heading("Tuning");
    if let Some(keeper) = &report.keeper {
        page.text(2, &keeper_line(keeper, report.knobs.as_ref()));
    }
    if let Some(knobs) = &report.knobs {
        let profile = knobs.profile.as_deref().unwrap_or("none");
        let checked = knobs.checked_at.map_or_else(String::new, |at| format!(", checked {at:.0}"));
        page.text(2, &format!("profile {profile}: {}{checked}", counts(knobs)));
    }
    for event in report.drift.iter().rev().take(DRIFT_SHOWN) {
        page.text(2, &drift_line(event));
    }
}

/// As in "held to colo: 31 ok, 1 drifted; 4 drifts, 3 repaired, 1 fight since ...".
fn keeper_line(keeper: &KeeperReport, knobs: Option<&KnobsReport>) -> String {
    if !keeper.connected {
        let problem = keeper.problem.as_ref().map_or_else(String::new, |problem| format!(" ({problem})"));
        return format!("no keeper: measuring only{problem}");
    }
    let Some(profile) = &keeper.profile else {
        return "the keeper holds this host to no profile".to_owned();
    };
    let counts = knobs.map_or_else(|| "nothing checked".to_owned(), counts);
    let not_applied = match (keeper.applied, &keeper.reason) {
        (Some(false), Some(reason)) => format!("; NOT applied: {reason}"),
        (Some(false), None) => "; NOT applied".to_owned(),
        _ => String::new(),
    };
    let trial = keeper.confirm_left_s.map(|left| format!("; undone in {left} s unless confirmed"));
    let number = |count: Option<u64>| count.unwrap_or_default();
    let (drifted, repaired, fights) =
        (number(keeper.drifted), number(keeper.repaired), number(keeper.fights));
    format!(
        "held to {profile}: {counts}{not_applied}; {drifted} drifts seen, {repaired} repaired, {fights} fights given up{}",
        trial.unwrap_or_default()
    )
}

fn counts(knobs: &KnobsReport) -> String {
    let known: Vec<String> = knobs
        .counts
        .by_word()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    if known.is_empty() { "nothing checked".to_owned() } else { known.join(", ") }
}

fn drift_line(event: &DriftReport) -> String {
    let DriftReport { knob, attribute, want, found, action, .. } = event;
    let by = event
        .writer
        .as_ref()
        .map_or_else(|| "somebody".to_owned(), |w| format!("{} (pid {})", w.comm, w.pid));
    let after = event.repaired_ns.map(|repaired| format!(" after {}", repaired - event.seen_ns));
    let after = after.unwrap_or_default();
    let identity = event.identity.as_ref().map_or_else(String::new, |identity| format!(" {identity}"));
    format!("{:.3} {knob} {attribute}{identity}: {want} became {found} by {by}, {action}{after}", event.at)
}

/// What the kernel itself counts as having happened on each CPU: every kind that happened anywhere.
fn kernel_events(page: &mut Page, rings: &[RingReport]) {
    if rings.is_empty() {
        return;
    }
    page.heading("Kernel events (in the window, and since reading began)");
    let mut table = Table::new([
        ("cpu", Column::Right),
        ("kind", Column::Flex),
        ("window", Column::Right),
        ("total", Column::Right),
    ]);
    for ring in rings {
        for kind in ring.by_kind.iter().filter(|kind| kind.total > 0) {
            table.row([&ring.cpu.to_string(), &kind.kind, &count(kind.window), &count(kind.total)]);
        }
    }
    page.table(&table);
    for ring in rings.iter().filter(|ring| ring.lost + ring.unknown > 0) {
        let (lost, unknown) = (count(ring.lost), count(ring.unknown));
        let line = format!("CPU {}: {lost} events lost, {unknown} not understood", ring.cpu);
        page.toned(2, &line, Some(Tone::Warning));
    }
}

fn threads(page: &mut Page, threads: &[ThreadReport]) {
    if threads.is_empty() {
        return;
    }
    page.heading("Threads");
    let mut table = Table::new([
        ("name", Column::Flex),
        ("cpus", Column::Right),
        ("policy", Column::Left),
        ("priority", Column::Right),
        ("cpu time", Column::Right),
        ("preempted", Column::Right),
    ]);
    for thread in threads {
        let cpus = thread.cpus.clone().unwrap_or_else(|| number(thread.cpu));
        let priority = thread.priority.map_or_else(absent, |priority| priority.to_string());
        let time = thread.cpu_time_s.map_or_else(absent, |time| format!("{time:.2} s"));
        let preempted = thread.switches_involuntary.map_or_else(absent, |n| n.to_string());
        table.row([&thread.name, &cpus, &thread.policy, &priority, &time, &preempted]);
    }
    page.table(&table);
    for thread in threads {
        for refusal in &thread.refused {
            page.toned(2, &format!("{}: {refusal}", thread.name), Some(Tone::Warning));
        }
    }
}

fn self_cost(cost: &SelfReport) -> String {
    let memory = cost.rss_bytes.map(|bytes| {
        let part = |part: Option<u64>, what: &str| part.map(|bytes| format!("{} {what}", mebibytes(bytes)));
        let parts: Vec<String> = part(cost.rss_anon_bytes, "anonymous")
            .into_iter()
            .chain(part(cost.rss_file_bytes, "of files"))
            .collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("{} resident{parts}", mebibytes(bytes))
    });
    let locked = cost.memory_locked.map(|locked| if locked { "locked" } else { "not locked" }.to_owned());
    let cpu = cost.cpu_s.map(|seconds| format!("{seconds:.2} s CPU"));
    let wakeups = cost.wakeups.map(|wakeups| format!("{wakeups} wake-ups"));
    let known: Vec<String> = [memory, locked, cpu, wakeups].into_iter().flatten().collect();
    if known.is_empty() { "cost not known".to_owned() } else { known.join(", ") }
}

#[expect(clippy::cast_precision_loss, reason = "one decimal for reading")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn missing(page: &mut Page, report: &Report) {
    if report.missing.is_empty() {
        return;
    }
    page.heading("Not known on this host");
    for missing in &report.missing {
        page.text(2, &format!("{}: {}", missing.what, missing.why));
        if let Some(fix) = &missing.fix {
            page.text(4, &format!("to know it: {fix}"));
        }
    }
}

fn place(channel: &str, cpu: Option<CpuId>) -> String {
    cpu.map_or_else(|| channel.to_owned(), |cpu| format!("{channel} cpu {cpu}"))
}

fn absent() -> String {
    "-".to_owned()
}

fn number(cpu: Option<CpuId>) -> String {
    cpu.map_or_else(absent, |cpu| cpu.to_string())
}

fn figure(value: Option<Nanos>) -> String {
    value.map_or_else(absent, |value| value.to_string())
}

/// Exact up to seven digits, then three significant ones, cut and not rounded.
fn count(count: u64) -> String {
    match count {
        0..10_000_000 => count.to_string(),
        10_000_000..1_000_000_000 => scaled(count, 100_000, "M"),
        _ => scaled(count, 100_000_000, "G"),
    }
}

fn scaled(count: u64, tenth: u64, unit: &str) -> String {
    let tenths = count / tenth;
    match tenths {
        0..1_000 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, golden};
    use crate::json::report::{ChannelReport, FitnessState};

    #[test]
    fn reports_read_as_their_golden_files() {
        golden("report.txt", &report(&example::report(), &Style::PLAIN));
        golden("report-bare.txt", &report(&example::bare(), &Style::PLAIN));
        golden("report-100-colour.txt", &report(&example::report(), &Style { colour: true, width: 100 }));
        let example = example::report();
        golden("budgets.txt", &budgets(&BudgetsDocument::from(&example), &Style::PLAIN));
        golden("stalls.txt", &stalls(&StallsDocument::from(&example), &Style::PLAIN));
        golden("live.txt", &(live(&example, &Style::PLAIN, 3).join("\n") + "\n"));
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        let hostile = ChannelReport { name: "x".repeat(64), ..example::report().channels[0].clone() };
        let mut wide = example::report();
        wide.channels.push(hostile);
        wide.notes.push("y".repeat(500));
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
        for width in [80, 100, 200] {
            let text = report(&wide, &Style { colour: false, width });
            assert!(widest(&text) <= width, "{width}:\n{text}");
        }
        for width in [40, 57, 80] {
            let text = live(&wide, &Style { colour: false, width }, 10).join("\n");
            assert!(widest(&text) <= width, "{width}:\n{text}");
        }
    }

    #[test]
    fn a_hostile_document_sends_the_terminal_nothing() {
        let json = example::report().to_json().replace("timer-wakeup", "\\u001b]0;owned\\u0007\\n");
        let hostile = Report::from_json(&json.replace("example-01", "\\u009b2J\\u202e")).unwrap();
        let style = Style::PLAIN;
        let text = report(&hostile, &style)
            + &live(&hostile, &style, 9).join("\n")
            + &budgets(&BudgetsDocument::from(&hostile), &style)
            + &stalls(&StallsDocument::from(&hostile), &style);
        assert!(text.contains("\\u{1b}]0;owned"));
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'));
    }

    #[test]
    fn counts() {
        let texts = [0, 9_999_999, 10_000_000, 123_456_789, 890_999_999, 12_345_678_901].map(count);
        assert_eq!(texts, ["0", "9999999", "10.0 M", "123 M", "890 M", "12.3 G"]);
    }

    #[track_caller]
    fn check(states: &[BudgetState], expected: &str) {
        let one = &example::report().budgets[0];
        let budgets: Vec<BudgetReport> =
            states.iter().map(|state| BudgetReport { state: *state, ..one.clone() }).collect();
        let (word, rest) = budgets_verdict(&budgets);
        assert_eq!(format!("{word}: {rest}"), expected);
    }

    #[test]
    fn the_worst_budget_leads() {
        use BudgetState::{Breached, Ok, Pending, Resolving, Unknown};
        check(&[Ok, Ok], "ok: 2 of 2 budgets met");
        check(&[Ok, Unknown], "unknown: 1 of 2 budgets have too few samples");
        check(&[Pending, Unknown], "pending: 1 of 2 budgets missed, not yet for long enough");
        check(&[Ok, Breached, Resolving], "breached: 2 of 3 budgets breached");
        check(&[], "unknown: no budget is set");
    }

    #[test]
    fn a_word_from_a_later_version_is_unknown_and_not_fit() {
        let json = example::report().to_json().replace("\"state\":\"degraded\"", "\"state\":\"splendid\"");
        assert_eq!(Report::from_json(&json).unwrap().fitness.state, FitnessState::Unknown);
    }
}
