//! Advice over time, with rules that say what the test wants.

use std::sync::Arc;

use super::super::Engine;
use super::super::test::{ID, engine};
use super::*;
use crate::action::{Action, Kind, Object, Risk};
use crate::advice::{Confidence, Lacking, Saves, id};
use crate::past::{DAY_NS, Day, Past, Span};
use crate::sample::{Reading, Sample, Statistics};
use crate::standing::Effect;
use crate::statistic::workload::Statistic;

const GIB: u64 = 1 << 30;
/// Noon of a day.
const BEGIN: u64 = 20_000 * DAY_NS + DAY_NS / 2;

struct Host {
    engine: Engine,
    fold: Fold,
    time: u64,
    advice: Vec<Advice>,
}

impl Host {
    fn new() -> Host {
        let mut host = Host { engine: engine(), fold: Fold::default(), time: BEGIN, advice: Vec::new() };
        host.limit(10 * GIB);
        host
    }

    fn limit(&mut self, bytes: u64) {
        let values = [(Statistic::MemoryCurrent, GIB), (Statistic::MemoryLimit, bytes)].into_iter().collect();
        let reading = Reading::Statistics(Statistics { cgroup: ID, values, turn: true });
        self.engine.apply(&Sample { time: self.time, reading });
    }

    fn workload(&self) -> String {
        self.engine.view().workloads.name(ID).unwrap().to_string()
    }

    fn raise(&self) -> Advice {
        let object = Object::Workload(self.workload());
        let action = Action {
            kind: Kind::MemoryMax,
            object: object.clone(),
            key: Some("memory.max".into()),
            before: Some((10 * GIB).to_string()),
            after: Some((20 * GIB).to_string()),
            risk: Risk::Low,
            undo: String::new(),
            commands: Vec::new(),
        };
        Advice { actions: vec![action], ..advice("raise", object, Confidence::High, 0.0) }
    }

    /// Ticks of ten seconds. Returns what was reported.
    fn run(&mut self, seconds: u64) -> Vec<(String, &'static str)> {
        let mut told = Vec::new();
        for _ in 0..seconds / 10 {
            self.time += 10 * SECOND;
            told.extend(self.tick());
        }
        told
    }

    fn tick(&mut self) -> Vec<(String, &'static str)> {
        let judged = || Judged { advice: self.advice.clone(), lacking: Vec::new() };
        let outcomes = self.fold.tick(Arc::make_mut(&mut self.engine.view), self.time, |_| judged());
        let told = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Advice(standing) => Some((standing.advice.id.clone(), standing.state.label())),
            _ => None,
        });
        told.collect()
    }

    fn know(&mut self, past: Past) {
        Arc::make_mut(&mut self.engine.view).past = Arc::new(past);
    }

    fn listed(&self) -> Vec<Standing> {
        self.engine.view().advice.standing.to_vec()
    }
}

pub(super) fn advice(rule: &str, object: Object, confidence: Confidence, kills: f64) -> Advice {
    let saves = Saves { over_seconds: 86_400, kills: Some(kills), ..Saves::default() };
    Advice {
        id: id(rule, &object),
        rule: rule.to_owned(),
        object,
        title: String::new(),
        why: String::new(),
        evidence: Vec::new(),
        saves: Some(saves),
        confidence,
        because: String::new(),
        risk: Risk::Low,
        actions: Vec::new(),
    }
}

#[test]
fn advice_is_shown_after_it_held_and_leaves_after_it_did_not() {
    let mut host = Host::new();
    host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
    assert!(host.run(300).is_empty() && host.listed().is_empty());
    let begun = host.time;
    assert_eq!(host.run(120), [("a:host".to_owned(), "holds")]);
    let [standing] = &host.listed()[..] else { panic!() };
    assert!(standing.since <= BEGIN + 60 * SECOND && standing.since < begun);
    host.advice.clear();
    assert!(host.run(240).is_empty());
    assert_eq!(host.listed()[0].state, State::Holds, "it may come back");
    host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
    host.run(120);
    host.advice.clear();
    assert!(host.run(240).is_empty(), "it did");
    assert_eq!(host.run(120), [("a:host".to_owned(), "gone")]);
    assert!(matches!(host.listed()[..], [Standing { state: State::Gone { at }, .. }] if at < host.time - 300 * SECOND));
    host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
    assert_eq!(host.run(420), [("a:host".to_owned(), "holds")], "after it held again");
    host.advice.clear();
    assert_eq!(host.run(400).len(), 1);
    host.run(GONE / SECOND + 60);
    assert!(host.listed().is_empty());
}

#[test]
fn what_holds_only_now_and_then_is_never_shown() {
    let mut host = Host::new();
    for _ in 0..20 {
        host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
        host.run(120);
        host.advice.clear();
        host.run(120);
    }
    assert!(host.listed().is_empty());
}

