//! What to do: about the alerts that fire, and what to change on this host: the answer of `/api/v1/suggestions`, which `headroom advise`
//! prints. Decides nothing: the order is the engine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::alerts::sorted;
use crate::action::{Object, Risk};
use crate::advice::{Advice, Confidence, Lacking};
use crate::alert::{Alert, Severity};
use crate::standing::{Effect, Standing, State};
use crate::view::View;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suggestions {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// A sentence or two each: what to do about the alerts that fire, in their order, then the advice that holds, in the order of `advice`.
    pub suggestions: Vec<Suggestion>,
    /// What to change on this host, with its evidence: what holds, the surest first; then what was followed, and what holds no more.
    #[serde(default)]
    pub advice: Vec<AdviceLine>,
    /// How much more advice holds, for which the list has no room.
    #[serde(default)]
    pub left_out: u32,
    /// What could not be judged, and what is missing for it.
    #[serde(default)]
    pub lacking: Vec<LackingLine>,
    /// How much more could not be judged.
    #[serde(default)]
    pub lacking_left_out: u32,
    /// When advice was judged last, in nanoseconds since the Unix epoch; absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<u64>,
    /// For how many seconds of the last days the host is known; absent: the history on disk was not read yet, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_seconds: Option<u64>,
}

/// What to do about an alert that fires, or an advice that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    pub kind: SuggestionKind,
    /// The rule of an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Of an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The alert's; of an advice about a workload or a GPU, which one.
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in a sentence or two.
    pub summary: String,
    /// What to do.
    pub action: String,
    /// Id of the incident that explains an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Id of the advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// How sure an advice is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// What may happen to somebody if an advice is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuggestionKind {
    Alert,
    Advice,
}

/// An advice, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdviceLine {
    #[serde(flatten)]
    pub advice: Advice,
    /// What it is about, in a word: `host`, `gpu0`, the name of a workload.
    pub about: String,
    /// The workload that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    pub state: AdviceStatus,
    /// Since when it holds, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// When it was followed, or when it no longer held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// Of one that was followed: what it was set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of one that was followed: how it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Effect>,
    /// Of one that was followed: how it is since; absent until a day after it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Effect>,
}

/// What could not be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LackingLine {
    #[serde(flatten)]
    pub lacking: Lacking,
    /// What would have been judged, in a word: `host`, `gpu0`, the name of a workload.
    pub about: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdviceStatus {
    Holds,
    /// What it advises was done.
    Followed,
    /// It no longer holds, and was not seen to be followed.
    Gone,
}

/// How much advice holds, by how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdviceCounts {
    pub high: u32,
    pub medium: u32,
    pub low: u32,
}

impl AdviceCounts {
    /// `None` if nothing was judged yet.
    pub fn of(view: &View) -> Option<AdviceCounts> {
        let mut counts = AdviceCounts::default();
        for standing in view.advice.holding() {
            match standing.advice.confidence {
                Confidence::High => counts.high += 1,
                Confidence::Medium => counts.medium += 1,
                Confidence::Low => counts.low += 1,
            }
        }
        (view.advice.judged > 0).then_some(counts)
    }
}

impl Suggestions {
    pub fn of(view: &View) -> Suggestions {
        let advices = &view.advice;
        let alerts = sorted(view).into_iter().filter(|alert| !alert.action.is_empty()).map(Suggestion::alert);
        Suggestions {
            time: view.time,
            suggestions: alerts.chain(advices.holding().map(|standing| Suggestion::advice(&standing.advice))).collect(),
            advice: advices.standing.iter().map(AdviceLine::of).collect(),
            left_out: advices.left_out,
            lacking: advices.lacking.iter().map(LackingLine::of).collect(),
            lacking_left_out: advices.lacking_left_out,
            judged: Some(advices.judged).filter(|judged| *judged > 0),
            history_seconds: (view.past.time > 0).then(|| view.past.host.seconds()),
        }
    }

