//! The stand-ins for model servers: what the core asks of each, and makes of the answers, is what the stand-in was told to tell. And each, as
//! a process, is found as what it stands in for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use collector_core::model::{Asker, Process, identify, may_serve};
use collector_core::statistic::model::Statistic::{
    Asleep, GenerateTime, GeneratedTokens, GpuBytes, HostBytes, KvTokens, KvUsed, OffloadBytes, OffloadLoaded,
    OffloadStored, PinnedBytes, Preemptions, PrefixHits, PromptTokens, Requests, RequestsFailed, RequestsRejected,
    RequestsRunning, RequestsWaiting, Slots, WeightBytes,
};
use collector_core::statistic::model::{Answer, Kind, Stage, State, Statistic};
use collector_tests::agent::PATIENCE;
use collector_tests::scratch::scratch;
use collector_tests::serve::{Manner, Numbers, Process as Standing, Server};

/// `GET`: status and body; an error if there is no whole answer.
fn get(address: SocketAddr, path: &str, patience: Duration) -> Result<(u16, Vec<u8>), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(patience)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            let length = length.ok_or("no length")?;
            if bytes.len() >= at + 4 + length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
                return Ok((status, bytes[at + 4..at + 4 + length].to_vec()));
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err("it closed".to_owned()),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// One round.
fn ask(asker: &mut Asker, address: SocketAddr, second: u64) -> Answer {
    ask_within(PATIENCE, asker, address, second)
}

fn ask_within(patience: Duration, asker: &mut Asker, address: SocketAddr, second: u64) -> Answer {
    asker.begin(second * 1_000_000_000);
    while let Some(path) = asker.next() {
        match get(address, path, patience) {
            Ok((status, body)) => asker.got(status, &body),
            Err(why) => asker.failed(&why),
        }
    }
    asker.finish(1)
}

fn numbers(numbers: &mut Numbers) {
    numbers.model = "someone/the-model".to_owned();
    for (count, value) in [
        (&mut numbers.running, 2),
        (&mut numbers.waiting, 3),
        (&mut numbers.requests, 100),
        (&mut numbers.rejected, 4),
        (&mut numbers.failed, 5),
        (&mut numbers.preemptions, 6),
        (&mut numbers.prompt_tokens, 7000),
        (&mut numbers.generated_tokens, 8000),
        (&mut numbers.prefix_hits, 900),
        (&mut numbers.offload_bytes, 1 << 30),
        (&mut numbers.offload_stored, 10_000),
        (&mut numbers.offload_loaded, 11_000),
        (&mut numbers.pinned, 12_000),
    ] {
        *count = value;
    }
    (numbers.kv, numbers.generate_seconds) = (0.75, 16.5);
    for stage in Stage::ALL {
        numbers.observe(stage, 0.2, 90);
        numbers.observe(stage, 3.0, 10);
    }
}

/// What a server of each kind tells of these numbers.
fn told(kind: Kind) -> Vec<(Statistic, u64)> {
    let requests = [(RequestsWaiting, 3), (Requests, 100)];
    let working = [(RequestsRunning, 2), (PromptTokens, 7000), (GeneratedTokens, 8000), (KvUsed, 750_000)];
    let more: &[(Statistic, u64)] = match kind {
        Kind::Vllm => &[
            (Preemptions, 6),
            (RequestsRejected, 4),
            (RequestsFailed, 5),
            (OffloadBytes, 1 << 30),
            (OffloadStored, 10_000),
            (OffloadLoaded, 11_000),
            (KvTokens, 4096),
            (Asleep, 0),
        ],
        Kind::Sglang => &[(PrefixHits, 900), (OffloadStored, 10_000), (WeightBytes, 1 << 30)],
        Kind::LlamaCpp => {
            return [
                &working[..],
                &[
                    (RequestsWaiting, 3),
                    (GenerateTime, 16_500_000_000),
                    (KvTokens, 4096),
                    (Slots, 2),
                    (WeightBytes, 1 << 30),
                ],
            ]
            .concat();
        }
        Kind::LlamaRouter => return vec![(Asleep, 0)],
        Kind::Ollama => return vec![(GpuBytes, 1 << 30), (HostBytes, 12_000)],
        Kind::Tgi => &[(RequestsRejected, 4), (RequestsFailed, 5), (KvTokens, 4096)],
        Kind::Tei => return [&requests[..], &[(RequestsRejected, 4)]].concat(),
        Kind::Triton => {
            return [&requests[..], &[(RequestsRejected, 4), (RequestsFailed, 5), (PinnedBytes, 12_000)]].concat();
        }
        Kind::Lmdeploy => &[(RequestsFailed, 5)],
    };
    [&requests[..], &working, more].concat()
}

