//! Requests for room that are asked in pairs: once as it is, once with the change. The agent's own answer with the change is the truth.

use std::process::{Command, Stdio};

use collector_core::sample::Sample;
use collector_core::what_if::Change;

use super::judge::suppose;
use super::row::Row;
use crate::agent::{Agent, headroom};
use crate::cgroup::Cgroup;
use crate::process::Killed;
use crate::provocation;

const MIB: u64 = 1 << 20;

pub struct Asked {
    name: &'static str,
    what: &'static str,
    change: Change,
    was: String,
    would: String,
}

/// Asks in a cgroup whether so much may start; returns the verdict.
fn admit(agent: &Agent, cgroup: &Cgroup, mib: u64) -> String {
    let socket = agent.directory().join("headroom.sock");
    let mut command: Command = headroom("admit");
    command.arg("--socket").arg(socket).args(["--json", "--memory", &format!("{mib}M")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    cgroup.join_before_exec(&mut command);
    let output = command.output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    json["verdict"].as_str().unwrap_or("no answer").to_owned()
}

fn hold(program: &str, cgroup: &Cgroup, mib: u64) -> Killed {
    let mut child = provocation::spawn(program, cgroup, &["act", &format!("anon:{}:0", mib * MIB), "ready", "stay"]);
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())).map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"), "it does not hold its memory");
    Killed(child)
}

pub fn stage(program: &str, agent: &Agent) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (name, what, [was, would], wants) in [
        ("request_raise", "a higher limit for what was refused", [64u64, 256u64], 100u64),
        ("request_lower", "a lower limit for what was granted", [256, 64], 100),
        ("request_still", "a higher limit, which is not high enough", [64, 96], 160),
    ] {
        let [one, two] = [was, would].map(|limit| {
            let cgroup = Cgroup::new(name);
            cgroup.limit(limit * MIB);
            agent.await_rounds();
            let verdict = admit(agent, &cgroup, wants);
            (cgroup.path.clone(), verdict, cgroup)
        });
        let change = Change::Limit { workload: one.0.clone(), bytes: Some(would * MIB) };
        asked.push(Asked { name, what, change, was: one.1, would: two.1 });
        agent.await_rounds();
    }
    // Below a limit that a neighbour fills.
    let verdicts = [true, false].map(|with| {
        let above = Cgroup::new("request-shared");
        above.limit(200 * MIB);
        let [own, beside] = ["w", "n"].map(|name| above.child(name));
        let held = with.then(|| hold(program, &beside, 150));
        agent.await_rounds();
        let verdict = admit(agent, &own, 100);
        agent.await_rounds();
        drop(held);
        (beside.path.clone(), verdict)
    });
    let [(beside, was), (_, would)] = verdicts;
    let change = Change::Without { workload: beside };
    asked.push(Asked {
        name: "request_without_the_neighbour",
        what: "the neighbour that fills the shared limit does not run, and something asks for room",
        change,
        was,
        would,
    });
    asked
}

impl Asked {
    pub fn judge(self, samples: &[Sample]) -> Row {
        let report = suppose(self.change, samples);
        let other = report.requests.first().map(|request| request.would.clone());
        let said = other.unwrap_or_else(|| self.was.clone());
        let direction = said == self.would;
        Row {
            name: self.name.to_owned(),
            what: self.what.to_owned(),
            was: self.was,
            would: self.would,
            said,
            direction,
            ..Row::default()
        }
    }
}
