//! A made-up host for the tests of rules: readings as samples, and days as they would be read.

use std::sync::Arc;

use super::{Given, Judged, Rule};
use crate::advice::Advice;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::incident::Incident;
use crate::past::{Day, Past};
use crate::sample::{Reading, Sample, Start, Statistics};
use crate::signal::cgroup;
use crate::statistic::model::{Answer, Kind, Server, State};
use crate::statistic::workload::Statistic;
use crate::statistic::{contention, host};
use crate::view::View;

pub const SECOND: u64 = 1_000_000_000;
pub const DAY: u64 = 86_400 * SECOND;
/// The first of a month, so that days begin where they should.
pub const BEGAN: u64 = 20_000 * DAY;

pub struct Host {
    engine: Engine,
    /// Changed by tests where no reading does it.
    pub view: View,
    pub past: Past,
}

impl Host {
    /// With a cgroup for each path, from 1 on, on cgroup v2.
    pub fn new(paths: &[&str]) -> Host {
        let mut host = Host { engine: Engine::new(), view: View::default(), past: Past::default() };
        let start = crate::engine::test::start();
        host.apply(0, Reading::Start(Start { workload_max: 100, memory_hierarchy: 0, io_hierarchy: 0, ..start }));
        for (path, number) in paths.iter().zip(1..) {
            let born = cgroup::Reading::Born { id: id(number), path: (*path).to_owned() };
            host.apply(0, Reading::Cgroup(born));
            host.files(0, number, &[(Statistic::MemoryCurrent, 1 << 30), (Statistic::Populated, 1)]);
        }
        host
    }

    /// Folds a reading at a second after the start.
    pub fn apply(&mut self, second: u64, reading: Reading) {
        self.engine.apply(&Sample { time: BEGAN + second * SECOND, reading });
        self.view = View::clone(self.engine.view());
    }

    pub fn files(&mut self, second: u64, cgroup: u64, values: &[(Statistic, u64)]) {
        let values = values.iter().copied().collect();
        self.apply(second, Reading::Statistics(Statistics { cgroup: id(cgroup), values, turn: true }));
    }

    pub fn close(&mut self, second: u64, cgroup: u64, values: &[(contention::Statistic, u64)]) {
        let line = serde_json::json!({ "cgroup": id(cgroup), "values": {}, "interval": 5 * SECOND });
        let reading: contention::Reading = serde_json::from_value(line).unwrap();
        let values = values.iter().copied().collect();
        self.apply(second, Reading::Contention(contention::Reading { values, ..reading }));
    }

    pub fn host(&mut self, second: u64, values: &[(host::Statistic, u64)]) {
        self.apply(second, Reading::Host(values.iter().copied().collect()));
    }

    /// A model server in this cgroup.
    pub fn serve(&mut self, second: u64, cgroup: u64, kind: Kind) {
        let line = serde_json::json!({ "name": "server:8000", "kind": kind, "url": "http://127.0.0.1:8000", "pid": 7, "cgroup": id(cgroup) });
        let server: Server = serde_json::from_value(line).unwrap();
        let answer: Answer = serde_json::from_value(serde_json::json!({ "state": "up", "took": 1 })).unwrap();
        let answer = Answer { state: State::Up, ..answer };
        let reading = crate::statistic::model::Reading { server: Arc::new(server), answer: Some(answer) };
        self.apply(second, Reading::Model(reading));
    }

    pub fn tick(&mut self, second: u64) {
        self.apply(second, Reading::Tick);
    }

    pub fn remember(&mut self, incidents: &[Incident]) {
        self.engine.remember(incidents);
        self.view = View::clone(self.engine.view());
    }

    pub fn judge(&self, rule: &Rule) -> Judged {
        let mut judged = Judged::default();
        (rule.judge)(&Given { view: &self.view, past: &self.past }, &mut judged);
        judged.advice.iter().for_each(Advice::assert_sentences);
        judged
    }
}

fn id(id: u64) -> Id {
    Id { hierarchy: 0, id }
}

/// Whole days up to the start, each made by its number.
pub fn days(count: u64, day: impl Fn(u64) -> Day) -> Vec<Day> {
    (0..count).map(|number| Day { time: BEGAN - (count - number) * DAY, seconds: 86_400, ..day(number) }).collect()
}
