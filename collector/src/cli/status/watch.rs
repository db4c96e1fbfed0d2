//! Draws the screen again and again: each frame in one write, over the one before, so that nothing flickers. Whatever ends it, the
//! terminal is as it was.

use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::picture::Picture;
use super::source::Source;
use crate::exit::Failure;

/// A screen of its own, without a cursor.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";
/// The terminal shows what is between these at once, if it knows them.
const FRAME: [&str; 2] = ["\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"];
/// Clears the rest of a line.
const REST: &str = "\x1b[K";

/// Restores the terminal, also if it panics.
struct Screen;

impl Screen {
    fn begin() -> Result<Option<Screen>> {
        if !stdout().is_terminal() {
            return Ok(None);
        }
        write(BEGIN)?;
        Ok(Some(Screen))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If stdout is closed there is nothing to restore.
        let _ = write(END);
    }
}

pub fn watch(mut source: Source, interval: Duration, draw: impl Fn(&Picture) -> String) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let guard = runtime.enter();
    let listen = |kind| signal(kind).context("listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut resized = listen(SignalKind::window_change())?;
    drop(guard);
    let screen = Screen::begin()?;
    loop {
        let text = match source.picture() {
            Ok(picture) => draw(&picture),
            Err(error) => format!("{}\n", Failure::from(error)),
        };
        if !write(&if screen.is_some() { frame(&text) } else { text + "\n" })? {
            return Ok(());
        }
        let ended = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                _ = hangup.recv() => true,
                _ = resized.recv() => false,
                () = sleep(interval) => false,
            }
        });
        if ended {
            return Ok(());
        }
    }
}

/// The text drawn over what is there.
fn frame(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    format!("{}{}{}{}", FRAME[0], lines.join(&format!("{REST}\r\n")), REST, FRAME[1])
}

/// `false` if nobody reads it any more.
fn write(text: &str) -> Result<bool> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("write to stdout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_clears_what_it_does_not_cover_and_scrolls_nothing() {
        let frame = frame("one\ntwo\n");
        assert_eq!(frame, "\x1b[?2026h\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[?2026l");
    }
}
