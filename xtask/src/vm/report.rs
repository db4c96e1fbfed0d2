//! Reads what the test programs printed, and makes the table of all kernels.
//!
//! Knows the output of Rust's test harness, and the lines that the machine's init writes between programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Result of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// It does not apply to this kind of host, for this reason.
    NotApplicable(String),
    /// It failed, with this output.
    Failed(String),
    /// It did not finish.
    Missing,
}

/// All tests of one kernel, by `program::test`.
pub type Verdicts = BTreeMap<String, Verdict>;

/// Printed by a test that does not apply to this kind of host (`applies!` in the tests).
const NOT_APPLICABLE: &str = "does not apply to this host: ";

/// Reads the output of one machine. `expected` lists all tests.
pub fn read(text: &str, expected: &[String]) -> Verdicts {
    let mut verdicts: Verdicts = expected.iter().map(|name| (name.clone(), Verdict::Missing)).collect();
    let mut program = "";
    // The test whose output is being read, and that output.
    let mut block: Option<(String, String)> = None;
    let mut output: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            program = name;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            output.extend(block.replace((format!("{program}::{name}"), String::new())));
        } else if matches!(line, "successes:" | "failures:") || line.starts_with("test result: ") {
            output.extend(block.take());
        } else if let Some((_, text)) = &mut block {
            let _ = writeln!(text, "{line}");
        } else if let Some((name, end)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let verdict = match end.trim() {
                "ok" => Verdict::Passed,
                "" => Verdict::Missing,
                _ => Verdict::Failed(String::new()),
            };
            verdicts.insert(format!("{program}::{name}"), verdict);
        }
    }
    output.extend(block);
    for (name, text) in output {
        let skipped = text.lines().find_map(|line| line.strip_prefix(NOT_APPLICABLE)).map(str::to_owned);
        match (verdicts.get_mut(&name), skipped) {
            (Some(verdict @ Verdict::Passed), Some(why)) => *verdict = Verdict::NotApplicable(why),
            (Some(Verdict::Failed(output)), _) => *output = text,
            _ => {}
        }
    }
    verdicts
}

/// Numbers of tests: passed, not applicable, failed or missing.
pub fn count(verdicts: &Verdicts) -> (usize, usize, usize) {
    verdicts.values().fold((0, 0, 0), |(passed, skipped, failed), verdict| match verdict {
        Verdict::Passed => (passed + 1, skipped, failed),
        Verdict::NotApplicable(_) => (passed, skipped + 1, failed),
        Verdict::Failed(_) | Verdict::Missing => (passed, skipped, failed + 1),
    })
}

/// One line per test, one column per kernel, and below it why tests do not apply.
pub fn table(kernels: &[(String, Verdicts)]) -> String {
    let names: Vec<&String> = kernels.first().map(|(_, verdicts)| verdicts.keys().collect()).unwrap_or_default();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}", "");
    for (kernel, _) in kernels {
        let _ = write!(text, " {kernel:>6}");
    }
    text.push('\n');
    let mut reasons: Vec<&str> = Vec::new();
    for name in names {
        let _ = write!(text, "{name:width$}");
        for (_, verdicts) in kernels {
            let cell = match verdicts.get(name) {
                Some(Verdict::Passed) => "yes".to_owned(),
                Some(Verdict::NotApplicable(why)) => {
                    let number = reasons.iter().position(|known| known == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("({})", number + 1)
                }
                Some(Verdict::Failed(_)) => "FAILED".to_owned(),
                Some(Verdict::Missing) | None => "DIED".to_owned(),
            };
            let _ = write!(text, " {cell:>6}");
        }
        text.push('\n');
    }
    for (index, why) in reasons.iter().enumerate() {
        let _ = writeln!(text, "({}) does not apply to this host: {why}", index + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
### live

running 3 tests
test oom::a_kill ... ok
test oom::a_name ... ok
test oom::a_limit ... FAILED

successes:

---- oom::a_kill stdout ----
anon-rss: log 1, sample 1

---- oom::a_name stdout ----
does not apply to this host: it has no names

successes:
    oom::a_kill
    oom::a_name

failures:

---- oom::a_limit stdout ----
thread 'oom::a_limit' panicked at oom.rs:7:
no

failures:
    oom::a_limit

test result: FAILED. 2 passed; 1 failed; 0 ignored
### ended 101
### live
running 1 tests
test ring::it_overflows ... ";

    fn verdicts() -> Verdicts {
        let expected = ["a_kill", "a_limit", "a_name"].map(|test| format!("live::oom::{test}"));
        read(TEXT, &[&expected[..], &["live::ring::it_overflows".to_owned()]].concat())
    }

    #[test]
    fn each_test_has_its_result() {
        let verdicts = verdicts();
        assert_eq!(verdicts["live::oom::a_kill"], Verdict::Passed);
        assert_eq!(verdicts["live::oom::a_name"], Verdict::NotApplicable("it has no names".into()));
        let Verdict::Failed(output) = &verdicts["live::oom::a_limit"] else { panic!("it failed") };
        assert!(output.starts_with("thread 'oom::a_limit' panicked"), "{output}");
        assert_eq!(count(&verdicts), (1, 1, 2));
    }

    #[test]
    fn a_machine_that_dies_leaves_tests_unfinished() {
        assert_eq!(read("", &["a::b".to_owned()])["a::b"], Verdict::Missing);
        assert_eq!(verdicts()["live::ring::it_overflows"], Verdict::Missing);
    }

    #[test]
    fn the_table_has_a_column_per_kernel() {
        let none = read("", &["live::oom::a_kill".to_owned()]);
        let table = table(&[("5.10".into(), verdicts()), ("7.2".into(), none)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["5.10", "7.2"]);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_kill", "yes", "DIED"]);
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_limit", "FAILED", "DIED"]);
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_name", "(1)", "DIED"]);
        assert_eq!(lines[5], "(1) does not apply to this host: it has no names");
    }
}
