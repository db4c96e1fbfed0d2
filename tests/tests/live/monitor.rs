//! The agent with a real Prometheus and a real Alertmanager: what they receive from it, according to their own APIs.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use collector_tests::agent::{Agent, get, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::dashboard::{files, queries};
use collector_tests::monitor::Server;
use collector_tests::needs;
use collector_tests::require::{installed, is_root};
use collector_tests::scratch::scratch;
use serde_json::Value;

/// Makes the kernel kill a process in this cgroup.
fn kill_in(cgroup: &Cgroup) {
    cgroup.limit(16 << 20);
    let mut provoke = Command::new(env!("CARGO_BIN_EXE_provoke"));
    provoke.args(["hog", "anon=67108864", "comm=hog"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(cgroup.spawn(&mut provoke).wait().unwrap().signal(), Some(libc::SIGKILL));
}

fn find<'a>(alerts: &'a Value, name: &str, workload: &str) -> Option<&'a Value> {
    let ours = |alert: &&Value| alert["labels"]["alertname"] == name && alert["labels"]["workload"] == workload;
    alerts.as_array()?.iter().find(ours)
}

#[test]
fn alertmanager_has_the_alert_of_an_oom_kill_until_it_resolves() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("prometheus-alertmanager"), "prometheus-alertmanager is not installed: cargo xtask setup");
    let alertmanager = Server::alertmanager();
    let config = format!(
        "tick = \"100ms\"\nhost = \"node1\"\n[[sink.alertmanager]]\nurl = \"http://{}/\"\n[[rule]]\nalert = \"OomKill\"\nhold = \"6s\"\n",
        alertmanager.address
    );
    let agent = Agent::start(&config);
    let cgroup = Cgroup::new("manager");
    kill_in(&cgroup);
    let path = cgroup.path.as_str();
    let alerts = alertmanager.ask("/api/v2/alerts", |alerts| find(alerts, "OomKill", path).is_some());
    let alert = find(&alerts, "OomKill", path).unwrap();
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["instance"]), (&"critical".into(), &"node1".into()));
    assert_eq!(alert["status"]["state"], "active");
    assert!(alert["annotations"]["summary"].as_str().unwrap().contains("hog"), "{alert}");
    assert!(!alert["annotations"]["incident"].as_str().unwrap().is_empty(), "{alert}");
    assert_eq!(alert["generatorURL"], format!("http://{}/metrics", agent.address));
    // It lists active alerts only: resolved ones are gone.
    alertmanager.ask("/api/v2/alerts", |alerts| alerts.is_array() && find(alerts, "OomKill", path).is_none());
    let exposition = agent.scrape();
    assert_eq!(exposition.sum("headroom_sink_failures_total", &[]), 0.0, "{}", exposition.text);
    agent.stop();
}

/// Runs promtool with this standard input; whether it succeeded, and its output.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn prometheus_scrapes_the_agent_and_an_exported_rule_fires_on_an_oom_kill() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("prometheus") && installed("promtool"), "prometheus is not installed: cargo xtask setup");
    let directory = scratch();
    let rules = directory.join("rules.yml");
    let output = headroom("rules").args(["--format", "prometheus"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&rules, &output.stdout).unwrap();
    let (good, said) = promtool(&["check", "rules", rules.to_str().unwrap()], "");
    assert!(good, "{said}");

    let agent = Agent::start("tick = \"500ms\"\n");
    let prometheus = Server::prometheus(&agent.address, &rules, "");
    let targets = prometheus.ask("/api/v1/targets", |answer| answer["data"]["activeTargets"][0]["health"] == "up");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "");
    let text = get(&agent.address, "/metrics", "Accept: text/plain\r\n");
    let (good, said) = promtool(&["check", "metrics"], text.split_once("\r\n\r\n").unwrap().1);
    assert!(good, "{said}");

    // Its counter first appears with the first kill, so Prometheus never sees a zero: the rule must notice that, too.
    let cgroup = Cgroup::new("prometheus");
    kill_in(&cgroup);
    let path = cgroup.path.as_str();
    let kills = format!("headroom_oom_kills_total{{workload=\"{path}\",scope=\"memcg\"}}");
    let seen = |answer: &Value| answer["data"]["result"][0]["value"][1] == "1";
    prometheus.query(&kills, seen);
    let alerts = prometheus.ask("/api/v1/alerts", |answer| find(&answer["data"]["alerts"], "OomKill", path).is_some());
    let alert = find(&alerts["data"]["alerts"], "OomKill", path).unwrap();
    assert_eq!((&alert["state"], &alert["labels"]["severity"]), (&"firing".into(), &"critical".into()));
    agent.stop();
}

