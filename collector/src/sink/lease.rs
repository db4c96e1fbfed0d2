//! Keeps leases, and what was learned under them, for a restart: a thread writes each change before anybody learns that it was granted. The file is in the journal's
//! folder. Knows no rules: what comes back is what was written.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::circuit::unit::Record;
use collector_core::learn::{self, Entry};
use collector_core::lease::{Answer, Change, Lease, Step};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::database::{self, Layout};
use super::learned;

pub const LAYOUT: Layout = Layout { file: FILE, what: "file of reservations", version: 1, schema: SCHEMA };

/// File name in the journal's folder.
pub const FILE: &str = "lease.db";

const SCHEMA: &str = "
    CREATE TABLE lease (id INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
";

/// What came later: claims that wait, with whether they are from before the last start, and units that fail.
const LATER: &str = "
    CREATE TABLE IF NOT EXISTS claim (uid INTEGER, key TEXT, asked INTEGER NOT NULL, old INTEGER NOT NULL, PRIMARY KEY (uid, key)) STRICT;
    CREATE TABLE IF NOT EXISTS unit (uid INTEGER, name TEXT, json TEXT NOT NULL, PRIMARY KEY (uid, name)) STRICT;
";

/// The most that the file may have, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// How long the start waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes that are written together.
const TOGETHER: usize = 256;

enum Work {
    Keep(Box<Lease>),
    End(u64),
    Learned(Box<learn::Change>),
    /// A claim waits, or does no longer.
    Wait(Place),
    Leave {
        uid: u32,
        key: String,
    },
    Unit(Box<Record>),
    Answer(oneshot::Sender<Answer>, Box<Answer>),
    Stop,
}

/// A claim that waits, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub uid: u32,
    pub key: String,
    pub asked: u64,
}

/// What was held when the agent last ran.
#[derive(Debug, Default)]
pub struct Past {
    pub leases: Vec<Lease>,
    pub learned: Vec<Entry>,
    pub places: Vec<Place>,
    pub units: Vec<Record>,
    /// The last id that was given.
    pub last_id: u64,
}

pub struct Keeper {
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread, and reads what was held.
    pub fn start(dir: PathBuf) -> Result<(Keeper, Past)> {
        let (work, todo) = channel();
        let (read, past) = channel();
        let run = move || {
            let file = File::open(&dir);
            let (file, found) = match file {
                Ok((file, found)) => (Some(file), found),
                Err(error) => {
                    tracing::error!("reservations will not survive a restart of the agent: {error:#}");
                    (None, Past::default())
                }
            };
            let _ = read.send(found);
            write(file, &todo);
        };
        let thread =
            std::thread::Builder::new().name("lease".into()).spawn(run).context("start a thread for reservations")?;
        let past = past.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            tracing::error!(
                "reading the reservations takes longer than {PATIENCE:?}: the agent starts without those of before"
            );
            Past::default()
        });
        Ok((Keeper { work, thread }, past))
    }

    pub fn change(&self, change: &Change) {
        let lease = &change.lease;
        let place = lease.key.clone().map(|key| Place { uid: lease.uid, key, asked: lease.asked });
        match (change.step, place) {
            (Step::Waits, Some(place)) => self.send(Work::Wait(place)),
            (Step::Granted | Step::Withdrawn, Some(Place { uid, key, .. })) => self.send(Work::Leave { uid, key }),
            _ => {}
        }
        match change.step.is_end() {
            true => self.send(Work::End(lease.id)),
            false if lease.granted.is_some() => self.send(Work::Keep(Box::new(lease.clone()))),
            false => {}
        }
    }

    pub fn unit(&self, record: Box<Record>) {
        self.send(Work::Unit(record));
    }

    fn send(&self, work: Work) {
        let _ = self.work.send(work);
    }

    pub fn learned(&self, change: learn::Change) {
        let _ = self.work.send(Work::Learned(Box::new(change)));
    }

    /// Sends an answer once all changes before it are written.
    pub fn answer(&self, to: oneshot::Sender<Answer>, answer: Answer) {
        let _ = self.work.send(Work::Answer(to, Box::new(answer)));
    }

    /// Waits until everything is written.
    pub fn close(self) {
        let _ = self.work.send(Work::Stop);
        let _ = self.thread.join();
    }
}

fn write(mut file: Option<File>, todo: &Receiver<Work>) {
    let mut failed = false;
    while let Ok(first) = todo.recv() {
        let batch: Vec<Work> = std::iter::once(first).chain(todo.try_iter().take(TOGETHER)).collect();
        let written = file.as_mut().map_or(Ok(()), |file| file.write(&batch));
        if let Err(error) = &written
            && !failed
        {
            tracing::error!("reservations do not survive a restart of the agent for now: {error:#}");
        }
        failed = written.is_err();
        let mut stop = false;
        for work in batch {
            match work {
                // Who asked may have gone.
                Work::Answer(to, answer) => _ = to.send(*answer),
                Work::Stop => stop = true,
                _ => {}
            }
        }
        if stop {
            return;
        }
    }
}

