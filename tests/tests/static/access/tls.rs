//! TLS and client certificates.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use collector::http::access::Access;
use collector::http::{Format, Limits};
use rustls::version::{TLS12, TLS13};

use super::client::{Authority, Client, FOREIGN, Folder, TLS, as_user, basic, hash, users};
use crate::endpoint::{LOOSE, PATIENCE, Page, Reply, Server, drain, eventually};

/// Every method in IANA's registry except GET and HEAD, and some unregistered ones. CONNECT has no path.
const METHODS: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY DELETE LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR \
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH \
    TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL BREW get head GETS";

#[test]
fn over_tls_everything_works_as_without() {
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
fn tls_versions_are_bounded() {
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
fn only_get_and_head_are_answered() {
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
    // With a password they are refused as well, and without one they are treated like all other requests.
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
fn a_client_without_tls_gets_an_explanation() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, LOOSE);
    let reply = server.get("/metrics");
    assert_eq!((reply.status, &*reply.text()), (400, "HTTPS is required\n"));
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
        // An alert, a plain HTTP error, or nothing; then the end.
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
        // One half sends nothing at all, the other a byte at a time.
        scope.spawn(move || {
            let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(7));
            for byte in hello.take_while(|_| dripping.load(Ordering::Relaxed)) {
                sockets.iter_mut().for_each(|socket| drop(socket.write(&[byte])));
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Others are answered meanwhile; on a slow machine it may take more than one attempt.
        eventually("an answer", || authority.client().get(&server, "/-/ready").is_ok_and(|reply| reply.status == 200));
        for client in &mut slow {
            assert!(drain(client) < 512);
        }
        dripping.store(false, Ordering::Relaxed);
    });
    assert_eq!(server.shed(), 0);
    server.stop();
}

/// Nice value, and nanoseconds on a CPU, of this process's thread for handshakes.
fn handshaker() -> Option<(i32, u64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let task =
        tasks.into_iter().find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "tls\n"))?;
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The nineteenth field of proc_pid_stat(5); the second may contain spaces.
    let nice = stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()?;
    let ran = fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()?;
    Some((nice, ran))
}

#[test]
fn handshakes_run_on_a_thread_of_their_own_that_yields_to_others() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let plain = Server::start(LOOSE, Page::small());
    // That of the server before may just be ending.
    eventually("there is none without TLS", || handshaker().is_none());
    plain.stop();
    let server = folder.serve(TLS, LOOSE);
    eventually("it starts and has its priority", || handshaker().is_some_and(|(nice, _)| nice == 10));
    let (_, before) = handshaker().unwrap();
    for _ in 0..40 {
        assert_eq!(authority.client().get(&server, "/-/ready").unwrap().status, 200);
    }
    let (_, after) = handshaker().unwrap();
    // A signature alone takes longer than this.
    assert!(after > before + 40 * 10_000, "{} ns for 40 handshakes", after - before);
    server.stop();
    eventually("it ends with the endpoint", || handshaker().is_none());
}

#[test]
fn shutdown_waits_for_no_handshake() {
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
fn a_renewed_certificate_is_used_and_half_of_one_is_not() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    let server = folder.serve(TLS, LOOSE);
    let first = authority.client().shown(&server);
    let renewed = authority.issue(&["localhost"]);
    folder.write("server.crt", &renewed.pem);
    // Its key is not there yet: until then, the old one stays in use.
    assert_eq!(authority.client().shown(&server), first);
    folder.write("server.key", &renewed.key_pem);
    // The files are read for each connection; on a slow machine, only the next connection may see the change.
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
fn files_in_the_configuration_are_checked_before_anything_is_served() {
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
        (TLS.replace("server.crt", "garbage"), at(2, "cert_file"), "contains no certificate"),
        (TLS.replace("server.crt", "broken"), at(2, "cert_file"), "broken: "),
        (TLS.replace("server.key", "garbage"), at(3, "key_file"), "garbage: "),
        (TLS.replace("server.key", "odd.key"), at(2, "cert_file"), "odd.key: "),
        (format!("{TLS}{clients}garbage\n"), at(5, "client_ca_file"), "contains no certificate"),
        (format!("{TLS}{clients}/nowhere\n"), at(5, "client_ca_file"), "/nowhere cannot be read"),
    ] {
        let refusal = folder.refusal(&web);
        assert!(refusal.starts_with(&place) && refusal.contains(what), "{web}: {refusal}");
    }
    let missing = Access::open(Some(Path::new("/nowhere/web.yml"))).err().unwrap().to_string();
    assert!(missing.starts_with("/nowhere/web.yml: cannot be read: No such file"), "{missing}");
}

#[test]
fn a_client_without_a_valid_certificate_is_not_answered() {
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
        eventually("both are counted", || server.tally.denials.counts() == [2, 0, 0]);
        // The requirement cannot be removed without a restart either.
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
