//! Who is answered, and who is not: TLS, clients' certificates and passwords against real handshakes, and against clients
//! that do them wrong, slowly or not at all. Waits are bounded, so that a hang is a failure; nothing asserts how fast
//! anything is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use collector::http::access::Access;
use collector::http::{Exposition as _, Format, Limits};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use endpoint::{LOOSE, PATIENCE, Page, Reply, Server, drain, eventually};

mod endpoint;

/// Every method of IANA's registry but GET and HEAD, and some that nobody has registered. CONNECT has no path to ask for.
const METHODS: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY DELETE LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR \
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH \
    TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL BREW get head GETS";

/// Made by others: the documentation of the format has it, for `fakepassword`.
const FOREIGN: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A folder with the file and what it names. Dropped, it is removed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headroom-access-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// With a certificate of this authority's for `localhost`, and the authority's own.
    fn with(authority: &Authority) -> Folder {
        let folder = Folder::new();
        authority.issue(&["localhost", "127.0.0.1"]).write(&folder);
        folder.write("ca.crt", &authority.pem);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        // At once, as those do who renew certificates.
        fs::write(self.0.join("new"), text).unwrap();
        fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    fn web(&self) -> PathBuf {
        self.0.join("web.yml")
    }

    fn serve(&self, web: &str, limits: Limits) -> Server {
        self.write("web.yml", web);
        let access = Access::open(Some(&self.web())).unwrap_or_else(|errors| panic!("{web}: {errors}"));
        Server::with(access, limits, Page::small())
    }

    fn refusal(&self, web: &str) -> String {
        self.write("web.yml", web);
        Access::open(Some(&self.web())).err().unwrap_or_else(|| panic!("{web} is taken")).to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Authority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Pair {
    pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn params(names: &[&str], called: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, called);
    params
}

impl Authority {
    fn new() -> Authority {
        let mut params = params(&[], "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Authority { pem: made.pem(), certificate: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let made = params(names, "somebody").signed_by(&key, &self.issuer).unwrap();
        Pair {
            pem: made.pem(),
            key_pem: key.serialize_pem(),
            certificate: made.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    fn client(&self) -> Client<'_> {
        Client { authority: self, identity: None, version: None }
    }
}

impl Pair {
    fn write(&self, folder: &Folder) {
        folder.write("server.crt", &self.pem);
        folder.write("server.key", &self.key_pem);
    }
}

/// One who trusts an authority.
#[derive(Clone, Copy)]
struct Client<'a> {
    authority: &'a Authority,
    identity: Option<&'a Pair>,
    /// The only one it speaks, if it speaks but one.
    version: Option<&'static SupportedProtocolVersion>,
}

impl Client<'_> {
    fn shake(&self, server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = self.version.map_or(vec![&TLS13, &TLS12], |version| vec![version]);
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match self.identity {
            Some(pair) => builder.with_client_auth_cert(vec![pair.certificate.clone()], pair.key.clone_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        // As Prometheus and curl offer it.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), server.connect())
    }

    /// The answer, or why there is none.
    fn ask(&self, server: &Server, request: &str) -> Result<Reply, String> {
        let mut stream = self.shake(server);
        // In TLS 1.3 a client learns that it is refused when it reads.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => Reply::read(&*bytes).ok_or_else(|| "closed without an answer".to_owned()),
            // After its answer to CONNECT, hyper leaves the connection as it is: nobody says that it ends.
            Err(error) => {
                let whole = |reply: &Reply| reply.header("content-length") == Some(&*reply.body.len().to_string());
                Reply::read(&*bytes).filter(whole).ok_or_else(|| error.to_string())
            }
        }
    }

    fn get(&self, server: &Server, path: &str) -> Result<Reply, String> {
        self.ask(server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
    }

    /// The certificate that the server shows.
    fn shown(&self, server: &Server) -> CertificateDer<'static> {
        let mut stream = self.shake(server);
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn users(users: &[(&str, &str)]) -> String {
    users.iter().fold("basic_auth_users:\n".to_owned(), |text, (name, hash)| text + &format!("  {name}: {hash}\n"))
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("authorization: Basic {encoded}\r\n")
}

fn as_user(server: &Server, path: &str, user: &str, password: &str) -> Reply {
    server.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", basic(user, password)))
}

// ---- TLS ----

#[test]
fn over_tls_everything_is_as_it_is_without() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    folder.write("web.yml", TLS);
    let page = Page::of(32 << 20);
    let server = Server::with(Access::open(Some(&folder.web())).unwrap(), LOOSE, page.clone());
    for version in [&TLS12, &TLS13] {
        let client = Client { version: Some(version), ..authority.client() };
        let reply = client.get(&server, "/metrics").unwrap();
        assert_eq!((reply.status, reply.body.len()), (200, 32 << 20));
        assert!(reply.body == page.metrics(Format::Text));
        assert_eq!(client.get(&server, "/-/ready").unwrap().status, 200);
        assert_eq!(client.get(&server, "/nowhere").unwrap().status, 404);
        let head = client.ask(&server, "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("33554432"), 0));
    }
    server.stop();
}

#[test]
fn versions_are_bounded() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    for (bound, good, bad) in [("min_version: TLS13", &TLS13, &TLS12), ("max_version: TLS12", &TLS12, &TLS13)] {
        let server = folder.serve(&format!("{TLS}  {bound}\n"), LOOSE);
        let get = |version| Client { version: Some(version), ..authority.client() }.get(&server, "/-/ready");
        assert_eq!(get(good).unwrap().status, 200, "{bound}");
        assert!(get(bad).err().unwrap().contains("ProtocolVersion"), "{bound}");
        server.stop();
    }
}

#[test]
fn nothing_but_get_and_head_is_answered() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let ask_all = |ask: &dyn Fn(&str) -> Reply, what: &str| {
        for method in METHODS.split_whitespace() {
            for path in ["/", "/metrics", "/api/v1/workloads", "/-/healthy", "/-/ready"] {
                let reply = ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
                let allow = reply.header("allow").map(str::to_owned);
                assert_eq!((reply.status, allow.as_deref()), (405, Some("GET,HEAD")), "{what}: {method} {path}");
            }
        }
        for line in ["CONNECT x:1", "CONNECT /metrics", "OPTIONS *"] {
            let status = ask(&format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n")).status;
            assert!((400..500).contains(&status), "{what}: {line}: {status}");
        }
    };
    let server = folder.serve("", LOOSE);
    ask_all(&|request| server.ask(request), "plain");
    server.stop();
    let server = folder.serve(TLS, LOOSE);
    let client = authority.client();
    ask_all(&|request| client.ask(&server, request).unwrap(), "TLS");
    server.stop();
    // With a password they are refused as well, and without one they get no further than anybody else.
    let server = folder.serve(&users(&[("alice", &hash("hunter2"))]), LOOSE);
    ask_all(
        &|request| server.ask(&request.replacen("\r\n", &format!("\r\n{}", basic("alice", "hunter2")), 1)),
        "password",
    );
    assert_eq!(server.ask("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").status, 401);
    server.stop();
}

#[test]
fn the_headers_of_the_file_are_in_every_response() {
    let folder = Folder::new();
    let headers =
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=60\n";
    let server = folder.serve(&format!("{headers}{}", users(&[("alice", FOREIGN)])), LOOSE);
    for reply in [as_user(&server, "/metrics", "alice", "fakepassword"), server.get("/metrics"), server.get("/nowhere")]
    {
        assert_eq!(reply.header("x-frame-options"), Some("deny"), "{}", reply.status);
        assert_eq!(reply.header("strict-transport-security"), Some("max-age=60"));
    }
    server.stop();
}

#[test]
fn who_does_not_speak_tls_is_told_to() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, LOOSE);
    let reply = server.get("/metrics");
    assert_eq!((reply.status, &*reply.text()), (400, "only HTTPS is spoken here.\n"));
    assert_eq!(authority.client().get(&server, "/metrics").unwrap().status, 200);
    server.stop();
}

#[test]
fn a_garbled_handshake_harms_nobody() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, LOOSE);
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let record = |kind: u8, length: u16, body: &[u8]| [&[kind, 3, 1][..], &length.to_be_bytes(), body].concat();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("a byte", vec![22]),
        ("noise", noise.clone()),
        ("noise in a record", record(22, 4096, &noise)),
        ("a record too long", record(22, u16::MAX, &noise)),
        ("an empty record", record(22, 0, &[])),
        ("an alert", record(21, 2, &[2, 40])),
        ("data before its time", record(23, 4096, &noise)),
        ("half a hello", record(22, 512, &[1, 0, 1, 0xfc, 3, 3])),
    ] {
        let mut client = server.connect();
        let _ = client.write_all(&bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        // An alert, the word that this is no HTTP, or nothing; and an end.
        assert!(drain(&mut client) < 512, "{what}");
        assert_eq!(authority.client().get(&server, "/-/ready").unwrap().status, 200, "after {what}");
    }
    server.stop();
}

