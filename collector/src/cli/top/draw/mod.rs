//! Draws the model: a band of the host, the newest pane, and a line of keys. Says where things are, for the mouse.

mod advice;
mod chart;
mod host;
mod list;
mod paint;
mod reservation;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use collector_core::api::incidents::page;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::answer::{Answers, Played};
use super::key::HELP;
use super::model::{Hits, Model, Pane};
use crate::cli::sheet::{Line, Paint, left};
use paint::{lines, put, wrap};

/// Columns of keys in the help.
const KEY: usize = 24;
const NOTES: [&str; 5] = [
    "",
    "MEMORY is charged to the workload, page cache included; WSET is the part that was used recently.",
    "PSI and IO PSI are the shares of time in which some task of it waited for memory, or for IO.",
    "STALL is the time that its tasks spent to free memory before they got any, per second.",
    "Charts are of the last five minutes. What is not known is –, not zero.",
];
/// Lines of the table that stay on a low screen, its head included.
const TABLE: usize = 6;

pub fn draw(frame: &mut Frame, model: &Model) -> Hits {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let pane = &model.open().pane;
    let foot = usize::from(height > 2);
    let most = match pane {
        Pane::Table => (height / 2).min(height.saturating_sub(foot + TABLE)),
        _ => 1 + usize::from(model.trouble().is_some()),
    };
    let band = host::band(model, width, most.min(height.saturating_sub(foot + 1)));
    lines(buffer, area, &band, model.colour);
    if foot > 0 {
        put(buffer, Rect { y: area.bottom() - 1, height: 1, ..area }, &footer(model), model.colour, Style::default());
    }
    let taken = band.len() as u16;
    let body = Rect { y: area.y + taken, height: area.height - taken - foot as u16, ..area };
    match pane {
        Pane::Table => table::draw(buffer, body, model),
        Pane::Incidents => list::incidents(buffer, body, model),
        Pane::Alerts => list::alerts(buffer, body, model),
        Pane::Reservations => reservation::draw(buffer, body, model),
        Pane::Models => server::draw(buffer, body, model),
        Pane::Advice => advice::draw(buffer, body, model),
        Pane::Advised(id) => scroll(buffer, body, model, advice::lines(model, id, width)),
        Pane::Workload(name) => scroll(buffer, body, model, workload::lines(model, name, width, height)),
        Pane::Incident(id) => scroll(buffer, body, model, explained(model, id, width)),
        Pane::Help => scroll(buffer, body, model, help(width)),
    }
}

/// A text, from the line that it was scrolled to.
fn scroll(buffer: &mut Buffer, area: Rect, model: &Model, text: Vec<Line>) -> Hits {
    let first = model.open().at.min(text.len().saturating_sub(area.height.into()));
    lines(buffer, area, text.iter().skip(first), model.colour);
    Hits { rows: area, first, count: text.len(), heads: Vec::new() }
}

fn explained(model: &Model, id: &str, width: usize) -> Vec<Line> {
    let answer = model.answers.as_deref().and_then(|answers| answers.incident.as_ref());
    match answer.filter(|(of, _)| of == id) {
        Some((_, Ok(incident))) => {
            let text = page(incident, width, false);
            let line = |(index, text)| Line::new(if index == 0 { Paint::Bold } else { Paint::Plain }, text);
            text.lines().enumerate().map(line).collect()
        }
        Some((_, Err(why))) => vec![Line::new(Paint::Yellow, why)],
        None => vec![Line::new(Paint::Dim, format!("waiting for incident {id}"))],
    }
}

fn help(width: usize) -> Vec<Line> {
    let about = |(key, what): &(&str, &str)| {
        let lines = wrap(what, width.saturating_sub(KEY)).into_iter().enumerate();
        let key = left(key, KEY);
        let line = move |(index, text)| {
            let key = if index == 0 { key.clone() } else { " ".repeat(KEY) };
            Line::new(Paint::Bold, key).and(Paint::Plain, text)
        };
        lines.map(line).collect::<Vec<_>>()
    };
    let notes = NOTES.iter().flat_map(|note| wrap(note, width)).map(|note| Line::new(Paint::Dim, note));
    HELP.iter().flat_map(about).chain(notes).collect()
}

/// What keys do here, or the filter while it is typed, or where the recording is.
fn footer(model: &Model) -> Line {
    if model.typing {
        return Line::new(Paint::Bold, "filter: ").and(Paint::Plain, format!("{}_", model.order.filter));
    }
    let keys = match &model.open().pane {
        Pane::Table => "Enter open  / filter  <> sort  i incidents  a alerts  d advice  m models  ? help",
        Pane::Workload(_) => "e explain its incident  Esc back  ? help",
        Pane::Incidents | Pane::Alerts => "Enter explain  Esc back  ? help",
        Pane::Advice => "Enter evidence and commands  e explain its incident  Esc back  ? help",
        Pane::Models => "Enter its workload  e explain its incident  Esc back  ? help",
        Pane::Reservations => "↑ ↓ choose  Esc back  ? help",
        Pane::Incident(_) | Pane::Advised(_) | Pane::Help => "↑ ↓ scroll  Esc back",
    };
    let mut line = Line::default();
    if let Some(Answers { played: Some(played), .. }) = model.answers.as_deref() {
        line = line.and(Paint::Bold, position(played)).and(Paint::Dim, "  Space pause  ← → step  + - speed  ");
    }
    if !model.order.filter.is_empty() {
        line = line.and(Paint::Yellow, format!("filter: {}", model.order.filter)).and(Paint::Plain, "  ");
    }
    line.and(Paint::Dim, keys)
}

fn position(played: &Played) -> String {
    let state = match played {
        Played { ended: true, .. } => "end",
        Played { paused: true, .. } => "paused",
        _ => "playing",
    };
    format!("{state} {:.0} % ×{}", 100.0 * played.share, played.speed)
}