struct File(Connection);

impl File {
    fn open(dir: &std::path::Path) -> Result<(File, Past)> {
        let (connection, replaced) = LAYOUT.open(dir, MAX_BYTES)?;
        if let Some((renamed, why)) = replaced {
            tracing::error!("the file of reservations was unusable ({why}) and is now {}", renamed.display());
        }
        connection.execute_batch(LATER).context("extend the file of reservations")?;
        let file = File(connection);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim();
        if file.fact("boot")?.as_deref() != Some(boot) {
            // No owner survives that, and pids count from the start.
            let forget = "DELETE FROM lease; DELETE FROM claim; DELETE FROM unit;";
            file.0.execute_batch(forget).context("forget the reservations of before the host started")?;
            file.set("boot", boot)?;
        }
        // Who did not come back after the last start has no place any more.
        let age = "DELETE FROM claim WHERE old > 0; UPDATE claim SET old = 1;";
        file.0.execute_batch(age).context("forget claims")?;
        let past = file.past()?;
        Ok((file, past))
    }

    fn fact(&self, name: &str) -> Result<Option<String>> {
        let found = self.0.query_row("SELECT value FROM fact WHERE name = ?1", [name], |row| row.get(0));
        found.optional().context("read the file of reservations")
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let set = self.0.execute("INSERT OR REPLACE INTO fact VALUES (?1, ?2)", [name, value]);
        set.map(|_| ()).context("write the file of reservations")
    }

