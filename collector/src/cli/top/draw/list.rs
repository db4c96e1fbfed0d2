//! The lists of incidents and of alerts that fire.

use collector_core::text::shown;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::model::{Hits, Model};
use super::paint::{self, put, wrap};
use crate::cli::sheet::{Line, Paint, left};
use crate::cli::state::alarm;
use crate::zone::clock;

/// Lines of the list that stay on a low screen, its head included.
const LIST: u16 = 4;

pub fn incidents(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let line = |it: &collector_core::api::incidents::IncidentLine| {
        let state = if it.complete { "" } else { " (not complete yet)" };
        Line::new(Paint::Dim, clock(it.time, model.utc)).and(Paint::Plain, format!("  {}{state}", it.title))
    };
    let lines: Vec<Line> = model.incidents().iter().map(line).collect();
    let left_out = model.answers.as_deref().map_or(0, |answers| answers.left_out);
    let more = if left_out > 0 { format!("; `headroom incidents` lists {left_out} more") } else { String::new() };
    let head = format!("Incidents, the newest first: Enter explains one{more}");
    list(buffer, area, model, &head, "no incident", lines)
}

pub fn alerts(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let alerts = model.answers.as_deref().map_or(&[][..], |answers| &answers.status.alerts);
    let line = |alert: &collector_core::alert::Alert| {
        Line::new(alarm(Some(alert.severity)), left(alert.severity.label(), 9))
            .and(Paint::Dim, clock(alert.started, model.utc))
            .and(Paint::Plain, format!("  {}", alert.summary))
            .and(Paint::Dim, format!("  {}", alert.alert))
    };
    let lines: Vec<Line> = alerts.iter().map(line).collect();
    let head = "Alerts that fire, the most severe first: Enter explains the incident of one";
    // What to do about the chosen one.
    let action = alerts.get(model.open().at.min(alerts.len().saturating_sub(1))).map_or("", |alert| &alert.action);
    let action = wrap(&shown(action), usize::from(area.width));
    let mut page = area;
    let room = area.height.saturating_sub(LIST);
    let taken = if action == [""] { 0 } else { room.min(action.len() as u16 + 1) };
    page.height -= taken;
    let place = Rect { y: page.bottom().saturating_add(1), height: taken.saturating_sub(1), ..area };
    let action: Vec<Line> = action.iter().map(|text| Line::new(Paint::Bold, text)).collect();
    paint::lines(buffer, place, &action, model.colour);
    list(buffer, page, model, head, "no alert fires", lines)
}

/// A list with its head, of which one line is chosen.
pub fn list(buffer: &mut Buffer, area: Rect, model: &Model, head: &str, none: &str, lines: Vec<Line>) -> Hits {
    let page = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    let at = model.open().at.min(lines.len().saturating_sub(1));
    let first = model.first(at, page.height.into(), lines.len());
    if area.height > 0 {
        put(buffer, area, &Line::new(Paint::Bold, head), model.colour, Style::default());
    }
    for (index, (line, y)) in lines.iter().skip(first).zip(page.y..page.bottom()).enumerate() {
        let over = if first + index == at { Modifier::REVERSED } else { Modifier::empty() };
        put(buffer, Rect { y, height: 1, ..page }, line, model.colour, Style::default().add_modifier(over));
    }
    if lines.is_empty() && page.height > 0 {
        put(buffer, page, &Line::new(Paint::Dim, none), model.colour, Style::default());
    }
    Hits { rows: page, first, count: lines.len(), heads: Vec::new() }
}
