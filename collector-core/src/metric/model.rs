//! Model servers: which there are, how they answer, and the conditions that rules read. Their numbers are in `model_number.rs`, their
//! latencies in `model_latency.rs`.

use std::fmt;

use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::statistic::model::{Kind as Program, State};
use crate::view::View;
use crate::view::model::{Served, Told};

pub(super) const SERVER: &[&str] = &["workload", "namespace", "pod", "container", "server"];
pub(super) const MODEL: &[&str] = &["workload", "namespace", "pod", "container", "server", "model"];

pub const INFO: Metric = Metric {
    name: "headroom_model_server_info",
    kind: Kind::Info,
    labels: &["workload", "namespace", "pod", "container", "server", "kind", "parent"],
    read: |view, emit| {
        servers(view, |[name, namespace, pod, container, server], told| {
            let kind = told.server.kind.map_or("", Program::label);
            let parent = told.server.parent.as_deref().unwrap_or_default();
            emit.info(&[name, namespace, pod, container, server, kind, parent])
        })
    },
    ..gauge(
        "headroom_model_server_info",
        "Always 1, for each model server; kind is the program, parent the server that started it: Ollama, or a router of llama.cpp.",
    )
};

pub const UP: Metric = Metric {
    labels: SERVER,
    read: |view, emit| {
        servers(view, |labels, told| {
            // A server that never answered is found by its name alone, and may be none. One on another host was configured.
            match told.answered || told.server.pid.is_none() {
                true => emit.gauge(&labels, Value::Int(told.is_up().into())),
                false => Ok(()),
            }
        })
    },
    ..gauge(
        "headroom_model_up",
        "1 if the model server answered when the agent last asked, else 0; absent as long as its process never answered, and once that is gone. \
         One that still loads its model, sleeps or tells no numbers is up.",
    )
};

pub const STATE: Metric = Metric {
    labels: &["workload", "namespace", "pod", "container", "server", "state"],
    detail: Detail::Used,
    read: |view, emit| {
        servers(view, |[name, namespace, pod, container, server], told| {
            State::ALL.into_iter().try_for_each(|state| {
                let holds = Value::Int((state == told.state).into());
                emit.gauge(&[name, namespace, pod, container, server, state.label()], holds)
            })
        })
    },
    ..gauge(
        "headroom_model_state",
        "1 for the state that the model server is in, else 0. silent: it answers, but tells no numbers; failed: it could not be asked; unreachable: \
         it listens on its container's loopback alone, where the agent does not go.",
    )
};

pub const ANSWER_SECONDS: Metric = Metric {
    unit: Some(Unit::Seconds),
    labels: SERVER,
    read: |view, emit| servers(view, |labels, told| emit.number(&labels, told.took)),
    ..gauge(
        "headroom_model_answer_seconds",
        "How long the model server took for the last answers to the agent, or until that gave up.",
    )
};

pub const ANSWER_AGE: Metric = Metric {
    unit: Some(Unit::Seconds),
    labels: SERVER,
    read: |view, emit| servers(view, |labels, told| emit.number(&labels, view.time.saturating_sub(told.time))),
    ..gauge("headroom_model_answer_age_seconds", "How long ago the agent last asked the model server.")
};

pub const STUCK: Metric = Metric {
    unit: Some(Unit::Seconds),
    read: |view, emit| {
        models(view, |labels, served| served.stuck().map_or(Ok(()), |stuck| emit.number(&labels, stuck)))
    },
    ..gauge(
        "headroom_model_stuck_seconds",
        "For how long requests have run in the model server while nothing moved: no token was made or read, no step taken, no request ended, \
         and its KV cache did not change. 0 while it works or has nothing to do.",
    )
};

pub const KV_SHORT: Metric = Metric {
    read: |view, emit| {
        models(view, |labels, served| {
            served.kv_short().map_or(Ok(()), |short| emit.gauge(&labels, Value::Float(short)))
        })
    },
    ..gauge(
        "headroom_model_kv_short_ratio",
        "Share (0 to 1) of the model server's KV cache in use while requests wait, else 0: a full cache is no shortage while nobody waits for it.",
    )
};

pub(super) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        detail: Detail::Always,
        help,
        labels: MODEL,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

/// Calls `each` with every server and the values of [`SERVER`].
pub(super) fn servers<'v>(view: &'v View, mut each: impl FnMut([&'v str; 5], &'v Told) -> fmt::Result) -> fmt::Result {
    view.models.servers.iter().try_for_each(|(server, told)| {
        let [name, namespace, pod, container] = told.labels(&view.workloads);
        each([name, namespace, pod, container, server], told)
    })
}

/// Calls `each` with every model and the values of [`MODEL`].
pub(super) fn models<'v>(view: &'v View, mut each: impl FnMut([&'v str; 6], &'v Served) -> fmt::Result) -> fmt::Result {
    servers(view, |[name, namespace, pod, container, server], told| {
        let mut models = told.models.iter();
        models.try_for_each(|(model, served)| each([name, namespace, pod, container, server, model], served))
    })
}

/// The same with a value for the last label.
pub(super) fn with<'v>(labels: [&'v str; 6], last: &'v str) -> [&'v str; 7] {
    let [name, namespace, pod, container, server, model] = labels;
    [name, namespace, pod, container, server, model, last]
}
