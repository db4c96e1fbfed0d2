//! A real terminal for `headroom top`, or for a shell: tmux, keys in and screen out.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::binary::binary;
use crate::scratch::{Scratch, scratch};

pub const PATIENCE: Duration = Duration::from_secs(60);
/// What is on the screen after the verb: how it ended, and how the terminal is.
const AFTER: &str = "; echo \"code $?\"; stty -a; exec sleep 600";

/// A tmux of its own with one window.
pub struct Terminal {
    folder: Scratch,
}

impl Terminal {
    /// One in which `headroom top` runs with these arguments.
    pub fn new(width: u16, height: u16, environment: &str, arguments: &str) -> Terminal {
        let verb = format!("env {environment} {} top --config /dev/null {arguments}{AFTER}", binary().display());
        Terminal::with(width, height, &["sh", "-c", &verb])
    }

    /// One in which a shell with job control runs. It prompts with the number of the next command: `[1]$`.
    pub fn shell() -> Terminal {
        Terminal::with(120, 40, &["env", "PS1=[\\#]$ ", "bash", "--norc", "--noprofile", "-i"])
    }

    fn with(width: u16, height: u16, command: &[&str]) -> Terminal {
        let terminal = Terminal { folder: scratch() };
        let (width, height) = (width.to_string(), height.to_string());
        let session = ["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height];
        terminal.tmux(&[&session, command].concat());
        terminal
    }

    /// What a command of tmux prints.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8").env("HEADROOM_JOURNAL_DIR", "/nowhere");
        let output = command.arg("-u").arg("-S").arg(self.folder.join("tmux")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Presses keys, by their names in tmux.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen once all of this is on it.
    pub fn until(&self, texts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "{texts:?} is not on the screen:\n{screen}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Checks that the verb ended well and the terminal is as before.
    pub fn assert_given_back(&self) {
        let screen = self.until(&["code ", "icanon", "echo "]);
        assert!(screen.contains("code 0") && !screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
        let state = self.tmux(&["display-message", "-p", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"]);
        assert_eq!(state.trim(), "0 0 1", "no other screen, no mouse, a cursor");
    }

    /// The process of the verb.
    pub fn pid(&self) -> i32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.trim().parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.arg("-S").arg(self.folder.join("tmux")).arg("kill-server").output();
    }
}
