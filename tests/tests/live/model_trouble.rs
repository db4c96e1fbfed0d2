//! Model servers that hang, lie, break off or speak something else: each costs itself alone, and what is told of it says why.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use collector_core::sample::Reading;
use collector_core::statistic::model::Statistic::RequestsRunning;
use collector_core::statistic::model::{self, Kind, State};
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::serve::{Manner, Process, Server};

const SERVE: &str = env!("CARGO_BIN_EXE_serve");
const CONFIG: &str = "tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n";

/// Waits until something is told of a server.
fn told(agent: &Agent, name: &str, wanted: impl Fn(&model::Reading) -> bool) -> model::Reading {
    let begun = Instant::now();
    loop {
        let last = readings(agent, name).pop();
        if let Some(reading) = last.as_ref().filter(|reading| wanted(reading)) {
            return reading.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {last:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn readings(agent: &Agent, name: &str) -> Vec<model::Reading> {
    let told = agent.samples().into_iter().filter_map(|sample| match sample.reading {
        Reading::Model(reading) if &*reading.server.name == name => Some(reading),
        _ => None,
    });
    told.collect()
}

fn is(reading: &model::Reading, state: State) -> bool {
    reading.answer.as_ref().is_some_and(|answer| answer.state == state)
}

fn running(reading: &model::Reading) -> Option<u64> {
    let [model] = &reading.answer.as_ref()?.models[..] else { return None };
    model.values.get(RequestsRunning)
}

/// Each, with what is said of it: by a server that is found, and by one that is configured, whose library has words of its own.
fn manners(elsewhere: &str) -> [(Manner, &'static str, &'static str); 8] {
    [
        (Manner::Hang, "no whole answer within 2s", "no whole answer within 2s"),
        (Manner::Drip, "no whole answer within 2s", "no whole answer within 2s"),
        (Manner::Megabytes(8), "more than 4 MiB", "more than 4 MiB"),
        (Manner::Redirect(elsewhere.to_owned()), "redirects to another place", "redirects to another place"),
        (Manner::Status(500), "500", "500"),
        (Manner::Close, "closed the connection", ""),
        (Manner::Half, "ends in the middle", ""),
        (Manner::Other, "does not answer with HTTP", ""),
    ]
}

#[test]
fn a_server_that_misbehaves_costs_itself_alone() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    let agent = Agent::start(CONFIG);
    // Where a redirection leads: nobody may come.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/metrics", elsewhere.local_addr().unwrap());
    let mut good = Process::start(SERVE, &folder, Kind::Vllm, &[], None);
    let mut bad: Vec<(Process, &str)> = Vec::new();
    for (manner, why, _) in manners(&url) {
        let mut server = Process::start(SERVE, &folder, Kind::Vllm, &[], None);
        server.manner(&manner);
        bad.push((server, why));
    }
    let name = |server: &Process| format!("vllm:{}", server.port);
    for (server, why) in &bad {
        let said = |reading: &model::Reading| {
            let answer = reading.answer.as_ref();
            answer.is_some_and(|it| it.state == State::Failed && it.why.as_deref().is_some_and(|it| it.contains(why)))
        };
        told(&agent, &name(server), said);
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a redirection was followed");
    for count in [7, 3] {
        good.change(&[&format!("running {count}")]);
        told(&agent, &name(&good), |reading| running(reading) == Some(count));
    }
    assert!(readings(&agent, &name(&good)).iter().all(|reading| is(reading, State::Up)), "others delayed it");
    // Numbers that are none are absent, and the rest of the answer is not lost.
    for manner in [Manner::NotNumbers, Manner::Negative] {
        good.manner(&manner);
        told(&agent, &name(&good), |reading| is(reading, State::Up) && running(reading).is_none());
    }
    // What behaves again is as before.
    for (server, _) in &mut bad {
        server.manner(&Manner::Well);
        server.change(&["running 5"]);
    }
    for (server, _) in &bad {
        told(&agent, &name(server), |reading| is(reading, State::Up) && running(reading) == Some(5));
    }
    let names: Vec<String> = bad.iter().map(|(server, _)| name(server)).collect();
    drop(bad);
    for name in names {
        told(&agent, &name, |reading| reading.answer.is_none());
    }
}

#[test]
fn a_configured_server_that_misbehaves_costs_itself_alone_and_a_token_goes_to_its_own() {
    needs!(is_root(), "cgroups and programs need root");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/metrics", elsewhere.local_addr().unwrap());
    let folder = scratch();
    let token = folder.join("token");
    fs::write(&token, "sk-1\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let [good, locked, shut] = [Kind::Sglang, Kind::Vllm, Kind::Vllm].map(Server::start);
    locked.manner(Manner::Token("sk-1".into()));
    shut.manner(Manner::Token("sk-1".into()));
    let mut config = CONFIG.to_owned();
    let mut add = |server: &Server, more: &str| {
        config += &format!("[[model_server]]\nurl = \"{}\"\n{more}", server.url());
        server.url().trim_start_matches("http://").to_owned()
    };
    let good_name = add(&good, "");
    let locked_name = add(&locked, &format!("kind = \"vllm\"\ntoken_file = {token:?}\n"));
    let shut_name = add(&shut, "kind = \"vllm\"\n");
    let mut bad = Vec::new();
    for (manner, _, why) in manners(&url) {
        let server = Server::start(Kind::Vllm);
        server.manner(manner);
        let name = add(&server, "kind = \"vllm\"\n");
        bad.push((server, name, why));
    }
    let agent = Agent::start(&config);
    let recognised = told(&agent, &good_name, |reading| is(reading, State::Up));
    assert_eq!(recognised.server.kind, Some(Kind::Sglang), "by what it answers");
    told(&agent, &locked_name, |reading| is(reading, State::Up));
    let refused = told(&agent, &shut_name, |reading| reading.answer.is_some());
    assert!(!is(&refused, State::Up), "{refused:?}");
    for (_, name, why) in &bad {
        let said = |reading: &model::Reading| {
            let answer = reading.answer.as_ref();
            answer.is_some_and(|it| it.state == State::Failed && it.why.as_deref().is_some_and(|it| it.contains(why)))
        };
        told(&agent, name, said);
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a redirection was followed");
    good.change(|numbers| numbers.running = 9);
    told(&agent, &good_name, |reading| running(reading) == Some(9));
    assert!(!agent.log().contains("sk-1"));
}
