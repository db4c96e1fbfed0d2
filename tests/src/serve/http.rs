//! [`Server`]: answers GETs over HTTP/1.1, keeps what it was asked, and treats who asks as its [`Manner`] says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::statistic::model::Kind;
use serde_json::json;

use super::exposition;
use super::llama;
use super::manner::Manner;
use super::number::Numbers;
use crate::agent::PATIENCE;

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    pub path: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
}

/// A stand-in that listens. When dropped, it stops.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    kind: Kind,
    /// Without `--metrics`, or whatever that is for this server.
    silent: AtomicBool,
    numbers: Mutex<Numbers>,
    manner: Mutex<Manner>,
    asked: Mutex<Vec<Asked>>,
    open: AtomicBool,
    /// Called for each request.
    tell: Box<dyn Fn(&Asked) + Send + Sync>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// On a free port of loopback.
    pub fn start(kind: Kind) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), kind, |_| {})
    }

    /// Takes over a listening socket, and tells of each request.
    pub fn on(listener: TcpListener, kind: Kind, tell: impl Fn(&Asked) + Send + Sync + 'static) -> Server {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kind,
            silent: false.into(),
            numbers: Mutex::default(),
            manner: Mutex::default(),
            asked: Mutex::default(),
            open: true.into(),
            tell: Box::new(tell),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !serving.open.load(Ordering::SeqCst) {
                    break;
                }
                let (serving, Ok(stream)) = (serving.clone(), stream) else { continue };
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Server { address, shared }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it tells.
    pub fn change(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut lock(&self.shared.numbers));
    }

    pub fn numbers(&self) -> Numbers {
        lock(&self.shared.numbers).clone()
    }

    /// It answers like this from now on.
    pub fn manner(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// It tells no metrics, as one that was started without them.
    pub fn silence(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// Waits until it was asked this path so many times.
    pub fn await_asked(&self, path: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.asked().iter().filter(|asked| asked.path == path).count() < times {
            assert!(Instant::now() < deadline, "not asked for {path} {times} times, but {:?}", self.asked());
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.open.store(false, Ordering::SeqCst);
        // Wakes the listener, which then exits and releases the address.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        // A connection may carry several requests.
        while self.exchange(&mut stream).is_some() {
            if !self.open.load(Ordering::SeqCst) {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn exchange(&self, stream: &mut TcpStream) -> Option<()> {
        let asked = read(stream)?;
        (self.tell)(&asked);
        lock(&self.asked).push(asked.clone());
        let manner = lock(&self.manner).clone();
        let whole = |status: u16, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status} So\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        let answer = match &manner {
            Manner::Hang => {
                // Until the client gives up.
                let _ = stream.read(&mut [0; 64]);
                return None;
            }
            Manner::Drip => {
                stream.write_all(b"HTTP/1.1 200 So\r\nContent-Length: 1000000\r\n\r\n").ok()?;
                while self.open.load(Ordering::SeqCst) {
                    stream.write_all(b"#").ok()?;
                    sleep(Duration::from_millis(100));
                }
                return None;
            }
            Manner::Megabytes(count) => {
                let line = format!("# {}\n", "x".repeat(1021));
                let length = count * 1024 * line.len() as u64;
                stream.write_all(format!("HTTP/1.1 200 So\r\nContent-Length: {length}\r\n\r\n").as_bytes()).ok()?;
                (0..count * 1024).try_for_each(|_| stream.write_all(line.as_bytes())).ok()?;
                return Some(());
            }
            Manner::Redirect(url) => {
                format!("HTTP/1.1 307 There\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n")
            }
            Manner::Status(status) => whole(*status, "why"),
            Manner::Close => return None,
            Manner::Other => {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
                return None;
            }
            Manner::Token(token) if asked.authorization.as_deref() != Some(&*format!("Bearer {token}")) => {
                whole(401, "{\"error\":{\"code\":401}}")
            }
            Manner::Half => {
                let (status, body) = self.answer(&asked, &manner);
                let text = whole(status, &body);
                let _ = stream.write_all(&text.as_bytes()[..text.len() - body.len() / 2]);
                return None;
            }
            Manner::Well | Manner::NotNumbers | Manner::Negative | Manner::Token(_) => {
                let (status, body) = self.answer(&asked, &manner);
                whole(status, &body)
            }
        };
        stream.write_all(answer.as_bytes()).ok()?;
        stream.flush().ok()
    }

    fn answer(&self, asked: &Asked, manner: &Manner) -> (u16, String) {
        let mut numbers = lock(&self.numbers);
        let silent = self.silent.load(Ordering::SeqCst);
        let llama = matches!(self.kind, Kind::LlamaCpp | Kind::LlamaRouter);
        if llama && numbers.loading {
            return (503, "{\"error\":{\"code\":503,\"message\":\"Loading model\"}}".to_owned());
        }
        if asked.method != "GET" {
            return (405, String::new());
        }
        let json = match (asked.path.as_str(), self.kind) {
            ("/metrics", Kind::LlamaCpp) if silent => return (501, "{\"error\":{\"code\":501}}".to_owned()),
            ("/metrics", Kind::LlamaRouter) => {
                return (400, "{\"error\":{\"message\":\"model name is missing\"}}".to_owned());
            }
            ("/metrics", kind) if !silent => match exposition::metrics(kind, &numbers, manner) {
                Some(text) => return (200, text),
                None => return (404, "not found".to_owned()),
            },
            ("/props", Kind::LlamaCpp) => llama::props(&numbers, !silent),
            ("/props", Kind::LlamaRouter) => json!({"role": "router", "max_instances": 2, "models_autoload": true}),
            ("/slots", Kind::LlamaCpp) => {
                if std::mem::take(&mut numbers.asleep) {
                    // As llama-server does.
                    numbers.woken += 1;
                }
                llama::slots(&numbers)
            }
            ("/models", Kind::LlamaCpp) => llama::models(&numbers),
            ("/models", Kind::LlamaRouter) => llama::routed(&numbers),
            ("/api/ps", Kind::Ollama) => json!({"models": [{
                "name": numbers.model, "model": numbers.model, "size": numbers.weights + numbers.pinned, "size_vram": numbers.weights,
            }]}),
            ("/info", Kind::Tgi | Kind::Tei) => json!({"model_id": numbers.model}),
            ("/v1/loads?include=core,memory,queues", Kind::Sglang) => json!({"version": "0.5.23", "loads": [{
                "dp_rank": 0, "num_running_reqs": numbers.running, "num_waiting_reqs": numbers.waiting, "token_usage": numbers.kv,
                "max_total_num_tokens": numbers.kv_tokens, "max_running_requests": numbers.slots,
            }]}),
            _ => return (404, "{\"detail\":\"Not Found\"}".to_owned()),
        };
        (200, json.to_string())
    }
}

/// The head of a request; `None` if the connection ends.
fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&bytes);
    let (method, rest) = text.split_once(' ')?;
    let mut headers = text.lines().filter_map(|line| line.split_once(": "));
    let authorization =
        headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value.to_owned());
    Some(Asked { method: method.to_owned(), path: rest.split(' ').next()?.to_owned(), authorization })
}
