//! What the test programs printed, read; and the table of all kernels.
//!
//! Knows the words of Rust's test harness, and the lines that the machine's first process writes between programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It is about another kind of host, for this reason.
    Elsewhere(String),
    /// It failed, and said this.
    Failed(String),
    /// It did not come to its end.
    Missing,
}

/// All tests of one kernel: by `program::test`.
pub type Verdicts = BTreeMap<String, Verdict>;

/// What a test says that does not concern this kind of host (`about!` in the tests).
const ELSEWHERE: &str = "not about this host: ";

/// Reads what one machine's tests printed. `expected` are all that there are.
pub fn read(text: &str, expected: &[String]) -> Verdicts {
    let mut verdicts: Verdicts = expected.iter().map(|name| (name.clone(), Verdict::Missing)).collect();
    let mut program = "";
    // The test whose output is being read, and that.
    let mut block: Option<(String, String)> = None;
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            program = name;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            said.extend(block.replace((format!("{program}::{name}"), String::new())));
        } else if matches!(line, "successes:" | "failures:") || line.starts_with("test result: ") {
            said.extend(block.take());
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
    said.extend(block);
    for (name, text) in said {
        let elsewhere = text.lines().find_map(|line| line.strip_prefix(ELSEWHERE)).map(str::to_owned);
        match (verdicts.get_mut(&name), elsewhere) {
            (Some(verdict @ Verdict::Passed), Some(why)) => *verdict = Verdict::Elsewhere(why),
            (Some(Verdict::Failed(said)), _) => *said = text,
            _ => {}
        }
    }
    verdicts
}

/// How many ended how: passed, elsewhere, failed or missing.
pub fn count(verdicts: &Verdicts) -> (usize, usize, usize) {
    verdicts.values().fold((0, 0, 0), |(passed, elsewhere, failed), verdict| match verdict {
        Verdict::Passed => (passed + 1, elsewhere, failed),
        Verdict::Elsewhere(_) => (passed, elsewhere + 1, failed),
        Verdict::Failed(_) | Verdict::Missing => (passed, elsewhere, failed + 1),
    })
}

/// One line a test, one column a kernel, and below it why tests are about other hosts.
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
                Some(Verdict::Elsewhere(why)) => {
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
        let _ = writeln!(text, "({}) not about this host: {why}", index + 1);
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
not about this host: it has no names

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
    fn each_test_has_its_verdict() {
        let verdicts = verdicts();
        assert_eq!(verdicts["live::oom::a_kill"], Verdict::Passed);
        assert_eq!(verdicts["live::oom::a_name"], Verdict::Elsewhere("it has no names".into()));
        let Verdict::Failed(said) = &verdicts["live::oom::a_limit"] else { panic!("it failed") };
        assert!(said.starts_with("thread 'oom::a_limit' panicked"), "{said}");
        assert_eq!(count(&verdicts), (1, 1, 2));
    }

    #[test]
    fn a_machine_that_dies_leaves_tests_without_an_end() {
        assert_eq!(read("", &["a::b".to_owned()])["a::b"], Verdict::Missing);
        assert_eq!(verdicts()["live::ring::it_overflows"], Verdict::Missing);
    }

    #[test]
    fn the_table_has_a_column_a_kernel() {
        let none = read("", &["live::oom::a_kill".to_owned()]);
        let table = table(&[("5.10".into(), verdicts()), ("7.2".into(), none)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["5.10", "7.2"]);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_kill", "yes", "DIED"]);
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_limit", "FAILED", "DIED"]);
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["live::oom::a_name", "(1)", "DIED"]);
        assert_eq!(lines[5], "(1) not about this host: it has no names");
    }
}
