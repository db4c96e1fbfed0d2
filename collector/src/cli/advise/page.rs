//! Advice as a list, and what could not be judged, as text. Knows neither an agent nor a clock.

use collector_core::action::{Object, Risk};
use collector_core::advice::Confidence;
use collector_core::amount::{fixed, seconds, span};
use collector_core::api::suggestions::{AdviceLine, AdviceStatus, Suggestions};
use collector_core::standing::Effect;

use crate::cli::sheet::{Column, Line, Paint, paragraph, table};

/// Blanks before what belongs to a line above.
pub(super) const INDENT: usize = 2;
const SECOND: u64 = 1_000_000_000;

/// Three lines each: the id, what to do, how sure and what for. `filtered`: it is only a part.
pub fn list(answer: &Suggestions, filtered: bool, width: usize, colour: bool) -> String {
    let mut lines: Vec<Line> = answer.advice.iter().flat_map(|line| entry(line, answer.time, width)).collect();
    if lines.is_empty() {
        lines.extend(paragraph(Paint::Plain, 0, none(answer, filtered), width));
    }
    let mut notes = Vec::new();
    if answer.left_out > 0 {
        notes.push(format!("{} more hold, less sure or saving less: there is no room for them", answer.left_out));
    }
    if !answer.lacking.is_empty() {
        let count = answer.lacking.len() + answer.lacking_left_out as usize;
        notes.push(format!("{count} could not be judged: headroom advise --lacking"));
    }
    if let Some(judged) = answer.judged {
        let known = match answer.history_seconds {
            Some(known @ 1..) => format!(", with {} of history", span(known)),
            _ => ", without the history of the last days, which is not known".to_owned(),
        };
        notes.push(format!("judged {}{known}", ago(answer.time, judged)));
    }
    let notes = notes.iter().flat_map(|note| paragraph(Paint::Dim, 0, note, width));
    lines.into_iter().chain(notes).map(|line| line.render(width, colour) + "\n").collect()
}

fn none(answer: &Suggestions, filtered: bool) -> &'static str {
    match (answer.judged, filtered) {
        (None, _) => "nothing was judged yet: advice comes some minutes after the agent has started",
        (Some(_), true) => "no advice of this kind",
        (Some(_), false) => "nothing to change, as far as is known",
    }
}

fn entry(line: &AdviceLine, now: u64, width: usize) -> Vec<Line> {
    let advice = &line.advice;
    // An id is copied: it stays in one piece.
    let mut lines = vec![Line::new(Paint::Bold, &advice.id)];
    lines.extend(paragraph(Paint::Plain, INDENT, &advice.title, width));
    let sure = Line::new(Paint::Plain, " ".repeat(INDENT))
        .and(certainty(advice.confidence), format!("{} confidence", advice.confidence.label()))
        .and(Paint::Plain, ", ")
        .and(danger(advice.risk), format!("{} risk", advice.risk.label()));
    let saves = advice.saves.as_ref().and_then(|saves| saves.sentence());
    lines.extend(match (line.state, saves) {
        (AdviceStatus::Holds, Some(saves)) => {
            let text = format!("; would have saved {saves}");
            match sure.width() + text.chars().count() <= width {
                true => vec![sure.and(Paint::Plain, text)],
                false => {
                    let more = paragraph(Paint::Plain, INDENT, &format!("would have saved {saves}"), width);
                    std::iter::once(sure).chain(more).collect()
                }
            }
        }
        (AdviceStatus::Holds, None) => vec![sure],
        _ => std::iter::once(sure).chain(paragraph(Paint::Dim, INDENT, &became(line, now), width)).collect(),
    });
    lines
}

/// What became of an advice.
pub(super) fn became(line: &AdviceLine, now: u64) -> String {
    let since = |time: u64| span(now.saturating_sub(time) / SECOND);
    let ended = line.ended.map_or_else(|| "some time".to_owned(), since);
    match line.state {
        AdviceStatus::Holds => format!("holds for {}", since(line.since)),
        AdviceStatus::Gone => format!("gone for {ended}: it no longer holds; it was not seen to be followed"),
        AdviceStatus::Followed => {
            let set = line.value.as_ref().map(|value| format!(": set to {}", line.advice.shown(value)));
            let set = set.unwrap_or_default();
            let effect = match (&line.before, &line.after) {
                (_, None) => "; what that did is known a day after it".to_owned(),
                (Some(before), Some(after)) => format!("; before: {}; since: {}", effect(before), effect(after)),
                (None, Some(after)) => format!("; since: {}", effect(after)),
            };
            format!("followed {ended} ago{set}{effect}")
        }
    }
}

