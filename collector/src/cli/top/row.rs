//! The rows of the table of workloads: which there are, in which order, and what each column says of them. Rates are between two
//! answers. Knows nothing of the screen.

use std::collections::HashMap;

use collector_core::amount::{bytes, fixed, percent, seconds};
use collector_core::api::workloads::Line;
use collector_core::text::shown;

use super::answer::Answers;
use super::column::Column;
use super::tree::tree;
use crate::cli::rate::{Before, Rates, used};
use crate::cli::sheet::{Paint, UNKNOWN};

/// USED is red from this share of the limit.
const NEAR_LIMIT: f64 = 0.9;

/// How the table is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub by: Column,
    /// The lowest first.
    pub reversed: bool,
    pub tree: bool,
    /// Also slices and pods, which are sums of others, and idle workloads.
    pub all: bool,
    /// Only workloads whose name or cgroup contains this, in any case.
    pub filter: String,
}

/// A workload, with its rates between two answers.
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    pub line: Option<&'a Line>,
    /// How far it is below the first of its tree.
    pub depth: usize,
    used: Option<f64>,
    cpu: Option<f64>,
    rates: Rates,
    vram: Option<u64>,
}

impl<'a> Row<'a> {
    fn new(line: &'a Line, rates: Rates, vram: Option<u64>) -> Row<'a> {
        Row { line: Some(line), depth: 0, used: used(line), cpu: rates.cpu.or(line.cpu_cores), rates, vram }
    }

    pub fn name(&self) -> &'a str {
        self.line.map_or("", |line| &line.workload)
    }

    /// The number that a column sorts by; `None` if it is not known.
    fn value(&self, column: Column) -> Option<f64> {
        let line = self.line?;
        let number = |number: Option<u64>| number.map(|number| number as f64);
        match column {
            Column::Name => None,
            Column::Memory => number(line.memory_bytes),
            Column::Limit => number(line.memory_limit_bytes),
            Column::Used => self.used,
            Column::Cpu => self.cpu,
            Column::Pressure => self.rates.memory_waiting,
            Column::Stalls => self.rates.stalls,
            Column::Kills => number(line.oom_kills),
            Column::Io => self.rates.io,
            Column::Faults => self.rates.faults,
            Column::Vram => number(self.vram),
            Column::WorkingSet => number(line.memory_working_set_bytes),
            Column::IoPressure => self.rates.io_waiting,
            Column::Pinned => number(line.pinned_bytes),
            Column::Swap => number(line.swap_bytes),
        }
    }

    pub fn cell(&self, column: Column) -> (Paint, String) {
        let value = self.value(column);
        let text = match column {
            Column::Name => Some(self.label()),
            Column::Used | Column::Pressure | Column::IoPressure => value.map(percent),
            Column::Cpu => value.map(|cores| fixed(cores, 2)),
            Column::Stalls => value.map(seconds),
            Column::Faults => value.map(|faults| format!("{faults:.1}")),
            Column::Kills => value.map(|kills| format!("{kills:.0}")),
            _ => value.map(|amount| bytes(amount as u64)),
        };
        let bad = match column {
            Column::Used => value.is_some_and(|share| share >= NEAR_LIMIT),
            Column::Kills => value.is_some_and(|kills| kills > 0.0),
            _ => false,
        };
        (if bad { Paint::Red } else { Paint::Plain }, text.unwrap_or_else(|| UNKNOWN.to_owned()))
    }

    fn label(&self) -> String {
        let mark = match self.line {
            Some(line) if line.agent => " *",
            Some(line) if line.gone => " (gone)",
            _ => "",
        };
        format!("{}{}{mark}", "  ".repeat(self.depth.min(12)), shown(self.name()))
    }

    fn is_wanted(&self, order: &Order) -> bool {
        let Some(line) = self.line else { return false };
        let sum = matches!(line.kind.as_str(), "slice" | "pod" | "root");
        let anything =
            [line.memory_bytes, line.reclaim_stalls, line.oom_kills, self.vram].iter().flatten().any(|it| *it > 0);
        order.all || order.tree || (!sum && anything)
    }
}

/// The rows in order.
pub fn rows<'a>(answers: &'a Answers, order: &Order) -> Vec<Row<'a>> {
    let Answers { workloads: now, before, status, .. } = answers;
    let before = Before::of(before.as_ref(), now);
    let mut held: HashMap<&str, u64> = HashMap::new();
    for holder in status.gpus.iter().flat_map(|gpu| &gpu.workloads) {
        if let Some(bytes) = holder.memory_bytes {
            let sum = held.entry(&holder.workload).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    let row = |line: &'a Line| {
        let name = &*line.workload;
        Row::new(line, before.rates(line), held.get(name).copied())
    };
    let mut rows: Vec<Row> = now.workloads.iter().map(row).filter(|row| row.is_wanted(order)).collect();
    sort(&mut rows, order);
    let wanted = order.filter.to_lowercase();
    let matching = |row: &Row| {
        let line = row.line;
        line.is_some_and(|it| [&it.workload, &it.cgroup].iter().any(|text| text.to_lowercase().contains(&wanted)))
    };
    if order.tree {
        return sorted_tree(rows, matching);
    }
    rows.retain(matching);
    rows
}

