//! Advice of an agent that was started again, by everything that shows it: the API, metrics, verbs, an assistant, the report and the page. What
//! stood before is taken over, and what was followed meanwhile is recognised. The witnesses are the kernel's files and what was left.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector::clock::unix_ns;
use collector_core::action::{self, Action, Kind, Object, Risk, Tool};
use collector_core::advice::{Advice, Confidence, id};
use collector_core::api::suggestions::{AdviceLine, AdviceStatus, Suggestions};
use collector_core::outcome::Outcome;
use collector_core::past::DAY_NS;
use collector_core::standing::{Effect, Standing, State};
use collector_tests::agent::{Agent, PATIENCE, body, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::past::remember;
use collector_tests::process::{Killed, meminfo};
use collector_tests::require::{is_root, tools};
use collector_tests::scratch::{Scratch, scratch};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ENOUGH, MIB, ROOMY, days, holds, limit, limit_file, page, words};
use crate::mcp;

/// In the name of a workload. Nothing of it may become more than text.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
/// What somebody raised a limit to while no agent ran, and from what.
const RAISED: u64 = 168 * MIB;
const WAS: u64 = 64 * MIB;

/// A host with three cgroups and days of before, and an agent that was just started.
struct Stage {
    journal: Scratch,
    /// When the days were left.
    now: u64,
    roomy: Cgroup,
    raised: Cgroup,
    /// Nothing is known of its days.
    new: Cgroup,
    _held: [Killed; 3],
    agent: Agent,
}

/// An advice as an earlier agent reported it: a memory limit from one value to another.
fn told(rule: &str, workload: &str, [before, after]: [u64; 2], since: u64, state: State) -> Outcome {
    let object = Object::Workload(workload.to_owned());
    let action = Action {
        kind: Kind::MemoryMax,
        object: object.clone(),
        key: Some("memory.max".to_owned()),
        before: Some(before.to_string()),
        after: Some(after.to_string()),
        risk: Risk::Medium,
        undo: "Set it back.".to_owned(),
        commands: vec![action::Command { tool: Tool::Cgroup, text: format!("echo {after}"), file: None, note: None }],
    };
    let advice = Advice {
        id: id(rule, &object),
        rule: rule.to_owned(),
        object,
        title: format!("Change the limit of {workload}."),
        why: "An agent said so.".to_owned(),
        evidence: Vec::new(),
        saves: None,
        confidence: Confidence::High,
        because: "It is sure.".to_owned(),
        risk: Risk::Medium,
        actions: vec![action],
    };
    Outcome::Advice(Box::new(Standing { advice, since, state }))
}

impl Stage {
    fn new() -> Stage {
        let (journal, now) = (scratch(), unix_ns());
        let [roomy, raised, new] = [HOSTILE, "raised", "new"].map(Cgroup::new);
        roomy.limit(ROOMY);
        raised.limit(RAISED);
        // From a twentieth of the host's memory on it is said what is not known.
        new.limit(meminfo("MemTotal") / 10);
        let changed = now - 3 * DAY_NS;
        days::host(&journal, now);
        days::steady(&journal, &roomy.path, now, ROOMY);
        days::batch(&journal, now, changed);
        let before = Effect { seconds: 7 * 86_400, kills_per_day: Some(0.5), stall_seconds_per_day: Some(1350.0) };
        let followed = State::Followed { at: changed, value: (256 * MIB).to_string(), before, after: None };
        let [raise, lower] = ["memory_limit_raise", "memory_limit_lower"];
        remember(
            &journal,
            vec![
                (changed, told(raise, days::BATCH, [128 * MIB, 256 * MIB], changed - DAY_NS, followed)),
                (now - 2 * DAY_NS, told(lower, &roomy.path, [ROOMY, ENOUGH], now - 2 * DAY_NS, State::Holds)),
                (now - DAY_NS, told(raise, &raised.path, [WAS, RAISED], now - DAY_NS, State::Holds)),
            ],
        );
        let held = [holds(&roomy, 40 * MIB), holds(&raised, 4 * MIB), holds(&new, 4 * MIB)];
        let mut agent = Agent::spawn_unrecorded("tick = \"500ms\"\n", |command| {
            command.env("HEADROOM_JOURNAL_DIR", &*journal);
        });
        agent.await_ready();
        Stage { journal, now, roomy, raised, new, _held: held, agent }
    }

    fn suggestions(&self) -> Suggestions {
        serde_json::from_str(&body(&self.agent.address, "/api/v1/suggestions", "")).unwrap()
    }

