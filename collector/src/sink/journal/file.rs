//! The journal's file: schema, limits, opening, and replacement of a broken file. Knows neither writers nor readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags};

use crate::private;

/// File name in the configured folder.
pub const FILE: &str = "journal.db";

/// `PRAGMA application_id`: "Hdrm".
pub(super) const APPLICATION: i32 = 0x4864_726d;

/// `PRAGMA user_version`.
pub(super) const VERSION: i32 = 1;

/// How long one connection waits for another's lock.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Page size in bytes.
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
    -- State of an alert's delivery to each receiver; without a time it is pending.
    CREATE TABLE delivery (
        sink TEXT NOT NULL, alert INTEGER NOT NULL, state TEXT NOT NULL, time INTEGER, PRIMARY KEY (sink, alert)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_alert ON delivery (alert);
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Older entries are removed.
    pub max_age: Duration,
    /// Maximum bytes on disk; the oldest entries are removed to stay below.
    pub max_bytes: u64,
}

/// State of one alert's delivery to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Delivered,
    /// The receiver permanently refused it.
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

/// Opens the file for writing, or creates it. A broken or foreign file is renamed and replaced by a new one; then the result
/// includes the new name of the old file, and the reason.
pub fn open(dir: &Path, limits: &Limits) -> Result<(Connection, Option<(PathBuf, String)>)> {
    private::folder(dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join(FILE);
    let reason = match open_checked(&path, limits) {
        Ok(connection) => return Ok((connection, None)),
        Err(error) if is_unusable(&error) => format!("{error:#}"),
        Err(error) => return Err(error),
    };
    let renamed = rename_broken(dir)?;
    Ok((open_checked(&path, limits)?, Some((renamed, reason))))
}

/// Opens another connection from the same process.
pub fn reopen(dir: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(FILE), flags)?;
    tune(&connection)?;
    Ok(connection)
}

/// A file in the journal's folder.
pub struct InFolder {
    pub path: PathBuf,
    pub is_ours: bool,
}

/// Everything in the journal's folder.
pub fn files(dir: &Path) -> std::io::Result<Vec<InFolder>> {
    let of = |entry: fs::DirEntry| InFolder {
        path: entry.path(),
        is_ours: entry.file_name().to_string_lossy().starts_with(FILE),
    };
    fs::read_dir(dir)?.map(|entry| entry.map(of)).collect()
}

/// Sizes of the file and of its write-ahead log, in bytes.
pub fn size(dir: &Path) -> (u64, u64) {
    let length = |name: &str| fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
    (length(FILE), length(&format!("{FILE}-wal")))
}

fn open_checked(path: &Path, limits: &Limits) -> Result<Connection> {
    // SQLite gives its other files the permissions of the first.
    private::claim(path).with_context(|| format!("open {}", path.display()))?;
    for suffix in ["-wal", "-shm"] {
        let other = path.with_file_name(format!("{FILE}{suffix}"));
        private::secure(&other).with_context(|| format!("open {}", other.display()))?;
    }
    let connection = Connection::open(path).with_context(|| format!("open {}", path.display()))?;
    let context = || format!("read {}", path.display());
    connection.busy_timeout(BUSY).with_context(context)?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = number("user_version").with_context(context)?;
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if tables.with_context(context)? == 0 {
        create(&connection).with_context(|| format!("create {}", path.display()))?;
    } else if number("application_id").with_context(context)? != APPLICATION {
        bail!(Unfit("the file belongs to another program".to_owned()));
    } else if version != VERSION {
        bail!(Unfit(format!("its layout has version {version}, but this program uses version {VERSION}")));
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
    // Has an effect only before the first table.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // One transaction: a half-created file would be renamed as broken at the next start.
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The agent may write nowhere but in the journal's folder.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Negative values are in KiB. Small, because pages are rarely read twice.
    connection.pragma_update(None, "cache_size", -512)?;
    // A checkpoint waits for the disk, so `tidy` does it on another thread, unless the log has become long.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4096, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))
}

/// Why a file that SQLite can read is not a usable journal.
#[derive(Debug)]
struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// Whether the file is broken or foreign, not just temporarily inaccessible.
pub(super) fn is_unusable(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let code = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        cause.is::<Unfit>() || matches!(code, Some(DatabaseCorrupt | NotADatabase))
    };
    error.chain().any(broken)
}

/// Renames the file, its -wal and its -shm. Only the latest renamed file is kept, because each may have the maximum size.
fn rename_broken(dir: &Path) -> Result<PathBuf> {
    let prefix = format!("{FILE}.corrupt-");
    let earlier = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    for entry in earlier.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().replace(':', "");
    let renamed = dir.join(format!("{prefix}{now}"));
    fs::rename(dir.join(FILE), &renamed).with_context(|| format!("rename {}", dir.join(FILE).display()))?;
    for suffix in ["-wal", "-shm"] {
        let (from, to) = (dir.join(format!("{FILE}{suffix}")), dir.join(format!("{prefix}{now}{suffix}")));
        // These exist only if the process ended without closing the file.
        let _ = fs::rename(from, to);
    }
    Ok(renamed)
}
