//! What work needed, learned from a recording as `run --record` writes it: the same samples give the same lessons, also when a clock
//! jumps, and nothing that came to another user.

use collector_core::engine::Engine;
use collector_core::learn::{Change, File, Work};
use collector_core::lease::{Ask, Asked, Body, Caller, Claim, Decision, Kept, Limits, Owner, Request, Use, Verdict};
use collector_core::need::{Memory, Need, Origin, Part, Resource};
use collector_core::outcome::Outcome;
use collector_core::recording;
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::host::{Statistic, Values};

use crate::fixture::start;

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;
const GIB: u64 = 1 << 30;

/// Samples, one second after the other.
struct Tape(Vec<Sample>, u64);

impl Tape {
    fn new() -> Tape {
        let mut tape = Tape(Vec::new(), BEGIN);
        tape.add(Reading::Start(start()));
        tape.add(Reading::Host(Values::from_iter([
            (Statistic::MemoryTotal, 100 * GIB),
            (Statistic::MemoryAvailable, 90 * GIB),
        ])));
        tape.add(Reading::Lease(Kept::Limits(Limits { learn_ns: 30 * SECOND, ..Limits::default() })));
        tape
    }

    fn add(&mut self, reading: Reading) {
        self.0.push(Sample { time: self.1, reading });
    }

    fn ticks(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.1 += SECOND;
            self.add(Reading::Tick);
        }
    }

    fn ask(&mut self, number: u64, uid: u32, asked: Asked) {
        let caller = Caller { uid, ..Caller::default() };
        self.add(Reading::Request(Box::new(Request { number, caller, asked })));
    }

    /// A run that uses so much, and ends after so many seconds; the clock is set forward meanwhile by `jump`.
    fn run(&mut self, id: u64, uid: u32, hard: u64, seconds: u64, jump: u64) {
        let pid = 100 + id as u32;
        let claim = Claim { need: need(), work: Some(Box::new(work())), ..Claim::default() };
        let owner = Owner::Process { pid, started: 1 };
        self.ask(id, uid, Asked::Claim { claim, owner, used: Use::default() });
        let (executables, names) = (vec![work().executable], vec!["renamed".to_owned()]);
        self.add(Reading::Lease(Kept::Ran { id, executables, names }));
        self.add(Reading::Lease(Kept::Used { id, used: Use { hard, pids: vec![pid], ..Use::default() } }));
        self.1 += jump * SECOND;
        self.ticks(seconds);
        self.add(Reading::Lease(Kept::Gone { id }));
        self.ticks(1);
    }

    /// As a file, and read from it.
    fn replay(&self) -> (Vec<Verdict>, Vec<Change>) {
        let text: String = self.0.iter().map(|sample| serde_json::to_string(sample).unwrap() + "\n").collect();
        let (mut engine, mut verdicts, mut changes) = (Engine::new(), Vec::new(), Vec::new());
        for sample in recording::samples(text.as_bytes()) {
            for outcome in engine.apply(&sample.unwrap()) {
                match outcome {
                    Outcome::Learned(change) => changes.push(*change),
                    Outcome::Answer(answer) => verdicts.extend(match answer.body {
                        Body::Verdict(verdict) => Some(verdict),
                        _ => None,
                    }),
                    _ => {}
                }
            }
        }
        (verdicts, changes)
    }
}

fn work() -> Work {
    Work {
        executable: File { device: 1, inode: 2, size: 3, modified: 4 },
        names: vec!["server".into()],
        model: Some("0a1b".into()),
        settings: "0c1d".into(),
        name: "server model.gguf #0c1d".into(),
        ..Work::default()
    }
}

fn need() -> Need {
    let resource = Resource::Host { memory: Memory::Anonymous };
    let part = Part {
        what: "weights".into(),
        resource,
        amount: 20 * GIB,
        error: GIB,
        origin: Origin::Estimated,
        loading: false,
    };
    Need { parts: vec![part], ..Need::default() }
}

fn admit() -> Asked {
    Asked::Admit(Ask { need: need(), work: Some(Box::new(work())), ..Ask::default() })
}

#[test]
fn a_recording_teaches_the_same_each_time_and_each_user_its_own() {
    let mut tape = Tape::new();
    tape.run(1, 7, 15 * GIB, 40, 0);
    // That it was set forward by an hour makes the run no hour long.
    tape.run(2, 7, 19 * GIB, 10, 3600);
    tape.run(3, 7, 16 * GIB, 40, 0);
    tape.run(4, 8, 2 * GIB, 40, 0);
    tape.ask(100, 7, admit());
    tape.ask(101, 8, admit());
    tape.ask(102, 9, admit());
    let (verdicts, changes) = tape.replay();
    assert_eq!(tape.replay(), (verdicts.clone(), changes.clone()));
    let said: Vec<_> = verdicts.iter().map(|one| one.learned.as_ref().map(|lesson| lesson.sentences())).collect();
    let seen = "seen 2 times, at most 16.0 GiB of host memory (expected: 20.0 GiB ± 1.00 GiB, 25 % more): that counts, with a margin \
                (17.6 GiB)";
    let little = "seen once, at most 2.00 GiB of host memory (expected: 20.0 GiB ± 1.00 GiB, 900 % more): it does not count, \
                  because it is less than half of the estimate";
    assert_eq!(said, [Some(vec![seen.to_owned()]), Some(vec![little.to_owned()]), None]);
    assert!(verdicts.iter().all(|one| one.verdict == Decision::Yes));
    // What was kept is what a later recording begins with.
    let mut later = Tape::new();
    for change in changes {
        let Change::Kept(entry) = change else { panic!("nothing is forgotten") };
        later.add(Reading::Lease(Kept::Learned(Box::new(entry))));
    }
    later.ask(1, 7, admit());
    assert_eq!(later.replay().0[0].learned, verdicts[0].learned);
}
