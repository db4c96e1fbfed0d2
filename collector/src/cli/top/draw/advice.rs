//! What to change: a list, and below it why, for the chosen one; and one advice with everything. The sentences are those of
//! `headroom advise`.

use collector_core::api::suggestions::{AdviceLine, AdviceStatus, Suggestions};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::model::{Hits, Model};
use super::list::list;
use super::paint;
use crate::cli::advise::detail::{about, change};
use crate::cli::advise::page::{certainty, danger};
use crate::cli::sheet::{Line, Paint, left, paragraph};

/// Lines of the list that stay on a low screen, its head included.
const LIST: u16 = 4;
/// Columns of a confidence and of a risk.
const WORD: usize = 8;

pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model) -> Hits {
    let none = Suggestions::default();
    let answer = model.suggestions().unwrap_or(&none);
    let lines: Vec<Line> = answer.advice.iter().map(row).collect();
    let why = model.advice().map_or_else(Vec::new, |line| {
        let saves = line.advice.saves.as_ref().and_then(|saves| saves.sentence());
        let mut said = paragraph(Paint::Plain, 0, &line.advice.why, area.width.into());
        let saves = saves.map(|saves| format!("would have saved {saves}"));
        said.extend(saves.iter().flat_map(|saves| paragraph(Paint::Dim, 0, saves, area.width.into())));
        said
    });
    let mut page = area;
    let taken = area.height.saturating_sub(LIST).min(why.len() as u16 + u16::from(!why.is_empty()));
    page.height -= taken;
    let place = Rect { y: page.bottom().saturating_add(1), height: taken.saturating_sub(1), ..area };
    paint::lines(buffer, place, &why, model.colour);
    let (head, none) = match model.answers.as_deref().map(|answers| &answers.advice) {
        Some(Some(Ok(answer))) if lines.is_empty() && answer.judged.is_none() => ("Advice", "nothing was judged yet"),
        Some(Some(Ok(_))) if lines.is_empty() => ("Advice", "nothing to change, as far as is known"),
        Some(Some(Ok(_))) => ("SURE    RISK    WHAT TO DO", ""),
        Some(Some(Err(why))) => ("Advice", why.as_str()),
        _ => ("Advice", "waiting for an answer"),
    };
    list(buffer, page, model, head, none, lines)
}

fn row(line: &AdviceLine) -> Line {
    let advice = &line.advice;
    let state = match line.state {
        AdviceStatus::Holds => "",
        AdviceStatus::Followed => "followed: ",
        AdviceStatus::Gone => "gone: ",
    };
    Line::new(certainty(advice.confidence), left(advice.confidence.label(), WORD))
        .and(danger(advice.risk), left(advice.risk.label(), WORD))
        .and(Paint::Dim, state)
        .and(Paint::Plain, &advice.title)
}

/// One advice with everything. A command that is wider than the screen is cut: `headroom advise ID` prints it whole.
pub fn lines(model: &Model, id: &str, width: usize) -> Vec<Line> {
    let Some(answer) = model.suggestions() else { return vec![Line::new(Paint::Dim, format!("waiting for {id}"))] };
    let Some(line) = answer.advice.iter().find(|line| line.advice.id == id) else {
        return vec![Line::new(Paint::Yellow, format!("there is no advice {id} any more"))];
    };
    let mut lines = about(line, answer.time, width, model.utc);
    lines.push(Line::default());
    let number = |index: usize| (line.advice.actions.len() > 1).then_some(index + 1);
    lines.extend(
        line.advice.actions.iter().enumerate().flat_map(|(index, action)| change(number(index), action, width)),
    );
    lines.push(Line::new(Paint::Dim, format!("To copy a command: headroom advise {id}")));
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::super::super::answer::Answers;
    use super::super::super::column::Column;
    use super::super::super::feed::News;
    use super::super::super::key::key;
    use super::super::super::model::Pane;
    use super::super::tests::drawn;
    use super::*;
    use crate::cli::advise::page::tests::answer;

    fn press(model: &mut Model, code: KeyCode) {
        key(model, KeyEvent::from(code));
    }

    fn hear(model: &mut Model, answer: Suggestions) {
        model.hear(News::Answers(Box::new(Answers { advice: Some(Ok(answer)), ..Answers::default() })));
    }

    #[test]
    fn advice_is_listed_says_why_and_opens_with_its_commands() {
        let mut model = Model::new("node1".to_owned(), Column::Memory, false, false);
        press(&mut model, KeyCode::Char('d'));
        assert!(model.wish().advice);
        assert!(drawn(&mut model, 80, 24).contains("waiting for an answer"));
        hear(&mut model, Suggestions::default());
        assert!(drawn(&mut model, 80, 24).contains("nothing was judged yet"));
        hear(&mut model, answer());
        let list = drawn(&mut model, 80, 24);
        for part in [
            "high    medium  Raise the memory limit of docker/web",
            "followed: Raise the memory limit of db.service",
            "It was killed 3 times in 8 days",
            "would have saved in 8 d: 3 OOM kills",
        ] {
            assert!(list.contains(part), "{part}\n{list}");
        }
        press(&mut model, KeyCode::Down);
        press(&mut model, KeyCode::Enter);
        assert_eq!(model.open().pane, Pane::Advised("memory_limit_raise:docker/cache".to_owned()));
        assert!(model.wish().advice, "it is asked for as long as it is shown");
        let page = drawn(&mut model, 100, 50);
        assert!(page.contains("docker update --memory") && page.contains("Confidence low"), "{page}");
        hear(&mut model, Suggestions::default());
        assert!(drawn(&mut model, 80, 24).contains("any more"));
        for (width, height) in [(1, 1), (20, 3), (40, 8), (300, 80)] {
            drawn(&mut model, width, height);
            press(&mut model, KeyCode::Esc);
            drawn(&mut model, width, height);
            press(&mut model, KeyCode::Char('d'));
        }
    }
}
