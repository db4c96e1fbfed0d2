//! Time from an OOM kill in the kernel to the webhook.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use collector::clock;
use collector_core::sample::Reading;
use collector_core::signal::oom;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::receiver::{Answer, Receiver, Request};

use crate::report::Report;

const LIMIT: u64 = 16 << 20;
const AIM: f64 = 50.0;

/// Kills processes one by one, each in a cgroup of its own, and waits for the notification of each.
pub fn measure(rounds: usize) -> Result<Report> {
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start(&format!("[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let (mut killed, mut died) = (Vec::new(), Vec::new());
    let mut victims = Vec::new();
    for _ in 0..rounds {
        let cgroup = Cgroup::new("alert");
        cgroup.limit(LIMIT);
        // tail looks for the last line of endless input, and fills its memory.
        let mut hog = cgroup.spawn(Command::new("tail").arg("/dev/zero").stdout(Stdio::null()).stderr(Stdio::null()));
        let status = hog.wait().context("wait for the victim")?;
        let dead = clock::unix_ns();
        ensure!(status.signal() == Some(libc::SIGKILL), "the victim ended with {status}");
        let about = |request: &&Request| reports(request, &cgroup.path);
        let requests = receiver.until("the alert", |requests| requests.iter().any(|request| about(&request)));
        let arrived = requests.iter().find(about).map(|request| request.time).context("no request")?;
        died.push((arrived as f64 - dead as f64) / 1e6);
        victims.push((hog.id(), arrived));
    }
    let delivered = victims.len();
    // The record has the kernel's time stamp of the moment at which it chose the victim.
    let samples = agent.stop();
    for (pid, arrived) in victims {
        let kill = samples
            .iter()
            .find(|sample| matches!(&sample.reading, Reading::Oom(oom::Reading::Kill(kill)) if kill.pid == pid));
        let kill = kill.with_context(|| format!("no record of the kill of {pid}"))?;
        killed.push((arrived as f64 - kill.time as f64) / 1e6);
    }
    let (killed, died) = (Quantiles::of(killed), Quantiles::of(died));
    let mut report = Report::new(&["ms until the webhook has the whole request", "p50", "p99", "slowest"]);
    report.row(killed.cells("after the kernel chose its victim"));
    report.row(died.cells("after the victim's death, as seen by its parent"));
    report.note("Each kill is of one process in a cgroup of its own with a limit of 16 MiB; ticks are a second apart.");
    report.note("The first row starts at the kernel's own time stamp, a while before the death.");
    report.aim(format!("p99 under {AIM} ms: {:.1} ms", killed.p99), killed.p99 < AIM);
    report.aim(format!("all are delivered: {delivered} of {rounds}"), delivered == rounds);
    Ok(report)
}

/// Whether this request reports that an alert for this workload fires.
fn reports(request: &Request, workload: &str) -> bool {
    let mut alerts = request.alerts().into_iter();
    alerts.any(|alert| alert["labels"]["workload"] == workload && alert["state"] == "firing")
}

/// What a tail is judged by.
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
}

impl Quantiles {
    pub fn of(mut values: Vec<f64>) -> Quantiles {
        values.sort_by(f64::total_cmp);
        // Nearest rank: the 198th of 200 values.
        let at = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Quantiles { p50: at(0.5), p99: at(0.99), most: at(1.0) }
    }

    pub fn cells(&self, name: &str) -> [String; 4] {
        [name.to_owned(), format!("{:.1}", self.p50), format!("{:.1}", self.p99), format!("{:.1}", self.most)]
    }
}
