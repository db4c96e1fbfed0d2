//! `headroom gpus`: a table of GPUs with memory, utilisation, temperature, power and PCIe traffic, and who holds their memory.

use std::time::Duration;

use anyhow::Context as _;
use collector_core::alert::Alert;
use collector_core::amount::{bytes, percent, watts};
use collector_core::api::gpus::{GpuLine, Gpus};
use collector_core::text::shown_json;

use super::direct::Direct;
use super::settings::Settings;
use super::sheet::{Column, Line, Paint, UNKNOWN, bar, right, table};
use super::state::alarm;
use super::terminal::{self, colour};
use crate::client::{Client, is_forbidden};
use crate::config::load::Effective;
use crate::exit::Failure;

/// Path of the GPUs as JSON.
const GPUS: &str = "/api/v1/gpus";
/// Cells of a bar.
const CELLS: usize = 10;
/// PCIe traffic without an agent is measured over this time at least.
const APART: Duration = Duration::from_millis(200);

/// List GPUs: memory, utilisation, temperature, power, PCIe traffic, who holds the memory
///
/// Asks the running agent. Without an agent it asks the driver (NVML) itself, which needs no privileges but knows no errors
/// (XID) of the past.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Columns:
  GPU        number and model; MIG devices have the GPU's number and their own, such as 0:1
  MEMORY     used memory as a share of what can be used, and in bytes
  LEVEL      how degraded its memory is, 0 to 4 (headroom level)
  BUSY       share of the driver's last sampling period in which anything ran
  TEMP       temperature
  PCIE       share of the link used to the GPU and from it, as negotiated now
  POWER      power drawn, and the limit
  WORKLOADS  who holds its memory, the largest first
Below the table: what keeps clocks down, errors, links with fewer lanes than they could have.

Examples:
  Show the GPUs of this host:
    headroom gpus
  Find GPUs with less than 10 GiB free, for a script:
    headroom gpus --json | jq -r '.gpus[] | select(.memory_free_bytes < 10*1024*1024*1024) | .gpu'
")]
pub struct GpusArgs {
    /// Print JSON instead of a table: the answer of /api/v1/gpus, with values in bytes, ratios and their own units
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &GpusArgs, effective: &Effective) -> Result<(), Failure> {
    let gpus = match ask(effective) {
        Ok(gpus) => gpus,
        Err(why) if is_forbidden(&why) => return Err(why.into()),
        Err(why) => {
            tracing::info!("{why:#}: asking the driver instead");
            direct(effective)?
        }
    };
    if args.json {
        let json = serde_json::to_string_pretty(&gpus).context("write JSON")?;
        return super::print(&(shown_json(&json).into_owned() + "\n"));
    }
    super::print(&page(&gpus, terminal::room(), colour()))
}

fn ask(effective: &Effective) -> anyhow::Result<Gpus> {
    let body = Client::of(effective)?.page(GPUS)?;
    serde_json::from_slice(&body).context("the answer is not from an agent of this version")
}

fn direct(effective: &Effective) -> anyhow::Result<Gpus> {
    let mut direct = Direct::with_host(&effective.config, effective.rules.clone())?;
    direct.read();
    direct.wait();
    std::thread::sleep(APART);
    Ok(Gpus::of(direct.read()))
}

fn page(gpus: &Gpus, width: usize, colour: bool) -> String {
    if gpus.gpus.is_empty() {
        return "no NVIDIA GPU: `headroom doctor` says whether the driver's library (NVML) was found\n".to_owned();
    }
    let lines = rows("GPU", &gpus.gpus, &[], width).into_iter().chain(gpus.gpus.iter().flat_map(notes));
    lines.map(|line| line.render(width, colour) + "\n").collect()
}

