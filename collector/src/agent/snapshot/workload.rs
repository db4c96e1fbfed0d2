//! Answers about one workload. Its processes are read when somebody asks, for which no snapshot is held.

use std::sync::Arc;

use collector_core::api::process::Processes;
use collector_core::api::workloads::Detail;
use collector_core::view::View;

use crate::http::{Answer, Lane, Rendering};
use crate::source::member::Members;

pub fn render(view: &View, name: &str, members: &Arc<Members>) -> Rendering {
    let detail = match Detail::of(view, name) {
        Ok(detail) => Arc::new(detail),
        Err(problem) => return Answer::from(problem).into(),
    };
    let (cgroups, members, late) = (view.workloads.cgroups(name), members.clone(), detail.clone());
    Rendering::Slow {
        lane: Lane::Processes,
        complete: Box::new(move || answer(&detail, members.of(&cgroups))),
        late: Box::new(move || {
            answer(&late, Processes::unknown("reading them takes too long, or too many wait for theirs"))
        }),
    }
}

fn answer(detail: &Detail, processes: Processes) -> Answer {
    Answer::json(&Detail { processes: Some(processes), ..detail.clone() })
}
