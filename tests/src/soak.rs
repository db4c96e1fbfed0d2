//! A long time under mixed load: what an agent takes of the machine, second by second, and whether what it told and what it
//! counted as lost add up to what was done.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::load::Load;
use crate::process;

/// The pause after each deed of the load: some two hundred workloads are known at any time.
const PAUSE: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// One second.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Since the beginning of the load.
    pub seconds: f64,
    /// Resident memory that no file is behind, in bytes.
    pub resident: u64,
    /// Descriptors, those of cgroups' files included.
    pub descriptors: usize,
    /// CPU time since the point before, as a share of the time.
    pub cpu: f64,
    /// All that was lost so far, at every stage.
    pub lost: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Soak {
    /// Second by second, with a scrape each.
    pub points: Vec<Point>,
    /// Descriptors that are neither of cgroups' files nor of connections, before the load and after its end.
    pub descriptors: (usize, usize),
    /// Cgroups that were made and removed; births and deaths that were told, those of others included.
    pub cgroups: (u64, u64),
    /// Processes that were killed for memory; kills that were told.
    pub kills: (u64, u64),
    /// What the rings lost of both.
    pub lost: u64,
}

impl Soak {
    /// Runs it for so long, and tells of each second.
    pub fn run(duration: Duration, mut each: impl FnMut(&Point)) -> Soak {
        let agent = Agent::start_unrecorded("[workload]\ngrace = \"2s\"\n[kernel]\nmeasure = \"0s\"\n");
        let told = |agent: &Agent| agent.scrape().sum("headroom_cgroup_events_total", &[]) as u64;
        let (before, events) = (process::descriptors(agent.pid(), "/").1, told(&agent));
        let load = Load::start(PAUSE);
        let (begun, mut points) = (Instant::now(), Vec::<Point>::new());
        let (mut cpu, mut last) = (process::cpu(agent.pid()), begun);
        while begun.elapsed() < duration {
            sleep(SECOND);
            let (now, used, seen) = (Instant::now(), process::cpu(agent.pid()), agent.scrape());
            let point = Point {
                seconds: begun.elapsed().as_secs_f64(),
                resident: process::resident(agent.pid()),
                descriptors: process::all_descriptors(agent.pid()),
                cpu: (used - cpu).as_secs_f64() / (now - last).as_secs_f64(),
                lost: seen.sum("headroom_lost_total", &[]),
            };
            (cpu, last) = (used, now);
            each(&point);
            points.push(point);
        }
        let done = load.done.clone();
        drop(load);
        // Alerts about it fire on for a while.
        let ours = |workload: Option<&String>| workload.is_some_and(|name| name.starts_with("/headroom-test-load-"));
        agent.scrape_until("that nothing of the load is left", |it| {
            !it.samples.iter().any(|it| it.0 == "headroom_workload_info" && ours(it.1.get("workload")))
        });
        let seen = agent.scrape();
        let after = process::descriptors(agent.pid(), "/").1;
        Soak {
            descriptors: (before, after),
            cgroups: (done.cgroups.load(Ordering::Relaxed), told(&agent) - events),
            kills: (done.kills.load(Ordering::Relaxed), agent.kills() as u64),
            lost: seen.sum("headroom_lost_total", &[("stage", "ring_critical")]) as u64,
            points,
        }
    }
}
