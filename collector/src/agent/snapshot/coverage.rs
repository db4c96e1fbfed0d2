//! What this host can and cannot measure, with what `headroom doctor` finds. What needs capabilities that the agent gives up is
//! examined when it starts, the rest when somebody asks, for which no snapshot is held.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use collector_core::api::coverage::{Coverage, Finding};
use collector_core::view::View;

use crate::config::Config;
use crate::confine;
use crate::http::{Answer, Lane, Rendering};
use crate::mutex::lock;
use crate::privilege;
use crate::source;
use crate::source::catalogue::{Row, SOURCES};
use crate::source::kernel::examine::CAPABILITY;
use crate::source::root::Root;

/// How long findings are true.
const FRESH: Duration = Duration::from_secs(600);
/// Sources that are examined at the start: the rest needs no capabilities.
const PRIVILEGED: [&str; 2] = ["kernel", "host"];
/// The source whose library may hang: it is not examined while it is known not to answer.
const GPU: &str = "gpu";

/// What was examined when somebody asked.
#[derive(Debug)]
struct Later {
    examined: Instant,
    /// With GPUs.
    gpus: bool,
    findings: Vec<Finding>,
}

/// The host, as far as it was examined.
#[derive(Debug, Default)]
pub struct Host {
    config: Config,
    start: Vec<Finding>,
    later: Mutex<Option<Later>>,
}

impl Host {
    /// Before capabilities are dropped.
    pub fn examine(config: &Config) -> Host {
        let rows = SOURCES.iter().filter(|row| PRIVILEGED.contains(&row.name));
        let mut start = findings(config, rows);
        start.push(finding(confine::examine(config)));
        let lost = privilege::lost().map(|(capability, cost)| format!("without {capability}: {cost}"));
        if let Some(found) = start.iter_mut().find(|finding| finding.part == CAPABILITY) {
            found.costs.extend(lost);
        }
        Host { config: config.clone(), start, later: Mutex::default() }
    }

    /// All findings, those of the last minutes at most.
    fn findings(&self, gpus: bool) -> Vec<Finding> {
        let mut later = lock(&self.later);
        let fresh = later.take().filter(|it| it.gpus == gpus && it.examined.elapsed() < FRESH);
        let Later { findings, .. } = later.insert(fresh.unwrap_or_else(|| self.examine_later(gpus)));
        self.start.iter().chain(findings.iter()).cloned().collect()
    }

    fn examine_later(&self, gpus: bool) -> Later {
        let wanted = |row: &&Row| !PRIVILEGED.contains(&row.name) && (gpus || row.name != GPU);
        let (examined, mut findings) = (Instant::now(), findings(&self.config, SOURCES.iter().filter(wanted)));
        if !gpus {
            findings.push(unexamined(GPU, "not examined while their source does not answer: see sources"));
        }
        Later { examined, gpus, findings }
    }

    /// Those of the start, and that there is no more.
    fn known(&self) -> Vec<Finding> {
        let rest = unexamined("rest", "examining the host takes too long, or too many wait for it");
        self.start.iter().cloned().chain([rest]).collect()
    }
}

fn unexamined(part: &str, why: &str) -> Finding {
    Finding { part: part.to_owned(), ok: false, is: why.to_owned(), costs: Vec::new() }
}

fn findings<'a>(config: &Config, rows: impl Iterator<Item = &'a Row>) -> Vec<Finding> {
    let root = Root::new(&config.rootfs);
    rows.flat_map(|row| (row.examine)(config, &root)).map(finding).collect()
}

fn finding(found: source::Finding) -> Finding {
    Finding { part: found.key.to_owned(), ok: found.ok, is: found.is, costs: Vec::new() }
}

pub fn render(view: &View, host: &Arc<Host>) -> Rendering {
    let coverage = Arc::new(Coverage::of(view));
    // Where there are none, or they are off, nothing is known of the source.
    let gpus = coverage.sources.iter().all(|source| source.source != GPU || source.up);
    let (late, late_host, host) = (coverage.clone(), host.clone(), host.clone());
    Rendering::Slow {
        lane: Lane::Host,
        complete: Box::new(move || answer(&coverage, host.findings(gpus))),
        late: Box::new(move || answer(&late, late_host.known())),
    }
}

fn answer(coverage: &Coverage, findings: Vec<Finding>) -> Answer {
    Answer::json(&Coverage { findings, ..coverage.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_found_once_in_a_while_and_said() {
        let config = Config { rootfs: "/nowhere".into(), ..Config::default() };
        let host = Arc::new(Host::examine(&config));
        let Rendering::Slow { complete, late, .. } = render(&View::default(), &host) else { panic!("it is at once") };
        let parse = |answer: Answer| serde_json::from_slice::<Coverage>(&answer.bytes).unwrap().findings;
        let (late, found) = (parse(late()), parse(complete()));
        let is_unexamined = |finding: &Finding| finding.part == GPU && finding.is.contains("not examined");
        let of = |findings: &[Finding], part: &str| findings.iter().find(|finding| finding.part == part).cloned();
        // A host without any files.
        assert!(!of(&found, "cgroup").unwrap().ok && of(&late, "cgroup").is_none(), "{found:?}");
        assert!(!of(&found, "pressure").unwrap().ok && of(&late, "pressure") == of(&found, "pressure"));
        assert!(of(&late, "rest").unwrap().is.contains("too long") && of(&found, "rest").is_none());
        assert!(!is_unexamined(&of(&found, GPU).unwrap()), "nothing says that its source does not answer");
        let costs = of(&found, CAPABILITY).unwrap().costs;
        assert_eq!(costs.len(), privilege::lost().count(), "{costs:?}");
        let examined = || lock(&host.later).as_ref().unwrap().examined;
        let first = examined();
        host.findings(true);
        assert_eq!(examined(), first);
        assert!(host.findings(false).iter().any(is_unexamined) && examined() > first, "it does not answer any more");
        assert!(!host.findings(true).iter().any(is_unexamined), "it answers again");
    }
}
