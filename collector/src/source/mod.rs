//! All input: the trait of sources, reading one, and its findings about this host. Knows no particular source
//! (`catalogue.rs` lists them), and nothing about what readings mean.

pub mod catalogue;
pub mod cgroup;
pub mod contention;
pub mod filesystem;
pub mod gpu;
pub mod host;
pub mod kept;
pub mod kernel;
pub mod lease;
pub mod member;
mod meminfo;
pub mod model;
pub mod model_file;
pub mod name;
pub mod network;
pub mod observed;
pub mod passwd;
mod pressure;
pub mod process;
mod queue;
pub mod resident;
pub mod rising;
pub mod root;
pub mod statistic;
pub mod text;
pub mod transfer;
pub mod untrusted;
mod watch;
pub mod watched;

#[cfg(test)]
pub(crate) mod test;

use anyhow::Result;
use collector_core::sample::{self, Reading, Sample};
use serde::Serialize;

use crate::clock;
use crate::config::Config;
use root::Root;

/// A producer of samples. In steady state neither `read` nor `follow` allocates.
pub trait Source {
    /// Emits everything new. Called once a tick, and never blocks: a source whose calls may block has its own thread,
    /// and emits what that thread has found by now.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health;

    /// Receives the kernel's cgroup and OOM events one by one. Those that arrive during a round come when the source that is
    /// being read has ended.
    fn follow(&mut self, _reading: &Reading) {}

    /// Adds to an OOM kill or a signal what is read at once, before anybody learns of it: what may be gone at the next tick.
    fn complete(&mut self, _reading: &mut Reading) {}

    /// What this host supports through this source, and why not. Works without an agent and without privileges, and
    /// changes nothing.
    fn examine(_config: &Config, _root: &Root) -> Vec<Finding>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// The outcome of reading a source.
#[derive(Debug)]
pub enum Health {
    /// It was read just now; the error says what could not be read.
    Read(Result<()>),
    /// The source's own thread completed a round since the last call.
    Round {
        /// Duration in nanoseconds.
        ns: u64,
        result: Result<()>,
    },
    /// Nothing new is known about its health, or it reports none.
    Silent,
}

/// One line of `headroom doctor` about this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Key in JSON.
    #[serde(skip)]
    pub key: &'static str,
    /// Label in text.
    #[serde(skip)]
    pub title: &'static str,
    pub ok: bool,
    /// What was found, or why it does not work.
    pub is: String,
}

/// Reads a source and emits its health. Nothing else emits [`Reading::Source`].
pub fn read(name: &'static str, source: &mut dyn Source, emit: &mut dyn FnMut(Sample)) {
    let started = clock::monotonic_ns();
    let (ns, result) = match source.read(emit) {
        Health::Silent => return,
        Health::Read(result) => (clock::monotonic_ns().saturating_sub(started), result),
        Health::Round { ns, result } => (ns, result),
    };
    let error = result.err().map(|error| format!("{error:#}"));
    let health = sample::Source { source: name.into(), up: error.is_none(), ns, error };
    emit(Sample { time: clock::unix_ns(), reading: Reading::Source(health) });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the given results, last first.
    struct Scripted(Vec<Health>);

    impl Source for Scripted {
        fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
            emit(Sample { time: 7, reading: Reading::Tick });
            self.0.pop().unwrap()
        }
    }

    #[test]
    fn health_follows_the_readings_and_says_why() {
        let failed = || Err(anyhow::anyhow!("no such file").context("read a"));
        let answers = vec![Health::Silent, Health::Round { ns: 5, result: Ok(()) }, Health::Read(failed())];
        let mut scripted = Scripted(answers);
        let mut readings = Vec::new();
        for _ in 0..3 {
            read("scripted", &mut scripted, &mut |sample| readings.push(sample.reading));
        }
        let [Reading::Tick, Reading::Source(down), Reading::Tick, Reading::Source(up), Reading::Tick] = &readings[..]
        else {
            panic!("{readings:?}")
        };
        assert_eq!((&*down.source, down.up, down.error.as_deref()), ("scripted", false, Some("read a: no such file")));
        assert_eq!((up.up, up.ns, &up.error), (true, 5, &None));
    }
}