#[test]
fn slow_handshakes_are_cut_off_and_hold_up_nobody() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, Limits { head: Duration::from_secs(2), ..LOOSE });
    let mut slow: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let dripping = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut sockets: Vec<_> = slow.iter().skip(50).map(|socket| socket.try_clone().unwrap()).collect();
        let dripping = &dripping;
        // One half says nothing at all, the other a byte at a time.
        scope.spawn(move || {
            let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(7));
            for byte in hello.take_while(|_| dripping.load(Ordering::Relaxed)) {
                sockets.iter_mut().for_each(|socket| drop(socket.write(&[byte])));
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Others are answered meanwhile; on a slow machine it may take one more than a go.
        eventually("an answer", || authority.client().get(&server, "/-/ready").is_ok_and(|reply| reply.status == 200));
        for client in &mut slow {
            assert!(drain(client) < 512);
        }
        dripping.store(false, Ordering::Relaxed);
    });
    assert_eq!(server.shed(), 0);
    server.stop();
}

#[test]
fn the_end_waits_for_no_handshake() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let mut server = folder.serve(TLS, Limits { grace: PATIENCE, ..LOOSE });
    let silent = server.connect();
    let mut half = server.connect();
    half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    // Both are accepted before this one is answered.
    assert_eq!(authority.client().get(&server, "/-/ready").unwrap().status, 200);
    server.ask_to_stop();
    server.ended.recv_timeout(PATIENCE / 3).expect("serve returns");
    assert!(Reply::read(silent).is_none());
    server.stop();
}

