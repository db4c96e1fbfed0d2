//! The whole file: restarts, limits, and recovery from broken files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use collector_core::digest;
use collector_core::past::OF_OWNER;
use collector_core::series::Series;
use collector_core::stage::Stage;
use collector_core::statistic::gpu::Device;
use collector_core::tier::{Card, Code, Entry, FIGURES, Figure, KEPT, Quarter, ROUNDS, Rare, Tier};
use rusqlite::{Connection, params};

use super::day::{Day, QUARTERS};
use super::file::{FILE, LAYOUT, Limits, open};
use super::read::Reader;
use super::thread::History;
use super::write::{Rows, append, tidy};
use crate::sink::database;

const LIMITS: Limits =
    Limits { max_age: Duration::from_secs(90 * DAY), max_bytes: 16 << 20, workloads: 20, workloads_of_owner: 3 };
const DAY: u64 = 24 * 3600;
const STEP: u64 = 900;
const S: u64 = 1_000_000_000;
/// A midnight, in seconds.
const BEGIN: u64 = 20_000 * DAY;

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headroom-history-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(workload: &str, owner: &str, memory: f32) -> Entry {
    let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
    for (code, round) in row[0].iter_mut().zip(ROUNDS) {
        *code = Code::of(KEPT[0], memory, round);
    }
    let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    Entry { workload: some(workload), owner: some(owner), seconds: 900, row }
}

fn quarter(second: u64, entries: Vec<Entry>) -> Quarter {
    Quarter { time: second * S, entries, cards: Vec::new(), counts: Vec::new() }
}

/// Writes like the agent, and waits for its end.
fn write(folder: &Folder, quarters: Vec<Quarter>) -> u64 {
    let history = History::start(folder.0.clone(), LIMITS).unwrap();
    let lost = history.lost.clone();
    quarters.into_iter().for_each(|quarter| history.write(quarter));
    history.close();
    lost.load(Ordering::Relaxed)
}

fn most(folder: &Folder, workload: Option<&str>, from: u64, to: u64) -> Vec<(u64, f64)> {
    let kept = Reader::open(&folder.0).unwrap().kept(workload, from * S, to * S).unwrap();
    let Some(kept) = kept else { return Vec::new() };
    let points = kept.points(workload, Series::Memory).unwrap();
    assert_eq!(points.tier, Tier::QuarterHour);
    points.times.iter().zip(&points.max).map(|(time, most)| (time / S, most.unwrap())).collect()
}

#[test]
fn what_was_written_is_read_back_and_the_day_goes_on_after_a_restart() {
    let folder = Folder::new();
    let both = |memory| vec![entry("", "", 64.0 * memory), entry("web", "", memory)];
    assert_eq!(write(&folder, vec![quarter(BEGIN, both(1.0)), quarter(BEGIN + STEP, both(2.0))]), 0);
    // The same quarter again, then the next, then the next day.
    let later = [(BEGIN + STEP, 8.0), (BEGIN + 2 * STEP, 4.0), (BEGIN + DAY, 16.0)];
    write(&folder, later.map(|(second, memory)| quarter(second, both(memory))).into());
    let all = [(BEGIN, 1.0), (BEGIN + STEP, 8.0), (BEGIN + 2 * STEP, 4.0), (BEGIN + DAY, 16.0)];
    assert_eq!(most(&folder, Some("web"), 0, u64::MAX / S), all);
    assert_eq!(most(&folder, None, 0, u64::MAX / S), all.map(|(time, most)| (time, 64.0 * most)));
    assert_eq!(most(&folder, Some("web"), BEGIN + STEP + 1, BEGIN + 2 * STEP), all[1..3]);
    let reader = Reader::open(&folder.0).unwrap();
    assert_eq!(reader.workloads(0, u64::MAX).unwrap(), ["web"]);
    assert_eq!(reader.kept(Some("nobody"), 0, u64::MAX).unwrap(), None);
    let before = reader.kept(Some("web"), 0, BEGIN * S - 1).unwrap().unwrap();
    assert_eq!((before.from, before.quarters.len()), (BEGIN * S, 0));
    let web = reader.kept(Some("web"), 0, u64::MAX).unwrap().unwrap();
    assert_eq!(web.points(Some("web"), Series::Swap), None);
    let vram = web.points(Some("web"), Series::Vram).unwrap();
    assert_eq!((vram.times.len(), vram.max.iter().flatten().count()), (4, 0), "kept, but not known");
}