#[test]
fn what_follows_from_a_new_past_is_shown_after_it_held_like_all_else() {
    let mut host = Host::new();
    host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
    host.know(Past { time: BEGIN, ..Past::default() });
    assert!(host.tick().is_empty() && host.run(60).is_empty());
    host.know(Past { time: BEGIN + 1, ..Past::default() });
    assert!(host.run(60).is_empty());
    assert_eq!(host.run(300), [("a:host".to_owned(), "holds")]);
}

#[test]
fn it_is_judged_once_a_minute_and_a_clock_that_jumps_changes_nothing() {
    let mut host = Host::new();
    host.run(60);
    let judged = host.engine.view().advice.judged;
    host.run(10);
    assert_eq!(host.engine.view().advice.judged, judged);
    host.run(20);
    assert!(host.engine.view().advice.judged > judged);
    host.advice = vec![advice("a", Object::Host, Confidence::Low, 0.0)];
    host.run(120);
    host.time += 30 * DAY_NS;
    assert!(host.run(60).is_empty(), "a jump is not a month in which it held");
    host.time -= 60 * DAY_NS;
    assert_eq!(host.run(300), [("a:host".to_owned(), "holds")]);
}

#[test]
fn advice_that_was_followed_says_what_became_of_it() {
    let mut host = Host::new();
    let name: Arc<str> = host.workload().into();
    let day = |back: u64, kills: u32, stalls: f64| Day {
        time: BEGIN - DAY_NS / 2 - back * DAY_NS,
        seconds: 86_400,
        kills: Some(kills),
        stalls: Some(stalls),
        ..Day::default()
    };
    let mut days = vec![day(2, 3, 50.0), day(1, 1, 150.0)];
    let past = |time: u64, days: &[Day]| {
        let span = Span { days: days.to_vec(), week: Vec::new() };
        Past { time, workloads: [(name.clone(), span)].into(), ..Past::default() }
    };
    host.know(past(BEGIN, &days));
    host.advice = vec![host.raise()];
    host.run(420);
    host.advice.clear();
    host.limit(12 * GIB);
    assert!(host.run(60).is_empty(), "that is not what was advised");
    host.limit(20 * GIB);
    let id = id("raise", &Object::Workload(name.to_string()));
    assert_eq!(host.run(120), [(id, "followed")]);
    let State::Followed { value, before, after, .. } = host.listed()[0].state.clone() else { panic!() };
    let wanted = Effect { seconds: 2 * 86_400, kills_per_day: Some(2.0), stall_seconds_per_day: Some(100.0) };
    assert_eq!((value.as_str(), before, after), ("21474836480", wanted, None));
    let next = BEGIN + DAY_NS / 2;
    days.push(Day { time: next, ..day(0, 0, 10.0) });
    host.time = next + DAY_NS;
    host.know(past(host.time, &days));
    host.run(20);
    let State::Followed { after, .. } = host.listed()[0].state.clone() else { panic!() };
    let wanted = Effect { seconds: 86_400, kills_per_day: Some(0.0), stall_seconds_per_day: Some(10.0) };
    assert_eq!(after, Some(wanted));
    host.advice = vec![host.raise()];
    host.run(420);
    let states: Vec<_> = host.listed().iter().map(|standing| standing.state.label()).collect();
    assert_eq!(states, ["holds", "followed"], "what is asked for again hides nothing");
}

#[test]
fn what_was_followed_and_asks_for_more_is_told_as_both() {
    let mut host = Host::new();
    let raise = host.raise();
    host.advice = vec![raise.clone()];
    host.run(420);
    host.limit(20 * GIB);
    let mut more = raise.clone();
    (more.actions[0].before, more.actions[0].after) = (raise.actions[0].after.clone(), Some((40 * GIB).to_string()));
    host.advice = vec![more.clone()];
    let changed = host.time;
    assert_eq!(host.run(420), [(raise.id.clone(), "followed"), (raise.id, "holds")]);
    let [standing, before] = &host.listed()[..] else { panic!() };
    assert!(standing.advice == more && standing.since > changed, "{standing:?}");
    assert_eq!(before.state.label(), "followed");
    more.actions[0].after = Some((41 * GIB).to_string());
    host.advice = vec![more.clone()];
    assert!(host.run(420).is_empty(), "a number that is computed again is nothing that was done");
    // After a restart of the agent both are there again; the journal has the newest first.
    let before = host.listed();
    let mut next = Host::new();
    next.fold.restore(&before, BEGIN);
    (next.advice, next.time) = (vec![more], next.time.max(host.time));
    next.run(420);
    let states: Vec<_> = next.listed().iter().map(|standing| standing.state.label()).collect();
    assert_eq!(states, ["holds", "followed"]);
}

#[test]
fn a_workload_that_ended_did_not_follow_anything() {
    let mut host = Host::new();
    host.know(Past { time: BEGIN, ..Past::default() });
    let raise = host.raise();
    let object = Object::Workload("/gone".into());
    let mut action = raise.actions[0].clone();
    action.object = object.clone();
    host.advice = vec![Advice { id: id("raise", &object), object, actions: vec![action], ..raise }];
    assert_eq!(host.run(420).len(), 1);
    host.advice.clear();
    assert_eq!(host.run(420), [("raise:/gone".to_owned(), "gone")]);
}

