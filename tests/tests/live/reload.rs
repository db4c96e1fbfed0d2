//! SIGHUP: limits of [admission], [level] and [guard] apply while the agent runs, and what contradicts itself is said as at the start.

use std::fs;
use std::process::{Command, Output, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use rustix::process::Signal;

/// A verb at this agent.
fn verb(agent: &Agent, arguments: &[&str]) -> Output {
    let mut command = headroom(arguments[0]);
    command.arg("--socket").arg(agent.directory().join("headroom.sock")).args(&arguments[1..]);
    command.output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn limits_apply_at_a_reload_and_contradictions_are_said() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start("tick = \"100ms\"\nadmission.slots = [\"a\"]\n");
    let file = agent.directory().join("headroom.toml");
    let before = fs::read_to_string(&file).unwrap();
    // What was read before is not taken for what is read now.
    let reload = |text: &str| {
        let times = |log: &str| log.matches("the configuration was read again").count();
        let had = times(&agent.log());
        fs::write(&file, text).unwrap();
        agent.signal(Signal::HUP);
        let deadline = std::time::Instant::now() + collector_tests::agent::PATIENCE;
        while times(&agent.log()) == had {
            assert!(std::time::Instant::now() < deadline, "{}", agent.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let sleeper = Killed(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
    let pid = sleeper.0.id().to_string();
    let take = || verb(&agent, &["reserve", "--slot", "a", "--pid", &pid]);
    assert_eq!(code(&take()), Some(0));
    assert!(matches!(code(&take()), Some(21 | 22)), "the slot has one place: {:?}", take());

    reload(&before.replace("[\"a\"]", "[\"a=2\"]"));
    let second = take();
    assert_eq!(code(&second), Some(0), "{second:?}");
    assert!(!agent.log().contains("needs a restart"), "{}", agent.log());

    reload(&format!("level.memory_limit = 0.01\nguard.starts = 3\n{before}"));
    agent.await_log(&["level.memory_limit is 1.0 %", "the level is 4 before it warns"]);
    // The next tick has the level.
    agent.settle();
    let level = verb(&agent, &["level", "--exit-code"]);
    assert_eq!(code(&level), Some(14), "{level:?}");
    assert!(String::from_utf8_lossy(&level.stdout).contains("of the limit of 1.0 %"), "{level:?}");
    // What was granted stays, although there is one place again.
    let held = verb(&agent, &["reservations", "--json"]);
    let held: serde_json::Value = serde_json::from_slice(&held.stdout).unwrap();
    assert_eq!(held["reservations"].as_array().unwrap().len(), 2, "{held}");
    drop(sleeper);
    agent.stop();
}

#[test]
fn a_target_for_hosts_of_this_size_makes_low_priority_wait() {
    needs!(is_root(), "programs need root");
    // Every host uses more than that.
    let agent = Agent::start("tick = \"100ms\"\nlevel.memory_limit = 1.0\n[[level.target]]\nmemory = 0.01\n");
    agent.settle();
    let admit = |priority: &str| verb(&agent, &["admit", "--json", "--memory", "1M", "--priority", priority]);
    for priority in ["background", "low"] {
        let output = admit(priority);
        assert_eq!(code(&output), Some(21), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("above the target of 1.0 %"), "{said}");
    }
    let output = admit("normal");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("target"), "{output:?}");
    let level = verb(&agent, &["level"]);
    assert!(String::from_utf8_lossy(&level.stdout).contains("normal priority and above may start"), "{level:?}");
    agent.stop();
}
