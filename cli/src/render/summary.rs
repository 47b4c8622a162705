use super::{Renderer, event::denial};
use crate::{
    neutral,
    screen::{Look, Screen, Tint},
};
use cordon_proto::v1::{AgentSummary, Outcome, RunSummary, UsageEvent};
use std::io::{self, Write};

pub(super) fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "succeeded",
        Outcome::AgentFailed => "failed",
        Outcome::Refused => "was refused",
        Outcome::Cancelled => "was cancelled",
        Outcome::TimedOut => "ran out of time",
        Outcome::Broken => "broke: Cordon itself had trouble",
        Outcome::Unspecified => "ended without an outcome",
    }
}

pub(super) fn show(
    run: &Renderer,
    outcome: Outcome,
    summary: Option<&RunSummary>,
    screen: &mut Screen<impl Write>,
) -> io::Result<()> {
    let tint = if outcome == Outcome::Success { Tint::Green } else { Tint::Red };
    let time = summary.map(|s| format!(" after {}", duration(s.wall_ms))).unwrap_or_default();
    screen.own(Some(tint), &format!("the run {}{time}", words(outcome)))?;
    let Some(summary) = summary else { return Ok(()) };

    let files = summary.files.len() as u64 + summary.files_omitted;
    screen.own(None, &format!("files changed: {files}"))?;
    for file in &summary.files {
        screen.own(None, &format!("  {:9} {}", neutral::word(&file.change), neutral::path(&file.path)))?;
    }
    if summary.files_omitted > 0 {
        screen.own(None, &format!("  and {} more", summary.files_omitted))?;
    }

    screen.own(None, &format!("denied: {}", summary.denials))?;
    for (agent, kept, count) in &run.denials {
        let times = if *count > 1 { format!("{count} times: ") } else { String::new() };
        let text = denial(kept).replace('\n', "\n    ");
        screen.own(Some(Tint::Yellow), &format!("  {}{times}{text}", run.about(agent)))?;
    }
    if run.denials_left_out > 0 {
        screen.own(None, &format!("  and {} more", run.denials_left_out))?;
    }
    if let Some(used) = &summary.usage {
        screen.own(None, &usage(used))?;
    }
    if summary.agents.len() < 2 {
        return Ok(());
    }
    rows(&summary.agents, screen)
}

/// A row for each agent.
fn rows(agents: &[AgentSummary], screen: &mut Screen<impl Write>) -> io::Result<()> {
    const HEADING: [&str; 8] = ["AGENT", "OUTCOME", "TURNS", "IN", "CACHED", "OUT", "TIME", "FILES"];
    let costs = agents.iter().any(|a| a.usage.is_some_and(|u| u.cost_usd.is_some()));
    let row = |a: &AgentSummary| {
        let tokens = |of: fn(&UsageEvent) -> u64| a.usage.as_ref().map_or("-".to_owned(), |u| grouped(of(u)));
        let mut cells = vec![
            neutral::word(&a.id),
            crate::json::outcome(a.outcome()).to_owned(),
            a.turns.to_string(),
            tokens(|u| u.input_tokens),
            tokens(|u| u.cached_input_tokens),
            tokens(|u| u.output_tokens),
            duration(a.wall_ms),
            a.files_changed.to_string(),
        ];
        if costs {
            let cost = a.usage.as_ref().and_then(|u| u.cost_usd);
            cells.push(cost.map_or("-".to_owned(), |cost| format!("{cost:.4}")));
        }
        cells
    };
    let rows: Vec<_> = agents.iter().map(row).collect();
    let mut heading = HEADING.to_vec();
    if costs {
        heading.push("USD");
    }
    // Behind Cordon's mark, which wraps what is too long.
    let plain = Look { colour: false, columns: None };
    for line in super::table::render(&heading, &rows, plain).lines() {
        screen.own(None, line)?;
    }
    let why = agents.iter().filter(|a| !a.message.is_empty());
    for agent in why {
        let (id, message) = (neutral::word(&agent.id), neutral::text(agent.message.as_bytes()));
        screen.own(Some(Tint::Red), &format!("{id} {}: {message}", words(agent.outcome())))?;
    }
    Ok(())
}

/// The end of one turn of a conversation.
pub(super) fn line(
    outcome: Outcome,
    summary: Option<&RunSummary>,
    screen: &mut Screen<impl Write>,
) -> io::Result<()> {
    let Some(summary) = summary else { return screen.own(Some(Tint::Red), words(outcome)) };
    let mut text = duration(summary.wall_ms);
    match summary.files.len() as u64 + summary.files_omitted {
        0 => {}
        files => text += &format!("; {} changed", super::table::count(files, "file")),
    }
    if summary.denials > 0 {
        text += &format!("; denied: {}", summary.denials);
    }
    if let Some(used) = &summary.usage {
        text += &format!("; {}", usage(used));
    }
    match outcome {
        Outcome::Success => screen.own(Some(Tint::Dim), &text),
        Outcome::Cancelled => screen.own(Some(Tint::Yellow), &format!("interrupted; {text}")),
        other => screen.own(Some(Tint::Red), &format!("the turn {}; {text}", words(other))),
    }
}

pub(crate) fn usage(used: &UsageEvent) -> String {
    let mut text = format!("tokens: {} in", grouped(used.input_tokens));
    if used.cached_input_tokens > 0 {
        text += &format!(" ({} cached)", grouped(used.cached_input_tokens));
    }
    text += &format!(", {} out", grouped(used.output_tokens));
    if used.reasoning_tokens > 0 {
        text += &format!(" ({} reasoning)", grouped(used.reasoning_tokens));
    }
    if let Some(cost) = used.cost_usd {
        text += &format!("; {cost:.4} USD");
    }
    text
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([7, 1234, 61_000, 7_260_000].map(duration), ["7 ms", "1.2 s", "1 min 1 s", "2 h 1 min"]);
    }
}
