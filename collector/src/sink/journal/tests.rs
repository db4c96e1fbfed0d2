//! The whole journal: reading back, limits, and recovery from broken files.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use collector_core::alert::{Alert, State};
use collector_core::incident::Incident;
use collector_core::outcome::Outcome;
use collector_core::pressure::{self, Resource, Stall, Trigger};
use collector_core::standing::Standing;
use rusqlite::Connection;

use super::file::{FILE, LAYOUT, Limits, Progress, open};
use super::read::{self, Reader};
use super::thread::{Journal, Past, Started, Wanted};
use super::tidy;
use super::write::{Entry, append};
use crate::sink::database::PAGE;
use crate::sink::test::{alert, incident};

const LIMITS: Limits = Limits { max_age: Duration::from_secs(3600), max_bytes: 16 << 20, readers: None };
const MINUTE: u64 = 60_000_000;

/// A temporary folder, removed on drop, and the threads of journals in it.
struct Folder(PathBuf, RefCell<Vec<Receiver<()>>>);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headroom-journal-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path, RefCell::default())
    }

    /// Starts a journal's thread.
    fn start(&self, dir: &Path) -> (Journal, Receiver<Option<Past>>) {
        let wanted = Wanted { sinks: vec!["a".into(), "b".into()], pending: 10, incidents: 10 };
        let Started { journal, past, ended } = Journal::start(dir.to_owned(), LIMITS, wanted).unwrap();
        self.1.borrow_mut().push(ended);
        (journal, past)
    }

    /// Waits until the threads have ended, whose journals must have been dropped.
    fn wait(&self) {
        for ended in self.1.borrow_mut().drain(..) {
            let _ = ended.recv();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A thread that still closes its files would make one of them again while the folder is removed.
        self.wait();
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn sinks(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn alert_entry(id: u64, alert: Alert, to: &[&str]) -> Entry {
    Entry::Outcome { id, time: id * 1000, outcome: Arc::new(Outcome::Alert(Box::new(alert))), sinks: sinks(to) }
}

fn incident_entry(id: u64, incident: Incident) -> Entry {
    Entry::Outcome { id, time: id * 1000, outcome: Arc::new(Outcome::Incident(Box::new(incident))), sinks: sinks(&[]) }
}

fn event(id: u64) -> Entry {
    let trigger = Trigger { resource: Resource::Memory, kind: pressure::Kind::Waiting, threshold_ns: 5, window_ns: 10 };
    let outcome = Outcome::Pressure(Stall { trigger, total_ns: Some(id) });
    Entry::Outcome { id, time: id * 1000, outcome: Arc::new(outcome), sinks: sinks(&[]) }
}

fn resolved(name: &str) -> Alert {
    Alert { state: State::Resolved, resolved: Some(9), ..alert(name, 1) }
}

fn names(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| &*alert.alert).collect()
}

#[test]
fn advice_is_read_back_with_what_became_of_it() {
    let folder = Folder::new();
    let (mut connection, _) = open(&folder.0, &LIMITS).unwrap();
    let standing = |state: serde_json::Value| -> Standing {
        let advice = serde_json::json!({
            "id": "r:host", "rule": "r", "object": "host", "title": "{\"advice\":", "why": "", "evidence": [], "confidence": "low",
            "because": "", "risk": "low", "actions": [], "since": 1, "state": state,
        });
        serde_json::from_value(advice).unwrap()
    };
    let begun = standing("holds".into());
    let gone = standing(serde_json::json!({"gone": {"at": 7}}));
    let entry = |id: u64, standing: &Standing| {
        let outcome = Outcome::Advice(Box::new(standing.clone()));
        Entry::Outcome { id, time: id * 1000, outcome: Arc::new(outcome), sinks: sinks(&[]) }
    };
    append(&mut connection, &[event(1), entry(2, &begun), event(3), entry(4, &gone), entry(5, &begun)]).unwrap();
    let reader = Reader::open(&folder.0).unwrap();
    assert_eq!(reader.advice_before(5000).unwrap(), [(2000, begun), (4000, gone)]);
    assert_eq!(reader.advice_before(2000).unwrap(), []);
}

#[test]
fn written_entries_are_read_back() {
    let folder = Folder::new();
    let (mut connection, renamed) = open(&folder.0, &LIMITS).unwrap();
    assert!(renamed.is_none());
    let complete = Incident { complete: true, ..incident("i-1") };
    let entries = [
        event(1),
        incident_entry(2, incident("i-1")),
        alert_entry(3, alert("Hot", 3), &["a", "b"]),
        alert_entry(4, alert("Full", 4), &["a"]),
        alert_entry(5, resolved("Full"), &["a"]),
        incident_entry(6, complete.clone()),
        incident_entry(7, incident("i-10")),
        Entry::Progress { sink: "a".into(), alerts: vec![3, 4], progress: Progress::Delivered, time: 9 },
    ];
    append(&mut connection, &entries).unwrap();

    let reader = Reader::open(&folder.0).unwrap();
    assert_eq!(names(&reader.firing().unwrap()), ["Hot"]);
    let all = reader.alerts(2).unwrap();
    assert_eq!(
        all.iter().map(|stored| (stored.id, stored.alert.state)).collect::<Vec<_>>(),
        [(4, State::Firing), (5, State::Resolved)]
    );
    assert_eq!(all[0].deliveries, [read::Delivery { sink: "a".into(), state: "delivered".into(), time: Some(9) }]);
    let pending = |sink: &str| reader.pending(sink, 9).unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!((pending("a"), pending("b"), pending("c")), (vec![5], vec![3], vec![]));
    assert_eq!(reader.incident("i-1").unwrap(), Some(complete), "the exact id, in its last state");
    assert_eq!(reader.incident("i-10").unwrap(), reader.last_incident().unwrap());
    assert!(reader.incident("i").is_err(), "the prefix is ambiguous");
    assert!(reader.incident("j").unwrap().is_none() && reader.incident("%").unwrap().is_none());
    let ids = |events: Vec<read::Event>| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(reader.last_events(9).unwrap()), [1, 2, 3, 4, 5, 7]);
    assert_eq!(ids(reader.last_events(2).unwrap()), [5, 7]);
    assert_eq!(ids(reader.events_after(2, 2).unwrap()), [3, 4]);
    let events = serde_json::to_value(reader.events_after(0, 3).unwrap()).unwrap();
    assert_eq!(events[0]["pressure"]["total_ns"], 1);
    assert_eq!((&events[1]["incident"]["id"], &events[2]["alert"]["alert"]), (&"i-1".into(), &"Hot".into()));
    assert_eq!(reader.last_id().unwrap(), 7);
}

#[test]
fn old_entries_are_removed_and_firing_alerts_stay() {
    let folder = Folder::new();
    let (mut connection, _) = open(&folder.0, &LIMITS).unwrap();
    let old = [event(1), incident_entry(2, incident("i-1")), alert_entry(3, alert("Hot", 3), &["a"])];
    let new = [
        event(70 * MINUTE),
        incident_entry(71 * MINUTE, incident("i-2")),
        alert_entry(72 * MINUTE, alert("New", 4), &["a"]),
    ];
    append(&mut connection, old.iter().chain(&new)).unwrap();
    assert_eq!(tidy::tidy(&folder.0, &LIMITS, 80 * MINUTE).unwrap(), 0, "the size limit removed nothing");
    let reader = Reader::open(&folder.0).unwrap();
    let left: Vec<u64> = reader.last_events(9).unwrap().iter().map(|event| event.id / MINUTE).collect();
    assert_eq!(left, [70, 71, 72]);
    assert_eq!(names(&reader.firing().unwrap()), ["Hot", "New"]);
    assert_eq!(reader.pending("a", 9).unwrap().len(), 1);
}

#[test]
fn the_file_stays_below_its_limit_and_keeps_the_newest() {
    let folder = Folder::new();
    let limits = Limits { max_bytes: 1 << 20, ..LIMITS };
    let (mut connection, _) = open(&folder.0, &limits).unwrap();
    let long = |id: u64| Alert { summary: "x".repeat(1000), ..alert("Hot", id) };
    let (mut id, mut fullest, mut removed) = (0, 0, 0);
    for _ in 0..60 {
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..100 {
            id += 2;
            entries.extend([alert_entry(id, long(id), &["a"]), event(id + 1)]);
        }
        if append(&mut connection, &entries).is_err() {
            // As the journal's thread does.
            removed += tidy::tidy(&folder.0, &limits, 0).unwrap();
            append(&mut connection, &entries).unwrap();
        }
        tidy::shorten(&folder.0, 256 << 10).unwrap();
        fullest = fullest.max(LAYOUT.size(&folder.0).0);
    }
    assert!(fullest <= limits.max_bytes && fullest > limits.max_bytes / 2, "{fullest}");
    assert!(LAYOUT.size(&folder.0).1 <= 8 << 20, "{:?}", LAYOUT.size(&folder.0));
    removed += tidy::tidy(&folder.0, &limits, 0).unwrap();
    assert!(removed > 1000, "{removed}");
    let (after, _) = LAYOUT.size(&folder.0);
    assert!(after <= limits.max_bytes / 5 * 4 + 64 * PAGE, "room is given back: {after}");
    let reader = Reader::open(&folder.0).unwrap();
    let stored = reader.alerts(100_000).unwrap();
    assert_eq!(stored.last().unwrap().id, id);
    assert!(stored.len() > 50 && stored[0].id > 2, "{} left from {}", stored.len(), stored[0].id);
    assert_eq!(reader.pending("a", 100_000).unwrap().len(), stored.len());
}

#[test]
fn a_broken_file_is_renamed_and_a_new_one_created() {
    let folder = Folder::new();
    let path = folder.0.join(FILE);
    drop(open(&folder.0, &LIMITS).unwrap());
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[4096..12288].fill(0xa5);
    let foreign = {
        let other = folder.0.join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
        fs::read(other).unwrap()
    };
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&(LAYOUT.version + 1).to_be_bytes());
    for (bytes, reason) in [
        (b"this is no database, but it is long enough to be taken for one".repeat(99), "not a database"),
        (torn, ""),
        (foreign, "another program"),
        (newer, "version 2"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let reader = Reader::open(&folder.0).map(|reader| reader.last_events(9));
        assert!(!matches!(reader, Ok(Ok(_))), "{reason}");
        let (mut connection, renamed) = open(&folder.0, &LIMITS).unwrap();
        let (renamed, why) = renamed.unwrap();
        assert!(why.contains(reason), "{why}");
        assert_eq!(fs::read(&renamed).unwrap(), bytes);
        append(&mut connection, &[event(1)]).unwrap();
    }
    let kept = fs::read_dir(&folder.0)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("corrupt"));
    assert_eq!(kept.count(), 1, "only the last is kept");
}

