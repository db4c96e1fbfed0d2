//! Screens of recordings against golden files, `tests/fixtures/top/NAME.COLUMNS.txt` (`BLESS=1` rewrites them); any size; names that
//! would do harm; bytes that are sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use collector_core::api::process::{Process, Processes};
use collector_core::api::reservations::Reservations;
use collector_core::api::workloads::{Line as Figures, Summary};
use collector_core::lease::answer::Part;
use collector_core::lease::{Orphan, Owner, Priority, Reservation, State};
use collector_core::rule::Rules;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::super::answer::Answers;
use super::super::column::Column;
use super::super::feed::{Kind, News, Silence};
use super::super::key::{Request, key, mouse};
use super::super::player::Player;
use super::super::screen::Screen;
use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn player(name: &str) -> Player {
    Player::open(&fixtures().join(format!("replay/{name}.jsonl")), Arc::new(Rules::new(&[]).unwrap())).unwrap()
}

fn look(model: &mut Model, player: &Player) {
    let answers = Answers::of(player.view(), player.before().cloned(), &model.wish());
    model.hear(News::Answers(Box::new(answers)));
}

fn model() -> Model {
    // Golden screens are of UTC, wherever they are drawn.
    let mut model = Model::new("node1".to_owned(), Column::Memory, false, true);
    model.utc = true;
    model
}

/// Draws it as the verb does.
pub(super) fn drawn(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut hits = Hits::default();
    terminal.draw(|frame| hits = draw(frame, model)).unwrap();
    model.drawn(hits);
    let buffer = terminal.backend().buffer().clone();
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    buffer.content.chunks(usize::from(width).max(1)).map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
}

fn press(model: &mut Model, keys: &str) -> Option<Request> {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '↓' => KeyCode::Down,
        c => KeyCode::Char(c),
    };
    keys.chars().map(|c| key(model, KeyEvent::new(code(c), KeyModifiers::NONE))).last().flatten()
}

#[test]
fn screens_of_recordings_are_as_expected() {
    let mut alert = player("alert");
    alert.forward(150).unwrap();
    let [gpu, name, oom] = ["gpu", "name", "oom"].map(|name| {
        let mut player = player(name);
        player.forward(u64::MAX).unwrap();
        player
    });
    let screens: [(&str, &Player, &str); 9] = [
        ("alert", &alert, ""),
        ("gpu", &gpu, ""),
        ("name", &name, "z"),
        ("tree", &name, "t"),
        ("filter", &name, "t/server"),
        ("workload", &alert, "\n"),
        ("incident", &oom, "e"),
        ("alerts", &alert, "a"),
        ("help", &alert, "?"),
    ];
    for (name, player, keys) in screens {
        for (width, height) in [(80, 24), (160, 40)] {
            let mut model = model();
            look(&mut model, player);
            drawn(&mut model, width, height);
            press(&mut model, keys);
            look(&mut model, player);
            golden(&format!("{name}.{width}"), &drawn(&mut model, width, height));
        }
    }
}

fn golden(name: &str, actual: &str) {
    let path = fixtures().join(format!("top/{name}.txt"));
    if env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs; BLESS=1 rewrites it\n{actual}", path.display());
}

