//! The table of workloads: which columns there is room for, and the rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::column::Column;
use super::super::model::{Hits, Model};
use super::super::row::Row;
use super::paint::{fit, put};
use crate::cli::sheet::{Line, Paint, UNKNOWN, right};

/// The name has this many columns at least, if the screen has.
const NAME: usize = 20;

fn columns(column: Column) -> usize {
    match column {
        Column::Name => NAME,
        Column::Memory | Column::Limit | Column::Vram | Column::Io => 8,
        Column::WorkingSet | Column::Pinned | Column::Swap => 8,
        Column::Used | Column::Cpu | Column::Pressure | Column::IoPressure | Column::Stalls | Column::Faults => 6,
        Column::Kills => 5,
    }
}

/// Columns that fit, with their widths: the one that is sorted by, then those of which something is known, then the rest.
fn chosen(rows: &[Row], by: Column, width: usize) -> Vec<(Column, usize)> {
    let is_known = |column: &Column| rows.iter().any(|row| row.cell(*column).1 != UNKNOWN);
    let rest = || Column::ALL.into_iter().filter(|column| ![Column::Name, by].contains(column));
    let sorted = Some(by).filter(|by| *by != Column::Name).into_iter();
    let wanted = sorted.chain(rest().filter(is_known)).chain(rest().filter(|column| !is_known(column)));
    let mut left = width.saturating_sub(NAME);
    let mut fitting = vec![Column::Name];
    for column in wanted {
        match left.checked_sub(columns(column) + 1) {
            Some(rest) => left = rest,
            None => break,
        }
        fitting.push(column);
    }
    let name = NAME.min(width) + left;
    let widths = Column::ALL.into_iter().filter(|column| fitting.contains(column));
    widths.map(|column| (column, if column == Column::Name { name } else { columns(column) })).collect()
}

pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let rows = model.rows();
    let chosen = chosen(&rows, model.order.by, area.width.into());
    let at = model.place(&rows);
    let page = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    let first = model.first(at, page.height.into(), rows.len());
    let mut hits = Hits { rows: page, first, count: rows.len(), heads: Vec::new() };
    if area.height == 0 {
        return hits;
    }
    let mut x = area.x;
    for (column, width) in &chosen {
        let is_sorted = *column == model.order.by;
        let over = if is_sorted { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::DIM };
        let text =
            if *column == Column::Name { fit(column.label(), *width, false) } else { right(column.label(), *width) };
        let head = Rect { x, width: *width as u16, height: 1, ..area };
        put(buffer, head, &Line::new(Paint::Plain, text), model.colour, Style::default().add_modifier(over));
        hits.heads.push((head, *column));
        x = x.saturating_add(*width as u16 + 1);
    }
    for (index, (row, y)) in rows.iter().skip(first).zip(page.y..page.bottom()).enumerate() {
        let over = if first + index == at { Modifier::REVERSED } else { Modifier::empty() };
        let place = Rect { y, height: 1, ..area };
        put(buffer, place, &line(row, &chosen), model.colour, Style::default().add_modifier(over));
    }
    if rows.is_empty() && page.height > 0 {
        let why = match (&model.answers, model.order.filter.is_empty()) {
            (None, _) => "waiting for the first answer",
            (_, true) => "no workload",
            (_, false) => "no workload has this in its name or cgroup",
        };
        put(buffer, page, &Line::new(Paint::Dim, why), model.colour, Style::default());
    }
    hits
}

fn line(row: &Row, chosen: &[(Column, usize)]) -> Line {
    let mut line = Line::default();
    for (column, width) in chosen {
        let (paint, text) = row.cell(*column);
        let text = match column {
            // Names differ at their ends; in a tree, the beginning is its shape.
            Column::Name => fit(&text, *width, row.depth == 0),
            _ => fit(&right(&text, *width), *width, false),
        };
        let gap = if *column == Column::Name { "" } else { " " };
        line = line.and(Paint::Plain, gap).and(paint, text);
    }
    line
}
