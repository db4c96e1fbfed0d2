//! `headroom doctor`: reports what this host can and cannot measure, and why.

use std::fmt::{self, Write as _};
use std::io::{Write as _, stdout};
use std::sync::Arc;

use anyhow::Context as _;
use collector_common::SIGNALS;
use collector_core::audit::{Audited, State};
use collector_core::isolation;
use collector_core::sample::{Probe, ProbeState};
use collector_core::text::shown;
use serde::{Serialize, Serializer};

use super::direct::Direct;
use super::listening;
use super::settings::Settings;
use super::terminal::colour;
use crate::config::Config;
use crate::confine;
use crate::exit::{Exit, Failure};
use crate::privilege;
use crate::source::Finding;
use crate::source::catalogue::SOURCES;
use crate::source::kernel::{examine as kernel, load};
use crate::source::root::Root;

/// Check what this host can measure, and why the rest is missing
///
/// Checks the kernel, its BTF, capabilities, cgroups and GPUs, and tries to attach every probe. Nothing stays attached.
/// Below "isolation" it says which limits, weights and protections of workloads act, and which do nothing or do harm.
/// Run it as the user that runs the agent. Missing parts are reported, not failures: the exit code is 0, unless
/// --require-probes is set and more probes fail than are attached, or none is attached because this kernel supports
/// none that is wanted. Then it is 7, as for run.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Check this host:
    sudo headroom doctor
  List the probes that failed, for a script:
    headroom doctor --json | jq '.probes[] | select(.state == \"failed\")'
  List limits and weights that do not act:
    headroom doctor --json | jq '.isolation[] | select(.state == \"fails\") | .fails[]'
")]
pub struct DoctorArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    kernel: String,
    architecture: &'static str,
    /// Findings of the sources, in catalogue order, and of the agent's addresses.
    #[serde(flatten, serialize_with = "by_key")]
    facts: Vec<Finding>,
    /// Missing optional capabilities, each with its cost.
    lost: Vec<String>,
    /// Why the probes could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    probes: Vec<Verdict>,
    /// Whether what isolates workloads acts; empty if that could not be read.
    isolation: Vec<Audited>,
}

fn by_key<S: Serializer>(facts: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(facts.iter().map(|fact| (fact.key, fact)))
}

#[derive(Debug, Serialize)]
struct Verdict {
    signal: &'static str,
    gives: &'static str,
    #[serde(flatten)]
    probe: Probe,
}

/// Examines the host. A missing part is a finding, not an error.
pub fn run(args: &DoctorArgs, config: Config) -> Result<(), Failure> {
    let findings = examine(&config);
    let mut out = stdout().lock();
    let text = if args.json {
        serde_json::to_string_pretty(&findings).context("write JSON")? + "\n"
    } else {
        describe(&findings, colour()).map_err(anyhow::Error::from)?
    };
    out.write_all(text.as_bytes()).context("write to standard output")?;
    if config.kernel.require_probes {
        required(&findings)?;
    }
    Ok(())
}

/// An error if too few probes can be attached.
fn required(findings: &Findings) -> Result<(), Failure> {
    let probes: Vec<Probe> = findings.probes.iter().map(|verdict| verdict.probe.clone()).collect();
    load::too_few(&probes).map_or(Ok(()), |error| Err(Failure::new(Exit::Probes, error)))
}

fn examine(config: &Config) -> Findings {
    let root = Root::new(&config.rootfs);
    let (probes, error) = match kernel::probes(config, &root) {
        Ok(probes) => (probes, None),
        Err(error) => {
            let error = format!("{error:#}");
            (load::failed(&error), Some(error))
        }
    };
    let every = SIGNALS.iter().flat_map(|signal| signal.probes.iter().map(move |probe| (signal, probe)));
    let verdicts = probes.into_iter().filter_map(|probe| {
        let (signal, row) = every.clone().find(|(_, row)| row.program == probe.program)?;
        Some(Verdict { signal: signal.name, gives: row.gives, probe })
    });
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        architecture: std::env::consts::ARCH,
        facts: SOURCES
            .iter()
            .flat_map(|row| (row.examine)(config, &root))
            .chain([listening::finding(config), confine::examine(config)])
            .collect(),
        lost: privilege::lost().map(|(capability, cost)| format!("without {capability}: {cost}")).collect(),
        error,
        probes: verdicts.collect(),
        isolation: audited(config),
    }
}

