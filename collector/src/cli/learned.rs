//! `headroom learned`: what work needed when it ran here, and forgetting it.

use anyhow::{Context as _, anyhow};
use collector_core::amount;
use collector_core::learn::{Learned, LearnedNeed};
use collector_core::text::shown_json;
use hyper::Method;

use super::claim::ask;
use super::settings::Settings;
use super::sheet::{Column, Paint, table};
use super::terminal::{colour, room};
use crate::client::Client;
use crate::clock;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};

/// List what your work needed when it ran here, or forget it
///
/// While something runs under headroom guard or a reservation that names its command, the agent measures what it uses. Once it has
/// started, and was measured for admission.learn_after (60 s), it counts; the next time headroom admit, reserve, wait and guard take the
/// most that was measured, and a margin, in place of an estimate, unless that is less than half of it. What you declare stands. Only
/// runs of the same executable, model and settings count, and only your own; root and members of the setting `group` see those of all users.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What was learned:
    headroom learned
  Forget one line, or all:
    headroom learned --forget 3
    headroom learned --forget all
")]
pub struct LearnedArgs {
    /// Forget the line with this number, or all
    #[arg(long, value_name = "NUMBER|all")]
    pub forget: Option<String>,
    /// Print JSON: the answer of /api/v1/learned
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &LearnedArgs, effective: &Effective) -> Result<(), Failure> {
    let client = Client::of(effective)?;
    let (method, path) = match args.forget.as_deref() {
        None => (Method::GET, "learned".to_owned()),
        Some("all") => (Method::DELETE, "learned".to_owned()),
        Some(number) => {
            let wrong =
                || Failure::new(Exit::Usage, anyhow!("--forget {number}: expected the number of a line, or all"));
            (Method::DELETE, format!("learned/{}", number.parse::<u64>().map_err(|_| wrong())?))
        }
    };
    let found: Learned = ask(&client, method, &path, None::<&()>)?;
    if args.json {
        let json = serde_json::to_string_pretty(&found).context("write JSON")?;
        return super::print(&(shown_json(&json).into_owned() + "\n"));
    }
    super::print(&text(&found, args.forget.is_some(), clock::unix_ns(), room(), colour()))
}

fn text(found: &Learned, forgotten: bool, now: u64, width: usize, colour: bool) -> String {
    let all = &found.learned;
    if all.is_empty() {
        let what = if forgotten { "there was nothing to forget" } else { "nothing was learned yet" };
        return format!("{what}\n");
    }
    let bytes = |bytes: u64| (bytes > 0).then(|| amount::bytes(bytes));
    let vram = |one: &LearnedNeed| one.vram.iter().map(|it| amount::bytes(*it)).collect::<Vec<_>>().join(", ");
    let columns = [
        Column::text("NUMBER", all, |one| (Paint::Plain, one.id.to_string())),
        Column::text("WORK", all, |one| (Paint::Plain, one.name.clone())),
        Column::number("USER", all, |one| Some(one.uid.to_string())),
        Column::number("SEEN", all, |one| Some(one.times.to_string())),
        Column::number("MEMORY", all, |one| bytes(one.memory)),
        Column::number("RUNNING", all, |one| bytes(one.memory_running)),
        Column::number("FILES", all, |one| bytes(one.files)),
        Column::number("CGROUP", all, |one| bytes(one.cgroup.unwrap_or(0))),
        Column::number("PINNED", all, |one| bytes(one.pinned.unwrap_or(0))),
        Column::text("VRAM", all, |one| (Paint::Plain, vram(one))),
        Column::text("GPU", all, |one| (Paint::Plain, one.gpu_model.clone().unwrap_or_default())),
        Column::number("STARTS IN", all, |one| Some(format!("{} s", one.settled_seconds))),
        Column::number("LAST", all, |one| Some(ago(now, one.last))),
        Column::text("", all, |one| match one.killed {
            true => (Paint::Red, "the OOM killer ended the last run: it does not count".to_owned()),
            false => (Paint::Plain, String::new()),
        }),
    ];
    let lines: String = table(&columns, width).iter().map(|line| line.render(width, colour) + "\n").collect();
    if forgotten { format!("Forgotten:\n{lines}") } else { lines }
}

fn ago(now: u64, time: u64) -> String {
    let seconds = now.saturating_sub(time) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_often_how_much_and_when() {
        let one = LearnedNeed {
            id: 3,
            name: "llama-server a\x1b[2J.gguf #0a1b2c".into(),
            uid: 7,
            gpu_model: Some("NVIDIA H100".into()),
            times: 4,
            last: 1_000_000_000,
            settled_seconds: 12,
            killed: false,
            memory: 3 << 30,
            memory_running: 2 << 30,
            files: 1 << 20,
            pinned: None,
            cgroup: Some(4 << 30),
            vram: vec![20 << 30, 19 << 30],
        };
        let expected = "\
NUMBER  WORK                                USER  SEEN    MEMORY   RUNNING     FILES    CGROUP  PINNED  VRAM                GPU          STARTS IN       LAST
3       llama-server a\\x1b[2J.gguf #0a1b2c     7     4  3.00 GiB  2.00 GiB  1.00 MiB  4.00 GiB       –  20.0 GiB, 19.0 GiB  NVIDIA H100       12 s  2 min ago
";
        let learned = Learned { learned: vec![one] };
        assert_eq!(text(&learned, false, 121_000_000_000, 250, false), expected);
        assert!(text(&learned, true, 0, 250, false).starts_with("Forgotten:\n"));
        assert_eq!(text(&Learned::default(), false, 0, 250, false), "nothing was learned yet\n");
    }
}
