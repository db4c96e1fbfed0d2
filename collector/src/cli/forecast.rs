//! `headroom forecast`: what will be used in the hours and days to come, and whether one more of a workload would fit.

use anyhow::{Context as _, anyhow};
use collector_core::api::forecast::{Query, Question};
use collector_core::forecast::{Forecast, LONGEST_HOURS, Outlook, Point, Resource, USUAL_HOURS, amount_of};
use collector_core::lease::Decision;
use collector_core::text::shown_json;

use super::settings::Settings;
use super::sheet::{Column, Line, Paint, table};
use super::terminal::{colour, room};
use crate::client::{Client, encoded, is_absent};
use crate::clock;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::sink::history::Reader;
use crate::zone;

/// Rows of a table of hours.
const ROWS: usize = 12;

/// Say what memory, GPUs, disks and CPUs will be used in the next hours and days, and when a limit is reached
///
/// From the history's last four weeks: a level, a line, and once there is a week a pattern of the day or the week, whichever was right most
/// often in the past itself. Each number has an interval that holds four times in five. With less than six hours of history there is
/// not enough data, and nothing is forecast further ahead than the history reaches back. Asks the running agent; without one it reads the
/// history itself, and does not know who cleans up disks.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  The host until tomorrow:
    headroom forecast
  A workload, for three days:
    headroom forecast --workload docker/web --hours 72
  Would this host carry one more of it? Exit codes: 0 yes, 20 tight, 22 no, 23 not known
    headroom forecast --one-more docker/web
")]
pub struct ForecastArgs {
    /// A workload, by its name [default: the host]
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// How many hours ahead, up to a week
    #[arg(long, value_name = "HOURS", default_value_t = USUAL_HOURS, value_parser = clap::value_parser!(u64).range(1..=LONGEST_HOURS))]
    pub hours: u64,
    /// Say whether this host would carry one more of this workload, by what it took and what was free in the last weeks
    #[arg(long, value_name = "NAME", conflicts_with = "workload")]
    pub one_more: Option<String>,
    /// Print JSON: the answer of /api/v1/forecast
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// The exit code.
pub fn run(args: &ForecastArgs, effective: &Effective) -> Result<u8, Failure> {
    let forecast = match ask(args, effective) {
        Err(why) if is_absent(&why) => {
            tracing::info!("{why:#}: reading the history instead");
            alone(args, effective)?
        }
        asked => asked?,
    };
    let exit = forecast.one_more.as_ref().map_or(Exit::Success, |more| match more.verdict {
        Decision::Yes => Exit::Success,
        Decision::Tight => Exit::Tight,
        Decision::Wait => Exit::Wait,
        Decision::No => Exit::No,
        Decision::Unknown => Exit::Unknown,
    });
    super::print(&match args.json {
        true => {
            let json = serde_json::to_string_pretty(&forecast).context("write JSON")?;
            shown_json(&json).into_owned() + "\n"
        }
        false => page(&forecast, room(), colour()),
    })?;
    Ok(exit.code())
}

fn ask(args: &ForecastArgs, effective: &Effective) -> anyhow::Result<Forecast> {
    let mut path = format!("/api/v1/forecast?hours={}", args.hours);
    for (key, name) in [("workload", &args.workload), ("one_more", &args.one_more)] {
        if let Some(name) = name {
            path += &format!("&{key}={}", encoded(name));
        }
    }
    let body = Client::of(effective)?.page(&path)?;
    serde_json::from_slice(&body).context("the answer is not from an agent of this version")
}

fn alone(args: &ForecastArgs, effective: &Effective) -> Result<Forecast, Failure> {
    let config = &effective.config;
    let boxed = |name: &Option<String>| name.as_deref().map(Into::into);
    let query = Query { workload: boxed(&args.workload), hours: args.hours, one_more: boxed(&args.one_more) };
    let question = Question::alone(query, clock::unix_ns(), config.level.memory_limit);
    let dir = &config.journal.dir;
    let Some(reader) = Reader::find(dir)? else {
        let text = format!("there is no history in {} yet: headroom run writes it", dir.display());
        return Err(Failure::new(Exit::Unknown, anyhow!(text)));
    };
    let read = reader.forecast(&question)?;
    question.answer(read).map_err(|problem| Failure::new(Exit::Usage, anyhow!(problem.detail)))
}

fn page(forecast: &Forecast, width: usize, colour: bool) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let plain = |text: String| Line::new(Paint::Plain, text);
    if let Some(more) = &forecast.one_more {
        let paint = match more.verdict {
            Decision::Yes => Paint::Green,
            Decision::Tight | Decision::Wait | Decision::Unknown => Paint::Yellow,
            Decision::No => Paint::Red,
        };
        lines.push(Line::new(paint, more.verdict.label()).and(Paint::Plain, format!(": {}", more.sentence)));
        lines.push(Line::default());
        let rows = &more.parts;
        let amount = |part: &collector_core::forecast::more::Part, value: f64| Some(amount_of(part.unit, value));
        let columns = [
            Column::text("RESOURCE", rows, |part| (Paint::Plain, name(part.resource, part.of.as_deref()))),
            Column::number("ONE TAKES", rows, |part| amount(part, part.need)),
            Column::number("FREE, LEAST", rows, |part| amount(part, part.free_least)),
            Column::number("FREE, MIDDLE", rows, |part| amount(part, part.free_middle)),
            Column::number("OF", rows, |part| amount(part, part.limit)),
            Column::number("WOULD FIT", rows, |part| Some(collector_core::amount::percent(part.fits_ratio))),
        ];
        lines.extend(table(&columns, width));
        lines.extend(more.not_known.iter().map(|what| Line::new(Paint::Yellow, format!("not known: {what}"))));
        return lines.iter().map(|line| line.render(usize::MAX, colour) + "\n").collect();
    }
    for (number, outlook) in forecast.outlooks.iter().enumerate() {
        if number > 0 {
            lines.push(Line::default());
        }
        let paint = if outlook.reaches.is_some() { Paint::Red } else { Paint::Plain };
        let head = Line::new(Paint::Bold, format!("{}: ", name(outlook.resource, outlook.of.as_deref())));
        lines.push(head.and(paint, &outlook.sentence));
        lines.extend(hours(outlook, width));
    }
    for missing in &forecast.not_known {
        let what = name(missing.resource, missing.of.as_deref());
        lines.push(Line::new(Paint::Yellow, format!("{what}: not enough data: {}", missing.missing)));
    }
    if forecast.outlooks.is_empty() && forecast.not_known.is_empty() {
        lines.push(plain("nothing is known".to_owned()));
    }
    lines.iter().map(|line| line.render(usize::MAX, colour) + "\n").collect()
}

