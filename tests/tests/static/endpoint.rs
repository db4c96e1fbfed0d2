//! Parts of the endpoint tests: the endpoint on a thread, an exposition, and a client.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use collector::event::Events;
use collector::http::access::Access;
use collector::http::{
    self, Address, Answer, Door, Exposition, Format, Hosts, Limits, Listener, Pages, Rendering, Snapshot,
    SnapshotFuture, Tally, serve,
};
use collector_core::view::View;
use collector_tests::scratch::{Scratch, scratch};
use tokio::sync::oneshot;

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Limits that no test reaches, to be tightened by tests.
pub const LOOSE: Limits = Limits {
    connections: 1024,
    scrapes: 64,
    bodies: usize::MAX,
    queue: PATIENCE,
    head: PATIENCE,
    head_bytes: 16 * 1024,
    response: PATIENCE,
    stall: PATIENCE,
    grace: Duration::from_millis(200),
};

/// One test at a time, since some count this process's memory and descriptors.
static ALONE: Mutex<()> = Mutex::new(());

/// The name of the host in most requests.
const NAME: &str = "x";

/// The endpoint on a thread of its own, with a TCP address and a socket.
pub struct Server {
    pub address: SocketAddr,
    pub tally: Arc<Tally>,
    folder: Scratch,
    stop: Option<oneshot::Sender<()>>,
    pub ended: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    pub fn start(limits: Limits, page: Arc<Page>) -> Server {
        Server::with(Access::open(None).unwrap(), limits, page)
    }

    pub fn with(access: Arc<Access>, limits: Limits, page: Arc<Page>) -> Server {
        Server::behind(Door::Open(Listener::bind(ANY_PORT).unwrap()), access, limits, page)
    }

