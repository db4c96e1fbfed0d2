//! Formats workloads as a text table.

use collector_core::amount::{bytes, fixed};
use collector_core::text::shown;
use collector_core::view::number::Number;

use super::Row;

/// Shown for a missing value.
const UNKNOWN: &str = "–";
/// USED is red from this share of the limit.
const NEAR_LIMIT: f64 = 0.9;

const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Columns that show a number as it is have its label; the others are made of several.
fn head() -> [String; COLUMNS] {
    let of = |number: Number| number.label().to_uppercase();
    let [memory, limit, swap] = [Number::Memory, Number::Limit, Number::Swap].map(of);
    let [stalls, kills] = [Number::ReclaimStalls, Number::OomKills].map(of);
    let [workload, kind, used, cpu, pressure] = ["WORKLOAD", "KIND", "USED", "CPU", "PRESSURE"].map(str::to_owned);
    [workload, kind, memory, limit, used, swap, cpu, pressure, stalls, kills]
}

const COLUMNS: usize = 10;
/// Columns before this one are text, aligned left; the others are numbers, aligned right.
const FIRST_NUMBER: usize = 2;
const USED: usize = 4;
const KILLS: usize = 9;

/// A header line and one line for each workload.
pub fn table(rows: &[Row], colour: bool) -> String {
    let cells: Vec<[String; COLUMNS]> = rows.iter().map(cells).collect();
    let head = head();
    let width = |column: usize| {
        let cells = cells.iter().map(|cells| cells[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    line(&mut text, &head, &widths, |_| colour.then_some(BOLD));
    for (row, cells) in rows.iter().zip(&cells) {
        let alarming = |column| match column {
            USED => row.memory_limit_used_ratio.is_some_and(|ratio| ratio >= NEAR_LIMIT),
            KILLS => row.line.oom_kills.is_some_and(|kills| kills > 0),
            _ => false,
        };
        line(&mut text, cells, &widths, |column| (colour && alarming(column)).then_some(RED));
    }
    text
}

fn line(
    text: &mut String,
    cells: &[String; COLUMNS],
    widths: &[usize; COLUMNS],
    paint: impl Fn(usize) -> Option<&'static str>,
) {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let paint = paint(column);
        let (left, right) = if column < FIRST_NUMBER { ("", &*padding) } else { (&*padding, "") };
        text.push_str(if column == 0 { "" } else { "  " });
        text.push_str(left);
        text.push_str(paint.unwrap_or_default());
        text.push_str(cell);
        text.push_str(paint.map_or("", |_| PLAIN));
        text.push_str(right);
    }
    text.push('\n');
}

fn cells(row: &Row) -> [String; COLUMNS] {
    let line = &row.line;
    let known = |cell: Option<String>| cell.unwrap_or_else(|| UNKNOWN.to_owned());
    let count = |number: Option<u64>| known(number.map(|number| number.to_string()));
    let share = |ratio: Option<f64>| known(ratio.map(|ratio| format!("{:.1}%", 100.0 * ratio)));
    let mark = match (line.agent, line.gone) {
        (true, _) => " *",
        (_, true) => " (gone)",
        _ => "",
    };
    [
        format!("{}{mark}", shown(&line.workload)),
        shown(&line.kind).into_owned(),
        known(line.memory_bytes.map(bytes)),
        known(line.memory_limit_bytes.map(bytes)),
        share(row.memory_limit_used_ratio),
        known(line.swap_bytes.map(bytes)),
        known(line.cpu_cores.map(|cores| fixed(cores, 2))),
        share(row.memory_waiting_ratio),
        count(line.reclaim_stalls),
        count(line.oom_kills),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::workloads::Line;

    fn rows() -> Vec<Row> {
        let line = |name: &str, agent| Line { workload: name.into(), kind: "service".into(), agent, ..Line::default() };
        let near = Line {
            memory_bytes: Some(95 << 20),
            memory_limit_bytes: Some(100 << 20),
            oom_kills: Some(3),
            cpu_cores: Some(1.5),
            ..line("ollama.service", false)
        };
        let near = Row { line: near, memory_limit_used_ratio: Some(0.95), ..Row::default() };
        vec![near, Row { line: line("ü", true), ..Row::default() }]
    }

    #[test]
    fn columns_are_aligned_and_missing_values_are_not_zero() {
        let text = table(&rows(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "WORKLOAD        KIND       MEMORY    LIMIT   USED  SWAP   CPU  PRESSURE  STALLS  KILLS");
        assert_eq!(lines[1], "ollama.service  service  95.0 MiB  100 MiB  95.0%     –  1.50         –       –      3");
        assert_eq!(lines[2], "ü *             service         –        –      –     –     –         –       –      –");
    }

    #[test]
    fn colour_marks_only_near_limits_and_kills() {
        let text = table(&rows(), true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].matches(RED).count(), 2);
        assert!(lines[1].contains("\x1b[31m95.0%\x1b[0m") && lines[1].ends_with("\x1b[31m3\x1b[0m"));
        assert!(!lines[2].contains('\x1b'));
    }
}
