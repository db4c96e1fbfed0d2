//! The Unix socket: who may use it, what it answers, and its file.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;

use collector::http::{BindError, Limits, Listener};
use collector_tests::binary::binary;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

use crate::access::{FOREIGN, Folder, users};
use crate::endpoint::{LOOSE, PATIENCE, Page, Server};

/// `headroom status --alive` for this socket.
fn alive(socket: &Path) -> Output {
    let mut command = Command::new(binary());
    command.env_clear().args(["status", "--alive", "--config", "/dev/null", "--socket"]).arg(socket);
    command.output().unwrap()
}

fn code(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn it_answers_the_same_as_the_address_whatever_the_host_name() {
    let page = Page::of(5000);
    page.keep();
    let server = Server::start(LOOSE, page.clone());
    for path in ["/metrics", "/api/v1/workloads", "/-/healthy", "/-/ready", "/", "/nowhere"] {
        let (here, there) = (server.get(path), server.get_there(path));
        assert_eq!((here.status, here.body), (there.status, there.body), "{path}");
    }
    assert_eq!(fs::metadata(server.socket()).unwrap().mode() & 0o777, 0o666);
    let socket = server.socket();
    server.stop();
    assert!(!socket.exists(), "it goes with the agent");
}

#[test]
fn alive_says_whether_the_agent_works_whoever_takes_the_places() {
    let page = Page::small();
    let server = Server::start(Limits { head: PATIENCE, ..Limits::default() }, page.clone());
    let flood: Vec<_> = (0..400).map(|_| server.connect()).collect();
    let here: Vec<_> = (0..400).map(|_| server.connect_socket()).collect();
    assert_eq!(code(&alive(&server.socket())), (Some(0), String::new()));
    drop((flood, here));
    page.sick.store(true, Ordering::Relaxed);
    let (exit, said) = code(&alive(&server.socket()));
    assert!(exit == Some(1) && said.contains("the ring is stuck"), "{exit:?} {said}");
    let socket = server.socket();
    server.stop();
    let (exit, said) = code(&alive(&socket));
    assert!(exit == Some(1) && said.contains("no agent answers"), "{exit:?} {said}");
}

#[test]
fn alive_does_not_take_a_refusal_or_a_stranger_for_an_agent() {
    let folder = scratch();
    let socket = folder.join("headroom.sock");
    File::create(&socket).unwrap();
    assert_eq!(code(&alive(&socket)).0, Some(1));
    fs::remove_file(&socket).unwrap();
    let stranger = UnixListener::bind(&socket).unwrap();
    let answering = std::thread::spawn(move || drop(stranger.accept().unwrap()));
    assert_eq!(code(&alive(&socket)).0, Some(1));
    answering.join().unwrap();
}

#[test]
fn alive_asks_at_the_address_that_is_named_or_where_there_is_no_socket() {
    let page = Page::small();
    let server = Server::start(LOOSE, page.clone());
    let address = server.address.to_string();
    let ask = |arguments: &[&str], socket: &str| {
        let config = server.socket().with_file_name("asked.toml");
        fs::write(&config, format!("listen = {address:?}\nsocket = {socket:?}\n")).unwrap();
        let mut command = Command::new(binary());
        code(
            &command.env_clear().args(["status", "--alive", "--config"]).arg(&config).args(arguments).output().unwrap(),
        )
    };
    let socket = server.socket();
    let socket = socket.to_str().unwrap();
    assert_eq!(ask(&[], socket).0, Some(0));
    assert_eq!(ask(&[], "/nowhere/headroom.sock"), (Some(0), String::new()), "it falls back to the address");
    assert_eq!(ask(&["--listen", &address], "/nowhere/headroom.sock"), (Some(0), String::new()));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (exit, said) = ask(&["--listen", &free], socket);
    assert!(exit == Some(1) && said.contains(&format!("no agent answers at {free}")), "{exit:?} {said}");
    page.sick.store(true, Ordering::Relaxed);
    let (exit, said) = ask(&["--listen", &address], socket);
    assert!(exit == Some(1) && said.contains("the ring is stuck"), "{exit:?} {said}");
    server.stop();
}

#[test]
fn with_passwords_others_need_one_here_too_but_not_to_see_whether_it_lives() {
    let folder = Folder::new();
    let server = folder.serve(&users(&[("alice", FOREIGN)]), LOOSE);
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!(server.get_there("/metrics").status, 200, "root, or the agent's own user, could read the passwords");
    if !is_root() || Command::new("curl").arg("--version").output().is_err() {
        eprintln!("another user needs root and curl: skipped");
        return;
    }
    let socket = server.socket();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = |arguments: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.uid(65534).gid(65534).args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.arg("--unix-socket").arg(&socket).args(arguments).arg(format!("http://localhost{path}"));
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(nobody(&[], "/metrics"), "401");
    assert_eq!(nobody(&[], "/-/healthy"), "200");
    assert_eq!(nobody(&["--user", "alice:fakepassword"], "/metrics"), "200");
    assert_eq!(nobody(&["--user", "alice:wrong"], "/metrics"), "401");
    assert_eq!(server.tally.denials.counts(), [0, 0, 1], "a request without a password is only asked for one");
    server.stop();
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else() {
    let folder = scratch();
    let path = folder.join("below/headroom.sock");
    let first = Listener::bind_socket(&path).unwrap();
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
    let error = Listener::bind_socket(&path).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)), "{error:?}");
    drop(first);
    assert!(!path.exists());
    // As a killed agent leaves it.
    drop(UnixListener::bind(&path).unwrap());
    let second = Listener::bind_socket(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    // A socket that somebody put in its place stays.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(second);
    UnixStream::connect(&path).unwrap();
    drop(other);

    let precious = folder.join("precious");
    fs::write(&precious, "precious").unwrap();
    let link = folder.join("link");
    symlink(&precious, &link).unwrap();
    for path in [&precious, &link] {
        let error = Listener::bind_socket(path).unwrap_err();
        assert!(matches!(error, BindError::Other(..)), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}