    /// With this door besides the socket.
    pub fn behind(door: Door, access: Arc<Access>, limits: Limits, page: Arc<Page>) -> Server {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let address = door.tcp().unwrap();
        let folder = scratch();
        let socket = Door::at(Address::Socket(folder.join("headroom.sock")));
        assert!(matches!(socket, Door::Open(_)), "{socket:?}");
        let doors = vec![door, socket];
        let tally = Arc::<Tally>::default();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn({
            let tally = tally.clone();
            move || {
                let page = Arc::new(Published(page));
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().max_blocking_threads(http::POOL).build().unwrap();
                runtime.block_on(async {
                    let hosts = Hosts::new(vec![NAME.into()], &[]);
                    serve(doors, access, hosts, page, limits, tally, async { drop(stopped.await) }).await.unwrap();
                    end.send(()).unwrap();
                });
            }
        });
        Server { address, tally, folder, stop: Some(stop), ended, thread, _alone: alone }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub fn ask(&self, request: &str) -> Reply {
        let mut socket = self.connect();
        // A refused connection is closed already.
        let _ = socket.write_all(request.as_bytes());
        Reply::read(socket).unwrap_or_else(|| panic!("no answer to {request:.200}"))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
    }

    pub fn shed(&self) -> u64 {
        self.tally.shed.load(Ordering::Relaxed)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("headroom.sock")
    }

    pub fn connect_socket(&self) -> UnixStream {
        let socket = UnixStream::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The answer on the socket.
    pub fn get_there(&self, path: &str) -> Reply {
        let mut socket = self.connect_socket();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        Reply::read(socket).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    pub fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Panics if the server panicked.
    pub fn stop(mut self) {
        self.ask_to_stop();
        self.thread.join().unwrap();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// An exposition that counts how many copies of it are in use. Each request gets a snapshot of its own, unless
/// [`Page::keep`] was called.
pub struct Page {
    body: Option<Arc<Vec<u8>>>,
    /// What the API shows.
    pub view: Mutex<View>,
    pub events: Arc<Events>,
    pub sick: AtomicBool,
    /// Whether each rendering is a copy: otherwise all are the same bytes.
    pub copies: AtomicBool,
    /// The snapshot that all requests share, if they do.
    kept: Mutex<Option<Arc<Tick>>>,
    /// Number of renderings.
    pub renders: Arc<AtomicU64>,
    /// If set, a rendering sends when it begins, and waits until it receives.
    gate: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

/// A snapshot of the page.
struct Tick {
    page: Arc<Page>,
    pages: Arc<Pages>,
}

/// A body: the page's own, or a copy of it.
struct InUse(Arc<Vec<u8>>, Option<Vec<u8>>);

impl AsRef<[u8]> for InUse {
    fn as_ref(&self) -> &[u8] {
        self.1.as_ref().unwrap_or(&self.0)
    }
}

impl Page {
    pub fn small() -> Arc<Page> {
        Page::new(None)
    }

    pub fn of(size: usize) -> Arc<Page> {
        let body = b"headroom_lost_total 0\n".iter().copied().cycle().take(size).collect();
        Page::new(Some(Arc::new(body)))
    }

    fn new(body: Option<Arc<Vec<u8>>>) -> Arc<Page> {
        let (sick, copies, kept, renders, gate) = Default::default();
        let view = Mutex::new(View { time: 1, ..View::default() });
        Arc::new(Page { body, view, events: Arc::default(), sick, copies, kept, renders, gate })
    }

    /// Gives all requests the same snapshot from now on.
    pub fn keep(self: &Arc<Page>) {
        *self.kept.lock().unwrap() = Some(self.tick());
    }

    /// Makes the next rendering report when it begins, and wait until it is told to continue.
    pub fn hold(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((begin, begun), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
        *self.gate.lock().unwrap() = Some((begin, wait));
        (begun, go_on)
    }

    pub fn metrics(&self, format: Format) -> Bytes {
        match (&self.body, format) {
            (Some(body), _) => {
                Bytes::from_owner(InUse(body.clone(), self.copies.load(Ordering::Relaxed).then(|| body.to_vec())))
            }
            (None, Format::OpenMetrics) => Bytes::from_static(b"openmetrics\n"),
            (None, Format::Text) => Bytes::from_static(b"text\n"),
        }
    }

    fn tick(self: &Arc<Page>) -> Arc<Tick> {
        Arc::new(Tick { page: self.clone(), pages: Arc::default() })
    }

    pub fn held(&self) -> usize {
        self.body.as_ref().map_or(0, |body| Arc::strong_count(body) - 1)
    }

    fn verdict(&self, reason: &str) -> Result<(), String> {
        if self.sick.load(Ordering::Relaxed) { Err(reason.into()) } else { Ok(()) }
    }
}

/// The page for the endpoint; the page needs a reference to itself.
struct Published(Arc<Page>);

impl Exposition for Published {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        let kept = self.0.kept.lock().unwrap().clone();
        Box::pin(async { Some(kept.unwrap_or_else(|| self.0.tick()) as Arc<dyn Snapshot>) })
    }

    fn events(&self) -> Option<Arc<Events>> {
        Some(self.0.events.clone())
    }

    fn ready(&self) -> Result<(), String> {
        self.0.verdict("no round of readings yet")
    }

    fn healthy(&self) -> Result<(), String> {
        self.0.verdict("the ring is stuck")
    }
}

impl Snapshot for Tick {
    fn render(&self, page: &http::Page) -> Rendering {
        self.page.renders.fetch_add(1, Ordering::Relaxed);
        let gate = self.page.gate.lock().unwrap().take();
        if let Some((begin, wait)) = gate {
            begin.send(()).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
        }
        match page {
            http::Page::Metrics(format) => Answer::ok(self.page.metrics(*format)),
            http::Page::Api(read) => read.answer(&self.page.view.lock().unwrap()).map_or_else(Answer::from, Answer::ok),
        }
        .into()
    }

    fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }
}

pub struct Reply {
    pub status: u16,
    head: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads until the server closes; `None` if it closed without an answer. Panics if it does not close.
    pub fn read(mut socket: impl Read) -> Option<Reply> {
        let mut bytes = Vec::new();
        if let Err(error) = socket.read_to_end(&mut bytes) {
            assert!(is_reset(error.kind()), "not closed: {error}");
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let head = lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.into())).collect();
        Some(Reply { status, head, body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Reads until the server closes; returns only the number of bytes. Panics if it does not close.
pub fn drain(socket: &mut TcpStream) -> usize {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return total,
            Ok(read) => total += read,
            Err(error) => {
                assert!(is_reset(error.kind()), "not closed: {error}");
                return total;
            }
        }
    }
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Resident memory of this process in bytes.
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}