/// By one reading of the host, as an agent would judge it. Without cgroups there is nothing to judge.
fn audited(config: &Config) -> Vec<Audited> {
    let direct = Direct::with_host(config, Arc::default());
    let Ok(mut direct) = direct.inspect_err(|error| tracing::debug!("isolation is not audited: {error:#}")) else {
        return Vec::new();
    };
    direct.read();
    // GPUs are read by a thread.
    direct.wait();
    isolation::audit(direct.read())
}

/// Each check with what was found, for whom it does not hold, and what to do.
fn describe_isolation(text: &mut String, checks: &[Audited], paint: impl Fn(&str, &str) -> String) -> fmt::Result {
    if !checks.is_empty() {
        writeln!(text, "\nisolation")?;
    }
    for Audited { check, state, is, fails, left_out, .. } in checks {
        let mark = match state {
            State::Holds => paint("32", "holds"),
            State::Fails => paint("31", "fails"),
            State::NotKnown => paint("33", "not known"),
            State::Unused => paint("2", "unused"),
        };
        if fails.is_empty() {
            writeln!(text, "  {check:<24} {mark} {}", shown(is))?;
        }
        for (place, failure) in fails.iter().enumerate() {
            match place {
                0 => writeln!(text, "  {check:<24} {mark} {}", shown(&failure.is))?,
                _ => writeln!(text, "  {:<24} {:<11} {}", "", "", shown(&failure.is))?,
            }
            writeln!(text, "  {:<24} {:<11} — {}", "", "", shown(&failure.next))?;
        }
        if *left_out > 0 {
            writeln!(text, "  {:<24} {:<11} and {left_out} more", "", "")?;
        }
    }
    Ok(())
}

fn describe(findings: &Findings, colour: bool) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let paint = |code: &str, word: &str| match colour {
        true => format!("\x1b[{code}m{word:<11}\x1b[0m"),
        false => format!("{word:<11}"),
    };
    let Findings { version, kernel, architecture, facts, lost, error, probes, isolation } = findings;
    writeln!(text, "headroom {version} on Linux {kernel} ({architecture})\n")?;
    for Finding { key, title, ok, is } in facts {
        let mark = if *ok { paint("32", "ok") } else { paint("31", "missing") };
        writeln!(text, "{title:<12}{mark} {}", shown(is))?;
        if *key == kernel::CAPABILITY {
            lost.iter().try_for_each(|lost| writeln!(text, "{:<24}{lost}", ""))?;
        }
    }
    describe_isolation(&mut text, isolation, paint)?;
    if let Some(error) = error {
        // The same reason for each.
        writeln!(text, "\nNo probe was tried: {error}")?;
        return Ok(text);
    }
    let mut signal = "";
    for verdict in probes {
        if verdict.signal != signal {
            signal = verdict.signal;
            writeln!(text, "\n{signal}")?;
        }
        let state = match verdict.probe.state {
            ProbeState::Attached => paint("32", "attached"),
            ProbeState::Unneeded => paint("2", "unneeded"),
            ProbeState::Waiting => paint("2", "waiting"),
            ProbeState::Disabled => paint("33", "disabled"),
            ProbeState::Unsupported => paint("33", "unsupported"),
            ProbeState::Failed => paint("31", "failed"),
        };
        write!(text, "  {:<24} {state} {}", verdict.probe.program, verdict.gives)?;
        match &verdict.probe.reason {
            Some(reason) => writeln!(text, "\n  {:<24} {:<11} — {reason}", "", "")?,
            None => writeln!(text)?,
        }
    }
    Ok(text)
}
