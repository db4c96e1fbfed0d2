//! The statistics that libFuzzer prints at its end, as a table for the terminal and docs/reliability.md.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::project;

const BEGIN: &str = "<!-- fuzz begins -->\n";
const END: &str = "<!-- fuzz ends -->\n";
const HEAD: [&str; 7] =
    ["target", "runs", "runs a second", "edges covered", "new inputs", "peak memory (MiB)", "crashes"];

/// Result of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub target: String,
    /// In the order of the table; absent if libFuzzer ended before it printed them.
    figures: [Option<u64>; 5],
    /// Why it ended early, and how to reproduce that.
    crash: Option<String>,
}

impl Outcome {
    /// From the output of libFuzzer, and whether it succeeded. `log` is the file that holds the output.
    pub fn read(target: &str, output: &str, good: bool, root: &Path, log: &Path) -> Outcome {
        let statistic = |name: &str| {
            let value = output.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            value?.trim_start_matches(':').trim().parse().ok()
        };
        let covered = output.lines().rev().find_map(|line| {
            let (_, rest) = line.split_once(" cov: ")?;
            rest.split(' ').next()?.parse().ok()
        });
        let crash = (!good).then(|| {
            let input = output.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
            let again = match input {
                Some(input) => {
                    let input = Path::new(input);
                    let input = input.strip_prefix(root).unwrap_or(input).display();
                    format!("by {input}, reproduce with: cargo xtask fuzz {target} -- {input}")
                }
                None => "without writing an input".to_owned(),
            };
            format!("{target} crashed {again} (log: {})", log.display())
        });
        let figures = [
            statistic("number_of_executed_units"),
            statistic("average_exec_per_sec"),
            covered,
            statistic("new_units_added"),
            statistic("peak_rss_mb"),
        ];
        Outcome { target: target.to_owned(), figures, crash }
    }
}

/// One row per target.
pub fn table(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        let figures = outcome.figures.map(|figure| figure.map_or("?".to_owned(), |figure| figure.to_string()));
        let crashes = u8::from(outcome.crash.is_some()).to_string();
        [std::slice::from_ref(&outcome.target), &figures, &[crashes]].concat()
    };
    let lines: Vec<Vec<String>> =
        std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(outcomes.iter().map(row)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
        }
        text += "|\n";
        if number == 0 {
            let rule = |(column, width): (usize, &usize)| match column {
                0 => format!("|{}", "-".repeat(width + 2)),
                _ => format!("|{}:", "-".repeat(width + 1)),
            };
            text += &widths.iter().enumerate().map(rule).collect::<String>();
            text += "|\n";
        }
    }
    text
}

/// Replaces the table between the markers in the document.
pub fn write(document: &Path, how: &str, outcomes: &[Outcome]) -> Result<()> {
    let name = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("read {name}"))?;
    let section = format!("`cargo xtask fuzz`: {how}.\n\n{}", table(outcomes));
    let text = between(&text, &section).with_context(|| format!("{name} lacks {BEGIN:?} and {END:?}"))?;
    fs::write(document, text).with_context(|| format!("write {name}"))
}

fn between(text: &str, section: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}{section}{END}{tail}"))
}

/// An error if a target crashed; prints each crash and how to reproduce it.
pub fn verdict(outcomes: &[Outcome]) -> Result<()> {
    let crashes: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.crash.as_ref()).collect();
    crashes.iter().for_each(|crash| project::say(project::ERROR, crash));
    match crashes.len() {
        0 => Ok(()),
        count => bail!("{count} of {} targets crashed", outcomes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "INFO: seed corpus: files: 15\n#16\tINITED cov: 3010 ft: 4002 corp: 9/2Kb\n\
        #4711\tDONE   cov: 3123 ft: 5000 corp: 99/12Kb lim: 4096 exec/s: 471 rss: 88Mb\nDone 4711 runs in 10 second(s)\n\
        stat::number_of_executed_units: 4711\nstat::average_exec_per_sec:     471\nstat::new_units_added:          90\n\
        stat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              88\n";

    fn read(output: &str, good: bool) -> Outcome {
        Outcome::read("btf", output, good, Path::new("/w"), Path::new("/t/btf.log"))
    }

    #[test]
    fn the_last_figures_of_libfuzzer_count() {
        let outcome = read(WORDS, true);
        assert_eq!(outcome.figures, [Some(4711), Some(471), Some(3123), Some(90), Some(88)]);
        let table = table(std::slice::from_ref(&outcome));
        assert!(
            table.ends_with(
                "| btf    | 4711 |           471 |          3123 |         90 |                88 |       0 |\n"
            ),
            "{table}"
        );
        assert!(verdict(&[outcome]).is_ok());
    }

    #[test]
    fn a_crash_shows_how_to_reproduce_it() {
        let words = "artifact_prefix='/w/fuzz/artifacts/btf/'; Test unit written to /w/fuzz/artifacts/btf/crash-1\n";
        let outcome = read(words, false);
        let path = "fuzz/artifacts/btf/crash-1";
        let wanted = format!("btf crashed by {path}, reproduce with: cargo xtask fuzz btf -- {path} (log: /t/btf.log)");
        assert_eq!(outcome.crash, Some(wanted));
        assert!(table(std::slice::from_ref(&outcome)).contains("|    ? |"));
        assert_eq!(verdict(&[outcome]).unwrap_err().to_string(), "1 of 1 targets crashed");
        assert!(read("", false).crash.unwrap().contains("without writing an input"));
    }

    #[test]
    fn a_section_replaces_the_previous_one() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(between(&text, "new\n"), Some(format!("a\n{BEGIN}new\n{END}b\n")));
        assert_eq!(between("a\n", "new\n"), None);
    }
}
