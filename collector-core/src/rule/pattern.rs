//! [`Pattern`]: a condition on the value of a label, as Prometheus' `=~`: a regular expression that must match the whole value.
//! With a leading `!` it must not match (`!~`).

use regex::Regex;

#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// The value must not match.
    not: bool,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// One of these words: most patterns are no more, and comparing words is faster.
    Words(Vec<String>),
    Regex(Regex),
}

impl Pattern {
    /// # Errors
    /// It is not a regular expression, or too large.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let (text, not) = text.strip_prefix('!').map_or((text, false), |text| (text, true));
        // First without the anchors, so that an error shows only what was written.
        Regex::new(text).map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{text:?} is not a regular expression: {why}")
        })?;
        let regex = Regex::new(&format!("^(?s:{text})$"))
            .map_err(|_| format!("{text:?} is not a single regular expression"))?;
        let plain = |c: char| c.is_alphanumeric() || "_-:/ |".contains(c);
        let matcher = match text.chars().all(plain) {
            true => Matcher::Words(text.split('|').map(str::to_owned).collect()),
            false => Matcher::Regex(regex),
        };
        Ok(Pattern { text: text.to_owned(), not, matcher })
    }

    /// Whether the value satisfies the pattern.
    pub fn matches(&self, value: &str) -> bool {
        let matches = match &self.matcher {
            Matcher::Words(words) => words.iter().any(|word| word == value),
            Matcher::Regex(regex) => regex.is_match(value),
        };
        matches != self.not
    }

    /// The operator and the regular expression in PromQL.
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
    fn an_invalid_expression_is_refused() {
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
            proptest::prop_assert!(matches!(pattern.matcher, Matcher::Words(_)));
            proptest::prop_assert_eq!(pattern.matches(&value), regex.is_match(&value));
        }
    }
}
