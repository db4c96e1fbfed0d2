//! Cost of the probes for a page fault: the hottest path that any probe is on.

use anyhow::{Context as _, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::machine::{Pinned, cpu_ns};
use crate::probe::{self, Others};
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};

const BYTES: usize = 512 << 20;
const PAGE: usize = 4096;
/// Measurements in a row; the fastest counts.
const REPEAT: usize = 2;
/// What all probes add, over what an empty program adds.
const AIM: f64 = 1.25;
/// With `fault.access = false` nothing runs at a fault: what is left is the noise of the measurement.
const NOISE: f64 = 0.005;

/// Index of the measurement with an empty program. Index 0 has no program.
const EMPTY: usize = 1;
/// All programs of the agent.
const ALL: usize = 2;
/// The same with `fault.access = false`.
const WITHOUT_ACCESS: usize = 3;

/// Touches fresh memory with no program attached, with an empty one, and with the agent's, alternately.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let mut others = Others::default();
    let [none, empty, all, without] = alternate::<4>(rounds, |which| {
        others.without(|| {
            let (_all, _empty) = match which {
                ALL => (Some(probe::attach(|_| {})?), None),
                WITHOUT_ACCESS => (Some(probe::attach(|config| config.fault.access = false)?), None),
                EMPTY => (None, Some(probe::attach_empty()?)),
                _ => (None, None),
            };
            quickest()
        })
    })?;

    let mut report = Report::new(&["page fault", "ns, median (quartiles)", "ns, min", "slower by, median (quartiles)"]);
    let mut row = |what: &str, times: &[f64]| {
        let (ns, ratio) = (Summary::of(times.iter().copied()), ratio(times, &none));
        let slower = [ratio.median, ratio.quartiles.0, ratio.quartiles.1].map(|ratio| 100.0 * (ratio - 1.0));
        let slower = format!("{:+.1} % ({:+.1} … {:+.1})", slower[0], slower[1], slower[2]);
        report.row([what.to_owned(), ns.spread(0), format!("{:.0}", ns.min), slower]);
        ratio.median
    };
    row("no program", &none);
    row("an empty program", &empty);
    row("every probe of the agent", &all);
    let slower = row("the same with `fault.access = false`", &without) - 1.0;
    let added = |times: &[f64]| Summary::of(times.iter().zip(&none).map(|(with, without)| with - without)).median;
    let (all, empty) = (added(&all), added(&empty));
    report.note(format!("{} MiB in pages of {PAGE} bytes, one thread on one CPU.", BYTES >> 20));

    let (user, floor) = run_time(rounds.min(10))?;
    report.note(format!(
        "The kernel's own measurement of a run, including its two reads of the clock: `fault_user` {} ns, the empty program \
         {} ns, so that the counting itself takes {:.1} ns.",
        user.spread(1),
        floor.spread(1),
        user.median - floor.median
    ));
    others.note().into_iter().for_each(|note| report.note(note));
    report.aim(
        format!(
            "all probes add at most {AIM} times what an empty program adds: {:.2} ({all:.0} and {empty:.0} ns)",
            all / empty
        ),
        all <= AIM * empty,
    );
    report.aim(
        format!(
            "with `fault.access = false` a page fault takes at most {:.1} % longer: {:+.2} %",
            100.0 * NOISE,
            100.0 * slower
        ),
        slower <= NOISE,
    );
    Ok(report)
}

/// Nanoseconds per fault: the least of several measurements.
pub fn quickest() -> Result<f64> {
    let times: Vec<f64> = (0..REPEAT).map(|_| touch()).collect::<Result<_>>()?;
    Ok(Summary::of(times).min)
}

/// Nanoseconds of CPU time per fault, so that time on other processes does not count.
fn touch() -> Result<f64> {
    // SAFETY: a new mapping, to which nothing else refers.
    unsafe {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let memory = rustix::mm::mmap_anonymous(std::ptr::null_mut(), BYTES, protection, MapFlags::PRIVATE)
            .context("map memory")?;
        // A kernel without huge pages returns an error, and needs no advice.
        let _ = rustix::mm::madvise(memory, BYTES, Advice::LinuxNoHugepage);
        let begun = cpu_ns();
        for offset in (0..BYTES).step_by(PAGE) {
            memory.cast::<u8>().add(offset).write_volatile(1);
        }
        let ns = (cpu_ns() - begun) as f64 / (BYTES / PAGE) as f64;
        rustix::mm::munmap(memory, BYTES).context("unmap memory")?;
        Ok(ns)
    }
}

/// Nanoseconds per run, of `fault_user` and of the empty program, on the same faults.
fn run_time(rounds: usize) -> Result<(Summary, Summary)> {
    let loaded = probe::attach(|_| {})?;
    let floor = probe::attach_empty()?;
    let _measured = probe::measure()?;
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        let read = || {
            Ok::<_, anyhow::Error>(
                [(&loaded.ebpf, "fault_user"), (&floor, "empty")].map(|(ebpf, name)| probe::statistics(ebpf, name)),
            )
        };
        let before = read()?;
        touch()?;
        for ((times, before), after) in times.iter_mut().zip(before).zip(read()?) {
            let ((runs_before, ns_before), (runs, ns)) = (before?, after?);
            times.push((ns - ns_before) as f64 / (runs - runs_before) as f64);
        }
    }
    let [user, floor] = times;
    Ok((Summary::of(user), Summary::of(floor)))
}
