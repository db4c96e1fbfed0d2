//! Real OOM kills and real rules, from the kernel to a receiver: what arrives, what the journal says, and what happens to
//! alerts when the agent is killed. The test runs the receiver.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::receiver::{Answer, Receiver, Request};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Makes the kernel kill a process in this cgroup.
fn kill_in(cgroup: &Cgroup) {
    cgroup.limit(16 * MIB);
    let mut provoke = Command::new(env!("CARGO_BIN_EXE_provoke"));
    provoke.args(["hog", "anon=67108864", "comm=hog"]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = cgroup.spawn(&mut provoke).wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

fn hook(receiver: &Receiver) -> String {
    format!("[[sink.webhook]]\nname = \"hook\"\nurl = {:?}\nsecret = \"hush\"\ntimeout = \"1s\"\n", receiver.url())
}

/// Starts an agent with a journal that outlives it.
fn start(journal: &Path, config: &str) -> Agent {
    let mut agent = Agent::spawn(&format!("tick = \"100ms\"\n{config}"), |command| {
        command.env("HEADROOM_JOURNAL_DIR", journal);
    });
    agent.await_ready();
    agent
}

/// Output of a verb on this journal, as JSON.
fn ask(journal: &Path, arguments: &[&str]) -> Value {
    let mut command = headroom(arguments[0]);
    let output = command.args(&arguments[1..]).arg("--json").arg("--journal-dir").arg(journal).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // One event per line.
    let lines = || text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::Array(lines()))
}

/// Alerts for a workload, as received.
fn about(requests: &[Request], workload: &str) -> Vec<Value> {
    let alerts = requests.iter().filter(|request| request.accepted).flat_map(Request::alerts);
    alerts.filter(|alert| alert["labels"]["workload"] == workload).collect()
}

#[test]
fn an_oom_kill_reaches_the_receiver_and_the_journal_shows_it_without_an_agent() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (receiver, dir) = (Receiver::start(Answer::Accept), scratch());
    let journal = dir.join("journal");
    let agent = start(&journal, &hook(&receiver));
    let cgroup = Cgroup::new("alert");
    kill_in(&cgroup);
    let path = cgroup.path.as_str();
    let requests = receiver.until("the alert", |requests| !about(requests, path).is_empty());
    let alert = about(&requests, path).remove(0);
    assert_eq!(
        (&alert["alert"], &alert["state"], &alert["severity"]),
        (&"OomKill".into(), &"firing".into(), &"critical".into())
    );
    assert!(alert["summary"].as_str().unwrap().contains("hog"), "{alert}");
    assert_eq!(alert["incident"]["kind"], "oom", "the incident is included: {alert}");
    let incident = alert["incident"]["id"].as_str().unwrap().to_owned();
    agent.scrape_until("the receipt", |it| it.sum("headroom_sink_delivered_total", &[("sink", "hook")]) >= 1.0);

    let firing = ask(&journal, &["alerts"]);
    let ours = |alert: &&Value| alert["labels"]["workload"] == path;
    assert_eq!(firing.as_array().unwrap().iter().filter(ours).count(), 1, "{firing}");
    agent.stop();
    // The same again without a running agent.
    assert_eq!(ask(&journal, &["alerts"]), firing);
    let all = ask(&journal, &["alerts", "--all"]);
    let reported = all.as_array().unwrap().iter().find(ours).unwrap();
    assert_eq!(
        (&reported["id"].to_string(), &reported["deliveries"][0]["state"]),
        (&alert["id"].as_str().unwrap().to_owned(), &"delivered".into())
    );
    let incidents = ask(&journal, &["incidents"]);
    assert_eq!(incidents.as_array().unwrap().iter().filter(|it| it["id"] == *incident).count(), 1, "{incidents}");
    let events = ask(&journal, &["events", "--limit", "1000"]);
    let kinds: Vec<&str> = (events.as_array().unwrap().iter())
        .filter(|event| event.to_string().contains(&format!("\"workload\":\"{path}\"")))
        .flat_map(|event| event.as_object().unwrap().keys())
        .map(String::as_str)
        .filter(|key| !matches!(*key, "id" | "time"))
        .collect();
    assert_eq!(kinds, ["oom_kill", "incident", "alert"], "{events}");
}