/// `0.4 OOM kills and 96 s of stalls a day (8 d)`.
fn effect(effect: &Effect) -> String {
    let kills = effect.kills_per_day.map(|kills| match kills {
        0.0 => "no OOM kill".to_owned(),
        kills => format!("{} OOM kills", fixed(kills, usize::from(kills.fract() != 0.0))),
    });
    let stalls = effect.stall_seconds_per_day.map(|time| format!("{} of stalls", seconds(time)));
    let known: Vec<String> = [kills, stalls].into_iter().flatten().collect();
    match known.is_empty() {
        true => "not known".to_owned(),
        false => format!("{} a day ({})", known.join(" and "), span(effect.seconds)),
    }
}

fn ago(now: u64, then: u64) -> String {
    format!("{} ago", span(now.saturating_sub(then) / SECOND))
}

pub fn certainty(confidence: Confidence) -> Paint {
    match confidence {
        Confidence::High => Paint::Green,
        Confidence::Medium => Paint::Plain,
        Confidence::Low => Paint::Dim,
    }
}

pub fn danger(risk: Risk) -> Paint {
    match risk {
        Risk::Low => Paint::Plain,
        Risk::Medium => Paint::Yellow,
        Risk::High => Paint::Red,
    }
}

/// What could not be judged, and what is missing.
pub fn lacking(answer: &Suggestions, width: usize, colour: bool) -> String {
    if answer.lacking.is_empty() {
        return match answer.judged {
            Some(_) => "everything could be judged\n".to_owned(),
            None => "nothing was judged yet\n".to_owned(),
        };
    }
    let rows = &answer.lacking;
    let columns = [
        Column::text("RULE", rows, |it| (Paint::Plain, it.lacking.rule.clone())),
        Column::text("ABOUT", rows, |it| (Paint::Plain, it.about.clone())),
        Column::text("MISSING", rows, |it| (Paint::Plain, it.lacking.missing.clone())),
    ];
    let mut lines = table(&columns, width);
    if answer.lacking_left_out > 0 {
        lines.push(Line::new(Paint::Dim, format!("and {} more", answer.lacking_left_out)));
    }
    lines.iter().map(|line| line.render(width, colour) + "\n").collect()
}

