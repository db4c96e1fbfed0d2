//! Flags of command lines, as tables: which set something, which change nothing about memory, and whether a value follows. Knows no
//! program.

use std::fmt;

/// What a flag with a value does; an error says what was expected.
pub type Set<S> = fn(&mut S, &str) -> Result<(), &'static str>;
/// What a flag without a value does.
pub type Switch<S> = fn(&mut S);

/// The flags of one program.
pub struct Flags<S: 'static> {
    pub values: &'static [(&'static [&'static str], Set<S>)],
    pub switches: &'static [(&'static [&'static str], Switch<S>)],
    /// Flags that change nothing about memory, and whether a value follows.
    pub harmless: &'static [(&'static str, bool)],
    /// An argument that is no flag; false if it means nothing.
    pub positional: fn(&mut S, &str) -> bool,
    /// `--max_model_len` is `--max-model-len`.
    pub underscores: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NoValue { flag: String },
    Value { flag: String, value: String, expected: &'static str },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoValue { flag } => write!(f, "{flag} needs a value"),
            Error::Value { flag, value, expected } => write!(f, "{flag} {value}: expected {expected}"),
        }
    }
}

impl std::error::Error for Error {}

impl<S> Flags<S> {
    /// Reads the arguments after the program's name, and returns those that could matter and are not taken into account.
    pub fn read<T: AsRef<str>>(&self, arguments: &[T], settings: &mut S) -> Result<Vec<String>, Error> {
        let mut not_considered = Vec::new();
        let mut arguments = arguments.iter().map(AsRef::as_ref).peekable();
        while let Some(argument) = arguments.next() {
            let (written, joined) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (argument, None),
            };
            let dashed = written.replace('_', "-");
            let flag = if self.underscores && written.starts_with("--") { &*dashed } else { written };
            if let Some((_, set)) = self.switches.iter().find(|(names, _)| names.contains(&flag)) {
                set(settings);
            } else if let Some((_, set)) = self.values.iter().find(|(names, _)| names.contains(&flag)) {
                let flag = written.to_owned();
                let value = joined.or_else(|| arguments.next()).ok_or_else(|| Error::NoValue { flag: flag.clone() })?;
                set(settings, value).map_err(|expected| Error::Value { flag, value: value.to_owned(), expected })?;
            } else if let Some((_, takes)) = self.harmless.iter().find(|(name, _)| *name == flag) {
                if *takes && joined.is_none() {
                    arguments.next();
                }
            } else if flag.starts_with('-') || !(self.positional)(settings, argument) {
                // What follows an unknown flag and is none itself is taken for its value.
                let value = joined.map(str::to_owned).or_else(|| {
                    arguments.next_if(|next| flag.starts_with('-') && !next.starts_with('-')).map(str::to_owned)
                });
                not_considered.push(value.map_or_else(|| written.to_owned(), |value| format!("{written} {value}")));
            }
        }
        Ok(not_considered)
    }
}

pub const NUMBER: &str = "a number";
/// Numbers above are believed by no engine.
pub const MOST: u64 = u32::MAX as u64;

/// A number of at most 32 bits; a negative one is `None`.
pub fn number(value: &str) -> Result<Option<u64>, &'static str> {
    let number = value.parse::<i64>().map_err(|_| NUMBER)?;
    match u64::try_from(number) {
        Ok(number) if number <= MOST => Ok(Some(number)),
        Ok(_) => Err("a number of 32 bits"),
        Err(_) => Ok(None),
    }
}

pub fn positive(value: &str) -> Result<u64, &'static str> {
    number(value)?.filter(|number| *number > 0).ok_or("a number above 0")
}

/// How many GPUs work together.
pub fn parallel(value: &str) -> Result<u64, &'static str> {
    positive(value).ok().filter(|count| *count <= 1024).ok_or("a number from 1 to 1024")
}

