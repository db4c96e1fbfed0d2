//! One workload: its figures, its last five minutes as charts, its alerts and its incidents.

use std::collections::BTreeMap;

use collector_core::amount::{bytes, percent, seconds};
use collector_core::api::process::{Process, Processes};
use collector_core::api::workloads::Line as Figures;
use collector_core::series::{Kind, Series};
use collector_core::text::shown;

use super::super::answer::Answers;
use super::super::model::Model;
use super::super::track::Track;
use super::chart::chart;
use super::paint::wrap;
use crate::cli::sheet::{Line, Paint, left, right};
use crate::cli::state::alarm;
use crate::zone::clock;

/// Columns of a series' name, and of each of its two values.
const LABEL: usize = 22;
const HALF: usize = 12;
/// Columns of a pid: as many digits as the kernel gives it.
const PID: usize = 7;
/// Rows of an important chart, if there is room for all.
const ROWS: usize = 4;
const IMPORTANT: [Series; 4] = [Series::Memory, Series::MemoryWaiting, Series::Vram, Series::Stalls];
/// Rows below the charts that are seen without scrolling, where there is room.
const BELOW: usize = 12;
/// Lines around this text on the screen.
const AROUND: usize = 2;
const INDENT: &str = "         ";

/// All lines about it. Charts are as high as they can be where all of them are seen.
pub fn lines(model: &Model, name: &str, width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![Line::new(Paint::Bold, format!("Workload {name}"))];
    let Some(answers) = model.answers.as_deref() else { return lines };
    let figures = answers.workloads.workloads.iter().find(|line| line.workload == name);
    lines.extend(figures.into_iter().flat_map(|figures| about(figures, width)));
    let mut after = happened(answers, name, width, model.utc);
    after.extend(answers.processes.iter().filter(|(of, _)| of == name).flat_map(|(_, found)| processes(found, width)));
    let room = after.len().min(BELOW);
    match &answers.workload {
        Some((of, Ok(track))) if of == name => {
            let head =
                format!("{}{}{}", left("The last five minutes", LABEL), right("now", HALF), right("highest", HALF));
            lines.push(Line::new(Paint::Dim, head));
            let limit = figures.and_then(|line| line.memory_limit_bytes);
            let known = Series::ALL.into_iter().filter(|series| !series.is_part() && track.is_known(*series));
            let known: Vec<Series> = known.collect();
            let mut spare = height.saturating_sub(lines.len() + known.len() + room + AROUND);
            for series in known {
                let more = spare.min(if IMPORTANT.contains(&series) { ROWS - 1 } else { 0 });
                spare -= more;
                lines.extend(charted(track, series, limit, width, 1 + more));
            }
        }
        Some((of, Err(why))) if of == name => lines.push(Line::new(Paint::Yellow, why)),
        _ => lines.push(Line::new(Paint::Dim, "waiting for its history")),
    }
    lines.extend(after);
    lines
}

fn about(line: &Figures, width: usize) -> Vec<Line> {
    let of = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let texts = [
        Some(line.kind.clone()),
        line.gone.then(|| "gone".to_owned()),
        of("limit", line.memory_limit_bytes.map(bytes)),
        of("working set", line.memory_working_set_bytes.map(bytes)),
        of("stalls", line.reclaim_stalls.map(|count| count.to_string())),
        of("OOM kills", line.oom_kills.map(|count| count.to_string())),
        of("namespace", line.namespace.clone()),
        of("pod", line.pod.clone()),
        of("container", line.container.clone()),
        of("cgroup", Some(line.cgroup.clone())),
    ];
    paragraph(Paint::Dim, "", &texts.into_iter().flatten().collect::<Vec<_>>().join(", "), width)
}

fn paragraph(paint: Paint, indent: &str, text: &str, width: usize) -> Vec<Line> {
    let lines = wrap(&shown(text), width.saturating_sub(indent.len()));
    lines.iter().map(|line| Line::new(paint, format!("{indent}{line}"))).collect()
}

fn charted(track: &Track, series: Series, limit: Option<u64>, width: usize, rows: usize) -> Vec<Line> {
    let amount = |value: Option<f64>| value.map(|value| text(series, value)).unwrap_or_default();
    let highest = track.most(series);
    let most = match (series, series.kind(), limit) {
        (Series::Memory, _, Some(limit)) => highest.map(|highest| highest.max(limit as f64)),
        (_, Kind::Share, _) => Some(1.0),
        _ => highest,
    };
    let room = width.saturating_sub(LABEL + 2 * HALF + 1);
    let drawn = chart(&track.columns(series, room), rows, most.unwrap_or(0.0));
    let values = format!("{}{}", right(&amount(track.last(series)), HALF), right(&amount(highest), HALF));
    let last = drawn.len().saturating_sub(1);
    let line = |(index, blocks): (usize, String)| {
        let (label, values) = if index == last { (series.label(), &*values) } else { ("", "") };
        let line = Line::new(Paint::Plain, left(label, LABEL)).and(Paint::Plain, left(values, 2 * HALF));
        line.and(Paint::Dim, format!(" {blocks}"))
    };
    drawn.into_iter().enumerate().map(line).collect()
}

fn text(series: Series, value: f64) -> String {
    let is_bytes = series.name().contains("bytes");
    let rate = if matches!(series.kind(), Kind::Rate(_)) { "/s" } else { "" };
    match series {
        _ if is_bytes => format!("{}{rate}", bytes(value as u64)),
        Series::Stalls => seconds(value),
        Series::Cpu => format!("{value:.2}"),
        _ if series.kind() == Kind::Share => percent(value),
        _ => format!("{value:.1}{rate}"),
    }
}

/// The largest first.
fn processes(found: &Processes, width: usize) -> Vec<Line> {
    let count = found.count.map_or_else(String::new, |count| format!(" ({count})"));
    let head =
        format!("{}{}{}", left(&format!("Processes{count}"), LABEL), right("resident", HALF), right("swap", HALF));
    let mut lines = vec![Line::new(Paint::Dim, head)];
    let amount = |value: Option<u64>| right(&value.map_or_else(|| "–".to_owned(), bytes), HALF);
    lines.extend(found.largest.iter().map(|Process { pid, comm, resident_bytes, swap_bytes }| {
        let name = left(&format!("{} {}", right(&pid.to_string(), PID), shown(comm)), LABEL);
        Line::new(Paint::Plain, format!("{name}{}{}", amount(*resident_bytes), amount(*swap_bytes)))
    }));
    lines.extend(found.missing.iter().flat_map(|why| paragraph(Paint::Yellow, "", why, width)));
    lines
}

/// Alerts and incidents about it.
fn happened(answers: &Answers, name: &str, width: usize, utc: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let is_about = |labels: &BTreeMap<String, String>| labels.get("workload").is_some_and(|it| it == name);
    for alert in answers.status.alerts.iter().filter(|alert| is_about(&alert.labels)) {
        let line = Line::new(alarm(Some(alert.severity)), left(alert.severity.label(), INDENT.len()));
        lines.push(line.and(Paint::Plain, &alert.summary));
        lines.extend(paragraph(Paint::Dim, INDENT, &alert.action, width));
    }
    for it in answers.incidents.iter().filter(|it| is_about(&it.labels)) {
        lines.push(Line::new(Paint::Dim, clock(it.time, utc)).and(Paint::Plain, format!("  {}", it.title)));
        lines.extend(paragraph(Paint::Dim, INDENT, &it.cause, width));
    }
    if lines.is_empty() {
        lines.push(Line::new(Paint::Dim, "no alert about it fires, and no recent incident affects it"));
    }
    lines
}