    /// The advice with this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// If there is none, or more than one: says which.
    pub fn find(&self, id: &str) -> Result<&AdviceLine, String> {
        if let Some(exact) = self.advice.iter().find(|line| line.advice.id == id) {
            return Ok(exact);
        }
        let mut found = self.advice.iter().filter(|line| line.advice.id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(line), None) => Ok(line),
            (Some(one), Some(two)) => {
                Err(format!("the ids of more than one advice begin with {id}: {}, {}, …", one.advice.id, two.advice.id))
            }
            (None, _) => Err(format!("there is no advice {id}")),
        }
    }
}

impl Suggestion {
    fn alert(alert: &Arc<Alert>) -> Suggestion {
        Suggestion {
            kind: SuggestionKind::Alert,
            alert: Some(alert.alert.to_string()),
            severity: Some(alert.severity),
            labels: alert.labels.clone(),
            summary: alert.summary.clone(),
            action: alert.action.clone(),
            incident: alert.incident.clone(),
            advice: None,
            confidence: None,
            risk: None,
        }
    }

    fn advice(advice: &Advice) -> Suggestion {
        let label = match &advice.object {
            Object::Workload(name) => Some(("workload", name.clone())),
            Object::Server(name) => Some(("server", name.clone())),
            Object::Gpu(number) => Some(("gpu", number.to_string())),
            _ => None,
        };
        Suggestion {
            kind: SuggestionKind::Advice,
            alert: None,
            severity: None,
            labels: label.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            summary: advice.why.clone(),
            action: advice.title.clone(),
            incident: None,
            advice: Some(advice.id.clone()),
            confidence: Some(advice.confidence),
            risk: Some(advice.risk),
        }
    }
}

impl AdviceLine {
    fn of(standing: &Standing) -> AdviceLine {
        let workload = match &standing.advice.object {
            Object::Workload(name) => Some(name.clone()),
            _ => None,
        };
        let line = AdviceLine {
            advice: standing.advice.clone(),
            about: standing.advice.object.to_string(),
            workload,
            state: AdviceStatus::Holds,
            since: standing.since,
            ended: None,
            value: None,
            before: None,
            after: None,
        };
        match standing.state.clone() {
            State::Holds => line,
            State::Gone { at } => AdviceLine { state: AdviceStatus::Gone, ended: Some(at), ..line },
            State::Followed { at, value, before, after } => AdviceLine {
                state: AdviceStatus::Followed,
                ended: Some(at),
                value: Some(value),
                before: Some(before),
                after,
                ..line
            },
        }
    }
}

