//! Cost of the uprobes for callers of the CUDA driver's library. The functions of the stand-in do next to nothing, so that
//! only the probes are measured.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use collector::source::kernel::load;
use collector::source::root::Root;
use collector::source::transfer::finder::Finder;
use collector_core::sample::ProbeState;
use collector_tests::cuda::install;
use collector_tests::scratch::scratch;

use crate::machine::{Pinned, cpu_ns};
use crate::probe;
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};

/// Calls in a row.
const CALLS: usize = 2_000;
/// Number of rows; the fastest counts.
const REPEAT: usize = 3;
/// For comparison: the time of a 1 MiB copy over PCIe generation 4 with 16 lanes, in nanoseconds.
const MEBIBYTE_NS: f64 = 33_300.0;

/// Two to five numbers or pointers, as in `provoke cuda`.
type Function = extern "C" fn(u64, u64, u64, u64, u64) -> u32;

const HOST: u64 = 0x1000;
const DEVICE: u64 = 0x2_0000_0000;

/// Functions to call, and how.
struct Case {
    name: &'static str,
    functions: &'static [&'static str],
    call: fn(&[Function]),
}

const CASES: [Case; 6] = [
    Case {
        name: "a copy to the device (cuMemcpyHtoD)",
        functions: &["cuMemcpyHtoD_v2"],
        call: |of| _ = of[0](DEVICE, HOST, 4096, 0, 0),
    },
    Case {
        name: "an asynchronous copy from it (cuMemcpyDtoHAsync)",
        functions: &["cuMemcpyDtoHAsync_v2"],
        call: |of| _ = of[0](HOST, DEVICE, 4096, 0, 0),
    },
    Case {
        name: "a copy without a direction (cuMemcpy)",
        functions: &["cuMemcpy"],
        call: |of| _ = of[0](DEVICE, HOST, 4096, 0, 0),
    },
    Case {
        name: "device memory, allocated and freed",
        functions: &["cuMemAlloc_v2", "cuMemFree_v2"],
        call: |of| {
            let mut address = 0u64;
            of[0](&raw mut address as u64, 4096, 0, 0, 0);
            of[1](address, 0, 0, 0, 0);
        },
    },
    Case {
        name: "host memory, pinned and unpinned",
        functions: &["cuMemHostRegister_v2", "cuMemHostUnregister"],
        call: |of| {
            of[0](HOST, 4096, 0, 0, 0);
            of[1](HOST, 0, 0, 0, 0);
        },
    },
    Case { name: "a call without a probe", functions: &["stand_in_fail"], call: |of| _ = of[0](0, 0, 0, 0, 0) },
];
/// Index of the copy that the notes refer to.
const COPY: usize = 0;
/// Index of the call without a probe.
const UNWATCHED: usize = CASES.len() - 1;

/// Calls each function without the programs and with them, alternately.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let folder = scratch();
    let library = install(&folder);
    let path = CString::new(library.as_os_str().as_bytes())?;
    // SAFETY: the stand-in has no initialisers.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    ensure!(!handle.is_null(), "the stand-in cannot be loaded");
    let function = |name: &str| {
        let name = CString::new(name)?;
        // SAFETY: the library is loaded.
        let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
        ensure!(!symbol.is_null(), "the stand-in has no {name:?}");
        // SAFETY: each function takes at most five numbers or pointers, and returns a number or nothing.
        Ok(unsafe { std::mem::transmute::<*mut libc::c_void, Function>(symbol) })
    };
    let functions: Vec<Vec<Function>> =
        CASES.iter().map(|case| case.functions.iter().map(|name| function(name)).collect()).collect::<Result<_>>()?;

    let mut times: [[Vec<f64>; 2]; CASES.len()] = Default::default();
    alternate::<2>(rounds, |which| {
        let _watched = (which == 1).then(watch).transpose()?;
        for ((case, functions), times) in CASES.iter().zip(&functions).zip(&mut times) {
            times[which].push(quickest(|| (case.call)(functions)));
        }
        Ok(0.0)
    })?;

    let mut report = Report::new(&["", "ns without, median (quartiles)", "ns with", "more, ns", "with / without"]);
    let mut more = Vec::new();
    for (case, [without, with]) in CASES.iter().zip(&times) {
        let slower = Summary::of(with.iter().zip(without).map(|(with, without)| with - without));
        let spread = |times: &[f64]| Summary::of(times.iter().copied()).spread(0);
        let ratio = ratio(with, without);
        report.row([case.name.to_owned(), spread(without), spread(with), slower.spread(0), ratio.spread(1)]);
        more.push((slower.median, ratio.median));
    }
    report.note(format!(
        "The stand-in's functions return at once, unlike those of a driver: the ratios are the worst case. A MiB takes \
         a link of generation 4 with 16 lanes {:.0} µs: watching adds {:.1} % to such a copy. Where a function does not \
         begin by saving a register, the kernel has to step over its first instruction, which takes several times as long.",
        MEBIBYTE_NS / 1e3,
        100.0 * more[COPY].0 / MEBIBYTE_NS
    ));
    report.note(format!("CPU time of one thread on one CPU, {CALLS} calls in a row, the fastest of {REPEAT} rows."));
    let unwatched = more[UNWATCHED].1;
    report.aim(
        format!("a call of the same library without a probe costs the same: ratio {unwatched:.3}, at most 1.02"),
        unwatched <= 1.02,
    );
    Ok(report)
}

/// Attaches the programs to the library, as the agent does. They are detached when the result is dropped.
fn watch() -> Result<(load::Loaded, Finder)> {
    let loaded = probe::attach(|config| config.transfer.enabled = true)?;
    let mut finder = Finder::new(&Root::default(), load::waiting(&loaded.ebpf, &loaded.probes)?);
    finder.scan(0, Duration::from_secs(1).as_nanos() as u64)?;
    let missing = finder.probes().into_iter().find(|probe| probe.state != ProbeState::Attached);
    let missing = missing.map(|probe| format!("{}: {:?}", probe.program, probe.reason));
    ensure!(missing.is_none(), "some probes are missing: {}", missing.unwrap_or_default());
    Ok((loaded, finder))
}

/// Nanoseconds of CPU time per call.
fn quickest(mut call: impl FnMut()) -> f64 {
    let row = || {
        let begun = cpu_ns();
        (0..CALLS).for_each(|_| call());
        (cpu_ns() - begun) as f64 / CALLS as f64
    };
    Summary::of(std::iter::repeat_with(row).take(REPEAT)).min
}