/// Waits for the journal's thread.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_thread_reads_the_past_and_writes_all_entries() {
    let folder = Folder::new();
    let (journal, past) = folder.start(&folder.0);
    let Past { firing, last, .. } = past.recv().unwrap().unwrap();
    assert!(firing.is_empty() && last == 0);
    let written = journal.write(vec![alert_entry(1, alert("Hot", 1), &["a", "b"]), incident_entry(2, incident("i-1"))]);
    written.blocking_recv().unwrap();
    assert_eq!(
        Reader::open(&folder.0).unwrap().last_id().unwrap(),
        2,
        "the write has finished when the future resolves"
    );
    drop(journal.write(vec![Entry::Progress {
        sink: "a".into(),
        alerts: vec![1],
        progress: Progress::Delivered,
        time: 3,
    }]));
    drop(journal);
    folder.wait();

    let Past { firing, pending, incidents, last } = folder.start(&folder.0).1.recv().unwrap().unwrap();
    assert_eq!((names(&firing), last), (vec!["Hot"], 2));
    assert_eq!(incidents, [incident("i-1")]);
    let ids: Vec<Vec<u64>> = pending.iter().map(|it| it.iter().map(|(id, _)| *id).collect()).collect();
    assert_eq!(ids, [vec![], vec![1]]);
}

