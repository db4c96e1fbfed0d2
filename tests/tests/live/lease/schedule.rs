//! What the configuration reserves ahead: it is listed, taken up by a claim, there once after a kill of the agent, and gone with its table. When
//! it begins is what the C library says of local time in this process.

use std::fs;
use std::path::Path;

use collector::{clock, zone};
use collector_tests::agent::Agent;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;
use serde_json::Value;

use super::{TICK, json_of, sleeper, until, verb};

/// A minute of local time that begins in so many seconds at least, as a clock shows it, and as seconds since the Unix epoch.
fn minute(ahead: u64) -> (String, u64) {
    let now = clock::unix_ns() / 1_000_000_000;
    let begins = (now + ahead).div_ceil(60) * 60;
    let local = begins.saturating_add_signed(zone::at(begins).unwrap().0) / 60 % (24 * 60);
    (format!("{:02}:{:02}", local / 60, local % 60), begins)
}

fn table(name: &str, at: &str, memory: &str) -> String {
    format!("[[reservation]]\nname = \"{name}\"\nat = \"{at}\"\nfor = \"1h\"\nmemory = \"{memory}\"\n")
}

/// An agent whose journal and socket are in this folder.
fn start(folder: &Path, tables: &str) -> Agent {
    let mut agent = Agent::spawn_unrecorded(&format!("{TICK}{tables}"), |command| {
        command.env("HEADROOM_JOURNAL_DIR", folder.join("journal")).env("HEADROOM_SOCKET", folder.join("agent.sock"));
    });
    agent.await_ready();
    agent
}

/// Units and numbers of what is made ahead.
fn planned(now: &Value) -> Vec<(&str, u64)> {
    let all = now["reservations"].as_array().unwrap().iter().filter(|one| one["state"] == "planned");
    all.map(|one| (one["unit"].as_str().unwrap(), one["id"].as_u64().unwrap())).collect()
}

fn state<'a>(now: &'a Value, unit: &str) -> &'a Value {
    let found = now["scheduled"].as_array().unwrap().iter().find(|one| one["unit"] == unit);
    &found.unwrap_or_else(|| panic!("{now}"))["state"]
}

#[test]
fn what_the_configuration_reserves_is_there_once_until_somebody_takes_it_up() {
    needs!(is_root(), "loading eBPF programs needs root");
    let folder = scratch();
    let socket = folder.join("agent.sock").display().to_string();
    // Far enough away that none begins meanwhile.
    let (at, begins) = minute(1200);
    let tables = table("chat", &at, "64M") + &table("other", &at, "32M") + &table("much", &at, "900T");
    let mut agent = start(&folder, &tables);
    let now = until(&socket, "both are made", |now| planned(now).len() == 2);
    let [("chat", chat), ("other", other)] = planned(&now)[..] else { panic!("{now}") };
    let line = &now["scheduled"][0];
    assert_eq!((&line["reservation"], &line["when"]), (&chat.into(), &format!("every day at {at}").into()), "{now}");
    assert_eq!(line["begins"], begins * 1_000_000_000, "{now}");
    let first = &now["reservations"][0];
    let left = begins - now["time"].as_u64().unwrap() / 1_000_000_000;
    assert!(first["begins_in_seconds"].as_u64().unwrap().abs_diff(left) <= 2, "{now}");
    assert_eq!(first["resources"][0]["amount"], 64_u64 << 20, "{now}");
    // What has no room is said.
    assert_eq!(state(&now, "much"), "refused");
    agent.await_log(&["[[reservation]] much", "host memory: needs 900 TiB"]);
    let about = [("unit", "much"), ("state", "refused")];
    agent.scrape_until("that it is refused", |page| page.values("headroom_reservation_scheduled", &about) == [1.0]);
    agent.await_log(&["ReservationRefused", "no room for the next reservation of much"]);

    // The first start of the same user and unit takes it up, and no other.
    let owner = sleeper();
    let pid = owner.0.id().to_string();
    let reserve = |unit: &str| {
        let output = verb(&socket, "reserve", &["--json", "--memory", "64M", "--unit", unit, "--pid", &pid]).output();
        json_of(&output.unwrap())["id"].as_u64().unwrap()
    };
    reserve("else");
    let taker = reserve("chat");
    let taken = until(&socket, "it is taken up", |now| state(now, "chat") == "over");
    assert_eq!(planned(&taken), [("other", other)], "{taken}");

    // After a kill of the agent the one is there once, and the other is not made again.
    agent.signal(Signal::KILL);
    agent.wait();
    let agent = start(&folder, &tables);
    let killed = until(&socket, "it was looked at again", |now| state(now, "much") == "refused");
    assert_eq!((planned(&killed), state(&killed, "chat")), (vec![("other", other)], &"over".into()), "{killed}");
    assert!(super::ids(&killed["reservations"]).contains(&taker), "{killed}");

    // Without its table it is given back; what was taken up stays.
    let file = agent.directory().join("headroom.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.split("[[reservation]]").next().unwrap()).unwrap();
    agent.signal(Signal::HUP);
    let left = until(&socket, "it is given back", |now| planned(now).is_empty());
    assert!(super::ids(&left["reservations"]).contains(&taker) && left["scheduled"].is_null(), "{left}");
    agent.await_log(&["[[reservation]] other is not in the configuration any more"]);
    assert!(!agent.log().contains("needs a restart"), "{}", agent.log());
    agent.stop();
}
