//! A training job: real processes that make batches, and a GPU that is played. How busy it is follows from how fast they are, and the
//! stand-in for NVML says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cgroup::Cgroup;
use crate::nvml::Nvml;
use crate::process::Killed;

/// Bytes of GPU memory that it holds.
const VRAM: u64 = 40 << 30;
/// How often the GPU says how busy it was.
const QUARTER: Duration = Duration::from_millis(250);

/// The only GPU of the host; who plays it, and what it says.
pub type Card = Arc<Mutex<Nvml>>;

/// When dropped, it is killed, and the GPU is free.
pub struct Job {
    process: Killed,
    control: PathBuf,
    numbers: BTreeMap<&'static str, u64>,
    card: Card,
    /// How busy the GPU was, in quarters of a second.
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
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Killed(cgroup.spawn(&mut command));
        let processes = json!([{"pid": process.0.id(), "bytes": VRAM}]);
        change(card, |gpu| gpu["processes"] = processes);
        let busy = Arc::new(Mutex::new(Vec::new()));
        let (said, gpu, file) =
            (Arc::downgrade(&busy), card.clone(), PathBuf::from(format!("{}.busy", control.display())));
        // The GPU: ends with the job.
        std::thread::spawn(move || {
            let (mut since, mut before) = (Instant::now(), 0);
            while let Some(said) = said.upgrade() {
                let (now, busy) = (Instant::now(), read(&file).unwrap_or(before));
                let share = busy.saturating_sub(before) as f64 / now.duration_since(since).as_micros().max(1) as f64;
                (since, before) = (now, busy);
                said.lock().unwrap_or_else(PoisonError::into_inner).push(share.min(1.0));
                drop(said);
                change(&gpu, |gpu| gpu["utilization"] = json!([(share.min(1.0) * 100.0) as u32, 10]));
                std::thread::sleep(QUARTER);
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

/// For how many microseconds the GPU was busy so far.
fn read(file: &Path) -> Option<u64> {
    Some(u64::from_ne_bytes(fs::read(file).ok()?.get(..8)?.try_into().ok()?))
}
