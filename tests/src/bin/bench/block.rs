//! Cost of the probes for block IO: 4 KiB direct random reads of a real disk, and of a loop device over memory, which is
//! faster than any real disk.

use std::alloc::{Layout, alloc, dealloc};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_tests::loopback::Loop;
use collector_tests::scratch::Scratch;

use crate::probe::{self, Others};
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};

const BYTES: u64 = 256 << 20;
const BLOCK: usize = 4096;
const DEEP: usize = 8;
const PHASE: Duration = Duration::from_millis(400);
const AIM: f64 = 0.99;
const PROGRAMS: [&str; 2] = ["block_rq_issue", "block_rq_complete"];

/// Reads with nothing attached and with all programs of the agent, alternately.
pub fn measure(rounds: usize) -> Result<Report> {
    let head =
        ["4 KiB direct random reads", "IOPS without, median (quartiles)", "IOPS with", "with / without", "ns an IO"];
    let mut report = Report::new(&head);
    let directory = Scratch::below("/var/tmp".as_ref());
    let disk = directory.join("data");
    fill(&disk)?;
    let mut others = Others::default();
    for depth in [1, DEEP] {
        let ratio = compare(&mut report, &mut others, "disk", &disk, depth, rounds)?;
        let aim = format!("reads from the disk, {depth} at a time, lose at most 1 % of their rate: {}", percent(ratio));
        report.aim(aim, ratio >= AIM);
    }
    let memory = Scratch::in_memory();
    match Loop::new(&memory, BYTES) {
        Ok(device) => {
            for depth in [1, DEEP] {
                compare(&mut report, &mut others, "loop device over memory", &device.device(), depth, rounds)?;
            }
        }
        Err(why) => report.note(format!("No loop device: {why}.")),
    }
    report.note(format!(
        "`with / without` is the median (quartiles) of {rounds} pairs of {} ms; {DEEP} at a time use as many threads.",
        PHASE.as_millis()
    ));
    report.note(
        "`ns an IO` is what the kernel measured inside the programs, including its own reads of the clock; with both, where \
         requests do not store when they were issued, in the order (issue, complete).",
    );
    others.note().into_iter().for_each(|note| report.note(note));
    Ok(report)
}

fn compare(
    report: &mut Report,
    others: &mut Others,
    what: &str,
    path: &Path,
    depth: usize,
    rounds: usize,
) -> Result<f64> {
    let [without, with] = alternate::<2>(rounds, |which| {
        others.without(|| {
            let _attached = (which == 1).then(|| probe::attach(|_| {})).transpose()?;
            iops(path, depth)
        })
    })?;
    let rate = |rates: &[f64]| Summary::of(rates.iter().copied()).spread(0);
    let ratio = ratio(&with, &without);
    report.row([
        format!("{what}, {depth} at a time"),
        rate(&without),
        rate(&with),
        ratio.spread(3),
        run_time(path, depth)?,
    ]);
    Ok(ratio.median)
}

fn percent(ratio: f64) -> String {
    format!("{:+.1} %", 100.0 * (ratio - 1.0))
}

/// Reads for a while; returns reads per second.
pub fn iops(path: &Path, depth: usize) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let reads = std::thread::scope(|scope| {
        let stop = &stop;
        let readers: Vec<_> = (1..=depth as u64).map(|seed| scope.spawn(move || reader(path, seed, stop))).collect();
        std::thread::sleep(PHASE);
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| Ok(0))).sum::<Result<u64>>()
    })?;
    Ok(reads as f64 / begun.elapsed().as_secs_f64())
}

/// Reads this many blocks from the start, past the page cache.
pub fn read(path: &Path, count: u64, block: u64) -> Result<()> {
    let file = direct(path)?;
    let mut buffer = Aligned::new()?;
    (0..count).try_for_each(|index| file.read_exact_at(buffer.bytes(), index * block)).context("read directly")
}

fn reader(path: &Path, seed: u64, stop: &AtomicBool) -> Result<u64> {
    let file = direct(path)?;
    let mut buffer = Aligned::new()?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let block = state % (BYTES / BLOCK as u64);
        file.read_exact_at(buffer.bytes(), block * BLOCK as u64).with_context(|| format!("read {}", path.display()))?;
        reads += 1;
    }
    Ok(reads)
}

/// Nanoseconds that the programs take per IO, and each of them per run if there are two.
fn run_time(path: &Path, depth: usize) -> Result<String> {
    let loaded = probe::attach(|_| {})?;
    let _measured = probe::measure()?;
    iops(path, depth)?;
    let mut parts = Vec::new();
    let (mut total, mut completed) = (0, 0);
    for program in PROGRAMS {
        let (runs, ns) = probe::statistics(&loaded.ebpf, program)?;
        total += ns;
        completed = runs;
        if runs > 0 {
            parts.push(format!("{:.0}", ns as f64 / runs as f64));
        }
    }
    let parts = if parts.len() > 1 { format!(" ({})", parts.join(", ")) } else { String::new() };
    Ok(format!("{:.0}{parts}", total as f64 / completed.max(1) as f64))
}

fn direct(path: &Path) -> Result<File> {
    let flag = rustix::fs::OFlags::DIRECT.bits() as i32;
    OpenOptions::new().read(true).custom_flags(flag).open(path).with_context(|| format!("open {}", path.display()))
}

fn fill(path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    // Written, since reading a hole does no IO.
    let chunk = vec![0xa5; 1 << 20];
    (0..BYTES)
        .step_by(chunk.len())
        .try_for_each(|offset| file.write_all_at(&chunk, offset))
        .context("write the file")?;
    file.sync_all().context("write the file")
}

/// A buffer for direct reads.
struct Aligned(*mut u8, Layout);

impl Aligned {
    fn new() -> Result<Aligned> {
        let layout = Layout::from_size_align(BLOCK, BLOCK)?;
        // SAFETY: the size of the layout is not zero.
        let pointer = unsafe { alloc(layout) };
        anyhow::ensure!(!pointer.is_null(), "no memory for a buffer");
        // SAFETY: just allocated, of this size.
        unsafe { pointer.write_bytes(0, BLOCK) };
        Ok(Aligned(pointer, layout))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: allocated and initialised by `new`, and borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.0, BLOCK) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.0, self.1) }
    }
}
