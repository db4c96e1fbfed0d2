//! The answers of the stand-in, from a JSON file that is read again whenever it changes. Knows nothing of the C interface.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde::Deserialize;

/// Environment variable with the path of the file.
pub const VARIABLE: &str = "NVML_STAND_IN";

/// A host with GPUs. Values that are absent are "not supported".
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Version.
    pub driver: String,
    /// A new number means that the driver was reloaded: clients must initialise again.
    pub load: u64,
    /// Behaviour of functions, by name.
    pub calls: HashMap<String, Call>,
    pub gpus: Vec<Gpu>,
    /// Xid events, oldest first; each is delivered once.
    pub xids: Vec<Xid>,
}

/// Behaviour of a function before it answers.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    pub sleep_ms: u64,
    /// It keeps the CPU busy for this long, as real drivers do while they wait.
    pub spin_ms: u64,
    /// It does not return while this is set.
    pub hang: bool,
    /// It returns this error (`nvmlReturn_t`); 0 is none.
    pub error: u32,
}

/// A GPU, or a MIG device of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpu {
    pub uuid: String,
    /// Model.
    pub name: String,
    /// Where it is, as NVML writes it: `00000000:3B:00.0`.
    pub bus_id: Option<String>,
    /// Behaviour of functions for this one, by name; `*` is every function.
    pub calls: HashMap<String, Call>,
    pub memory: Option<Memory>,
    /// Percent, of the GPU and of its memory.
    pub utilization: Option<[u32; 2]>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Milliwatts.
    pub power: Option<u32>,
    /// Milliwatts.
    pub power_limit: Option<u32>,
    /// Millijoules.
    pub energy: Option<Counter>,
    /// Megahertz: graphics, SM, memory, video.
    pub clocks: Option<[u32; 4]>,
    /// Bit mask.
    pub throttle: Option<u64>,
    /// Corrected, uncorrected.
    pub ecc: Option<[u64; 2]>,
    /// Corrected, uncorrected, pending, failed.
    pub remapped: Option<[u32; 4]>,
    pub pcie: Option<Pcie>,
    /// Major and minor number.
    pub compute_capability: Option<[i32; 2]>,
    /// Compute processes.
    pub processes: Option<Vec<Process>>,
    /// Graphics processes.
    pub graphics: Option<Vec<Process>>,
    /// MIG devices; absent if MIG is off.
    pub mig: Option<Vec<Gpu>>,
    /// Of a MIG device: its GPU instance and its compute instance.
    pub instance: Option<[u32; 2]>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    pub total: u64,
    /// Used by processes.
    pub used: u64,
    /// Reserved by the driver.
    pub reserved: u64,
}

/// A number that may grow.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counter {
    /// Value at the first read.
    pub base: u64,
    /// Growth per second since the first read.
    pub rate: f64,
}

/// The PCIe link.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pcie {
    /// Negotiated.
    pub generation: u32,
    /// Negotiated.
    pub width: u32,
    /// Maximum of GPU and slot.
    pub max_generation: u32,
    /// Maximum of GPU and slot.
    pub max_width: u32,
    pub replays: Option<u32>,
    /// Bytes sent and received by the GPU, as field values of `bits` bits.
    pub counters: Option<[Counter; 2]>,
    /// 64; or 32 with a 32-bit type; or 33 for 32 bits in a 64-bit type.
    pub bits: u32,
    /// KB/s sent and received, for `nvmlDeviceGetPcieThroughput`.
    pub throughput: Option<[u32; 2]>,
    /// Bytes sent and received, for averages between two samples (GPM).
    pub averaged: Option<[Counter; 2]>,
}

/// A process on a GPU.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    /// Bytes; absent is "not available".
    pub bytes: Option<u64>,
}

/// An Xid event.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    /// Index of the GPU.
    pub gpu: usize,
    pub code: u64,
}

type Stamp = (SystemTime, u64);

static CACHE: Mutex<Option<(Stamp, Arc<Scenario>)>> = Mutex::new(None);
static GROWN: Mutex<Option<HashMap<String, (Instant, f64)>>> = Mutex::new(None);

/// The scenario as it is now. If the file cannot be read, the last one: a test may be writing it.
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
    /// Present value; `name` identifies the counter.
    pub fn now(self, name: String) -> u64 {
        let mut grown = GROWN.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (since, sum) = grown.get_or_insert_default().entry(name).or_insert((now, 0.0));
        *sum += self.rate * now.duration_since(*since).as_secs_f64();
        *since = now;
        self.base.wrapping_add(*sum as u64)
    }
}
