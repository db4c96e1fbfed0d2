//! What guard and wait ask an agent for, and what they do with its answers: against a stand-in on a socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use collector_tests::scratch::{Scratch, scratch};
use serde_json::{Value, json};

use super::{at, code, err, out};

/// A request to the stand-in.
#[derive(Clone, Debug)]
struct Request {
    /// `POST /api/v1/reservations`.
    line: String,
    body: Value,
    /// Who asks.
    peer: i32,
}

/// What it answers: status and body. No answer is an agent that dies.
type Answer = Option<(u16, Value)>;

struct Agent {
    folder: Scratch,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Agent {
    /// Answers each request, which comes with its number among those with the same line.
    fn start(mut answer: impl FnMut(&Request, usize) -> Answer + Send + 'static) -> Agent {
        let folder = scratch();
        let listener = UnixListener::bind(folder.join("socket")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let seen = requests.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                let number = seen.lock().unwrap().iter().filter(|before| before.line == request.line).count();
                seen.lock().unwrap().push(request.clone());
                if let Some((status, body)) = answer(&request, number) {
                    let body = body.to_string();
                    let head =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    let _ = stream.write_all((head + &body).as_bytes());
                }
            }
        });
        Agent { folder, requests }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Method and path of each request so far.
    fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }

    fn bodies(&self, line: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.line == line).map(|request| request.body.clone()).collect()
    }
}

fn read(stream: &mut UnixStream) -> Request {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).unwrap();
        text += std::str::from_utf8(&part[..count]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) || count == 0 {
            let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            let peer = rustix::net::sockopt::socket_peercred(&*stream).unwrap().pid.as_raw_nonzero().get();
            return Request { line, body: serde_json::from_str(body).unwrap_or_default(), peer };
        }
    }
}

const CLAIM: &str = "POST /api/v1/reservations";
const OWNER: &str = "POST /api/v1/reservations/7/owner";
const RELEASE: &str = "DELETE /api/v1/reservations/7";
const REPORT: &str = "POST /api/v1/circuits";

fn verdict(word: &str) -> Value {
    json!({ "verdict": word, "reason": format!("because of {word}"), "resources": [], "room": [{ "kind": "use", "origin": "measured", "sentence": "end something" }] })
}

/// To the process that asks.
fn granted(request: &Request) -> Answer {
    let owner = json!({ "process": { "pid": request.peer, "started": 2 } });
    Some((201, json!({ "id": 7, "gpus": ["1"], "owner": owner, "verdict": verdict("yes") })))
}

