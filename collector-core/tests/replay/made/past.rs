//! What is known of the days before: of the host, workloads, disks, models and alerts, and the incidents that the journal has. It comes as the
//! readings that the agent's own thread sends.

use collector_core::incident::Incident;
use collector_core::past::disk::DiskDay;
use collector_core::past::model::{Use, UseHour};
use collector_core::past::{AlertDay, Change, Day, HOURS, Hour, Past};
use collector_core::rule::Rules;
use collector_core::sample::Reading;

use super::{DAY, GIB, Host, NOW, SECOND};

impl Host {
    /// More is known of the days before.
    pub fn knows(&mut self, add: impl FnOnce(&mut Past)) -> &mut Host {
        let before = self.past.clone();
        self.past.time = NOW;
        add(&mut self.past);
        for change in Change::between(&before, &self.past) {
            self.apply(Reading::Past(Box::new(change)));
        }
        self
    }

    /// So many days of the host, or of a workload by its name, the last of them until now.
    pub fn days(&mut self, name: Option<&str>, count: u64, day: impl Fn(u64) -> Day) -> &mut Host {
        let days = (0..count).rev().map(|back| {
            let seconds = if back == 0 { (NOW % DAY / SECOND) as u32 } else { 86_400 };
            Day { time: midnight(back), seconds, ..day(back) }
        });
        let days = days.collect();
        self.knows(|past| {
            let span = match name {
                None => &mut past.host,
                Some(name) => past.workloads.entry(name.into()).or_default(),
            };
            span.days = days;
        })
    }

    /// How many GiB of a filesystem were in use on each day, the last of them today.
    pub fn filled(&mut self, mountpoint: &str, size: u64, used: &[f64]) -> &mut Host {
        let count = used.len() as u64;
        let day = |(used, number): (&f64, u64)| DiskDay {
            time: midnight(count - 1 - number),
            used: used * GIB as f64,
            size: (size * GIB) as f64,
        };
        let days = used.iter().zip(0..).map(day).collect();
        self.knows(|past| drop(past.disks.insert(mountpoint.into(), days)))
    }

    /// An alert of the default rules that fired so often, and for so many seconds, on each of the last seven days.
    pub fn fired(&mut self, alert: &str, times: u32, seconds: u32) -> &mut Host {
        self.engine.replace_rules(Rules::new(&[]).unwrap().into());
        let days = (0..7).rev().map(|back| AlertDay { time: midnight(back), fired: times, seconds });
        let days = days.collect();
        self.knows(|past| {
            past.events_from = Some(NOW - 10 * DAY);
            past.alerts.insert(alert.into(), days);
        })
    }

    /// A model that was used in these hours of the week, in all of four weeks, and so many days ago for the last time.
    pub fn used(&mut self, model: &str, days_ago: u64, used: impl Fn(usize) -> bool) -> &mut Host {
        let hour = |hour: usize| match used(hour) {
            true => UseHour { weeks: 4, quarters: 16, requests: 40.0, tokens: 40e3 },
            false => UseHour::default(),
        };
        let week = (0..HOURS).map(hour).collect();
        let (first, last) = (NOW - 28 * DAY, NOW - days_ago * DAY);
        self.knows(|past| {
            past.host.week = vec![Hour { weeks: 4, memory: None }; HOURS];
            past.models.insert(model.into(), Use { first, last, requests: 1e3, tokens: 1e6, week });
        })
    }

    /// What the journal has: incidents, each so many half days ago.
    pub fn remembers(&mut self, count: u64, incident: impl Fn(u64) -> serde_json::Value) -> &mut Host {
        let one = |number: u64| {
            let mut line = incident(number);
            line["id"] = format!("{number:04}").into();
            line["time"] = (NOW - (number + 1) * DAY / 2).into();
            line["complete"] = true.into();
            serde_json::from_value::<Incident>(line).unwrap()
        };
        let incidents: Vec<Incident> = (0..count).map(one).collect();
        self.engine.remember(&incidents);
        self
    }
}

/// When the day began that is so many days back.
fn midnight(back: u64) -> u64 {
    NOW - NOW % DAY - back * DAY
}
