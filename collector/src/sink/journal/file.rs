//! The journal's file: its tables, its bounds, how it is opened, and what becomes of one that is broken. Knows neither who
//! writes nor who reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags};

/// Name of the file in the configured folder.
pub const FILE: &str = "journal.db";

/// `PRAGMA application_id`: "Hdrm".
pub(super) const APPLICATION: i32 = 0x4864_726d;

/// `PRAGMA user_version`.
pub(super) const VERSION: i32 = 1;

/// How long one connection waits for another's lock.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

const SCHEMA: &str = "
    CREATE TABLE alert (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL
    );
    -- The last alert of each rule and label set that has not resolved.
    CREATE TABLE firing (
        alert TEXT NOT NULL, labels TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (alert, labels)
    ) WITHOUT ROWID;
    CREATE TABLE incident (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
    );
    CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, body TEXT NOT NULL);
    -- What became of an alert on its way to each receiver; without a time it is still on its way.
    CREATE TABLE delivery (
        sink TEXT NOT NULL, alert INTEGER NOT NULL, state TEXT NOT NULL, time INTEGER, PRIMARY KEY (sink, alert)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_alert ON delivery (alert);
";

/// How much the journal keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Older entries are removed.
    pub max_age: Duration,
    /// Bytes on disk; the oldest entries are removed before they are reached.
    pub max_bytes: u64,
}

/// State of one alert's delivery to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Delivered,
    /// The receiver refused it for good.
    Refused,
    /// The queue was full.
    Dropped,
}

impl Progress {
    pub(super) fn label(self) -> &'static str {
        match self {
            Progress::Pending => "pending",
            Progress::Delivered => "delivered",
            Progress::Refused => "refused",
            Progress::Dropped => "dropped",
        }
    }
}

/// Opens the file for writing, or creates it. A broken file, or one that is not ours, is renamed and a new one created;
/// then the new name of the old file comes back, with the reason.
pub fn open(dir: &Path, limits: &Limits) -> Result<(Connection, Option<(PathBuf, String)>)> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let path = dir.join(FILE);
    let reason = match open_sound(&path, limits) {
        Ok(connection) => return Ok((connection, None)),
        Err(error) if is_beyond_use(&error) => format!("{error:#}"),
        Err(error) => return Err(error),
    };
    let aside = set_aside(dir)?;
    Ok((open_sound(&path, limits)?, Some((aside, reason))))
}

/// Opens one more connection from the same process.
pub fn reopen(dir: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(FILE), flags)?;
    tune(&connection)?;
    Ok(connection)
}

/// Bytes of the file and of its write-ahead log.
pub fn size(dir: &Path) -> (u64, u64) {
    let length = |name: &str| fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
    (length(FILE), length(&format!("{FILE}-wal")))
}

fn open_sound(path: &Path, limits: &Limits) -> Result<Connection> {
    let connection = Connection::open(path).with_context(|| format!("open {}", path.display()))?;
    let context = || format!("read {}", path.display());
    connection.busy_timeout(BUSY).with_context(context)?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = number("user_version").with_context(context)?;
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if tables.with_context(context)? == 0 {
        create(&connection).with_context(|| format!("make {}", path.display()))?;
    } else if number("application_id").with_context(context)? != APPLICATION {
        bail!(Unfit("it is another program's".to_owned()));
    } else if version != VERSION {
        bail!(Unfit(format!("its layout is version {version}, and this program's {VERSION}")));
    }
    tune(&connection).with_context(context)?;
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .with_context(|| format!("check {}", path.display()))?;
    if verdict != "ok" {
        bail!(Unfit(verdict));
    }
    let pages = (limits.max_bytes / PAGE).max(64);
    connection.pragma_update(None, "max_page_count", pages as i64).with_context(context)?;
    Ok(connection)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE as i64)?;
    // Before the first table, or it has no effect.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // All or nothing: a half-made file would be set aside at the next start.
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // In KiB when negative; what is read is read once.
    connection.pragma_update(None, "cache_size", -512)?;
    // A checkpoint waits for the disk: somebody else does it (`tidy`), unless the log has become long.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4096, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))
}

/// Why a file that SQLite can read is none of ours.
#[derive(Debug)]
struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// Whether the file is broken or not ours, rather than out of reach for now.
pub(super) fn is_beyond_use(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let code = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        cause.is::<Unfit>() || matches!(code, Some(DatabaseCorrupt | NotADatabase))
    };
    error.chain().any(broken)
}

/// Moves the file and what belongs to it out of the way. Only the last one that was set aside is kept: each may be as large
/// as a journal may be.
fn set_aside(dir: &Path) -> Result<PathBuf> {
    let prefix = format!("{FILE}.corrupt-");
    let earlier = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    for entry in earlier.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().replace(':', "");
    let aside = dir.join(format!("{prefix}{now}"));
    fs::rename(dir.join(FILE), &aside).with_context(|| format!("move {} aside", dir.join(FILE).display()))?;
    for suffix in ["-wal", "-shm"] {
        let (from, to) = (dir.join(format!("{FILE}{suffix}")), dir.join(format!("{prefix}{now}{suffix}")));
        // They are there only if the file was in use when its process ended.
        let _ = fs::rename(from, to);
    }
    Ok(aside)
}
