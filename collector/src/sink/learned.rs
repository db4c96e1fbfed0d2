//! What was learned of work, in the file of reservations. It outlives a restart of the host, as work does. Knows no threads.

use anyhow::{Context as _, Result};
use collector_core::learn::{Change, Entry};
use rusqlite::{Connection, params};

/// Files of earlier versions have no such table.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS learned (id INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT";

/// Everything that is kept. What another version wrote, and this one cannot read, is forgotten.
pub fn past(file: &Connection) -> Result<Vec<Entry>> {
    file.execute(TABLE, []).context("make a table for what is learned")?;
    let mut rows = file.prepare("SELECT json FROM learned ORDER BY id").context("read what was learned")?;
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).context("read what was learned")?;
    let mut entries = Vec::new();
    for json in rows {
        match serde_json::from_str(&json.context("read what was learned")?) {
            Ok(entry) => entries.push(entry),
            Err(error) => tracing::warn!("what another version of headroom learned is forgotten: {error}"),
        }
    }
    Ok(entries)
}

pub fn write(file: &Connection, change: &Change) -> Result<()> {
    let number = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    match change {
        Change::Kept(entry) => {
            let json = serde_json::to_string(entry).context("write what was learned as JSON")?;
            file.execute("INSERT OR REPLACE INTO learned VALUES (?1, ?2)", params![number(entry.id), json])
        }
        Change::Forgotten(id) => file.execute("DELETE FROM learned WHERE id = ?1", [number(*id)]),
    }
    .map(|_| ())
    .context("write what was learned")
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::learn::{Peaks, Work};

    #[test]
    fn what_was_learned_is_there_until_it_is_forgotten_and_what_is_no_entry_is_left_out() {
        let file = Connection::open_in_memory().unwrap();
        assert_eq!(past(&file).unwrap(), []);
        let entry = |id: u64, times: u64| Entry {
            id,
            uid: 7,
            work: Work { names: vec!["a".into()], settings: "0a".into(), name: "a".into(), ..Work::default() },
            gpu: Some("NVIDIA H100".into()),
            times,
            peaks: Peaks { soft: 3, ..Peaks::default() },
            settled_ns: 1,
            first: 2,
            last: 3,
            killed: true,
        };
        for change in [Change::Kept(entry(1, 1)), Change::Kept(entry(2, 1)), Change::Kept(entry(1, 2))] {
            write(&file, &change).unwrap();
        }
        assert_eq!(past(&file).unwrap(), [entry(1, 2), entry(2, 1)]);
        write(&file, &Change::Forgotten(1)).unwrap();
        file.execute("INSERT INTO learned VALUES (9, '{\"id\":9}')", []).unwrap();
        assert_eq!(past(&file).unwrap(), [entry(2, 1)]);
    }
}
