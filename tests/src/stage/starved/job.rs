//! A training job: real processes that make batches, and a GPU that is played. How busy it is follows from how fast they are, and the
//! stand-in for NVML says so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::cgroup::Cgroup;
use crate::nvml::Nvml;
use crate::process::Killed;

/// Bytes of GPU memory that it holds.
const VRAM: u64 = 40 << 30;

/// The only GPU of the host; who plays it, and what it says.
pub type Card = Arc<Mutex<Nvml>>;

/// When dropped, it is killed, and the GPU is free.
pub struct Job {
    process: Killed,
    control: PathBuf,
    numbers: BTreeMap<&'static str, u64>,
    card: Card,
    /// How busy the GPU was in the last seconds, in quarters of a second.
    busy: Arc<Mutex<Vec<f64>>>,
}

impl Job {
    /// Starts it in a cgroup, with these numbers (see `provoke/train`). `folder` is on a disk, and has the data.
    pub fn start(
        program: &str,
        cgroup: &Cgroup,
        folder: &Path,
        cuda: Option<&Path>,
        numbers: &[(&'static str, u64)],
        card: &Card,
    ) -> Job {
        let control = folder.join("control");
        let numbers: BTreeMap<&'static str, u64> = numbers.iter().copied().collect();
        fs::write(&control, text(&numbers)).unwrap();
        let mut command = Command::new(program);
        command.arg("train").arg(format!("control={}", control.display()));
        command.arg(format!("data={}", folder.join("data").display()));
        command.args(cuda.map(|path| format!("cuda={}", path.display())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Killed(cgroup.spawn(&mut command));
        let output = process.0.stdout.take().unwrap();
        let busy = Arc::new(Mutex::new(Vec::new()));
        let (said, gpu) = (busy.clone(), card.clone());
        let processes = json!([{"pid": process.0.id(), "bytes": VRAM}]);
        change(card, |gpu| gpu["processes"] = processes);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Some(share) = line.strip_prefix("busy ").and_then(|share| share.parse::<f64>().ok()) else {
                    continue;
                };
                said.lock().unwrap_or_else(PoisonError::into_inner).push(share);
                change(&gpu, |gpu| gpu["utilization"] = json!([(share * 100.0) as u32, 10]));
            }
        });
        Job { process, control, numbers, card: card.clone(), busy }
    }

    /// Changes what a batch takes.
    pub fn set(&mut self, name: &'static str, number: u64) {
        self.numbers.insert(name, number);
        let new = self.control.with_extension("new");
        fs::write(&new, text(&self.numbers)).unwrap();
        fs::rename(new, &self.control).unwrap();
    }

    /// The mean of how busy the GPU was in the last so many quarters of a second, once it said so that often.
    pub fn busy(&self, quarters: usize) -> Option<f64> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let last = busy.len().checked_sub(quarters).map(|from| &busy[from..])?;
        Some(last.iter().sum::<f64>() / quarters as f64)
    }

    /// How often it said so.
    pub fn said(&self) -> usize {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(None))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.process.0.kill();
        change(&self.card, |gpu| {
            gpu["processes"] = json!([]);
            gpu["utilization"] = json!([0, 0]);
        });
    }
}

/// Changes what the GPU says.
pub fn change(card: &Card, change: impl FnOnce(&mut serde_json::Value)) {
    let mut card = card.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut card.scenario["gpus"][0]);
    card.apply();
}

fn text(numbers: &BTreeMap<&'static str, u64>) -> String {
    numbers.iter().map(|(name, number)| format!("{name}={number}\n")).collect()
}
