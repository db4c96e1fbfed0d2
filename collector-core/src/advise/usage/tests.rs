//! Models that are used by day, all day, or not at all.

use std::sync::Arc;

use super::*;
use crate::cgroup::Id;
use crate::engine::test::{ID, engine};
use crate::past::model::UseHour;
use crate::past::{Day, Past, Span};
use crate::sample::{self, Sample};
use crate::signal::cgroup;
use crate::statistic::model::{Answer, Model, Reading, Server, State};

/// A Monday at noon.
const NOW: u64 = (4 * 24 + 12) * HOUR_NS + 52 * 7 * 24 * HOUR_NS;

/// So many weeks, in which a model was used in hours of the week for which this says in how many.
fn past(weeks: u16, last: u64, quarters: u16, used: impl Fn(usize) -> u16) -> Past {
    let hour = |hour: usize| {
        let weeks = used(hour);
        UseHour { weeks, quarters: weeks * quarters, requests: f64::from(weeks) * 10.0, tokens: f64::from(weeks) * 1e4 }
    };
    let week: Vec<UseHour> = (0..HOURS).map(hour).collect();
    let used = Use { first: 0, last, requests: 1.0, tokens: 1.0, week };
    let days = (0..u64::from(weeks) * 7).map(|day| Day { time: day, seconds: 86_400, ..Day::default() });
    let host = Span { days: days.collect(), week: vec![Hour { weeks, ..Hour::default() }; HOURS] };
    Past { time: NOW, host, models: [(Arc::from("llama3:8b"), used)].into(), ..Past::default() }
}

fn view(kind: server::Kind, models: &[&str]) -> View {
    let mut view = View { time: NOW, ..View::default() };
    tell(&mut view, kind, models, None);
    view
}

/// A server that was configured, or runs in a cgroup.
fn tell(view: &mut View, kind: server::Kind, models: &[&str], cgroup: Option<Id>) {
    let server = Arc::new(Server {
        name: "server:1".into(),
        kind: Some(kind),
        url: "http://127.0.0.1:11434".into(),
        pid: Some(1),
        cgroup,
        workload: Some("ollama.service".into()),
        parent: None,
        flags: Arc::default(),
    });
    let model = |name: &&str| Model {
        name: (*name).into(),
        values: [(GeneratedTokens, 5_u64)].into_iter().collect(),
        latency: Vec::new(),
    };
    let models = models.iter().map(model).collect();
    let answer = Some(Answer { state: State::Up, why: None, took: 1, memory: None, models });
    view.models.fold(NOW, &Reading { server, answer }, &mut view.coverage);
}

fn judged(view: &View, past: &Past) -> Judged {
    let mut judged = Judged::default();
    RULES.iter().for_each(|rule| (rule.judge)(&Given { view, past }, &mut judged));
    judged.advice.iter().for_each(Advice::assert_sentences);
    judged
}

fn rules(view: &View, past: &Past) -> Vec<String> {
    judged(view, past).advice.into_iter().map(|advice| advice.rule).collect()
}

/// From eight to six, Monday to Friday.
fn office(hour: usize) -> bool {
    hour / 24 < 5 && (8..18).contains(&(hour % 24))
}

#[test]
fn a_model_that_is_used_from_the_same_hour_on_is_loaded_before() {
    let past = past(4, NOW, 4, |hour| if office(hour) { 4 } else { 0 });
    let view = view(server::Kind::Ollama, &[]);
    let found = judged(&view, &past).advice;
    let [advice] = &found[..] else { panic!("{found:?}") };
    assert_eq!((advice.rule.as_str(), advice.confidence), (WARM, Confidence::Low), "whose it was is not known");
    let now = judged(&super::tests::view(server::Kind::Ollama, &["llama3:8b"]), &past).advice;
    assert_eq!((now[0].rule.as_str(), now[0].confidence), (WARM, Confidence::High));
    assert!(advice.title.contains("by 07:45 UTC on Mon, Tue, Wed, Thu, Fri"), "{}", advice.title);
    assert!(advice.why.contains("20 of 20"), "{}", advice.why);
    let commands: Vec<Tool> = advice.actions[0].commands.iter().map(|command| command.tool).collect();
    assert_eq!(commands, [Tool::Ollama, Tool::Headroom, Tool::Headroom]);
    let table = &advice.actions[0].commands[2];
    assert!(table.text.contains("days = \"Mon-Fri\"\nat = \"07:45\"\n") && table.file.is_some(), "{table:?}");
    // A server that keeps it loaded all the time needs none.
    assert!(rules(&super::tests::view(server::Kind::Vllm, &["llama3:8b"]), &past).is_empty());
}

#[test]
fn before_midnight_is_the_day_before() {
    let past = past(4, NOW, 4, |hour| if hour / 24 < 5 && hour % 24 < 8 { 4 } else { 0 });
    let found = judged(&view(server::Kind::Ollama, &[]), &past).advice;
    assert!(found[0].title.contains("by 23:45 UTC on Sun, Mon, Tue, Wed, Thu, before"), "{}", found[0].title);
}