    /// The ids of what is advised, was followed meanwhile, and was followed before.
    fn ids(&self) -> [String; 3] {
        let raise = |workload: &str| format!("memory_limit_raise:{workload}");
        [format!("memory_limit_lower:{}", self.roomy.path), raise(&self.raised.path), raise(days::BATCH)]
    }

    /// Waits until all of it is listed.
    fn lines(&self) -> [AdviceLine; 3] {
        let lines = until("not all advice is listed", || {
            let all = self.suggestions().advice;
            let found = self.ids().map(|id| all.iter().find(|it| it.advice.id == id).cloned());
            found.into_iter().collect::<Option<Vec<_>>>().ok_or(all)
        });
        lines.try_into().unwrap()
    }

    fn ask(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command: Command = headroom(verb);
        command.env("HEADROOM_JOURNAL_DIR", &*self.journal).args(["--config", "/dev/null"]);
        command.arg("--socket").arg(self.agent.directory().join("headroom.sock")).args(arguments).output().unwrap()
    }

    fn said(&self, verb: &str, arguments: &[&str]) -> String {
        let output = self.ask(verb, arguments);
        assert!(output.status.success(), "{verb} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(verb, &[arguments, &["--json"]].concat())).unwrap()
    }
}

fn until<T, E: std::fmt::Debug>(what: &str, found: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match found() {
            Ok(found) => return found,
            Err(else_there) => assert!(Instant::now() < deadline, "{what}: {else_there:#?}"),
        }
        sleep(Duration::from_millis(100));
    }
}

