//! The page at `/` in a real Chromium: what its reader sees, also of what is hostile, absent or slow to come.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use collector_tests::agent::{Agent, body, headroom};
use collector_tests::browser::{Browser, Heap, Page};
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::provocation::{Provocation, was_killed};
use collector_tests::provoke;
use collector_tests::require::{is_root, skip};
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

/// In the name of the cgroup in which a process is killed. Nothing of it may become more than text.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
const LIMIT: u64 = 16 << 20;
/// A kill that is shown later was not shown by itself. What it should be is measured by `cargo xtask bench page`.
const LATE: Duration = Duration::from_secs(10);
/// What a browser says of answers for what is not there, or not asked well, on purpose.
const REFUSED: [&str; 2] = ["404 (Not Found)", "400 (Bad Request)"];

/// A browser; `None`, and why, if none can be started here.
fn browser() -> Option<Browser> {
    let root = (!is_root()).then_some("loading eBPF programs needs root");
    match Browser::missing().or(root) {
        Some(why) => skip(why),
        None => return Some(Browser::start()),
    }
    None
}

fn url(agent: &Agent) -> String {
    format!("http://{}/", agent.address)
}

/// An agent, and a cgroup with a hostile name in which a process was killed for its limit.
struct Staged {
    agent: Agent,
    cgroup: Cgroup,
}

impl Staged {
    fn new() -> Staged {
        let agent = Agent::start_unrecorded("");
        let cgroup = Cgroup::new(HOSTILE);
        cgroup.limit(LIMIT);
        Staged { agent, cgroup }
    }

    /// Kills a process; its pid.
    fn kill(&self) -> u32 {
        let mut hog = provoke!(&self.cgroup, &["hog", "anon=67108864"]);
        assert!(was_killed(&mut hog));
        hog.id()
    }

    /// The newest incident, as the API has it.
    fn incident(&self) -> Value {
        let answer: Value = serde_json::from_str(&body(&self.agent.address, "/api/v1/incidents", "")).unwrap();
        answer["incidents"][0].clone()
    }
}

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Waits until this is the page's title.
fn until_at(page: &Page, title: &str) {
    page.until(&format!("document.querySelector('h1')?.textContent.includes({})", json!(title)));
}

#[test]
fn a_real_kill_is_shown_by_itself_and_explained_and_a_name_is_never_more_than_text() {
    let Some(browser) = browser() else { return };
    let staged = Staged::new();
    let page = browser.open(&url(&staged.agent), json!({}));
    page.until_shown(&["Workloads", "live"]);
    let folder = scratch();
    let file = folder.join("empty");
    let verb = ["hold", "4194304", "0", file.to_str().unwrap(), "0", "-", "0"];
    let mut held = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb, &staged.cgroup);
    held.report();
    page.until("/[45]\\.\\d+ MiB of 16\\.0 MiB/.test(document.body.innerText)");
    // So that there is a time before the kill.
    sleep(Duration::from_secs(2));
    let pid = staged.kill();
    let shown = page.until(&format!("document.body.innerText.includes('({pid})') && Date.now()")).as_f64().unwrap();
    let incident = staged.incident();
    let late = Duration::from_secs_f64((shown - incident["time"].as_f64().unwrap() / 1e6).max(0.0) / 1e3);
    println!("an OOM kill was shown {late:.0?} after it");
    assert!(late < LATE, "{late:?}");
    page.until_shown(&[&staged.cgroup.path, "critical"]);
    page.screenshot("overview");
    // It is explained, with the minute before.
    page.go(&format!("{}#/incident/{}", url(&staged.agent), incident["id"].as_str().unwrap()));
    until_at(&page, incident["title"].as_str().unwrap());
    page.until_shown(&["Why", "What to do", incident["next"].as_str().unwrap(), "16.0 MiB", &staged.cgroup.path]);
    page.until("document.querySelectorAll('figure.chart canvas').length > 0");
    page.screenshot("incident");
    // The workload has charts, of any span.
    page.go(&format!("{}#/workload/{}", url(&staged.agent), encoded(&staged.cgroup.path)));
    until_at(&page, &staged.cgroup.path);
    page.until("document.querySelectorAll('figure.chart canvas').length > 3");
    page.until_shown(&["OOM kills", "16.0 MiB"]);
    page.screenshot("workload");
    for window in ["90 d", "7 d", "24 h", "1 h", "5 min"] {
        page.evaluate(&format!("[...document.querySelectorAll('a')].find((it) => it.text === '{window}').click()"));
        page.until(&format!("document.querySelector('.windows [aria-current]').text === '{window}'"));
        page.until("document.querySelector('figure.chart canvas')");
    }
    assert_eq!(page.evaluate("document.images.length"), 0);
    page.assert_well();
    staged.agent.stop();
}

