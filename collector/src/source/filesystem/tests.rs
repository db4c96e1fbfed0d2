//! Filesystems that answer, refuse, hang and come back.

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
        ask: impl Fn(&Path) -> io::Result<Values> + Send + Sync + 'static,
    ) -> Bench {
        let tree = Tree::new();
        let (interval, deadline) = (Duration::ZERO, Duration::from_millis(deadline_ms));
        let config = config::Filesystem { exclude: Vec::new(), exclude_types: Vec::new(), interval, deadline };
        let filesystems = Filesystems::new(&Root::new(&tree.0), &config).asking(Arc::new(ask));
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

    /// Reads until it holds. It either comes to pass, or the test never ends.
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
fn a_tmpfs_of_this_host_is_as_big_as_it_is() {
    let found = ask(Path::new("/")).unwrap();
    let witness = statvfs("/").unwrap();
    assert_eq!(found.get(Size), Some(witness.f_blocks * witness.f_frsize));
    assert!(found.get(Available) <= found.get(Size));
    assert!(ask(Path::new("/nowhere at all")).is_err());
    assert_eq!(ask(Path::new("/proc")).unwrap().get(Inodes), None);
}

#[test]
fn mounts_come_and_go() {
    let mut bench = Bench::new(&["/a", "/b"], 60_000, |path| full(path.file_name().unwrap().len() as u64));
    bench.round();
    assert_eq!(bench.last, None);
    assert_eq!(bench.seen["/a"], State::Read(full(1).unwrap()));
    bench.mount(&["/a", "/new"]);
    bench.round();
    assert_eq!((&bench.seen["/b"], &bench.seen["/new"]), (&State::Gone, &State::Read(full(3).unwrap())));
    std::fs::remove_file(bench.tree.0.join("proc/1/mountinfo")).unwrap();
    // The descriptor still reads what was there; another process's file would be gone.
    bench.filesystems.mountinfo = Kept::new(bench.tree.0.join("proc/1/mountinfo"));
    bench.until(|bench| bench.last.is_some());
    assert_eq!(bench.seen["/a"], State::Gone);
    assert!(bench.last.unwrap().contains("mountinfo"));
}

#[test]
fn one_that_refuses_says_so_and_the_others_are_read() {
    let refuse = |path: &Path| if path.ends_with("b") { Err(io::ErrorKind::PermissionDenied.into()) } else { full(1) };
    let mut bench = Bench::new(&["/a", "/b", "/c"], 60_000, refuse);
    bench.round();
    assert_eq!(bench.seen["/b"], State::Refused);
    assert_eq!(bench.seen["/c"], State::Read(full(1).unwrap()));
    assert_eq!(bench.last.as_deref(), Some("/b refuses to answer"));
}

#[test]
fn one_that_hangs_keeps_one_thread_and_nothing_else() {
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
        // What is known stays known; it is not asked again while it hangs.
        assert_eq!(bench.seen.get("/b"), None);
        assert_eq!(
            (&bench.seen["/a"], &bench.seen["/c"]),
            (&State::Read(full(1).unwrap()), &State::Read(full(1).unwrap()))
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(bench.filesystems.asked.lock().threads, 2);
    drop(release);
    bench.until(|bench| bench.seen.get("/b") == Some(&State::Read(full(1).unwrap())));
    bench.round();
    assert_eq!(bench.last, None);
    bench.until(|bench| bench.filesystems.asked.lock().threads == 1);
}

#[test]
fn many_that_hang_are_bounded_and_nobody_shows_old_figures() {
    let names: Vec<String> = (0..STUCK + 3).map(|number| format!("/{number}")).chain(["/z".to_owned()]).collect();
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
    assert_eq!(bench.filesystems.asked.lock().threads, STUCK);
    assert_eq!(bench.seen.len(), names.len());
    bench.round();
    assert_eq!(bench.filesystems.asked.lock().threads, STUCK);
    *held.0.lock().unwrap() = true;
    held.1.notify_all();
    bench.until(|bench| bench.seen.values().all(|state| matches!(state, State::Read(_))) && bench.last.is_none());
    assert!(bench.filesystems.asked.lock().threads <= 1);
}

#[test]
fn one_that_hangs_can_be_mounted_anew() {
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
