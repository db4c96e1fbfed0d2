//! `headroom advise ID --apply`: what an agent advises is asked of the actuator. The agent is a stand-in that advises one thing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use collector_core::action::{Action, Kind, Object, Risk};
use collector_core::advice::{Advice, Confidence};
use collector_core::api::suggestions::{AdviceLine, AdviceStatus, Suggestions};
use collector_tests::actuator::{Actuator, Said, allow};
use collector_tests::agent::headroom;
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;

use super::{MIB, TESTS, limit_file, shown};

fn line(id: &str, object: Object, kind: Kind, state: AdviceStatus) -> AdviceLine {
    let action = Action {
        kind,
        object: object.clone(),
        key: None,
        before: None,
        after: Some((64 * MIB).to_string()),
        risk: Risk::High,
        undo: String::new(),
        commands: Vec::new(),
    };
    let advice = Advice {
        id: id.to_owned(),
        rule: "test".to_owned(),
        object: object.clone(),
        title: "Lower the limit".to_owned(),
        why: "A test".to_owned(),
        evidence: Vec::new(),
        saves: None,
        confidence: Confidence::High,
        because: "It is a test".to_owned(),
        risk: Risk::High,
        actions: vec![action],
    };
    let about = object.to_string();
    AdviceLine { advice, about, workload: None, state, since: 1, ended: None, value: None, before: None, after: None }
}

/// Answers every request with this advice, for as long as the test runs.
fn advises(socket: &Path, advice: Vec<AdviceLine>) {
    let listener = UnixListener::bind(socket).unwrap();
    let body = serde_json::to_string(&Suggestions { advice, ..Suggestions::default() }).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
}

#[test]
fn an_advice_is_followed_within_the_policy_and_the_journal_names_it() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-advice");
    let file = limit_file(&cgroup);
    let before = shown(&file);
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    let agent = actuator.folder().join("agent.sock");
    let own = || Object::Workload(cgroup.path.clone());
    advises(
        &agent,
        vec![
            line("lower:mine", own(), Kind::MemoryMax, AdviceStatus::Holds),
            line("old:mine", own(), Kind::MemoryMax, AdviceStatus::Gone),
            line("restart:mine", own(), Kind::Restart, AdviceStatus::Holds),
            line("sysctl:host", Object::Host, Kind::Sysctl, AdviceStatus::Holds),
        ],
    );
    let apply = |arguments: &[&str]| -> Said {
        let mut command = headroom("advise");
        command.args(arguments).arg("--act-socket").arg(actuator.socket());
        command.args(["--config", "/dev/null", "--socket"]).arg(&agent).output().unwrap().into()
    };
    for (id, code, says) in [
        ("old:mine", 25, "holds no more"),
        ("restart:mine", 1, "carries out no action"),
        ("sysctl:host", 1, "carries out no action"),
        ("none", 1, "there is no advice"),
    ] {
        let said = apply(&[id, "--apply"]);
        assert!(said.code == code && said.err.contains(says), "{said:?}");
    }
    let dry = apply(&["lower:mine", "--apply", "--dry-run"]);
    assert!(dry.code == 0 && dry.out.starts_with("would do"), "{dry:?}");
    let look = apply(&["lower:mine"]);
    assert!(look.code == 0 && look.out.contains("Lower the limit"), "{look:?}");
    assert_eq!((shown(&file), actuator.journal().len()), (before, 0));
    let said = apply(&["lower:mine", "--apply", "--for", "1h"]);
    assert_eq!((said.code, shown(&file)), (0, (64 * MIB).to_string()), "{said:?}");
    let journal = actuator.journal();
    assert_eq!((&journal[0]["advice"], &journal[0]["why"]), (&"lower:mine".into(), &"Lower the limit".into()));
}
