//! What the stand-in answers: a JSON file that is read again whenever it has changed. It knows nothing of the C interface.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde::Deserialize;

/// The variable that names the file.
pub const VARIABLE: &str = "NVML_STAND_IN";

/// A host with GPUs. What is not set is not supported.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The driver's version.
    pub driver: String,
    /// Another number is another load of the driver: whoever initialised before has to do it again.
    pub load: u64,
    /// How functions behave, by name.
    pub calls: HashMap<String, Call>,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
    /// Errors that happened, oldest first; each is told once.
    pub xids: Vec<Xid>,
}

/// How a function behaves before it answers.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// It takes this many milliseconds.
    pub sleep_ms: u64,
    /// It does not come back while this is set.
    pub hang: bool,
    /// It answers with this error (`nvmlReturn_t`).
    pub error: u32,
}

/// One GPU, or one MIG device of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpu {
    /// Its identity.
    pub uuid: String,
    /// The model.
    pub name: String,
    /// How functions behave for this one, by name; `*` is every function.
    pub calls: HashMap<String, Call>,
    /// Bytes.
    pub memory: Option<Memory>,
    /// Percent, of the GPU and of its memory.
    pub utilization: Option<[u32; 2]>,
    /// Degrees.
    pub temperature: Option<u32>,
    /// Milliwatts.
    pub power: Option<u32>,
    /// Milliwatts.
    pub power_limit: Option<u32>,
    /// Millijoules.
    pub energy: Option<Counter>,
    /// Megahertz: graphics, SM, memory, video.
    pub clocks: Option<[u32; 4]>,
    /// Bits.
    pub throttle: Option<u64>,
    /// Corrected, uncorrected.
    pub ecc: Option<[u64; 2]>,
    /// Corrected, uncorrected, pending, failed.
    pub remapped: Option<[u32; 4]>,
    /// The link.
    pub pcie: Option<Pcie>,
    /// Those that compute.
    pub processes: Option<Vec<Process>>,
    /// Those that draw.
    pub graphics: Option<Vec<Process>>,
    /// MIG is on, with these devices.
    pub mig: Option<Vec<Gpu>>,
    /// Of a MIG device: its GPU instance and its compute instance.
    pub instance: Option<[u32; 2]>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// All.
    pub total: u64,
    /// Of processes.
    pub used: u64,
    /// The driver's.
    pub reserved: u64,
}

/// A number that may grow by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counter {
    /// What it is without growing.
    pub base: u64,
    /// How much is added in a second, from the first time it was asked for.
    pub rate: f64,
}

/// The link.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pcie {
    /// Negotiated.
    pub generation: u32,
    /// Negotiated.
    pub width: u32,
    /// The most that GPU and slot can do.
    pub max_generation: u32,
    /// The most that GPU and slot can do.
    pub max_width: u32,
    /// Retries.
    pub replays: Option<u32>,
    /// Bytes sent by the GPU, and received, as field values of `bits` bits.
    pub counters: Option<[Counter; 2]>,
    /// 64; or 32 and the type says so; or 33, which is 32 in a type of 64.
    pub bits: u32,
    /// KB/s sent and received, for `nvmlDeviceGetPcieThroughput`.
    pub throughput: Option<[u32; 2]>,
    /// Bytes sent and received, for what is averaged between two samples (GPM).
    pub averaged: Option<[Counter; 2]>,
}

/// One process on a GPU.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Bytes; absent is "not available".
    pub bytes: Option<u64>,
}

/// One error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    /// The GPU's index.
    pub gpu: usize,
    /// The error's number.
    pub code: u64,
}

type Stamp = (SystemTime, u64);

static CACHE: Mutex<Option<(Stamp, Arc<Scenario>)>> = Mutex::new(None);
static GROWN: Mutex<Option<HashMap<String, (Instant, f64)>>> = Mutex::new(None);

/// The scenario as it is now. Without a readable one the last goes on: a test may be writing it.
pub fn now() -> Arc<Scenario> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Arc::default() };
    let stamp = fs::metadata(&path).and_then(|found| Ok((found.modified()?, found.len()))).ok();
    if let Some((known, scenario)) = &*cache
        && stamp.is_none_or(|stamp| stamp == *known)
    {
        return scenario.clone();
    }
    match fs::read(&path).map_err(|error| error.to_string()).and_then(|text| parse(&text)) {
        Ok(scenario) => {
            let scenario = Arc::new(scenario);
            *cache = stamp.map(|stamp| (stamp, scenario.clone()));
            scenario
        }
        Err(error) => {
            eprintln!("nvml stand-in: {}: {error}", path.display());
            cache.as_ref().map(|(_, scenario)| scenario.clone()).unwrap_or_default()
        }
    }
}

fn parse(text: &[u8]) -> Result<Scenario, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

impl Counter {
    /// What it is now; `name` is what tells it from all others.
    pub fn now(self, name: String) -> u64 {
        let mut grown = GROWN.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (since, sum) = grown.get_or_insert_default().entry(name).or_insert((now, 0.0));
        *sum += self.rate * now.duration_since(*since).as_secs_f64();
        *since = now;
        self.base.wrapping_add(*sum as u64)
    }
}
