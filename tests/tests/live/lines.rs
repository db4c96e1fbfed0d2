//! Alerts as lines of a file: the agent, confined as it is, writes them, on a disk that is full for a while and into a file that
//! somebody renames. The test makes disk and rules.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::mount::Mount;
use collector_tests::needs;
use collector_tests::require::is_root;

/// Rules that fire at once, each with a long sentence of its own: together more than a few pages.
const RULES: usize = 40;

fn sentence(number: usize) -> String {
    format!("number {number} {}", "because ".repeat(100))
}

/// How often each sentence is among the lines, all of which have the form.
fn sentences(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let (time, sentence) = line.split_once(" ALERT: ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(time.len() == 19 && time.as_bytes()[10] == b' ', "{line:?}");
        *found.entry(sentence.trim_end().to_owned()).or_insert(0) += 1;
    }
    found
}

#[test]
fn a_full_disk_delays_lines_and_loses_and_doubles_none() {
    needs!(is_root(), "loading eBPF programs needs root");
    // Four pages.
    let disk = Mount::tmpfs("size=16k");
    needs!(disk.is_ok(), disk.as_ref().err().map_or("", String::as_str));
    let disk = disk.unwrap();
    let path = disk.0.join("alerts.log");
    let rules: String = (0..RULES)
        .map(|number| {
            format!(
                "[[rule]]\nalert = \"Own{number}\"\nmetric = \"headroom_host_cpus\"\nabove = 0\nseverity = \"critical\"\n\
                 summary = {:?}\naction = \"none\"\n",
                sentence(number)
            )
        })
        .collect();
    let config = format!("tick = \"100ms\"\n[[sink.file]]\npath = {path:?}\nseverity = \"critical\"\n{rules}");
    let agent = Agent::start(&config);
    let sink = [("sink", path.to_str().unwrap())];
    agent.scrape_until("a failure", |it| it.values("headroom_sink_failures_total", &sink).iter().sum::<f64>() >= 1.0);
    agent.await_log(&["delivery of alerts failed", "No space left"]);
    let partial = fs::read_to_string(&path).unwrap_or_default();
    assert!(partial.is_empty() || partial.ends_with('\n'), "no half of a line stays: {:?}", partial.lines().last());
    disk.remount("size=1m");
    let own = |text: &str| {
        let mut found = sentences(text);
        found.retain(|sentence, _| sentence.starts_with("number "));
        found
    };
    let wanted: BTreeMap<String, usize> = (0..RULES).map(|it| (sentence(it).trim_end().to_owned(), 1)).collect();
    let deadline = Instant::now() + PATIENCE;
    while own(&fs::read_to_string(&path).unwrap_or_default()) != wanted {
        assert!(Instant::now() < deadline, "{:?}", own(&fs::read_to_string(&path).unwrap_or_default()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    agent.stop();
    assert_eq!(own(&fs::read_to_string(&path).unwrap()), wanted);
}
