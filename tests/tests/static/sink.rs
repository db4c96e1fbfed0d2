//! Delivery of alerts to receivers that answer well, badly, late or never. The test runs the receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use collector::config;
use collector::deliver::file::Lines;
use collector::deliver::outbox::{DeliveryHealth, Outbox};
use collector::deliver::post::Post;
use collector::deliver::target::{Host, Protocol, Target};
use collector::deliver::thread::Restored;
use collector::sink::journal::Reader;
use collector_core::alert::{Alert, Severity, State};
use collector_core::outcome::Outcome;
use collector_core::sample::{Delivery, Reading};
use collector_core::stage::Stage;
use collector_tests::agent::{PATIENCE, headroom};
use collector_tests::receiver::{Answer, Receiver};
use collector_tests::scratch::{Scratch, scratch};
use tokio::sync::mpsc::Receiver as Channel;

const TIMEOUT: Duration = Duration::from_millis(500);

fn alert(name: &str, number: u64) -> Outcome {
    Outcome::Alert(Box::new(Alert {
        alert: name.into(),
        severity: Severity::Warning,
        labels: BTreeMap::from([("workload".to_owned(), format!("w{number}"))]),
        state: State::Firing,
        started: 1_700_000_000_000_000_000,
        fired: 1_700_000_000_000_000_000,
        resolved: None,
        value: Some(0.5),
        summary: format!("number {number}"),
        action: "look".to_owned(),
        incident: None,
        cause: None,
        updated: None,
    }))
}

/// An outbox with a journal of its own.
struct Bench {
    outbox: Outbox,
    /// Alerts that fired before the start.
    restored: Channel<Restored>,
    dir: Scratch,
}

fn target(name: &str, url: &str, ca: Option<&Path>) -> Target {
    let post = Post::new(url.parse().unwrap(), TIMEOUT, ca).unwrap();
    let protocol = Protocol::Webhook(post, "hush".to_owned().into());
    Target { name: name.to_owned(), severity: Severity::Info, evictions: false, protocol }
}

impl Bench {
    fn start(targets: Vec<Target>) -> Bench {
        Bench::over(scratch(), targets)
    }

    fn over(dir: Scratch, targets: Vec<Target>) -> Bench {
        let journal = config::Journal { dir: dir.join("journal"), ..config::Config::default().journal };
        let host = Host { name: "node1".to_owned(), url: "http://node1:9843/metrics".to_owned() };
        let (outbox, restored) = Outbox::start(&journal, None, &host, targets).unwrap();
        Bench { outbox, restored, dir }
    }

    fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn publish(&mut self, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| self.outbox.publish(1, None, alert("Hot", number)));
    }

    /// Waits until the figures of the receivers, summed over the records, satisfy `done`.
    fn until(&self, what: &str, done: impl Fn(&BTreeMap<String, Delivery>) -> bool) {
        let mut health: DeliveryHealth = self.outbox.health.clone();
        let mut sums = BTreeMap::<String, Delivery>::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            health.read(&mut |sample| {
                if let Reading::Delivery(delivery) = sample.reading {
                    let sum = sums.entry(delivery.sink.to_string());
                    let sum = sum.or_insert(Delivery { delivered: 0, failed: 0, ..delivery.clone() });
                    sum.delivered += delivery.delivered;
                    sum.failed += delivery.failed;
                    sum.queued = delivery.queued;
                }
            });
            if done(&sums) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {sums:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn counter(&self, stage: Stage) -> Arc<AtomicU64> {
        self.outbox.losses().into_iter().find(|(at, _)| *at == stage).unwrap().1
    }

    fn lost(&self, stage: Stage) -> u64 {
        self.counter(stage).load(Ordering::Relaxed)
    }

    /// Stops it, and returns the state of each delivery to a receiver from the journal.
    fn end(self, sink: &str) -> Vec<String> {
        let journal = self.journal();
        self.outbox.close();
        let alerts = Reader::open(&journal).unwrap().alerts(usize::MAX >> 1).unwrap();
        let states = alerts.into_iter().flat_map(|reported| reported.deliveries);
        states.filter(|delivery| delivery.sink == sink).map(|delivery| delivery.state).collect()
    }
}

#[test]
fn every_alert_arrives_signed_and_in_order() {
    let receiver = Receiver::start(Answer::Accept);
    let mut bench = Bench::start(vec![target("hook", &receiver.url(), None)]);
    bench.publish(0..300);
    bench.until("all of them", |sums| sums["hook"].delivered == 300 && sums["hook"].queued == 0);
    let requests = receiver.requests();
    let summaries: Vec<String> =
        requests.iter().flat_map(|it| it.alerts()).map(|alert| alert["summary"].as_str().unwrap().to_owned()).collect();
    assert_eq!(summaries, (0..300).map(|number| format!("number {number}")).collect::<Vec<_>>());
    let ids = receiver.ids();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    for request in &requests {
        assert!(request.head.starts_with("POST /hook HTTP/1.1"), "{}", request.head);
        assert_eq!(request.json()["host"], "node1");
        // openssl is the reference: it computes the HMAC of the body.
        let signature = request.header("X-Headroom-Signature").unwrap();
        assert_eq!(signature, format!("sha256={}", openssl_hmac("hush", &request.body)));
        let dated = request.header("X-Headroom-Signature-2").unwrap();
        let (time, mac) = dated.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(now - time.parse::<u64>().unwrap() < 300, "{dated}");
        assert_eq!(mac, openssl_hmac("hush", &[format!("{time}.").as_bytes(), &request.body].concat()));
    }
    assert_eq!(bench.end("hook"), vec!["delivered"; 300]);
}

fn openssl_hmac(secret: &str, body: &[u8]) -> String {
    use std::io::Write as _;
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret, "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(body).unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_delivery_is_retried_after_every_failure_until_it_succeeds() {
    let elsewhere = Receiver::start(Answer::Accept);
    for bad in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Redirect(elsewhere.url()),
        Answer::Hang,
        Answer::Close,
        Answer::Half,
    ] {
        let receiver = Receiver::start(bad.clone());
        let mut bench = Bench::start(vec![target("hook", &receiver.url(), None)]);
        bench.publish(0..3);
        bench.until(&format!("{bad:?} fails"), |sums| sums["hook"].failed >= 2);
        receiver.answer(Answer::Accept);
        bench.until(&format!("{bad:?} is over"), |sums| sums["hook"].delivered == 3);
        let ids = receiver.ids();
        assert_eq!(ids.len(), 3, "{bad:?}: each once, in the end");
        assert_eq!(bench.lost(Stage::Sink), 0);
        assert_eq!(bench.end("hook"), vec!["delivered"; 3], "{bad:?}");
    }
    assert!(elsewhere.requests().is_empty(), "no redirect is followed");
}

#[test]
fn one_refused_alert_delays_no_other() {
    let receiver = Receiver::start(Answer::Status(422));
    let mut bench = Bench::start(vec![target("hook", &receiver.url(), None)]);
    bench.publish(0..5);
    bench.until("they are refused", |sums| sums["hook"].queued == 0 && sums["hook"].failed >= 5);
    assert_eq!(bench.lost(Stage::Sink), 5);
    let (before, tries) = (receiver.requests().len(), receiver.requests());
    assert!(tries.iter().filter(|request| request.alerts().len() == 1).count() >= 5, "each on its own");
    receiver.answer(Answer::Accept);
    bench.publish(5..6);
    bench.until("the next", |sums| sums["hook"].delivered == 1);
    assert_eq!(receiver.requests().len(), before + 1);
    let mut states = bench.end("hook");
    assert_eq!(states.pop().unwrap(), "delivered");
    assert_eq!(states, ["refused"; 5]);
}

