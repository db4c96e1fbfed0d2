//! Plays scenarios of slowness, one after the other against one agent: the server and its clients, what is usual, and what happens.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use collector::clock;

use super::super::interrupt;
use super::super::row::{MARK, Row};
use super::super::run::Options;
use super::super::scenario::Host;
use super::super::told::Listener;
use super::Slow;
use super::place::Stage;
use super::server::is_installed;
use super::tell::{CONFIG, Truth, Watch};
use crate::agent::Agent;
use crate::cgroup::Cgroup;
use crate::receiver::{Answer, Receiver};
use crate::require::own_machine;
use crate::stage::Programs;

/// Stages what applies to this host, one after the other; prints each result.
pub fn run(programs: Programs<'_>, scenarios: Vec<Slow>, options: &Options) -> Vec<Row> {
    let _caught = interrupt::catch();
    let v2 = Cgroup::new("stage-probe").is_v2();
    let applies = |scenario: &Slow| match scenario.host {
        _ if scenario.swap && !Path::new("/sys/block/zram0").exists() => false,
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
    if !is_installed() {
        println!("llama.cpp's server is not installed (cargo xtask test): a stand-in reads its model for each token");
    }
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start_unrecorded(&format!("{CONFIG}[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let listener = Listener::new(agent.directory(), receiver);
    let mut rows = Vec::new();
    for scenario in chosen {
        if interrupt::noted() {
            break;
        }
        let played = catch_unwind(AssertUnwindSafe(|| play(programs, &scenario, &agent, &listener)));
        let row = played.unwrap_or_else(|_| truth(&scenario).failed("it panicked".to_owned()));
        println!("{MARK}{}", row.json());
        rows.push(row);
    }
    assert!(!interrupt::noted(), "interrupted");
    agent.stop();
    rows
}

fn truth(scenario: &Slow) -> Truth {
    let Slow { name, what, causes, says, .. } = *scenario;
    Truth { name, what, causes, says }
}

fn play(programs: Programs<'_>, scenario: &Slow, agent: &Agent, listener: &Listener) -> Row {
    let truth = truth(scenario);
    let mut stage = Stage::new(programs, scenario);
    let (path, root) = (stage.server.0.path.clone(), stage.above.0.path.clone());
    (scenario.before)(&mut stage);
    let started = clock::unix_ns();
    let port = stage.serve(programs.serve, scenario);
    let watch = Watch { agent, listener, port: &port, path: &path, root: &root };
    let first = stage.took();
    if let Err(why) = watch.usual(started) {
        return truth.failed(why);
    }
    let (before, begun) = (stage.took(), clock::unix_ns());
    (scenario.fault)(&mut stage);
    let stage = RefCell::new(stage);
    let slower = || mean(before, stage.borrow_mut().took()) / mean(first, before);
    watch.judge(&truth, begun, slower, || stage.borrow_mut().calm(scenario.clients))
}

/// Seconds of a request between two moments.
fn mean(from: (u64, f64), until: (u64, f64)) -> f64 {
    (until.1 - from.1) / until.0.saturating_sub(from.0).max(1) as f64
}