#[test]
fn a_renewed_certificate_is_shown_and_half_of_one_is_not() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, LOOSE);
    let first = authority.client().shown(&server);
    let renewed = authority.issue(&["localhost"]);
    folder.write("server.crt", &renewed.pem);
    // Its key is not there yet: until it is, the old one is good.
    assert_eq!(authority.client().shown(&server), first);
    folder.write("server.key", &renewed.key_pem);
    // The files are read for each connection; on a slow machine, the one after it may be the first to see that.
    eventually("the renewed one", || authority.client().shown(&server) == renewed.certificate);
    assert_ne!(first, renewed.certificate);
    for (name, text) in
        [("server.crt", ""), ("server.key", "garbage"), ("web.yml", "tls_server_config: 1"), ("web.yml", "")]
    {
        let before = fs::read_to_string(folder.0.join(name)).unwrap();
        folder.write(name, text);
        assert_eq!(authority.client().shown(&server), renewed.certificate, "{name}: {text}");
        folder.write(name, &before);
    }
    fs::remove_file(folder.web()).unwrap();
    assert_eq!(authority.client().shown(&server), renewed.certificate);
    server.stop();
}

#[test]
fn what_the_file_names_is_checked_before_anything_is_served() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let at = |line: usize, key: &str| format!("{}:{line}:3: tls_server_config.{key}: ", folder.web().display());
    folder.write("garbage", "garbage");
    folder.write("broken", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    folder.write("odd.key", &authority.issue(&["x"]).key_pem);
    let clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ";
    for (web, place, what) in [
        (TLS.replace("server.crt", "none.crt"), at(2, "cert_file"), "none.crt cannot be read: No such file"),
        (TLS.replace("server.key", "none.key"), at(3, "key_file"), "none.key cannot be read: No such file"),
        (TLS.replace("server.crt", "garbage"), at(2, "cert_file"), "there is no certificate in it"),
        (TLS.replace("server.crt", "broken"), at(2, "cert_file"), "broken: "),
        (TLS.replace("server.key", "garbage"), at(3, "key_file"), "garbage: "),
        (TLS.replace("server.key", "odd.key"), at(2, "cert_file"), "odd.key: "),
        (format!("{TLS}{clients}garbage\n"), at(5, "client_ca_file"), "there is no certificate in it"),
        (format!("{TLS}{clients}/nowhere\n"), at(5, "client_ca_file"), "/nowhere cannot be read"),
    ] {
        let refusal = folder.refusal(&web);
        assert!(refusal.starts_with(&place) && refusal.contains(what), "{web}: {refusal}");
    }
    let missing = Access::open(Some(Path::new("/nowhere/web.yml"))).err().unwrap().to_string();
    assert!(missing.starts_with("/nowhere/web.yml: cannot be read: No such file"), "{missing}");
}

// ---- clients' certificates ----