impl LackingLine {
    fn of(lacking: &Lacking) -> LackingLine {
        LackingLine { lacking: lacking.clone(), about: lacking.object.to_string() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::action::{Action, Command, Kind, Tool};
    use crate::advice::{Evidence, Origin, Saves, Unit, id};

    /// An advice to raise the limit of a workload.
    pub(crate) fn advice(workload: &str, confidence: Confidence) -> Advice {
        let object = Object::Workload(workload.to_owned());
        let command =
            Command { tool: Tool::Docker, text: "docker update --memory 12g web".to_owned(), file: None, note: None };
        Advice {
            id: id("memory_limit_raise", &object),
            rule: "memory_limit_raise".to_owned(),
            object: object.clone(),
            title: format!("Raise the memory limit of {workload} from 8.00 GiB to 12.0 GiB"),
            why: "It was killed 3 times in 8 days.".to_owned(),
            evidence: vec![Evidence {
                what: "highest use in 8 days".to_owned(),
                value: 8_589_934_592.0,
                unit: Unit::Bytes,
                origin: Origin::Measured,
            }],
            saves: Some(Saves { over_seconds: 691_200, kills: Some(3.0), ..Saves::default() }),
            confidence,
            because: "8 days are known.".to_owned(),
            risk: Risk::Low,
            actions: vec![Action {
                kind: Kind::MemoryMax,
                object,
                key: Some("memory.max".to_owned()),
                before: Some("8589934592".to_owned()),
                after: Some("12884901888".to_owned()),
                risk: Risk::Low,
                undo: "Set it to 8 GiB again.".to_owned(),
                commands: vec![command],
            }],
        }
    }

    fn view() -> View {
        let before = Effect { seconds: 691_200, kills_per_day: Some(0.4), stall_seconds_per_day: None };
        let followed = State::Followed { at: 7, value: "12884901888".to_owned(), before, after: None };
        let standing = [
            ("docker/web", Confidence::High, State::Holds),
            ("docker/web2", Confidence::Low, State::Holds),
            ("followed", Confidence::High, followed),
            ("gone", Confidence::High, State::Gone { at: 9 }),
        ];
        let standing =
            standing.map(|(name, sure, state)| Standing { advice: advice(name, sure), since: 3, state }).to_vec();
        let lacking = Lacking { rule: "r".to_owned(), object: Object::Host, missing: "a day of history".to_owned() };
        let mut view = View::default();
        view.advice.judged = 11;
        view.advice.standing = Arc::new(standing);
        view.advice.left_out = 5;
        view.advice.lacking = Arc::new(vec![lacking]);
        view
    }

    #[test]
    fn what_holds_is_suggested_and_the_rest_says_what_became_of_it() {
        let answer = Suggestions::of(&view());
        let told: Vec<_> = answer.suggestions.iter().map(|it| (it.kind, it.labels["workload"].as_str())).collect();
        assert_eq!(told, [(SuggestionKind::Advice, "docker/web"), (SuggestionKind::Advice, "docker/web2")]);
        assert_eq!(answer.suggestions[0].summary, "It was killed 3 times in 8 days.");
        assert_eq!(answer.suggestions[0].advice.as_deref(), Some("memory_limit_raise:docker/web"));
        let states: Vec<_> = answer.advice.iter().map(|line| (line.state, line.ended)).collect();
        let (holds, followed, gone) = (AdviceStatus::Holds, AdviceStatus::Followed, AdviceStatus::Gone);
        assert_eq!(states, [(holds, None), (holds, None), (followed, Some(7)), (gone, Some(9))]);
        assert_eq!((answer.left_out, answer.judged, answer.history_seconds), (5, Some(11), None));
        assert_eq!(AdviceCounts::of(&view()), Some(AdviceCounts { high: 1, medium: 0, low: 1 }));
        let json = serde_json::to_value(&answer).unwrap();
        let line = &json["advice"][2];
        assert_eq!((&line["state"], &line["value"]), (&"followed".into(), &"12884901888".into()));
        assert_eq!(line["before"]["kills_per_day"], 0.4);
        assert!(line.get("after").is_none(), "{line}");
        assert_eq!(serde_json::from_value::<Suggestions>(json).unwrap(), answer);
    }

    #[test]
    fn an_advice_is_found_by_its_id_or_by_how_only_its_id_begins() {
        let answer = Suggestions::of(&view());
        let found = |id: &str| answer.find(id).map(|line| line.advice.id.as_str());
        assert_eq!(found("memory_limit_raise:docker/web"), Ok("memory_limit_raise:docker/web"), "another begins so");
        assert_eq!(found("memory_limit_raise:f"), Ok("memory_limit_raise:followed"));
        assert!(found("memory").unwrap_err().starts_with("the ids of more than one advice begin with memory: "));
        assert_eq!(found("x").unwrap_err(), "there is no advice x");
    }

    #[test]
    fn before_the_first_judgement_that_is_said() {
        let none = Suggestions::of(&View::default());
        assert_eq!(AdviceCounts::of(&View::default()), None);
        assert_eq!((none.judged, none.history_seconds, none.advice.len()), (None, None, 0));
        let json = serde_json::to_value(&none).unwrap();
        assert!(json.get("judged").is_none() && json["advice"] == serde_json::json!([]), "{json}");
    }
}
