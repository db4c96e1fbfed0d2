//! `headroom advise` from a shell: against something that answers in an agent's place, of a recording, and without an agent.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use collector_core::action::{Action, Command, Kind, Object, Risk, Tool};
use collector_core::advice::{Advice, Confidence, Evidence, Lacking, Origin, Saves, Unit, id};
use collector_core::api::suggestions::{AdviceLine, AdviceStatus, LackingLine, Suggestions};
use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use serde_json::Value;

use crate::status::{answering, headroom, nobody, out};

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/replay/alert.jsonl");
const PATCH: &str = "services:\n  web:\n    mem_limit: 12g\n";
const SECOND: u64 = 1_000_000_000;

fn line(name: &str, confidence: Confidence, state: AdviceStatus) -> AdviceLine {
    let object = Object::Workload(name.to_owned());
    let command = |tool, text: &str, file: Option<&str>| Command {
        tool,
        text: text.to_owned(),
        file: file.map(str::to_owned),
        note: None,
    };
    let action = Action {
        kind: Kind::MemoryMax,
        object: object.clone(),
        key: Some("memory.max".to_owned()),
        before: Some((8_u64 << 30).to_string()),
        after: Some((12_u64 << 30).to_string()),
        risk: Risk::Low,
        undo: "Set it to 8 GiB again.".to_owned(),
        commands: vec![
            command(Tool::Docker, "docker update --memory 12g --memory-swap 12g web", None),
            command(Tool::Compose, PATCH, Some("compose.yaml")),
        ],
    };
    let evidence = Evidence {
        what: "highest use in 8 days".to_owned(),
        value: 7.5 * f64::from(1 << 30),
        unit: Unit::Bytes,
        origin: Origin::Measured,
    };
    let advice = Advice {
        id: id("memory_limit_raise", &object),
        rule: "memory_limit_raise".to_owned(),
        object,
        title: format!("Raise the memory limit of {name} from 8.00 GiB to 12.0 GiB"),
        why: "It was killed 3 times in 8 days.".to_owned(),
        evidence: vec![evidence],
        saves: Some(Saves { over_seconds: 691_200, kills: Some(3.0), ..Saves::default() }),
        confidence,
        because: "8 days are known.".to_owned(),
        risk: Risk::Low,
        actions: vec![action],
    };
    let (about, workload) = (name.to_owned(), Some(name.to_owned()));
    AdviceLine {
        advice,
        about,
        workload,
        state,
        since: 60 * SECOND,
        ended: None,
        value: None,
        before: None,
        after: None,
    }
}

fn answer() -> Suggestions {
    let lacking =
        Lacking { rule: "swap_missing".to_owned(), object: Object::Host, missing: "a day of history".to_owned() };
    Suggestions {
        time: 120 * SECOND,
        advice: vec![
            line("docker/web", Confidence::High, AdviceStatus::Holds),
            line("docker/evil\u{1b}[2J", Confidence::Low, AdviceStatus::Holds),
            line("old.service", Confidence::High, AdviceStatus::Gone),
        ],
        lacking: vec![LackingLine { lacking, about: "host".to_owned() }],
        judged: Some(100 * SECOND),
        ..Suggestions::default()
    }
}

fn agent() -> SocketAddr {
    answering(|path| match path {
        "/api/v1/suggestions" => ("200 OK", serde_json::to_string(&answer()).unwrap()),
        _ => ("404 Not Found", String::new()),
    })
}

#[test]
fn advice_is_listed_and_one_is_shown_with_commands_that_stay_whole() {
    let agent = agent();
    let list = headroom(agent, &["advise"]);
    let list = out(&list);
    for part in [
        "memory_limit_raise:docker/web\n  Raise the memory limit of docker/web from 8.00 GiB to 12.0 GiB\n",
        "  high confidence, low risk; would have saved in 8 d: 3 OOM kills\n",
        r"docker/evil\x1b[2J",
        "1 could not be judged: headroom advise --lacking",
        "judged 20 s ago, without the history of the last days",
    ] {
        assert!(list.contains(part), "{part}\n{list}");
    }
    assert!(!list.contains("old.service") && !list.contains('\x1b'), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 100), "{list}");
    assert!(out(&headroom(agent, &["advise", "--all"])).contains("old.service"));
    let sure = headroom(agent, &["advise", "--min-confidence", "high", "--workload", "docker/*"]);
    assert!(out(&sure).contains("docker/web") && !out(&sure).contains("evil"), "{}", out(&sure));

    let one = headroom(agent, &["advise", "memory_limit_raise:docker/w"]);
    let one = out(&one);
    for part in
        ["highest use in 8 days", "7.50 GiB", "8 days are known.", "memory.max of docker/web: 8.00 GiB → 12.0 GiB"]
    {
        assert!(one.contains(part), "{part}\n{one}");
    }
    assert!(one.lines().any(|line| line.trim() == "docker update --memory 12g --memory-swap 12g web"), "{one}");
    // What is cut out of the page is the patch again.
    let patch: String = one
        .lines()
        .skip_while(|line| !line.contains("in compose.yaml"))
        .skip(1)
        .take(PATCH.lines().count())
        .map(|line| format!("{}\n", line.strip_prefix("    ").unwrap()))
        .collect();
    assert_eq!(patch, PATCH);
    assert!(out(&headroom(agent, &["advise", "--lacking"])).contains("a day of history"));
}

#[test]
fn json_is_the_agents_answer_with_what_is_listed() {
    let agent = agent();
    let json = |arguments: &[&str]| {
        let output = headroom(agent, &[&["advise", "--json"], arguments].concat());
        serde_json::from_str::<Value>(out(&output)).unwrap()
    };
    assert_eq!(json(&["--all"]), serde_json::to_value(answer()).unwrap());
    assert_eq!(json(&[])["advice"].as_array().unwrap().len(), 2);
    let one = json(&["memory_limit_raise:docker/web"]);
    assert_eq!(one, serde_json::to_value(&answer().advice[0]).unwrap());
    assert_eq!(one["actions"][0]["commands"][1]["text"], PATCH);
}

#[test]
fn what_there_is_not_is_an_error_that_says_what_to_do() {
    let failed = |at, arguments: &[&str], code| {
        let output = headroom(at, &[&["advise"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let agent = agent();
    let said = failed(agent, &["nothing"], 1);
    assert!(said.contains("there is no advice nothing") && said.contains("headroom advise --all"), "{said}");
    assert!(failed(agent, &["memory"], 1).contains("more than one advice begin with memory"));
    failed(agent, &["--min-confidence", "certain"], 2);
    let said = failed(nobody(), &[], 1);
    assert!(said.contains("no agent answers") && said.contains("--replay FILE"), "{said}");
}

#[test]
fn of_a_recording_it_is_what_the_agent_would_have_said_at_its_end() {
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    for sample in samples(fs::read(RECORDING).unwrap().as_slice()) {
        engine.apply(&sample.unwrap());
    }
    let wanted = serde_json::to_value(Suggestions::of(engine.view())).unwrap();
    let output = headroom(nobody(), &["advise", "--all", "--json", "--replay", RECORDING]);
    assert_eq!(serde_json::from_str::<Value>(out(&output)).unwrap(), wanted);
    assert!(wanted["suggestions"].as_array().unwrap().iter().any(|it| it["kind"] == "alert"), "{wanted}");
    let missing = headroom(nobody(), &["advise", "--replay", "/nowhere/x.jsonl"]);
    assert!(!missing.status.success());
}