/// Tokens, as vLLM's `human_readable_int` reads them: `32k` is 32 000, `32K` is 32 768.
pub fn tokens(value: &str) -> Result<u64, &'static str> {
    let (digits, factor) = match value.as_bytes().last() {
        Some(b'k') => (&value[..value.len() - 1], 1000),
        Some(b'K') => (&value[..value.len() - 1], 1024),
        Some(b'm') => (&value[..value.len() - 1], 1_000_000),
        Some(b'M') => (&value[..value.len() - 1], 1 << 20),
        _ => (value, 1),
    };
    let tokens = crate::amount::parse_thousandths(digits).ok().and_then(|number| number.checked_mul(factor));
    let tokens = tokens.map(|tokens| tokens / 1000).filter(|tokens| (1..=MOST).contains(tokens));
    tokens.ok_or("a number above 0, such as 32768 or 32K")
}

/// Bytes, from a number of gibibytes: `4`, `0.5`.
pub fn gibibytes(value: &str) -> Result<u64, &'static str> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let bytes = plain.then(|| crate::amount::parse_bytes(&format!("{value}G")).ok()).flatten();
    bytes.ok_or("a number of GiB, such as 4")
}

/// Bytes as `human_readable_int` reads them: a small letter is a power of 1000, a capital of 1024.
pub fn bytes(value: &str) -> Result<u64, &'static str> {
    let small = value.ends_with(|letter: char| letter.is_ascii_lowercase());
    let text = if small { format!("{value}B") } else { value.to_owned() };
    crate::amount::parse_bytes(&text).map_err(|_| "a number of bytes, such as 8G")
}

/// Bytes of an element of this type; `None`: the engine's own choice.
pub fn element(value: &str) -> Result<Option<u64>, &'static str> {
    match value {
        "auto" => Ok(None),
        "half" | "float16" | "bfloat16" => Ok(Some(2)),
        "float" | "float32" => Ok(Some(4)),
        _ => Err("auto, half, float16, bfloat16, float or float32"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Some3 {
        length: u64,
        eager: bool,
        model: Option<String>,
    }

    const FLAGS: Flags<Some3> = Flags {
        values: &[(&["--max-model-len", "-l"], |s, value| {
            s.length = tokens(value)?;
            Ok(())
        })],
        switches: &[(&["--enforce-eager"], |s| s.eager = true)],
        harmless: &[("--host", true), ("--metrics", false)],
        positional: |s, value| s.model.is_none() && s.model.replace(value.to_owned()).is_none(),
        underscores: true,
    };

    #[test]
    fn flags_values_and_what_stands_alone_are_told_apart() {
        let mut s = Some3::default();
        let line = "--host h m --max_model_len=4K --enforce_eager --new 5 --metrics more -l 7 --bare --switch";
        let rest = FLAGS.read(&line.split(' ').collect::<Vec<_>>(), &mut s).unwrap();
        assert_eq!((s.length, s.eager, s.model.as_deref()), (7, true, Some("m")));
        assert_eq!(rest, ["--new 5", "more", "--bare", "--switch"]);
        assert_eq!(FLAGS.read(&["-l"], &mut s).unwrap_err().to_string(), "-l needs a value");
    }

    #[test]
    fn amounts_are_read_as_engines_do() {
        assert_eq!([tokens("32k"), tokens("32K"), tokens("1.5k"), tokens("7")], [32_000, 32_768, 1500, 7].map(Ok));
        for text in ["", "k", "-1", "0", "99999999999", "4294967296", "é", "1e3", "18446744073709551615M"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        assert_eq!([gibibytes("4"), gibibytes("0.5")], [4 << 30, 1 << 29].map(Ok));
        for text in ["-1", "4G", "", "nan", "99999999999999999999"] {
            assert!(gibibytes(text).is_err(), "{text}");
        }
        assert_eq!([bytes("8G"), bytes("8g"), bytes("8")], [8 << 30, 8_000_000_000, 8].map(Ok));
        assert!(bytes("-8").is_err() && bytes("8 apples").is_err());
        assert!(parallel("1025").is_err() && parallel("0").is_err() && parallel("8") == Ok(8));
    }
}
