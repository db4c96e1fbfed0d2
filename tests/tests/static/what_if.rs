//! `headroom replay --what-if` as seen from a shell: text, JSON, and changes that are none.

use std::path::Path;
use std::process::{Command, Output};

use collector_tests::binary::binary;
use serde_json::Value;

fn replay(change: &[&str]) -> Output {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/incident/leak.jsonl");
    Command::new(binary()).arg("replay").arg(recording).args(change).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_change_is_judged_as_text_and_as_json() {
    let output = replay(&["--what-if", "limit /leaky 150M"]);
    let page = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for words in ["What if /leaky has a memory limit of 150 MiB?", "would have come", "Assumed", "Not known"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let output = replay(&["--what-if", "limit /leaky none", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["change"], &json["kills"][0]["fate"]),
        (&Value::from("limit"), &Value::from("avoided")),
        "{json}"
    );
    let output = replay(&["--what-if", "without /nobody"]);
    assert!(text(&output.stdout).contains("The recording has no workload /nobody"), "{}", text(&output.stdout));
}

#[test]
fn what_is_no_change_says_how_one_is_written() {
    for (change, words) in [("grow /leaky", "expected limit WORKLOAD SIZE"), ("limit /leaky 5Q", "unknown unit")] {
        let output = replay(&["--what-if", change]);
        assert_eq!(output.status.code(), Some(2), "{change}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(replay(&["--json"]).status.code(), Some(2), "JSON of what?");
    assert_eq!(replay(&["--events", "--what-if", "swap 1G"]).status.code(), Some(2));
}