/// Some of its hours, the last one among them.
fn hours(outlook: &Outlook, width: usize) -> Vec<Line> {
    let last = outlook.points.len().saturating_sub(1);
    let apart = outlook.points.len().div_ceil(ROWS).max(1);
    let chosen = outlook.points.iter().enumerate().filter(|(at, _)| at % apart == apart - 1 || *at == last);
    let rows: Vec<&Point> = chosen.map(|(_, point)| point).collect();
    let amount = |value: f64| Some(amount_of(outlook.unit, value));
    let columns = [
        Column::text("  HOUR FROM", &rows, |point| (Paint::Plain, format!("  {}", moment(point.time)))),
        Column::number("LOW", &rows, |point| amount(point.low)),
        Column::number("EXPECTED", &rows, |point| amount(point.value)),
        Column::number("HIGH", &rows, |point| amount(point.high)),
    ];
    table(&columns, width)
}

/// `11-28 09:00` of local time.
fn moment(time: u64) -> String {
    zone::clock(time, false).get(5..16).unwrap_or_default().to_owned()
}

fn name(resource: Resource, of: Option<&str>) -> String {
    match (resource, of) {
        (Resource::Memory, _) => "memory".to_owned(),
        (Resource::Cpu, _) => "CPU".to_owned(),
        (Resource::Vram, Some(gpu)) => format!("memory of GPU {gpu}"),
        (Resource::Vram, None) => "GPU memory".to_owned(),
        (Resource::HostToDevice, Some(gpu)) => format!("link to GPU {gpu}"),
        (Resource::HostToDevice, None) => "copies to GPUs".to_owned(),
        (Resource::Disk, Some(mount)) => format!("disk {mount}"),
        (Resource::Disk, None) => "disk".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use collector_core::advice::Unit;
    use collector_core::forecast::{NotKnown, Shape};

    use super::*;

    #[test]
    fn a_page_has_a_sentence_a_table_and_what_is_missing() {
        let point = |hour: u64| Point { time: hour * 3600 * 1_000_000_000, low: 1e9, value: 2e9, high: 3e9 };
        let outlook = Outlook {
            resource: Resource::Memory,
            of: None,
            unit: Unit::Bytes,
            now: 2e9,
            limit: Some(8e9),
            shape: Shape::Flat,
            a_day: 0.0,
            known_hours: 48.0,
            held_ratio: 0.8,
            points: (0..24).map(point).collect(),
            reaches: None,
            cleaners: Vec::new(),
            sentence: "2 GB now\x1b[2J, flat.".into(),
        };
        let missing =
            NotKnown { resource: Resource::Vram, of: Some("0".into()), missing: "6 hours of history".to_owned() };
        let forecast = Forecast { outlooks: vec![outlook], not_known: vec![missing], hours: 24, ..Forecast::default() };
        let text = page(&forecast, 80, false);
        assert!(text.starts_with("memory: 2 GB now\\x1b[2J, flat.\n") && text.contains("EXPECTED"), "{text}");
        assert_eq!(text.lines().count(), 1 + 1 + 12 + 1, "{text}");
        assert!(text.ends_with("memory of GPU 0: not enough data: 6 hours of history\n"), "{text}");
        assert_eq!(page(&Forecast::default(), 80, false), "nothing is known\n");
    }
}
