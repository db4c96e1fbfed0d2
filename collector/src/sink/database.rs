//! A SQLite file of the agent's own: opening, replacement of a broken file, limits. Knows neither what is in it, nor writers and readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::private;

/// `PRAGMA application_id`: "Hdrm".
const APPLICATION: i32 = 0x4864_726d;

/// How long one connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(2);

/// Page size in bytes.
pub const PAGE: u64 = 4096;

/// What a file is.
pub struct Layout {
    /// Its name in the configured folder.
    pub file: &'static str,
    /// What it is called in messages.
    pub what: &'static str,
    /// `PRAGMA user_version`.
    pub version: i32,
    pub schema: &'static str,
}

/// A file in the folder.
pub struct InFolder {
    pub path: PathBuf,
    pub is_ours: bool,
}

/// Everything in the folder. Files whose names begin with one of these are ours.
pub fn files(dir: &Path, ours: &[&str]) -> std::io::Result<Vec<InFolder>> {
    let of = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        InFolder { path: entry.path(), is_ours: ours.iter().any(|ours| name.starts_with(ours)) }
    };
    fs::read_dir(dir)?.map(|entry| entry.map(of)).collect()
}

impl Layout {
    /// Opens the file for writing, or creates it. A broken or foreign file is renamed and replaced by a new one; then the result
    /// includes the new name of the old file, and the reason.
    pub fn open(&self, dir: &Path, max_bytes: u64) -> Result<(Connection, Option<(PathBuf, String)>)> {
        private::folder(dir).with_context(|| format!("create {}", dir.display()))?;
        let path = dir.join(self.file);
        let reason = match self.open_checked(&path, max_bytes) {
            Ok(connection) => return Ok((connection, None)),
            Err(error) if is_unusable(&error) => format!("{error:#}"),
            Err(error) => return Err(error),
        };
        let renamed = self.rename_broken(dir)?;
        Ok((self.open_checked(&path, max_bytes)?, Some((renamed, reason))))
    }

    /// Opens another connection from the same process.
    pub fn reopen(&self, dir: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(dir.join(self.file), flags)?;
        tune(&connection)?;
        Ok(connection)
    }

    /// Opens it read-only, with or without an agent that writes to it.
    ///
    /// # Errors
    /// If the file is missing, not readable, or not of this version.
    pub fn read(&self, dir: &Path) -> Result<Connection> {
        let path = dir.join(self.file);
        let context = || format!("open the {} {}", self.what, path.display());
        fs::metadata(&path).with_context(context)?;
        // Without an agent the -wal and -shm files are missing. A user who may not create them can open the file only as
        // immutable.
        let wal = dir.join(format!("{}-wal", self.file)).exists();
        let opened = self.checked(open_as(&path, "mode=ro")).or_else(|error| match wal {
            true => Err(error),
            false => self.checked(open_as(&path, "immutable=1")),
        });
        opened.with_context(context)
    }

    /// Sizes of the file and of its write-ahead log, in bytes.
    pub fn size(&self, dir: &Path) -> (u64, u64) {
        let length = |name: &str| fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
        (length(self.file), length(&format!("{}-wal", self.file)))
    }

    fn open_checked(&self, path: &Path, max_bytes: u64) -> Result<Connection> {
        // SQLite gives its other files the permissions of the first.
        private::claim(path).with_context(|| format!("open {}", path.display()))?;
        for suffix in ["-wal", "-shm"] {
            let other = path.with_file_name(format!("{}{suffix}", self.file));
            private::secure(&other).with_context(|| format!("open {}", other.display()))?;
        }
        let connection = Connection::open(path).with_context(|| format!("open {}", path.display()))?;
        let context = || format!("read {}", path.display());
        connection.busy_timeout(BUSY).with_context(context)?;
        let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
        let version = number("user_version").with_context(context)?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        if tables.with_context(context)? == 0 {
            self.create(&connection).with_context(|| format!("create {}", path.display()))?;
        } else if number("application_id").with_context(context)? != APPLICATION {
            bail!(Unfit("the file belongs to another program".to_owned()));
        } else if version != self.version {
            let own = self.version;
            bail!(Unfit(format!("its layout has version {version}, but this program uses version {own}")));
        }
        tune(&connection).with_context(context)?;
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .with_context(|| format!("check {}", path.display()))?;
        if verdict != "ok" {
            bail!(Unfit(verdict));
        }
        let pages = (max_bytes / PAGE).max(64);
        connection.pragma_update(None, "max_page_count", pages as i64).with_context(context)?;
        Ok(connection)
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "page_size", PAGE as i64)?;
        // Has an effect only before the first table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        // One transaction: a half-created file would be renamed as broken at the next start.
        let (schema, version) = (self.schema, self.version);
        connection.execute_batch(&format!(
            "BEGIN; {schema} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version}; COMMIT;"
        ))
    }

    fn checked(&self, connection: Result<Connection>) -> Result<Connection> {
        let connection = connection?;
        let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).optional();
        let (application, version) = (number("application_id")?, number("user_version")?);
        let own = self.version;
        match (application, version) {
            (Some(APPLICATION), Some(version)) if version == own => Ok(connection),
            (Some(APPLICATION), Some(other)) => {
                Err(anyhow!("its layout has version {other}, but this program reads version {own}"))
            }
            _ => Err(anyhow!("the file is not a {} of headroom", self.what)),
        }
    }

    /// Renames the file, its -wal and its -shm. Only the latest renamed file is kept, because each may have the maximum size.
    fn rename_broken(&self, dir: &Path) -> Result<PathBuf> {
        let prefix = format!("{}.corrupt-", self.file);
        let earlier = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
        for entry in earlier.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
            }
        }
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().replace(':', "");
        let renamed = dir.join(format!("{prefix}{now}"));
        let path = dir.join(self.file);
        fs::rename(&path, &renamed).with_context(|| format!("rename {}", path.display()))?;
        for suffix in ["-wal", "-shm"] {
            let (from, to) = (dir.join(format!("{}{suffix}", self.file)), dir.join(format!("{prefix}{now}{suffix}")));
            // These exist only if the process ended without closing the file.
            let _ = fs::rename(from, to);
        }
        Ok(renamed)
    }
}

fn open_as(path: &Path, how: &str) -> Result<Connection> {
    // These three characters have a special meaning in a URI.
    let name = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{name}?{how}"), flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The agent may write nowhere but in the folder.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Negative values are in KiB. Small, because pages are rarely read twice.
    connection.pragma_update(None, "cache_size", -512)?;
    // A checkpoint waits for the disk, so it is done apart, unless the log has become long.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4096, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))
}

/// Bytes of the pages in use.
pub fn used(connection: &Connection) -> Result<u64> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (pages, free) = (number("page_count")?, number("freelist_count")?);
    Ok((pages - free).max(0) as u64 * number("page_size")? as u64)
}

/// Gives free pages back to the filesystem.
pub fn vacuum(connection: &Connection) -> Result<()> {
    connection.execute_batch("PRAGMA incremental_vacuum").context("free disk space")
}

pub fn checkpoint(connection: &Connection) -> Result<()> {
    // PASSIVE does not wait for readers or writers.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).context("checkpoint")
}

/// Why a file that SQLite can read is not usable.
#[derive(Debug)]
struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// Whether the file is broken or foreign, not just temporarily inaccessible.
pub fn is_unusable(error: &anyhow::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let code = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        cause.is::<Unfit>() || matches!(code, Some(DatabaseCorrupt | NotADatabase))
    };
    error.chain().any(broken)
}
