//! One advice with everything: evidence, what it would have saved, and the commands to copy. Knows neither an agent nor a clock.

use collector_core::action::{Action, Object};
use collector_core::api::suggestions::{AdviceLine, AdviceStatus};

use super::page::{INDENT, became, certainty, danger};
use crate::cli::sheet::{Line, Paint, left, paragraph, right};
use crate::zone;

/// One advice with everything.
pub fn one(line: &AdviceLine, now: u64, width: usize, utc: bool, colour: bool) -> String {
    let mut lines = about(line, now, width, utc);
    lines.push(Line::default());
    let many = line.advice.actions.len() > 1;
    let head = if many { "What to do: any one of these; the first fits best" } else { "What to do" };
    lines.push(Line::new(Paint::Bold, head));
    let mut text: String = lines.iter().map(|line| line.render(width, colour) + "\n").collect();
    for (index, action) in line.advice.actions.iter().enumerate() {
        let number = many.then_some(index + 1);
        // What is copied is not cut.
        text.extend(change(number, action, width).iter().map(|line| line.render(usize::MAX, colour) + "\n"));
    }
    text
}

/// All about it but what to do.
pub fn about(line: &AdviceLine, now: u64, width: usize, utc: bool) -> Vec<Line> {
    let advice = &line.advice;
    let mut lines = paragraph(Paint::Bold, 0, &advice.title, width);
    lines.push(Line::new(Paint::Dim, &advice.id));
    match line.state {
        AdviceStatus::Holds => {
            lines.push(Line::new(Paint::Dim, format!("holds since {}", zone::clock(line.since, utc))));
        }
        AdviceStatus::Followed | AdviceStatus::Gone => {
            lines.extend(paragraph(Paint::Yellow, 0, &became(line, now), width));
        }
    }
    lines.push(Line::default());
    lines.extend(paragraph(Paint::Plain, 0, &advice.why, width));
    if !advice.evidence.is_empty() {
        lines.extend([Line::default(), Line::new(Paint::Bold, "Evidence")]);
        lines.extend(evidence(line, width));
    }
    if let Some(saves) = &advice.saves {
        let saved = saves.sentence().unwrap_or_else(|| "not known how much".to_owned());
        lines.extend([Line::default(), Line::new(Paint::Bold, "Would have saved")]);
        lines.extend(paragraph(Paint::Plain, INDENT, &saved, width));
        if !saves.assuming.is_empty() {
            lines.extend(paragraph(Paint::Dim, INDENT, &format!("assuming: {}", saves.assuming), width));
        }
    }
    lines.push(Line::default());
    let sure = Line::new(Paint::Bold, "Confidence ").and(certainty(advice.confidence), advice.confidence.label());
    lines.push(sure);
    lines.extend(paragraph(Paint::Plain, INDENT, &advice.because, width));
    lines.push(
        Line::new(Paint::Bold, "Risk ")
            .and(danger(advice.risk), advice.risk.label())
            .and(Paint::Plain, format!(": {}", advice.risk.meaning())),
    );
    lines
}