#[test]
fn old_days_go_and_then_the_oldest_of_too_many_bytes() {
    let folder = Folder::new();
    let (mut connection, _) = open(&folder.0, LIMITS.max_bytes).unwrap();
    let mut rows = Rows::default();
    for day in 0..100 {
        let quarter = quarter(BEGIN + day * DAY, vec![entry("web", "", 1.0)]);
        append(&mut connection, &quarter, &mut rows, &LIMITS).unwrap();
        tidy(&connection, &LIMITS, quarter.time).unwrap();
    }
    let days = most(&folder, Some("web"), 0, u64::MAX / S);
    assert_eq!((days.len(), days[0].0), (91, BEGIN + 9 * DAY), "90 days and today");

    // Noise does not compress.
    let limits = Limits { max_bytes: 1 << 20, ..LIMITS };
    let noise = |day: u64, number: u64| {
        let mut noise = Day::default();
        for quarter in 0..QUARTERS {
            let mut entry = entry("w", "", 1.0);
            let seed = (day * 19 + number) * QUARTERS as u64 + quarter as u64;
            let mix = |index: usize| (seed * 27 + index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            entry.row.iter_mut().flatten().enumerate().for_each(|(index, code)| *code = Code(mix(index) as u16));
            noise.add(quarter, entry.seconds, &entry.row);
        }
        noise.pack().unwrap()
    };
    let mut removed = 0;
    for day in 100..130 {
        for number in 0..19 {
            let row = params![(BEGIN / DAY + day) as i64, format!("w{number}"), "", noise(day, number)];
            connection.execute("INSERT INTO day VALUES (?, ?, ?, ?)", row).unwrap();
        }
        removed += tidy(&connection, &limits, (BEGIN + day * DAY) * S).unwrap();
        assert!(database::used(&connection).unwrap() <= limits.max_bytes / 5 * 4, "{day}");
    }
    assert!(removed > 91, "{removed}");
    let days = most(&folder, Some("w3"), 0, u64::MAX / S);
    assert_eq!(days.last().unwrap().0, BEGIN + 130 * DAY - STEP, "the newest stay");
}

/// A card in use for the whole quarter, and what was counted in it.
fn with_card(second: u64, uuid: &str, celsius: f32, counts: Vec<(Rare, u64)>) -> Quarter {
    let device = Device { uuid: uuid.into(), gpu: "0".into(), model: "H100".into(), driver: "1".into(), parent: None };
    let mut row = [[Code::UNKNOWN; 3]; FIGURES];
    let temperature = Figure::Temperature;
    row[temperature as usize] = ROUNDS.map(|round| Code::of(temperature.scale(), celsius, round));
    let cards = vec![Card { device: Arc::new(device), seconds: 900, row }];
    Quarter { cards, counts, ..quarter(second, vec![entry("", "", 1.0)]) }
}

#[test]
fn gpus_and_counts_are_kept_as_long_as_workloads_and_a_file_of_before_them_gets_them() {
    let folder = Folder::new();
    // A file of before.
    drop(LAYOUT.open(&folder.0, LIMITS.max_bytes).unwrap());
    let before = Reader::open(&folder.0).unwrap();
    assert!(before.cards(0, u64::MAX).unwrap().is_empty() && before.counts(0, u64::MAX).unwrap().is_empty());

    let xid = || Rare::Xid("GPU-a".into(), 79);
    let lost = || Rare::Lost(Stage::RingBulk);
    write(
        &folder,
        vec![
            with_card(BEGIN, "GPU-a", 60.0, vec![(xid(), 1), (lost(), 5)]),
            with_card(BEGIN, "GPU-a", 64.0, vec![(lost(), 2)]),
            with_card(BEGIN + STEP, "GPU-b", 70.0, vec![]),
        ],
    );
    let reader = Reader::open(&folder.0).unwrap();
    let cards = reader.cards(0, u64::MAX).unwrap();
    let seen = |card: &digest::card::Card| {
        let most = |known: &digest::card::Known| known.values[Figure::Temperature as usize][2].unwrap();
        let quarters: Vec<_> = card.quarters.iter().map(|it| (it.time / S, it.seconds, most(it))).collect();
        (card.uuid.to_string(), quarters)
    };
    let [a, b] = &cards[..] else { panic!("{cards:?}") };
    assert_eq!(seen(a), ("GPU-a".to_owned(), vec![(BEGIN, 1800, 64.0)]));
    assert_eq!(seen(b), ("GPU-b".to_owned(), vec![(BEGIN + STEP, 900, 70.0)]));
    assert_eq!(reader.counts(0, u64::MAX).unwrap(), [(BEGIN * S, lost(), 7), (BEGIN * S, xid(), 1)]);
    assert!(super::rare::sizes(&Connection::open(folder.0.join(FILE)).unwrap(), 0, u64::MAX).unwrap().is_empty());
    assert!(reader.counts(0, BEGIN * S).unwrap().is_empty(), "a period ends before what begins then");
    assert_eq!(reader.cards((BEGIN + 1) * S, u64::MAX).unwrap().len(), 1);

    let far = "INSERT INTO rare SELECT day, 9223372036854775807, gpu, what, count FROM rare";
    Connection::open(folder.0.join(FILE)).unwrap().execute(far, []).unwrap();
    assert_eq!(reader.counts(0, u64::MAX).unwrap().len(), 2, "a quarter that no day has");

    let later = BEGIN + 91 * DAY;
    write(&folder, vec![with_card(BEGIN + 90 * DAY, "GPU-a", 50.0, vec![]), with_card(later, "GPU-a", 50.0, vec![])]);
    let reader = Reader::open(&folder.0).unwrap();
    assert_eq!(reader.cards(0, u64::MAX).unwrap()[0].quarters.len(), 2);
    assert!(reader.counts(0, u64::MAX).unwrap().is_empty());
}

#[test]
fn a_clock_far_ahead_does_not_empty_the_file() {
    let folder = Folder::new();
    let years = 20 * 365 * DAY;
    write(
        &folder,
        vec![quarter(BEGIN, vec![entry("web", "", 1.0)]), quarter(BEGIN + years, vec![entry("web", "", 2.0)])],
    );
    assert_eq!(most(&folder, Some("web"), 0, BEGIN + DAY), [(BEGIN, 1.0)]);
}

#[test]
fn whoever_makes_many_workloads_has_a_share_of_a_day() {
    let folder = Folder::new();
    let many = |owner: &str, count: u32| {
        (0..count).map(|number| entry(&format!("{owner}.{number}"), owner, 1.0)).collect::<Vec<_>>()
    };
    assert_eq!(write(&folder, vec![quarter(BEGIN, many("user-7", 10)), quarter(BEGIN + STEP, many("user-7", 10))]), 14);
    let mut entries = many("", 30);
    entries.push(entry("", "", 1.0));
    assert_eq!(write(&folder, vec![quarter(BEGIN, entries)]), 13, "the host has a place, and 17 of the workloads");
    assert_eq!(write(&folder, vec![quarter(BEGIN + DAY, many("user-7", 3))]), 0, "tomorrow is another day");
}

#[test]
fn of_new_workloads_one_user_has_a_share() {
    let folder = Folder::new();
    let limits = Limits { workloads: 2000, workloads_of_owner: 1000, ..LIMITS };
    let (mut connection, _) = open(&folder.0, limits.max_bytes).unwrap();
    let many = (0..300).map(|number| entry(&format!("a{number:03}"), "user-1000", 1.0));
    let entries = many.chain([entry("z", "", 1.0)]).collect();
    append(&mut connection, &quarter(BEGIN, entries), &mut Rows::default(), &limits).unwrap();
    let named = Reader::open(&folder.0).unwrap().named((BEGIN * S, BEGIN * S), 200, |_| true).unwrap();
    assert_eq!((named.len(), named.last().map(|(name, _)| &**name)), (OF_OWNER + 1, Some("z")));
}

#[test]
fn a_broken_or_foreign_file_is_moved_aside_and_a_broken_row_is_replaced() {
    for broken in [true, false] {
        let folder = Folder::new();
        let path = folder.0.join(FILE);
        if broken {
            fs::write(
                &path,
                b"not a database, but longer than the header of one would be: 100 bytes and then some more of it",
            )
            .unwrap();
        } else {
            Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        }
        write(&folder, vec![quarter(BEGIN, vec![entry("web", "", 1.0)])]);
        assert_eq!(most(&folder, Some("web"), 0, u64::MAX / S), [(BEGIN, 1.0)]);
        let names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert!(names.iter().any(|name| name.to_string_lossy().starts_with("history.db.corrupt-")), "{names:?}");

        Connection::open(&path).unwrap().execute("UPDATE day SET body = x'0102'", []).unwrap();
        assert_eq!(most(&folder, Some("web"), 0, u64::MAX / S), []);
        write(&folder, vec![quarter(BEGIN + STEP, vec![entry("web", "", 2.0)])]);
        assert_eq!(most(&folder, Some("web"), 0, u64::MAX / S), [(BEGIN + STEP, 2.0)]);
    }
}

#[test]
fn a_disk_that_hangs_costs_quarters_and_nobody_waits() {
    let folder = Folder::new();
    write(&folder, vec![quarter(BEGIN, vec![entry("web", "", 1.0)])]);
    let lock = Connection::open(folder.0.join(FILE)).unwrap();
    lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let history = History::start(folder.0.clone(), LIMITS).unwrap();
    (0..100).for_each(|step| history.write(quarter(BEGIN + step * STEP, vec![entry("web", "", 1.0)])));
    assert!(history.lost.load(Ordering::Relaxed) >= 80);
    drop(lock);
    history.close();
}
