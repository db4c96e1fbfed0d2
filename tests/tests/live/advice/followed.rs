//! Advice about real cgroups, from a recording of seconds that is replayed as if it had taken minutes: advice is shown after it held for five.
//! Its numbers are compared with the kernel's own files, its commands are run, and the recording shows that they were followed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use collector::clock::unix_ns;
use collector::source::cgroup::Controller;
use collector_core::action::{Action, Tool};
use collector_core::advice::{Advice, Confidence};
use collector_core::amount::bytes;
use collector_core::api::suggestions::Suggestions;
use collector_core::engine::Engine;
use collector_core::past::midnight;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};
use collector_core::series::Series;
use collector_core::standing::{Standing, State};
use collector_core::statistic::model::Kind;
use collector_core::statistic::workload::Statistic;
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::past::leave;
use collector_tests::process::Killed;
use collector_tests::provocation::was_killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::serve::Process;
use collector_tests::{applies, needs, provoke};

use super::{ENOUGH, MIB, ROOMY, days, holds, limit, limit_file, quota};

const CONFIG: &str = "tick = \"250ms\"\n[models]\ninterval = \"250ms\"\n[workload]\nstat_interval = \"250ms\"\nclose_interval = \"500ms\"\n";
/// A second of the recording stands for so many, and a period of a CPU quota for so many: an hour of them is needed.
const PACE: u64 = 120;
const PERIODS: u64 = 3600;
/// A limit at which processes are killed, and what is then advised: 100 MiB more, in a round number.
const TIGHT: u64 = 64 * MIB;
const MORE: u64 = 168 * MIB;

/// The recording of an agent so far, as if it had taken longer.
struct Replay {
    engine: Engine,
    samples: Vec<Sample>,
}

impl Replay {
    fn new() -> Replay {
        Replay { engine: Engine::with(Arc::new(Rules::new(&[]).unwrap())), samples: Vec::new() }
    }

    /// Replays what came since, until something is seen in the advice.
    fn until<T>(&mut self, agent: &Agent, what: &str, seen: impl Fn(&[Standing]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for sample in agent.samples_from(self.samples.len()) {
                let first = self.samples.first().map_or(sample.time, |first| first.time);
                let sample = slowed(sample, first);
                self.engine.apply(&sample);
                self.samples.push(sample);
            }
            let advice = &self.engine.view().advice;
            if let Some(seen) = seen(&advice.standing) {
                return seen;
            }
            let told = || advice.standing.iter().map(|it| (&it.advice.id, it.state.label())).collect::<Vec<_>>();
            assert!(Instant::now() < deadline, "{what}: {:?}\n{:#?}\n{}", told(), advice.lacking, agent.log());
            sleep(Duration::from_millis(250));
        }
    }
}

fn slowed(mut sample: Sample, first: u64) -> Sample {
    sample.time = first + sample.time.saturating_sub(first) * PACE;
    match &mut sample.reading {
        Reading::Statistics(it) => {
            for of in [Statistic::CpuPeriods, Statistic::CpuThrottledPeriods, Statistic::CpuThrottled] {
                it.values.put(of, it.values.get(of).map(|count| count * PERIODS));
            }
        }
        Reading::Contention(it) => it.interval *= PACE,
        _ => {}
    }
    sample
}

/// Has two processes killed at a cgroup's limit, before the eyes of an agent that keeps only a journal. How many were, by the kernel.
fn kill(journal: &Path, cgroup: &Cgroup) -> u64 {
    let mut agent = Agent::spawn_unrecorded("tick = \"200ms\"\nhistory.max_bytes = 0\n", |command| {
        command.env("HEADROOM_JOURNAL_DIR", journal);
    });
    agent.await_ready();
    for _ in 0..2 {
        let mut hog = Killed(provoke!(cgroup, &["hog", "anon=134217728"]));
        assert!(was_killed(&mut hog.0));
    }
    agent.await_kills(2);
    agent.stop();
    cgroup.kills()
}