#[test]
fn what_a_server_tells_is_what_is_understood() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        server.change(numbers);
        for mut asker in [Asker::configured(Some(kind)), Asker::configured(None)] {
            let answer = ask(&mut asker, server.address, 0);
            assert_eq!((asker.kind(), answer.state), (Some(kind), State::Up), "{kind:?}: {answer:?}");
            let answer = ask(&mut asker, server.address, 5);
            let [model] = &answer.models[..] else { panic!("{answer:?}") };
            assert_eq!(&*model.name, "the-model", "{kind:?}");
            for (statistic, value) in told(kind) {
                assert_eq!(model.values.get(statistic), Some(value), "{kind:?} {statistic:?}");
            }
            let count =
                |stage| model.latency.iter().find(|latency| latency.stage == stage).map(|latency| latency.count());
            let histograms = matches!(kind, Kind::Vllm | Kind::Sglang | Kind::Lmdeploy);
            assert_eq!(Stage::ALL.map(count) == [Some(100); 4], histograms, "{kind:?}");
        }
        let paths: Vec<_> = server.asked().into_iter().map(|asked| (asked.method, asked.path)).collect();
        assert!(paths.iter().all(|(method, path)| method == "GET" && !path.contains("model=")), "{paths:?}");
    }
}

#[test]
fn old_names_are_understood() {
    let server = Server::start(Kind::Vllm);
    server.change(numbers);
    server.change(|numbers| (numbers.old, numbers.prefix_lookups) = (true, 1000));
    let answer = ask(&mut Asker::configured(Some(Kind::Vllm)), server.address, 0);
    let model = &answer.models[0];
    assert_eq!([KvUsed, PrefixHits, Asleep].map(|it| model.values.get(it)), [Some(750_000), Some(900), None]);
    assert_eq!(model.latency.len(), 4);
}

#[test]
fn who_misbehaves_is_told_apart_from_who_has_nothing_to_tell() {
    let server = Server::start(Kind::Vllm);
    server.change(numbers);
    let mut asker = Asker::configured(Some(Kind::Vllm));
    for (manner, state) in [
        (Manner::Hang, State::Failed),
        (Manner::Close, State::Failed),
        (Manner::Half, State::Failed),
        (Manner::Other, State::Failed),
        (Manner::Redirect("http://127.0.0.1:1/".to_owned()), State::Failed),
        (Manner::Status(500), State::Failed),
        (Manner::Token("x".to_owned()), State::Silent),
        (Manner::Megabytes(1), State::Silent),
        (Manner::Well, State::Up),
    ] {
        server.manner(manner.clone());
        // Nothing else is slow by design.
        let patience = if manner == Manner::Hang { Duration::from_secs(1) } else { PATIENCE };
        let answer = ask_within(patience, &mut asker, server.address, 0);
        assert_eq!((answer.state, answer.why.is_some()), (state, state != State::Up), "{manner:?}: {answer:?}");
    }
    for manner in [Manner::NotNumbers, Manner::Negative] {
        server.manner(manner.clone());
        let answer = ask(&mut asker, server.address, 0);
        assert!(
            answer.models.iter().all(|model| model.latency.is_empty() && model.values.get(KvUsed).is_none()),
            "{answer:?}"
        );
    }
}

#[test]
fn who_sleeps_is_not_woken() {
    let server = Server::start(Kind::LlamaCpp);
    server.change(|numbers| numbers.asleep = true);
    let mut asker = Asker::configured(None);
    for second in 0..10 {
        assert_eq!(ask(&mut asker, server.address, second).state, State::Asleep);
    }
    assert_eq!((server.numbers().woken, server.numbers().asleep), (0, true));
    // It can: the stand-in wakes as the real one does.
    get(server.address, "/slots", PATIENCE).unwrap();
    assert_eq!(server.numbers().woken, 1);
}

#[test]
fn each_is_found_as_what_it_stands_in_for() {
    let folder = scratch();
    for kind in Kind::ALL {
        let mut standing = Standing::start(env!("CARGO_BIN_EXE_serve"), &folder, kind, &[], None);
        let read = |file: &str| fs::read(format!("/proc/{}/{file}", standing.pid())).unwrap();
        let comm = read("comm");
        let comm = comm.strip_suffix(b"\n").unwrap();
        assert!(may_serve(comm), "{kind:?}: {}", String::from_utf8_lossy(comm));
        let Some(Process::Server(found)) = identify(comm, &read("cmdline")) else { panic!("{kind:?}") };
        assert_eq!((found.kind, found.port_given), (kind, kind != Kind::Ollama));
        let port = if found.port_given { found.port } else { standing.port };
        let mut asker = Asker::found(&found);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(ask(&mut asker, address, 0).state, State::Up, "{kind:?}");
        standing.change(&["waiting 9", "model a/other"]);
        standing.await_asked(1);
        assert!(standing.asked().iter().all(|asked| asked.starts_with("GET /")), "{:?}", standing.asked());
    }
}
