//! Passwords.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use collector::http::Limits;

use super::client::{FOREIGN, Folder, as_user, basic, hash, users};
use crate::endpoint::{LOOSE, Reply, eventually};

#[test]
fn only_requests_with_the_password_are_answered() {
    let folder = Folder::new();
    let server = folder.serve(&users(&[("alice", FOREIGN), ("bob", &hash("b:ö"))]), LOOSE);
    let paths = ["/", "/metrics", "/api/v1/workloads", "/-/healthy", "/-/ready", "/nowhere"];
    for path in paths {
        let reply = server.get(path);
        let ask = reply.header("www-authenticate");
        assert_eq!((reply.status, ask), (401, Some("Basic realm=\"Headroom\", charset=\"UTF-8\"")), "{path}");
        assert!(!reply.text().contains("headroom_"), "{path}");
    }
    // Twice: first hashed, then from the cache.
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
    let [.., passwords] = server.tally.denials.counts();
    assert_eq!(passwords, 22, "wrong ones are counted, missing ones are not");
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
fn a_changed_password_applies_at_once_and_an_invalid_file_keeps_it() {
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
fn a_flood_of_wrong_passwords_does_not_delay_a_known_user() {
    const FLOOD: usize = 6;
    let folder = Folder::new();
    // Each of mallory's takes about a hundred milliseconds, one after the other; alice's are cached.
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
        assert!(done < FLOOD, "the flood was over too early to delay anyone");
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