#[test]
fn a_dead_receiver_delays_no_other_and_its_queue_is_bounded() {
    let (dead, alive) = (Receiver::start(Answer::Hang), Receiver::start(Answer::Accept));
    let targets = vec![target("dead", &dead.url(), None), target("alive", &alive.url(), None)];
    let mut bench = Bench::start(targets);
    const MANY: u64 = 10_500;
    for part in 0..MANY / 500 {
        bench.publish(part * 500..part * 500 + 500);
        // With more than the channel holds at once, some would be counted as lost before they reach a receiver.
        bench.until("delivery to the working receiver", |sums| sums["alive"].delivered == part * 500 + 500);
    }
    assert_eq!(bench.lost(Stage::Outcome), 0);
    let lost = bench.lost(Stage::Sink);
    assert!((MANY - 10_000 - 64..=MANY - 10_000).contains(&lost), "{lost} did not fit into the dead one's queue");
    dead.answer(Answer::Accept);
    bench.until("the dead one works again", |sums| sums["dead"].delivered == MANY - lost);
    // What it took for longer than the timeout is sent again: each in order at its first arrival.
    let mut seen = BTreeSet::new();
    let firsts: Vec<u64> = dead.ids().into_iter().filter(|id| seen.insert(*id)).collect();
    assert!(firsts.is_sorted(), "in order");
    assert!(firsts.len() as u64 >= MANY - lost, "{}, {lost} lost", firsts.len());
    // A slow disk may lose entries of the journal, but counts them.
    let unwritten = bench.counter(Stage::Journal);
    let states = bench.end("dead");
    let unwritten = unwritten.load(Ordering::Relaxed);
    let count = |state: &str| states.iter().filter(|it| *it == state).count() as u64;
    let (dropped, delivered) = (count("dropped"), count("delivered"));
    assert!((lost.saturating_sub(unwritten)..=lost).contains(&dropped), "{dropped} of {lost}, {unwritten} not written");
    let most = MANY - lost;
    assert!((most - unwritten.min(most)..=most).contains(&delivered), "{delivered} of {most}, {unwritten} not written");
}

#[test]
fn alerts_beyond_the_room_in_the_channel_are_counted() {
    let receiver = Receiver::start(Answer::Accept);
    let mut bench = Bench::start(vec![target("hook", &receiver.url(), None)]);
    const MANY: u64 = 50_000;
    bench.publish(0..MANY);
    let lost = bench.lost(Stage::Outcome);
    bench.until("the rest", |sums| sums["hook"].delivered + lost == MANY);
    assert_eq!(bench.end("hook").len() as u64, MANY - lost);
}

#[test]
fn undelivered_alerts_are_delivered_after_a_restart() {
    let receiver = Receiver::start(Answer::Status(503));
    let mut bench = Bench::start(vec![target("hook", &receiver.url(), None)]);
    bench.publish(0..10);
    bench.until("they fail", |sums| sums["hook"].failed >= 1);
    bench.outbox.close();
    receiver.answer(Answer::Accept);
    let other = Receiver::start(Answer::Accept);
    let targets = vec![target("new", &other.url(), None), target("hook", &receiver.url(), None)];
    let mut bench = Bench::over(bench.dir, targets);
    assert_eq!(bench.restored.try_recv().unwrap().alerts.len(), 10);
    bench.until("they arrive", |sums| sums["hook"].delivered == 10);
    assert_eq!(receiver.ids().len(), 10);
    assert!(other.requests().is_empty(), "a new receiver does not get old alerts");
    assert_eq!(bench.end("hook"), vec!["delivered"; 10]);
}

#[test]
fn following_the_events_shows_new_ones_as_they_come() {
    let mut bench = Bench::start(Vec::new());
    bench.publish(0..2);
    let journal = bench.journal();
    let is_there = |id| Reader::open(&journal).is_ok_and(|reader| reader.alerts(9).unwrap().len() == id);
    let deadline = Instant::now() + PATIENCE;
    while !is_there(2) {
        assert!(Instant::now() < deadline, "nothing was written");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut follow = headroom("events");
    follow.args(["--follow", "--json", "--limit", "1", "--journal-dir"]).arg(&journal);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap()).unwrap() };
    assert_eq!(next()["alert"]["summary"], "number 1");
    bench.publish(2..4);
    assert_eq!((&next()["alert"]["summary"], &next()["alert"]["summary"]), (&"number 2".into(), &"number 3".into()));
    follow.kill().unwrap();
    follow.wait().unwrap();
    bench.end("nobody");
    let output = headroom("alerts").arg("--journal-dir").arg(&journal).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the journal is gone");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`headroom run` creates the journal"));
}

