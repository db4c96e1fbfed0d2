//! Plays one scenario of slowness: the server and its clients, what is usual, what happens, and what is told.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use collector::clock;
use collector::source::cgroup::Controller;

use super::super::interrupt::{self, until};
use super::super::row::{MARK, Row};
use super::super::run::Options;
use super::super::scenario::Host;
use super::super::told::{Listener, Told};
use super::Slow;
use crate::agent::{Agent, body};
use crate::cgroup::Cgroup;
use crate::gguf;
use crate::llama::{Llama, complete, python};
use crate::provocation;
use crate::receiver::{Answer, Receiver};
use crate::require::own_machine;
use crate::scratch::{Scratch, scratch};

const KIND: &str = "latency";
/// Windows of a second, and a baseline of five of them.
const CONFIG: &str = "tick = \"500ms\"\n[models]\ninterval = \"500ms\"\n[workload]\nclose_interval = \"1s\"\n\
    [latency]\nwindow = \"1s\"\nlearn = 5\nrequests = 1\n";
/// How long it may take until the agent knows what is usual, and how long that is then left to become surer.
const USUAL: Duration = Duration::from_secs(90);
const SURER: Duration = Duration::from_secs(5);
/// How long the agent may take to tell of it.
const TOLD: Duration = Duration::from_secs(40);
/// How long after the first report nothing must be told where nothing happened, and how long evidence gathers before the end.
const SILENCE: Duration = Duration::from_secs(16);
const LONGER: Duration = Duration::from_secs(5);
/// How long it may take until it is as usual again.
const END: Duration = Duration::from_secs(20);
/// Tokens of an answer.
const TOKENS: u32 = 6;

/// Where a scenario plays.
pub struct Stage {
    program: String,
    folder: Scratch,
    address: String,
    stop: Arc<AtomicBool>,
    /// Ends those that were not there at first.
    more: Arc<AtomicBool>,
    /// Clients that are there from the start.
    usual: usize,
    asking: Vec<JoinHandle<()>>,
    children: Vec<Child>,
    /// It ends after those that ask it.
    llama: Option<Llama>,
    pub server: Place,
    pub beside: Place,
    pub above: Place,
}

/// A cgroup with limits.
pub struct Place(Cgroup);

impl Place {
    /// Without any limit.
    fn free(&self) {
        let v2 = self.0.is_v2();
        let files = [
            (Controller::Cpu, ["cpu.max", "cpu.cfs_quota_us"], ["max 100000", "-1"]),
            (Controller::Memory, ["memory.max", "memory.limit_in_bytes"], ["max", "-1"]),
            (Controller::Memory, ["memory.high", ""], ["max", ""]),
        ];
        for (controller, names, values) in files {
            // Not every kernel has each of them.
            let _ = fs::write(self.0.file(controller, names[usize::from(!v2)]), values[usize::from(!v2)]);
        }
    }

    fn write(&self, controller: Controller, [v2, v1]: [(&str, String); 2]) {
        let (name, value) = if self.0.is_v2() { v2 } else { v1 };
        let file = self.0.file(controller, name);
        fs::write(&file, &value).unwrap_or_else(|why| panic!("{value} to {}: {why}", file.display()));
    }

    /// In hundredths of a CPU.
    pub fn quota(&self, percent: u64) {
        let quota = percent * 1000;
        self.write(Controller::Cpu, [("cpu.max", format!("{quota} 100000")), ("cpu.cfs_quota_us", quota.to_string())]);
    }

    /// As many times as usual.
    pub fn weight(&self, times: u64) {
        let [v2, v1] = [(100 * times).to_string(), (1024 * times).to_string()];
        self.write(Controller::Cpu, [("cpu.weight", v2), ("cpu.shares", v1)]);
    }

    pub fn limit(&self, bytes: u64) {
        self.0.limit(bytes);
    }

    pub fn high(&self, bytes: u64) {
        fs::write(self.0.memory().join("memory.high"), bytes.to_string()).unwrap();
    }
}

impl Stage {
    fn act(&mut self, place: fn(&Stage) -> &Place, steps: &[&str]) {
        let steps = [&["act"], steps].concat();
        let child = provocation::spawn(&self.program, &place(self).0, &steps);
        self.children.push(child);
    }

