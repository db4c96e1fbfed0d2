//! Answers about the hours to come. They rest on the history on disk, which is read while no snapshot is held.

use std::path::Path;
use std::sync::Arc;

use collector_core::api::forecast::{Query, Question};
use collector_core::view::View;

use crate::http::{Answer, Lane, Rendering};
use crate::sink::history::Reader;

/// `dir`: the folder of the file, if one is written.
pub fn render(view: &View, query: &Query, dir: Option<&Path>) -> Rendering {
    let question = Question::of(view, query);
    let Some(dir) = dir.map(Path::to_owned) else {
        return Answer::from(question.unread("history.max_bytes is 0")).into();
    };
    let question = Arc::new(question);
    let late = question.clone();
    Rendering::Slow {
        lane: Lane::Disk,
        complete: Box::new(move || complete(&dir, &question)),
        late: Box::new(move || late.unread("the disk takes too long, or too many wait for it").into()),
    }
}

fn complete(dir: &Path, question: &Question) -> Answer {
    let read = Reader::find(dir).and_then(|reader| match reader {
        Some(reader) => reader.forecast(question),
        None => Ok(Default::default()),
    });
    match read {
        Ok(read) => question.clone().answer(read).map_or_else(Answer::from, |forecast| Answer::json(&forecast)),
        Err(error) => question.unread(&format!("{error:#}")).into(),
    }
}