#[test]
fn killed_at_any_moment_the_agent_loses_no_alert_of_its_journal() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (receiver, dir) = (Receiver::start(Answer::Accept), scratch());
    let journal = dir.join("journal");
    let mut random = u64::from(std::process::id());
    for round in 0..9 {
        // In some rounds nothing is delivered before the end.
        receiver.answer(if round % 3 == 1 { Answer::Status(500) } else { Answer::Accept });
        let mut agent = start(&journal, &hook(&receiver));
        for _ in 0..3 {
            kill_in(&Cgroup::new("crash"));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sleep(Duration::from_micros(random >> 48));
        agent.signal(Signal::KILL);
        assert_eq!(agent.wait().signal(), Some(libc::SIGKILL));
    }
    receiver.answer(Answer::Accept);
    let agent = start(&journal, &hook(&receiver));
    agent.scrape_until("the end of the queue", |it| it.values("headroom_sink_queued", &[("sink", "hook")]) == [0.0]);
    agent.stop();

    let arrived: BTreeSet<u64> = receiver.ids().into_iter().collect();
    let all = ask(&journal, &["alerts", "--all", "--limit", "100000"]);
    let all = all.as_array().unwrap();
    let written: BTreeSet<u64> = all.iter().map(|reported| reported["id"].as_u64().unwrap()).collect();
    eprintln!("{} written, {} arrived, {} times", written.len(), arrived.len(), receiver.ids().len());
    assert!(written.len() >= 9, "{} alerts", written.len());
    assert_eq!(written, arrived, "alerts in the journal and alerts that arrived");
    let states: BTreeSet<&str> =
        all.iter().map(|reported| reported["deliveries"][0]["state"].as_str().unwrap()).collect();
    assert_eq!(states, BTreeSet::from(["delivered"]));
    assert!(!fs::read_dir(&journal).unwrap().any(|it| it.unwrap().file_name().to_string_lossy().contains("corrupt")));
}

const ALWAYS: &str = "
[[rule]]
alert = \"Always\"
metric = \"headroom_host_memory_total_bytes\"
above = 1
severity = \"warning\"
summary = \"there is memory\"
action = \"none\"
";

#[test]
fn after_a_kill_of_the_agent_an_alert_that_fires_is_not_sent_twice_and_its_end_is_not_lost() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (receiver, dir) = (Receiver::start(Answer::Accept), scratch());
    let journal = dir.join("journal");
    let states = || -> Vec<String> {
        let alerts = receiver.requests().iter().flat_map(Request::alerts).collect::<Vec<_>>();
        let always = alerts.iter().filter(|alert| alert["alert"] == "Always");
        always.map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
    };
    for _ in 0..2 {
        let mut agent = start(&journal, &format!("{}{ALWAYS}", hook(&receiver)));
        let alert = [("alert", "Always")];
        agent.scrape_until("that it fires", |it| it.sum("headroom_alerts", &alert) == 1.0);
        receiver.until("the alert", |_| !states().is_empty());
        agent.settle();
        agent.signal(Signal::KILL);
        agent.wait();
        assert_eq!(states(), ["firing"], "one fire, one page");
    }
    // The rule is gone, and with it what its alert describes.
    let agent = start(&journal, &hook(&receiver));
    receiver.until("the end", |_| states().len() > 1);
    assert_eq!(states(), ["firing", "resolved"]);
    agent.stop();
    assert!(ask(&journal, &["alerts"]).as_array().unwrap().iter().all(|alert| alert["alert"] != "Always"));
}

