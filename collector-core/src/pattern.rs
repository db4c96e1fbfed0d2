//! Name patterns with `*` for any text, as in `loop*`: what the operator excludes or names.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl Patterns {
    pub fn new(patterns: &[String]) -> Patterns {
        Patterns(patterns.to_vec())
    }

    /// Whether any pattern matches the name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// On a mismatch the last star takes one more byte: worst case is stars times length.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    at = *place + 1;
                    seen = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text() {
        for (pattern, name, wanted) in [
            ("loop*", "loop12", true),
            ("loop*", "loo", false),
            ("/proc", "/proc", true),
            ("/proc", "/proc/fs", false),
            ("/run/*/shm", "/run/a/b/shm", true),
            ("/run/*/shm", "/run/shm", false),
            ("*a*b", "xaxaxb", true),
            ("*a*b", "xbxa", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("é*", "école", true),
        ] {
            assert_eq!(Patterns(vec![pattern.into()]).matches(name), wanted, "{pattern} {name}");
        }
        assert!(!Patterns::default().matches("a"));
        let slow = "*a".repeat(50) + "b";
        assert!(!Patterns(vec![slow]).matches(&"a".repeat(10_000)));
    }
}
