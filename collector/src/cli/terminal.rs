//! The terminal that a verb writes to: its size, and whether it takes colours.

use std::io::{IsTerminal, stdout};

/// Columns if stdout is no terminal.
const WIDTH: usize = 100;

pub fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into())
}

/// The longest line that is shown whole: what is written to a file or to another program is not cut.
pub fn room() -> usize {
    if stdout().is_terminal() { width() } else { usize::MAX }
}

/// Lines; `None` if stdout is no terminal.
pub fn height() -> Option<usize> {
    terminal_size::terminal_size().filter(|_| stdout().is_terminal()).map(|(_, height)| height.0.into())
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set and not empty.
pub fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
