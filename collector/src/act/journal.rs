//! The actuator's journal: a row for each change, on the disk before the change is made. Knows no change.

use std::path::Path;

use anyhow::{Context as _, Result};
use collector_core::act::Record;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sink::database::Layout;

/// File name in the journal's folder.
const FILE: &str = "act.db";
const LAYOUT: Layout = Layout { file: FILE, what: "journal of the actuator", version: 1, schema: SCHEMA };

// `due` is when it is undone, in milliseconds since the host started.
const SCHEMA: &str = "
    CREATE TABLE action (
        id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, uid INTEGER NOT NULL, key TEXT, rule TEXT NOT NULL,
        failed INTEGER NOT NULL, pending INTEGER NOT NULL, due INTEGER, json TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX action_key ON action (uid, key) WHERE key IS NOT NULL;
    CREATE INDEX action_pending ON action (pending) WHERE pending = 1;
    CREATE INDEX action_time ON action (time);
";

/// The most that the file may have, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Changes that are kept. The oldest go, and with them their undo, unless they are to be undone by themselves.
const KEPT: i64 = 20_000;
/// Changes that a list has at most.
pub const LISTED: u64 = 1000;

pub struct Journal(Connection);

impl Journal {
    pub fn open(dir: &Path) -> Result<Journal> {
        let (connection, replaced) = LAYOUT.open(dir, MAX_BYTES)?;
        if let Some((renamed, why)) = replaced {
            tracing::error!(
                "the journal was unusable ({why}) and is now {}: what it says was changed is not undone by itself",
                renamed.display()
            );
        }
        // A change is made only after its row is on the disk, also if the power fails.
        connection.pragma_update(None, "synchronous", "FULL").context("set up the journal")?;
        Ok(Journal(connection))
    }

    /// Adds a change, which gets its id.
    pub fn add(&self, record: &mut Record) -> Result<()> {
        let all = self.0.unchecked_transaction().context("begin to write the journal")?;
        let (time, uid, key) = (signed(record.time), record.who.uid, &record.key);
        all.execute(
            "INSERT INTO action (time, uid, key, rule, failed, pending, json) VALUES (?1, ?2, ?3, ?4, 0, 1, '')",
            params![time, uid, key, record.rule],
        )
        .context("write the journal")?;
        record.id = u64::try_from(all.last_insert_rowid()).unwrap_or(0);
        put(&all, record)?;
        all.execute("DELETE FROM action WHERE pending = 0 AND id <= (SELECT max(id) FROM action) - ?1", params![KEPT])
            .context("remove old changes")?;
        all.commit().context("write the journal")
    }

    /// Replaces what is known of a change.
    pub fn put(&self, record: &Record) -> Result<()> {
        put(&self.0, record)
    }

    /// Replaces several at once, or none.
    pub fn put_all(&self, records: &[&Record]) -> Result<()> {
        let all = self.0.unchecked_transaction().context("begin to write the journal")?;
        records.iter().try_for_each(|record| put(&all, record))?;
        all.commit().context("write the journal")
    }

    pub fn get(&self, id: u64) -> Result<Option<Record>> {
        self.one("SELECT json FROM action WHERE id = ?1", params![signed(id)])
    }

    /// The change that a user asked for with this key.
    pub fn by_key(&self, uid: u32, key: &str) -> Result<Option<Record>> {
        self.one("SELECT json FROM action WHERE uid = ?1 AND key = ?2", params![uid, key])
    }

    /// The latest changes, the last first: all, or those of a user.
    pub fn list(&self, uid: Option<u32>, most: u64) -> Result<Vec<Record>> {
        let most = signed(most.min(LISTED));
        let query = "SELECT json FROM action WHERE ?1 IS NULL OR uid = ?1 ORDER BY id DESC LIMIT ?2";
        self.many(query, params![uid, most])
    }

    /// Those that must be looked at again, the first first.
    pub fn pending(&self) -> Result<Vec<Record>> {
        self.many("SELECT json FROM action WHERE pending = 1 ORDER BY id", params![])
    }

    /// How many these are.
    pub fn waiting(&self) -> Result<u64> {
        self.number("SELECT count(*) FROM action WHERE pending = 1", params![])
    }

    /// Those after one, the first first.
    pub fn after(&self, id: u64) -> Result<Vec<Record>> {
        self.many("SELECT json FROM action WHERE id > ?1 ORDER BY id LIMIT ?2", params![signed(id), signed(LISTED)])
    }

    /// When the next is undone, in milliseconds since the host started.
    pub fn due(&self) -> Result<Option<u64>> {
        let found =
            self.0.query_row("SELECT min(due) FROM action WHERE pending = 1", [], |row| row.get::<_, Option<i64>>(0));
        Ok(found.context("read the journal")?.map(|due| u64::try_from(due).unwrap_or(0)))
    }

    /// How many changes a rule has allowed since then, without those that failed.
    pub fn count(&self, rule: &str, since: u64) -> Result<u64> {
        let query = "SELECT count(*) FROM action WHERE rule = ?1 AND time >= ?2 AND failed = 0";
        self.number(query, params![rule, signed(since)])
    }

    fn number(&self, query: &str, with: impl rusqlite::Params) -> Result<u64> {
        let count = self.0.query_row(query, with, |row| row.get::<_, i64>(0)).context("read the journal")?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn one(&self, query: &str, with: impl rusqlite::Params) -> Result<Option<Record>> {
        let found = self.0.query_row(query, with, json).optional().context("read the journal")?;
        found.map(|json| serde_json::from_str(&json).context("understand a change of the journal")).transpose()
    }

    fn many(&self, query: &str, with: impl rusqlite::Params) -> Result<Vec<Record>> {
        let mut rows = self.0.prepare(query).context("read the journal")?;
        let rows = rows.query_map(with, json).context("read the journal")?;
        let read = |json: rusqlite::Result<String>| {
            serde_json::from_str(&json.context("read a change")?).context("understand a change of the journal")
        };
        rows.map(read).collect()
    }
}

fn json(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}

fn put(to: &Connection, record: &Record) -> Result<()> {
    use collector_core::act::State;
    let json = serde_json::to_string(record).context("write a change as JSON")?;
    let due = record.until_boot.filter(|_| record.state == State::Done).map(signed);
    let failed = record.state == State::Failed;
    to.execute(
        "UPDATE action SET failed = ?2, pending = ?3, due = ?4, json = ?5 WHERE id = ?1",
        params![signed(record.id), failed, record.is_pending(), due, json],
    )
    .context("write the journal")
    .map(drop)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::act::{Object, State, Who};
    use collector_core::action::{Kind, Risk};

    fn record(key: &str) -> Record {
        Record {
            id: 0,
            time: 1000,
            boot: "b".to_owned(),
            who: Who { uid: 7, pid: 1, comm: "sh".to_owned() },
            why: None,
            advice: None,
            key: Some(key.to_owned()),
            rule: "r".to_owned(),
            kind: Kind::MemoryMax,
            object: Object::Cgroup { path: "/a".to_owned(), id: 7 },
            risk: Risk::High,
            forced: false,
            steps: Vec::new(),
            until: None,
            until_boot: None,
            state: State::Intended,
            note: None,
            ending: None,
        }
    }

    #[test]
    fn what_was_written_down_is_there_after_a_restart_and_no_key_twice() {
        let dir = std::env::temp_dir().join(format!("headroom-act-journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let journal = Journal::open(&dir).unwrap();
        let [mut one, mut two, mut three] = ["a", "b", "c"].map(record);
        [&mut one, &mut two, &mut three].into_iter().for_each(|it| journal.add(it).unwrap());
        assert_eq!([one.id, two.id, three.id], [1, 2, 3]);
        assert!(journal.add(&mut record("a")).is_err(), "the same key");
        (two.state, two.until_boot) = (State::Done, Some(77));
        three.state = State::Failed;
        journal.put_all(&[&two, &three]).unwrap();
        // As after a kill: the other connection is still there.
        let again = Journal::open(&dir).unwrap();
        assert_eq!(again.get(1).unwrap(), Some(one));
        assert_eq!(again.by_key(7, "b").unwrap(), Some(two));
        assert_eq!(again.by_key(8, "b").unwrap(), None, "somebody else's");
        let ids = |list: Vec<Record>| list.into_iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(again.list(None, 2).unwrap()), [3, 2]);
        assert_eq!(ids(again.list(Some(8), 9).unwrap()), [0; 0]);
        assert_eq!((ids(again.pending().unwrap()), again.waiting().unwrap()), (vec![1, 2], 2));
        assert_eq!((again.due().unwrap(), ids(again.after(1).unwrap())), (Some(77), vec![2, 3]));
        assert_eq!(
            [again.count("r", 1000), again.count("r", 1001), again.count("x", 0)].map(Result::unwrap),
            [2, 0, 0]
        );
        let _ = std::fs::remove_dir_all(&dir);
    }
}