/// As Grafana sends them. A query of families that Prometheus has, and that keeps no part of their series, has an answer.
#[test]
fn prometheus_answers_every_query_of_the_dashboards() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("prometheus"), "prometheus is not installed: cargo xtask setup");
    let rules = scratch();
    let agent = Agent::start("tick = \"500ms\"\n");
    let prometheus = Server::prometheus(&agent.address, &rules.join("none.yml"), "");
    let rated = "rate(process_cpu_seconds_total[1m])";
    prometheus.query(rated, |answer| answer["data"]["result"][0].is_object());
    let names = prometheus.ask("/api/v1/label/__name__/values", |answer| answer["status"] == "success");
    let names: Vec<&str> = names["data"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let words = |query: &str| -> Vec<String> {
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let series = words.filter(|word| word.starts_with("headroom_") || word.starts_with("process_"));
        series.map(str::to_owned).collect()
    };
    let (mut answered, mut empty) = (0, 0);
    for (file, text) in files() {
        for query in queries(&serde_json::from_str(&text).unwrap()) {
            let whole = ![" > 0", " == ", "!=", " and "].iter().any(|part| query.contains(part));
            let known = whole && words(&query).iter().all(|word| names.contains(&word.as_str()));
            let answer = prometheus.query(&query, |answer| {
                assert_eq!(answer["status"], "success", "{}: {query}: {answer}", file.display());
                !known || answer["data"]["result"][0].is_object() || answer["data"]["resultType"] == "scalar"
            });
            match answer["data"]["result"][0].is_object() {
                true => answered += 1,
                false => empty += 1,
            }
        }
    }
    assert!(answered > 80, "{answered} answered, {empty} empty");
    agent.stop();
}

/// The agent's certificate, and Prometheus' own, each trusted by the other.
fn certificates(directory: &Path) {
    for (name, names) in [("server", &["127.0.0.1"] as &[&str]), ("client", &["prometheus.example.com"])] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(directory.join(format!("{name}.crt")), made.cert.pem()).unwrap();
        fs::write(directory.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
}

#[test]
fn prometheus_scrapes_the_agent_over_tls_with_a_password() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("prometheus"), "prometheus is not installed: cargo xtask setup");
    let directory = scratch();
    certificates(&directory);
    let web = directory.join("web.yml");
    // A hash of this password made by other software.
    let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  \
                client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n\
                basic_auth_users:\n  prometheus: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n";
    fs::write(&web, text).unwrap();
    let mut agent = Agent::spawn("tick = \"500ms\"\n", |command| {
        command.arg("--web-config-file").arg(&web);
    });
    agent.await_ready();
    let rules = directory.join("rules.yml");
    fs::write(&rules, "groups: []\n").unwrap();
    let scrape = |password: &str, certificate: &str| {
        let file = |name: &str| directory.join(name).display().to_string();
        let tls = format!(
            "    scheme: https\n    tls_config: {{ ca_file: {:?}, cert_file: {:?}, key_file: {:?} }}\n",
            file("server.crt"),
            file(&format!("{certificate}.crt")),
            file(&format!("{certificate}.key"))
        );
        let basic = format!("    basic_auth: {{ username: prometheus, password: {password} }}\n");
        let prometheus = Server::prometheus(&agent.address, &rules, &format!("{tls}{basic}"));
        let health = |answer: &Value| answer["data"]["activeTargets"][0]["health"].as_str().map(str::to_owned);
        let tried = |answer: &Value| health(answer).is_some_and(|health| health != "unknown");
        let targets = prometheus.ask("/api/v1/targets", tried);
        let target = &targets["data"]["activeTargets"][0];
        (target["health"].as_str().unwrap().to_owned(), target["lastError"].as_str().unwrap().to_owned())
    };
    let scrape = &scrape;
    let tried = [("fakepassword", "client"), ("wrong", "client"), ("fakepassword", "server")];
    let [right, wrong, strange] = std::thread::scope(|scope| {
        tried.map(|(password, by)| scope.spawn(move || scrape(password, by))).map(|tried| tried.join().unwrap())
    });
    assert_eq!(right, ("up".to_owned(), String::new()));
    assert!(wrong.0 == "down" && wrong.1.contains("401"), "{wrong:?}");
    // The server's certificate is not signed by the authority in the agent's file.
    assert!(strange.0 == "down" && strange.1.contains("tls"), "{strange:?}");
    agent.stop();
}
