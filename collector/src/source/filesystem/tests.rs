//! Tests with filesystems that answer, fail, hang and recover.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::source::test::Tree;

fn line(number: usize, mountpoint: &str) -> String {
    format!("{number} 1 0:{number} / {mountpoint} rw - tmpfs d{number} rw\n")
}

struct Bench {
    tree: Tree,
    filesystems: Filesystems,
    seen: BTreeMap<String, State>,
    last: Option<String>,
    rounds: usize,
}

impl Bench {
    fn new(
        mounts: &[&str],
        deadline_ms: u64,
        query: impl Fn(&Path) -> io::Result<Values> + Send + Sync + 'static,
    ) -> Bench {
        let tree = Tree::new();
        let (interval, deadline) = (Duration::ZERO, Duration::from_millis(deadline_ms));
        let config = config::Filesystem { exclude: Vec::new(), exclude_types: Vec::new(), interval, deadline };
        let filesystems = Filesystems::new(&Root::new(&tree.0), &config).with_query(Arc::new(query));
        let bench = Bench { tree, filesystems, seen: BTreeMap::new(), last: None, rounds: 0 };
        bench.mount(mounts);
        bench
    }

    fn mount(&self, mounts: &[&str]) {
        let text: String = mounts.iter().enumerate().map(|(number, mount)| line(number + 2, mount)).collect();
        self.tree.write("proc/1/mountinfo", &text);
    }

    fn read(&mut self) {
        let seen = &mut self.seen;
        let health = self.filesystems.read(&mut |sample| match sample.reading {
            sample::Reading::Filesystem(reading) => drop(seen.insert(reading.mountpoint.to_string(), reading.state)),
            other => panic!("{other:?}"),
        });
        if let Health::Round { result, .. } = health {
            self.rounds += 1;
            self.last = result.err().map(|error| format!("{error:#}"));
        }
    }

