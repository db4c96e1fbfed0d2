//! The terminal: taken at the begin, given back however it ends; frames go out as changes; keys, the mouse, resizes and signals come
//! in from threads.

use std::io::{BufWriter, Stdout, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event as Input};
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Buttons and the wheel, with places beyond column 223; not every movement.
const MOUSE: [&str; 2] = ["\x1b[?1000h\x1b[?1006h", "\x1b[?1006l\x1b[?1000l"];
/// Of a frame: a whole screen of 300×80 is one write.
const BUFFER: usize = 256 << 10;

static TAKEN: AtomicBool = AtomicBool::new(false);

pub struct Screen<W: Write = Stdout> {
    terminal: Terminal<CrosstermBackend<BufWriter<W>>>,
}

impl Screen {
    /// Takes the terminal. A panic gives it back before its message is printed.
    pub fn begin() -> Result<Screen> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(BUFFER, stdout())));
        let screen = Screen { terminal: terminal.context("read the terminal's size")? };
        TAKEN.store(true, Ordering::Release);
        enable_raw_mode().context("take the terminal")?;
        execute!(stdout(), EnterAlternateScreen, Hide, Print(MOUSE[0])).context("write to the terminal")?;
        Ok(screen)
    }
}

impl<W: Write> Screen<W> {
    /// Sends what changed. A terminal that knows synchronized updates shows it at once.
    pub fn draw<T>(&mut self, draw: impl FnOnce(&mut Frame) -> T) -> Result<T> {
        let mut drawn = None;
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate).context("write to the terminal")?;
        self.terminal.draw(|frame| drawn = Some(draw(frame))).context("write to the terminal")?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate).context("write to the terminal")?;
        drawn.context("nothing was drawn")
    }
}

/// Gives the terminal back, once: what is printed after that stays.
pub fn restore() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    // If the terminal is gone there is nothing to restore.
    let _ = execute!(stdout(), Print(MOUSE[1]), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Gives the terminal back at the end of a scope.
pub struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        restore();
    }
}

/// Passes on what comes from the terminal, until it or the listener is gone.
pub fn listen(mut say: impl FnMut(Input) -> bool) {
    while let Ok(input) = event::read() {
        if !say(input) {
            return;
        }
    }
}

/// Signals that end programs, from now on caught.
pub struct Signals {
    runtime: Runtime,
    kinds: [Signal; 3],
}

impl Signals {
    pub fn catch() -> Result<Signals> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let guard = runtime.enter();
        let catch = |kind| signal(kind).context("listen for signals");
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(catch);
        drop(guard);
        let [interrupt, terminate, hangup] = kinds;
        Ok(Signals { runtime, kinds: [interrupt?, terminate?, hangup?] })
    }

    /// Waits for one.
    pub fn wait(mut self) {
        let [interrupt, terminate, hangup] = &mut self.kinds;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::{TerminalOptions, Viewport};

    impl<'a> Screen<&'a mut Vec<u8>> {
        /// A screen of this size whose bytes are kept.
        pub fn kept(bytes: &'a mut Vec<u8>, width: u16, height: u16) -> Screen<&'a mut Vec<u8>> {
            let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, bytes));
            let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
            Screen { terminal: Terminal::with_options(backend, TerminalOptions { viewport }).unwrap() }
        }
    }

    #[test]
    fn a_frame_is_synchronized_and_only_changes_are_sent() {
        let mut bytes = Vec::new();
        let mut screen = Screen::kept(&mut bytes, 40, 3);
        let mut draw = |text: &'static str| screen.draw(|frame| frame.render_widget(text, frame.area())).unwrap();
        draw("memory 10 %");
        draw("memory 11 %");
        drop(screen);
        let text = String::from_utf8(bytes).unwrap();
        let frames: Vec<&str> = text.split("\x1b[?2026h").skip(1).collect();
        assert_eq!(frames.len(), 2, "{text:?}");
        assert!(frames.iter().all(|frame| frame.contains("\x1b[?2026l")), "{text:?}");
        assert!(frames[0].contains("memory") && !frames[1].contains("memory") && frames[1].contains('1'), "{text:?}");
    }
}
