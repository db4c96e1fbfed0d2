//! `headroom level`: how degraded the host and each GPU are, why, and what follows from it.

use anyhow::Context as _;
use collector_core::amount::percent;
use collector_core::api::level::{HostLevel, LevelLine};
use collector_core::level::{Level, PRIORITIES};
use collector_core::text::shown_json;

use super::direct::Direct;
use super::settings::Settings;
use super::sheet::{Column, Line, Paint, UNKNOWN, bar, right, table};
use super::terminal::{self, colour};
use crate::client::{Client, is_forbidden};
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};

/// Path of the level as JSON.
const LEVEL: &str = "/api/v1/level";
/// Cells of a bar.
const CELLS: usize = 10;

/// Show how degraded the host is, 0 to 4, against its limits, and what may still start
///
/// Asks the running agent. Without an agent it reads the host once: then nothing is held, the mean of the CPUs and waits for memory
/// are not known, and it says so.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Levels, by the greatest use of a limit in [level]:
  0  normal    below 70 % of the limit
  1  light     from 70 %
  2  moderate  from 85 %: programs that adapt do half of their work
  3  heavy     from 95 %: a quarter of their work; background and low priority do not start
  4  critical  from 100 %: no work; only critical priority starts
All tasks waiting for memory (PSI full) for more than 10 % of the last ten seconds raises it by one, for more than 60 % to 4. A level
holds at once, and for 10 to 30 s after the numbers have fallen. GPUs have levels of their own, which concern what starts on them.

Examples:
  Do less while the host is short of something:
    headroom level --exit-code; [ $? -ge 12 ] && echo slow down
  Print the share of its work that a program should do:
    headroom level --json | jq .factor

Exit status with --exit-code: 10 and the level, or 23 if it is not known.
")]
pub struct LevelArgs {
    /// Exit with 10 and the level (10 to 14), or with 23 if it is not known
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON: the answer of /api/v1/level
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &LevelArgs, effective: &Effective) -> Result<Exit, Failure> {
    let level = match ask(effective) {
        Ok(level) => level,
        Err(why) if is_forbidden(&why) => return Err(why.into()),
        Err(why) => {
            tracing::info!("{why:#}: reading the host instead, once");
            direct(effective)?
        }
    };
    super::print(&match args.json {
        true => {
            let json = serde_json::to_string_pretty(&level).context("write JSON")?;
            shown_json(&json).into_owned() + "\n"
        }
        false => page(&level, terminal::room(), colour()),
    })?;
    Ok(if args.exit_code { code(&level.standing) } else { Exit::Success })
}

fn ask(effective: &Effective) -> anyhow::Result<HostLevel> {
    let body = Client::of(effective)?.page(LEVEL)?;
    serde_json::from_slice(&body).context("the answer is not from an agent of this version")
}

fn direct(effective: &Effective) -> anyhow::Result<HostLevel> {
    let mut direct = Direct::with_host(&effective.config, effective.rules.clone())?;
    direct.read();
    direct.wait();
    Ok(HostLevel::of(direct.read()))
}

fn code(level: &LevelLine) -> Exit {
    match level.level.map(Level::try_from) {
        Some(Ok(Level::Normal)) => Exit::Normal,
        Some(Ok(Level::Light)) => Exit::Light,
        Some(Ok(Level::Moderate)) => Exit::Moderate,
        Some(Ok(Level::Heavy)) => Exit::Heavy,
        Some(Ok(Level::Critical)) => Exit::Critical,
        Some(Err(_)) | None => Exit::Unknown,
    }
}

fn page(level: &HostLevel, width: usize, colour: bool) -> String {
    let mut lines = vec![after(Line::new(Paint::Plain, "level "), &level.standing)];
    let sentence = |text: &String| Line::new(Paint::Plain, format!("  {text}"));
    lines.extend(level.standing.reasons.iter().map(sentence));
    lines.push(Line::default());
    lines.extend(rows(level, width));
    for gpu in &level.gpus {
        lines.extend(gpu.standing.reasons.iter().map(|why| Line::new(Paint::Plain, format!("GPU {}: {why}", gpu.gpu))));
    }
    if let Some(target) = level.memory_target_ratio {
        let text = format!("above {} of the memory only normal priority and above may start", percent(target));
        lines.push(Line::new(Paint::Dim, text));
    }
    let missing = level.not_known.iter().chain(level.gpus.iter().flat_map(|gpu| &gpu.not_known));
    lines.extend(missing.map(|what| Line::new(Paint::Yellow, format!("not known: {what}"))));
    lines.iter().map(|line| line.render(width, colour) + "\n").collect()
}

/// The level of the host in one line, after the beginning of the line.
pub fn after(line: Line, level: &LevelLine) -> Line {
    let Some(known) = level.level.and_then(|level| Level::try_from(level).ok()) else {
        return line.and(Paint::Yellow, format!("not known, {} or higher", level.at_least));
    };
    let admits = match usize::from(level.admits_priority.unwrap_or(known.least_priority())) {
        0 => "every priority may start".to_owned(),
        least if least + 1 == PRIORITIES.len() => format!("only {} priority may start", PRIORITIES[least]),
        least => format!("{} priority and above may start", PRIORITIES[least]),
    };
    let rest = format!(", {admits}, work × {}", known.factor());
    line.and(paint(Some(known.number())), format!("{} {}", known.number(), known.name())).and(Paint::Plain, rest)
}

