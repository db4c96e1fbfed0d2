//! [`Pattern`]: what the value of a label must be, as Prometheus' `=~` has it: a regular expression for the whole of it.
//! With a `!` before it the value must not be so (`!~`).

use regex::Regex;

/// What the value of a label must be.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// It must not be so.
    not: bool,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    /// One of these words: most patterns are no more than that, and comparing words is the quicker way.
    Words(Vec<String>),
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is not a regular expression, or one of absurd size.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let (text, not) = text.strip_prefix('!').map_or((text, false), |text| (text, true));
        // Without the words around it, so that what is shown of a mistake is what was written.
        Regex::new(text).map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{text:?} is not a regular expression: {why}")
        })?;
        let regex =
            Regex::new(&format!("^(?s:{text})$")).map_err(|_| format!("{text:?} is not one regular expression"))?;
        let plain = |c: char| c.is_alphanumeric() || "_-:/ |".contains(c);
        let how = match text.chars().all(plain) {
            true => How::Words(text.split('|').map(str::to_owned).collect()),
            false => How::Regex(regex),
        };
        Ok(Pattern { text: text.to_owned(), not, how })
    }

    /// Whether it matches the whole of a value.
    pub fn matches(&self, value: &str) -> bool {
        let matches = match &self.how {
            How::Words(words) => words.iter().any(|word| word == value),
            How::Regex(regex) => regex.is_match(value),
        };
        matches != self.not
    }

    /// The operator and the regular expression as PromQL has them.
    pub fn prometheus(&self) -> (&'static str, &str) {
        (if self.not { "!~" } else { "=~" }, &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_or_nothing() {
        for (pattern, good, bad) in [
            ("memory", "memory", "memory2"),
            ("a|bc", "bc", "abc"),
            ("nvme.*", "nvme0n1", "xnvme0n1"),
            ("a|b.*", "bcd", "ab"),
            ("", "", "x"),
            (".+", "line\nbreak", ""),
            ("(?i)GPU", "gpu", "gpus"),
            ("ns/.*/x", "ns/pod/x", "ns/x"),
            ("!a|b", "c", "b"),
            ("!n.*", "sda", "nvme0n1"),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert!(pattern.matches(good) && !pattern.matches(bad), "{pattern:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["(", "a)(b", "[z-a]", "*", "a{1000}{1000}{1000}"] {
            let error = Pattern::new(text).unwrap_err();
            assert!(error.starts_with(&format!("{text:?} is not a regular expression: ")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn words_and_expressions_agree(text in "[ab|_/-]{0,6}", value in "[ab_/-]{0,3}") {
            let pattern = Pattern::new(&text).unwrap();
            let regex = Regex::new(&format!("^(?:{text})$")).unwrap();
            proptest::prop_assert!(matches!(pattern.how, How::Words(_)));
            proptest::prop_assert_eq!(pattern.matches(&value), regex.is_match(&value));
        }
    }
}