/// What, how much, and where from. Sentences give way to numbers.
fn evidence(line: &AdviceLine, width: usize) -> Vec<Line> {
    let rows: Vec<(&str, String, &str)> =
        line.advice.evidence.iter().map(|it| (&*it.what, it.amount(), it.origin.label())).collect();
    let amounts = rows.iter().map(|(_, amount, _)| amount.chars().count()).max().unwrap_or(0);
    let origins = rows.iter().map(|(.., origin)| origin.len()).max().unwrap_or(0);
    let whats = rows.iter().map(|(what, ..)| what.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(INDENT + 2 + amounts + 2 + origins).clamp(12, 60).min(whats.max(12));
    let row = |(what, amount, origin): &(&str, String, &str)| {
        let mut words = paragraph(Paint::Plain, 0, what, room).into_iter();
        let first: String =
            words.next().into_iter().flat_map(|line| line.parts().to_vec()).map(|(_, text)| text).collect();
        let first = Line::new(Paint::Plain, format!("{}{}  ", " ".repeat(INDENT), left(&first, room)))
            .and(Paint::Plain, right(amount, amounts))
            .and(Paint::Dim, format!("  {origin}"));
        let rest = words.map(|line| {
            let text: String = line.parts().iter().map(|(_, text)| text.as_str()).collect();
            Line::new(Paint::Plain, format!("{}{text}", " ".repeat(INDENT)))
        });
        std::iter::once(first).chain(rest).collect::<Vec<_>>()
    };
    rows.iter().flat_map(row).collect()
}

/// A change: what is set, the commands, and how it is undone.
pub fn change(number: Option<usize>, action: &Action, width: usize) -> Vec<Line> {
    let number = number.map_or_else(String::new, |number| format!("{number}. "));
    let mut lines = paragraph(Paint::Plain, INDENT, &format!("{number}{}", set(action)), width);
    for command in &action.commands {
        if let Some(file) = &command.file {
            lines.push(Line::new(Paint::Dim, format!("    in {file}:")));
        }
        let text = command.text.lines().map(|text| Line::new(Paint::Green, format!("    {text}")));
        lines.extend(text);
        lines.extend(command.note.iter().flat_map(|note| paragraph(Paint::Dim, 2 * INDENT + 2, note, width)));
    }
    if action.commands.is_empty() {
        lines.push(Line::new(Paint::Dim, "    no command does this: it is done by hand"));
    }
    lines.extend(paragraph(Paint::Dim, INDENT, &format!("{} risk. Undo: {}", action.risk.label(), action.undo), width));
    lines
}

/// `memory.max of docker/web: 8.00 GiB → 12.0 GiB`.
fn set(action: &Action) -> String {
    let kind = serde_json::to_value(action.kind).unwrap_or_default();
    let what = action.key.clone().unwrap_or_else(|| kind.as_str().unwrap_or_default().replace('_', " "));
    let value = |text: &String| action.kind.shown(text);
    let values = match (action.before.as_ref().map(value), action.after.as_ref().map(value)) {
        (Some(before), Some(after)) => format!(": {before} → {after}"),
        (None, Some(after)) => format!(": {after}"),
        (Some(before), None) => format!(": now {before}"),
        (None, None) => String::new(),
    };
    match &action.object {
        Object::Host => format!("{what}{values}"),
        object => format!("{what} of {object}{values}"),
    }
}

#[cfg(test)]
mod tests {
    use collector_core::advice::Confidence;

    use super::super::page::tests::{DAY, line};
    use super::*;

    #[test]
    fn one_advice_has_its_numbers_and_commands_that_can_be_copied() {
        let line = line("docker/web", Confidence::High, AdviceStatus::Holds);
        let text = one(&line, 100 * DAY, 80, true, false);
        let wanted = "\
Raise the memory limit of docker/web from 8.00 GiB to 12.0 GiB
memory_limit_raise:docker/web
holds since 1970-04-10 00:00:00

It was killed 3 times in 8 days, each time at its limit.

Evidence
  highest use in 8 days, without what the kernel can drop  7.45 GiB  measured
  margin                                                       15 %  assumed

Would have saved
  in 8 d: 3 OOM kills, 12 min of stalls
  assuming: what it needed to live is what it held when it was killed, and a
  fifth more

Confidence high
  8 days are known.
Risk medium: it may slow somebody

What to do: any one of these; the first fits best
  1. memory.max of docker/web: 8.00 GiB → 12.0 GiB
    docker update --memory 12884901888 --memory-swap 12884901888 --a-long-flag web
      Lasts until the container is recreated.
    in compose.yaml:
    services:
      web:
        mem_limit: 12g
  medium risk. Undo: Set it to 8 GiB again.
  2. memory.max of docker/web: 8.00 GiB → 12.0 GiB
    no command does this: it is done by hand
  medium risk. Undo: Set it to 8 GiB again.
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn everything_but_commands_and_ids_fits_any_width() {
        let line = line("docker/web", Confidence::Low, AdviceStatus::Gone);
        for width in [40, 60, 80, 200] {
            let lines = about(&line, 100 * DAY, width, true);
            let long: Vec<_> = lines.iter().filter(|line| line.width() > width).collect();
            assert!(long.is_empty(), "{width}: {long:?}");
        }
    }
}