/// What an advice rests on, by how it begins.
fn evidence(advice: &Advice, what: &str) -> f64 {
    let found = advice.evidence.iter().find(|it| it.what.starts_with(what));
    found.unwrap_or_else(|| panic!("{what}: {advice:#?}")).value
}

/// Types what is advised, where a shell would leave traces of a name that it took for more.
fn run(folder: &Path, text: &str) {
    let status = Command::new("sh").arg("-c").arg(text).current_dir(folder).status().unwrap();
    assert!(status.success(), "{text}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{text}");
}

/// The one command for a plain cgroup.
fn command(action: &Action) -> &str {
    let [command] = &action.commands[..] else { panic!("{action:#?}") };
    assert_eq!((command.tool, &command.file), (Tool::Cgroup, &None), "{action:#?}");
    &command.text
}

#[test]
fn advice_has_the_kernels_numbers_and_its_commands_do_what_it_says() {
    needs!(is_root(), "loading eBPF programs needs root");
    applies!(available_parallelism().is_ok_and(|cpus| cpus.get() > 1), "a quota is raised where a whole CPU idles");
    let (journal, folder, empty) = (scratch(), scratch(), scratch());
    // A shell that took the name for more than a name would leave a file.
    let roomy = Cgroup::new("it's $(touch ran)");
    let full = Cgroup::new("full");
    let slow = Cgroup::everywhere("slow");
    roomy.limit(ROOMY);
    full.limit(TIGHT);
    slow.try_quota(20.0).unwrap();
    // Whatever else runs here: it gets what its quota allows.
    slow.try_weight(10 * 1024).unwrap();
    let killed = kill(&journal, &full);
    days::host(&journal, unix_ns());
    days::steady(&journal, &roomy.path, unix_ns(), ROOMY);
    let most = full.peak().unwrap_or(TIGHT) as f32;
    leave(&journal, Some(&full.path), [midnight(unix_ns())], |_| {
        vec![(Series::Memory, most), (Series::MemoryLimit, TIGHT as f32)]
    });
    let _held = [holds(&roomy, 40 * MIB), holds(&full, 4 * MIB)];
    let _server = Process::start(env!("CARGO_BIN_EXE_serve"), &folder, Kind::Vllm, &[], Some(&slow));
    // It wants three tenths of a CPU.
    let _busy = Killed(provoke!(&slow, &["act", "burst:3000:7000"]));
    let mut agent = Agent::spawn(CONFIG, |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*journal);
    });
    agent.await_ready();

    let all = [("memory_limit_lower", &roomy), ("memory_limit_raise", &full), ("cpu_quota_raise", &slow)];
    let ids = all.map(|(rule, cgroup)| format!("{rule}:{}", cgroup.path));
    let find = |standing: &[Standing], id: &String| standing.iter().find(|it| it.advice.id == *id).cloned();
    let mut replay = Replay::new();
    let advised = replay.until(&agent, "not all is advised", |standing| {
        let found = ids.iter().map(|id| find(standing, id).filter(|it| it.state == State::Holds));
        Some(found.collect::<Option<Vec<_>>>()?.into_iter().map(|it| it.advice).collect::<Vec<_>>())
    });
    let [lower, raise, quicker] = &advised[..] else { panic!() };

    // The verb says the same of the recording.
    let recording = folder.join("slowed.jsonl");
    let lines = replay.samples.iter().map(|sample| serde_json::to_string(sample).unwrap() + "\n");
    fs::write(&recording, lines.collect::<String>()).unwrap();
    let mut verb = headroom("advise");
    let output = verb.args(["--config", "/dev/null", "--all", "--json", "--replay"]).arg(&recording).output().unwrap();
    let wanted = serde_json::to_string_pretty(&Suggestions::of(replay.engine.view())).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), wanted, "{output:?}");

    // A limit far above what its days needed.
    assert_eq!((limit(&roomy), limit(&full), quota(&slow)), (ROOMY, TIGHT, 0.2));
    assert_eq!(evidence(lower, "memory limit"), ROOMY as f64);
    let needed = evidence(lower, "most that the kernel cannot drop");
    assert!((864.0..890.0).contains(&(needed / MIB as f64)), "what it holds for the kernel is more: {lower:#?}");
    assert_eq!(lower.title, format!("Lower the memory limit of {} from 2.00 GiB to 1.00 GiB.", roomy.path));
    assert_eq!(lower.saves.as_ref().unwrap().bytes, Some((ROOMY - ENOUGH) as f64), "{lower:#?}");
    assert!(lower.confidence >= Confidence::Medium, "{lower:#?}");

    // A limit at which the kernel killed.
    assert_eq!((killed, evidence(raise, "kills at this limit")), (2, 2.0), "{raise:#?}");
    assert_eq!(raise.title, format!("Raise the memory limit of {} from 64.0 MiB to 168 MiB.", full.path));
    assert_eq!((raise.saves.as_ref().unwrap().kills, raise.confidence), (Some(2.0), Confidence::High), "{raise:#?}");

    // A quota that throttles, while the host idled.
    let counts = fs::read_to_string(slow.file(Controller::Cpu, "cpu.stat")).unwrap();
    let count =
        |name: &str| counts.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap();
    let share = count("nr_throttled ") / count("nr_periods ");
    let told = evidence(quicker, "share of its periods");
    assert!((told - share).abs() < 0.2, "{share}: {quicker:#?}");
    assert_eq!(quicker.title, format!("Raise the CPU quota of {} from 0.2 to 0.4 CPUs.", slow.path));

    // What is advised is typed.
    let [shrinks, grows, runs] = [lower, raise, quicker].map(|advice| &advice.actions[0]);
    for (action, cgroup, to) in [(shrinks, &roomy, ENOUGH), (grows, &full, MORE)] {
        let (file, to) = (limit_file(cgroup), to.to_string());
        let words = ["echo", &to, ">", file.to_str().unwrap()];
        assert_eq!(shlex::split(command(action)).unwrap(), words);
        assert_eq!((&action.before, &action.after), (&Some(limit(cgroup).to_string()), &Some(to)), "{action:#?}");
        assert!(action.undo.contains(&bytes(limit(cgroup))), "{action:#?}");
    }
    assert!(runs.undo.contains("0.20 CPUs"), "{runs:#?}");
    [shrinks, grows, runs].into_iter().for_each(|action| run(&empty, command(action)));
    assert_eq!((limit(&roomy), limit(&full), quota(&slow)), (ENOUGH, MORE, 0.4));

    // That is seen.
    let values = replay.until(&agent, "not all is followed", |standing| {
        let value = |it: &Standing| match &it.state {
            State::Followed { value, .. } => Some(value.clone()),
            _ => None,
        };
        let of = |id: &String| standing.iter().filter(|it| it.advice.id == *id).find_map(value);
        ids.iter().map(of).collect::<Option<Vec<_>>>()
    });
    assert_eq!(values, [ENOUGH.to_string(), MORE.to_string(), "0.4".to_owned()]);

    // And undone, with what was there before.
    let echo = if slow.is_v2() { "echo '" } else { "echo " };
    run(&empty, &command(shrinks).replacen(&format!("echo {ENOUGH}"), &format!("echo {ROOMY}"), 1));
    run(&empty, &command(grows).replacen(&format!("echo {MORE}"), &format!("echo {TIGHT}"), 1));
    run(&empty, &command(runs).replacen(&format!("{echo}40000"), &format!("{echo}20000"), 1));
    assert_eq!((limit(&roomy), limit(&full), quota(&slow)), (ROOMY, TIGHT, 0.2));
    agent.stop();
}
