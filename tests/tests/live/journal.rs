//! The agent on disks that are full, read-only or hang: alerts are delivered, losses are counted, and the journal is written
//! again as soon as it can be. The test makes the disks.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use collector::sink::journal::Reader;
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::loopback::Loop;
use collector_tests::mount::Mount;
use collector_tests::needs;
use collector_tests::receiver::{Answer, Receiver, Request};
use collector_tests::require::{installed, is_root};
use collector_tests::scratch::scratch;

const UP: &str = "headroom_source_up";
const JOURNAL: [(&str, &str); 1] = [("source", "journal")];

fn start(journal: &Path, receiver: &Receiver) -> Agent {
    let config = format!("tick = \"100ms\"\n[[sink.webhook]]\nname = \"hook\"\nurl = {:?}\n", receiver.url());
    let mut agent = Agent::spawn(&config, |command| {
        command.env("HEADROOM_JOURNAL_DIR", journal);
    });
    agent.await_ready();
    agent
}

/// Makes the kernel kill a process, and waits until the receiver has the alert. Returns the workload.
fn kill_and_tell(receiver: &Receiver) -> String {
    let cgroup = Cgroup::new("disk");
    cgroup.limit(16 << 20);
    let mut provoke = Command::new(env!("CARGO_BIN_EXE_provoke"));
    provoke.args(["hog", "anon=67108864"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!cgroup.spawn(&mut provoke).wait().unwrap().success());
    let about = |request: &Request| request.alerts().iter().any(|it| it["labels"]["workload"] == *cgroup.path);
    receiver.until("the alert", |requests| requests.iter().any(about));
    cgroup.path.clone()
}

fn is_written(journal: &Path, workload: &str) -> bool {
    let Ok(alerts) = Reader::open(journal).and_then(|reader| reader.alerts(1000)) else { return false };
    alerts.iter().any(|reported| reported.alert.labels.get("workload").is_some_and(|it| it == workload))
}

#[test]
fn a_full_disk_delays_no_alert_and_the_journal_has_it_later() {
    needs!(is_root(), "loading eBPF programs needs root");
    let disk = Mount::tmpfs("size=2m");
    needs!(disk.is_ok(), disk.as_ref().err().map_or("", String::as_str));
    let (disk, receiver) = (disk.unwrap(), Receiver::start(Answer::Accept));
    let agent = start(&disk.0, &receiver);
    let filler = disk.0.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    // The last page may have room, and the journal's log some that it had before.
    let mut reported = Vec::new();
    while reported.len() < 20 && agent.scrape().values(UP, &JOURNAL) == [1.0] {
        reported.push(kill_and_tell(&receiver));
        agent.settle();
    }
    assert_eq!(agent.scrape().values(UP, &JOURNAL), [0.0], "after {} kills", reported.len());
    reported.push(kill_and_tell(&receiver));
    assert!(agent.log().contains("cannot write the journal"), "{}", agent.log());
    assert!(!is_written(&disk.0, reported.last().unwrap()), "there is no room for it");

    drop(file);
    fs::remove_file(filler).unwrap();
    agent.scrape_until("that it is written again", |it| it.values(UP, &JOURNAL) == [1.0]);
    for workload in &reported {
        assert!(is_written(&disk.0, workload), "{workload} is missing");
    }
    agent.stop();
}

#[test]
fn a_read_only_disk_is_reported_and_written_once_it_can_be() {
    needs!(is_root(), "loading eBPF programs needs root");
    let disk = Mount::tmpfs("size=2m,ro");
    needs!(disk.is_ok(), disk.as_ref().err().map_or("", String::as_str));
    let (disk, receiver) = (disk.unwrap(), Receiver::start(Answer::Accept));
    let agent = start(&disk.0, &receiver);
    let workload = kill_and_tell(&receiver);
    agent.scrape_until("that it is not written", |it| it.values(UP, &JOURNAL) == [0.0]);
    disk.remount("rw");
    agent.scrape_until("that it is written", |it| it.values(UP, &JOURNAL) == [1.0]);
    assert!(is_written(&disk.0, &workload));
    agent.stop();
}

/// Makes writers to a file system wait. When dropped, they continue.
struct Frozen<'a>(&'a Path);

impl Frozen<'_> {
    fn new(path: &Path) -> Frozen<'_> {
        let status = Command::new("fsfreeze").arg("--freeze").arg(path).status().unwrap();
        assert!(status.success());
        Frozen(path)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(self.0).status();
    }
}

#[test]
fn a_disk_that_hangs_delays_no_alert() {
    needs!(is_root(), "loading eBPF programs needs root");
    let tools = ["mkfs.ext4", "fsfreeze"].iter().all(|tool| installed(tool));
    needs!(tools, "mkfs.ext4 (e2fsprogs) or fsfreeze (util-linux) is not installed");
    let folder = scratch();
    let device = Loop::new(&folder, 32 << 20);
    needs!(device.is_ok(), device.as_ref().err().map_or("", String::as_str));
    let device = device.unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(device.device()).status().unwrap();
    assert!(made.success());
    let disk = Mount::device(&device.device()).unwrap();

    let receiver = Receiver::start(Answer::Accept);
    let agent = start(&disk.0, &receiver);
    let first = kill_and_tell(&receiver);
    let frozen = Frozen::new(&disk.0);
    let reported = [kill_and_tell(&receiver), kill_and_tell(&receiver)];
    agent.settle();
    assert!(agent.log().contains("the journal takes longer than"), "{}", agent.log());
    drop(frozen);
    let deadline = Instant::now() + PATIENCE;
    while !reported.iter().all(|workload| is_written(&disk.0, workload)) {
        assert!(Instant::now() < deadline, "they were not written");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_written(&disk.0, &first));
    agent.stop();
    drop(disk);
    drop(device);
}

#[test]
fn a_broken_journal_is_moved_aside_with_an_error() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (journal, receiver) = (scratch(), Receiver::start(Answer::Accept));
    fs::write(journal.join("journal.db"), "not a journal at all, and long enough to be read as one".repeat(99))
        .unwrap();
    let agent = start(&journal, &receiver);
    assert!(agent.log().contains("was unusable") && agent.log().contains("journal.db.corrupt-"), "{}", agent.log());
    let workload = kill_and_tell(&receiver);
    assert!(is_written(&journal, &workload));
    agent.stop();
}