#[test]
fn what_only_users_serve_is_nobody_elses_and_of_ollama_are_only_its_own() {
    let path = "/user.slice/user-1000.slice/session-1.scope".to_owned();
    let user = Id { hierarchy: ID.hierarchy, id: 99 };
    let mut engine = engine();
    engine.apply(&Sample { time: 900, reading: sample::Reading::Cgroup(cgroup::Reading::Born { id: user, path }) });
    let told = |cgroup| {
        let mut view = View { time: NOW, ..View::clone(engine.view()) };
        tell(&mut view, server::Kind::Ollama, &["llama3:8b"], Some(cgroup));
        view
    };
    let idle = past(3, NOW - 48 * HOUR_NS, 4, |hour| if hour / 24 == 5 && hour % 24 > 20 { 3 } else { 0 });
    assert!(rules(&told(user), &idle).is_empty());
    assert_eq!(rules(&told(ID), &idle).last().map(String::as_str), Some(UNLOAD));
    let unknown = judged(&told(Id { hierarchy: ID.hierarchy, id: 98 }), &idle).advice;
    assert!(unknown.iter().all(|advice| advice.confidence == Confidence::Low) && !unknown.is_empty(), "{unknown:?}");
    let stopped = view(server::Kind::Ollama, &[]);
    for model in ["meta-llama/Llama-3.1-8B", "model.gguf", "ggml-org/gemma:Q4_K_M"] {
        assert!(!is_of_ollama(&stopped, model), "{model}");
    }
    assert!(is_of_ollama(&stopped, "llama3:8b") && is_of_ollama(&stopped, "hf.co/a/b:Q4_K_M"));
}

#[test]
fn use_without_a_habit_is_none() {
    let view = view(server::Kind::Ollama, &[]);
    let seldom = past(4, NOW, 4, |hour| u16::from(hour % 24 == 9));
    let always = past(4, NOW, 4, |_| 4);
    for past in [seldom, always] {
        assert!(rules(&view, &past).is_empty());
    }
    let once = past(1, NOW, 4, |hour| u16::from(hour == 33));
    assert!(rules(&view, &once).is_empty(), "one hour of one week");
}

#[test]
fn a_model_that_ollama_unloads_between_uses_is_kept() {
    let breaks = past(2, NOW, 2, |hour| if office(hour) { 2 } else { 0 });
    let view = view(server::Kind::Ollama, &["llama3:8b"]);
    let found = judged(&view, &breaks).advice;
    let keep = found.iter().find(|advice| advice.rule == KEEP).unwrap();
    assert_eq!(keep.confidence, Confidence::Medium, "what it is set to is not known");
    assert!(keep.title.contains("50 hours of the week"), "{}", keep.title);
    assert_eq!((keep.risk, &*keep.actions[0].commands[0].text), (Risk::High, "OLLAMA_KEEP_ALIVE=1h"));
    let busy = past(2, NOW, 4, |hour| if office(hour) { 2 } else { 0 });
    assert!(!rules(&view, &busy).contains(&KEEP.to_owned()), "it was used in every quarter of an hour");
    let vllm = super::tests::view(server::Kind::Vllm, &["llama3:8b"]);
    assert!(!rules(&vllm, &breaks).contains(&KEEP.to_owned()));
}

#[test]
fn a_model_that_nobody_uses_is_unloaded_unless_its_hours_come_next() {
    let day = 24 * HOUR_NS;
    let view = view(server::Kind::Ollama, &["llama3:8b"]);
    // Used on Saturdays, and now it is Monday.
    let saturdays = |hour: usize| if hour / 24 == 5 && hour % 24 > 20 { 3 } else { 0 };
    let idle = past(3, NOW - 2 * day, 4, saturdays);
    let found = judged(&view, &idle).advice;
    let unload = found.iter().find(|advice| advice.rule == UNLOAD).unwrap();
    assert!(unload.title.contains("2.0 days") && unload.confidence == Confidence::High, "{unload:?}");
    let [stop, ask] = &unload.actions[0].commands[..] else { panic!("{unload:?}") };
    assert_eq!((unload.risk, &*stop.text), (Risk::Low, "ollama stop llama3:8b"));
    assert!(ask.text.contains("\"keep_alive\":0") && ask.text.contains("/api/generate"), "{unload:?}");
    let stop = judged(&super::tests::view(server::Kind::Vllm, &["llama3:8b"]), &idle).advice;
    let stop = stop.iter().find(|advice| advice.rule == UNLOAD).unwrap();
    assert_eq!((stop.risk, &*stop.actions[0].undo), (Risk::High, "Start its server again."));
    let today = past(3, NOW - 2 * day, 4, |hour| if hour == 15 { 3 } else { 0 });
    let recent = past(3, NOW - HOUR_NS, 4, saturdays);
    for past in [today, recent] {
        assert!(!rules(&view, &past).contains(&UNLOAD.to_owned()));
    }
    let gone = super::tests::view(server::Kind::Ollama, &[]);
    assert!(!rules(&gone, &idle).contains(&UNLOAD.to_owned()), "it is not loaded");
}

#[test]
fn less_than_a_week_says_what_is_missing() {
    let mut past = past(1, NOW, 4, |hour| u16::from(office(hour)));
    past.host.days.truncate(3);
    let judged = judged(&view(server::Kind::Ollama, &["llama3:8b"]), &past);
    assert!(judged.advice.is_empty());
    assert_eq!(judged.lacking[0].missing, "a week of history: there are 3.0 days");
    assert!(super::tests::judged(&View::default(), &past).lacking.is_empty(), "no server, no question");
}
