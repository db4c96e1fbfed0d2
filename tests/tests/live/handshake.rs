//! A flood of TLS handshakes, each of which costs the agent milliseconds: no kill is lost meanwhile, by the kernel's own count.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::process::vmstat;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const CLIENTS: usize = 64;
const FLOOD: Duration = Duration::from_secs(10);

/// What it publishes, over its socket, where there is no TLS.
fn scrape(agent: &Agent) -> Exposition {
    let mut stream = UnixStream::connect(agent.directory().join("headroom.sock")).unwrap();
    stream
        .write_all(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
          Accept: application/openmetrics-text; version=1.0.0\r\n\r\n",
        )
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    Exposition::parse(response.split_once("\r\n\r\n").unwrap().1)
}

#[test]
fn a_flood_of_handshakes_costs_no_kill() {
    needs!(is_root(), "loading eBPF programs needs root");
    let directory = scratch();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("server.crt"), made.cert.pem()).unwrap();
    fs::write(directory.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    let web = directory.join("web.yml");
    fs::write(&web, "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n").unwrap();
    let mut agent = Agent::spawn("", |command| {
        command.arg("--web-config-file").arg(&web);
    });
    agent.await_ready();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // Each is a whole handshake.
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);

    let before = (vmstat("oom_kill"), agent.kills() as u64);
    let (stop, shaken) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(&agent.address) else { continue };
                    let _ = stream.set_read_timeout(Some(PATIENCE));
                    let name = ServerName::try_from("localhost").unwrap();
                    let mut client = ClientConnection::new(config.clone(), name).unwrap();
                    // Those beyond their places are cut off.
                    while client.is_handshaking() && client.complete_io(&mut stream).is_ok() {}
                    shaken.fetch_add(u64::from(!client.is_handshaking()), Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < FLOOD {
            let cgroup = Cgroup::new("flood");
            cgroup.limit(8 << 20);
            let mut hog = Command::new("tail");
            assert!(!cgroup.spawn(hog.arg("/dev/zero").stderr(Stdio::null())).wait().unwrap().success());
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Others on this host may be killed, too, before and after.
    let deadline = Instant::now() + PATIENCE;
    let grown = || (vmstat("oom_kill") - before.0, agent.kills() as u64 - before.1);
    while grown().0 != grown().1 {
        assert!(Instant::now() < deadline, "kills by the kernel's count, and reported: {:?}", grown());
        sleep(Duration::from_millis(100));
    }
    let exposition = scrape(&agent);
    eprintln!("{} handshakes, {} kills", shaken.load(Ordering::Relaxed), grown().0);
    assert!(shaken.load(Ordering::Relaxed) > 100 && grown().0 > 10, "there was hardly a flood");
    assert_eq!(exposition.lost("ring_critical"), 0.0);
    agent.stop();
}
