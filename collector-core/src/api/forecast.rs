//! A question about the hours to come, with what the view has of it: the answer of `/api/v1/forecast`. What the history on disk has of it
//! somebody else reads.

use super::parameter::{Given, Parameter, Values};
use super::problem::Problem;
use crate::cgroup::contains;
use crate::forecast::{Facts, Forecast, LONGEST_HOURS, Material, USUAL_HOURS, more};
use crate::identity::{Kind, LONGEST};
use crate::tier::Known;
use crate::view::View;

/// How far back the history counts, in nanoseconds.
const REACH_NS: u64 = 28 * 24 * 3_600_000_000_000;
/// What a kubelet cleans is in these folders.
const KUBELET: [&str; 3] = ["/var/lib/kubelet", "/var/lib/containerd", "/var/lib/docker"];

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "hours",
        values: Values::Number { least: 1, most: LONGEST_HOURS },
        help: "How many hours ahead; 24 if that is not said, and no more than there are in the history.",
    },
    Parameter {
        name: "workload",
        values: Values::Text(LONGEST),
        help: "A workload, as in the label `workload`; the host if none is named.",
    },
    Parameter {
        name: "one_more",
        values: Values::Text(LONGEST),
        help: "A workload: the answer also says whether the host would carry one more of it.",
    },
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query {
    /// The host, if there is none.
    pub workload: Option<Box<str>>,
    pub hours: u64,
    /// A workload: would the host carry one more of it?
    pub one_more: Option<Box<str>>,
}

impl Default for Query {
    fn default() -> Query {
        Query { workload: None, hours: USUAL_HOURS, one_more: None }
    }
}

impl Query {
    pub(super) fn of(given: &Given<'_>) -> Query {
        Query {
            workload: given.get("workload").map(Into::into),
            hours: given.number("hours").unwrap_or(USUAL_HOURS),
            one_more: given.get("one_more").map(Into::into),
        }
    }
}

/// A question, with what is only in memory.
#[derive(Clone, Debug)]
pub struct Question {
    query: Query,
    facts: Facts,
    /// What of the quarter of an hour that is not over is not on disk: of the host, of the workload, and of that of which there may be
    /// one more.
    open: [Option<Known>; 3],
}

/// What the disk has of it: of the host, and of workloads.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub host: Material,
    pub workload: Option<Material>,
    pub one_more: Option<Material>,
}

impl Question {
    pub fn of(view: &View, query: &Query) -> Question {
        let open = |workload: Option<&str>| view.track(workload).and_then(|track| view.history.open_quarter(track));
        let named = |name: &Option<Box<str>>| name.as_deref().and_then(|name| open(Some(name)));
        Question {
            facts: facts(view),
            open: [open(None), named(&query.workload), named(&query.one_more)],
            query: query.clone(),
        }
    }

    /// The same without an agent: what only its view knows is not known.
    pub fn alone(query: Query, now: u64, memory_share: f64) -> Question {
        let facts = Facts { now, memory_share, ..Facts::default() };
        Question { query, facts, open: [const { None }; 3] }
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    /// From when to when the history counts, in nanoseconds since the Unix epoch.
    pub fn period(&self) -> (u64, u64) {
        (self.facts.now.saturating_sub(REACH_NS), self.facts.now.saturating_add(1))
    }

    /// # Errors
    /// If nothing is known of a workload.
    pub fn answer(mut self, mut read: Read) -> Result<Forecast, Problem> {
        let parts = [Some(&mut read.host), read.workload.as_mut(), read.one_more.as_mut()];
        for (part, open) in parts.into_iter().zip(&mut self.open) {
            if let (Some(part), Some(open)) = (part, open.take()) {
                add(&mut part.quarters, open);
            }
        }
        for part in [&read.workload, &read.one_more].into_iter().flatten() {
            if part.quarters.is_empty() {
                let name = part.workload.as_deref().unwrap_or_default();
                return Err(Problem::unknown(format!(
                    "there is no workload {name:?} now, and the history has nothing of it"
                )));
            }
        }
        let material = read.workload.as_ref().unwrap_or(&read.host);
        let mut forecast = Forecast::of(material, &self.facts, self.query.hours);
        forecast.one_more = read.one_more.as_ref().map(|work| more::one_more(&read.host, work, &self.facts));
        Ok(forecast)
    }

    /// The answer when the disk was not read.
    pub fn unread(&self, why: &str) -> Problem {
        Problem::new(503, format!("the history was not read: {why}"))
    }
}

fn add(quarters: &mut Vec<Known>, open: Known) {
    match quarters.last_mut() {
        Some(last) if last.time == open.time => last.add(&open),
        Some(last) if last.time > open.time => {}
        _ => quarters.push(open),
    }
}

fn facts(view: &View) -> Facts {
    let kubelet = view.workloads.iter().any(|workload| workload.identity.kind == Kind::Pod);
    let above = |folder: &str| {
        let mounts = view.host.filesystems.keys().filter(|mount| contains(mount, folder) || ***mount == *folder);
        mounts.max_by_key(|mount| mount.len()).map(ToString::to_string)
    };
    Facts {
        now: view.time,
        kubelet,
        kubelet_mounts: if kubelet { KUBELET.iter().filter_map(|folder| above(folder)).collect() } else { Vec::new() },
        memory_share: view.level.limits.memory,
    }
}
