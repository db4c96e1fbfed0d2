//! Forecasts, and headroom by hour of the week: against the history that was left, whose numbers are known to the byte. No agent runs.

use std::path::Path;
use std::process::Output;

use collector::clock::unix_ns;
use collector_core::forecast::{Forecast, Resource, Shape};
use collector_core::lease::Decision;
use collector_core::past::hour_of_week;
use collector_core::zone::DAY_NAMES;
use collector_tests::agent::headroom;
use collector_tests::past::quarters;
use collector_tests::scratch::scratch;
use serde_json::Value;

use super::{days, words};

/// The exit codes of a question about one more.
const YES: i32 = 0;
const TIGHT: i32 = 20;

fn ask(journal: &Path, verb: &str, arguments: &[&str]) -> Output {
    let mut command = headroom(verb);
    // Nobody is there.
    command.env("HEADROOM_JOURNAL_DIR", journal).env("HEADROOM_SOCKET", journal.join("nobody.sock")).env("TZ", "UTC");
    command.args(["--config", "/dev/null"]).args(arguments).output().unwrap()
}

fn forecast(journal: &Path, arguments: &[&str], code: i32) -> Forecast {
    let output = ask(journal, "forecast", &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    words(&String::from_utf8_lossy(&output.stdout))
}

#[test]
fn forecasts_and_headroom_by_hour_have_the_numbers_of_the_history() {
    let (journal, now) = (scratch(), unix_ns());
    days::host(&journal, now);
    days::batch(&journal, now, 0);
    days::large(&journal, now);

    // A workload with a daily rhythm.
    let daily = forecast(&journal, &["--workload", days::BATCH, "--hours", "48"], 0);
    let memory = daily.outlooks.iter().find(|it| it.resource == Resource::Memory).unwrap();
    let hours = quarters(days::DAYS, now).count().div_ceil(4) as f64;
    let at = |time: u64| f64::from(if days::by_day(time) { days::BY_DAY } else { days::BY_NIGHT });
    let last = quarters(days::DAYS, now).last().unwrap();
    assert_eq!((memory.limit, memory.now, memory.known_hours), (Some(f64::from(days::LIMIT)), at(last), hours));
    assert_eq!((memory.shape, memory.reaches, memory.points.len()), (Shape::Daily, None, 48), "{memory:?}");
    // A rhythm of so few days is drawn to its mean, by a tenth.
    for point in &memory.points {
        let (truth, off) = (at(point.time), 0.1 * f64::from(days::BY_DAY));
        assert!(point.low <= truth + off && truth - off <= point.high, "{truth}: {point:?}");
        assert!((point.value - truth).abs() <= off, "{truth}: {point:?}");
    }
    let page = text(&ask(&journal, "forecast", &["--workload", days::BATCH]));
    assert!(page.contains("memory: ") && page.contains("EXPECTED"), "{page}");

    // One more of it, and one more of what is too large for one hour of the week.
    let share = 0.9;
    let limit = f64::from(days::MEMORY) * share;
    for (name, need, verdict, code) in
        [(days::BATCH, days::BY_DAY, Decision::Yes, YES), (days::LARGE, days::TAKES, Decision::Tight, TIGHT)]
    {
        let more = forecast(&journal, &["--one-more", name], code).one_more.unwrap();
        let part = more.parts.iter().find(|part| part.resource == Resource::Memory).unwrap();
        assert_eq!((more.verdict, part.need, part.limit), (verdict, f64::from(need), limit), "{more:?}");
        assert_eq!(part.free_least, limit - f64::from(days::MOST), "{part:?}");
        let short = if verdict == Decision::Tight { vec![hour_of_week(days::worst(now)) as u16] } else { Vec::new() };
        assert_eq!(part.short_hours, short, "{part:?}");
    }
    let nobody = ask(&journal, "forecast", &["--workload", "docker/nobody"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(nobody.status.code() == Some(2) && said.contains("docker/nobody"), "{nobody:?}");

    // The report of a week.
    let output = ask(&journal, "report", &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let digest: Value = serde_json::from_slice(&output.stdout).unwrap();
    let headroom = digest["headroom"].as_array().unwrap();
    assert!((167..=168).contains(&headroom.len()), "{}", headroom.len());
    let worst = hour_of_week(days::worst(now));
    for hour in headroom {
        let free = if hour["hour_of_week"] == worst { 1.0 - days::MOST / days::MEMORY } else { 0.75 };
        assert_eq!((&hour["free_ratio"], &hour["binds"]), (&free.into(), &"memory".into()), "{hour}");
    }
    assert_eq!(digest["host"]["memory_bytes"]["max"].as_f64(), Some(days::MOST.into()), "{digest}");
    for (name, peak) in [(days::BATCH, days::BY_DAY), (days::LARGE, days::TAKES)] {
        let workloads = digest["workloads"].as_array().unwrap();
        let found = workloads.iter().find(|it| it["workload"] == name).unwrap();
        assert_eq!(found["memory_bytes"]["max"].as_f64(), Some(peak.into()), "{found}");
    }
    let page = text(&ask(&journal, "report", &[]));
    let (day, hour) = (DAY_NAMES[worst / 24], worst % 24);
    assert!(page.contains(&format!("Minimum: 25 % of RAM on {day} at {hour:02}:00.")), "{page}");
    assert!(page.contains("Scarcest in the 16"), "{page}");
}
