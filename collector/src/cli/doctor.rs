//! `headroom doctor`: what this host can and cannot measure, and why.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _, stdout};
use std::path::Path;

use anyhow::Context as _;
use collector_common::SIGNALS;
use serde::Serialize;

use super::settings::Settings;
use crate::config::Config;
use crate::exit::Failure;
use crate::privilege;
use crate::sample::{Probe, ProbeState};
use crate::source::cgroup::{Controller, Hierarchies};
use crate::source::gpu;
use crate::source::host::trigger;
use crate::source::kernel::{layout, load};
use crate::source::root::Root;
use crate::source::transfer::finder::Finder;

/// Say what this host can and cannot measure, and why
///
/// Looks at the kernel, its BTF, the capabilities, the cgroup mode, and tries every probe. Nothing stays attached.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What works here, and what is missing for the rest:
    sudo headroom doctor
  The probes that failed, for a script:
    headroom doctor --json | jq '.probes[] | select(.state == \"failed\")'
")]
pub struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    kernel: String,
    architecture: &'static str,
    btf: Fact,
    capabilities: Fact,
    /// What else is missing of them, and what that costs.
    lost: Vec<String>,
    cgroup: Fact,
    pressure: Fact,
    gpu: Fact,
    /// What keeps every probe from being tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    probes: Vec<Verdict>,
}

/// Something that is as it should be, or not, and what it is.
#[derive(Debug, Serialize)]
struct Fact {
    ok: bool,
    is: String,
}

#[derive(Debug, Serialize)]
struct Verdict {
    signal: &'static str,
    gives: &'static str,
    #[serde(flatten)]
    probe: Probe,
}

/// Looks at the host. What is missing is a finding, not an error.
pub fn run(args: &DoctorArgs, config: Config) -> Result<(), Failure> {
    let findings = look(&config);
    let mut out = stdout().lock();
    let text = if args.json {
        serde_json::to_string_pretty(&findings).context("write JSON")? + "\n"
    } else {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        describe(&findings, colour).map_err(anyhow::Error::from)?
    };
    out.write_all(text.as_bytes()).context("write to standard output")?;
    Ok(())
}

/// Attaches what can be attached, and looks once for libraries.
fn try_probes(config: &Config, hierarchies: &Hierarchies) -> anyhow::Result<Vec<Probe>> {
    // One slot does: nothing is counted here.
    let loaded = load::load(config, 2, hierarchies)?;
    let mut probes = loaded.probes;
    let mut finder = Finder::new(&Root::new(&config.rootfs), load::waiting(&loaded.ebpf, &probes)?);
    if config.transfer.enabled {
        finder.scan(0, 1)?;
    }
    for found in finder.probes() {
        probes.iter_mut().filter(|probe| probe.program == found.program).for_each(|probe| *probe = found.clone());
    }
    Ok(probes)
}

fn look(config: &Config) -> Findings {
    let hierarchies = Hierarchies::find(&Root::new(&config.rootfs));
    let missing = privilege::missing();
    let tried = match (&hierarchies, missing.is_empty()) {
        (Ok(hierarchies), true) => try_probes(config, hierarchies),
        (Err(error), _) => Err(anyhow::anyhow!("{error:#}")),
        (_, false) => Err(anyhow::anyhow!("probes are tried with these capabilities only")),
    };
    let (probes, error) = match tried {
        Ok(probes) => (probes, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let every = SIGNALS.iter().flat_map(|signal| signal.probes.iter().map(move |probe| (signal, probe)));
    let verdicts = probes.into_iter().filter_map(|probe| {
        let (signal, row) = every.clone().find(|(_, row)| row.program == probe.program)?;
        Some(Verdict { signal: signal.name, gives: row.gives, probe })
    });
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        architecture: std::env::consts::ARCH,
        btf: btf(config.kernel.btf.as_deref()),
        capabilities: Fact {
            ok: missing.is_empty(),
            is: match names.is_empty() {
                true => "all that attaching takes".to_owned(),
                false => format!("missing: {}", names.join(", ")),
            },
        },
        lost: privilege::lost().map(|(capability, cost)| format!("without {capability}: {cost}")).collect(),
        cgroup: match &hierarchies {
            Ok(found) => Fact { ok: true, is: mounts(found) },
            Err(error) => Fact { ok: false, is: format!("{error:#}") },
        },
        pressure: pressure(config),
        gpu: gpus(config),
        error,
        probes: verdicts.collect(),
    }
}

/// The mode, and where each controller is; those that are together in one go.
fn mounts(hierarchies: &Hierarchies) -> String {
    let places = hierarchies.all().into_iter().map(|hierarchy| {
        let here = |controller: &&Controller| hierarchies.of(**controller).is_some_and(|it| it.id == hierarchy.id);
        let names: Vec<_> = Controller::ALL.iter().filter(here).map(|controller| controller.name()).collect();
        let part = if hierarchy.is_partial() { ", only a part of the host's" } else { "" };
        format!("{} at {}{part}", names.join(", "), hierarchy.root.display())
    });
    format!("{}: {}", hierarchies.mode(), places.collect::<Vec<_>>().join("; "))
}

fn btf(path: Option<&Path>) -> Fact {
    match layout::load(path) {
        Ok(_) => Fact { ok: true, is: path.unwrap_or(Path::new(layout::VMLINUX)).display().to_string() },
        Err(error) => Fact { ok: false, is: error.to_string() },
    }
}

/// Whether the kernel would watch over all that is set.
fn pressure(config: &Config) -> Fact {
    let proc = Root::new(&config.rootfs).at("/proc");
    let (mut armed, mut refused) = (Vec::new(), Vec::new());
    for wanted in trigger::wanted(&config.pressure) {
        let name = format!("{} {}", wanted.resource.label(), wanted.kind.label());
        match trigger::arm(&proc, wanted) {
            Ok(_) => armed.push(name),
            Err(refusal) => refused.push(format!("no trigger for {name}: {}", refusal.reason)),
        }
    }
    let is = match (armed.is_empty(), refused.is_empty()) {
        (true, true) => "no trigger is set".to_owned(),
        (false, true) => format!("triggers for {}", armed.join(", ")),
        _ => refused.join("; "),
    };
    Fact { ok: refused.is_empty(), is }
}

/// Which GPUs there are, and what they cannot tell.
fn gpus(config: &Config) -> Fact {
    match gpu::examine(&config.gpu, &Root::new(&config.rootfs)) {
        Ok(is) => Fact { ok: true, is },
        Err(is) => Fact { ok: false, is },
    }
}

fn describe(findings: &Findings, colour: bool) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let paint = |code: &str, word: &str| match colour {
        true => format!("\x1b[{code}m{word:<11}\x1b[0m"),
        false => format!("{word:<11}"),
    };
    let Findings { version, kernel, architecture, btf, capabilities, lost, cgroup, pressure, gpu, error, probes } =
        findings;
    writeln!(text, "headroom {version} on Linux {kernel} ({architecture})\n")?;
    let facts = [("BTF", btf), ("capability", capabilities), ("cgroup", cgroup), ("pressure", pressure), ("gpu", gpu)];
    for (name, fact) in facts {
        let mark = if fact.ok { paint("32", "ok") } else { paint("31", "missing") };
        writeln!(text, "{name:<12}{mark} {}", fact.is)?;
        if name == "capability" {
            lost.iter().try_for_each(|lost| writeln!(text, "{:<24}{lost}", ""))?;
        }
    }
    if let Some(error) = error {
        writeln!(text, "\nNo probe was tried: {error}")?;
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
