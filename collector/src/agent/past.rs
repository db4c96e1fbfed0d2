//! The last days, for advice and forecasts: a thread reads the history and the journal once a quarter of an hour, and hands over what is new.
//! Days that are over are read once a day. Knows nothing of what follows from them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::past::{Change, DAY_NS, Draft, Past, WORKLOADS, first_day, midnight};
use collector_core::tier::Tier;
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Config;
use crate::sink::history;
use crate::sink::journal::{self, Limits};

/// How long after the end of a quarter it is on the disk.
const DELAY: Duration = Duration::from_secs(60);
/// When a failure is tried again. The first is not told: at the start the files may just be created.
const RETRY: Duration = Duration::from_secs(60);
/// Most workloads that are new since the days that are over were read, and are looked at in a reading.
const NEW: usize = 512;
/// How old advice of before the start may be, in days, and how much of it counts.
const ADVICE_DAYS: u64 = 8;
const ADVICE: usize = 300;

/// Starts the thread. It ends with the process, or when nobody receives any more.
pub fn start(config: &Config) -> Result<mpsc::Receiver<Change>> {
    let journal = &config.journal;
    let limits = Limits { max_age: journal.max_age, max_bytes: journal.max_bytes as u64, readers: None };
    let (sender, changes) = mpsc::channel(1);
    let mut reading = Reading::new(journal.dir.clone(), limits, config.history.max_bytes > 0);
    let run = move || {
        let mut failures = 0_u64;
        loop {
            match reading.read(clock::unix_ns()) {
                Ok(parts) => {
                    failures = 0;
                    for part in parts {
                        if sender.blocking_send(part).is_err() {
                            return;
                        }
                    }
                    std::thread::sleep(until_next(clock::unix_ns()));
                }
                Err(error) => {
                    failures += 1;
                    if failures == 2 {
                        tracing::warn!("cannot read the last days; advice and forecasts go without: {error:#}");
                    }
                    std::thread::sleep(RETRY * u32::try_from(failures.min(15)).unwrap_or(15));
                }
            }
            if sender.is_closed() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("past".into()).spawn(run).context("start the thread that reads the last days")?;
    Ok(changes)
}

/// Until the quarter of an hour that is open now is on the disk.
fn until_next(now: u64) -> Duration {
    let step = Tier::QuarterHour.step();
    Duration::from_nanos(step - now % step) + DELAY
}

/// What was read, and what was handed over.
pub struct Reading {
    dir: PathBuf,
    limits: Limits,
    /// Without one, a file that an earlier agent left is not read.
    history: bool,
    /// The days before yesterday, as they were read on the day that began then.
    over: Option<(u64, Draft)>,
    sent: Past,
    /// Whether the advice of before the start was read.
    began: bool,
}

impl Reading {
    pub fn new(dir: PathBuf, limits: Limits, history: bool) -> Reading {
        Reading { dir, limits, history, over: None, sent: Past::default(), began: false }
    }

    /// What is new.
    pub fn read(&mut self, now: u64) -> Result<Vec<Change>> {
        let history = if self.history { history::Reader::find(&self.dir)? } else { None };
        let journal = journal::Reader::find(&self.dir)?;
        let (today, first) = (midnight(now), first_day(now));
        // What ended late yesterday is written after midnight, or after a disk that hung.
        let yesterday = today.saturating_sub(DAY_NS);
        let mut draft = match self.over.take() {
            Some((day, draft)) if day == today => draft,
            _ => {
                let mut draft = Draft::default();
                if let Some(history) = &history {
                    days_over(&mut draft, history, first, yesterday)?;
                }
                if let Some(journal) = &journal {
                    journal.kills(first, |kills| {
                        if kills.time < yesterday {
                            kills.add(&mut draft.events);
                        }
                    })?;
                    journal.each_alert(first, |time, alert| {
                        if time < yesterday {
                            draft.events.alert(&alert, first);
                        }
                    })?;
                }
                draft
            }
        };
        self.over = Some((today, draft.clone()));
        if let Some(history) = &history {
            last_days(&mut draft, history, yesterday, today)?;
        }
        let mut events_from = None;
        if let Some(journal) = &journal {
            journal.kills(yesterday, |kills| kills.add(&mut draft.events))?;
            journal.each_alert(yesterday, |_, alert| draft.events.alert(&alert, first))?;
            journal.firing()?.iter().for_each(|alert| draft.events.fires(alert, first, now));
            // Whole days only: a limit that moves with the clock is no news.
            let complete = journal.complete_since(&self.limits, now)?;
            events_from = Some(midnight(complete.saturating_add(DAY_NS - 1)));
        }
        let past = draft.finish(first, now, events_from);
        let mut parts = Change::between(&self.sent, &past);
        if let Some(journal) = journal.as_ref().filter(|_| !self.began) {
            let standing = journal.advice(now.saturating_sub(ADVICE_DAYS * DAY_NS), ADVICE)?;
            parts = Change::after(&standing, parts);
        }
        self.began = true;
        self.sent = past;
        Ok(parts)
    }
}

/// Days that are over, the last of them before `end`.
fn days_over(draft: &mut Draft, history: &history::Reader, first: u64, end: u64) -> Result<()> {
    let days = || (first..end).step_by(DAY_NS as usize);
    for day in days() {
        draft.host(&history.day(None, day)?);
    }
    if first < end {
        for (name, owner) in history.largest((first, end - 1), WORKLOADS)? {
            for day in days() {
                draft.workload(&name, &owner, &history.day(Some(&name), day)?);
            }
        }
        draft.counts(&history.counts(first, end)?);
    }
    Ok(())
}

/// Yesterday and today.
fn last_days(draft: &mut Draft, history: &history::Reader, yesterday: u64, today: u64) -> Result<()> {
    let days = [yesterday, today];
    for day in days {
        draft.host(&history.day(None, day)?);
    }
    let mut names: Vec<_> = draft.names().map(|(name, owner)| (name.to_string(), owner.to_string())).collect();
    names.extend(history.named((yesterday, today), NEW, |name| !draft.knows(name))?);
    for (name, owner) in names {
        for day in days {
            draft.workload(&name, &owner, &history.day(Some(&name), day)?);
        }
    }
    draft.counts(&history.counts(yesterday, today + DAY_NS)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::Arc;

    use collector_core::alert::{Alert, Severity, State};
    use collector_core::incident::{Incident, Kind, Limit};
    use collector_core::outcome::Outcome;
    use collector_core::series::Series;
    use collector_core::tier::{Code, Entry, KEPT, Quarter, ROUNDS, kept};

    use super::*;
    use crate::sink::history::file as history_file;
    use crate::sink::history::write::{Rows, append};
    use crate::sink::journal::write::Entry as Written;

    const QUARTER: u64 = Tier::QuarterHour.step();
    const MIB: f32 = (1 << 20) as f32;
    /// A quarter past noon of a day.
    const NOW: u64 = 20_000 * DAY_NS + DAY_NS / 2 + QUARTER;
    const LIMITS: Limits = Limits { max_age: Duration::from_secs(30 * 86_400), max_bytes: 64 << 20, readers: None };

    /// A temporary folder, removed on drop.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("headroom-past-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn entry(workload: &str, memory: f32) -> Entry {
        let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
        row[kept(Series::Memory).unwrap()] = ROUNDS.map(|round| Code::of(Series::Memory, memory, round));
        Entry { workload: (!workload.is_empty()).then(|| workload.into()), owner: None, seconds: 900, row }
    }

    fn write(folder: &Folder, quarters: &[Quarter]) {
        let limits = history_file::Limits {
            max_age: Duration::from_secs(90 * 86_400),
            max_bytes: 64 << 20,
            workloads: 20_000,
            workloads_of_owner: 2000,
        };
        let (mut connection, _) = history_file::open(&folder.0, limits.max_bytes).unwrap();
        let mut rows = Rows::default();
        quarters
            .iter()
            .for_each(|quarter| assert_eq!(append(&mut connection, quarter, &mut rows, &limits).unwrap(), 0));
    }

    fn journal(folder: &Folder, outcomes: Vec<(u64, Outcome)>) {
        let (mut connection, _) = journal::open(&folder.0, &LIMITS).unwrap();
        let entries = outcomes.into_iter().enumerate().map(|(index, (time, outcome))| Written::Outcome {
            id: time / 1000 + index as u64,
            time,
            outcome: Arc::new(outcome),
            sinks: Arc::new([]),
        });
        journal::write::append(&mut connection, &entries.collect::<Vec<_>>()).unwrap();
    }

    fn kill(time: u64, workload: &str) -> (u64, Outcome) {
        let mut incident = Incident::new(Kind::Oom, format!("i{time}"), time);
        incident.labels.insert("workload".to_owned(), workload.to_owned());
        (incident.evidence.killed, incident.evidence.limit) = (2, Some(Limit { own: true, ..Limit::default() }));
        (time, Outcome::from(incident))
    }

    fn alert(time: u64, resolved: Option<u64>) -> (u64, Outcome) {
        let alert = Alert {
            alert: "Full".into(),
            severity: Severity::Warning,
            labels: BTreeMap::new(),
            state: if resolved.is_some() { State::Resolved } else { State::Firing },
            started: time,
            fired: time,
            resolved,
            value: None,
            summary: String::new(),
            action: String::new(),
            incident: None,
            cause: None,
            updated: None,
        };
        (resolved.unwrap_or(time), Outcome::Alert(Box::new(alert)))
    }

    /// Reads as the thread does, and adds it up as the engine does.
    fn read(reading: &mut Reading, known: &mut Past, now: u64) -> usize {
        let parts = reading.read(now).unwrap();
        parts.iter().for_each(|part| known.apply(part));
        parts.iter().map(|part| serde_json::to_string(part).unwrap().len()).sum()
    }

    fn quarter(time: u64, entries: Vec<Entry>) -> Quarter {
        Quarter { time, entries, cards: Vec::new(), counts: Vec::new() }
    }

    #[test]
    fn without_files_there_is_nothing_and_it_is_said_when_that_was_read() {
        let folder = folder("nothing");
        let mut past = Past::default();
        read(&mut Reading::new(folder.0.clone(), LIMITS, true), &mut past, NOW);
        assert_eq!(past, Past { time: NOW, ..Past::default() });
        fs::write(folder.0.join("history.db"), b"not a database").unwrap();
        assert!(Reading::new(folder.0.clone(), LIMITS, true).read(NOW).is_err());
        assert!(Reading::new(folder.0.clone(), LIMITS, false).read(NOW).is_ok(), "no history is wanted");
    }

    #[test]
    fn days_kills_and_alerts_of_the_files_are_known_and_go_on() {
        let folder = folder("whole");
        let today = midnight(NOW);
        let both = |memory: f32| vec![entry("", 900.0 * MIB), entry("docker/web", memory * MIB)];
        let mut quarters: Vec<Quarter> =
            [5, 3, 1].map(|back| quarter(today - back * DAY_NS, both(64.0 * back as f32))).into();
        // Older than what is asked about.
        quarters.insert(0, quarter(today - 40 * DAY_NS, both(9000.0)));
        write(&folder, &quarters);
        let (old, yesterday) = (today - 3 * DAY_NS + 7, today - DAY_NS + 9);
        journal(
            &folder,
            vec![
                kill(old, "docker/web"),
                kill(yesterday, "docker/web"),
                alert(old, None),
                alert(old, Some(old + 3600 * 1_000_000_000)),
                alert(today, None),
            ],
        );
        let (mut reading, mut past) = (Reading::new(folder.0.clone(), LIMITS, true), Past::default());
        read(&mut reading, &mut past, NOW);
        let days = |past: &Past| {
            let of = |day: &collector_core::past::Day| {
                ((today - day.time) / DAY_NS, day.memory.map(|[.., most]| most / f64::from(MIB)), day.kills)
            };
            past.workloads["docker/web"].days.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(days(&past), [(5, Some(320.0), Some(0)), (3, Some(192.0), Some(2)), (1, Some(64.0), Some(2))]);
        assert_eq!((past.host.days.len(), past.host.days[1].kills, past.time), (3, Some(2), NOW));
        assert_eq!([&past.host, &past.workloads["docker/web"]].map(|of| of.days[1].kills_here), [Some(0), Some(2)]);
        assert_eq!(past.host.week.iter().map(|hour| hour.weeks).sum::<u16>(), 3);
        assert_eq!(past.workloads["docker/web"].week, [], "of the host alone");
        let fired: Vec<_> =
            past.alerts["Full"].iter().map(|day| ((today - day.time) / DAY_NS, day.fired, day.seconds)).collect();
        assert_eq!(fired, [(3, 1, 3600), (0, 1, 12 * 3600 + 900)], "one fires still");

        // A quarter of an hour later.
        write(
            &folder,
            &[quarter(today + DAY_NS / 2, both(128.0)), quarter(today, vec![entry("docker/new", 32.0 * MIB)])],
        );
        let bytes = read(&mut reading, &mut past, NOW + QUARTER);
        assert_eq!(days(&past)[3], (0, Some(128.0), Some(0)));
        assert!(past.workloads.contains_key("docker/new"));
        assert!(bytes < 4000, "only what is new is sent: {bytes}");
        let mut afresh = Past::default();
        read(&mut Reading::new(folder.0.clone(), LIMITS, true), &mut afresh, NOW + QUARTER);
        assert_eq!(past, afresh);

        // Days later, old days are forgotten; then the clock is set back.
        for now in [NOW + 26 * DAY_NS, NOW + QUARTER] {
            read(&mut reading, &mut past, now);
            let mut afresh = Past::default();
            read(&mut Reading::new(folder.0.clone(), LIMITS, true), &mut afresh, now);
            assert_eq!(past, afresh);
        }
    }

    #[test]
    fn advice_of_before_the_start_is_handed_over_once() {
        let folder = folder("advice");
        let told = |id: &str, state: serde_json::Value| {
            let advice = serde_json::json!({
                "id": id, "rule": "r", "object": "host", "title": "", "why": "", "evidence": [], "confidence": "low",
                "because": "", "risk": "low", "actions": [], "since": 1, "state": state,
            });
            Outcome::Advice(Box::new(serde_json::from_value(advice).unwrap()))
        };
        let gone = serde_json::json!({"gone": {"at": 2}});
        let told = [(1, told("a", "holds".into())), (2, told("b", "holds".into())), (3, told("a", gone))];
        journal(&folder, told.map(|(hour, outcome)| (NOW - DAY_NS + hour * QUARTER, outcome)).into());
        let mut reading = Reading::new(folder.0.clone(), LIMITS, true);
        let first = reading.read(NOW).unwrap();
        let states = first[0].standing.iter().map(|it| (it.advice.id.as_str(), it.state.label()));
        assert_eq!((states.collect::<Vec<_>>(), first[0].more), (vec![("a", "gone"), ("b", "holds")], true));
        assert!(first[1..].iter().chain(&reading.read(NOW + 1).unwrap()).all(|part| part.standing.is_empty()));
    }

    #[test]
    fn of_many_workloads_the_largest_are_known() {
        let folder = folder("many");
        let entries = (0..1500).map(|number| entry(&format!("w{number:04}"), (20 + number) as f32 * MIB)).collect();
        write(&folder, &[quarter(midnight(NOW) - 4 * DAY_NS, entries)]);
        let (mut reading, mut past) = (Reading::new(folder.0.clone(), LIMITS, true), Past::default());
        let bytes = read(&mut reading, &mut past, NOW);
        assert_eq!(past.workloads.len(), WORKLOADS);
        assert!(past.workloads.contains_key("w1499") && !past.workloads.contains_key("w0000"));
        println!("{WORKLOADS} workloads of a day: {bytes} bytes");
    }
}