/// Those that match and all above them, each below the nearest cgroup above it that is a workload.
fn sorted_tree<'a>(rows: Vec<Row<'a>>, matching: impl Fn(&Row) -> bool) -> Vec<Row<'a>> {
    let paths: Vec<&str> = rows.iter().map(|row| row.line.map_or("", |line| &line.cgroup)).collect();
    let places = tree(&paths, |index| matching(&rows[index]));
    places.into_iter().map(|(index, depth)| Row { depth, ..rows[index].clone() }).collect()
}

/// What is not known comes last in either direction; equal ones are sorted by name.
fn sort(rows: &mut [Row], order: &Order) {
    let name = |one: &Row, other: &Row| one.name().cmp(other.name());
    rows.sort_by(|one, other| {
        let turn = |ordering: std::cmp::Ordering| if order.reversed { ordering.reverse() } else { ordering };
        let by = match (one.value(order.by), other.value(order.by)) {
            (Some(one), Some(other)) => turn(other.total_cmp(&one)),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        if order.by == Column::Name { turn(name(one, other)) } else { by.then_with(|| name(one, other)) }
    });
}

#[cfg(test)]
mod tests {
    use collector_core::api::workloads::Summary;

    use super::*;
    use collector_core::api::gpus::{GpuLine, Holder};

    fn order(by: Column) -> Order {
        Order { by, reversed: false, tree: false, all: false, filter: String::new() }
    }

    fn line(workload: &str, memory: u64, waited: f64) -> Line {
        let kind = if workload.ends_with(".slice") { "slice" } else { "service" };
        Line {
            workload: workload.to_owned(),
            cgroup: format!("/{workload}"),
            kind: kind.to_owned(),
            memory_bytes: Some(memory),
            memory_limit_bytes: Some(100),
            memory_waiting_seconds: Some(waited),
            major_faults: Some(10 * memory),
            block_read_bytes: Some(memory << 20),
            block_written_bytes: Some(memory << 20).filter(|_| workload == "a"),
            ..Line::default()
        }
    }

    fn answers() -> Answers {
        let summary = |second: u64, workloads| {
            let time = second * 1_000_000_000;
            Summary { time, measured: Some(time), workloads }
        };
        let before = summary(10, vec![line("a", 1, 1.0), line("b", 2, 5.0), line("c.slice", 9, 0.0)]);
        let now = vec![line("a", 90, 2.0), line("b", 5, 4.0), line("c.slice", 99, 0.0), line("idle", 0, 0.0)];
        let mut answers = Answers { workloads: summary(12, now), before: Some(before), ..Answers::default() };
        let holder = |bytes| Holder { workload: "idle".to_owned(), memory_bytes: bytes };
        let gpu = |bytes| GpuLine { workloads: vec![holder(bytes)], ..GpuLine::default() };
        answers.status.gpus = vec![gpu(Some(1 << 30)), gpu(Some(2 << 30)), gpu(None)];
        answers
    }

    fn names<'a>(rows: &[Row<'a>]) -> Vec<&'a str> {
        rows.iter().map(|row| row.name()).collect()
    }

    #[test]
    fn rates_are_between_two_answers_and_what_went_back_is_not_known() {
        let answers = answers();
        let rows = rows(&answers, &order(Column::Memory));
        assert_eq!(names(&rows), ["a", "b", "idle"], "without sums");
        let cell = |index: usize, column| rows[index].cell(column);
        assert_eq!(cell(0, Column::Pressure), (Paint::Plain, "50 %".to_owned()));
        assert_eq!(cell(1, Column::Pressure), (Paint::Plain, "–".to_owned()), "its cgroup was created again");
        assert_eq!(cell(2, Column::Pressure).1, "–", "it was not there before");
        assert_eq!(cell(0, Column::Used), (Paint::Red, "90 %".to_owned()));
        assert_eq!([cell(0, Column::Io).1, cell(0, Column::Faults).1], ["89.0 MiB", "445.0"], "89 more in two seconds");
        assert_eq!(cell(1, Column::Io).1, "–", "half of it is not known");
        assert_eq!(cell(2, Column::Vram).1, "3.00 GiB", "of all GPUs");
        assert_eq!([cell(0, Column::Vram).1, cell(0, Column::Kills).1], ["–", "–"], "not known is not zero");
    }

    #[test]
    fn what_is_not_known_comes_last_in_either_direction() {
        let answers = answers();
        let by = |reversed| names(&rows(&answers, &Order { reversed, ..order(Column::Pressure) }));
        assert_eq!((by(false), by(true)), (vec!["a", "b", "idle"], vec!["a", "b", "idle"]));
        let by = |reversed| names(&rows(&answers, &Order { reversed, all: true, ..order(Column::Memory) }));
        assert_eq!((by(false)[0], by(true)[0]), ("c.slice", "idle"));
        let by = Order { reversed: true, ..order(Column::Name) };
        assert_eq!(names(&rows(&answers, &by)), ["idle", "b", "a"]);
    }
}
