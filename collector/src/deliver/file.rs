//! Alerts as lines of a file, as `tail` and programs that read logs want them. A path may be renamed, removed or replaced at any
//! time, and may be anything: only a regular file is ever opened, and a disk that hangs is waited for by a thread of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use collector_core::alert::{Alert, State};
use collector_core::text::shown;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::post::Failure;
use super::queue::Message;
use crate::config::sink::FileSink;
use crate::mutex::lock;

/// How long a write may take until it counts as failed. It is not given up: the next attempt waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the owner, and its group to read.
const MODE: u32 = 0o640;
/// At most this many characters of a summary.
const SUMMARY: usize = 2000;

/// The file at a path, and the lines that go there.
pub struct Lines {
    place: Arc<Mutex<Place>>,
    local: bool,
    /// A write that was late: of the alerts that are delivered again now.
    late: Option<JoinHandle<io::Result<()>>>,
}

struct Place {
    path: PathBuf,
    file: Option<File>,
}

impl Lines {
    /// # Errors
    /// If there is no such folder.
    pub fn new(sink: &FileSink) -> anyhow::Result<Lines> {
        let folder = sink.path.parent().unwrap_or(Path::new("/"));
        ensure!(folder.is_dir(), "the folder {} does not exist", folder.display());
        let [local, _] = FileSink::TIMES;
        let place = Place { path: sink.path.clone(), file: None };
        Ok(Lines { place: Arc::new(Mutex::new(place)), local: sink.time == local, late: None })
    }

    /// Appends a line for each alert, all of them or none.
    pub async fn append(&mut self, batch: &[Arc<Message>]) -> Result<(), Failure> {
        let mut write = match self.late.take() {
            Some(late) => late,
            None => {
                let text: String = batch.iter().map(|message| line(&message.alert, self.local)).collect();
                let place = self.place.clone();
                spawn_blocking(move || lock(&place).append(text.as_bytes()))
            }
        };
        match timeout(PATIENCE, &mut write).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Failure::Later(error.to_string())),
            Ok(Err(error)) => Err(Failure::Later(error.to_string())),
            Err(_) => {
                self.late = Some(write);
                Err(Failure::Later(format!("the disk does not answer within {PATIENCE:?}")))
            }
        }
    }
}

impl Place {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let file = match self.file.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => open(&self.path)?,
        };
        let file = self.file.insert(file);
        let before = file.metadata()?.len();
        file.write_all(text).inspect_err(|_| {
            // A full disk takes the beginning: the next attempt writes all of it. If that cannot be taken back, it is there twice.
            if file.metadata().is_ok_and(|now| now.len() > before) {
                let _ = file.set_len(before);
            }
        })
    }
}

/// Whether this is still the file at the path: it may have been renamed, removed or replaced.
fn is_at(file: &File, path: &Path) -> bool {
    let of = |it: &fs::Metadata| (it.dev(), it.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => of(&ours) == of(&there),
        _ => false,
    }
}