    fn past(&self) -> Result<Past> {
        let leases = self.read("SELECT json FROM lease ORDER BY id", "reservation")?;
        let units = self.read("SELECT json FROM unit", "unit")?;
        let mut rows = self.0.prepare("SELECT uid, key, asked FROM claim").context("read the claims")?;
        let place = |row: &rusqlite::Row<'_>| {
            let asked: i64 = row.get(2)?;
            Ok(Place { uid: row.get(0)?, key: row.get(1)?, asked: u64::try_from(asked).unwrap_or(0) })
        };
        let places = rows.query_map([], place).context("read the claims")?;
        let places = places.collect::<Result<Vec<_>, _>>().context("read a claim")?;
        let last_id = self.fact("last")?.and_then(|last| last.parse().ok()).unwrap_or(0);
        Ok(Past { leases, learned: learned::past(&self.0)?, places, units, last_id })
    }

    /// All that is written as JSON; what an earlier version wrote otherwise is left out.
    fn read<T: DeserializeOwned>(&self, query: &str, what: &str) -> Result<Vec<T>> {
        let mut rows = self.0.prepare(query).with_context(|| format!("read each {what}"))?;
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).with_context(|| format!("read each {what}"))?;
        let mut all = Vec::new();
        for json in rows {
            match serde_json::from_str(&json.with_context(|| format!("read a {what}"))?) {
                Ok(one) => all.push(one),
                Err(error) => tracing::error!("a {what} of another version of headroom is forgotten: {error}"),
            }
        }
        Ok(all)
    }

    fn write(&mut self, batch: &[Work]) -> Result<()> {
        if batch.iter().all(|work| matches!(work, Work::Answer(..) | Work::Stop)) {
            return Ok(());
        }
        let all = self.0.transaction().context("begin to write reservations")?;
        let mut last = None;
        for work in batch {
            match work {
                Work::Keep(lease) => {
                    let json = serde_json::to_string(lease).context("write a reservation as JSON")?;
                    let id = i64::try_from(lease.id).unwrap_or(i64::MAX);
                    all.execute("INSERT OR REPLACE INTO lease VALUES (?1, ?2)", params![id, json])
                        .context("write a reservation")?;
                    last = last.max(Some(lease.id));
                }
                Work::End(id) => {
                    let id = i64::try_from(*id).unwrap_or(i64::MAX);
                    all.execute("DELETE FROM lease WHERE id = ?1", [id]).context("remove a reservation")?;
                }
                Work::Learned(change) => learned::write(&all, change)?,
                Work::Wait(Place { uid, key, asked }) => {
                    let asked = i64::try_from(*asked).unwrap_or(i64::MAX);
                    all.execute("INSERT OR REPLACE INTO claim VALUES (?1, ?2, ?3, 0)", params![uid, key, asked])
                        .context("write a claim")?;
                }
                Work::Leave { uid, key } => {
                    all.execute("DELETE FROM claim WHERE uid = ?1 AND key = ?2", params![uid, key])
                        .context("remove a claim")?;
                }
                Work::Unit(record) if record.state.circuits.is_empty() => {
                    all.execute("DELETE FROM unit WHERE uid = ?1 AND name = ?2", params![record.uid, &*record.unit])
                        .context("remove a unit")?;
                }
                Work::Unit(record) => {
                    let json = serde_json::to_string(record).context("write a unit as JSON")?;
                    all.execute(
                        "INSERT OR REPLACE INTO unit VALUES (?1, ?2, ?3)",
                        params![record.uid, &*record.unit, json],
                    )
                    .context("write a unit")?;
                }
                Work::Answer(..) | Work::Stop => {}
            }
        }
        if let Some(last) = last {
            let value = "INSERT INTO fact VALUES ('last', ?1) ON CONFLICT DO UPDATE SET value = max(CAST(value AS INTEGER), ?2)";
            let number = i64::try_from(last).unwrap_or(i64::MAX);
            all.execute(value, params![last.to_string(), number]).context("write the last number")?;
        }
        all.commit().context("write reservations")?;
        database::checkpoint(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::circuit::{Cause, unit};
    use collector_core::lease::{Body, Owner, Priority, Spent, State, Want};

    fn lease(id: u64) -> Lease {
        Lease {
            id,
            state: State::Starting,
            uid: 7,
            owner: Owner::Process { pid: 1, started: 2 },
            cgroup: Some("/a".into()),
            want: Want { cpu: 1, ..Want::default() },
            gpus: vec!["0".into()],
            priority: Priority::Normal,
            unit: None,
            evictable: false,
            anyone: false,
            eviction: None,
            key: Some("k".into()),
            asked: 1,
            granted: Some(2),
            expires: None,
            begins: None,
            occasion: None,
            touched: 2,
            base: Spent::default(),
            spent: Spent::default(),
            most: Spent::default(),
            orphans: Vec::new(),
            pids: Vec::new(),
            seen: Spent::default(),
            before: Vec::new(),
            learns: false,
            number: None,
        }
    }

    fn change(step: Step, id: u64) -> Change {
        Change { step, workload: None, lease: lease(id), sentence: String::new() }
    }

    #[test]
    fn what_was_answered_is_there_after_a_restart_and_no_number_is_given_twice() {
        let dir = std::env::temp_dir().join(format!("headroom-lease-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (keeper, past) = Keeper::start(dir.clone()).unwrap();
        assert_eq!((past.leases.len(), past.last_id), (0, 0));
        (9..=11).for_each(|id| keeper.change(&change(Step::Granted, id)));
        [9, 11].iter().for_each(|id| keeper.change(&change(Step::Released, *id)));
        let wait = |key: &str, step| {
            let lease = Lease { granted: None, key: Some(key.into()), asked: 5, ..lease(12) };
            keeper.change(&Change { lease, ..change(step, 12) });
        };
        ["stays", "leaves"].iter().for_each(|key| wait(key, Step::Waits));
        wait("leaves", Step::Withdrawn);
        let unit = |name: &str, failed: bool| {
            let circuits = failed.then(|| unit::Circuit::new(Cause::Oom)).into_iter().collect();
            keeper.unit(Box::new(Record {
                uid: 7,
                unit: name.into(),
                state: unit::Unit { circuits, ..Default::default() },
            }));
        };
        [("fails", true), ("failed", true), ("failed", false)].iter().for_each(|(name, failed)| unit(name, *failed));
        let (to, answered) = oneshot::channel();
        let body = Body::Refused { detail: String::new(), verdict: None };
        keeper.answer(to, Answer { number: 1, status: 201, body });
        answered.blocking_recv().unwrap();
        // As after a kill: the other process is still there.
        let (second, past) = Keeper::start(dir.clone()).unwrap();
        assert_eq!((past.leases, past.last_id), (vec![lease(10)], 11));
        assert_eq!(past.places, [Place { uid: 7, key: "stays".into(), asked: 5 }]);
        assert_eq!(past.units.iter().map(|it| &*it.unit).collect::<Vec<_>>(), ["fails"]);
        second.close();
        let (third, past) = Keeper::start(dir.clone()).unwrap();
        assert_eq!((past.places, past.units.len()), (Vec::new(), 1), "who does not come back has no place");
        third.close();
        keeper.close();
        let file = Connection::open(dir.join(FILE)).unwrap();
        file.execute("UPDATE fact SET value = 'another' WHERE name = 'boot'", []).unwrap();
        drop(file);
        let (keeper, past) = Keeper::start(dir.clone()).unwrap();
        let left = (past.leases.len(), past.units.len(), past.last_id);
        assert_eq!(left, (0, 0, 11), "the host has started again");
        keeper.close();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
