//! The parts of the screen. Each knows its own numbers; none knows how much room it gets.

use collector_core::alert::Alert;
use collector_core::amount::{bytes, fixed, percent};
use collector_core::api::status::{FilesystemLine, NetworkLine, Status};
use collector_core::api::suggestions::AdviceCounts;
use collector_core::api::workloads;

use super::picture::{Part, Picture};
use crate::cli::gpus;
use crate::cli::sheet::{Column, Line, Paint, UNKNOWN, bar, left, right, table};
use crate::cli::state::{alarm, fullness, worst};

/// Columns of a label, such as `Memory`.
const LABEL: usize = 8;
/// Cells of a bar, on the narrowest and on the widest screen.
const CELLS: (usize, usize) = (12, 60);
/// Cells of a bar in a table.
const SMALL: usize = 10;
/// At most this many reasons, filesystems and disks.
const MOST: usize = 12;
/// A disk that is this busy is shown.
const BUSY: f64 = 0.005;
/// So is an interface that carries so many bytes a second, or that share of its link.
const CARRIES: f64 = 1e6;
/// Pinned memory is shown from this share of the host's.
const PINNED: f64 = 0.01;

/// What fires, what is about to, and what is not known.
pub fn reasons(picture: &Picture, _: usize) -> Part {
    let status = &picture.status;
    let fires = |alert: &Alert| {
        let paint = alarm(Some(alert.severity));
        let since = ago(status.time, alert.started);
        Line::new(paint, format!("  {:<9}", alert.severity.label()))
            .and(Paint::Plain, format!("{}  ", alert.summary))
            .and(Paint::Dim, format!("{}, {since}", alert.alert))
    };
    let mut lines: Vec<Line> = status.alerts.iter().map(fires).collect();
    // The reasons begin with the alerts that fire.
    let coming = status.reasons.iter().skip(status.alerts.len());
    lines.extend(coming.map(|reason| Line::new(Paint::Yellow, "  near     ").and(Paint::Plain, reason)));
    let missing = status.unavailable.iter().map(|it| {
        let text = if it.source == "agent" { it.reason.clone() } else { format!("{}: {}", it.source, it.reason) };
        Line::new(Paint::Dim, "  unknown  ").and(Paint::Plain, text)
    });
    let least = 2 + usize::from(!picture.agent);
    // Without an agent, that comes first.
    if picture.agent {
        lines.extend(missing)
    } else {
        lines.splice(0..0, missing).for_each(drop)
    }
    cut(&mut lines);
    Part { lines, least, order: 1, apart: false }
}

/// Memory, swap and CPUs of the host.
pub fn totals(picture: &Picture, width: usize) -> Part {
    let Status { memory, swap, cpu, alerts, .. } = &picture.status;
    let about = |prefix: &str| worst(alerts, |alert| alert.alert.starts_with(prefix));
    let of = |used: Option<u64>, total: Option<u64>| match used.zip(total) {
        Some((used, total)) => format!("{} of {}", bytes(used), bytes(total)),
        None => UNKNOWN.to_owned(),
    };
    let available = memory.usable_bytes.zip(memory.used_bytes).map(|(all, used)| bytes(all.saturating_sub(used)));
    let text = of(memory.used_bytes, memory.usable_bytes);
    let rest = available.map(|left| format!(", {left} available")).unwrap_or_default();
    let much = |(pinned, all): &(u64, u64)| *all > 0 && *pinned as f64 / *all as f64 >= PINNED;
    let pinned = memory.pinned_bytes.zip(memory.total_bytes).filter(much);
    let pinned = pinned.map(|(pinned, _)| format!(", {} pinned", bytes(pinned))).unwrap_or_default();
    let line = |rest: &str| total("Memory", memory.used_ratio, format!("{text}{rest}"), about("HostMemory"), width);
    let whole = line(&(rest.clone() + &pinned));
    let mut lines = vec![if whole.width() > width { line(&rest) } else { whole }];
    if let (Some(all @ 1..), Some(free)) = (swap.total_bytes, swap.free_bytes) {
        let text = of(Some(all.saturating_sub(free)), Some(all));
        lines.push(total("Swap", swap.used_ratio, text, about("HostSwap"), width));
    }
    let used = cpu.busy_ratio.zip(cpu.cpus).map(|(share, cpus)| format!("{:.1} of {cpus} CPUs", share * cpus as f64));
    let mut words = vec![used.unwrap_or_else(|| UNKNOWN.to_owned())];
    for (name, share) in [("waiting for IO", cpu.iowait_ratio), ("stolen", cpu.steal_ratio)] {
        words.extend(share.filter(|share| *share >= BUSY).map(|share| format!("{} {name}", percent(share))));
    }
    if let (Some(one), Some(five), Some(fifteen)) = (cpu.load1, cpu.load5, cpu.load15) {
        let loads = [one, five, fifteen].map(|load| fixed(load, 2));
        words.push(format!("load {}", loads.join(" ")));
    }
    let line = |words: &[String]| total("CPU", cpu.busy_ratio, words.join(", "), about("HostCpu"), width);
    while words.len() > 1 && line(&words).width() > width {
        words.pop();
    }
    lines.push(line(&words));
    Part { least: lines.len(), lines, order: 0, apart: true }
}

