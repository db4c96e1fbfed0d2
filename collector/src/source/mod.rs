//! All IO in: what every source does, how one is read, and what it can say about this host. Knows no source in particular
//! (`catalogue.rs` lists them), and nothing of what readings mean.

pub mod catalogue;
pub mod cgroup;
pub mod filesystem;
pub mod gpu;
pub mod host;
pub mod kept;
pub mod kernel;
pub mod name;
pub mod pattern;
mod pressure;
pub mod process;
pub mod root;
pub mod statistic;
pub mod text;
pub mod transfer;
mod watch;

#[cfg(test)]
pub(crate) mod test;

use anyhow::Result;
use serde::Serialize;

use crate::clock;
use crate::config::Config;
use crate::sample::{self, Reading, Sample};
use root::Root;

/// Whatever produces samples. In steady state neither `read` nor `follow` allocates.
pub trait Source {
    /// Emits everything that is new. Called once a tick, and never waits: a source whose calls may block has a thread of
    /// its own, and emits what that has found by now.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health;

    /// Hears what the kernel tells of cgroups and of the OOM killer, event by event, before the engine does.
    fn follow(&mut self, _reading: &Reading) {}

    /// What this host can and cannot give through this source, and why. Works without an agent and without privileges,
    /// and changes nothing.
    fn examine(_config: &Config, _root: &Root) -> Vec<Finding>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// How reading a source went.
#[derive(Debug)]
pub enum Health {
    /// It was read just now; an error says why something could not be read.
    Read(Result<()>),
    /// A thread of its own completed a round since the last call, which took `ns` nanoseconds.
    Round {
        /// Nanoseconds.
        ns: u64,
        /// Why something could not be read.
        result: Result<()>,
    },
    /// Nothing new is known of its health, or it has none to show.
    Silent,
}

/// Something that the doctor says about this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its key in JSON.
    #[serde(skip)]
    pub key: &'static str,
    /// What it is called in text.
    #[serde(skip)]
    pub title: &'static str,
    /// Whether everything it speaks of works.
    pub ok: bool,
    /// What was found, or why it does not work.
    pub is: String,
}

/// Reads a source, and emits how that went: [`Reading::Source`] comes from nowhere else.
pub fn read(name: &'static str, source: &mut dyn Source, emit: &mut dyn FnMut(Sample)) {
    let begun = clock::monotonic_ns();
    let (ns, result) = match source.read(emit) {
        Health::Silent => return,
        Health::Read(result) => (clock::monotonic_ns().saturating_sub(begun), result),
        Health::Round { ns, result } => (ns, result),
    };
    let error = result.err().map(|error| format!("{error:#}"));
    let health = sample::Source { source: name.into(), up: error.is_none(), ns, error };
    emit(Sample { time: clock::unix_ns(), reading: Reading::Source(health) });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as it was told to.
    struct Puppet(Vec<Health>);

    impl Source for Puppet {
        fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
            emit(Sample { time: 7, reading: Reading::Tick });
            self.0.pop().unwrap()
        }
    }

    #[test]
    fn health_follows_the_readings_and_says_why() {
        let failed = || Err(anyhow::anyhow!("no such file").context("read a"));
        let answers = vec![Health::Silent, Health::Round { ns: 5, result: Ok(()) }, Health::Read(failed())];
        let mut puppet = Puppet(answers);
        let mut told = Vec::new();
        for _ in 0..3 {
            read("puppet", &mut puppet, &mut |sample| told.push(sample.reading));
        }
        let [Reading::Tick, Reading::Source(down), Reading::Tick, Reading::Source(up), Reading::Tick] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((&*down.source, down.up, down.error.as_deref()), ("puppet", false, Some("read a: no such file")));
        assert_eq!((up.up, up.ns, &up.error), (true, 5, &None));
    }
}
