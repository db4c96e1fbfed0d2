//! What stdout is: how wide, and whether colours can be read there.

use std::io::{IsTerminal, stdout};

/// Columns if stdout is no terminal.
const WIDTH: usize = 100;

/// Columns of the terminal.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into())
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set and not empty.
pub fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