/// The filesystems, the fullest first.
pub fn filesystems(picture: &Picture, width: usize) -> Part {
    let mut all: Vec<&FilesystemLine> = picture.status.filesystems.iter().collect();
    all.sort_by(|one, other| fullness(other).total_cmp(&fullness(one)));
    let line = |it: &&FilesystemLine| {
        let text = match (it.up, it.available_bytes, it.size_bytes) {
            (false, ..) => format!("{} does not answer", it.mountpoint),
            (true, Some(free), Some(size)) => format!("{}  {} of {} free", it.mountpoint, bytes(free), bytes(size)),
            _ => it.mountpoint.clone(),
        };
        let about = |alert: &Alert| alert.labels.get("mountpoint").is_some_and(|at| *at == it.mountpoint);
        total("Disk", it.used_ratio, text, worst(&picture.status.alerts, about), width)
    };
    let lines = all.iter().take(MOST).map(line).collect();
    Part { lines, least: 1, order: 4, apart: false }
}

/// How long tasks of the host waited.
pub fn waiting(picture: &Picture, _: usize) -> Part {
    let pressure = &picture.status.pressure;
    let known = |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), percent);
    let both = |some, all| format!("{} (all tasks {})", known(some), known(all));
    let memory = both(pressure.memory_waiting_ratio, pressure.memory_stalled_ratio);
    let io = both(pressure.io_waiting_ratio, pressure.io_stalled_ratio);
    let cpu = known(pressure.cpu_waiting_ratio);
    let line = Line::new(Paint::Dim, left("Waiting", LABEL));
    let text = format!("memory {memory}  IO {io}  CPU {cpu}");
    Part { lines: vec![line.and(Paint::Plain, text)], least: 1, order: 0, apart: false }
}

/// The disks that work, the busiest first.
pub fn disks(picture: &Picture, _: usize) -> Part {
    let busy = |it: &collector_core::api::status::DiskLine| it.busy_ratio.unwrap_or(0.0);
    let mut all: Vec<_> = picture.status.disks.iter().filter(|it| busy(it) >= BUSY).collect();
    all.sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    let rate = |pace: Option<f64>| pace.map_or_else(|| UNKNOWN.to_owned(), |pace| format!("{}/s", bytes(pace as u64)));
    let lines = all.iter().take(MOST).map(|it| {
        let (read, written) = (rate(it.read_bytes_per_second), rate(it.written_bytes_per_second));
        let flight = it.in_flight.map(|count| format!(", {count} in flight")).unwrap_or_default();
        let text = format!("{} busy {}, {read} read, {written} written{flight}", it.device, percent(busy(it)));
        Line::new(Paint::Dim, left("IO", LABEL)).and(Paint::Plain, text)
    });
    Part { lines: lines.collect(), least: 0, order: 5, apart: false }
}

/// The interfaces that carry something, the busiest first.
pub fn network(picture: &Picture, _: usize) -> Part {
    let carries = |it: &&&NetworkLine| it.used_ratio.is_some_and(|used| used >= BUSY) || it.rate() >= CARRIES;
    let busiest = NetworkLine::busiest(&picture.status.network);
    let lines = busiest.iter().filter(carries).take(MOST).map(|it| {
        let about = |alert: &Alert| alert.labels.get("device").is_some_and(|device| *device == it.device);
        let rate =
            |pace: Option<f64>| pace.map_or_else(|| UNKNOWN.to_owned(), |pace| format!("{}/s", bytes(pace as u64)));
        let share = it.used_ratio.map(|used| format!(" {} of its link,", percent(used))).unwrap_or_default();
        let (received, sent) = (rate(it.receive_bytes_per_second), rate(it.transmit_bytes_per_second));
        let text = format!("{}{share} {received} received, {sent} sent", it.device);
        Line::new(Paint::Dim, left("Network", LABEL)).and(worst(&picture.status.alerts, about), text)
    });
    Part { lines: lines.collect(), least: 0, order: 6, apart: false }
}

pub fn gpus(picture: &Picture, width: usize) -> Part {
    let Status { gpus, alerts, .. } = &picture.status;
    let head = match gpus.len() {
        1 => "GPU".to_owned(),
        count => format!("{count} GPUS"),
    };
    let lines = if gpus.is_empty() { Vec::new() } else { gpus::rows(&head, gpus, alerts, width) };
    Part { lines, least: 2, order: 3, apart: true }
}

