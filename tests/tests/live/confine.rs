//! What the agent cannot do once it has started, tried from inside a process that limits itself with the agent's own code; and that
//! the agent sees as much in these limits as it did as root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::user;

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
const CONFIG: &str = "tick = \"100ms\"\n";

/// Refused with EPERM where a kernel has seccomp.
const REFUSED: [&str; 11] = [
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "mount",
    "unshare",
    "clone",
    "open_by_handle_at",
    "setuid",
    "chroot",
    "BPF_OBJ_GET",
];

/// Refused unless transfers are watched.
const LOADS: [&str; 2] = ["BPF_PROG_LOAD", "BPF_MAP_CREATE"];

/// What became of each attempt, confined as this uid or `free`.
fn attempts(uid: &str, transfer: bool) -> BTreeMap<String, i32> {
    let folder = scratch();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["own", "other"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::write(folder.join("other/file"), "").unwrap();
    fs::write(folder.join("secret"), "secret").unwrap();
    for (name, bits) in [("", 0o755), ("other", 0o777), ("other/file", 0o666), ("secret", 0o600)] {
        mode(name, bits);
    }
    let mut command = Command::new(PROGRAM);
    command.args(["confined", uid, &transfer.to_string()]).arg(&*folder);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(name, errno)| (name.into(), errno.parse().unwrap()))
        .collect()
}

#[test]
fn each_forbidden_thing_is_refused_and_what_it_needs_is_not() {
    needs!(is_root(), "becoming another user takes root");
    let uid = user::ID.to_string();
    let free = attempts("free", false);
    for transfer in [false, true] {
        let confined = attempts(&uid, transfer);
        let set = |word: &str| confined.iter().find(|(name, _)| name.contains(word)).unwrap().1 == &0;
        assert_eq!((confined["uid"] as u32, confined["dumpable"], confined["core"]), (user::ID, 0, 0));
        let fine = |errno: i32| ![libc::EPERM, libc::EACCES].contains(&errno);
        assert!(fine(confined["read secret"]) && fine(confined["write own"]), "{confined:?}");
        for name in ["BPF_LINK_CREATE", "BPF_ITER_CREATE"] {
            assert!(fine(confined[name]), "{name}: {confined:?}");
        }
        assert_eq!(set("Landlock"), !transfer && landlock(), "{confined:?}");
        if set("Landlock") {
            assert_eq!((confined["create other"], confined["write other"]), (libc::EACCES, libc::EACCES));
        }
        assert!(fine(free["create other"]) && fine(free["write other"]), "{free:?}");
        assert!(set("seccomp"), "{confined:?}");
        let loads = LOADS.into_iter().filter(|_| !transfer);
        let mut proven = 0;
        for name in REFUSED.into_iter().chain(loads) {
            assert_eq!(confined[name], libc::EPERM, "{name}");
            // What this kernel refuses to everybody proves nothing.
            proven += u32::from(free[name] != libc::EPERM);
        }
        assert!(proven >= 9, "{free:?}");
        assert!(!transfer || LOADS.iter().all(|name| fine(confined[*name])), "{confined:?}");
        assert_eq!(confined["clone3"], libc::ENOSYS);
    }
}

/// Whether this kernel has Landlock, by its own list.
fn landlock() -> bool {
    let listed = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    // SAFETY: with this flag the call reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1usize) };
    listed.split(',').any(|name| name.trim() == "landlock") || version > 0
}

fn status(agent: &Agent, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(':').trim().to_owned()
}

fn states(exposition: &Exposition) -> BTreeMap<String, String> {
    let held = exposition.samples.iter().filter(|sample| sample.0 == "headroom_probe_state" && sample.2 == 1.0);
    held.map(|sample| (sample.1["probe"].clone(), sample.1["state"].clone())).collect()
}

#[test]
fn as_its_own_user_it_sees_all_that_root_sees_and_takes_over_what_root_wrote() {
    needs!(is_root(), "becoming another user takes root");
    let journal = scratch();
    let folder = journal.join("journal");
    let lock = journal.join("lock");
    let run = |user: &str| {
        let mut agent = Agent::spawn(&format!("user = \"{user}\"\n{CONFIG}"), |command| {
            command.env("HEADROOM_JOURNAL_DIR", &folder).arg("--lock").arg(&lock);
        });
        agent.await_ready();
        agent
    };
    let root = run("root");
    let wanted = states(&root.settle());
    assert_eq!(status(&root, "Uid").split_whitespace().collect::<Vec<_>>(), ["0"; 4]);
    root.stop();
    let file = folder.join("journal.db");
    // As an earlier version left it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().uid(), 0);

    let id = user::ID.to_string();
    let agent = run(&id);
    assert_eq!(status(&agent, "Uid").split_whitespace().collect::<Vec<_>>(), [&*id; 4]);
    assert_eq!(status(&agent, "Gid").split_whitespace().collect::<Vec<_>>(), [&*id; 4]);
    assert_eq!(
        (status(&agent, "Groups"), status(&agent, "NoNewPrivs"), status(&agent, "Seccomp")),
        ("".into(), "1".into(), "2".into())
    );
    let there = fs::metadata(&file).unwrap();
    assert_eq!((there.uid(), there.mode() & 0o777), (user::ID, 0o600));
    assert_eq!(states(&agent.settle()), wanted);

    let cgroup = Cgroup::new("confined");
    cgroup.limit(16 << 20);
    let mut provoke = Command::new(PROGRAM);
    provoke.args(["hog", "anon=67108864"]).stdout(Stdio::null()).stderr(Stdio::null());
    cgroup.spawn(&mut provoke).wait().unwrap();
    let of = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the kill", |now| now.sum("headroom_oom_kills_total", &of) == 1.0);
    // One that reads on a thread of its own is up after its first round.
    let up = |now: &Exposition| now.values("headroom_source_up", &[]);
    agent.scrape_until("all sources", |now| up(now).len() >= 5 && up(now).iter().all(|up| *up == 1.0));
    agent.stop();

    // And again, with a lock that it made as that user, and a file of somebody else in the folder that it has by now.
    std::os::unix::fs::chown(&lock, Some(user::ID), None).unwrap();
    fs::write(folder.join("theirs"), "").unwrap();
    let agent = run(&id);
    assert_eq!(status(&agent, "Uid").split_whitespace().next(), Some(&*id), "{}", agent.log());
    agent.stop();
}

#[test]
fn a_folder_with_files_of_others_is_not_given_away() {
    needs!(is_root(), "becoming another user takes root");
    let folder = scratch();
    fs::write(folder.join("theirs"), "").unwrap();
    let mut agent = Agent::spawn(&format!("user = \"{}\"\n{CONFIG}", user::ID), |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*folder);
    });
    agent.await_ready();
    assert!(
        agent.log().contains("the agent stays root: ") && agent.log().contains("has files of others"),
        "{}",
        agent.log()
    );
    assert_eq!(status(&agent, "Uid").split_whitespace().next(), Some("0"));
    assert_eq!(fs::metadata(folder.join("theirs")).unwrap().uid(), 0);
    agent.stop();
}