    pub fn neighbour(&mut self, steps: &[&str]) {
        self.act(|stage| &stage.beside, steps);
    }

    pub fn sidecar(&mut self, steps: &[&str]) {
        self.act(|stage| &stage.server, steps);
    }

    /// It writes past the page cache with several threads.
    pub fn neighbour_on_disk(&mut self) {
        let path = self.folder.join("flood");
        let step = format!("write:{}:600:16", path.display());
        fs::write(&path, vec![1; 64 << 20]).unwrap();
        self.neighbour(&[&step]);
    }

    /// What made it slow is over.
    fn calm(&mut self) {
        self.end_children();
        self.more.store(true, Ordering::Relaxed);
        [&self.above, &self.server, &self.beside].into_iter().for_each(Place::free);
    }

    fn end_children(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// More of them, until it is calm.
    pub fn clients(&mut self, count: usize) {
        for _ in 0..count {
            let (stops, address) = ([self.stop.clone(), self.more.clone()], self.address.clone());
            let first = self.asking.len() < self.usual;
            let ask = move || {
                let over = || stops[0].load(Ordering::Relaxed) || !first && stops[1].load(Ordering::Relaxed);
                // It may be killed.
                while !over() && catch_unwind(|| complete(&address, "abc", TOKENS)).is_ok() {}
            };
            self.asking.push(std::thread::spawn(ask));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.end_children();
        self.asking.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Stages what applies to this host, one after the other; prints each result. `program` is `provoke`.
pub fn run(program: &str, scenarios: Vec<Slow>, options: &Options) -> Vec<Row> {
    if !python().is_file() {
        println!("slowness is not staged: llama.cpp's server is not installed: cargo xtask test");
        return Vec::new();
    }
    let _caught = interrupt::catch();
    let v2 = Cgroup::new("stage-probe").is_v2();
    let applies = |scenario: &Slow| match scenario.host {
        Host::Any => true,
        Host::V1 => !v2,
        Host::V2 => v2,
        Host::Own => v2 && own_machine(),
    };
    let names = &options.names;
    let asked = |scenario: &Slow| names.is_empty() || names.iter().any(|it| scenario.name.contains(it.as_str()));
    let chosen: Vec<Slow> = scenarios.into_iter().filter(|it| applies(it) && asked(it)).collect();
    if chosen.is_empty() {
        return Vec::new();
    }
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start_unrecorded(&format!("{CONFIG}[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let listener = Listener::new(agent.directory(), receiver);
    let mut rows = Vec::new();
    for scenario in chosen {
        if interrupt::noted() {
            break;
        }
        let played = catch_unwind(AssertUnwindSafe(|| play(program, &scenario, &agent, &listener)));
        let row = played.unwrap_or_else(|_| Row { failed: Some("it panicked".to_owned()), ..row(&scenario) });
        println!("{MARK}{}", row.json());
        rows.push(row);
    }
    assert!(!interrupt::noted(), "interrupted");
    agent.stop();
    rows
}

fn row(scenario: &Slow) -> Row {
    let truth = if scenario.causes.is_empty() { "nothing".to_owned() } else { scenario.causes.join(" or ") };
    Row { name: scenario.name.to_owned(), what: scenario.what.to_owned(), truth, ..Row::default() }
}

/// Writes the holes of a model to the disk, so that it is read from there, and leaves nothing in memory: who reads it is charged.
fn fill(model: &Path) {
    let bytes = fs::read(model).unwrap();
    fs::write(model, &bytes).unwrap();
    let file = fs::File::open(model).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Whether the agent knows what is usual for the server on this port, and that it is not slower now.
fn is_usual(agent: &Agent, port: &str) -> bool {
    let page = body(&agent.address, "/metrics", "");
    let mut lines = page.lines().filter(|line| line.starts_with("headroom_model_latency_state{"));
    lines.any(|line| line.contains(port) && line.contains("state=\"ok\"") && line.ends_with(" 1"))
}

fn play(program: &str, scenario: &Slow, agent: &Agent, listener: &Listener) -> Row {
    let failed = |why: String| Row { failed: Some(why), ..row(scenario) };
    let folder = scratch();
    let model = folder.join("made-up.gguf");
    gguf::llama(&model, scenario.layers);
    if scenario.on_disk {
        fill(&model);
    }
    let above = Cgroup::everywhere(&format!("stage-{}", scenario.name));
    for controller in ["cpu", "memory", "io"] {
        let _ = above.delegate(controller);
    }
    let [server, beside] = ["server", "neighbour"].map(|name| Cgroup::everywhere_at(&format!("{}/{name}", above.path)));
    let (path, root) = (server.path.clone(), above.path.clone());
    let [server, beside, above] = [server, beside, above].map(Place);
    let mut stage = Stage {
        program: program.to_owned(),
        folder,
        address: String::new(),
        stop: Arc::default(),
        more: Arc::default(),
        usual: scenario.clients,
        asking: Vec::new(),
        children: Vec::new(),
        llama: None,
        server,
        beside,
        above,
    };
    (scenario.before)(&mut stage);
    let flags = [&["-c", "512", "-t", "1", "--cache-ram", "0", "--metrics"], scenario.flags].concat();
    let llama = Llama::start(&stage.server.0, &model, &flags);
    let port = llama.port().to_owned();
    stage.address.clone_from(&llama.address);
    stage.llama = Some(llama);
    stage.clients(scenario.clients);
    let ours = |since: u64| -> Vec<Told> {
        let is_ours = |it: &Told| {
            let labels = &it.incident.labels;
            it.incident.kind.name() == KIND && labels.get("workload") == Some(&path)
        };
        listener.incidents(since).into_iter().filter(is_ours).collect()
    };
    let started = clock::unix_ns();
    let mut calm = 0;
    let usual = until("that it is known what is usual", USUAL, || {
        std::thread::sleep(Duration::from_millis(500));
        calm = if is_usual(agent, &port) { calm + 500 } else { 0 };
        (calm >= SURER.as_millis()).then_some(())
    });
    if let Err(why) = usual {
        // Perhaps something else made it slow: a host that is not calm.
        let told = ours(started).first().map(|told| format!(": {}: {}", told.last.cause, told.last.sentence));
        return failed(why + &told.unwrap_or_default());
    }
    let begun = clock::unix_ns();
    (scenario.fault)(&mut stage);
    let mut row = row(scenario);
    if scenario.causes.is_empty() {
        let _ = interrupt::pause(SILENCE);
        let told = ours(begun);
        (row.first, row.last) =
            told.first().map_or(("nothing".to_owned(), "nothing".to_owned()), |it| texts(it, &root));
        (row.first_right, row.cause_right) = (told.is_empty(), told.is_empty());
        for it in told {
            println!(
                "{}: {}",
                scenario.name,
                serde_json::json!([it.incident.evidence.slow, it.incident.evidence.latency])
            );
        }
        return row;
    }
    if until("the report", TOLD, || (!ours(begun).is_empty()).then_some(())).is_err() {
        row.last = "nothing was told".to_owned();
        return row;
    }
    let _ = interrupt::pause(LONGER);
    stage.calm();
    let done = || ours(begun).first().filter(|told| told.incident.complete).cloned();
    let told = until("the end", END, done).ok().or_else(|| ours(begun).first().cloned());
    let Some(told) = told else { return failed("the incident is gone".to_owned()) };
    (row.first, row.last) = texts(&told, &root);
    row.first_right = scenario.causes.contains(&&*told.first.cause);
    row.cause_right = scenario.causes.contains(&&*told.last.cause);
    let missing = scenario.says.iter().filter(|words| !told.last.sentence.contains(*words));
    row.faults = missing.map(|words| format!("the sentence does not say {words}")).collect();
    if !row.right() {
        // For whoever looks for the rule that is wrong.
        let evidence = &told.incident.evidence;
        println!("{}: {}", scenario.name, serde_json::json!([evidence.slow, evidence.latency]));
    }
    row
}

/// What was said first and last, without the path of the scenario, which is long.
fn texts(told: &Told, root: &str) -> (String, String) {
    let text = |cause: &str, sentence: &str| format!("{cause}: {sentence}").replace(root, "/…");
    (text(&told.first.cause, &told.first.sentence), text(&told.last.cause, &told.last.sentence))
}