/// A header and a line for each GPU, in the colour of the worst alert about it.
pub fn rows(head: &str, gpus: &[GpuLine], alerts: &[Alert], width: usize) -> Vec<Line> {
    let paint = |gpu: &GpuLine| {
        let about = |alert: &&Alert| alert.labels.get("gpu").is_some_and(|number| *number == gpu.gpu);
        alarm(alerts.iter().filter(about).map(|alert| alert.severity).max())
    };
    let share = |gpu: &GpuLine| {
        let known = gpu.memory_used_ratio.map(|share| format!("{} {}", bar(share, CELLS), right(&percent(share), 5)));
        (paint(gpu), known.unwrap_or_default())
    };
    let used = |gpu: &GpuLine| {
        let (used, total) = (gpu.memory_used_bytes?, gpu.memory_total_bytes?);
        Some(part(&bytes(used), &bytes(total)))
    };
    let traffic = |gpu: &GpuLine| {
        let both = gpu.pcie_host_to_device_ratio.zip(gpu.pcie_device_to_host_ratio);
        both.map(|(to, from)| part(&percent(to), &percent(from)))
    };
    let power = |gpu: &GpuLine| gpu.power_watts.map(|drawn| watts(drawn, gpu.power_limit_watts));
    let holders = |gpu: &GpuLine| {
        let one = |it: &collector_core::api::gpus::Holder| match it.memory_bytes {
            Some(held) => format!("{} {}", it.workload, bytes(held)),
            None => it.workload.clone(),
        };
        (Paint::Plain, gpu.workloads.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let columns = [
        Column::text(head, gpus, |gpu| (Paint::Plain, format!("{} {}", gpu.gpu, gpu.model.replace("NVIDIA ", "")))),
        Column::text("MEMORY", gpus, share),
        Column::number("USED", gpus, used),
        Column::text("LEVEL", gpus, |gpu| match gpu.level {
            Some(0) => (Paint::Plain, "0".to_owned()),
            Some(level) => (super::level::paint(Some(level)), level.to_string()),
            None => (Paint::Plain, UNKNOWN.to_owned()),
        }),
        Column::number("BUSY", gpus, |gpu| gpu.utilization_ratio.map(percent)),
        Column::number("TEMP", gpus, |gpu| gpu.temperature_celsius.map(|degrees| format!("{degrees} °C"))),
        Column::number("PCIE", gpus, traffic),
        Column::number("POWER", gpus, power),
        Column::text("WORKLOADS", gpus, holders),
    ];
    table(&columns, width)
}

/// Two amounts, `3.5/8.0 GiB`: the unit once if it is the same.
fn part(one: &str, two: &str) -> String {
    match (one.rsplit_once(' '), two.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number}/{two}"),
        _ => format!("{one}/{two}"),
    }
}

/// What is worth a sentence about a GPU.
fn notes(gpu: &GpuLine) -> Vec<Line> {
    let mut notes = Vec::new();
    let mut say = |text: String| notes.push(Line::new(Paint::Yellow, format!("GPU {}: {text}", gpu.gpu)));
    // Clocks that go down with the load, or by a setting, are as intended.
    let usual = ["idle", "applications_clocks_setting", "display_clock_setting", "sync_boost"];
    let held: Vec<&str> =
        gpu.throttle.iter().flatten().map(String::as_str).filter(|reason| !usual.contains(reason)).collect();
    if !held.is_empty() {
        say(format!("clocks are kept down: {}", held.join(", ")));
    }
    for (code, count) in &gpu.xid_errors {
        let often = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        say(format!("the driver reported XID {code} {often}"));
    }
    if let Some(errors @ 1..) = gpu.ecc_errors_uncorrected {
        say(format!("{errors} memory errors that could not be corrected"));
    }
    // An idle link drops to a lower generation, not to fewer lanes.
    if let (Some(now), Some(most)) = (gpu.pcie_width, gpu.pcie_width_max)
        && now < most
    {
        say(format!("its PCIe link has {now} lanes, and could have {most}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::gpus::Holder;

    #[test]
    fn a_terminal_gets_what_fits_and_a_file_gets_all() {
        let holder = |number| Holder { workload: format!("kubepods/model-{number}"), memory_bytes: Some(1 << 30) };
        let gpu = GpuLine { gpu: "0".to_owned(), workloads: (0..20).map(holder).collect(), ..GpuLine::default() };
        let gpus = Gpus { gpus: vec![gpu], ..Gpus::default() };
        let cut = page(&gpus, 100, false);
        assert!(cut.lines().all(|line| line.chars().count() <= 100) && !cut.contains("model-19"), "{cut}");
        let whole = page(&gpus, usize::MAX, false);
        assert!(whole.contains("kubepods/model-19 1.00 GiB\n") && !whole.contains('…'), "{whole}");
    }
}
