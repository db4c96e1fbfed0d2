//! Plays scenarios of slowness, one after the other against one agent: the server and its clients, what is usual, and what happens.

use std::cell::RefCell;

use collector::clock;

use super::super::attempt::staged;
use super::super::interrupt;
use super::super::row::{MARK, Row};
use super::super::run::Options;
use super::super::told::Listener;
use super::Slow;
use super::place::Stage;
use super::server::is_installed;
use super::tell::{Truth, Watch, config, slower};
use crate::agent::Agent;
use crate::receiver::{Answer, Receiver};
use crate::stage::Programs;
use crate::swap::Swap;

/// Stages what applies to this host, one after the other; prints each result.
pub fn run(programs: Programs<'_>, scenarios: Vec<Slow>, options: &Options) -> Vec<Row> {
    let _caught = interrupt::catch();
    let applies = |scenario: &Slow| scenario.host.applies() && (!scenario.swap || Swap::is_possible());
    let chosen: Vec<Slow> = scenarios.into_iter().filter(|it| options.asks(it.name) && applies(it)).collect();
    if chosen.is_empty() {
        return Vec::new();
    }
    if !is_installed() {
        println!("llama.cpp's server is not installed (cargo xtask test): a stand-in reads its model for each token");
    }
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start_unrecorded(&format!("{}[[sink.webhook]]\nurl = {:?}\n", config(), receiver.url()));
    let listener = Listener::new(agent.directory(), receiver);
    let mut rows = Vec::new();
    for scenario in chosen {
        if interrupt::noted() {
            break;
        }
        let played = staged(|_| play(programs, &scenario, &agent, &listener));
        let row = played.unwrap_or_else(|why| truth(&scenario).failed(why));
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

fn play(programs: Programs<'_>, scenario: &Slow, agent: &Agent, listener: &Listener) -> Result<Row, String> {
    let truth = truth(scenario);
    let mut stage = Stage::new(programs, scenario);
    let (path, root) = (stage.server.0.path.clone(), stage.above.0.path.clone());
    (scenario.before)(&mut stage);
    let started = clock::unix_ns();
    let port = stage.serve(programs.serve, scenario);
    let watch = Watch { agent, listener, port: &port, path: &path, root: &root };
    let first = stage.took();
    watch.usual(started)?;
    let (before, begun) = (stage.took(), clock::unix_ns());
    (scenario.fault)(&mut stage);
    let stage = RefCell::new(stage);
    let slower = || slower([first, before, stage.borrow_mut().took()]);
    watch.judge(&truth, begun, slower, || stage.borrow_mut().calm(scenario.clients))
}
