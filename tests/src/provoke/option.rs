//! `KEY=VALUE` arguments.

pub fn text<'a>(arguments: &'a [String], key: &str) -> Option<&'a str> {
    arguments.iter().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='))
}

/// As a number; panics on anything else.
pub fn number(arguments: &[String], key: &str) -> Option<i64> {
    text(arguments, key).map(|value| value.parse().unwrap_or_else(|_| panic!("{key}={value}: not a number")))
}

/// As a size in bytes; 0 if absent.
pub fn size(arguments: &[String], key: &str) -> usize {
    usize::try_from(number(arguments, key).unwrap_or(0)).unwrap()
}
