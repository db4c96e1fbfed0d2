//! Reads what the cases printed, and makes the table. Knows the lines that are written before and after each case.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::case::Case;
use super::machine::Outcome;

pub const PAGE: &str = "docs/places.md";
/// The exit code of a case that does not apply.
const NOT_APPLICABLE: &str = "77";
/// Lines of the console that are shown if the machine died.
const CONSOLE: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// For this reason.
    NotApplicable(String),
    /// With this output.
    Failed(String),
    /// It did not finish.
    Missing,
}

/// What one release gave.
#[derive(Debug)]
pub struct Report {
    release: String,
    /// Versions of kernel and systemd.
    about: String,
    rows: Vec<(&'static str, &'static str, Verdict)>,
}

impl Report {
    /// Prints the output of what failed.
    pub fn read(release: &str, outcome: &Outcome, cases: &[&'static Case]) -> Report {
        let report = Report::parse(release, &outcome.cases, cases);
        for (name, _, verdict) in &report.rows {
            if let Verdict::Failed(output) = verdict {
                anstream::eprintln!("---- {name}, Debian {release} ----\n{output}");
            }
        }
        if outcome.late || report.rows.iter().any(|(.., verdict)| *verdict == Verdict::Missing) {
            let why = if outcome.late { "took too long" } else { "died" };
            let lines: Vec<&str> = outcome.console.lines().collect();
            let end = lines[lines.len().saturating_sub(CONSOLE)..].join("\n");
            anstream::eprintln!("the machine {why}; end of its console:\n{end}");
        }
        anstream::eprintln!("the machine ran for {} s", outcome.wall.as_secs());
        report
    }

    fn parse(release: &str, text: &str, cases: &[&'static Case]) -> Report {
        let mut rows: Vec<_> = cases.iter().map(|case| (case.name, case.what, Verdict::Missing)).collect();
        let (mut about, mut name, mut output) = (String::new(), "", String::new());
        for line in text.lines() {
            if let Some(said) = line.strip_prefix("### about ") {
                said.clone_into(&mut about);
            } else if let Some(code) = line.strip_prefix("### ended ") {
                let verdict = match code.split(' ').next().unwrap_or_default() {
                    "0" => Verdict::Passed,
                    NOT_APPLICABLE => Verdict::NotApplicable(output.lines().last().unwrap_or_default().to_owned()),
                    _ => Verdict::Failed(std::mem::take(&mut output)),
                };
                rows.iter_mut().filter(|row| row.0 == name).for_each(|row| row.2 = verdict.clone());
            } else if let Some(next) = line.strip_prefix("### case ") {
                (name, output) = (next, String::new());
            } else {
                let _ = writeln!(output, "{line}");
            }
        }
        Report { release: release.to_owned(), about, rows }
    }

    pub fn failed(&self) -> usize {
        let fine = |verdict: &Verdict| matches!(verdict, Verdict::Passed | Verdict::NotApplicable(_));
        self.rows.iter().filter(|(.., verdict)| !fine(verdict)).count()
    }

    pub fn table(&self) -> String {
        let mut table =
            format!("Debian {}: {}\n\n| case | what was tried | held |\n|---|---|---|\n", self.release, self.about);
        for (name, what, verdict) in &self.rows {
            let held = match verdict {
                Verdict::Passed => "yes".to_owned(),
                Verdict::NotApplicable(why) => format!("not applicable: {}", why.replace('|', "\\|")),
                Verdict::Failed(_) => "**no**".to_owned(),
                Verdict::Missing => "**did not end**".to_owned(),
            };
            let _ = writeln!(table, "| {name} | {what} | {held} |");
        }
        table
    }

    /// Replaces this release's table in the page.
    pub fn write(&self, page: &Path) -> Result<()> {
        let name = page.display();
        let old = fs::read_to_string(page).with_context(|| format!("read {name}"))?;
        let new = section(&old, &self.release, &self.table()).with_context(|| format!("{name} has no place for it"))?;
        fs::write(page, new).with_context(|| format!("write {name}"))
    }
}

/// The page with the table of this release between its two marks.
fn section(page: &str, release: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- debian {release} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn case(name: &'static str) -> Case {
        Case { name, what: "it works", script: "" }
    }

    static CASES: [Case; 4] = [case("one"), case("two"), case("three"), case("four")];
    const TEXT: &str = "### about Linux 6.1, systemd 252\n### case one\nfine\n### ended 0 3\n### case two\nno\n### ended 1 3\n\
        ### case three\nx\nthere is none\n### ended 77 1\n### case four\nit hangs\n";

    fn report() -> Report {
        Report::parse("12", TEXT, &CASES.iter().collect::<Vec<_>>())
    }

    #[test]
    fn each_case_has_its_verdict() {
        let report = report();
        let verdicts: Vec<_> = report.rows.iter().map(|row| row.2.clone()).collect();
        let expected = [
            Verdict::Passed,
            Verdict::Failed("no\n".into()),
            Verdict::NotApplicable("there is none".into()),
            Verdict::Missing,
        ];
        assert_eq!(verdicts, expected);
        assert_eq!(report.failed(), 2, "what did not end has failed, too");
        assert!(report.table().starts_with("Debian 12: Linux 6.1, systemd 252\n"));
    }

    #[test]
    fn the_table_replaces_that_of_the_same_release() {
        let page = "# P\n<!-- debian 12 -->\nold\n<!-- end -->\nmore\n<!-- debian 13 -->\n<!-- end -->\n";
        let new = section(page, "12", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(section(page, "14", "new\n"), None);
    }
}