#[test]
fn what_is_reserved_and_who_waits_is_shown_as_it_changes() {
    let Some(browser) = browser() else { return };
    let agent = Agent::start_unrecorded("tick = \"200ms\"\n");
    let socket = agent.directory().join("headroom.sock");
    let sleeper = Killed(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
    let pid = sleeper.0.id().to_string();
    let reserve = |more: &[&str]| {
        let mut command = headroom("reserve");
        command.arg("--socket").arg(&socket).args(["--slot", "load", "--pid", &pid]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let page = browser.open(&format!("{}#/reservations", url(&agent)), json!({}));
    page.until_shown(&["Reservations", "Nothing is reserved.", "level "]);
    let granted = reserve(&["--memory", "64M", "--unit", HOSTILE, "--for", "1h"]).output().unwrap();
    let id = String::from_utf8(granted.stdout).unwrap().trim().to_owned();
    page.until_shown(&["Granted", "host memory", "64.0 MiB", "slot load", "1 place"]);
    // A slot that nobody configured has one place.
    let mut waits = Killed(reserve(&["--memory", "32M", "--wait", "5m", "--priority", "high"]).spawn().unwrap());
    page.until_shown(&["Waiting, the next first", "32.0 MiB", "high"]);
    page.assert_accessible();
    page.screenshot("reservations");
    let released = headroom("release").arg("--socket").arg(&socket).arg(&id).output().unwrap();
    assert!(released.status.success(), "{released:?}");
    assert!(waits.0.wait().unwrap().success());
    page.until(
        "!document.body.innerText.includes('Waiting, the next first') && document.body.innerText.includes('32.0 MiB')",
    );
    page.resize(400, 800);
    page.until("document.documentElement.scrollWidth <= 400");
    assert_eq!(page.evaluate("document.images.length"), 0);
    page.assert_well();
    agent.stop();
}

/// The views, by their addresses behind the `#`, and what is on each.
fn views(staged: &Staged) -> [(&'static str, String, &'static str); 6] {
    let workload = format!("/workload/{}", encoded(&staged.cgroup.path));
    let incident = format!("/incident/{}", staged.incident()["id"].as_str().unwrap());
    [
        ("overview", "/".to_owned(), "[data-rows] tbody tr"),
        ("host", "/host".to_owned(), "figure.chart canvas"),
        ("events", "/events".to_owned(), "li.item"),
        ("advice", "/advice".to_owned(), "main p.dim"),
        ("workload", workload, "figure.chart canvas"),
        ("incident", incident, ".next p"),
    ]
}

#[test]
fn every_view_is_accessible_in_both_themes_and_fits_a_narrow_screen() {
    let Some(browser) = browser() else { return };
    let staged = Staged::new();
    let page = browser.open(&url(&staged.agent), json!({}));
    page.until_shown(&["Workloads", "live"]);
    let pid = staged.kill();
    page.until_shown(&[&format!("({pid})")]);
    for (name, address, part) in views(&staged) {
        page.evaluate(&format!("location.hash = {}", json!(address)));
        page.until(&format!("document.querySelector({})", json!(part)));
        let mut colours = Vec::new();
        for scheme in ["dark", "light"] {
            page.scheme(scheme);
            page.assert_accessible();
            colours.push(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"));
            page.screenshot(&format!("{name}-{scheme}"));
        }
        assert_ne!(colours[0], colours[1], "{name} has two themes");
        page.resize(400, 800);
        // Charts follow the width of their column a frame later.
        page.until("document.documentElement.scrollWidth <= 400");
        page.screenshot(&format!("{name}-narrow"));
        page.resize(1, 1);
        page.resize(1280, 800);
        page.until(&format!("document.querySelector({})?.getBoundingClientRect().width > 1", json!(part)));
    }
    page.assert_well();
    staged.agent.stop();
}

/// Presses Tab until this has the focus; every stop on the way must be seen.
fn tab_to(page: &Page, text: &str) {
    for _ in 0..200 {
        page.press(&["Tab"]);
        let at = page.evaluate(
            "(({ textContent, id }, { outlineStyle, boxShadow }) => \
                ({ text: textContent.trim(), seen: id === '' && outlineStyle !== 'none' || boxShadow !== 'none' }))\
             (document.activeElement, getComputedStyle(document.activeElement))",
        );
        assert_eq!(at["seen"], true, "the focus is not seen at {at}");
        if at["text"] == text {
            return;
        }
    }
    panic!("Tab never reaches {text:?}");
}

#[test]
fn the_keyboard_alone_reaches_a_workload_and_its_incident() {
    let Some(browser) = browser() else { return };
    let staged = Staged::new();
    let pid = staged.kill();
    let page = browser.open(&url(&staged.agent), json!({}));
    page.until_shown(&[&format!("({pid})"), "why"]);
    page.press(&["?"]);
    page.until("document.querySelector('dialog').open");
    page.assert_accessible();
    page.press(&["Escape"]);
    page.until("!document.querySelector('dialog').open");
    tab_to(&page, &staged.cgroup.path);
    page.press(&["Enter"]);
    until_at(&page, &staged.cgroup.path);
    page.until("document.activeElement.matches('h1')");
    page.until_shown(&["Why: the incident"]);
    tab_to(&page, "Why: the incident");
    page.press(&["Enter"]);
    until_at(&page, staged.incident()["title"].as_str().unwrap());
    page.press(&["Escape"]);
    until_at(&page, "Overview");
    page.assert_well();
    staged.agent.stop();
}

#[test]
fn an_agent_that_restarts_is_missed_and_found_again() {
    let Some(browser) = browser() else { return };
    let agent = Agent::start_unrecorded("");
    let (url, address) = (url(&agent), agent.address.clone());
    let page = browser.open(&url, json!({}));
    page.until_shown(&["Workloads", "live"]);
    page.assert_well();
    agent.stop();
    page.until("document.querySelector('.live.broken')");
    page.until_shown(&["No answer since"]);
    page.assert_accessible();
    page.screenshot("no-answer");
    let mut again = Agent::spawn_unrecorded("", |command| _ = command.args(["--listen", &address]));
    again.await_ready();
    page.until("document.querySelector('.live:not(.broken)') && document.body.innerText.includes('live')");
    // Only that nobody answered.
    let troubles = page.troubles();
    assert!(troubles.iter().all(|trouble| trouble.contains("net::ERR_CONNECTION")), "{troubles:?}");
    assert!(!troubles.is_empty());
    again.stop();
}

#[test]
fn it_works_over_tls_with_a_password() {
    let Some(browser) = browser() else { return };
    let directory = scratch();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join("server.crt"), made.cert.pem()).unwrap();
    fs::write(directory.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    let web = directory.join("web.yml");
    // A hash of this password made by other software.
    let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\nbasic_auth_users:\n  \
                reader: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n";
    fs::write(&web, text).unwrap();
    let mut agent = Agent::spawn_unrecorded("", |command| _ = command.arg("--web-config-file").arg(&web));
    agent.await_ready();
    let credentials = json!({ "username": "reader", "password": "fakepassword" });
    let page = browser.open(&format!("https://{}/", agent.address), json!({ "credentials": credentials }));
    let text = page.until_shown(&["Workloads", "live", "Filesystems"]);
    page.evaluate("location.hash = '/host'");
    page.until("document.querySelector('figure.chart canvas')");
    assert!(!text.contains("No answer"), "{text}");
    page.assert_well();
    agent.stop();
}

#[test]
fn names_with_every_escape_are_links_that_lead_somewhere_and_what_is_not_there_is_said() {
    let Some(browser) = browser() else { return };
    let agent = Agent::start_unrecorded("");
    let names = [
        "a\"b'c\\d",
        "%2e%2e%2f",
        "&lt;&#60;",
        "#?&=+ ;,:@",
        "{{x}}${y}`z`",
        "\u{202e}txt\u{0301}",
        "\u{1F600}\t\u{7f}",
    ];
    let cgroups = names.map(Cgroup::new);
    cgroups.iter().for_each(|cgroup| cgroup.limit(LIMIT));
    let page = browser.open(&url(&agent), json!({}));
    let ours = "[...document.querySelectorAll('[data-rows] a.name')].filter((it) => it.textContent.includes('headroom-test-'))";
    let all = format!("{ours}.length >= {} && {ours}.map((it) => [it.hash, it.textContent])", names.len());
    let links = page.until(&all);
    for link in links.as_array().unwrap() {
        page.evaluate(&format!("location.hash = {}", link[0]));
        until_at(&page, link[1].as_str().unwrap());
        page.until("document.querySelector('dl.facts')?.innerText.includes('16.0 MiB')");
    }
    page.assert_well();
    let long = format!("/workload/{}", "a".repeat(500));
    for (address, said) in [
        ("/workload/nobody", "no workload"),
        ("/workload/%E0%A4%A", "no workload"),
        ("/workload/nobody?window=7776000", "no workload"),
        (&*long, "400 characters"),
        ("/incident/x%2F..%2Fy", "no incident"),
        ("/host?window=1e9", "Charts"),
        ("/nowhere/%00", "Workloads"),
        ("%", "Workloads"),
    ] {
        page.evaluate(&format!("location.hash = {}", json!(address)));
        page.until(&format!("document.querySelector('main').innerText.includes({})", json!(said)));
    }
    let troubles = page.troubles();
    let refused = |trouble: &String| REFUSED.iter().any(|refused| trouble.contains(refused));
    assert!(troubles.iter().all(refused), "{troubles:?}");
    assert_eq!(page.evaluate("document.querySelector('.live.broken')"), Value::Null);
    agent.stop();
}

#[test]
fn a_page_that_is_left_open_keeps_no_more_and_more() {
    let Some(browser) = browser() else { return };
    let staged = Staged::new();
    staged.kill();
    let page = browser.open(&url(&staged.agent), json!({ "clock": true }));
    page.until_shown(&["Workloads", "live"]);
    let views = views(&staged);
    let round = || {
        for (_, address, part) in &views {
            page.evaluate(&format!("location.hash = {}", json!(address)));
            page.until(&format!("document.querySelector({})", json!(part)));
            page.pass(5);
        }
        page.heap()
    };
    round();
    let rounds: Vec<Heap> = (0..6).map(|_| round()).collect();
    println!("{rounds:?}");
    let (first, last) = (rounds[0], rounds[rounds.len() - 1]);
    // An alert or a workload that comes meanwhile is some nodes more, once. What is not let go of comes with each round.
    let always = |of: fn(&Heap) -> u64| rounds.windows(2).all(|two| of(&two[1]) > of(&two[0]));
    assert!(!always(|heap| heap.nodes) && !always(|heap| heap.listeners), "{rounds:?}");
    assert!(last.nodes < 2 * first.nodes && last.listeners < 2 * first.listeners, "{rounds:?}");
    assert!(last.bytes < first.bytes + (1 << 20), "{rounds:?}");
    page.assert_well();
    staged.agent.stop();
}