/// The colour of a level; of one that is not known, too.
pub fn paint(level: Option<u8>) -> Paint {
    match level {
        Some(0) => Paint::Green,
        Some(1 | 2) | None => Paint::Yellow,
        Some(_) => Paint::Red,
    }
}

/// One resource, as a row of the table.
struct Row {
    name: String,
    used: Option<f64>,
    limit: Option<f64>,
    share: Option<f64>,
    level: Option<u8>,
}

fn rows(level: &HostLevel, width: usize) -> Vec<Line> {
    let mut all: Vec<Row> = level
        .resources
        .iter()
        .map(|it| {
            let name = match (it.resource.as_str(), &it.mountpoint) {
                ("cpu", _) => "CPUs, mean of 30 s".to_owned(),
                (_, Some(mountpoint)) => mountpoint.clone(),
                (resource, None) => resource.to_owned(),
            };
            Row { name, used: it.used_ratio, limit: Some(it.limit_ratio), share: it.limit_used_ratio, level: it.level }
        })
        .collect();
    let stalled = level.pressure.memory_stalled_ratio;
    let none = (None, None, None);
    let (limit, share, of) = none;
    all.push(Row { name: "waits for memory".to_owned(), used: stalled, limit, share, level: of });
    all.extend(level.gpus.iter().map(|gpu| Row {
        name: format!("GPU {} memory", gpu.gpu),
        used: gpu.used_ratio,
        limit: Some(gpu.limit_ratio),
        share: gpu.limit_used_ratio,
        level: gpu.standing.level,
    }));
    let share = |row: &Row| {
        let known = row.share.map(|share| format!("{} {}", bar(share, CELLS), right(&percent(share), 5)));
        (
            row.level.map_or(Paint::Plain, |level| if level == 0 { Paint::Plain } else { paint(Some(level)) }),
            known.unwrap_or_default(),
        )
    };
    let columns = [
        Column::text("RESOURCE", &all, |row| (Paint::Plain, row.name.clone())),
        Column::number("USED", &all, |row| row.used.map(percent)),
        Column::number("LIMIT", &all, |row| row.limit.map(percent)),
        Column::text("OF THE LIMIT", &all, share),
        Column::number("LEVEL", &all, |row| {
            Some(row.level.map_or_else(|| UNKNOWN.to_owned(), |level| level.to_string()))
        }),
    ];
    table(&columns, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::level::{GpuLevelLine, LimitLine};

    fn standing(level: Option<u8>) -> LevelLine {
        LevelLine { level, at_least: level.unwrap_or(1), ..LevelLine::default() }
    }

    #[test]
    fn the_exit_code_is_ten_and_the_level_or_unknown() {
        let codes =
            [Some(0), Some(1), Some(2), Some(3), Some(4), None, Some(9)].map(|level| code(&standing(level)).code());
        assert_eq!(codes, [10, 11, 12, 13, 14, 23, 23]);
    }

    #[test]
    fn the_head_says_what_follows() {
        let head = |level| after(Line::new(Paint::Plain, "level "), &standing(level)).render(100, false);
        let heads = [Some(0), Some(2), Some(3), Some(4), None].map(head);
        assert_eq!(
            heads,
            [
                "level 0 normal, every priority may start, work × 1",
                "level 2 moderate, every priority may start, work × 0.5",
                "level 3 heavy, normal priority and above may start, work × 0.25",
                "level 4 critical, only critical priority may start, work × 0",
                "level not known, 1 or higher",
            ]
        );
    }

    #[test]
    fn the_page_shows_each_resource_and_what_is_missing() {
        let memory = LimitLine {
            resource: "memory".to_owned(),
            used_ratio: Some(0.8),
            limit_ratio: 0.9,
            limit_used_ratio: Some(0.889),
            level: Some(2),
            ..LimitLine::default()
        };
        let data = LimitLine {
            resource: "filesystem".to_owned(),
            mountpoint: Some("/data".to_owned()),
            limit_ratio: 0.95,
            ..LimitLine::default()
        };
        let gpu = GpuLevelLine {
            gpu: "0".to_owned(),
            standing: standing(Some(0)),
            used_ratio: Some(0.1),
            limit_ratio: 0.97,
            limit_used_ratio: Some(0.103),
            ..GpuLevelLine::default()
        };
        let level = HostLevel {
            standing: LevelLine { reasons: vec!["memory is full".to_owned()], ..standing(None) },
            resources: vec![memory, data],
            gpus: vec![gpu],
            not_known: vec!["filesystem /data".to_owned()],
            ..HostLevel::default()
        };
        assert_eq!(
            page(&level, 100, false),
            "\
level not known, 1 or higher
  memory is full

RESOURCE          USED  LIMIT  OF THE LIMIT      LEVEL
memory            80 %   90 %  █████████░  89 %      2
/data                –   95 %                        –
waits for memory     –      –                        –
GPU 0 memory      10 %   97 %  █░░░░░░░░░  10 %      0
not known: filesystem /data
"
        );
    }
}
