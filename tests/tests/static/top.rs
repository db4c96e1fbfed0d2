//! `headroom top` in a real terminal, tmux: keys in, screen out; and that the terminal is given back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use std::{env, fs, thread};

use collector_core::api::problem::Problem;
use collector_core::api::read::{ROOT, Route};
use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use collector_core::view::View;
use collector_tests::binary::binary;
use collector_tests::needs;
use collector_tests::require::installed;
use collector_tests::scratch::scratch;
use collector_tests::terminal::{PATIENCE, Terminal};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
/// How a colour begins, and one of them.
const COLOUR: &str = "\x1b[38;5;";
const YELLOW: &str = "\x1b[38;5;3m";

fn replay(name: &str) -> String {
    format!("--replay {FIXTURES}/replay/{name}.jsonl")
}

#[test]
fn a_recording_is_scrubbed_filtered_opened_and_resized() {
    needs!(installed("tmux"), "tmux is not installed");
    let terminal = Terminal::new(80, 24, "NO_COLOR=", &replay("alert"));
    terminal.until(&["playing", "alert.jsonl", "ollama.service"]);
    terminal.keys(&["Space"]);
    terminal.until(&["paused"]);
    terminal.keys(&["[", "["]);
    golden("terminal.80", &terminal.until(&["paused 2 %", "22:13:2"]));
    let before = terminal.screen();
    terminal.keys(&["Right"]);
    let begun = Instant::now();
    while terminal.screen() == before {
        assert!(begun.elapsed() < PATIENCE, "a step shows another moment:\n{before}");
    }
    terminal.keys(&["+", "+"]);
    terminal.until(&["×4"]);
    terminal.keys(&["]", "]", "]", "]", "]"]);
    terminal.until(&["end 100 %"]);
    terminal.keys(&["/", "zzz"]);
    terminal.until(&["filter: zzz_", "no workload has this"]);
    terminal.keys(&["Escape"]);
    terminal.until(&["ollama.service"]);
    terminal.keys(&["Enter"]);
    terminal.until(&["The last five minutes", "some wait for memory", "█"]);
    terminal.tmux(&["resize-window", "-x", "1", "-y", "1"]);
    terminal.keys(&["a"]);
    terminal.tmux(&["resize-window", "-x", "120", "-y", "30"]);
    terminal.until(&["Alerts that fire, the most severe first"]);
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(coloured.contains(YELLOW), "{coloured:?}");
    terminal.keys(&["q", "q", "q"]);
    terminal.assert_given_back();
}

/// The same as `tests/fixtures/top/NAME.txt`; `BLESS=1` rewrites it.
fn golden(name: &str, actual: &str) {
    let path = Path::new(FIXTURES).join(format!("top/{name}.txt"));
    if env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs; BLESS=1 rewrites it\n{actual}", path.display());
}

#[test]
fn an_incident_is_explained_without_colours_and_signals_give_the_terminal_back() {
    needs!(installed("tmux"), "tmux is not installed");
    let terminal = Terminal::new(100, 30, "NO_COLOR=1", &replay("oom"));
    terminal.until(&["end 100 %", "OOM kill"]);
    terminal.keys(&["e"]);
    terminal.until(&["Why", "Next", "Killed"]);
    let screen = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(screen.contains("\x1b[") && !screen.contains(COLOUR), "{screen:?}");
    let pid = rustix::process::Pid::from_raw(terminal.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    terminal.assert_given_back();
    let terminal = Terminal::new(100, 30, "NO_COLOR=1", &replay("oom"));
    terminal.until(&["OOM kill"]);
    terminal.keys(&["C-c"]);
    terminal.assert_given_back();
}

/// What answers in an agent's place, as it is now.
type Answer = Arc<Mutex<Result<Arc<View>, Problem>>>;

/// Answers at this socket as an agent does.
fn serve(socket: &Path, answer: &Answer) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = Arc::clone(answer);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answered = answer.lock().unwrap().clone().and_then(|view| read(&view, path));
            let (status, body) = match answered {
                Ok(body) => (200, body),
                Err(problem) => (problem.status, serde_json::to_vec(&problem).unwrap()),
            };
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = client.write_all(&[head.as_bytes(), &body].concat());
        }
    });
}

fn read(view: &View, path: &str) -> Result<Vec<u8>, Problem> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let found = path.strip_prefix(ROOT).and_then(Route::find);
    let (route, part) = found.ok_or_else(|| Problem::unknown("no such path"))?;
    route.read(part, query)?.answer(view)
}

#[test]
fn an_agent_that_is_absent_forbidden_or_restarted_is_said_and_asked_again() {
    needs!(installed("tmux"), "tmux is not installed");
    let folder = scratch();
    let socket = folder.join("agent.sock");
    let terminal = Terminal::new(120, 30, "NO_COLOR=", &format!("--interval 200ms --socket {}", socket.display()));
    terminal.until(&["no agent (trying again)", "agent.sock"]);
    let answer: Answer = Arc::new(Mutex::new(Err(Problem::new(403, "ask as root"))));
    serve(&socket, &answer);
    terminal.until(&["the agent may not be asked (trying again)", "ask as root"]);
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    for sample in samples(fs::read(format!("{FIXTURES}/replay/gpu.jsonl")).unwrap().as_slice()) {
        engine.apply(&sample.unwrap());
    }
    let view = Arc::clone(engine.view());
    *answer.lock().unwrap() = Ok(Arc::clone(&view));
    let screen = terminal.until(&["H100", "vllm.service", "CRITICAL"]);
    assert!(!screen.contains("trying again"), "{screen}");
    terminal.keys(&["Enter"]);
    terminal.until(&["Workload ollama.service", "no alert about it fires"]);
    terminal.keys(&["Escape", "i", "Enter"]);
    terminal.until(&["Why", "Next"]);
    *answer.lock().unwrap() = Err(Problem::new(503, "the agent starts"));
    terminal.until(&["the agent does not answer (trying again, figures are", "the agent starts"]);
    let mut restarted = View::clone(&view);
    restarted.started += 1;
    *answer.lock().unwrap() = Ok(Arc::new(restarted));
    terminal.until(&["the agent restarted"]);
    terminal.keys(&["q", "q", "q"]);
    terminal.assert_given_back();
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = Command::new(binary()).args(["top", "--config", "/dev/null"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("headroom status"), "{output:?}");
}
