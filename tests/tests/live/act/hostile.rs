//! Those who should not reach the actuator, and what they might put in its way: nothing is changed for them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use collector_tests::actuator::{Actuator, Said, allow};
use collector_tests::agent::{headroom, headroom_at};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::user;

use super::{TESTS, limit_file, shown};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_user_whom_the_policy_does_not_name_is_refused_and_the_agent_may_do_little() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::with("act-user", &["memory", "cpu"]);
    let file = limit_file(&cgroup);
    let before = shown(&file);
    let folder = scratch();
    let program = user::install(&folder);
    let actuator = Actuator::start(&allow(&["memory_max", "cpu_weight"], &[TESTS], ""));
    let as_user = |verb: &str, arguments: &[&str]| -> Said {
        let mut command = headroom_at(&program, verb);
        command.args(arguments).arg("--act-socket").arg(actuator.socket());
        user::run_as(&mut command, &[]);
        command.output().unwrap().into()
    };
    let limit = &["set", &cgroup.path, "memory.max", "64MiB"][..];
    for (verb, arguments) in [("act", limit), ("actions", &[]), ("actions", &["--undo", "1"])] {
        let said = as_user(verb, arguments);
        assert!(said.code == 4 && said.err.contains("may not connect"), "{said:?}");
    }
    // Also where the socket would let him in.
    chmod(&actuator.socket(), 0o666);
    for (verb, arguments) in [("act", limit), ("actions", &[]), ("actions", &["--undo", "1"])] {
        let said = as_user(verb, arguments);
        assert!(said.code == 24 && said.err.contains("the policy names uid 64321 nowhere"), "{said:?}");
    }
    // As the agent.
    let named = allow(&["memory_max", "cpu_weight"], &[TESTS], "users = [\"64321\"]");
    fs::write(actuator.policy(), format!("agent = \"64321\"\n{named}")).unwrap();
    let said = as_user("act", limit);
    assert!(said.code == 24 && said.err.contains("low risk alone"), "{said:?}");
    let low = as_user("act", &["set", &cgroup.path, "cpu.weight", "50"]);
    // On cgroup v2 the controller may be off; then that is what it says.
    assert!(low.code == 0 || low.err.contains("unsupported here"), "{low:?}");
    // Root has a journal of everybody, and no more rights than the policy gives.
    let root = actuator.act(limit);
    assert!(root.code == 24 && root.err.contains("but not to uid 0"), "{root:?}");
    assert_eq!(shown(&file), before);
    let journal = actuator.journal();
    assert!(journal.iter().all(|it| it["who"]["uid"] == 64321 && it["kind"] == "cpu_weight"), "{journal:?}");
}

#[test]
fn a_policy_that_others_could_write_allows_nothing() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-policy");
    let before = shown(&limit_file(&cgroup));
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    let limit = &["set", &cgroup.path, "memory.max", "64MiB"][..];
    let refused = |says: &str| {
        let said = actuator.act(limit);
        assert!(said.code == 1 && said.err.contains(says), "{said:?}");
        let mut command = headroom("act");
        command.arg("serve").arg("--policy").arg(actuator.policy()).stderr(Stdio::piped());
        command.arg("--act-socket").arg(actuator.folder().join("other.sock"));
        command.arg("--journal").arg(actuator.folder().join("other"));
        let started = Said::from(command.output().unwrap());
        assert!(started.code == 3 && started.err.contains(says), "{started:?}");
    };
    chmod(&actuator.policy(), 0o666);
    refused("may be written");
    chmod(&actuator.policy(), 0o644);
    chmod(actuator.folder(), 0o777);
    refused("its folder");
    chmod(actuator.folder(), 0o755);
    let elsewhere = actuator.folder().join("elsewhere.toml");
    fs::rename(actuator.policy(), &elsewhere).unwrap();
    symlink(&elsewhere, actuator.policy()).unwrap();
    refused("it is a link");
    assert_eq!(shown(&limit_file(&cgroup)), before);
    fs::remove_file(actuator.policy()).unwrap();
    fs::rename(&elsewhere, actuator.policy()).unwrap();
    assert_eq!(actuator.act(limit).code, 0, "and as it should be it allows");
}

