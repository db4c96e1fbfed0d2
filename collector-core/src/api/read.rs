//! The reads of the API, as data: paths, parameters, and the types of the answers. Knows no HTTP.

use super::alerts::Alerts;
use super::circuits::Circuits;
use super::coverage::Coverage;
use super::forecast;
use super::gpus::Gpus;
use super::incidents::{Explained, Incidents};
use super::level::HostLevel;
use super::models::Models;
use super::parameter::{self, Given, Parameter, Values};
use super::problem::Problem;
use super::report::Report;
use super::reservations::{Reservations, Viewer};
use super::schema::{Answer, schema};
use super::status::Status;
use super::suggestions::Suggestions;
use super::window::{self, History, Query};
use super::workloads::{Detail, Summary};
use crate::alert::Severity;
use crate::forecast::Forecast;
use crate::identity::LONGEST;
use crate::series::Series;

/// Paths of the API are below this one.
pub const ROOT: &str = "/api/v1/";

const TEXT: &str = "text/plain; charset=utf-8";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    Status,
    Report,
    Workloads,
    Workload(Box<str>),
    Gpus,
    Models,
    Level,
    Alerts(Option<Severity>),
    Incidents,
    Incident(Box<str>),
    Explain(Box<str>),
    History(Query),
    Forecast(forecast::Query),
    Suggestions,
    Reservations(Viewer),
    Circuits,
    Coverage,
    Events,
    OpenApi,
}

