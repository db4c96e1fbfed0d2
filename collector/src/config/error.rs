//! Mistakes in a configuration, with their places. All of them are reported at once.

use std::fmt;
use std::path::PathBuf;

/// All mistakes in the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub place: Place,
    /// The wrong key, if it is a single one.
    pub key: Option<String>,
    /// What is wrong, and how to correct it.
    pub text: String,
}

/// Where a value is set, or a mistake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    /// File, line and column (in characters), both counted from 1.
    Line(PathBuf, usize, usize),
    Variable(String),
    /// With its dashes.
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
