//! What can be wrong with a configuration, and where. Everything that is wrong is reported at once.

use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where the mistake is.
    pub place: Place,
    /// The key that is wrong, if it is a single one.
    pub key: Option<String>,
    /// What is wrong, and where it helps, what would be right.
    pub text: String,
}

/// Where a value is set, or a mistake made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A whole file.
    File(PathBuf),
    /// A place in a file; line and column (in characters) count from 1.
    Line(PathBuf, usize, usize),
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Line(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Place::Variable(name) | Place::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [error] => error.fmt(f),
            errors => {
                write!(f, "{} errors in the configuration", errors.len())?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_a_line_and_several_are_a_list() {
        let error =
            |line| Error { place: Place::Line("a.toml".into(), line, 9), key: Some("tick".into()), text: "no".into() };
        assert_eq!(Errors(vec![error(3)]).to_string(), "a.toml:3:9: tick: no");
        assert_eq!(
            Errors(vec![error(3), error(5)]).to_string(),
            "2 errors in the configuration\n  a.toml:3:9: tick: no\n  a.toml:5:9: tick: no"
        );
    }
}