    /// Reads until the condition holds, or forever.
    fn until(&mut self, done: impl Fn(&Bench) -> bool) {
        while !done(self) {
            self.read();
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn round(&mut self) {
        let rounds = self.rounds;
        self.until(|bench| bench.rounds > rounds + 1);
    }
}

fn full(size: u64) -> io::Result<Values> {
    Ok(Values::from_iter([(Size, size)]))
}

#[test]
fn the_query_agrees_with_statvfs() {
    let found = query(Path::new("/")).unwrap();
    let witness = statvfs("/").unwrap();
    assert_eq!(found.get(Size), Some(witness.f_blocks * witness.f_frsize));
    assert!(found.get(Available) <= found.get(Size));
    assert!(query(Path::new("/nowhere at all")).is_err());
    assert_eq!(query(Path::new("/proc")).unwrap().get(Inodes), None);
}

#[test]
fn less_than_nothing_is_absent() {
    let mut found = statvfs("/").unwrap();
    (found.f_blocks, found.f_bfree, found.f_bavail, found.f_frsize) = (10, 4, u64::MAX - 2, 4096);
    (found.f_files, found.f_ffree) = (5, 6);
    let values = figures(&found);
    let known = [Size, Free, Available, Inodes, InodesFree].map(|statistic| values.get(statistic));
    assert_eq!(known, [Some(10 * 4096), Some(4 * 4096), None, Some(5), None]);
}

#[test]
fn added_and_removed_mounts_are_reported() {
    let mut bench = Bench::new(&["/a", "/b"], 60_000, |path| full(path.file_name().unwrap().len() as u64));
    bench.round();
    assert_eq!(bench.last, None);
    assert_eq!(bench.seen["/a"], State::Read(full(1).unwrap()));
    bench.mount(&["/a", "/new"]);
    bench.round();
    assert_eq!((&bench.seen["/b"], &bench.seen["/new"]), (&State::Gone, &State::Read(full(3).unwrap())));
    std::fs::remove_file(bench.tree.0.join("proc/1/mountinfo")).unwrap();
    // The open descriptor still reads the old content; another process's file would be gone.
    bench.filesystems.mountinfo = KeptFile::new(bench.tree.0.join("proc/1/mountinfo"));
    bench.until(|bench| bench.last.is_some());
    assert_eq!(bench.seen["/a"], State::Gone);
    assert!(bench.last.unwrap().contains("mountinfo"));
}

#[test]
fn a_failing_filesystem_does_not_stop_the_others() {
    let refuse = |path: &Path| if path.ends_with("b") { Err(io::ErrorKind::PermissionDenied.into()) } else { full(1) };
    let mut bench = Bench::new(&["/a", "/b", "/c"], 60_000, refuse);
    bench.round();
    assert_eq!(bench.seen["/b"], State::Refused);
    assert_eq!(bench.seen["/c"], State::Read(full(1).unwrap()));
    assert_eq!(bench.last.as_deref(), Some("/b cannot be queried"));
}

#[test]
fn a_hung_filesystem_blocks_only_one_thread() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut bench = Bench::new(&["/a", "/b", "/c"], 20, move |path| {
        if path.ends_with("b") {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = held.lock().unwrap().recv();
        }
        full(1)
    });
    bench.until(|bench| bench.seen.get("/b") == Some(&State::Hung));
    for _ in 0..5 {
        bench.seen.clear();
        bench.round();
        assert_eq!(bench.last.as_deref(), Some("/b does not answer"));
        // Hung is reported once; it is not queried again while it hangs.
        assert_eq!(bench.seen.get("/b"), None);
        assert_eq!(
            (&bench.seen["/a"], &bench.seen["/c"]),
            (&State::Read(full(1).unwrap()), &State::Read(full(1).unwrap()))
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(lock(&bench.filesystems.shared.state).threads, 2);
    drop(release);
    bench.until(|bench| bench.seen.get("/b") == Some(&State::Read(full(1).unwrap())));
    bench.round();
    assert_eq!(bench.last, None);
    bench.until(|bench| lock(&bench.filesystems.shared.state).threads == 1);
}

#[test]
fn stuck_threads_are_bounded_and_no_stale_values_are_shown() {
    let names: Vec<String> = (0..MAX_STUCK + 3).map(|number| format!("/{number}")).chain(["/z".to_owned()]).collect();
    let mounts: Vec<&str> = names.iter().map(String::as_str).collect();
    let held = Arc::new((Mutex::new(false), Condvar::new()));
    let door = held.clone();
    let mut bench = Bench::new(&mounts, 5, move |path| {
        if !path.ends_with("z") {
            let open = door.0.lock().unwrap();
            drop(door.1.wait_while(open, |open| !*open).unwrap());
        }
        full(1)
    });
    bench.until(|bench| bench.seen.get("/z") == Some(&State::Hung));
    assert_eq!(lock(&bench.filesystems.shared.state).threads, MAX_STUCK);
    assert_eq!(bench.seen.len(), names.len());
    bench.round();
    assert_eq!(lock(&bench.filesystems.shared.state).threads, MAX_STUCK);
    *held.0.lock().unwrap() = true;
    held.1.notify_all();
    bench.until(|bench| bench.seen.values().all(|state| matches!(state, State::Read(_))) && bench.last.is_none());
    assert!(lock(&bench.filesystems.shared.state).threads <= 1);
}

#[test]
fn a_hung_filesystem_can_be_mounted_again() {
    let (_release, held) = mpsc::channel::<()>();
    let held = Mutex::new(Some(held));
    let mut bench = Bench::new(&["/a"], 10, move |_| {
        let held = held.lock().unwrap().take();
        held.map(|held| held.recv());
        full(1)
    });
    bench.until(|bench| bench.seen.get("/a") == Some(&State::Hung));
    bench.mount(&[]);
    bench.until(|bench| bench.seen["/a"] == State::Gone);
    bench.mount(&["/a"]);
    bench.until(|bench| matches!(bench.seen["/a"], State::Read(_)));
}