#[test]
fn essential_entries_wait_for_a_failing_journal_and_others_are_counted() {
    let folder = Folder::new();
    let dir = folder.0.join("later");
    // A file in place of the folder.
    fs::write(&dir, "").unwrap();
    let (journal, past) = folder.start(&dir);
    assert!(past.recv().unwrap().is_none());
    assert!(journal.health.failing.load(Ordering::Relaxed));
    let written = journal.write(vec![event(1), alert_entry(2, alert("Hot", 1), &["a"]), event(3)]);
    written.blocking_recv().unwrap();
    assert_eq!(journal.health.lost.load(Ordering::Relaxed), 2);
    fs::remove_file(&dir).unwrap();
    until("writing does not recover", || !journal.health.failing.load(Ordering::Relaxed));
    assert!(past.recv().unwrap().is_some() && past.recv().is_err(), "the past is read once, before the first write");
    assert_eq!(Reader::open(&dir).unwrap().alerts(9).unwrap()[0].id, 2);

    let thousands = (0..3000).map(|id| alert_entry(10 + id, alert("Hot", id), &["a"])).collect();
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "").unwrap();
    journal.write(thousands).blocking_recv().unwrap();
    assert_eq!(journal.health.lost.load(Ordering::Relaxed), 2 + 2000, "the backlog is bounded");
}

