//! Who gets an answer: TLS, client certificates and passwords with real handshakes, and clients that use them wrongly, slowly
//! or not at all. Waits are bounded, so that a hang is a failure; nothing asserts a speed.

use std::process::{Command, Stdio};

use collector_tests::binary::binary;

use crate::endpoint::LOOSE;
use client::{Authority, TLS};
pub use client::{FOREIGN, Folder, users};

mod client;
mod password;
mod tls;

#[test]
fn curl_works_with_tls_and_passwords() {
    let installed = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !installed {
        eprintln!("curl is not installed: skipped");
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
    assert_eq!(curl(&[&mine[..], &["--user", "alice:wrong"]].concat()).1, "user name and password required\n401");
    assert_eq!(curl(&mine).1, "user name and password required\n401");
    assert_eq!(curl(&["--user", "alice:fakepassword"]), (false, "000".to_owned()));
    let posted = [&mine[..], &["--user", "alice:fakepassword", "--data", "x"]].concat();
    assert_eq!(curl(&posted).1, "method not allowed: use GET or HEAD\n405");
    server.stop();
}

// ---- the project's own client ----

#[test]
fn an_agent_that_a_verb_may_not_ask_is_an_error_and_not_missing() {
    let authority = Authority::new();
    let folder = Folder::with(&authority);
    for (web, wanted) in [(TLS.to_owned(), "it requires HTTPS"), (users(&[("a", FOREIGN)]), "it requires a password")] {
        let server = folder.serve(&web, LOOSE);
        for verb in [&["workloads", "--interval", "0s"][..], &["status"], &["status", "--prometheus"], &["gpus"]] {
            let mut command = Command::new(binary());
            command.env_clear().args(verb).args(["--config", "/dev/null"]);
            let output = command.args(["--listen", &server.address.to_string()]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{verb:?}: {said}");
            assert!(said.contains(wanted) && !said.contains("instead") && !said.contains("no agent"), "{said}");
        }
        server.stop();
    }
}
