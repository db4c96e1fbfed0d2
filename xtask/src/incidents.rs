//! `cargo xtask test incidents`: stages incidents on this machine or in virtual machines, makes the table of what was reported, and
//! fails if too many causes are wrong.
//!
//! The test prints its seed, and a line of JSON for each scenario.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::vm;

const TARGET: &str = "live";
const TEST: &str = "staged::every_incident_is_staged";
/// Before a result in the output of the test.
const MARK: &str = "STAGED ";
/// Shares of staged incidents whose cause must be right: when complete, and when first reported.
const CAUSE_RIGHT: f64 = 0.95;
const FIRST_RIGHT: f64 = 0.9;
const PAGE: &str = "docs/staged.md";

#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Seed of the numbers, to repeat a run; with `incidents`
    #[arg(long)]
    seed: Option<u64>,
    /// Write the table to docs/staged.md, with `incidents`, or to docs/places.md, with `debian`
    #[arg(long)]
    pub write: bool,
}

impl Args {
    /// Whether any option was given.
    pub fn given(&self) -> bool {
        self.seed.is_some() || self.write
    }
}

/// What one kernel gave.
#[derive(Debug, Default)]
struct Outcome {
    kernel: String,
    seed: String,
    rows: Vec<Value>,
}

/// Builds, stages all scenarios or those whose names have one of the `names` in them, and prints the table. On this machine,
/// unless kernels are given.
pub fn test(project: &Project, args: &Args, release: bool, kernels: &vm::Args, names: &[String]) -> Result<()> {
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("{option} is no part of a scenario's name: options come before --");
    }
    setup::ensure(project, Scope::Build)?;
    let debug = build::compile_with(project, &[TARGET])?;
    let binary = if release { build::compile(project, &build::Args { release })? } else { debug };
    let mut environment = vec![("HEADROOM_STAGE_NAMES", names.join(","))];
    environment.extend(args.seed.map(|seed| ("HEADROOM_STAGE_SEED", seed.to_string())));
    let outcomes = match kernels.given() {
        false => vec![here(project, &binary, &environment)?],
        true => {
            let machines = vm::prepare(project, kernels)?;
            let texts = vm::run_one(&machines, &binary, (TARGET, TEST), &environment)?;
            texts.iter().map(|(kernel, text)| Outcome::read(kernel, text.lines())).collect()
        }
    };
    for outcome in &outcomes {
        anstream::println!("{}", outcome.table());
        if args.write && !outcome.rows.is_empty() {
            outcome.write(&project.root.join(PAGE), names)?;
        }
    }
    outcomes.iter().try_for_each(Outcome::judge)
}

/// Runs the test on this machine, and prints each result as it comes.
fn here(project: &Project, binary: &Path, environment: &[(&str, String)]) -> Result<Outcome> {
    if !project::is_root() {
        bail!("the programs are loaded into the kernel: run this as root");
    }
    let mut cargo = project.cargo_tested("test");
    cargo.args(["--test", TARGET, "--", "--ignored", "--exact", TEST, "--nocapture"]);
    cargo.env("HEADROOM_BIN", binary).envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("run cargo test")?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("read the output of the test")?;
        if let Some(row) = result(&line) {
            project::say(if row["right"] == true { project::STEP } else { project::ERROR }, &progress(&row));
        }
        lines.push(line);
    }
    if !child.wait().context("wait for cargo test")?.success() {
        bail!("the test failed:\n{}", lines.join("\n"));
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
    Ok(Outcome::read(release.trim(), lines.iter().map(String::as_str)))
}