/// Services and containers, nearest to their limit first.
pub fn workloads(picture: &Picture, width: usize) -> Part {
    let all = picture.status.memory.usable_bytes;
    let share = |line: &workloads::Line, of: Option<u64>| match (line.memory_bytes, of) {
        (Some(memory), Some(of @ 1..)) => Some(memory as f64 / of as f64),
        _ => None,
    };
    let sum = |line: &workloads::Line| matches!(line.kind.as_str(), "slice" | "pod" | "root" | "other");
    let mut rows: Vec<&workloads::Line> = picture.workloads.iter().filter(|it| !sum(it) && !it.gone).collect();
    rows.retain(|line| line.memory_bytes.is_some_and(|memory| memory > 0));
    let near = |line: &workloads::Line| {
        [line.memory_limit_bytes, all].into_iter().filter_map(|of| share(line, of)).fold(0.0, f64::max)
    };
    rows.sort_by(|one, other| near(other).total_cmp(&near(one)));
    let paint = |line: &&workloads::Line| {
        let about = |alert: &Alert| alert.labels.get("workload").is_some_and(|name| *name == line.workload);
        worst(&picture.status.alerts, about)
    };
    let used = |line: &&workloads::Line| {
        let share = share(line, line.memory_limit_bytes);
        let text = share.map(|share| format!("{} {}", bar(share, SMALL), right(&percent(share), 5)));
        (paint(line), text.unwrap_or_default())
    };
    let own = |line: &workloads::Line| line.agent && picture.agent;
    let name = |line: &&workloads::Line| (Paint::Plain, line.workload.clone() + if own(line) { " *" } else { "" });
    let kills = |line: &&workloads::Line| line.oom_kills.map(|kills| kills.to_string());
    let head = match rows.len() {
        1 => "WORKLOAD".to_owned(),
        count => format!("{count} WORKLOADS"),
    };
    let columns = [
        Column::text(&head, &rows, name),
        Column::text("USED", &rows, used),
        Column::number("MEMORY", &rows, |line| line.memory_bytes.map(bytes)),
        Column::number("LIMIT", &rows, |line| line.memory_limit_bytes.map(bytes)),
        Column::number("CPU", &rows, |line| line.cpu_cores.map(|cores| fixed(cores, 2))),
        Column::number("KILLS", &rows, kills).alarming(&rows, |line| line.oom_kills.is_some_and(|kills| kills > 0)),
        Column::number("SWAP", &rows, |line| line.swap_bytes.map(bytes)),
        Column::number("PINNED", &rows, |line| line.pinned_bytes.map(bytes)),
        Column::number("STALLS", &rows, |line| line.reclaim_stalls.map(|stalls| stalls.to_string())),
        Column::text("KIND", &rows, |line| (Paint::Dim, line.kind.clone())),
    ];
    let lines = if rows.is_empty() { Vec::new() } else { table(&columns, width) };
    Part { lines, least: 4, order: 2, apart: true }
}

/// What happened last.
pub fn last(picture: &Picture, _: usize) -> Part {
    let label = || Line::new(Paint::Dim, left("Last", LABEL));
    let status = &picture.status;
    let mut lines = match &status.incident {
        Some(incident) => {
            let when = ago(status.time, incident.time);
            let what = label().and(Paint::Plain, format!("{when} ago: {}", incident.title));
            let why = Line::new(Paint::Plain, left("", LABEL)).and(Paint::Plain, &incident.cause);
            let more = Line::new(Paint::Plain, left("", LABEL));
            vec![what, why, more.and(Paint::Dim, format!("headroom explain {}", incident.id))]
        }
        None if picture.agent => {
            let since = ago(status.time, status.started);
            vec![label().and(Paint::Plain, format!("no incident since the agent started {since} ago"))]
        }
        None => vec![label().and(Paint::Plain, "no incident is known: `sudo headroom run` records them")],
    };
    // What is of low confidence is no news.
    if let Some(AdviceCounts { high, medium, .. }) = status.advice.filter(|advice| advice.high + advice.medium > 0) {
        let sure = if medium == 0 { String::new() } else { format!(", {high} of high confidence") };
        let text = format!("{}{sure}: headroom advise", high + medium);
        lines.push(Line::new(Paint::Dim, left("Advice", LABEL)).and(Paint::Plain, text));
    }
    Part { least: lines.len(), lines, order: 0, apart: true }
}

/// A label, a bar with its percentage, and what there is to say about it.
fn total(label: &str, share: Option<f64>, text: String, paint: Paint, width: usize) -> Line {
    let cells = (width * 3 / 10).clamp(CELLS.0, CELLS.1);
    let line = Line::new(Paint::Dim, left(label, LABEL));
    let (bar, percent) = match share {
        Some(share) => (bar(share, cells), percent(share)),
        None => (" ".repeat(cells), UNKNOWN.to_owned()),
    };
    line.and(paint, format!("{bar} {}", right(&percent, 5))).and(Paint::Plain, format!("  {text}"))
}

/// Keeps the first lines; the last one says how many more there are.
fn cut(lines: &mut Vec<Line>) {
    if lines.len() > MOST {
        let more = lines.len() - (MOST - 1);
        lines.truncate(MOST - 1);
        lines.push(Line::new(Paint::Dim, format!("  {more} more: headroom alerts")));
    }
}

/// The time since then, of which people want one figure.
fn ago(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then) / 1_000_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
