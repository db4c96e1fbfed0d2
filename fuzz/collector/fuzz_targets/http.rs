//! Bytes from a client → the endpoint over a socket, once open to everybody and once with a password. Whatever arrives, each
//! answer is complete and none has an unexpected 5xx status.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use collector::exposition::{self, Cap};
use collector::http::access::Access;
use collector::http::{self, Answer, Door, Exposition, Hosts, Limits, Listener, Pages, Rendering, Snapshot, SnapshotFuture, serve};
use collector_core::engine::Engine;
use collector_core::recording::samples;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

const RECORDING: &[u8] = include_bytes!("../../../tests/fixtures/replay/everything.jsonl");
/// The password of `scraper` is `headroom`.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web.yml");
/// 408 is for slow clients, 503 for too many; the others are the client's mistakes.
const STATUSES: [u16; 11] = [200, 400, 401, 404, 405, 408, 413, 414, 421, 431, 503];

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    runtime: Runtime,
    open: SocketAddr,
    locked: SocketAddr,
}

fuzz_target!(|request: &[u8]| {
    let server = &*SERVER;
    let open = server.runtime.block_on(ask(server.open, request));
    check(request, &open);
    // A new password takes a millisecond to check, so only inputs that send one go to this server.
    if request.windows(6).any(|six| six.eq_ignore_ascii_case(b"basic ")) {
        let locked = server.runtime.block_on(ask(server.locked, request));
        check(request, &locked);
        assert!(status(&locked) != Some(200) || status(&open) == Some(200));
    }
});

impl Server {
    fn start() -> Server {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let begin = |access: Option<&str>| {
            let listener = Listener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).expect("an address");
            let address = listener.tcp().expect("a TCP address");
            let access = Access::open(access.map(Path::new)).expect("terms");
            let exposition = Arc::new(Page(Arc::new(State::new())));
            let never = std::future::pending();
            runtime.spawn(serve(
                vec![Door::Open(listener)],
                access,
                Hosts::new(vec!["x".to_owned()], &[]),
                exposition,
                Limits::default(),
                Default::default(),
                never,
            ));
            address
        };
        let (open, locked) = (begin(None), begin(Some(WEB)));
        Server { runtime, open, locked }
    }
}

/// All bytes until the server closes the connection; nothing if it closes with unread input.
async fn ask(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server still accepts");
    let mut answer = Vec::new();
    let sent = stream.write_all(request).await.and(stream.shutdown().await);
    if sent.is_err() || stream.read_to_end(&mut answer).await.is_err() {
        answer.clear();
    }
    // Without this, ports in TIME_WAIT soon use up the whole range.
    stream.set_zero_linger().expect("a socket lingers as it is told");
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.1 ").or(answer.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

/// The body is as long as the head says, or absent if the request was HEAD.
fn check(request: &[u8], answer: &[u8]) {
    if answer.is_empty() {
        return;
    }
    let shown = || (String::from_utf8_lossy(request).into_owned(), String::from_utf8_lossy(answer).into_owned());
    assert!(status(answer).is_some_and(|status| STATUSES.contains(&status)), "{:?}", shown());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{:?}", shown()));
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_else(|| panic!("{:?}", shown()));
    let body = answer.len() - end - 4;
    assert!(body == length || body == 0, "{:?}", shown());
}

/// The view after a recording.
struct State {
    engine: Engine,
    pages: Arc<Pages>,
}

impl State {
    fn new() -> State {
        let mut engine = Engine::new();
        for sample in samples(RECORDING) {
            engine.apply(&sample.expect("a recording of ours"));
        }
        State { engine, pages: Arc::default() }
    }
}

impl Snapshot for State {
    fn render(&self, page: &http::Page) -> Rendering {
        let view = self.engine.view();
        match page {
            http::Page::Metrics(format) => {
                Answer::ok(exposition::render(view, *format, Cap { series: 1000, ..Cap::NONE }).text)
            }
            http::Page::Api(read) => read.answer(view).map_or_else(Answer::from, Answer::ok),
        }
        .into()
    }

    fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }
}

struct Page(Arc<State>);

impl Exposition for Page {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        Box::pin(async { Some(self.0.clone() as Arc<dyn Snapshot>) })
    }

    fn ready(&self) -> Result<(), String> {
        Err("not yet".to_owned())
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}
