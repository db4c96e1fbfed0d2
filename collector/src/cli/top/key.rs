//! What keys and the mouse do, as a table for the help and as changes of the model.

use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Position;

use super::column::Column;
use super::feed::Play;
use super::model::{Model, Pane};

/// Keys and what they do.
pub const HELP: &[(&str, &str)] = &[
    ("↑ ↓ PgUp PgDn Home End", "choose a row, or scroll; j and k too"),
    ("Enter", "open: a workload's last five minutes, an incident's explanation"),
    ("Esc q", "back; q in the table quits, as Ctrl-C does everywhere"),
    ("mouse", "the wheel scrolls; a click chooses, a second one opens; hold Shift to select text"),
    ("/", "filter workloads by a part of their name or cgroup; Esc removes the filter"),
    ("< >", "sort by the column to the left or right; a click on a head does too"),
    ("r", "reverse the order"),
    ("t", "tree: workloads below the cgroups that contain them"),
    ("z", "also slices and pods, which are sums of others, and idle workloads"),
    (
        "i a m l d",
        "incidents; alerts that fire; model servers; reservations (leases), and who waits for room; what to do: advice",
    ),
    ("e", "explain an incident: the chosen one, or the newest of the chosen workload, or the newest"),
    ("Space", "of a recording: pause, or go on"),
    ("← →  [ ]", "of a recording: one tick back or on; sixty"),
    ("+ -", "of a recording: faster, slower"),
];

/// What a key asks of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request {
    Quit,
    Play(Play),
}

/// The longest filter.
const LONGEST: usize = 200;
/// Rows of one turn of the wheel.
const WHEEL: isize = 3;

pub fn key(model: &mut Model, mut key: KeyEvent) -> Option<Request> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // Esc and a key right after it arrive as one key with Alt.
    if key.modifiers.contains(KeyModifiers::ALT) {
        key.modifiers.remove(KeyModifiers::ALT);
        self::key(model, KeyEvent::from(KeyCode::Esc));
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Request::Quit);
    }
    if model.typing {
        typed(model, key.code);
        return None;
    }
    let page = isize::try_from(model.hits.rows.height).unwrap_or(1).max(1);
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => model.go(-1),
        KeyCode::Down | KeyCode::Char('j') => model.go(1),
        KeyCode::PageUp => model.go(-page),
        KeyCode::PageDown => model.go(page),
        KeyCode::Home | KeyCode::Char('g') => model.choose(0),
        KeyCode::End | KeyCode::Char('G') => model.choose(usize::MAX),
        KeyCode::Char('q') => return (!model.back()).then_some(Request::Quit),
        KeyCode::Esc => escape(model),
        KeyCode::Char('?') => model.enter(Pane::Help),
        KeyCode::Char('i') => model.enter(Pane::Incidents),
        KeyCode::Char('a') => model.enter(Pane::Alerts),
        KeyCode::Char('l') => model.enter(Pane::Reservations),
        KeyCode::Char('m') => model.enter(Pane::Models),
        KeyCode::Char('d') => model.enter(Pane::Advice),
        KeyCode::Char('e') => explain(model),
        KeyCode::Enter => enter(model),
        KeyCode::Char(c) if model.open().pane == Pane::Table && table(model, c) => {}
        code if model.replay => return play(code).map(Request::Play),
        _ => {}
    }
    None
}

fn escape(model: &mut Model) {
    if !model.back() {
        model.order.filter.clear();
    }
}

/// A key of the table alone; `false` if it is none.
fn table(model: &mut Model, c: char) -> bool {
    match c {
        '/' => model.typing = true,
        't' => model.order.tree = !model.order.tree,
        'z' => model.order.all = !model.order.all,
        'r' => model.order.reversed = !model.order.reversed,
        '<' => beside(model, -1),
        '>' => beside(model, 1),
        _ => return false,
    }
    true
}

/// Sorts by the column beside the present one, of those that are shown.
fn beside(model: &mut Model, by: isize) {
    let shown: Vec<Column> = model.hits.heads.iter().map(|(_, column)| *column).collect();
    let at = shown.iter().position(|column| *column == model.order.by).unwrap_or(0);
    if let Some(next) = at.checked_add_signed(by).and_then(|at| shown.get(at)) {
        model.sort(*next);
    }
}

fn play(code: KeyCode) -> Option<Play> {
    match code {
        KeyCode::Char(' ') => Some(Play::Pause),
        KeyCode::Left => Some(Play::Step(-1)),
        KeyCode::Right => Some(Play::Step(1)),
        KeyCode::Char('[') => Some(Play::Step(-60)),
        KeyCode::Char(']') => Some(Play::Step(60)),
        KeyCode::Char('+' | '=') => Some(Play::Faster),
        KeyCode::Char('-') => Some(Play::Slower),
        _ => None,
    }
}

fn typed(model: &mut Model, code: KeyCode) {
    let filter = &mut model.order.filter;
    match code {
        KeyCode::Enter => model.typing = false,
        KeyCode::Esc => {
            filter.clear();
            model.typing = false;
        }
        KeyCode::Backspace => drop(filter.pop()),
        KeyCode::Char(c) if filter.chars().count() < LONGEST => filter.push(c),
        _ => {}
    }
}

fn enter(model: &mut Model) {
    match model.open().pane {
        Pane::Table => {}
        Pane::Advice => {
            let id = model.advice().map(|line| line.advice.id.clone());
            return id.into_iter().for_each(|id| model.enter(Pane::Advised(id)));
        }
        Pane::Models => return model.served().into_iter().for_each(|name| model.enter(Pane::Workload(name))),
        _ => return explain(model),
    }
    let rows = model.rows();
    let name = rows.get(model.place(&rows)).map(|row| row.name().to_owned());
    if let Some(name) = name {
        model.chosen = Some(name.clone());
        model.enter(Pane::Workload(name));
    }
}

fn explain(model: &mut Model) {
    if let Some(id) = model.incident() {
        model.enter(Pane::Incident(id));
    }
}

pub fn mouse(model: &mut Model, mouse: MouseEvent) {
    let place = Position { x: mouse.column, y: mouse.row };
    match mouse.kind {
        MouseEventKind::ScrollUp => model.go(-WHEEL),
        MouseEventKind::ScrollDown => model.go(WHEEL),
        MouseEventKind::Down(MouseButton::Left) => {
            let head = model.hits.heads.iter().find(|(area, _)| area.contains(place)).map(|(_, column)| *column);
            match (head, model.row_at(place)) {
                (Some(column), _) => model.sort(column),
                (None, Some(row)) if is_list(&model.open().pane) => click(model, row),
                _ => {}
            }
        }
        _ => {}
    }
}

fn is_list(pane: &Pane) -> bool {
    matches!(pane, Pane::Table | Pane::Incidents | Pane::Alerts | Pane::Reservations | Pane::Models | Pane::Advice)
}

/// The first click on a row chooses it, the second opens it.
fn click(model: &mut Model, row: usize) {
    let at = match model.open().pane {
        Pane::Table => model.chosen.as_ref().map(|_| model.place(&model.rows())),
        _ => Some(model.open().at),
    };
    if at == Some(row) {
        return enter(model);
    }
    model.choose(row);
}
