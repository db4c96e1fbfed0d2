//! A receiver of alerts on loopback, over plain HTTP/1.1 or TLS. It answers as configured, and stores all requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector::clock;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::agent::PATIENCE;

/// How it answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status 200.
    Accept,
    /// Another status.
    Status(u16),
    /// Status 307 to this URL.
    Redirect(String),
    /// Reads the request, and never answers.
    Hang,
    /// Closes the connection in the middle of the request.
    Close,
    /// Closes the connection in the middle of the answer.
    Half,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was complete, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Method, path and headers, as received.
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the answer was a success.
    pub accepted: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The alerts in a webhook's body.
    pub fn alerts(&self) -> Vec<serde_json::Value> {
        self.json()["alerts"].as_array().cloned().unwrap_or_default()
    }
}

/// A listening receiver. When dropped, it stops listening.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<Request>>,
    open: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl Receiver {
    /// Answers like this until [`Receiver::answer`] changes it.
    pub fn start(answer: Answer) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// Takes over a listening socket.
    pub fn on(listener: TcpListener, answer: Answer) -> Receiver {
        Receiver::serve(listener, answer, None)
    }

    /// Speaks TLS with a self-signed certificate for `localhost`, which is returned as PEM.
    pub fn tls(answer: Answer) -> (Receiver, String) {
        Receiver::certified(answer, "localhost", 4096)
    }

    /// The same with a certificate for this name, valid until the beginning of this year.
    pub fn certified(answer: Answer, name: &str, until: i32) -> (Receiver, String) {
        let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(until, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = wanted.self_signed(&pair).unwrap();
        let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Receiver::serve(listener, answer, Some(Arc::new(config))), made.pem())
    }

    fn serve(listener: TcpListener, answer: Answer, tls: Option<Arc<ServerConfig>>) -> Receiver {
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { answer: Mutex::new(answer), requests: Mutex::default(), open: true.into(), tls });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !serving.open.load(Ordering::SeqCst) {
                    break;
                }
                let (serving, Ok(stream)) = (serving.clone(), stream) else { continue };
                std::thread::spawn(move || serving.answer(stream));
            }
        });
        Receiver { address, shared }
    }

    /// `http://ADDRESS/hook`.
    pub fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}/hook", self.address.port()),
            None => format!("http://{}/hook", self.address),
        }
    }

    /// Answers like this from now on.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ids of all alerts in successful requests of a webhook, in the order of arrival.
    pub fn ids(&self) -> Vec<u64> {
        let accepted = self.requests().into_iter().filter(|request| request.accepted);
        let alerts = accepted.flat_map(|request| request.alerts());
        alerts.map(|alert| alert["id"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Waits until the requests satisfy `done`.
    pub fn until(&self, what: &str, done: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let requests = self.requests();
            if done(&requests) {
                return requests;
            }
            assert!(Instant::now() < deadline, "{what}: {} requests came", requests.len());
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.open.store(false, Ordering::SeqCst);
        // Wakes the listener, which then exits and releases the address.
        let _ = TcpStream::connect(self.address);
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn answer(&self, socket: TcpStream) {
        let _ = socket.set_read_timeout(Some(PATIENCE));
        let Ok(raw) = socket.try_clone() else { return };
        let mut stream: Box<dyn Stream> = match &self.tls {
            Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket)),
            None => Box::new(socket),
        };
        // A connection may carry several requests.
        while self.exchange(&mut *stream).is_some() {}
        let _ = raw.shutdown(Shutdown::Both);
    }

    fn exchange(&self, stream: &mut dyn Stream) -> Option<()> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        let (head, length) = loop {
            let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
                });
                break (head.to_owned(), length.unwrap_or(0));
            }
        };
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if answer == Answer::Close {
            return None;
        }
        let mut body = bytes.split_off(head.len() + 4);
        while body.len() < length {
            let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
            body.extend_from_slice(&chunk[..count]);
        }
        let accepted = answer == Answer::Accept;
        let request = Request { time: clock::unix_ns(), head, body, accepted };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let response = match answer {
            Answer::Accept => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Answer::Status(code) => format!("HTTP/1.1 {code} So\r\nContent-Length: 3\r\n\r\nwhy"),
            Answer::Redirect(url) => format!("HTTP/1.1 307 There\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"),
            Answer::Half => "HTTP/1.1 2".to_owned(),
            Answer::Hang => {
                // Until the client gives up.
                let _ = stream.read(&mut chunk);
                return None;
            }
            Answer::Close => return None,
        };
        stream.write_all(response.as_bytes()).ok()?;
        stream.flush().ok()?;
        (response.len() > 10).then_some(())
    }
}
