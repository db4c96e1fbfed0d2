//! A long run under mixed load: the agent's use of resources, second by second, and whether what it reported and what it
//! counted as lost add up to what was done.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::cgroup::own;
use crate::load::Load;
use crate::process;

/// Pause after each step of the load. With it, about two hundred workloads are known at any time.
const PAUSE: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// Measurements of one second.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Since the start of the load.
    pub seconds: f64,
    /// Resident anonymous memory in bytes.
    pub resident: u64,
    /// Open descriptors, including those of cgroup files.
    pub descriptors: usize,
    /// CPU time since the previous point, as a share of the time.
    pub cpu: f64,
    /// Everything lost so far, at all stages.
    pub lost: f64,
}

/// The result.
#[derive(Debug)]
pub struct Soak {
    /// One per second, with a scrape each.
    pub points: Vec<Point>,
    /// What is open except cgroup files and connections, before the load and after it.
    pub descriptors: (Vec<String>, Vec<String>),
    /// Cgroups made and removed by the load; cgroups reported as created or removed, including those of others.
    pub cgroups: (u64, u64),
    /// Processes that were OOM-killed; kills that were reported.
    pub kills: (u64, u64),
    /// Records of either kind that the rings lost.
    pub lost: u64,
}

impl Soak {
    /// Runs the load for this duration, and calls `each` every second.
    pub fn run(duration: Duration, mut each: impl FnMut(&Point)) -> Soak {
        let agent = Agent::start_unrecorded("[workload]\ngrace = \"2s\"\n[kernel]\nmeasure = \"0s\"\n");
        let reported = |agent: &Agent| agent.scrape().sum("headroom_cgroup_events_total", &[]) as u64;
        let (before, events) = (process::others(agent.pid()), reported(&agent));
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
        // Alerts about the load keep firing for a while.
        let names = [own("load"), own("load-wave")];
        let ours = |workload: Option<&String>| workload.is_some_and(|it| names.iter().any(|own| it.starts_with(own)));
        agent.scrape_until("the end of the load's workloads", |it| {
            !it.samples.iter().any(|it| it.0 == "headroom_workload_info" && ours(it.1.get("workload")))
        });
        let seen = agent.scrape();
        let after = process::others(agent.pid());
        Soak {
            descriptors: (before, after),
            cgroups: (done.cgroups.load(Ordering::Relaxed), reported(&agent) - events),
            kills: (done.kills.load(Ordering::Relaxed), agent.kills() as u64),
            lost: seen.lost("ring_critical") as u64,
            points,
        }
    }
}
