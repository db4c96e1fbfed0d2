//! One round: everything that is read once a tick, in the order that makes sense of it. It knows which sources there
//! are, and neither who asks for the samples nor when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sample::{Lost, Reading, Sample, Source};
use crate::source::clock;
use crate::source::kernel::Kernel;
use crate::source::process::Own;

/// Reads the sources. In steady state it allocates nothing.
pub struct Round {
    own: Own,
    losses: Vec<(&'static str, Arc<AtomicU64>)>,
}

impl Round {
    /// `losses` are counted elsewhere in the agent, since the last round, by the stage at which they happen.
    pub fn new(own: Own, losses: Vec<(&'static str, Arc<AtomicU64>)>) -> Round {
        Round { own, losses }
    }

    /// Hands everything that is new to `fold`, and a [`Reading::Tick`] at the end.
    pub fn read(&mut self, kernel: &mut Kernel, fold: &mut dyn FnMut(Sample)) {
        let begun = clock::monotonic_ns();
        // The rings first: a cgroup's birth comes before its counts.
        kernel.drain_critical(fold);
        kernel.drain_bulk(fold);
        let result = kernel.tick(fold);
        let time = clock::unix_ns();
        let mut say = |reading| fold(Sample { time, reading });
        say(Reading::Source(Source {
            source: "kernel".into(),
            up: result.is_ok(),
            ns: clock::monotonic_ns().saturating_sub(begun),
            error: result.err().map(|error| format!("{error:#}")),
        }));
        if let Ok(process) = self.own.read() {
            say(Reading::Process(process));
        }
        for (stage, lost) in &self.losses {
            let count = lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                say(Reading::Lost(Lost { stage: (*stage).into(), count }));
            }
        }
        say(Reading::Tick);
    }
}