#[test]
fn a_workload_shows_its_processes_whatever_they_call_themselves() {
    let mut alert = player("alert");
    alert.forward(150).unwrap();
    let mut model = model();
    look(&mut model, &alert);
    press(&mut model, "\n");
    let largest = vec![
        Process {
            pid: 4_194_304, comm: "py\x1b[31m…".to_owned(), resident_bytes: Some(1 << 30), swap_bytes: Some(0)
        },
        Process { pid: 7, comm: "kthread".to_owned(), ..Process::default() },
    ];
    let found = Processes { count: Some(200), largest, missing: Some("9 were not read".to_owned()) };
    let name = model.wish().workload.unwrap();
    let answers = Answers::of(alert.view(), None, &model.wish());
    model.hear(News::Answers(Box::new(Answers { processes: Some((name, found)), ..answers })));
    let screen = drawn(&mut model, 80, 40);
    for part in
        ["Processes (200)           resident        swap", "4194304 py\\x1b[31m…       1.00 GiB         0 B", "–"]
    {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
    assert!(screen.contains("      7 kthread") && screen.contains("9 were not read"), "{screen}");
}

/// A lease and a claim of a program that calls itself something harmful.
fn reserved() -> Reservations {
    let lease = Reservation {
        id: 7,
        state: State::Settled,
        workload: "docker/vllm".to_owned(),
        uid: Some(1000),
        owner: Some(Owner::Process { pid: 4242, started: 1 }),
        anyone: false,
        asked: None,
        waits_for: Vec::new(),
        unit: Some("vllm".to_owned()),
        priority: Priority::Normal,
        evictable: true,
        resources: [
            ("host memory", None, 2 << 30, Some(1 << 30)),
            ("VRAM", Some("0"), 20 << 30, Some(18 << 30)),
            ("slot", Some("load"), 1, None),
        ]
        .map(|(resource, of, amount, used)| Part {
            resource: resource.to_owned(),
            of: of.map(str::to_owned),
            amount,
            used,
        })
        .to_vec(),
        age_seconds: 300,
        ends_in_seconds: Some(3600),
        begins_in_seconds: None,
        idle_seconds: 10,
        orphans: Vec::new(),
    };
    let orphan = Orphan { pid: 99, cgroup: None, gpu: "1".to_owned(), bytes: Some(3 << 30) };
    let gone = Reservation {
        id: 8,
        state: State::Ending,
        orphans: vec![orphan],
        resources: lease.resources[1..2].to_vec(),
        ends_in_seconds: None,
        begins_in_seconds: None,
        ..lease.clone()
    };
    let wanted = Part { used: None, ..lease.resources[0].clone() };
    let claim = Reservation {
        id: 0,
        state: State::Waiting,
        workload: "a\x1b[2Jb".to_owned(),
        unit: None,
        ends_in_seconds: None,
        begins_in_seconds: None,
        evictable: false,
        resources: vec![wanted],
        ..lease.clone()
    };
    Reservations { time: 1, reservations: vec![lease, gone], waiting: vec![claim], scheduled: Vec::new() }
}

#[test]
fn what_is_reserved_is_a_list_with_all_about_the_chosen_one() {
    let mut alert = player("alert");
    alert.forward(150).unwrap();
    for (name, keys) in [("reservations", "l"), ("orphan", "l↓"), ("claim", "l↓↓")] {
        for (width, height) in [(80, 24), (160, 40)] {
            let mut model = model();
            look(&mut model, &alert);
            press(&mut model, &keys[..1]);
            assert!(model.wish().reservations);
            let answers = Answers::of(alert.view(), None, &model.wish());
            model.hear(News::Answers(Box::new(Answers { reservations: Some(Ok(reserved())), ..answers })));
            drawn(&mut model, width, height);
            press(&mut model, &keys[1..]);
            let screen = drawn(&mut model, width, height);
            assert!(!screen.contains('\x1b'), "{screen}");
            golden(&format!("{name}.{width}"), &screen);
        }
    }
    let mut model = model();
    look(&mut model, &alert);
    press(&mut model, "l");
    look(&mut model, &alert);
    assert!(drawn(&mut model, 80, 24).contains("nothing is reserved, and nobody waits for room"));
    press(&mut model, "\x1b");
    assert!(!model.wish().reservations, "it is not asked for any more");
}

#[test]
fn every_pane_is_drawn_at_every_size() {
    let mut player = player("everything");
    player.forward(u64::MAX).unwrap();
    let sizes = (1..=12).flat_map(|width| (1..=12).map(move |height| (width, height)));
    let more = [(20, 1), (1, 80), (40, 16), (79, 23), (80, 24), (120, 30), (160, 40), (300, 80)];
    let sizes: Vec<(u16, u16)> = sizes.chain(more).collect();
    for keys in ["", "t", "/x", "\n", "i", "a", "l", "e", "?", "G", "zG"] {
        // One model through all sizes, as a terminal that is resized, and back.
        let mut model = model();
        drawn(&mut model, 1, 1);
        look(&mut model, &player);
        press(&mut model, keys);
        look(&mut model, &player);
        for (width, height) in sizes.iter().chain(sizes.iter().rev()) {
            drawn(&mut model, *width, *height);
            for code in [KeyCode::PageDown, KeyCode::Up, KeyCode::End] {
                key(&mut model, KeyEvent::from(code));
            }
            drawn(&mut model, *width, *height);
            let kind = MouseEventKind::Down(MouseButton::Left);
            let at = MouseEvent { kind, column: width / 2, row: height / 2, modifiers: KeyModifiers::NONE };
            mouse(&mut model, MouseEvent { kind: MouseEventKind::ScrollUp, ..at });
        }
    }
}

#[test]
fn names_that_would_do_harm_are_drawn_harmlessly() {
    let names = [
        "/a\x1b[2J\x1b]0;x\x07",
        "/b\u{202e}evil",
        "/c\r\n\t\0",
        &format!("/{}", "长".repeat(4000)),
        "/e\u{301}\u{200d}",
    ];
    let workload = |name: &&str| Figures {
        workload: (*name).to_owned(),
        cgroup: (*name).to_owned(),
        kind: "\x1b[31m".to_owned(),
        memory_bytes: Some(u64::MAX),
        memory_limit_bytes: Some(1),
        cpu_seconds: Some(f64::MAX),
        ..Figures::default()
    };
    let workloads = Summary { time: 2, measured: Some(2), workloads: names.iter().map(workload).collect() };
    let mut answers =
        Answers { before: Some(Summary { measured: Some(1), ..workloads.clone() }), workloads, ..Answers::default() };
    answers.status.reasons = names.map(str::to_owned).to_vec();
    for keys in ["", "t", "\n", "↓\n", "/\x1b[\n"] {
        let mut model = model();
        model.host = names[0].to_owned();
        model.hear(News::Answers(Box::new(answers.clone())));
        drawn(&mut model, 80, 24);
        press(&mut model, keys);
        let mut bytes = Vec::new();
        Screen::kept(&mut bytes, 80, 24).draw(|frame| draw(frame, &model)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let harmful = ["\x1b[2J", "\x1b]", "\x07", "\u{202e}", "\t", "\0", "\u{301}", "\u{200d}", "\r"];
        assert!(!harmful.iter().any(|it| text.contains(it)), "{keys:?}: {text:?}");
        let screen = drawn(&mut model, 80, 24);
        assert!(screen.contains(r"\x1b[2J"), "{keys:?}: {screen}");
    }
}

#[test]
fn a_minute_of_frames_sends_little() {
    let mut player = player("alert");
    let (mut model, mut bytes) = (model(), Vec::new());
    let mut screen = Screen::kept(&mut bytes, 80, 24);
    let mut ticks = 0;
    for pane in ["", "\n", "\x1b", "t", "a", "\x1b"] {
        press(&mut model, pane);
        for _ in 0..20 {
            look(&mut model, &player);
            let hits = screen.draw(|frame| draw(frame, &model)).unwrap();
            model.drawn(hits);
            player.forward(1).unwrap();
            ticks += 1;
        }
    }
    drop(screen);
    let (total, ticks) = (bytes.len(), ticks);
    assert!(total > 4000, "{total} bytes");
    assert!(
        total / ticks < 20_000 / 4,
        "{total} bytes in {ticks} frames; a recording shows four frames a second at most"
    );
}

#[test]
fn an_agent_that_is_gone_is_said_and_the_figures_stay() {
    let mut model = model();
    let silence = |kind, seconds| {
        let why = "no agent answers at /run/headroom.sock".to_owned();
        News::Silent(Silence { kind, why, lasting: std::time::Duration::from_secs(seconds) })
    };
    model.hear(silence(Kind::Absent, 3));
    let screen = drawn(&mut model, 100, 24);
    assert!(screen.contains("no agent (trying again): no agent answers at /run/headroom.sock"), "{screen}");
    let mut player = player("oom");
    player.forward(9).unwrap();
    look(&mut model, &player);
    assert!(!drawn(&mut model, 100, 24).contains("no agent answers"));
    model.hear(silence(Kind::Failing, 7));
    let screen = drawn(&mut model, 100, 24);
    assert!(screen.contains("does not answer (trying again, figures are 7 s old)"), "{screen}");
    assert!(screen.contains("MEMORY"), "{screen}");
    look(&mut model, &player);
    if let Some(answers) = &mut model.answers {
        answers.status.started -= 1;
    }
    look(&mut model, &player);
    assert!(drawn(&mut model, 100, 24).contains("the agent restarted"));
}

#[test]
fn keys_and_the_mouse_do_what_the_help_says() {
    let mut player = player("name");
    player.forward(u64::MAX).unwrap();
    let mut model = model();
    look(&mut model, &player);
    press(&mut model, "z");
    drawn(&mut model, 160, 40);
    let names = |model: &Model| model.rows().iter().map(|row| row.name().to_owned()).collect::<Vec<_>>();
    let all = names(&model);
    press(&mut model, "<r");
    assert!(names(&model).is_sorted_by(|one, other| one >= other));
    press(&mut model, ">/OLLAMA");
    assert!(drawn(&mut model, 160, 40).contains("filter: OLLAMA_"));
    assert!(names(&model).iter().all(|name| name.to_lowercase().contains("ollama")) && !names(&model).is_empty());
    press(&mut model, "\n");
    assert!(!model.typing && !names(&model).is_empty());
    assert_eq!(press(&mut model, "\x1b"), None);
    assert_eq!(names(&model), all, "Esc removes the filter");
    drawn(&mut model, 160, 40);
    let by = |model: &Model| model.order.by;
    press(&mut model, ">");
    assert_eq!(by(&model), Column::Limit);
    press(&mut model, "<");
    assert_eq!(by(&model), Column::Memory);
    drawn(&mut model, 160, 40);
    let (head, _) = *model.hits.heads.iter().find(|(_, column)| *column == Column::Cpu).unwrap();
    let click = |model: &mut Model, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        mouse(model, MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    };
    click(&mut model, head.x, head.y);
    assert_eq!(by(&model), Column::Cpu);
    drawn(&mut model, 160, 40);
    let (second, y) = (names(&model)[1].clone(), model.hits.rows.y + 1);
    click(&mut model, 3, y);
    assert_eq!((model.chosen.as_ref(), &model.open().pane), (Some(&second), &Pane::Table));
    click(&mut model, 3, y);
    assert_eq!(model.open().pane, Pane::Workload(second.clone()));
    assert_eq!(model.wish().workload, Some(second));
    assert_eq!(press(&mut model, "q"), None, "back");
    assert_eq!(press(&mut model, " "), None, "there is nothing to pause");
    assert_eq!(press(&mut model, "q"), Some(Request::Quit));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(key(&mut model, interrupt), Some(Request::Quit));
}