#[test]
fn no_path_and_no_name_reaches_another_cgroup() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-path");
    let pods = Cgroup::new("act-kubepods");
    let actuator = Actuator::start(&allow(&["memory_max"], &["*"], ""));
    let ask = |path: &str, id: u64| {
        let object = format!("{{\"cgroup\": {{\"path\": {path:?}, \"id\": {id}}}}}");
        let body = format!("{{\"kind\": \"memory_max\", \"object\": {object}, \"value\": \"64MiB\"}}");
        let (status, answer) = actuator.request("POST", "/api/v1/actions", &body).unwrap();
        (status, answer["detail"].as_str().unwrap_or_default().to_owned())
    };
    let id = cgroup.memory_id();
    let name = &cgroup.path[1..];
    for path in [
        format!("/x/../{name}"),
        format!("/../memory/{name}"),
        format!("/{name}/."),
        format!("/{name}//"),
        name.to_owned(),
        "/..".to_owned(),
        String::new(),
    ] {
        let (status, why) = ask(&path, id);
        assert_eq!(status, 400, "{path}: {why}");
    }
    assert_eq!(ask("/headroom-test-act-nowhere", id).0, 409);
    assert_eq!(
        ask(
            "/",
            fs::metadata(cgroup.memory().parent().unwrap()).map(|it| std::os::unix::fs::MetadataExt::ino(&it)).unwrap()
        )
        .0,
        403
    );
    let (status, why) = ask(&pods.path, pods.memory_id());
    assert!(status == 403 && why.starts_with("a kubelet owns"), "{why}");
    // The id of another, and what is no request at all.
    let (status, why) = ask(&cgroup.path, pods.memory_id());
    assert!(status == 409 && why.contains("another cgroup"), "{why}");
    for body in ["", "{}", "[]", "{\"kind\": \"reboot\"}", &"[".repeat(60_000)] {
        let (status, _) = actuator.request("POST", "/api/v1/actions", body).unwrap();
        assert_eq!(status, 400, "{body:.40}");
    }
    let before = shown(&limit_file(&Cgroup::new("act-fresh")));
    assert_eq!([shown(&limit_file(&cgroup)), shown(&limit_file(&pods))], [before.clone(), before]);
    assert_eq!(actuator.journal().len(), 0);
}

#[test]
fn a_cgroup_made_again_under_the_same_name_is_another_and_keeps_its_limit() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-again");
    let (path, id) = (cgroup.path.clone(), cgroup.memory_id());
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    assert_eq!(actuator.act(&["set", &path, "memory.max", "64MiB", "--for", "1s"]).code, 0);
    drop(cgroup);
    let again = Cgroup::with_at(&path, &["memory"]);
    assert_ne!(again.memory_id(), id);
    // As who looked at the old one before.
    let object = format!("{{\"cgroup\": {{\"path\": {path:?}, \"id\": {id}}}}}");
    let body = format!("{{\"kind\": \"memory_max\", \"object\": {object}, \"value\": \"32MiB\"}}");
    let (status, answer) = actuator.request("POST", "/api/v1/actions", &body).unwrap();
    assert!(status == 409 && answer["detail"].as_str().unwrap().contains("another cgroup by now"), "{answer}");
    // The owner of the new one has set the same limit as was set for the old one.
    let theirs = (64_u64 << 20).to_string();
    fs::write(limit_file(&again), &theirs).unwrap();
    let aside = actuator.await_state(1, "stepped_aside");
    assert!(aside["note"].as_str().unwrap().contains("is gone"), "{aside}");
    assert_eq!(shown(&limit_file(&again)), theirs);
}

#[test]
fn the_cgroup_of_the_actuator_itself_is_protected() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-self");
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    // It moves there, as an administrator could move it.
    fs::write(cgroup.memory().join("cgroup.procs"), actuator.pid().to_string()).unwrap();
    let said = actuator.act(&["set", &cgroup.path, "memory.max", "1GiB"]);
    assert!(said.code == 24 && said.err.contains("the actuator itself runs in it"), "{said:?}");
}

#[test]
fn only_root_serves_and_only_one_for_a_journal() {
    needs!(is_root(), "cgroups need root");
    let actuator = Actuator::start("");
    let serve = |program: &Path, prepare: &dyn Fn(&mut Command)| {
        let mut command = headroom_at(program, "act");
        command.arg("serve").arg("--policy").arg(actuator.policy()).arg("--act-socket");
        command.arg(actuator.folder().join("other.sock")).arg("--journal").arg(actuator.folder().join("journal"));
        prepare(&mut command);
        Said::from(command.output().unwrap())
    };
    let second = serve(&collector_tests::binary::binary(), &|_| {});
    assert!(second.code == 5 && second.err.contains("another instance"), "{second:?}");
    let folder = scratch();
    let program = user::install(&folder);
    let user = serve(&program, &|command| user::run_as(command, &[]));
    assert_eq!(user.code, 4, "{user:?}");
    let mode = fs::metadata(actuator.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