fn refused(word: &str) -> Answer {
    let detail = format!("because of {word}");
    Some((
        409,
        json!({ "type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "verdict": verdict(word) }),
    ))
}

/// An agent that grants everything.
fn generous() -> Agent {
    Agent::start(|request, _| match request.line.as_str() {
        CLAIM => granted(request),
        OWNER | RELEASE | REPORT => Some((200, json!({}))),
        _ => Some((200, json!({ "time": 0, "incidents": [], "left_out": 0, "units": [] }))),
    })
}

#[test]
fn a_claim_a_new_owner_a_report_and_a_release_in_this_order() {
    let agent = generous();
    let script = "echo $$ $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER; exit 3";
    let arguments = ["--memory", "1G", "--priority", "high", "--unit", "mine", "--", "sh", "-c", script];
    let output = at(&agent.socket(), "guard", &arguments).env_remove("CUDA_VISIBLE_DEVICES").output().unwrap();
    assert_eq!(code(&output), 3, "{}", err(&output));
    assert_eq!(agent.lines(), [CLAIM, OWNER, REPORT, RELEASE]);
    let claim = &agent.bodies(CLAIM)[0];
    assert_eq!((&claim["unit"], &claim["priority"], &claim["wait_seconds"]), (&json!("mine"), &json!(3), &Value::Null));
    assert_eq!(claim["need"]["parts"][0]["amount"], 1 << 30);
    let (pid, gpus) = out(&output).trim().split_once(' ').unwrap();
    assert_eq!(gpus, "1 PCI_BUS_ID", "the command has the GPU that was chosen");
    assert_eq!(agent.bodies(OWNER), [json!({ "pid": pid.parse::<u32>().unwrap() })], "the command is the owner");
    assert_eq!(agent.bodies(REPORT), [json!({ "unit": "mine", "cause": { "exit": 3 }, "reservation": 7 })]);
}

#[test]
fn an_agent_with_other_pids_is_told_none() {
    let agent = Agent::start(|request, _| match request.line.as_str() {
        CLAIM => granted(&Request { peer: request.peer + 1, ..request.clone() }),
        _ => Some((200, json!({}))),
    });
    let output = at(&agent.socket(), "guard", &["--memory", "1G", "true"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(agent.lines(), [CLAIM, REPORT, RELEASE]);
}

#[test]
fn a_lease_that_ended_with_its_owner_is_released() {
    let problem = |status: u16| json!({ "type": "about:blank", "title": "t", "status": status, "detail": "no lease" });
    for (status, says) in [(404, false), (403, true)] {
        let agent = Agent::start(move |request, _| match request.line.as_str() {
            CLAIM => granted(request),
            RELEASE => Some((status, problem(status))),
            _ => Some((200, json!({}))),
        });
        let output = at(&agent.socket(), "guard", &["--memory", "1G", "true"]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", err(&output));
        assert_eq!(err(&output).contains("could not release"), says, "{status}: {}", err(&output));
    }
}

#[test]
fn how_a_command_ended_is_reported_by_its_cause() {
    for (script, expected) in [
        ("exit 0", json!({ "unit": "sh", "reservation": 7 })),
        ("kill -11 $$", json!({ "unit": "sh", "cause": { "signal": 11 }, "reservation": 7 })),
    ] {
        let agent = generous();
        at(&agent.socket(), "guard", &["--memory", "1G", "--", "sh", "-c", script]).output().unwrap();
        assert_eq!(agent.bodies(REPORT), [expected], "{script}");
    }
}

#[test]
fn the_gpus_that_the_caller_allows_are_those_that_are_asked_for() {
    let agent = generous();
    let arguments = ["--vram", "1G", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"];
    let output = at(&agent.socket(), "guard", &arguments).env("CUDA_VISIBLE_DEVICES", "2,3").output().unwrap();
    assert_eq!(out(&output), "2,3\n");
    assert_eq!(agent.bodies(CLAIM)[0]["gpus"], json!(["2", "3"]));
}

#[test]
fn no_room_is_124_and_not_to_know_is_125_and_nothing_runs() {
    for (word, guard, wait) in [("wait", 124, 21), ("no", 124, 22), ("unknown", 125, 23)] {
        let agent = Agent::start(move |_, _| refused(word));
        let output = at(&agent.socket(), "guard", &["--memory", "1G", "echo", "ran"]).output().unwrap();
        assert_eq!((code(&output), out(&output)), (guard, ""), "{word}: {}", err(&output));
        assert!(err(&output).contains(&format!("{word}: because of {word}")), "{}", err(&output));
        assert!(err(&output).contains("hint: end something"), "{}", err(&output));
        let output = at(&agent.socket(), "wait", &["--timeout", "0s", "--memory", "1G"]).output().unwrap();
        assert_eq!(code(&output), wait, "{word}: {}", err(&output));
        assert_eq!(agent.lines(), [CLAIM, CLAIM], "{word}");
    }
}

#[test]
fn an_agent_that_restarts_while_somebody_waits_is_asked_again_with_the_same_key() {
    let agent = Agent::start(|request, number| match (request.line.as_str(), number) {
        (CLAIM, 0) => refused("wait"),
        (CLAIM, 1 | 2) => None,
        (CLAIM, 3) => Some((503, json!({}))),
        (CLAIM, _) => granted(request),
        _ => Some((200, json!({}))),
    });
    let output = at(&agent.socket(), "guard", &["--wait", "10m", "--memory", "1G", "echo", "ran"]).output().unwrap();
    assert_eq!((code(&output), out(&output)), (0, "ran\n"), "{}", err(&output));
    assert!(err(&output).contains("waiting for room: because of wait"), "{}", err(&output));
    let claims = agent.bodies(CLAIM);
    assert_eq!(claims.len(), 5);
    assert!(claims.iter().all(|claim| claim["key"].is_string() && claim["key"] == claims[0]["key"]), "{claims:?}");
    assert_eq!(claims[0]["wait_seconds"], Value::Null);
    assert!(
        claims[1..].iter().all(|claim| (500..=600).contains(&claim["wait_seconds"].as_u64().unwrap())),
        "{claims:?}"
    );
}

#[test]
fn who_waits_and_finds_none_in_time_says_so() {
    let agent = Agent::start(|_, _| refused("wait"));
    let output = at(&agent.socket(), "guard", &["--wait", "300ms", "--memory", "1G", "echo", "ran"]).output().unwrap();
    assert_eq!((code(&output), out(&output)), (124, ""), "{}", err(&output));
    assert!(agent.lines().len() > 1);
}

#[test]
fn who_asks_for_too_much_at_once_is_heard_later() {
    let busy = || Some((429, json!({ "type": "about:blank", "title": "T", "status": 429, "detail": "too many wait" })));
    let agent = Agent::start(move |request, number| match (request.line.as_str(), number) {
        (CLAIM, 0..3) => busy(),
        (CLAIM, _) => granted(request),
        _ => Some((200, json!({}))),
    });
    let output = at(&agent.socket(), "guard", &["--memory", "1G", "echo", "ran"]).output().unwrap();
    assert_eq!((code(&output), out(&output)), (124, ""), "{}", err(&output));
    assert!(err(&output).contains("too many wait"), "{}", err(&output));
    let output = at(&agent.socket(), "guard", &["--wait", "10m", "--memory", "1G", "echo", "ran"]).output().unwrap();
    assert_eq!((code(&output), out(&output)), (0, "ran\n"), "{}", err(&output));
}

#[test]
fn wait_gives_back_what_it_got_and_keeps_to_strict() {
    let agent = generous();
    let output = at(&agent.socket(), "wait", &["--memory", "1G"]).output().unwrap();
    assert_eq!((code(&output), out(&output), err(&output)), (0, "", ""));
    assert_eq!(agent.lines(), [CLAIM, RELEASE]);
    let tight = || {
        Agent::start(|request, _| match request.line.as_str() {
            CLAIM => granted(request).map(|(status, mut body)| {
                body["verdict"] = verdict("tight");
                (status, body)
            }),
            _ => Some((200, json!({}))),
        })
    };
    for (arguments, verb, expected) in [
        (&["--memory", "1G"][..], "wait", 0),
        (&["--strict", "--memory", "1G"], "wait", 20),
        (&["--memory", "1G", "true"], "guard", 0),
        (&["--strict", "--memory", "1G", "true"], "guard", 124),
    ] {
        let agent = tight();
        let output = at(&agent.socket(), verb, arguments).output().unwrap();
        assert_eq!(code(&output), expected, "{verb} {arguments:?}: {}", err(&output));
        assert_eq!(agent.lines().last().map(String::as_str), Some(RELEASE), "{verb} {arguments:?}");
    }
}

#[test]
fn an_agent_without_leases_counts_as_none_and_a_wrong_claim_is_an_error() {
    for (status, expected, says) in
        [(404, 0, "warning"), (405, 0, "warning"), (500, 0, "warning"), (400, 125, "refuses")]
    {
        let problem = json!({ "type": "about:blank", "title": "T", "status": status, "detail": "not here" });
        let agent = Agent::start(move |_, _| Some((status, problem.clone())));
        let output = at(&agent.socket(), "guard", &["--memory", "1G", "true"]).output().unwrap();
        assert_eq!(code(&output), expected, "{status}: {}", err(&output));
        assert!(err(&output).contains(says) && err(&output).contains("not here"), "{status}: {}", err(&output));
    }
}

#[test]
fn status_lists_the_units_of_the_agent() {
    let unit = json!({ "unit": "bad", "uid": 0, "state": "open", "starts": 3, "causes": [
        { "cause": "oom", "state": "open", "failed_seconds_ago": 10, "open_seconds": 50, "opened": 1 },
    ] });
    let body = json!({ "time": 0, "units": [unit] });
    let agent = Agent::start(move |_, _| Some((200, body.clone())));
    let output = at(&agent.socket(), "guard", &["--status"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("OOM kill 10 s ago, may start in 50 s"), "{}", out(&output));
    let output = at(&agent.socket(), "guard", &["--status", "--json"]).output().unwrap();
    let json: Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!(json["units"][0]["causes"][0]["cause"], "oom");
}