#[test]
fn a_client_without_a_good_certificate_is_not_answered() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = Folder::with(&authority);
    let (mine, theirs) = (authority.issue(&["prometheus"]), other.issue(&["prometheus"]));
    for version in [&TLS12, &TLS13] {
        let client = |identity| Client { identity, version: Some(version), ..authority.client() };
        let required = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
        let server = folder.serve(&format!("{TLS}{required}"), LOOSE);
        assert_eq!(client(Some(&mine)).get(&server, "/metrics").unwrap().status, 200);
        assert!(client(None).get(&server, "/metrics").err().unwrap().contains("alert"));
        assert!(client(Some(&theirs)).get(&server, "/metrics").err().unwrap().contains("alert"));
        // It cannot be had without a restart either.
        folder.write("web.yml", TLS);
        assert!(client(None).get(&server, "/metrics").is_err());
        server.stop();

        let server = folder.serve(
            &format!("{TLS}{}", required.replace("RequireAndVerify", "Verify").replace("Cert\n", "CertIfGiven\n")),
            LOOSE,
        );
        assert_eq!(client(Some(&mine)).get(&server, "/metrics").unwrap().status, 200);
        assert_eq!(client(None).get(&server, "/metrics").unwrap().status, 200);
        assert!(client(Some(&theirs)).get(&server, "/metrics").is_err());
        server.stop();
    }
}

#[test]
fn a_client_is_answered_if_its_certificate_has_one_of_the_names() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let allowed = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
                   client_allowed_sans: [prometheus.example.com, 10.0.0.1, '2001:db8::1']\n";
    let server = folder.serve(&format!("{TLS}{allowed}"), LOOSE);
    let get = |names: &[&str]| {
        let pair = authority.issue(names);
        Client { identity: Some(&pair), ..authority.client() }.get(&server, "/-/ready").map(|reply| reply.status)
    };
    for names in
        [&["prometheus.example.com"] as &[_], &["other", "prometheus.example.com"], &["10.0.0.1"], &["2001:db8::1"]]
    {
        assert_eq!(get(names), Ok(200), "{names:?}");
    }
    for names in [&["other"] as &[_], &[], &["x.prometheus.example.com"], &["prometheus.example.co"], &["10.0.0.2"]] {
        assert!(get(names).is_err(), "{names:?}");
    }
    server.stop();
}

// ---- passwords ----

#[test]
fn only_who_knows_the_password_is_answered() {
    let folder = Folder::new();
    let server = folder.serve(&users(&[("alice", FOREIGN), ("bob", &hash("b:ö"))]), LOOSE);
    let paths = ["/", "/metrics", "/api/v1/workloads", "/-/healthy", "/-/ready", "/nowhere"];
    for path in paths {
        let reply = server.get(path);
        let ask = reply.header("www-authenticate");
        assert_eq!((reply.status, ask), (401, Some("Basic realm=\"Headroom\", charset=\"UTF-8\"")), "{path}");
        assert!(!reply.text().contains("headroom_"), "{path}");
    }
    // Twice: once anew, and once remembered.
    for _ in 0..2 {
        for path in paths {
            let status = as_user(&server, path, "alice", "fakepassword").status;
            assert_eq!(status, if path == "/nowhere" { 404 } else { 200 }, "{path}");
        }
        assert_eq!(as_user(&server, "/metrics", "bob", "b:ö").status, 200);
        for (user, password) in [
            ("alice", "fakepasswort"),
            ("alice", ""),
            ("alice", "b:ö"),
            ("bob", "fakepassword"),
            ("bob", "b"),
            ("Alice", "fakepassword"),
            ("", ""),
            ("carol", "fakepassword"),
            ("carol", FOREIGN),
            ("alice", FOREIGN),
            ("alice:", "fakepassword"),
        ] {
            assert_eq!(as_user(&server, "/metrics", user, password).status, 401, "{user} {password}");
        }
    }
    for header in [
        "authorization: Basic\r\n",
        "authorization: Bearer x\r\n",
        "authorization: Basic !!!\r\n",
        "authorization: Digest username=\"alice\"\r\n",
    ] {
        assert_eq!(server.ask(&format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{header}\r\n")).status, 401, "{header}");
    }
    server.stop();
}

#[test]
fn a_changed_password_holds_at_once_and_none_is_not_taken_for_an_answer() {
    let folder = Folder::new();
    let server = folder.serve(&users(&[("alice", &hash("old"))]), LOOSE);
    let status = |password| as_user(&server, "/metrics", "alice", password).status;
    assert_eq!((status("old"), status("new")), (200, 401));
    folder.write("web.yml", &users(&[("alice", &hash("new"))]));
    eventually("the new one", || status("new") == 200);
    assert_eq!(status("old"), 401);
    for web in ["", "basic_auth_users: {}\n", "basic_auth_users:\n  alice: new\n", "rubbish"] {
        folder.write("web.yml", web);
        assert_eq!((status("old"), status("new"), server.get("/metrics").status), (401, 200, 401), "{web}");
    }
    server.stop();
}

#[test]
fn a_flood_of_wrong_passwords_keeps_nobody_waiting_who_was_right_before() {
    const FLOOD: usize = 6;
    let folder = Folder::new();
    // Each of mallory's takes some hundred milliseconds, one after the other; alice's next to nothing.
    let server =
        folder.serve(&users(&[("alice", &hash("right")), ("mallory", &bcrypt::hash("m", 12).unwrap())]), LOOSE);
    let status = |user, password| as_user(&server, "/metrics", user, password).status;
    assert_eq!(status("alice", "right"), 200);
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        let flood: Vec<_> = (0..FLOOD).map(|_| server.connect()).collect();
        for mut socket in flood {
            let wrong = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{}\r\n", basic("mallory", "guess"));
            socket.write_all(wrong.as_bytes()).unwrap();
            let refused = &refused;
            scope.spawn(move || {
                assert_eq!(Reply::read(socket).unwrap().status, 401);
                refused.fetch_add(1, Ordering::SeqCst);
            });
        }
        for _ in 0..10 {
            assert_eq!(status("alice", "right"), 200);
        }
        let done = refused.load(Ordering::SeqCst);
        assert!(done < FLOOD, "the flood was over before it could have kept anybody waiting");
    });
    assert_eq!((refused.into_inner(), server.shed()), (FLOOD, 0));
    server.stop();
}

