//! Which engine a command line starts. Knows names of programs, not their flags.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Llama,
}

impl Engine {
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Llama => "llama-server",
        }
    }
}

/// The program is none whose needs are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: this program's needs are not known, only those of {}", self.0, Engine::Llama.name())
    }
}

impl std::error::Error for Unknown {}

/// The engine, and the arguments after its name.
pub fn engine<T: AsRef<str>>(command: &[T]) -> Result<(Engine, &[T]), Unknown> {
    let [program, rest @ ..] = command else { return Err(Unknown("an empty command".to_owned())) };
    let program = program.as_ref();
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "llama-server" | "llama-cpp-server" => Ok((Engine::Llama, rest)),
        "llama" if rest.first().is_some_and(|verb| verb.as_ref() == "serve") => Ok((Engine::Llama, &rest[1..])),
        _ => Err(Unknown(program.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_by_the_program() {
        assert_eq!(engine(&["/opt/bin/llama-server", "-m", "x"]), Ok((Engine::Llama, &["-m", "x"][..])));
        assert_eq!(engine(&["llama", "serve", "-m"]), Ok((Engine::Llama, &["-m"][..])));
        for command in [&["llama", "run"][..], &["bash"], &[]] {
            assert!(engine(command).is_err(), "{command:?}");
        }
    }
}