/// A read: where it is, and what it takes.
#[derive(Debug)]
pub struct Route {
    /// Below [`ROOT`]. A part in braces at the end is the first parameter, and may have slashes.
    pub path: &'static str,
    /// Another path of the same.
    pub alias: Option<&'static str>,
    /// What it answers, in one sentence.
    pub help: &'static str,
    pub parameters: &'static [Parameter],
    pub answer: Answer,
    read: fn(&Given<'_>) -> Read,
}

pub const ROUTES: &[Route] = &[
    Route {
        path: "status",
        alias: Some("monitoring/status"),
        help: "The host in one object: health with its reasons, memory, swap, CPU, pressure, disks, GPUs, alerts.",
        parameters: &[],
        answer: Answer::Type(schema::<Status>),
        read: |_| Read::Status,
    },
    Route {
        path: "report",
        alias: Some("monitoring/report"),
        help: "The status, means and maxima of the last five minutes, and all workloads.",
        parameters: &[],
        answer: Answer::Type(schema::<Report>),
        read: |_| Read::Report,
    },
    Route {
        path: "workloads",
        alias: None,
        help: "All workloads: memory, limits, pressure, stalls, OOM kills.",
        parameters: &[],
        answer: Answer::Type(schema::<Summary>),
        read: |_| Read::Workloads,
    },
    Route {
        path: "workloads/{name}",
        alias: None,
        help: "One workload, the alerts about it, and its largest processes.",
        parameters: &[NAME],
        answer: Answer::Type(schema::<Detail>),
        read: |given| Read::Workload(text(given, "name")),
    },
    Route {
        path: "gpus",
        alias: None,
        help: "All GPUs: memory and who holds it, utilization, temperature, power, PCIe, errors.",
        parameters: &[],
        answer: Answer::Type(schema::<Gpus>),
        read: |_| Read::Gpus,
    },
    Route {
        path: "models",
        alias: None,
        help: "Model servers and their models: state, requests, tokens, KV cache, memory, and latencies of the last minute.",
        parameters: &[],
        answer: Answer::Type(schema::<Models>),
        read: |_| Read::Models,
    },
    Route {
        path: "level",
        alias: None,
        help: "How degraded the host and each GPU are, 0 to 4: use against limits, which priorities may start, and why.",
        parameters: &[],
        answer: Answer::Type(schema::<HostLevel>),
        read: |_| Read::Level,
    },
    Route {
        path: "alerts",
        alias: Some("monitoring/alerts"),
        help: "The alerts that fire.",
        parameters: &[SEVERITY],
        answer: Answer::Type(schema::<Alerts>),
        read: |given| Read::Alerts(given.get("severity").and_then(Severity::of)),
    },
    Route {
        path: "incidents",
        alias: None,
        help: "The newest incidents, in short.",
        parameters: &[],
        answer: Answer::Type(schema::<Incidents>),
        read: |_| Read::Incidents,
    },
    Route {
        path: "incidents/{id}",
        alias: None,
        help: "One of the newest incidents, with its cause, its numbers, the minute before it, and what to check.",
        parameters: &[ID],
        answer: Answer::Type(schema::<Explained>),
        read: |given| Read::Incident(text(given, "id")),
    },
    Route {
        path: "explain/{id}",
        alias: None,
        help: "The same as a page of text, as `headroom explain` prints it: what happened, why, and what to do.",
        parameters: &[ID],
        answer: Answer::Text,
        read: |given| Read::Explain(text(given, "id")),
    },
    Route {
        path: "history",
        alias: Some("monitoring/history"),
        help: "What was measured within a span of time that ends now, up to 90 days: minimum, mean and maximum, point by point, of the \
            finest tier that reaches back so far. Beyond memory that is the one on disk.",
        parameters: &[WINDOW, WORKLOAD, SERIES, POINTS],
        answer: Answer::Type(schema::<History>),
        read: |given| {
            Read::History(Query {
                seconds: given.number("window_seconds").unwrap_or(window::USUAL),
                workload: given.get("workload").map(Into::into),
                series: given.get("series").and_then(Series::find),
                points: given.number("points"),
            })
        },
    },
    Route {
        path: "forecast",
        alias: None,
        help: "What memory, GPUs, disks and CPUs of the host will be used in the hours to come, or what a workload will use, from its own last \
            weeks: an interval that holds four times in five, when a limit is reached, and who cleans up before that. And whether the host \
            would carry one more of a workload.",
        parameters: forecast::PARAMETERS,
        answer: Answer::Type(schema::<Forecast>),
        read: |given| Read::Forecast(forecast::Query::of(given)),
    },
    Route {
        path: "suggestions",
        alias: Some("monitoring/optimization-suggestions"),
        help: "What to do about each alert that fires, and what to change on this host: each advice with its evidence, what it would have \
            saved, how sure that is, its risk and the commands; what became of advice that was followed, and what could not be judged.",
        parameters: &[],
        answer: Answer::Type(schema::<Suggestions>),
        read: |_| Read::Suggestions,
    },
    Route {
        path: "reservations",
        alias: None,
        help: "What is leased and how much of it is used, and the claims that wait, in their order. Whose they are is shown to root and the \
            group that sees everything, to others of their own, on the socket alone.",
        parameters: &[],
        answer: Answer::Type(schema::<Reservations>),
        read: |_| Read::Reservations(Viewer::Stranger),
    },
    Route {
        path: "circuits",
        alias: None,
        help: "Units that were started or failed lately, and whether they may start.",
        parameters: &[],
        answer: Answer::Type(schema::<Circuits>),
        read: |_| Read::Circuits,
    },
    Route {
        path: "coverage",
        alias: None,
        help: "What this host can and cannot measure, and why: probes, sources, missing numbers, losses, and what the host lacks.",
        parameters: &[],
        answer: Answer::Type(schema::<Coverage>),
        read: |_| Read::Coverage,
    },
    Route {
        path: "events",
        alias: None,
        help: "On the socket alone: alerts, incidents and changes of levels as they come, as server-sent events; and which leases of one's own are \
            to be given up.",
        parameters: &[],
        answer: Answer::Events,
        read: |_| Read::Events,
    },
    Route {
        path: "openapi.json",
        alias: None,
        help: "This API in OpenAPI 3.1.",
        parameters: &[],
        answer: Answer::Object,
        read: |_| Read::OpenApi,
    },
];

const NAME: Parameter = Parameter {
    name: "name",
    values: Values::Text(LONGEST),
    help: "The workload, as in the label `workload`. Its slashes may be percent-encoded.",
};

const SEVERITY: Parameter =
    Parameter { name: "severity", values: Values::OneOf(&Severity::LABELS), help: "Only alerts of this severity." };

const ID: Parameter = Parameter {
    name: "id",
    values: Values::Text(64),
    help: "The incident's id, as in the list and in the journal, or `last`.",
};

const WINDOW: Parameter = Parameter {
    name: "window_seconds",
    values: Values::Number { least: 1, most: window::LONGEST },
    help: "How long the span is; 300 if that is not said.",
};

const WORKLOAD: Parameter = Parameter {
    name: "workload",
    values: Values::Text(LONGEST),
    help: "A workload, as in the label `workload`; the host if none is named.",
};

const SERIES: Parameter = Parameter {
    name: "series",
    values: Values::OneOf(&Series::NAMES),
    help: "Only this series; all that were known if none is named.",
};

const POINTS: Parameter = Parameter {
    name: "points",
    values: Values::Number { least: 1, most: 10_000 },
    help: "At most this many points per series, plus one for a step that is not complete: neighbours are joined, and `step_seconds` says what one \
        then stands for.",
};

fn text(given: &Given<'_>, name: &str) -> Box<str> {
    given.get(name).unwrap_or_default().into()
}

impl Route {
    /// The route of this path below [`ROOT`], and the part of it that is a parameter.
    pub fn find(path: &str) -> Option<(&'static Route, Option<&str>)> {
        let with_part = |route: &'static Route| {
            let (fixed, _) = route.path.split_once('{')?;
            let part = path.strip_prefix(fixed).filter(|part| !part.is_empty())?;
            Some((route, Some(part)))
        };
        let whole = ROUTES.iter().find(|route| route.path == path || route.alias == Some(path));
        whole.map(|route| (route, None)).or_else(|| ROUTES.iter().find_map(with_part))
    }

