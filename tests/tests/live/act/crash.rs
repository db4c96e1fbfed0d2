//! Kills the actuator at any point of a change: afterwards every change that was asked for is in its journal, none twice, and what the journal
//! says is what the kernel says.

use std::collections::BTreeSet;
use std::thread::{self, sleep};
use std::time::Duration;

use collector_tests::actuator::{Actuator, allow, request};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;

use super::{TESTS, limit_file, shown};

const PAGE: u64 = 4096;
const LEAST: u64 = 64 << 20;
/// How long a change takes on a slow machine, in microseconds: a kill comes at any point of it.
const SPAN: u64 = 20_000;

/// Numbers without a pattern (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Asks for so many changes, one after the other, and kills the actuator during one of `every`.
pub fn crashes(changes: u64, every: u64) {
    let cgroup = Cgroup::new("act-crash");
    let mut actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()));
    let (mut kills, mut unanswered) = (0, 0);
    for number in 0..changes {
        let object = format!("{{\"cgroup\": {{\"path\": {:?}, \"id\": {}}}}}", cgroup.path, cgroup.memory_id());
        let value = LEAST + number * PAGE;
        let body = format!(
            "{{\"kind\": \"memory_max\", \"object\": {object}, \"value\": \"{value}\", \"key\": \"k{number}\"}}"
        );
        let mut kill = dice.below(every) == 0;
        loop {
            let (socket, sent) = (actuator.socket(), body.clone());
            let asks = thread::spawn(move || request(&socket, "POST", "/api/v1/actions", &sent));
            if kill {
                sleep(Duration::from_micros(dice.below(SPAN)));
                actuator.kill();
                kills += 1;
            }
            let answer = asks.join().unwrap();
            if std::mem::take(&mut kill) {
                actuator.restart();
            }
            match answer {
                Some((201, _)) => break,
                Some(other) => panic!("{other:?}"),
                // It was killed before it answered: whoever asked does not know, and asks again.
                None => unanswered += 1,
            }
        }
    }
    actuator.restart();
    let mut known = Vec::new();
    // The list has an end; a change by its number has none.
    for id in 1.. {
        match actuator.request("GET", &format!("/api/v1/actions/{id}"), "").unwrap() {
            (200, answer) => known.push(answer["action"].clone()),
            (404, _) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(kills > 0 && unanswered > 0, "{kills} kills, {unanswered} requests without an answer");
    let keys: BTreeSet<&str> = known.iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert_eq!((known.len() as u64, keys.len() as u64), (changes, changes), "each once: {keys:?}");
    let mut last = None;
    for change in &known {
        let step = &change["steps"][0];
        let (before, after) = (step["before"].as_str().unwrap(), step["after"].as_str().unwrap());
        if let Some(last) = &last {
            assert_eq!(before, last, "nothing was written that is not in the journal: {change}");
        }
        match change["state"].as_str().unwrap() {
            "done" => {
                assert_eq!(step["read_back"], after, "{change}");
                last = Some(after.to_owned());
            }
            "failed" => {
                assert!(change["note"].as_str().unwrap().contains("it was not made"), "{change}");
                last = Some(before.to_owned());
            }
            other => panic!("{other}: {change}"),
        }
    }
    assert_eq!(Some(shown(&limit_file(&cgroup))), last);
}

#[test]
fn a_kill_at_any_point_loses_no_change_and_makes_none_twice() {
    needs!(is_root(), "cgroups need root");
    crashes(50, 3);
}