#[test]
fn a_receiver_with_an_untrusted_certificate_gets_nothing_until_it_is_trusted() {
    let (receiver, pem) = Receiver::tls(Answer::Accept);
    let dir = scratch();
    let (ca, other) = (dir.join("ca.pem"), dir.join("other.pem"));
    fs::write(&ca, pem).unwrap();
    fs::write(&other, Receiver::tls(Answer::Accept).1).unwrap();
    let targets = vec![
        target("trusting", &receiver.url(), Some(&ca)),
        target("strict", &receiver.url(), Some(&other)),
        // Plain HTTP to a port that speaks TLS.
        target("plain", &receiver.url().replace("https", "http"), None),
    ];
    let mut bench = Bench::start(targets);
    bench.publish(0..4);
    bench.until("delivery where it is trusted", |sums| {
        sums["trusting"].delivered == 4 && sums["strict"].failed >= 2 && sums["plain"].failed >= 2
    });
    assert_eq!(receiver.ids().len(), 4);
    assert_eq!(bench.end("strict"), vec!["pending"; 4]);
}

#[test]
fn a_full_disk_delays_no_alert() {
    let receiver = Receiver::start(Answer::Accept);
    // Where a file is, no folder can be made.
    let dir = scratch();
    fs::write(dir.join("journal"), "").unwrap();
    let mut bench = Bench::over(dir, vec![target("hook", &receiver.url(), None)]);
    bench.publish(0..5);
    bench.until("they arrive", |sums| sums["hook"].delivered == 5);
    bench.outbox.close();
}

// ---- files ----

fn file_target(path: &Path) -> Target {
    let sink = config::sink::FileSink { path: path.to_owned(), ..config::sink::FileSink::default() };
    let protocol = Protocol::File(Lines::new(&sink).unwrap());
    Target { name: "file".to_owned(), severity: Severity::Info, evictions: false, protocol }
}

/// The numbers of the alerts in these files, in the order of the lines.
fn numbers(paths: &[&Path]) -> Vec<u64> {
    let text: String = paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    text.lines().map(|line| line.split_once(" ALERT: number ").unwrap().1.parse().unwrap()).collect()
}

#[test]
fn a_file_that_is_rotated_while_alerts_come_has_each_once() {
    let folder = scratch();
    let [path, first, second] = ["alerts.log", "alerts.log.1", "alerts.log.2"].map(|name| folder.join(name));
    let mut bench = Bench::start(vec![file_target(&path)]);
    let publish = |bench: &mut Bench, numbers: std::ops::Range<u64>| {
        let end = numbers.end;
        bench.publish(numbers);
        bench.until("they are written", |sums| sums["file"].delivered == end);
    };
    publish(&mut bench, 0..200);
    fs::rename(&path, &first).unwrap();
    publish(&mut bench, 200..300);
    fs::rename(&path, &second).unwrap();
    fs::write(&path, "").unwrap();
    publish(&mut bench, 300..310);
    assert_eq!(numbers(&[&first, &second, &path]), (0..310).collect::<Vec<_>>());
    fs::remove_file(&path).unwrap();
    publish(&mut bench, 310..311);
    assert_eq!(numbers(&[&path]), [310]);
    assert_eq!(bench.end("file"), vec!["delivered"; 311]);
}

#[test]
fn a_pipe_or_a_missing_folder_in_its_place_delays_no_other_and_costs_no_line() {
    let (folder, receiver) = (scratch(), Receiver::start(Answer::Accept));
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("alerts.log");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let mut bench = Bench::start(vec![file_target(&path), target("hook", &receiver.url(), None)]);
    bench.publish(0..5);
    bench.until("the other has them, and the pipe fails", |sums| {
        sums["hook"].delivered == 5 && sums["file"].failed >= 2
    });
    fs::remove_dir_all(&logs).unwrap();
    bench.publish(5..7);
    bench.until("the other has them, too", |sums| sums["hook"].delivered == 7 && sums["file"].queued == 7);
    fs::create_dir(&logs).unwrap();
    bench.until("a folder is there again", |sums| sums["file"].delivered == 7);
    assert_eq!(numbers(&[&path]), (0..7).collect::<Vec<_>>());
    assert_eq!(bench.lost(Stage::Sink), 0);
    assert_eq!(bench.end("file"), vec!["delivered"; 7]);
}