pub fn workload(object: &Object) -> Option<&str> {
    match object {
        Object::Workload(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use collector_core::action::{Action, Command, Tool};
    use collector_core::advice::{Advice, Evidence, Lacking, Origin, Saves, Unit, id};
    use collector_core::api::suggestions::LackingLine;

    use super::*;

    pub const DAY: u64 = 86_400 * SECOND;
    const NOW: u64 = 100 * DAY;

    pub fn line(name: &str, confidence: Confidence, state: AdviceStatus) -> AdviceLine {
        let object = Object::Workload(name.to_owned());
        let commands = vec![
            Command {
                tool: Tool::Docker,
                text: "docker update --memory 12884901888 --memory-swap 12884901888 --a-long-flag web".to_owned(),
                file: None,
                note: Some("Lasts until the container is recreated.".to_owned()),
            },
            Command {
                tool: Tool::Compose,
                text: "services:\n  web:\n    mem_limit: 12g".to_owned(),
                file: Some("compose.yaml".to_owned()),
                note: None,
            },
        ];
        let action = Action {
            kind: collector_core::action::Kind::MemoryMax,
            object: object.clone(),
            key: Some("memory.max".to_owned()),
            before: Some("8589934592".to_owned()),
            after: Some("12884901888".to_owned()),
            risk: Risk::Medium,
            undo: "Set it to 8 GiB again.".to_owned(),
            commands,
        };
        let number = |what: &str, value, unit, origin| Evidence { what: what.to_owned(), value, unit, origin };
        let advice = Advice {
            id: id("memory_limit_raise", &object),
            rule: "memory_limit_raise".to_owned(),
            object,
            title: format!("Raise the memory limit of {name} from 8.00 GiB to 12.0 GiB"),
            why: "It was killed 3 times in 8 days, each time at its limit.".to_owned(),
            evidence: vec![
                number("highest use in 8 days, without what the kernel can drop", 8e9, Unit::Bytes, Origin::Measured),
                number("margin", 0.15, Unit::Ratio, Origin::Assumed),
            ],
            saves: Some(Saves {
                over_seconds: 8 * 86_400,
                kills: Some(3.0),
                stall_seconds: Some(732.0),
                assuming: "what it needed to live is what it held when it was killed, and a fifth more".to_owned(),
                ..Saves::default()
            }),
            confidence,
            because: "8 days are known.".to_owned(),
            risk: Risk::Medium,
            actions: vec![action.clone(), Action { commands: Vec::new(), ..action }],
        };
        let ended = (state != AdviceStatus::Holds).then_some(NOW - 3 * DAY);
        let workload = Some(name.to_owned());
        let about = name.to_owned();
        AdviceLine { advice, about, workload, state, since: NOW - DAY, ended, value: None, before: None, after: None }
    }

    pub fn answer() -> Suggestions {
        let effect = |kills_per_day, stalls| Effect {
            seconds: 2 * 86_400,
            kills_per_day: Some(kills_per_day),
            stall_seconds_per_day: Some(stalls),
        };
        let followed = AdviceLine {
            value: Some("12884901888".to_owned()),
            before: Some(effect(0.5, 96.0)),
            after: Some(effect(0.0, 1.0)),
            ..line("db.service", Confidence::High, AdviceStatus::Followed)
        };
        let lacking = |object: Object, missing: &str| LackingLine {
            about: object.to_string(),
            lacking: Lacking { rule: "memory_limit_lower".to_owned(), object, missing: missing.to_owned() },
        };
        Suggestions {
            time: NOW,
            advice: vec![
                line("docker/web", Confidence::High, AdviceStatus::Holds),
                line("docker/cache", Confidence::Low, AdviceStatus::Holds),
                followed,
                line("old.service", Confidence::Medium, AdviceStatus::Gone),
            ],
            left_out: 0,
            lacking: vec![
                lacking(Object::Host, "a day of history: there are 3 hours"),
                lacking(Object::Workload("docker/a".to_owned()), "its limit"),
            ],
            judged: Some(NOW - 30 * SECOND),
            history_seconds: Some(8 * 86_400),
            ..Suggestions::default()
        }
    }

    #[test]
    fn a_list_says_what_how_sure_and_what_for_in_80_columns() {
        let text = list(&answer(), false, 80, false);
        let wanted = "\
memory_limit_raise:docker/web
  Raise the memory limit of docker/web from 8.00 GiB to 12.0 GiB
  high confidence, medium risk
  would have saved in 8 d: 3 OOM kills, 12 min of stalls
memory_limit_raise:docker/cache
  Raise the memory limit of docker/cache from 8.00 GiB to 12.0 GiB
  low confidence, medium risk
  would have saved in 8 d: 3 OOM kills, 12 min of stalls
memory_limit_raise:db.service
  Raise the memory limit of db.service from 8.00 GiB to 12.0 GiB
  high confidence, medium risk
  followed 3 d ago: set to 12.0 GiB; before: 0.5 OOM kills and 96 s of stalls a
  day (2 d); since: no OOM kill and 1.0 s of stalls a day (2 d)
memory_limit_raise:old.service
  Raise the memory limit of old.service from 8.00 GiB to 12.0 GiB
  medium confidence, medium risk
  gone for 3 d: it no longer holds; it was not seen to be followed
2 could not be judged: headroom advise --lacking
judged 30 s ago, with 8 d of history
";
        assert_eq!(text, wanted);
        let wide = list(&answer(), false, 100, false);
        assert!(wide.contains("  high confidence, medium risk; would have saved in 8 d: 3 OOM kills"), "{wide}");
        assert!(!text.contains('\x1b') && list(&answer(), false, 80, true).contains("\x1b[32mhigh conf"));
    }

    #[test]
    fn nothing_to_change_is_told_from_nothing_known() {
        let of = |answer: Suggestions, filtered| list(&answer, filtered, 80, false);
        assert!(of(Suggestions::default(), false).starts_with("nothing was judged yet"));
        let judged = Suggestions { time: 60 * SECOND, judged: Some(0), ..Suggestions::default() };
        let text = of(judged.clone(), false);
        assert!(text.starts_with("nothing to change, as far as is known\n"), "{text}");
        assert!(text.contains("without the history of the last days, which is not known"), "{text}");
        assert!(of(judged, true).starts_with("no advice of this kind\n"));
    }

    #[test]
    fn what_could_not_be_judged_says_what_is_missing() {
        let text = lacking(&answer(), 80, false);
        assert!(text.contains("memory_limit_lower  host      a day of history: there are 3 hours"), "{text}");
        assert!(text.contains("docker/a  its limit"), "{text}");
        assert_eq!(lacking(&Suggestions::default(), 80, false), "nothing was judged yet\n");
    }

    #[test]
    fn a_name_that_would_do_harm_is_shown_as_text() {
        let mut hostile = answer();
        hostile.advice[0] = line("a\x1b[2J\nb", Confidence::High, AdviceStatus::Holds);
        let text = list(&hostile, false, 80, false);
        assert!(text.contains(r"a\x1b[2J\x0ab") && !text.contains('\x1b'), "{text}");
    }
}
