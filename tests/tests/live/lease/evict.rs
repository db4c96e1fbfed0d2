//! Reservations that are given up because others wait: in their owners' own clients, on real memory, and over a kill of the agent.

use std::fs;
use std::process::{Command, Stdio};

use collector_tests::receiver::{Answer, Receiver};

use super::*;

/// Follows what is to be given up, and runs this for it.
fn follower(socket: &str, command: &str) -> Killed {
    let arguments = ["--follow", "--kind", "eviction", "--exec", command];
    let mut follower =
        Killed(verb(socket, "events", &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // It follows from the moment on at which it has connected.
    let deadline = Instant::now() + PATIENCE;
    while !is_connected(follower.0.id()) {
        assert!(follower.0.try_wait().unwrap().is_none() && Instant::now() < deadline, "it does not follow");
        sleep(Duration::from_millis(20));
    }
    follower
}

/// Whether a thread of this process waits for events: then its stream is open.
fn is_connected(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name.trim() == "events")
}

fn reserve(socket: &str, arguments: &[&str]) -> u64 {
    let output = verb(socket, "reserve", arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Whose owners are asked now.
fn asked(all: &Value) -> BTreeSet<u64> {
    let list = all["reservations"].as_array().unwrap();
    list.iter().filter(|one| one["asked"].is_object()).map(|one| one["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_cached_model_makes_room_in_its_owner_s_client_also_if_the_agent_is_killed_meanwhile() {
    needs!(is_root(), "making cgroups needs root");
    let folder = scratch();
    let socket = folder.join("agent.sock").display().to_string();
    let start = || {
        let mut agent = Agent::spawn_unrecorded(TICK, |command| {
            command
                .env("HEADROOM_JOURNAL_DIR", folder.join("journal"))
                .env("HEADROOM_SOCKET", folder.join("agent.sock"));
        });
        agent.await_ready();
        agent
    };
    let mut agent = start();
    let cgroup = Cgroup::new("lease-evict");
    cgroup.limit(100 * MIB);
    // The model fills 60 % of the limit, and holds it until somebody ends it. A busy machine holds back what is below normal.
    let script = format!(
        "{} reserve --socket {socket} --memory 60M --evictable && exec {} hold {} 0 {} 0 - 0",
        binary().display(),
        env!("CARGO_BIN_EXE_provoke"),
        60 * MIB,
        folder.join("held").display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut model = Killed(cgroup.spawn(&mut shell));
    let pid = model.0.id().to_string();
    let mut lines = BufReader::new(model.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let id: u64 = lines.next().expect("its number").trim().parse().unwrap();
    assert!(lines.next().is_some(), "it holds its memory");
    until(&socket, "what it uses", |now| now["reservations"][0]["resources"][0]["used"].as_u64() >= Some(50 * MIB));
    let (go, told) = (folder.join("go"), folder.join("told"));
    let follower = follower(
        &socket,
        &format!(
            "[ $EVENT_STATE = asked ] || exit 0; read event; echo \"$event\" >> {}; while ! [ -e {} ]; do sleep 0.05; done; kill {pid}",
            told.display(),
            go.display()
        ),
    );
    // Without waiting it is told that waiting makes sense.
    let mut short = verb(&socket, "admit", &["--json", "--memory", "60M", "--priority", "critical"]);
    let short = cgroup.spawn(&mut short).wait_with_output().unwrap();
    assert_eq!(short.status.code(), Some(21), "{short:?}");
    assert!(json_of(&short)["room"].to_string().contains(&format!("reservation {id} can be given up")), "{short:?}");
    let owner = Killed(cgroup.spawn(Command::new("sleep").arg("600").stdin(Stdio::null())));
    let owner_pid = owner.0.id().to_string();
    let claim = ["--memory", "60M", "--wait", "100s", "--priority", "critical", "--pid", &owner_pid];
    let mut claim = Killed(cgroup.spawn(&mut verb(&socket, "reserve", &claim)));
    let now = until(&socket, "it is asked for", |now| asked(now) == BTreeSet::from([id]));
    assert_eq!(now["waiting"][0]["waits_for"], json!([id]), "{now}");
    // Its owner hears of it, and has not let go yet.
    let deadline = Instant::now() + PATIENCE;
    while !told.exists() {
        assert!(Instant::now() < deadline, "nobody was told: {}", agent.log());
        sleep(Duration::from_millis(20));
    }
    let notice: Value = serde_json::from_str(fs::read_to_string(&told).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&notice["reservation"], &notice["state"]), (&json!(id), &json!("asked")));
    assert!(notice["wanted"][0]["amount"].as_u64().unwrap() > 10 * MIB, "{notice}");
    agent.signal(rustix::process::Signal::KILL);
    agent.wait();
    let again = start();
    until(&socket, "it is asked for again", |now| {
        asked(now) == BTreeSet::from([id]) && ids(&now["waiting"]).len() == 1
    });
    assert!(claim.0.try_wait().unwrap().is_none(), "there is no room yet");
    fs::write(&go, "").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while claim.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{} {}", reservations(&socket), again.log());
        sleep(Duration::from_millis(20));
    }
    assert!(claim.0.wait().unwrap().success());
    assert_eq!(cgroup.kills(), 0);
    assert!(model.0.wait().is_ok());
    let left = reservations(&socket);
    assert!(!ids(&left["reservations"]).contains(&id), "{left}");
    // The follower ends with a signal.
    let mut follower = follower;
    rustix::process::kill_process(rustix::process::Pid::from_child(&follower.0), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(follower.0.wait().unwrap().code(), Some(0));
    again.stop();
}

#[test]
fn another_user_s_claim_asks_only_for_what_root_lets_anybody_ask_for_and_the_least_used_goes_first() {
    needs!(is_root(), "loading eBPF programs needs root");
    let receiver = Receiver::start(Answer::Accept);
    let config = format!(
        "{TICK}[admission]\nslots = [\"x=2\"]\n[[sink.webhook]]\nurl = {:?}\nseverity = \"critical\"\nevictions = true\n",
        receiver.url()
    );
    let agent = Agent::start_unrecorded(&config);
    stranger::open_to_all(agent.directory());
    let socket = socket(&agent);
    let owners = [sleeper(), sleeper()];
    let [first, second] = owners.each_ref().map(|owner| {
        let pid = owner.0.id().to_string();
        reserve(&socket, &["--slot", "x", "--evictable", "--pid", &pid])
    });
    let settle = |id: u64| {
        assert_eq!(answer(send(&socket, "POST", &format!("reservations/{id}/settled"), &Value::Null)).0, 200);
    };
    [first, second].into_iter().for_each(settle);
    let touched = verb(&socket, "touch", &[&first.to_string()]).output().unwrap();
    assert!(touched.status.success(), "{touched:?}");
    // A stranger waits. It sees that there are reservations, and not whose.
    let mut waiting = Killed(stranger::spawn(&socket, "reserve", &["--slot", "x", "--wait", "100s"]));
    until(&socket, "it waits", |now| ids(&now["waiting"]).len() == 1);
    let seen = json_of(&stranger::spawn(&socket, "reservations", &["--json"]).wait_with_output().unwrap());
    for one in seen["reservations"].as_array().unwrap() {
        assert!(one["owner"].is_null() && one["uid"].is_null() && one["resources"][0]["amount"] == 1, "{one}");
    }
    assert_eq!(seen["waiting"][0]["uid"], json!(stranger::UID), "its own it sees: {seen}");
    let at_address = get(&agent.address, "/api/v1/reservations", "");
    assert!(at_address.starts_with("HTTP/1.1 200") && !at_address.contains("\"owner\""), "{at_address}");
    // Some ticks later nobody was asked.
    // A series that was never used is not shown.
    let count = |step: &str| {
        let seen = agent.scrape().values("headroom_reservation_evictions_total", &[("event", step)]);
        seen.into_iter().sum::<f64>()
    };
    sleep(Duration::from_millis(500));
    assert_eq!(count("asked"), 0.0);
    // In this order: a tick between the two may ask for the first that it finds.
    for id in [second, first] {
        let marked = verb(&socket, "evictable", &[&id.to_string(), "anyone"]).output().unwrap();
        assert!(marked.status.success(), "{marked:?}");
    }
    until(&socket, "the one that was not touched", |now| asked(now) == BTreeSet::from([second]));
    let requests = receiver.until("the webhook", |requests| !requests.is_empty());
    let notice = requests[0].json()["evictions"][0].clone();
    assert_eq!((&notice["reservation"], &notice["state"]), (&json!(second), &json!("asked")), "{notice}");
    let released = verb(&socket, "release", &[&second.to_string()]).output().unwrap();
    assert!(released.status.success(), "{released:?}");
    assert!(waiting.0.wait().unwrap().success());
    receiver.until("its end", |requests| {
        requests.iter().any(|request| request.json()["evictions"].to_string().contains("\"ended\""))
    });
    // Metrics are those of the last tick.
    agent
        .scrape_until("its end is counted", |it| it.has("headroom_reservation_evictions_total", &[("event", "ended")]));
    assert_eq!((count("asked"), count("ended")), (1.0, 1.0));
    // The journal has it all.
    let events = headroom("events")
        .arg("--json")
        .args(["--journal-dir"])
        .arg(agent.directory().join("journal"))
        .output()
        .unwrap();
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    for step in ["granted", "asked", "released"] {
        assert!(events.contains(&format!("\"step\":\"{step}\"")), "{step}: {events}");
    }
    agent.stop();
}

#[test]
fn who_finds_no_place_on_the_socket_is_told_so() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start_unrecorded(TICK);
    let socket = socket(&agent);
    let owner = sleeper();
    let held = reserve(&socket, &["--slot", "x", "--pid", &owner.0.id().to_string()]);
    let claim = json!({"need": slot("x"), "wait_seconds": 100});
    // Half of all places, which is what one user may have.
    let waiting: Vec<_> = (0..127).map(|_| send(&socket, "POST", "reservations", &claim)).collect();
    until(&socket, "all wait", |now| ids(&now["waiting"]).len() == 127);
    let ask = || {
        let mut text = String::new();
        let _ = send(&socket, "GET", "level", &Value::Null).read_to_string(&mut text);
        text
    };
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        // Until its request is read it gives way to whoever comes next.
        let last = send(&socket, "POST", "reservations", &claim);
        sleep(Duration::from_millis(300));
        let text = ask();
        if text.starts_with("HTTP/1.1 503") {
            break text;
        }
        assert!(text.starts_with("HTTP/1.1 200") && Instant::now() < deadline, "{text:?}");
        drop(last);
    };
    assert!(text.contains("retry-after: 1"), "{text}");
    drop(waiting);
    while !ask().starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "there is room again");
        sleep(Duration::from_millis(100));
    }
    until(&socket, "all have left", |now| {
        ids(&now["waiting"]).is_empty() && ids(&now["reservations"]) == BTreeSet::from([held])
    });
    agent.stop();
}