#[test]
fn the_surest_that_saves_most_comes_first_and_the_list_is_bounded() {
    let mut host = Host::new();
    host.know(Past { time: BEGIN, ..Past::default() });
    let gpu = |number: u32, confidence, kills| advice("r", Object::Gpu(number), confidence, kills);
    host.advice = (10..400).map(|number| gpu(number, Confidence::Medium, 1.0)).collect();
    host.advice.extend([gpu(0, Confidence::Low, 9.0), gpu(1, Confidence::High, 0.0), gpu(2, Confidence::Medium, 2.0)]);
    host.advice.push(gpu(1, Confidence::High, 0.0));
    host.advice.extend((0..60).map(|file| advice("f", Object::File(format!("/{file}")), Confidence::High, 5.0)));
    host.run(420);
    let listed = host.listed();
    let of = |kind: fn(&Object) -> bool| listed.iter().filter(|standing| kind(&standing.advice.object)).count();
    assert_eq!((listed.len(), of(|object| matches!(object, Object::File(_)))), (LISTED, 50), "users make files");
    let gpus: Vec<_> = listed.iter().filter(|standing| standing.advice.rule == "r").collect();
    assert_eq!([&gpus[0].advice.id, &gpus[1].advice.id], ["r:gpu1", "r:gpu2"]);
    assert_eq!(host.engine.view().advice.left_out, 390 + 3 + 60 - LISTED as u32);
    assert_eq!(host.engine.view().advice.holding().count(), LISTED);
}

#[test]
fn what_cannot_be_judged_is_bounded_too() {
    let mut host = Host::new();
    let lacking = |number: u32| Lacking { rule: "r".into(), object: Object::Gpu(number), missing: "data".into() };
    let file = |number: u32| Lacking { object: Object::File(format!("/{number}")), ..lacking(0) };
    let judged = Judged { advice: Vec::new(), lacking: (0..60).map(file).chain((0..250).map(lacking)).collect() };
    let view = Arc::make_mut(&mut host.engine.view);
    host.fold.tick(view, BEGIN, |_| Judged::default());
    host.fold.tick(view, BEGIN + MINUTE, |_| judged);
    assert_eq!((view.advice.lacking.len(), view.advice.lacking_left_out), (LACKING, 110));
    let files = view.advice.lacking.iter().filter(|lacking| matches!(lacking.object, Object::File(_)));
    assert_eq!(files.count(), 50, "users make files");
}

#[test]
fn advice_of_before_the_start_that_cannot_be_judged_yet_is_not_told_to_be_over() {
    let mut host = Host::new();
    let old = advice("a", Object::Host, Confidence::Low, 0.0);
    let since = BEGIN - DAY_NS;
    host.fold.restore(&[Standing { advice: old.clone(), since, state: State::Holds }], BEGIN);
    assert!(host.run(3600).is_empty() && host.listed().is_empty());
    host.advice = vec![old];
    assert_eq!(host.run(120), [("a:host".to_owned(), "holds")], "that it goes on is said once");
    assert!(host.run(3600).is_empty());
    assert_eq!(host.listed()[0].since, since);
}

#[test]
fn advice_of_before_the_start_goes_on_and_what_was_followed_meanwhile_is_told() {
    let mut host = Host::new();
    let raise = host.raise();
    let since = BEGIN - DAY_NS;
    let standing = |advice: &Advice, state| Standing { advice: advice.clone(), since, state };
    let (before, lasts) = (Effect::default(), advice("b", Object::Host, Confidence::Low, 0.0));
    let state = State::Followed { at: BEGIN - 7 * DAY_NS, value: "1".into(), before, after: None };
    let followed = standing(&advice("f", Object::Host, Confidence::Low, 0.0), state);
    let gone = standing(&advice("g", Object::Host, Confidence::Low, 0.0), State::Gone { at: since });
    let before = [standing(&raise, State::Holds), standing(&lasts, State::Holds), followed, gone];
    host.fold.restore(&before, BEGIN);
    host.limit(20 * GIB);
    host.advice = vec![lasts];
    assert_eq!(host.run(20), [("b:host".to_owned(), "holds"), (raise.id.clone(), "followed")]);
    let states: Vec<_> = host.listed().iter().map(|it| (it.advice.rule.clone(), it.since, it.state.label())).collect();
    let of = |rule: &str, state| (rule.to_owned(), since, state);
    let mut wanted = vec![of("b", "holds"), of("f", "followed"), of("raise", "followed")];
    wanted[1..].sort_by_key(|(rule, ..)| rule.clone());
    let mut sorted = states.clone();
    sorted[1..].sort_by_key(|(rule, ..)| rule.clone());
    assert_eq!(sorted, wanted);
    host.run(25 * 3600);
    assert!(host.listed().iter().all(|it| it.advice.rule != "f"), "eight days after it was followed");
}