#[test]
fn passwords_over_the_limit_are_refused_and_counted() {
    let folder = Folder::new();
    let limits = Limits { queue: Duration::from_millis(10), ..LOOSE };
    let server = folder.serve(&users(&[("mallory", &bcrypt::hash("m", 12).unwrap())]), limits);
    let mut flood: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for socket in &mut flood {
        let wrong = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{}\r\n", basic("mallory", "guess"));
        socket.write_all(wrong.as_bytes()).unwrap();
    }
    let statuses: Vec<u16> = flood.into_iter().map(|socket| Reply::read(socket).unwrap().status).collect();
    let busy = statuses.iter().filter(|status| **status == 503).count();
    assert!(busy > 0 && statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    assert_eq!(server.shed(), busy as u64);
    server.stop();
}

// ---- an independent client ----

#[test]
fn curl_comes_to_the_same_terms() {
    let installed = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !installed {
        eprintln!("curl is not installed: left out");
        return;
    }
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let identity = authority.issue(&["curl"]);
    folder.write("client.crt", &identity.pem);
    folder.write("client.key", &identity.key_pem);
    let required = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let server = folder.serve(&format!("{TLS}{required}{}", users(&[("alice", FOREIGN)])), LOOSE);
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.current_dir(&folder.0).args(["--silent", "--show-error", "--noproxy", "*", "--cacert", "ca.crt"]);
        curl.args(["--write-out", "%{http_code}", "--max-time", "30"]).args(arguments);
        let output = curl.arg(format!("https://localhost:{}/metrics", server.address.port())).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mine = ["--cert", "client.crt", "--key", "client.key"];
    assert_eq!(curl(&[&mine[..], &["--user", "alice:fakepassword"]].concat()), (true, "text\n200".to_owned()));
    assert_eq!(curl(&[&mine[..], &["--user", "alice:wrong"]].concat()).1, "a user and a password are needed\n401");
    assert_eq!(curl(&mine).1, "a user and a password are needed\n401");
    assert_eq!(curl(&["--user", "alice:fakepassword"]), (false, "000".to_owned()));
    let posted = [&mine[..], &["--user", "alice:fakepassword", "--data", "x"]].concat();
    assert_eq!(curl(&posted).1, "only GET and HEAD are answered\n405");
    server.stop();
}

// ---- our own client ----

#[test]
fn headroom_workloads_says_why_it_does_not_ask() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    for (web, wanted) in
        [(TLS.to_owned(), "it answers HTTPS alone"), (users(&[("a", FOREIGN)]), "it asks for a password")]
    {
        let server = folder.serve(&web, LOOSE);
        let mut command = Command::new(env!("CARGO_BIN_EXE_headroom"));
        command.env_clear().args(["workloads", "--interval", "0s", "--config", "/dev/null"]);
        let output = command.args(["--listen", &server.address.to_string()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted) && said.contains("the cgroups are read instead"), "{said}");
        server.stop();
    }
}
