//! What is reserved, and who waits: a table, and below it all about the chosen one. Knows no order: the agent's is shown.

use std::time::Duration;

use collector_core::lease::answer::Part;
use collector_core::lease::{Owner, Reservation, State, words};
use collector_core::text::shown;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::model::{Hits, Model};
use super::list::list;
use super::paint;
use crate::cli::sheet::{Column, Line, Paint, UNKNOWN, left, right, table};

/// Lines of the table that stay on a low screen, its head included.
const LIST: u16 = 4;
/// Columns of a resource, and of an amount of it.
const RESOURCE: usize = 24;
const AMOUNT: usize = 11;

pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let all = model.reservations();
    let lines = rows(&all, area.width.into());
    let (head, lines) = lines.split_first().map_or((String::new(), Vec::new()), |(head, rows)| {
        (head.parts().iter().map(|(_, text)| text.as_str()).collect(), rows.to_vec())
    });
    let chosen = all.get(model.open().at.min(all.len().saturating_sub(1)));
    let about = chosen.map_or_else(Vec::new, |one| about(one, area.width.into()));
    let mut page = area;
    let taken = area.height.saturating_sub(LIST).min(about.len() as u16 + u16::from(!about.is_empty()));
    page.height -= taken;
    let place = Rect { y: page.bottom().saturating_add(1), height: taken.saturating_sub(1), ..area };
    paint::lines(buffer, place, &about, model.colour);
    let (head, none) = match model.answers.as_deref().map(|answers| &answers.reservations) {
        Some(Some(Ok(_))) if all.is_empty() => ("Reservations", "nothing is reserved, and nobody waits for room"),
        Some(Some(Ok(_))) => (head.as_str(), ""),
        Some(Some(Err(why))) => ("Reservations", why.as_str()),
        _ => ("Reservations", "waiting for an answer"),
    };
    list(buffer, page, model, head, none, lines)
}

/// A head and a line for each; none if there is nobody.
fn rows(all: &[&Reservation], width: usize) -> Vec<Line> {
    if all.is_empty() {
        return Vec::new();
    }
    let mut place = 0;
    let states: Vec<(Paint, String)> = all
        .iter()
        .map(|one| {
            place += usize::from(one.state == State::Waiting);
            state(one, place)
        })
        .collect();
    let columns = [
        Column::text("WORKLOAD", all, |one| (Paint::Plain, one.workload.clone())),
        Column::number("ID", all, |one| Some(one.id.to_string())),
        Column { head: "STATE".to_owned(), number: false, cells: states },
        Column::text("PRIORITY", all, |one| (Paint::Plain, one.priority.label().to_owned())),
        Column::number("ENDS IN", all, |one| one.ends_in_seconds.map(time)),
        Column::text("USED OF RESERVED", all, |one| {
            (Paint::Plain, one.resources.iter().map(part).collect::<Vec<_>>().join(", "))
        }),
    ];
    table(&columns, width)
}

/// `place`: of a claim that waits, the how many-th it is.
fn state(one: &Reservation, place: usize) -> (Paint, String) {
    match one.state {
        State::Waiting => (Paint::Yellow, format!("waits, {place}.")),
        State::Planned => (Paint::Plain, "planned".to_owned()),
        State::Starting => (Paint::Plain, "starts".to_owned()),
        State::Settled => (Paint::Plain, "settled".to_owned()),
        State::Ending if one.orphans.is_empty() => (Paint::Plain, "ends".to_owned()),
        State::Ending => (Paint::Red, "orphaned".to_owned()),
    }
}

/// Who has it and until when, and each resource: granted, used, left.
fn about(one: &Reservation, width: usize) -> Vec<Line> {
    let waits = one.state == State::Waiting;
    let owner = match &one.owner {
        Some(Owner::Process { pid, .. }) => format!(" of process {pid}"),
        Some(Owner::Cgroup { path }) => format!(" of cgroup {path}"),
        None => String::new(),
    };
    let user = one.uid.map_or_else(|| "another user".to_owned(), |uid| format!("user {uid}"));
    let since = if waits { "waits for" } else { "granted" };
    let mut said = vec![
        format!("{} {}{owner}, {user}", if waits { "claim" } else { "reservation" }, one.id),
        format!("{since} {}{}", time(one.age_seconds), if waits { "" } else { " ago" }),
    ];
    said.extend(one.unit.as_ref().map(|unit| format!("unit {unit}")));
    said.push(match one.ends_in_seconds {
        Some(seconds) => format!("ends in {} at the latest", time(seconds)),
        None => "ends with its owner".to_owned(),
    });
    said.extend(match &one.asked {
        Some(asked) => Some(format!("is to be given up for claim {}", asked.claim)),
        None => one.evictable.then(|| "may be given up for others".to_owned()),
    });
    let said = paint::wrap(&shown(&said.join(", ")), width);
    let mut lines: Vec<Line> = said.into_iter().map(|line| Line::new(Paint::Bold, line)).collect();
    let cells = |resource: &str, granted: &str, used: &str, left_: &str| {
        format!("{}{}{}{}", left(resource, RESOURCE), right(granted, AMOUNT), right(used, AMOUNT), right(left_, AMOUNT))
    };
    let head = if waits { "WANTED" } else { "GRANTED" };
    lines.push(Line::new(Paint::Dim, cells("", head, "USED", "LEFT")));
    lines.extend(one.resources.iter().map(|part| {
        let amount = |amount: u64| words::amount(&part.resource, amount);
        let used = part.used.map(|used| used.min(part.amount));
        let text = |known: Option<u64>| known.map_or_else(|| UNKNOWN.to_owned(), amount);
        let name = words::name(&part.resource, part.of.as_deref());
        let rest = used.map(|used| part.amount - used);
        Line::new(Paint::Plain, cells(&name, &amount(part.amount), &text(used), &text(rest)))
    }));
    lines.extend(one.orphans.iter().map(|orphan| {
        let held = orphan.bytes.map_or_else(|| "memory".to_owned(), collector_core::amount::bytes);
        let text = format!("its owner is gone, but process {} still holds {held} of GPU {}", orphan.pid, orphan.gpu);
        Line::new(Paint::Red, text)
    }));
    lines
}

fn part(part: &Part) -> String {
    let name = words::name(&part.resource, part.of.as_deref());
    let amount = words::amount(&part.resource, part.amount);
    match part.used {
        Some(used) => format!("{name} {} of {amount}", words::amount(&part.resource, used.min(part.amount))),
        None => format!("{name} {amount}"),
    }
}

fn time(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
