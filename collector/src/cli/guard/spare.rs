//! Where privileges allow it, the OOM killer takes the command and not its guard, which in a small cgroup may be as large. Knows
//! nothing else.

use std::fs;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";
/// All but never.
const LEAST: i32 = -999;

/// While this lives, this process is taken last.
#[derive(Debug)]
pub struct Spared {
    /// What it was before; absent if it stayed so.
    before: Option<i32>,
}

impl Spared {
    pub fn new() -> Spared {
        let before = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse().ok());
        let lowered = before.filter(|before| *before > LEAST && fs::write(FILE, LEAST.to_string()).is_ok());
        Spared { before: lowered }
    }

    /// What the command, which begins as a copy of this process, has to call. Allocates nothing.
    pub fn restore(&self) -> impl Fn() -> io::Result<()> + Send + Sync + 'static {
        let text = self.before.map(|before| before.to_string());
        move || text.as_ref().map_or(Ok(()), |text| fs::write(FILE, text))
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        // It may always be raised.
        let _ = self.restore()();
    }
}
