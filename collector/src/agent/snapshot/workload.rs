//! Answers about one workload. Its processes are read when somebody asks, for which no snapshot is held.

use std::sync::Arc;

use collector_core::api::process::Processes;
use collector_core::api::workloads::Detail;
use collector_core::view::View;

use crate::http::{Answer, Lane, Rendering};
use crate::source::member;
use crate::source::root::Root;

pub fn render(view: &View, name: &str, root: &Root) -> Rendering {
    let detail = match Detail::of(view, name) {
        Ok(detail) => Arc::new(detail),
        Err(problem) => return Answer::from(problem).into(),
    };
    let (cgroups, root, late) = (view.workloads.cgroups(name), root.clone(), detail.clone());
    Rendering::Slow {
        lane: Lane::Processes,
        complete: Box::new(move || {
            answer(&detail, member::processes(&root, &cgroups).unwrap_or_else(Processes::unknown))
        }),
        late: Box::new(move || answer(&late, Processes::unknown("reading them takes too long"))),
    }
}

fn answer(detail: &Detail, processes: Processes) -> Answer {
    Answer::json(&Detail { processes: Some(processes), ..detail.clone() })
}
