//! The band of the host: what fires, memory, CPU, pressure, disks and GPUs, with their last five minutes. Knows which of its lines
//! matter most, not how many there is room for.

use collector_core::alert::Alert;
use collector_core::amount::{bytes, fixed, percent};
use collector_core::api::level::LevelLine;
use collector_core::api::status::{NetworkLine, Status, Unavailable};
use collector_core::series::Series;

use super::super::answer::Answers;
use super::super::model::Model;
use super::super::track::Track;
use super::chart::chart;
use crate::cli::sheet::{Line, Paint, UNKNOWN, left, right};
use crate::cli::state::{self, alarm, fullness, worst};
use crate::cli::{gpus, level};
use crate::zone;

/// Columns of a label, such as `Memory`.
const LABEL: usize = 8;
/// Columns of a line's text, on a narrow screen and on a wide one; the rest is its last minutes.
const TEXT: (usize, usize) = (48, 64);
/// A screen is wide from here on.
const WIDE: usize = 120;
/// The scale of pressure is not below this share: waits of a thousandth are no mountain.
const LEAST: f64 = 0.1;

/// The band in at most `height` lines.
pub fn band(model: &Model, width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![(0, head(model, width))];
    if let Some(trouble) = model.trouble() {
        lines.push((0, Line::new(Paint::Red, trouble)));
    }
    if let Some(answers) = model.answers.as_deref() {
        lines.extend(reasons(&answers.status).into_iter().enumerate().map(|(index, line)| (2 + index, line)));
        lines.extend(totals(answers, width));
        lines.extend(waiting(answers, width));
        lines.extend(disks(answers, width));
        lines.extend(network(answers, width));
        lines.extend(gpu(answers, width));
        lines.extend(unknown(&answers.status));
    }
    // Of those that matter equally the last go first.
    while lines.len() > height {
        let worst = (0..lines.len()).max_by_key(|index| (lines[*index].0, *index));
        worst.map(|index| lines.remove(index));
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The host, its health, and when.
pub fn head(model: &Model, width: usize) -> Line {
    let line = Line::new(Paint::Bold, &model.host);
    let Some(Answers { status, .. }) = model.answers.as_deref() else {
        return line.and(Paint::Dim, "  no answer yet");
    };
    let ((paint, health), fires) = (state::health(status.health), state::fires(&status.alerts));
    let line = line.and(Paint::Plain, "  ").and(paint, health.to_uppercase()).and(Paint::Plain, format!("  {fires}"));
    let line = match &status.level {
        Some(standing) => line.and(Paint::Plain, "  level ").and(level::paint(standing.level), name(standing)),
        None => line,
    };
    line.ending(width, Paint::Dim, zone::named(status.time, model.utc))
}

fn name(standing: &LevelLine) -> String {
    match (standing.level, &standing.name) {
        (Some(level), Some(name)) => format!("{level} {name}"),
        _ if standing.at_least == 0 => "not known".to_owned(),
        _ => format!("not known, {} or higher", standing.at_least),
    }
}

fn reasons(status: &Status) -> Vec<Line> {
    let fires = status.alerts.iter().map(|alert| {
        Line::new(alarm(Some(alert.severity)), left(alert.severity.label(), LABEL + 1))
            .and(Paint::Plain, &alert.summary)
    });
    let coming = status.reasons.iter().skip(status.alerts.len());
    let coming = coming.map(|reason| Line::new(Paint::Yellow, left("near", LABEL + 1)).and(Paint::Plain, reason));
    fires.chain(coming).collect()
}

/// What cannot be read now.
fn unknown(status: &Status) -> Vec<(usize, Line)> {
    let line = |it: &Unavailable| {
        Line::new(Paint::Dim, left("unknown", LABEL + 1)).and(Paint::Plain, format!("{}: {}", it.source, it.reason))
    };
    status.unavailable.iter().map(|it| (7, line(it))).collect()
}

fn totals(answers: &Answers, width: usize) -> Vec<(usize, Line)> {
    let Answers { status, host, .. } = answers;
    let Status { memory, swap, cpu, alerts, .. } = status;
    let about = |prefix: &str| worst(alerts, |alert| alert.alert.starts_with(prefix));
    let of = |used: Option<u64>, total: Option<u64>| match used.zip(total) {
        Some((used, total)) => format!("{} of {}", bytes(used), bytes(total)),
        None => UNKNOWN.to_owned(),
    };
    let spark = |series, most: Option<f64>| trend(host, &[series], most, width);
    let total = memory.usable_bytes.or(memory.total_bytes).map(|total| total as f64);
    let text = of(memory.used_bytes, memory.usable_bytes);
    let line = measure("Memory", memory.used_ratio, &text, about("HostMemory"), width);
    let mut lines = vec![(1, line.and(Paint::Dim, spark(Series::Memory, total)))];
    if let (Some(all @ 1..), Some(free)) = (swap.total_bytes, swap.free_bytes) {
        let text = of(Some(all.saturating_sub(free)), Some(all));
        let line = measure("Swap", swap.used_ratio, &text, about("HostSwap"), width);
        lines.push((3, line.and(Paint::Dim, spark(Series::Swap, Some(all as f64)))));
    }
    let cpus = cpu.cpus.map(|cpus| cpus as f64);
    let used = cpu.busy_ratio.zip(cpus).map(|(share, cpus)| format!("{:.1} of {cpus} CPUs", share * cpus));
    let load = cpu.load1.map(|load| format!(", load {}", fixed(load, 2))).unwrap_or_default();
    let text = used.unwrap_or_else(|| UNKNOWN.to_owned()) + &load;
    let line = measure("CPU", cpu.busy_ratio, &text, about("HostCpu"), width);
    lines.push((1, line.and(Paint::Dim, spark(Series::Cpu, cpus))));
    lines
}

/// How long tasks of the host waited.
fn waiting(answers: &Answers, width: usize) -> Vec<(usize, Line)> {
    let Answers { status: Status { pressure, alerts, .. }, host, .. } = answers;
    let all = |share: Option<f64>| format!("all tasks {}", share.map_or_else(|| UNKNOWN.to_owned(), percent));
    let line = |label, waiting, stalled, rule, series| {
        let paint = worst(alerts, |alert| alert.alert.starts_with(rule));
        let line = measure(label, waiting, &all(stalled), paint, width);
        line.and(Paint::Dim, trend(host, &[series], host.most(series).map(|most| most.max(LEAST)), width))
    };
    let memory = (pressure.memory_waiting_ratio, pressure.memory_stalled_ratio);
    let io = (pressure.io_waiting_ratio, pressure.io_stalled_ratio);
    vec![
        (1, line("Mem PSI", memory.0, memory.1, "HostMemoryPressure", Series::MemoryWaiting)),
        (3, line("IO PSI", io.0, io.1, "HostIoPressure", Series::IoWaiting)),
    ]
}

/// The fullest filesystem, and what goes to and from disks.
fn disks(answers: &Answers, width: usize) -> Vec<(usize, Line)> {
    let Answers { status, host, .. } = answers;
    let fullest = status.filesystems.iter().max_by(|one, other| fullness(one).total_cmp(&fullness(other)));
    let mut lines = Vec::new();
    if let Some(it) = fullest {
        let text = match (it.up, it.available_bytes) {
            (false, _) => format!("{} does not answer", it.mountpoint),
            (true, Some(free)) => format!("{} {} free", it.mountpoint, bytes(free)),
            _ => it.mountpoint.clone(),
        };
        let about = |alert: &Alert| alert.labels.get("mountpoint").is_some_and(|at| *at == it.mountpoint);
        lines.push((5, measure("Disk", it.used_ratio, &text, worst(&status.alerts, about), width)));
    }
    let busiest = status.disks.iter().filter(|it| it.busy_ratio.is_some());
    let busiest =
        busiest.max_by(|one, other| one.busy_ratio.unwrap_or(0.0).total_cmp(&other.busy_ratio.unwrap_or(0.0)));
    if let Some(it) = busiest {
        let rate =
            |pace: Option<f64>| pace.map_or_else(|| UNKNOWN.to_owned(), |pace| format!("{}/s", bytes(pace as u64)));
        let (read, written) = (rate(it.read_bytes_per_second), rate(it.written_bytes_per_second));
        let line = measure("IO", it.busy_ratio, &format!("{} r {read} w {written}", it.device), Paint::Plain, width);
        lines.push((4, line.and(Paint::Dim, trend(host, &[Series::Read, Series::Write], None, width))));
    }
    lines
}

/// The busiest interface.
fn network(answers: &Answers, width: usize) -> Option<(usize, Line)> {
    let Status { network, alerts, .. } = &answers.status;
    let it = *NetworkLine::busiest(network).first().filter(|it| it.rate() > 0.0)?;
    let rate = |pace: Option<f64>| pace.map_or_else(|| UNKNOWN.to_owned(), |pace| format!("{}/s", bytes(pace as u64)));
    let (received, sent) = (rate(it.receive_bytes_per_second), rate(it.transmit_bytes_per_second));
    let about = |alert: &Alert| alert.labels.get("device").is_some_and(|device| *device == it.device);
    let text = format!("{} r {received} w {sent}", it.device);
    Some((6, measure("Network", it.used_ratio, &text, worst(alerts, about), width)))
}

fn gpu(answers: &Answers, width: usize) -> Vec<(usize, Line)> {
    let Status { gpus, alerts, .. } = &answers.status;
    if gpus.is_empty() {
        return Vec::new();
    }
    let rows = gpus::rows("GPU", gpus, alerts, width).into_iter();
    // The head is of no use without a GPU.
    rows.enumerate().map(|(index, line)| (2 + index.saturating_sub(1), line)).collect()
}

/// A label, a share and a text, in the columns before the last minutes.
fn measure(label: &str, share: Option<f64>, text: &str, paint: Paint, width: usize) -> Line {
    let share = share.map_or_else(|| UNKNOWN.to_owned(), percent);
    let line = Line::new(Paint::Dim, left(label, LABEL)).and(paint, right(&share, 6));
    let room = columns(width) - LABEL - 6 - 2;
    let text: String = text.chars().take(room).collect();
    line.and(Paint::Plain, format!("  {}", left(&text, room)))
}

fn columns(width: usize) -> usize {
    if width < WIDE { TEXT.0 } else { TEXT.1 }
}

/// The sum of these over the last five minutes, in the columns that are left; up to the highest, if there is no scale.
fn trend(host: &Track, series: &[Series], most: Option<f64>, width: usize) -> String {
    let room = width.saturating_sub(columns(width) + 1);
    let all: Vec<Vec<Option<f64>>> = series.iter().map(|series| host.columns(*series, room)).collect();
    let sum = |column: usize| all.iter().filter_map(|columns| columns[column]).reduce(|one, other| one + other);
    let sums: Vec<Option<f64>> = (0..room).map(sum).collect();
    let highest = || sums.iter().flatten().copied().fold(0.0, f64::max);
    format!(" {}", chart(&sums, 1, most.unwrap_or_else(highest)).concat())
}
