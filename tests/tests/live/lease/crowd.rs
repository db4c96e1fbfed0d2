//! Two hundred clients that die at random: nothing of theirs stays.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::needs;
use collector_tests::require::is_root;
use serde_json::{Value, json};

use super::{TICK, ids, send, slot, socket, until, verb};

#[test]
fn of_200_clients_that_ask_and_wait_and_die_no_lease_is_left() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start_unrecorded(&format!("{TICK}[admission]\nuser_waiting = 100\nslots = [\"x=3\"]\n"));
    let socket = socket(&agent);
    let begun = Instant::now();
    // A pseudo-random number that the test can repeat.
    let random = |client: u64| (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let client = |number: u64| {
        let chance = random(number);
        let wait = (chance % 4 != 0).then_some(1 + chance % 3);
        let priority = chance % 3;
        let claim = json!({"need": slot("x"), "wait_seconds": wait, "priority": priority});
        let stream = send(&socket, "POST", "reservations", &claim);
        match chance % 5 {
            // It goes at once, or after a while, or says that it will send nothing more and goes on listening.
            0 => return 0,
            1 => {
                sleep(Duration::from_millis(chance % 700));
                return 0;
            }
            2 => stream.shutdown(Shutdown::Write).unwrap(),
            _ => {}
        }
        let mut stream = stream;
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        if !text.starts_with("HTTP/1.1 201") {
            return 0;
        }
        let granted: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        sleep(Duration::from_millis(chance % 90));
        // While all places of a user are taken, a connection is closed without a word.
        let release = || {
            let mut text = String::new();
            let mut stream = send(&socket, "DELETE", &format!("reservations/{}", granted["id"]), &Value::Null);
            stream.read_to_string(&mut text).ok().and_then(|_| text.split(' ').nth(1)?.parse::<u16>().ok())
        };
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match release() {
                Some(status) if status != 503 => break status,
                _ => assert!(Instant::now() < deadline, "no place for {}", granted["id"]),
            }
            sleep(Duration::from_millis(50));
        };
        // Who half-closed may have lost it already.
        assert!(status == 200 || status == 404 && chance % 5 == 2, "{status}");
        1
    };
    let granted: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    eprintln!("{granted} of 200 had the slot, in {:?}", begun.elapsed());
    assert!(granted > 0);
    until(&socket, "nothing is left", |now| ids(&now["reservations"]).is_empty() && ids(&now["waiting"]).is_empty());
    let all = verb(&socket, "admit", &["--slot", "x=3"]).output().unwrap();
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    agent.stop();
}
