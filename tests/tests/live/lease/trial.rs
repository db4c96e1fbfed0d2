//! Random admissions on real cgroups. What was admitted is started, and so is what was refused: by the kernel's own count of kills, no `yes`
//! and no `tight` ends with one, and hardly any `no` would have fitted.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::stage::script::Numbers;
use serde_json::{Value, json};

use super::{MIB, TICK, answer, send, socket};

/// How many admissions there are, and the numbers that they follow from.
const TRIALS: (&str, u64) = ("HEADROOM_TRIALS", 40);
const SEED: (&str, u64) = ("HEADROOM_SEED", 1);
/// The most that would have fitted of what was refused.
const WRONG: f64 = 0.05;
/// What the kernel charges three processes with before they take anything, roughly.
const EMPTY: u64 = 3 * MIB;
/// What the kernel charges a cgroup with ahead of need, for each CPU (`MEMCG_CHARGE_BATCH` pages, mm/memcontrol.c): it counts as used, and
/// whoever runs on that CPU still gets it. What is short by less is on the edge: it may fit, but nobody can promise that.
const AHEAD: u64 = 64 * 4096;

fn chosen((variable, usual): (&str, u64)) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

/// A cgroup in use, and what is asked for there. In bytes.
#[derive(Debug)]
struct Drawn {
    limit: u64,
    anonymous: u64,
    shared: u64,
    /// Of files that are read, and of files that are written and not yet on the disk.
    read: u64,
    written: u64,
    /// What somebody else there reserved, and what it uses of that before the question.
    reserved: u64,
    begun: u64,
    /// Anonymous memory and mapped files.
    hard: u64,
    soft: u64,
}

impl Drawn {
    fn draw(numbers: &mut Numbers) -> Drawn {
        let mut chance = |share: f64| numbers.between(0.0, 1.0) < share;
        let (leased, mapped, near, dirty) = (chance(0.25), chance(0.25), chance(0.5), chance(0.25));
        let mut of = |all: u64, low: f64, high: f64| (all as f64 * numbers.between(low, high)) as u64 & !4095;
        let limit = of(MIB, 48.0, 160.0);
        let (anonymous, shared) = (of(limit, 0.0, 0.5), of(limit, 0.0, 0.15));
        let left = limit - anonymous - shared - EMPTY;
        let reserved = if leased { of(left, 0.1, 0.5) } else { 0 };
        let begun = of(reserved, 0.0, 0.9);
        let read = of(limit, 0.0, 0.9);
        let written = if dirty { of(16 * MIB, 0.1, 1.0) } else { 0 };
        // Half of them are near what is left.
        let hard = if near { of(left - reserved, 0.85, 1.15) } else { of(limit, 0.02, 1.2) };
        let (hard, soft) = if mapped { (hard / 2, of(limit, 0.05, 0.8)) } else { (hard, 0) };
        Drawn { limit, anonymous, shared, read, written, reserved, begun, hard, soft }
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        write!(
            f,
            "{:.1} of anonymous memory and {:.1} of mapped files asked for; limit {:.1}, in use {:.1} anonymous, {:.1} shared, files {:.1} read and {:.1} written, {:.1} used of {:.1} reserved (MiB)",
            mib(self.hard),
            mib(self.soft),
            mib(self.limit),
            mib(self.anonymous),
            mib(self.shared),
            mib(self.read),
            mib(self.written),
            mib(self.begun),
            mib(self.reserved),
        )
    }
}

/// A process that does what it is told, in a cgroup of its own below that with the limit.
struct Tenant {
    process: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    cgroup: Cgroup,
}