/// The ids in a list of advice.
fn listed(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

/// What the API and metrics say of it.
fn is_true(stage: &Stage, [lower, raised, batch]: &[AdviceLine; 3]) {
    let day = |since: u64| (stage.now - since) / DAY_NS;
    assert_eq!(
        (lower.state, day(lower.since), &lower.ended),
        (AdviceStatus::Holds, 2, &None),
        "it goes on: {lower:#?}"
    );
    let [action] = &lower.advice.actions[..] else { panic!("{lower:#?}") };
    let wanted = [limit(&stage.roomy), ENOUGH].map(|bytes| Some(bytes.to_string()));
    assert_eq!([&action.before, &action.after], wanted.each_ref(), "by today's numbers: {lower:#?}");
    assert_eq!(
        lower.advice.title,
        format!("Lower the memory limit of {} from 2.00 GiB to 1.00 GiB.", stage.roomy.path)
    );

    let value = Some(limit(&stage.raised).to_string());
    assert_eq!((raised.state, day(raised.since), &raised.value), (AdviceStatus::Followed, 1, &value), "{raised:#?}");
    assert!(raised.ended.unwrap() >= stage.now && raised.after.is_none(), "{raised:#?}");

    let (after, stalls) = (batch.after.unwrap(), f64::from(days::STALLS[1]) * 86_400.0);
    assert_eq!((batch.state, batch.ended), (AdviceStatus::Followed, Some(stage.now - 3 * DAY_NS)), "{batch:#?}");
    // Whole days; midnight may have passed since the days were left.
    assert!([2, 3].contains(&(after.seconds / 86_400)) && after.kills_per_day == Some(0.0), "{after:?}");
    assert!((after.stall_seconds_per_day.unwrap() / stalls - 1.0).abs() < 0.01, "{stalls}: {after:?}");
    assert_eq!(batch.before.unwrap().stall_seconds_per_day, Some(1350.0), "{batch:#?}");

    let page = stage.agent.scrape();
    let count = |name: &str, rule: &str| page.sum(name, &[("rule", rule)]);
    assert!(count("headroom_advice", "memory_limit_lower") >= 1.0, "{}", page.text);
    assert_eq!(count("headroom_advice_followed", "memory_limit_raise"), 2.0, "{}", page.text);
    assert!(count("headroom_advice_lacking", "memory_limit_raise") >= 1.0, "{}", page.text);
    let other = body(&stage.agent.address, "/api/v1/monitoring/optimization-suggestions", "");
    let other: Suggestions = serde_json::from_str(&other).unwrap();
    assert!(other.advice.iter().any(|line| line.advice.id == lower.advice.id), "{other:#?}");
}

/// What somebody sees who types `headroom advise`.
fn is_typed(stage: &Stage, lower: &AdviceLine) {
    let [id, raised, batch] = stage.ids();
    let list = words(&stage.said("advise", &[]));
    for part in [&*id, &lower.advice.title, "confidence, high risk", "would have saved", "with 10 d"] {
        assert!(list.contains(part), "{part}\n{list}");
    }
    assert!(!list.contains(&*batch), "it no longer holds: {list}");
    let all = words(&stage.said("advise", &["--all"]));
    assert!(all.contains(&*raised) && all.contains("set to 168 MiB; what that did is known a day after it"), "{all}");
    assert!(all.contains("followed 3 d ago: set to 256 MiB; before: 0.5 OOM kills and"), "{all}");

    let one = stage.said("advise", &[&id]);
    let echo = format!("echo {ENOUGH} > ");
    let command = one.lines().map(str::trim).find(|line| line.starts_with(&echo)).unwrap();
    let file = limit_file(&stage.roomy);
    assert_eq!(shlex::split(command).unwrap(), ["echo", &ENOUGH.to_string(), ">", file.to_str().unwrap()]);
    let one = words(&one);
    for part in ["memory limit 2.00 GiB configured", "Would have saved", "Undo: Set the memory limit back to 2.00 GiB."]
    {
        assert!(one.contains(part), "{part}\n{one}");
    }
    let line = stage.json("advise", &[&id]);
    assert_eq!(line["actions"][0]["commands"][0]["text"], command, "{line}");
    assert_eq!(listed(&stage.json("advise", &["--workload", &stage.roomy.path])["advice"]), [&*id]);

    let lacking = stage.json("advise", &["--lacking"])["lacking"].clone();
    let of = |it: &&Value| it["rule"] == "memory_limit_raise" && it["about"] == stage.new.path.as_str();
    let found = lacking.as_array().unwrap().iter().find(of).unwrap_or_else(|| panic!("{lacking:#}"));
    assert_eq!(found["missing"], "a day of history: there is none");
    assert!(stage.said("advise", &["--lacking"]).contains(&stage.new.path));

    let nothing = stage.ask("advise", &["memory_limit_raise:/nobody"]);
    let said = String::from_utf8_lossy(&nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no advice memory_limit_raise:/nobody") && said.contains("--all"), "{said}");
    let many = stage.ask("advise", &["memory_limit_raise:"]);
    let said = String::from_utf8_lossy(&many.stderr);
    assert!(
        many.status.code() == Some(1) && said.contains("more than one advice begin with memory_limit_raise:"),
        "{said}"
    );
}

/// What an assistant is told, and what the agent forecasts from the same days.
fn is_told(stage: &Stage) {
    let forecast = stage.json("forecast", &["--workload", days::BATCH]);
    let memory = forecast["outlooks"].as_array().unwrap().iter().find(|it| it["resource"] == "memory").unwrap();
    assert_eq!(memory["limit"].as_f64(), Some(days::LIMIT.into()), "{forecast}");
    needs!(
        tools().join("python/installed").is_file(),
        "Python's packages are not installed: cargo xtask test --require"
    );
    let answer = mcp::call(&stage.agent.address, &json!([["suggestions", {}]]));
    let told = mcp::text(&answer["results"][0]);
    assert!(stage.ids().iter().all(|id| listed(&told["advice"]).contains(&id.as_str())), "{told}");
}

/// What a report says once the agent was stopped. That something still held after its start only that agent can have said.
fn is_reported(stage: &Stage) {
    let [id, raised, batch] = stage.ids();
    let digest = stage.json("report", &["--days", "7"]);
    assert_eq!(digest["record"]["starts"], 1, "{digest}");
    let advice = digest["advice"].as_array().unwrap();
    let state = |id: &str| {
        let found = advice.iter().find(|it| it["id"] == id);
        found.unwrap_or_else(|| panic!("{id}: {advice:#?}"))["state"].clone()
    };
    assert_eq!(state(&id), "holds");
    let followed = [&raised, &batch].map(|id| state(id)["followed"]["value"].clone());
    assert_eq!(followed, [RAISED, 256 * MIB].map(|bytes| json!(bytes.to_string())));
    let report = words(&stage.said("report", &["--days", "7"]));
    assert!(report.contains("What to change") && report.contains(&*id), "{report}");
}

#[test]
fn advice_goes_on_after_a_restart_and_everything_shows_it() {
    needs!(is_root(), "loading eBPF programs needs root");
    let mut stage = Stage::new();
    let lines = stage.lines();
    is_true(&stage, &lines);
    is_typed(&stage, &lines[0]);
    is_told(&stage);
    page::shows(&stage.agent, &stage.lines());
    stage.agent.signal(Signal::TERM);
    assert!(stage.agent.wait().success(), "{}", stage.agent.log());
    is_reported(&stage);
}