#[test]
fn a_file_that_breaks_while_in_use_is_renamed() {
    let folder = Folder::new();
    let (journal, past) = folder.start(&folder.0);
    past.recv().unwrap();
    journal.write(vec![alert_entry(1, alert("Hot", 1), &["a"])]).blocking_recv().unwrap();
    tidy::tidy(&folder.0, &LIMITS, 0).unwrap();
    let path = folder.0.join(FILE);
    fs::write(&path, vec![0xa5; fs::metadata(&path).unwrap().len() as usize]).unwrap();
    // The writer continues in its own write-ahead log until maintenance finds the file broken.
    let error = tidy::tidy(&folder.0, &LIMITS, 0).unwrap_err();
    journal.health.doubt(&anyhow::anyhow!("the disk is full"));
    journal.write(vec![alert_entry(2, alert("Hot", 1), &["a"])]).blocking_recv().unwrap();
    assert!(Reader::open(&folder.0).and_then(|reader| reader.last_id()).is_err());
    journal.health.doubt(&error);
    let id = std::cell::Cell::new(3);
    until("the broken file is not noticed", || {
        journal.write(vec![alert_entry(id.get(), alert("Hot", 1), &["a"])]).blocking_recv().unwrap();
        let last = Reader::open(&folder.0).and_then(|reader| reader.last_id());
        last.is_ok_and(|last| last == id.replace(id.get() + 1))
    });
    let renamed = |name: &str| name.contains("corrupt") && !name.ends_with("-wal") && !name.ends_with("-shm");
    let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| renamed(name)).count(), 1);
}

#[test]
fn the_files_are_for_the_owner_alone_and_no_link_is_followed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = folder.0.join(FILE);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (connection, _) = open(&folder.0, &LIMITS).unwrap();
    let files = || fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
    assert!(files().count() >= 2, "with its log");
    files().for_each(|file| assert_eq!(mode(&file), 0o600, "{}", file.display()));
    drop(connection);
    // Of an earlier version.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&folder.0, &LIMITS).unwrap());
    assert_eq!(mode(&path), 0o600);

    // A group that may read it may look into the folder, too; nobody else may.
    let readers = Some(rustix::process::getegid().as_raw());
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    drop(open(&folder.0, &Limits { readers, ..LIMITS }).unwrap());
    assert_eq!((mode(&path), mode(&folder.0)), (0o640, 0o750));
    drop(open(&folder.0, &LIMITS).unwrap());
    assert_eq!(mode(&path), 0o600);

    let theirs = folder.0.join("theirs");
    fs::rename(&path, &theirs).unwrap();
    std::os::unix::fs::symlink(&theirs, &path).unwrap();
    let before = fs::read(&theirs).unwrap();
    let error = open(&folder.0, &LIMITS).err().unwrap();
    assert!(format!("{error:#}").contains("it is a link"), "{error:#}");
    assert_eq!(fs::read(&theirs).unwrap(), before);
}
