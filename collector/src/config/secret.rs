//! [`Secret`]: a text that must not turn up in a log, an error or a dump.

use std::fmt;

/// A secret; empty is none. It has neither `Display` nor `Serialize`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for whoever signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_tells_whether_there_is_a_secret_and_not_which() {
        let secret = Secret::from("hush hush".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "\"…\" Some(\"…\")");
        assert_eq!(format!("{:?}", Secret::default()), "\"\"");
        assert_eq!(secret.reveal(), "hush hush");
    }
}
