//! Changes as text: one with what came of it, one that would be made, and a table of all.

use collector_core::act::{Answer, Object, Preview, Record, State, Step, bytes, is_undoable, key};
use collector_core::amount;
use collector_core::text::shown_lines;

use crate::cli::sheet::{Column, Paint, UNKNOWN, table};
use crate::zone;

/// The size of a page does not matter here: a limit is one or is none.
const PAGE: u64 = 4096;
const NS_PER_MS: u64 = 1_000_000;

pub fn answer(answer: &Answer) -> String {
    let text = match answer {
        Answer::Action(record) => action(record),
        Answer::Preview(preview) => would(preview),
        Answer::Unchanged { sentence } => format!("nothing was changed: {sentence}\n"),
    };
    shown_lines(&text).into_owned()
}

fn action(record: &Record) -> String {
    let mut text =
        format!("change {} is {}: {} of {}\n", record.id, record.state.label(), key(record.kind), record.object);
    for step in &record.steps {
        let now = match record.state {
            State::Done => step.read_back.as_deref().unwrap_or(&step.after),
            _ => &step.after,
        };
        text += &format!("  {}: {} → {}\n", step.file, value(step, &step.before), value(step, now));
    }
    if is_undoable(record).is_ok() {
        let until = record.until.map(|until| format!("at {}, or ", moment(until))).unwrap_or_default();
        text += &format!("  undone {until}by: headroom actions --undo {}\n", record.id);
    }
    if let Some(note) = &record.note {
        text += &format!("  {note}\n");
    }
    text
}

fn would(preview: &Preview) -> String {
    let mut text = format!(
        "would do: {} of {}, which the rule {:?} allows; risk {}\n",
        key(preview.kind),
        preview.object,
        preview.rule,
        preview.risk.label()
    );
    for step in &preview.steps {
        text += &format!("  {}: {} → {}\n", step.file, value(step, &step.before), value(step, &step.after));
    }
    if let Some(seconds) = preview.for_seconds {
        text += &format!("  undone after {}\n", amount::duration(seconds as f64));
    }
    preview.notes.iter().for_each(|note| text += &format!("  {note}\n"));
    text
}

/// A value for people: bytes with their unit.
fn value(step: &Step, value: &str) -> String {
    let is_amount = step.file.starts_with("memory.");
    match bytes(value, PAGE) {
        Some(amount) if is_amount => amount::bytes(amount),
        None if is_amount && (value == "max" || value.trim_start_matches('-').parse::<u64>().is_ok()) => {
            "no limit".to_owned()
        }
        _ => value.to_owned(),
    }
}

fn moment(ms: u64) -> String {
    zone::second(ms.saturating_mul(NS_PER_MS), false)
}

/// The latest first.
pub fn list(records: &[Record], width: usize, colour: bool) -> String {
    if records.is_empty() {
        return "nothing was changed yet\n".to_owned();
    }
    let what = |record: &Record| match record.steps.last() {
        Some(step) => format!("{} {} → {}", step.file, value(step, &step.before), value(step, &step.after)),
        None => key(record.kind),
    };
    let paint = |record: &Record| match record.state {
        State::Done | State::Intended => Paint::Plain,
        State::Undone | State::Expired => Paint::Dim,
        State::Failed | State::SteppedAside => Paint::Yellow,
    };
    let plain = |text: String| (Paint::Plain, text);
    let of = |record: &Record| match &record.object {
        Object::Cgroup { path, .. } => path.clone(),
        Object::Process { pid, .. } => format!("process {pid}"),
    };
    let columns = [
        Column::number("ID", records, |record| Some(record.id.to_string())),
        Column::text("WORKLOAD", records, |record| plain(of(record))),
        Column::text("CHANGE", records, |record| plain(what(record))),
        Column::text("STATE", records, |record| (paint(record), record.state.label().to_owned())),
        Column::text("TIME", records, |record| plain(moment(record.time))),
        Column::text("UNTIL", records, |record| plain(record.until.map_or_else(|| UNKNOWN.to_owned(), moment))),
        Column::text("BY", records, |record| plain(format!("{} ({})", record.who.uid, record.who.comm))),
        Column::text("WHY", records, |record| plain(record.why.clone().unwrap_or_else(|| UNKNOWN.to_owned()))),
    ];
    table(&columns, width).iter().map(|line| line.render(width, colour) + "\n").collect()
}
