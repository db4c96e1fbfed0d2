//! Whether a command line starts llama-server. Knows names of programs, not their flags.

use std::fmt;

/// The program is none whose needs are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: this program's needs are not known, only those of llama-server", self.0)
    }
}

impl std::error::Error for Unknown {}

/// The arguments after the name of llama-server.
pub fn arguments<T: AsRef<str>>(command: &[T]) -> Result<&[T], Unknown> {
    let [program, rest @ ..] = command else { return Err(Unknown("an empty command".to_owned())) };
    let program = program.as_ref();
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "llama-server" | "llama-cpp-server" => Ok(rest),
        "llama" if rest.first().is_some_and(|verb| verb.as_ref() == "serve") => Ok(&rest[1..]),
        _ => Err(Unknown(program.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_by_the_program() {
        assert_eq!(arguments(&["/opt/bin/llama-server", "-m", "x"]), Ok(&["-m", "x"][..]));
        assert_eq!(arguments(&["llama", "serve", "-m"]), Ok(&["-m"][..]));
        for command in [&["llama", "run"][..], &["bash"], &[]] {
            assert!(arguments(command).is_err(), "{command:?}");
        }
    }
}