#[test]
fn a_receiver_that_is_down_for_a_while_gets_everything_and_delays_no_other() {
    needs!(is_root(), "loading eBPF programs needs root");
    const DOWN: Duration = Duration::from_secs(6);
    // The port is reserved, and nobody listens on it.
    let port = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&port, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&port).unwrap()).unwrap();
    let (alive, dir) = (Receiver::start(Answer::Accept), scratch());
    let down = format!("[[sink.webhook]]\nname = \"down\"\nurl = \"http://{address}/hook\"\ntimeout = \"1s\"\n");
    let agent = start(&dir.join("journal"), &format!("{}{down}", hook(&alive)));
    let (begun, mut kills) = (Instant::now(), Vec::new());
    while begun.elapsed() < DOWN {
        let cgroup = Cgroup::new("down");
        kill_in(&cgroup);
        alive.until("the alert at the working receiver", |requests| !about(requests, &cgroup.path).is_empty());
        kills.push(cgroup.path.clone());
        sleep(DOWN / 8);
    }
    let down = [("sink", "down")];
    let seen = agent.settle();
    let waiting = seen.sum("headroom_sink_queued", &down);
    assert!(waiting >= kills.len() as f64, "{waiting} wait, after {} kills", kills.len());
    assert!(seen.sum("headroom_sink_failures_total", &down) >= 2.0, "{}", seen.text);
    assert_eq!(seen.sum("headroom_sink_queued", &[("sink", "hook")]), 0.0);
    assert!(agent.log().contains("delivery of alerts failed and will be retried"), "{}", agent.log());

    listen(&port, 64).unwrap();
    let risen = Receiver::on(TcpListener::from(port), Answer::Accept);
    // The agent retries after half a minute at the latest.
    let deadline = Instant::now() + PATIENCE;
    while !kills.iter().all(|path| !about(&risen.requests(), path).is_empty()) {
        assert!(Instant::now() < deadline, "{} of {} arrived", risen.ids().len(), kills.len());
        sleep(Duration::from_millis(50));
    }
    let queued = |sink| agent.scrape().sum("headroom_sink_queued", &[("sink", sink)]);
    while queued("down") + queued("hook") > 0.0 {
        assert!(Instant::now() < deadline, "{} wait", queued("down"));
        sleep(Duration::from_millis(50));
    }
    let sets = [&alive, &risen].map(|it| it.ids().into_iter().collect::<BTreeSet<u64>>());
    eprintln!("{} kills, {} alerts", kills.len(), sets[0].len());
    assert_eq!(sets[0], sets[1], "both got the same alerts");
    assert!(agent.log().contains("delivery of alerts works again"), "{}", agent.log());
    agent.stop();
}

/// A server of plain HTTP that answers TLS with an error.
fn deaf() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_receivers_certificate_error_is_logged_and_counted() {
    needs!(is_root(), "loading eBPF programs needs root");
    let dir = scratch();
    let (good, pem) = Receiver::tls(Answer::Accept);
    let (expired, expired_pem) = Receiver::certified(Answer::Accept, "localhost", 2001);
    let (named, named_pem) = Receiver::certified(Answer::Accept, "elsewhere.example.com", 4096);
    let plain = deaf();
    let http = good.url().replace("https", "http");
    let https = format!("https://localhost:{}/hook", plain.port());
    let cases = [
        ("good", good.url(), &pem, ""),
        ("expired", expired.url(), &expired_pem, "expired"),
        ("named", named.url(), &named_pem, "not valid for name"),
        ("unknown", good.url(), &expired_pem, "invalid peer certificate"),
        ("plain", http, &pem, "does not answer with HTTP"),
        ("tls", https, &pem, "does not use TLS"),
    ];
    let mut config = ALWAYS.to_owned();
    for (name, url, pem, _) in &cases {
        let ca = dir.join(format!("{name}.pem"));
        fs::write(&ca, pem).unwrap();
        config += &format!("[[sink.webhook]]\nname = {name:?}\nurl = {url:?}\ntimeout = \"2s\"\nca = {ca:?}\n");
    }
    let agent = start(&dir.join("journal"), &config);
    let delivered = |sink: &str| agent.scrape().sum("headroom_sink_delivered_total", &[("sink", sink)]);
    agent.scrape_until("the failures", |it| {
        let failed = |name| it.sum("headroom_sink_failures_total", &[("sink", name)]) >= 2.0;
        cases[1..].iter().all(|(name, ..)| failed(*name))
    });
    good.until("the alert", |requests| !requests.is_empty());
    let log = agent.log();
    for (name, _, _, words) in &cases[1..] {
        let line =
            log.lines().find(|line| line.contains("delivery of alerts failed") && line.contains(&format!("{name:?}")));
        let line = line.unwrap_or_else(|| panic!("no line about {name}:\n{log}"));
        assert!(line.contains(words), "{line}");
        assert_eq!(delivered(name), 0.0, "{name}");
    }
    assert!([&expired, &named].iter().all(|it| it.requests().is_empty()));
    agent.stop();
}