impl Tenant {
    fn start(above: &Cgroup, name: &str) -> Tenant {
        let cgroup = above.child(name);
        let usage = if cgroup.is_v2() { "memory.current" } else { "memory.usage_in_bytes" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
        command.arg("tenant").arg(cgroup.memory().join(usage)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Killed(cgroup.spawn(command.stderr(Stdio::inherit())));
        let (input, output) = (process.0.stdin.take().unwrap(), process.0.stdout.take().unwrap());
        Tenant { process, input, output: BufReader::new(output), cgroup }
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// What it answers; nothing if it was killed.
    fn told(&mut self, command: &str) -> Option<String> {
        writeln!(self.input, "{command}").ok()?;
        let mut said = String::new();
        self.output.read_line(&mut said).ok().filter(|length| *length > 0).map(|_| said)
    }

    /// The same of what has room.
    fn done(&mut self, command: &str) {
        assert!(self.told(command).is_some(), "{command}: it was killed");
    }
}

/// One admission, and what became of it.
struct Tried {
    verdict: String,
    fits: bool,
    /// Bytes of host memory that were short.
    short: u64,
    waits: usize,
    told: String,
}

fn try_one(socket: &str, drawn: &Drawn, files: &Scratch) -> Tried {
    let cgroup = Cgroup::new("trial");
    cgroup.limit(drawn.limit);
    let mut holder = Tenant::start(&cgroup, "holder");
    let file = |name: &str| files.join(name);
    holder.done(&format!("take {}", drawn.anonymous));
    holder.done(&format!("share {}", drawn.shared));
    holder.done(&format!("read {}", sparse(file("read"), drawn.read).display()));
    holder.done(&format!("write {} {}", file("written").display(), drawn.written));
    let mut other = (drawn.reserved > 0).then(|| Tenant::start(&cgroup, "other"));
    if let Some(other) = &mut other {
        reserve(socket, other, drawn);
    }
    let mut asks = Tenant::start(&cgroup, "asks");
    let (verdict, waits) = asked(socket, &mut asks, drawn);
    let mapped = sparse(file("mapped"), drawn.soft);
    let mut alive = asks.told(&format!("take {}", drawn.hard)).is_some();
    alive &= drawn.soft == 0 || asks.told(&format!("map {}", mapped.display())).is_some();
    // What was reserved is used now.
    if let Some(other) = &mut other {
        alive &= other.told(&format!("take {}", drawn.reserved - drawn.begun)).is_some();
    }
    // The kernel takes whoever is largest, also after it has answered.
    let mut all: Vec<&mut Tenant> = [&mut holder, &mut asks].into_iter().chain(&mut other).collect();
    alive &= all.iter_mut().all(|tenant| tenant.told("share 0").is_some());
    let kills = all.iter().map(|tenant| tenant.cgroup.kills()).sum::<u64>() + cgroup.kills();
    assert_eq!(alive, kills == 0, "{drawn}: {kills} kills");
    let word = verdict["verdict"].as_str().unwrap().to_owned();
    let lines = verdict["resources"].as_array().unwrap().iter();
    let short = lines.filter_map(|line| line["short"].as_u64()).max().unwrap_or(0);
    Tried { verdict: word, fits: alive, short, waits, told: verdict["reason"].to_string() }
}

/// A file that takes no place on the disk, but all of its length in the page cache once it is read.
fn sparse(path: PathBuf, bytes: u64) -> PathBuf {
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

fn need(hard: u64, soft: u64) -> Value {
    let part = |what: &str, memory: &str, amount: u64| json!({"what": what, "resource": "host", "memory": memory, "amount": amount, "origin": "declared"});
    let parts = [("all", "anonymous", hard), ("weights", "mapped", soft)];
    let parts: Vec<Value> =
        parts.into_iter().filter(|part| part.2 > 0).map(|(what, memory, amount)| part(what, memory, amount)).collect();
    json!({ "parts": parts })
}

/// Reserves for a process, which then takes a part of it; until the agent has seen that.
fn reserve(socket: &str, other: &mut Tenant, drawn: &Drawn) {
    let claim = json!({"need": need(drawn.reserved, 0), "owner": {"pid": other.pid()}});
    let (status, granted) = answer(send(socket, "POST", "reservations", &claim));
    assert_eq!(status, 201, "{drawn}: {granted}");
    other.done(&format!("take {}", drawn.begun));
    // What the kernel keeps of a process beside its pages does not burn a lease down.
    let seen = drawn.begun.saturating_sub(drawn.begun / 20 + MIB);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, all) = answer(send(socket, "GET", "reservations", &Value::Null));
        let list = all["reservations"].as_array().unwrap();
        // The list is that of the last tick, which may have been before the grant.
        let one = list.iter().find(|one| one["id"] == granted["id"]);
        if one.is_some_and(|one| one["resources"][0]["used"].as_u64() >= Some(seen)) {
            return;
        }
        assert!(Instant::now() < deadline, "{drawn}: {all}");
        sleep(Duration::from_millis(20));
    }
}

/// The verdict, and how often it was to wait before.
fn asked(socket: &str, asks: &mut Tenant, drawn: &Drawn) -> (Value, usize) {
    let question = json!({"need": need(drawn.hard, drawn.soft)}).to_string();
    let (deadline, mut waits) = (Instant::now() + PATIENCE, 0);
    loop {
        let said = asks.told(&format!("ask {socket} {question}")).unwrap();
        let verdict: Value = serde_json::from_str(&said).unwrap();
        if verdict["verdict"] != "wait" {
            return (verdict, waits);
        }
        assert!(Instant::now() < deadline, "{drawn}: {verdict}");
        waits += 1;
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_is_admitted_is_not_killed_and_what_is_refused_would_not_have_fitted() {
    needs!(is_root(), "making cgroups needs root");
    let (trials, seed) = (chosen(TRIALS), chosen(SEED));
    let files = scratch();
    needs!(files.is_on_disk(), "what is read of a file in memory is never given back");
    let agent = Agent::start_unrecorded(TICK);
    let socket = socket(&agent);
    let mut numbers = Numbers::new(seed, "trial");
    let mut all = Vec::new();
    for number in 0..trials {
        let drawn = Drawn::draw(&mut numbers);
        let tried = try_one(&socket, &drawn, &files);
        if tried.fits != (tried.verdict != "no") {
            let what = if tried.fits { "fits" } else { "was killed" };
            eprintln!("{number}: {} but it {what}: {}; {drawn}", tried.verdict, tried.told);
        }
        all.push(tried);
    }
    let of = |verdict: &str| all.iter().filter(|one| one.verdict == verdict).count();
    let fitted = |verdict: &str| all.iter().filter(|one| one.verdict == verdict && one.fits).count();
    eprintln!("seed {seed}, {trials} admissions\nverdict  count  ran  killed");
    for verdict in ["yes", "tight", "no"] {
        eprintln!("{verdict:<7} {:>6} {:>4} {:>7}", of(verdict), fitted(verdict), of(verdict) - fitted(verdict));
    }
    eprintln!("told to wait at first: {}", all.iter().filter(|one| one.waits > 0).count());
    assert_eq!(of("yes") + of("tight") + of("no"), all.len(), "a verdict is not known");
    for verdict in ["yes", "tight"] {
        assert_eq!(of(verdict), fitted(verdict), "{verdict}, and killed");
    }
    // On the edge: what was charged ahead, and what the kernel keeps of the processes themselves.
    let edge = AHEAD * std::thread::available_parallelism().unwrap().get() as u64 + EMPTY / 6;
    let clear: Vec<&Tried> = all.iter().filter(|one| one.verdict == "no" && one.short > edge).collect();
    let wrong = clear.iter().filter(|one| one.fits).count();
    eprintln!("refused by more than {} KiB: {}, of which {wrong} would have fitted", edge / 1024, clear.len());
    // Of a few, one is more than that.
    assert!(wrong as f64 <= (clear.len() as f64 * WRONG).max(1.0), "{wrong} of {} would have fitted", clear.len());
    assert!(of("yes") > 0 && of("no") > 0, "nothing was tried");
    agent.stop();
}