/// Opens or creates a regular file. Of anything else the type is known before it is opened, and nothing is waited for.
fn open(path: &Path) -> io::Result<File> {
    let unfit =
        || io::Error::new(ErrorKind::InvalidInput, "it is a link, a pipe, a device or a folder, and not a file");
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => return Err(unfit()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // What was put there since then is neither followed nor waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(unfit()) }
}

/// `2025-12-08 10:35:00 ALERT: High memory usage: 92% (18.4GB/20GB)`
fn line(alert: &Alert, local: bool) -> String {
    let (time, what) = match (alert.state, alert.updated) {
        (State::Resolved, _) => (alert.resolved.unwrap_or(alert.fired), "RESOLVED"),
        (State::Firing, Some(updated)) => (updated, "CORRECTED"),
        (State::Firing, None) => (alert.fired, "ALERT"),
    };
    let summary = alert.summary.strip_prefix("Resolved: ").unwrap_or(&alert.summary);
    let summary: String = shown(summary).chars().take(SUMMARY).collect();
    format!("{} {what}: {summary}\n", stamp(time, local))
}

/// A time in nanoseconds since the Unix epoch: `2025-12-08 10:35:00`.
fn stamp(time: u64, local: bool) -> String {
    let seconds = (time / 1_000_000_000) as libc::time_t;
    // SAFETY: all zero is a valid value of this C structure.
    let mut civil: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let done = unsafe {
        match local {
            true => libc::localtime_r(&seconds, &mut civil),
            false => libc::gmtime_r(&seconds, &mut civil),
        }
    };
    if done.is_null() {
        // A year that does not fit.
        return seconds.to_string();
    }
    let libc::tm { tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec, .. } = civil;
    let (year, month) = (i64::from(tm_year) + 1900, tm_mon + 1);
    format!("{year:04}-{month:02}-{tm_mday:02} {tm_hour:02}:{tm_min:02}:{tm_sec:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::alert;
    use crate::source::test::Tree;

    const TIME: u64 = 1_765_190_100_000_000_000;

    fn place(path: PathBuf) -> Place {
        Place { path, file: None }
    }

    #[test]
    fn an_alert_is_a_line_of_this_form_whatever_is_in_it() {
        let hot = Alert { summary: "High memory usage: 92% (18.4GB/20GB)".to_owned(), ..alert("Hot", TIME) };
        assert_eq!(line(&hot, false), "2025-12-08 10:35:00 ALERT: High memory usage: 92% (18.4GB/20GB)\n");
        let over = hot.clone().resolved(TIME + 300_000_000_000);
        assert_eq!(line(&over, false), "2025-12-08 10:40:00 RESOLVED: High memory usage: 92% (18.4GB/20GB)\n");
        let other = Alert { updated: Some(TIME + 60_000_000_000), ..hot.clone() };
        assert!(line(&other, false).starts_with("2025-12-08 10:36:00 CORRECTED: High"));
        let forged = Alert { summary: "a\n2025-12-08 10:35:00 ALERT: b\x1b[2J\u{202e}".to_owned(), ..hot.clone() };
        let shown = line(&forged, false);
        assert_eq!(shown, "2025-12-08 10:35:00 ALERT: a\\x0a2025-12-08 10:35:00 ALERT: b\\x1b[2J\\xe2\\x80\\xae\n");
        let long = Alert { summary: "x".repeat(1 << 20), ..hot };
        assert!(line(&long, false).len() < SUMMARY + 40);
        assert_eq!(stamp(0, false), "1970-01-01 00:00:00");
    }

    #[test]
    fn local_time_is_what_date_says() {
        let said = std::process::Command::new("date").args(["-d", "@1765190100", "+%F %T"]).output().unwrap();
        assert_eq!(stamp(TIME, true), String::from_utf8(said.stdout).unwrap().trim());
    }

    #[test]
    fn a_file_that_was_renamed_or_removed_is_opened_again() {
        let tree = Tree::new();
        let path = tree.0.join("alerts.log");
        let mut place = place(path.clone());
        place.append(b"one\n").unwrap();
        place.append(b"two\n").unwrap();
        fs::rename(&path, tree.0.join("alerts.log.1")).unwrap();
        place.append(b"three\n").unwrap();
        fs::remove_file(&path).unwrap();
        place.append(b"four\n").unwrap();
        // As logrotate's `create` and `copytruncate` leave it.
        fs::rename(&path, tree.0.join("alerts.log.2")).unwrap();
        fs::write(&path, "").unwrap();
        place.append(b"five\n").unwrap();
        File::options().write(true).truncate(true).open(&path).unwrap();
        place.append(b"six\n").unwrap();
        let read = |name: &str| fs::read_to_string(tree.0.join(name)).unwrap();
        assert_eq!([read("alerts.log.1"), read("alerts.log.2"), read("alerts.log")], ["one\ntwo\n", "four\n", "six\n"]);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once_and_a_file_in_its_place_is_taken() {
        let tree = Tree::new();
        let path = tree.0.join("alerts.log");
        let mut place = place(path.clone());
        let refused = |place: &mut Place| place.append(b"x\n").unwrap_err().to_string();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(refused(&mut place).contains("not a file"), "a pipe");
        fs::remove_file(&path).unwrap();
        fs::write(tree.0.join("victim"), "").unwrap();
        std::os::unix::fs::symlink(tree.0.join("victim"), &path).unwrap();
        assert!(refused(&mut place).contains("not a file"), "a link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused(&mut place).contains("not a file"), "a folder");
        fs::remove_dir(&path).unwrap();
        place.append(b"x\n").unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(tree.0.join("victim")).unwrap()), (b"x\n".to_vec(), vec![]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7, 0, "not for others");
    }
}