    /// The read with this part of the path and this query.
    pub fn read(&self, part: Option<&str>, query: Option<&str>) -> Result<Read, Problem> {
        parameter::read(self.parameters, part, query).map(|given| (self.read)(&given))
    }
}

impl Read {
    /// Whether the client chose a value, of which there are many.
    pub fn is_chosen(&self) -> bool {
        matches!(
            self,
            Read::Workload(_)
                | Read::Incident(_)
                | Read::Explain(_)
                | Read::History(_)
                | Read::Forecast(_)
                | Read::Reservations(Viewer::User(_))
        )
    }

    /// The type of its answer.
    pub fn content_type(&self) -> &'static str {
        if matches!(self, Read::Explain(_)) { TEXT } else { "application/json" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<Read, u16> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let (route, part) = Route::find(path).ok_or(404_u16)?;
        route.read(part, query).map_err(|problem| problem.status)
    }

    #[test]
    fn a_path_is_one_read() {
        assert_eq!(read("workloads"), Ok(Read::Workloads));
        for path in ["workloads/system.slice/a.service", "workloads/system.slice%2Fa.service"] {
            assert_eq!(read(path), Ok(Read::Workload("system.slice/a.service".into())), "{path}");
        }
        assert_eq!(read("workloads//a"), Ok(Read::Workload("/a".into())));
        for path in ["", "workloads/", "Workloads", "workload", "workloads?", "/workloads", "../workloads"] {
            let expected = if path == "workloads?" { Ok(Read::Workloads) } else { Err(404) };
            assert_eq!(read(path), expected, "{path}");
        }
        for path in ["workloads?x=1", "workloads/%zz", "workloads/a?name=b"] {
            assert_eq!(read(path), Err(400), "{path}");
        }
        let long = format!("workloads/{}", "a".repeat(LONGEST + 1));
        assert_eq!(read(&long), Err(400));
        let asked = Query { seconds: 60, workload: Some("/a b".into()), series: Some(Series::Vram), points: Some(9) };
        let path = format!("history?workload=%2Fa+b&window_seconds=60&points=9&series={}", Series::Vram.name());
        assert_eq!(read(&path), Ok(Read::History(asked)));
        assert_eq!(
            read("history"),
            Ok(Read::History(Query { seconds: 300, workload: None, series: None, points: None }))
        );
    }

    #[test]
    fn an_alias_is_the_same_read() {
        for route in ROUTES {
            let Some(alias) = route.alias else { continue };
            assert_eq!(read(alias), read(route.path), "{alias}");
        }
        for (path, expected) in [
            ("monitoring/alerts?severity=critical", Ok(Read::Alerts(Some(Severity::Critical)))),
            ("alerts?severity=info", Ok(Read::Alerts(Some(Severity::Info)))),
            ("alerts", Ok(Read::Alerts(None))),
            ("alerts?severity=Critical", Err(400)),
            ("history?window_seconds=1000000000", Err(400)),
            ("history?series=vram", Err(400)),
            ("history?workload=", Err(400)),
            ("monitoring", Err(404)),
            ("monitoring/cleanup", Err(404)),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_and_parameters_are_unique_and_a_part_is_the_first_parameter() {
        let paths = || ROUTES.iter().flat_map(|route| [Some(route.path), route.alias]).flatten();
        for path in paths() {
            assert_eq!(paths().filter(|other| *other == path).count(), 1, "{path}");
        }
        for route in ROUTES {
            let part = route.path.split_once('{').map(|(_, part)| part.trim_end_matches('}'));
            if let Some(part) = part {
                assert_eq!(route.parameters[0].name, part, "{}", route.path);
            }
            let names: std::collections::BTreeSet<_> = route.parameters.iter().map(|it| it.name).collect();
            assert_eq!(names.len(), route.parameters.len(), "{}", route.path);
            assert!(route.help.ends_with('.') && route.parameters.iter().all(|it| it.help.ends_with('.')));
        }
    }
}