fn result(line: &str) -> Option<Value> {
    // In the output of a test harness, the line may follow the test's name.
    serde_json::from_str(line.split_once(MARK)?.1).ok()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn faults(row: &Value) -> Vec<&str> {
    row["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `growth: told limit_too_low: …, true is steady_growth`.
fn progress(row: &Value) -> String {
    let name = text(row, "name");
    match (row["failed"].as_str(), row["right"] == true) {
        (Some(why), _) => format!("{name}: not staged: {why}"),
        (_, true) => format!("{name}: {}", text(row, "last")),
        (_, false) => {
            format!("{name}: {} (true: {}) {}", text(row, "last"), text(row, "truth"), faults(row).join("; "))
        }
    }
}

impl Outcome {
    fn read<'a>(kernel: &str, lines: impl Iterator<Item = &'a str> + Clone) -> Outcome {
        let seed = lines.clone().find_map(|line| line.split_once("seed ").map(|(_, seed)| seed.trim().to_owned()));
        let mut rows: Vec<Value> = lines.filter_map(result).collect();
        rows.sort_by(|one, two| text(one, "name").cmp(text(two, "name")));
        Outcome { kernel: kernel.to_owned(), seed: seed.unwrap_or_default(), rows }
    }

    /// `61 of 64 staged; cause right in 40 (66 %), when first reported in 33 (54 %); …`.
    fn summary(&self) -> String {
        let staged: Vec<&Value> = self.rows.iter().filter(|row| row["failed"].is_null()).collect();
        let count = |name: &str| staged.iter().filter(|row| row[name] == true).count();
        let share = |part: usize| format!("{part} ({:.0} %)", 100.0 * part as f64 / staged.len().max(1) as f64);
        format!(
            "Linux {}, seed {}: {} of {} staged; cause right in {}, when first reported in {}; everything right in {}",
            self.kernel,
            self.seed,
            staged.len(),
            self.rows.len(),
            share(count("cause_right")),
            share(count("first_right")),
            share(count("right")),
        )
    }

    /// An error if nothing was staged, or if too many causes are wrong: sizes and times are random, and not all of them show
    /// what happened.
    fn judge(&self) -> Result<()> {
        let staged: Vec<&Value> = self.rows.iter().filter(|row| row["failed"].is_null()).collect();
        if staged.is_empty() {
            bail!("nothing was staged on {}", self.kernel);
        }
        let enough = |name: &str, share: f64| {
            staged.iter().filter(|row| row[name] == true).count() as f64 >= share * staged.len() as f64
        };
        if !enough("cause_right", CAUSE_RIGHT) || !enough("first_right", FIRST_RIGHT) {
            bail!("too many causes are wrong on {}", self.summary());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let mut table = format!("{}\n\n", self.summary());
        table += "| scenario | what happens | true | reported first | reported when complete | right |\n|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let cell = |name: &str| text(row, name).to_owned();
            let first = cell("first").split(':').next().unwrap_or_default().to_owned();
            let (last, right) = match (row["failed"].as_str(), row["right"] == true) {
                (Some(why), _) => (why.to_owned(), "not staged".to_owned()),
                (_, true) => (cell("last"), "yes".to_owned()),
                (_, false) => {
                    let mut parts = vec![if row["cause_right"] == true { "cause" } else { "no" }];
                    parts.extend(faults(row));
                    (cell("last"), parts.join("; "))
                }
            };
            let cells = [cell("name"), cell("what"), cell("truth"), first, last, right];
            let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }

    /// Replaces this kernel's table in the page. Some scenarios alone have a table of their own, so that the others' stays.
    fn write(&self, page: &Path, names: &[String]) -> Result<()> {
        let name = page.display();
        let old = fs::read_to_string(page).with_context(|| format!("read {name}"))?;
        // 6.12.9-cloud → 6.12
        let mut title = self.kernel.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        if !names.is_empty() {
            title = format!("{title}: {}", names.join(", "));
        }
        fs::write(page, section(&old, &title, &self.table())).with_context(|| format!("write {name}"))
    }
}

/// The page with the section of this kernel replaced or added: `## Linux 6.12` and what follows it, those of some scenarios behind it.
fn section(page: &str, title: &str, text: &str) -> String {
    let mut parts = page.split("\n## Linux ");
    let head = parts.next().unwrap_or_default().trim_end().to_owned();
    let mut sections: BTreeMap<(Vec<u32>, String), String> = BTreeMap::new();
    let key = |title: &str| {
        let (kernel, names) = title.split_once(':').unwrap_or((title, ""));
        (kernel.split('.').filter_map(|part| part.parse().ok()).collect::<Vec<u32>>(), names.to_owned())
    };
    for part in parts {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        sections.insert(key(name), format!("{name}\n\n{}\n", body.trim()));
    }
    sections.insert(key(title), format!("{title}\n\n{}\n", text.trim()));
    sections.values().fold(head + "\n", |page, body| page + "\n## Linux " + body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome() -> Outcome {
        let row = |name: &str, cause: bool, right: bool, failed: Option<&str>| {
            let row = json!({"name": name, "what": "it|grows", "truth": "spike", "first": "leak: of /a", "last": "spike: of /a",
                "first_right": false, "cause_right": cause, "right": right, "faults": ["late"],
                "failed": failed});
            format!("test staged::x ... STAGED {row}")
        };
        let lines = [
            "seed 7".to_owned(),
            row("b", true, true, None),
            row("a", true, false, None),
            row("c", false, false, Some("no")),
            "noise".to_owned(),
        ];
        Outcome::read("6.12.9-cloud", lines.iter().map(String::as_str))
    }

    #[test]
    fn the_table_has_a_row_for_each_scenario() {
        let table = outcome().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            "Linux 6.12.9-cloud, seed 7: 2 of 3 staged; cause right in 2 (100 %), when first reported in 0 (0 %); everything right in 1 (50 %)"
        );
        assert_eq!(lines[5], "| b | it\\|grows | spike | leak | spike: of /a | yes |");
        assert!(lines[4].ends_with("| spike: of /a | cause; late |"), "{table}");
        assert!(lines[6].ends_with("| no | not staged |"), "{table}");
    }

    #[test]
    fn too_many_wrong_causes_are_an_error() {
        let mut outcome = outcome();
        assert!(
            outcome.judge().unwrap_err().to_string().starts_with("too many causes are wrong on Linux 6.12.9-cloud")
        );
        outcome.rows.iter_mut().for_each(|row| row["first_right"] = true.into());
        assert!(outcome.judge().is_ok());
        outcome.rows[0]["cause_right"] = false.into();
        assert!(outcome.judge().is_err());
        outcome.rows.retain(|row| !row["failed"].is_null());
        assert!(outcome.judge().is_err(), "nothing was staged");
    }

    #[test]
    fn a_section_replaces_that_of_the_same_kernel() {
        let page = section("# Staged\n\nWords.\n", "6.12", "old");
        let page = section(&page, "5.10", "other");
        let page = section(&page, "6.12: slow", "some");
        assert_eq!(
            section(&page, "6.12", "new"),
            "# Staged\n\nWords.\n\n## Linux 5.10\n\nother\n\n## Linux 6.12\n\nnew\n\n## Linux 6.12: slow\n\nsome\n"
        );
    }
}
