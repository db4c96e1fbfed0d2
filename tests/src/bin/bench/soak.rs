//! The agent under mixed load for many minutes: its use of resources, and whether its counts add up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use collector_tests::soak::{Point, Soak};
use plotters::prelude::*;

use crate::report::Report;
use crate::statistic::Summary;

/// Size of the chart in pixels.
const SIZE: (u32, u32) = (1200, 1000);
/// Share of the time that counts as warm-up.
const WARM: f64 = 0.1;
const MIB: f64 = (1 << 20) as f64;

/// A row of the table and curve of the chart: its name, and its value at a point.
type Line = (&'static str, fn(&Point) -> f64);

const LINES: [Line; 4] = [
    ("anonymous memory, MiB", |point| point.resident as f64 / MIB),
    ("descriptors, including cgroup files", |point| point.descriptors as f64),
    ("CPU, % of one", |point| point.cpu * 100.0),
    ("lost so far, at all stages", |point| point.lost),
];

/// Runs for this many minutes; draws a chart to `plot`.
pub fn measure(minutes: usize, plot: Option<&Path>) -> Result<Report> {
    let soak = Soak::run(Duration::from_secs(60 * minutes as u64), |point| {
        if (point.seconds as u64).is_multiple_of(10) {
            let [memory, descriptors, cpu, lost] = LINES.map(|(_, of)| of(point));
            println!(
                "{:5.0} s  {memory:5.1} MiB  {descriptors:4} descriptors  {cpu:5.1} % CPU  {lost} lost",
                point.seconds
            );
        }
    });
    let mut report =
        Report::new(&["figure", "first tenth, median (quartiles)", "last tenth, median (quartiles)", "most"]);
    let tenth = ((soak.points.len() as f64 * WARM) as usize).max(1);
    let (first, last) = (&soak.points[..tenth], &soak.points[soak.points.len() - tenth..]);
    for (name, of) in LINES {
        let [early, late] = [first, last].map(|points| Summary::of(points.iter().map(of)).spread(1));
        let most = soak.points.iter().map(of).fold(0.0, f64::max);
        report.row([name.to_owned(), early, late, format!("{most:.1}")]);
    }
    let Soak { descriptors, cgroups, kills, lost, .. } = &soak;
    report.note(format!(
        "{minutes} minutes, a point per second; cgroups, OOM kills, page faults and direct reads at once."
    ));
    report.note(format!(
        "{} cgroups were made and removed: {} creations and removals reported, including those of others; {} processes killed: {} reported; {lost} lost by the ring.",
        cgroups.0, cgroups.1, kills.0, kills.1
    ));
    report.note(format!(
        "Descriptors except cgroup files and connections: {} before, {} after.",
        descriptors.0.len(),
        descriptors.1.len()
    ));
    report.note(format!("{} scrapes, all answered.", soak.points.len()));
    if let Some(path) = plot {
        draw(path, &soak.points).with_context(|| format!("draw {}", path.display()))?;
    }
    Ok(report)
}

/// Draws the curves above each other, over time.
fn draw(path: &Path, points: &[Point]) -> Result<()> {
    // The machine may have no fonts, and with its own fonts the chart would differ between machines.
    plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| anyhow!("the font cannot be read"))?;
    let area = BitMapBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let end = points.last().map_or(1.0, |point| point.seconds / 60.0);
    for (panel, (name, of)) in area.split_evenly((LINES.len(), 1)).iter().zip(LINES) {
        let most = points.iter().map(of).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .caption(name, ("sans-serif", 20))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, 0.0..(most * 1.1).max(1.0))?;
        chart.configure_mesh().x_desc("minutes").label_style(("sans-serif", 14)).draw()?;
        chart.draw_series(LineSeries::new(points.iter().map(|point| (point.seconds / 60.0, of(point))), &BLUE))?;
    }
    area.present()?;
    Ok(())
}
