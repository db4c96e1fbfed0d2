//! Cgroups and commands as somebody without privileges makes them: deeper than any path, with names that are no text, and with
//! names that would control a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use collector::source::cgroup::Hierarchies;
use collector::source::root::Root;
use collector_core::sample::Reading;
use collector_core::signal::cgroup::Reading as Change;
use collector_core::text::is_shown;
use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::deep::Deep;
use collector_tests::forest::Forest;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::provocation::spawn;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const INFO: &str = "headroom_workload_info";
const MEMORY: &str = "headroom_workload_memory_current_bytes";
const UP: &str = "headroom_source_up";

#[test]
fn a_tree_deeper_than_any_path_hides_no_other_cgroup() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (top, other) = (Cgroup::new("deep"), Cgroup::new("beside"));
    top.delegate("memory").unwrap();
    let mut deep = Deep::new(&top);
    deep.grow(150);
    assert!(deep.depth() * Deep::NAME.len() > 4096);
    let agent = Agent::start("tick = \"100ms\"\n");
    let is_there = |path: &str| {
        agent.scrape_until("a workload", |it| it.has(INFO, &[("workload", path)]));
    };
    is_there(&top.path);
    is_there(&other.path);
    let born = |agent: &Agent, id: u64| {
        agent
            .samples()
            .iter()
            .any(|sample| matches!(&sample.reading, Reading::Cgroup(Change::Born { id: born, .. }) if born.id == id))
    };
    assert!(born(&agent, deep.id()), "the walk ended before the deepest");
    // What comes later is found by another walk, because the kernel cannot report its path.
    deep.grow(1);
    agent.scrape_until("another walk", |_| born(&agent, deep.id()));
    let late = Cgroup::new("late");
    is_there(&late.path);
    let exposition = agent.scrape();
    assert_eq!((exposition.values(UP, &[("source", "kernel")]), exposition.lost("walk")), (vec![1.0], 0.0));
    assert!(exposition.samples.iter().all(|(_, labels, _)| labels.values().all(|value| value.len() < 1100)));
    let listed = headroom("workloads").args(["--all", "--interval", "0s"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    drop(deep);
    agent.stop();
}

#[test]
fn a_name_that_is_no_text_has_its_numbers() {
    needs!(is_root(), "loading eBPF programs needs root");
    let mut forest = Forest::new("bytes");
    // Two names that must stay two; one is there before the agent, one comes later.
    forest.make(OsStr::from_bytes(b"caf\xe9"));
    let _first = Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity")));
    let agent = Agent::start("tick = \"100ms\"\n[workload]\nstat_interval = \"100ms\"\n");
    forest.make(r"caf\xe9");
    let _second = Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity")));
    forest.make(OsStr::from_bytes(b"\xff\x1b[2J\xe2\x80\xae"));
    let _third = Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity")));
    for name in [r"caf\xe9", r"caf\x5cxe9", r"\xff\x1b[2J\xe2\x80\xae"] {
        let path = format!("{}/{name}", forest.path);
        let labels = [("workload", path.as_str())];
        let measured =
            agent.scrape_until("its memory", |it| it.values(MEMORY, &labels).iter().any(|bytes| *bytes > 0.0));
        assert!(measured.has(INFO, &[("workload", &path), ("cgroup", &path)]), "{path}");
    }
    // What a path says leads back to the directory.
    let memory = Hierarchies::find(&Root::default()).unwrap().memory;
    let id = fs::metadata(forest.directory().join(OsStr::from_bytes(b"caf\xe9"))).unwrap().ino();
    assert_eq!(memory.cgroup_at(&format!(r"{}/caf\xe9", forest.path)).map(|id| id.id), Some(id));
    agent.stop();
}

#[test]
fn a_command_and_a_cgroup_control_no_terminal() {
    needs!(is_root(), "loading eBPF programs needs root");
    let dir = scratch();
    let journal = dir.join("journal");
    let mut agent = Agent::spawn("tick = \"100ms\"\n", |command| {
        command.env("HEADROOM_JOURNAL_DIR", &journal);
    });
    agent.await_ready();
    // The name of a process is that of its program.
    let program = dir.join("a\u{1b}[2J\r\n\u{202e}");
    fs::copy(env!("CARGO_BIN_EXE_provoke"), &program).unwrap();
    let cgroup = Cgroup::new("b\u{1b}]0;x\u{7}\r\u{200b}\u{9b}");
    cgroup.limit(16 << 20);
    let mut hog = spawn(program.to_str().unwrap(), &cgroup, &["hog", "anon=67108864"]);
    assert!(!hog.wait().unwrap().success());
    agent.await_kills(1);
    let shown = |text: &str| text.chars().all(|c| is_shown(c) || c == '\n');
    let ask = |arguments: &[&str]| {
        let output = headroom(arguments[0]).args(&arguments[1..]).arg("--journal-dir").arg(&journal).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = |verb: &str| {
        agent.scrape_until("the kill", |_| ask(&[verb]).contains(r"b\x1b]0;x\x07"));
        ask(&[verb])
    };
    for verb in ["events", "alerts", "incidents", "explain"] {
        let text = told(verb);
        assert!(shown(&text), "{verb}: {text:?}");
        assert!(verb == "alerts" || text.contains(r"a\x1b[2J\x0d\x0a\xe2\x80\xae"), "{verb}: {text:?}");
    }
    for verb in ["events", "alerts", "incidents", "explain"] {
        let text = ask(&[verb, "--json"]);
        assert!(shown(&text) && text.contains(r"b\\x1b]0;x\\x07"), "{verb}: {text:?}");
    }
    // Whoever else runs an agent on this host is not asked.
    let socket = agent.directory().join("headroom.sock");
    let mut command = headroom("workloads");
    command.args(["--all", "--interval", "0s"]).arg("--socket").arg(socket);
    let output = command.stderr(Stdio::null()).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(shown(&listed) && listed.contains(r"b\x1b]0;x\x07\x0d\xe2\x80\x8b\xc2\x9b"), "{listed:?}");
    let exposition = agent.scrape();
    assert!(shown(&exposition.text), "{:?}", exposition.text);
    assert!(agent.log().contains("OOM kill of") && shown(&agent.log()), "{:?}", agent.log());
    agent.stop();
}
