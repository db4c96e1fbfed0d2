//! Model servers: a table, and below it what is to be said about the chosen one. The table and the sentences are those of
//! `headroom models`.

use collector_core::api::models::Models;
use collector_core::text::shown;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::model::{Hits, Model};
use super::list::list;
use super::paint;
use crate::cli::models::table::{notes, rows, servers};
use crate::cli::sheet::Line;

/// Lines of the table that stay on a low screen, its head included.
const LIST: u16 = 4;

pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let none = Models::default();
    let models = model.models().unwrap_or(&none);
    let lines = servers(models, area.width.into());
    let (head, lines) = lines.split_first().map_or((String::new(), Vec::new()), |(head, rows)| {
        (head.parts().iter().map(|(_, text)| text.as_str()).collect(), rows.to_vec())
    });
    let rows = rows(models);
    let chosen = rows.get(model.open().at.min(rows.len().saturating_sub(1)));
    let about = chosen.map_or_else(Vec::new, |row| said(notes(row.server), area.width.into()));
    let mut page = area;
    let taken = area.height.saturating_sub(LIST).min(about.len() as u16 + u16::from(!about.is_empty()));
    page.height -= taken;
    let place = Rect { y: page.bottom().saturating_add(1), height: taken.saturating_sub(1), ..area };
    paint::lines(buffer, place, &about, model.colour);
    let (head, none) = match model.answers.as_deref().map(|answers| &answers.models) {
        Some(Some(Ok(_))) if rows.is_empty() => ("Model servers", "no model server was found"),
        Some(Some(Ok(_))) => (head.as_str(), ""),
        Some(Some(Err(why))) => ("Model servers", why.as_str()),
        _ => ("Model servers", "waiting for an answer"),
    };
    list(buffer, page, model, head, none, lines)
}

/// Sentences in as many lines as they need.
fn said(notes: Vec<Line>, width: usize) -> Vec<Line> {
    let wrapped = notes.into_iter().flat_map(|note| {
        let paint = note.parts().first().map(|(paint, _)| *paint).unwrap_or_default();
        let text: String = note.parts().iter().map(|(_, text)| text.as_str()).collect();
        paint::wrap(&shown(&text), width).into_iter().map(move |text| Line::new(paint, text)).collect::<Vec<_>>()
    });
    wrapped.collect()
}

#[cfg(test)]
mod tests {
    use collector_core::api::models::{ModelLine, ModelMemory, ModelServer};
    use collector_core::statistic::model::{Kind, State};
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::super::super::answer::Answers;
    use super::super::super::column::Column;
    use super::super::super::feed::News;
    use super::super::super::key::key;
    use super::super::super::model::Pane;
    use super::super::tests::drawn;
    use super::*;

    fn server(name: &str, state: State, why: Option<&str>) -> ModelServer {
        ModelServer {
            server: name.to_owned(),
            kind: Some(Kind::Vllm),
            url: "http://127.0.0.1:8000".to_owned(),
            state,
            why: why.map(str::to_owned),
            next: why.map(|_| "Let it listen on the container's own address.".to_owned()),
            workload: Some("vllm.service".to_owned()),
            pid: None,
            parent: None,
            asked: 0,
            answer_seconds: 0.0,
            memory: ModelMemory::default(),
            models: vec![ModelLine { model: "m\x1b[2J".to_owned(), requests_running: Some(3), ..ModelLine::default() }],
        }
    }

    fn press(model: &mut Model, code: KeyCode) {
        key(model, KeyEvent::from(code));
    }

    #[test]
    fn a_server_is_shown_with_what_is_not_known_of_it_and_leads_to_its_workload() {
        let mut model = Model::new("node1".to_owned(), Column::Memory, false, false);
        press(&mut model, KeyCode::Char('m'));
        assert!(model.wish().models);
        assert!(drawn(&mut model, 80, 24).contains("waiting for an answer"));
        let hear = |model: &mut Model, servers: Vec<ModelServer>| {
            let models = Some(Ok(Models { servers, ..Models::default() }));
            model.hear(News::Answers(Box::new(Answers { models, ..Answers::default() })));
        };
        hear(&mut model, Vec::new());
        assert!(drawn(&mut model, 80, 24).contains("no model server was found"));
        let why =
            "it listens on the loopback of its container, which nobody outside of it reaches, and so it is not asked";
        hear(
            &mut model,
            vec![server("vllm:8000", State::Up, None), server("vllm@c:8000", State::Unreachable, Some(why))],
        );
        let first = drawn(&mut model, 80, 24);
        assert!(first.contains("vllm:8000") && first.contains("unreachable") && !first.contains("loopback"), "{first}");
        press(&mut model, KeyCode::Down);
        let second = drawn(&mut model, 80, 24);
        // The sentence is longer than the screen is wide.
        assert!(
            second.contains("loopback") && second.contains("is not asked") && second.contains("Let it listen"),
            "{second}"
        );
        for (width, height) in [(1, 1), (20, 3), (40, 8), (300, 80)] {
            drawn(&mut model, width, height);
        }
        press(&mut model, KeyCode::Enter);
        assert_eq!(model.open().pane, Pane::Workload("vllm.service".to_owned()));
    }
}
