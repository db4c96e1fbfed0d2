//! The built agent's numbers for a GPU, compared with a program that copies, allocates and pins known amounts through the CUDA
//! driver. `cargo xtask test gpu --hardware` runs it on a real GPU and prints its findings as a section for docs/gpu.md.
//! Otherwise two stand-ins play the libraries, and the test feeds them what a GPU would do.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::cuda::{Cuda, install};
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::nvml::{Nvml, gpu};
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
/// Set by `cargo xtask test gpu --hardware`.
const HARDWARE: &str = "HEADROOM_HARDWARE";

const TO: (&str, &str) = ("direction", "host_to_device");
const FROM: (&str, &str) = ("direction", "device_to_host");
const USED: (&str, &str) = ("state", "used");
const PCIE: &str = "headroom_gpu_pcie_bytes_total";
const MEMORY: &str = "headroom_gpu_memory_bytes";
const HELD: &str = "headroom_workload_gpu_memory_bytes";
const ALLOCATED: &str = "headroom_workload_gpu_allocated_bytes";
const PINNED: &str = "headroom_workload_pinned_host_bytes";
const CALLS: &str = "headroom_workload_gpu_transfers_total";
const BYTES: &str = "headroom_workload_gpu_transfer_bytes_total";

const VRAM: u64 = 512 << 20;
const HOST: u64 = 192 << 20;
const BLOCK: u64 = 64 << 20;
/// Most that a driver may take for itself along with an allocation.
const EXTRA: u64 = 64 << 20;
/// Headers of packets, and requests in the other direction, are counted along with the data.
const OVERHEAD: std::ops::RangeInclusive<f64> = 0.98..=1.35;
/// Bytes per second; with more, another program uses the GPU.
const QUIET: f64 = 20e6;

/// The libraries for the program and the agent.
enum Machine {
    Real,
    StandIn { nvml: Box<Nvml>, folder: Scratch, counted: [u64; 2], used: u64 },
}

impl Machine {
    fn stand_in() -> Machine {
        let nvml = Box::new(Nvml::new(json!({"driver": "555.42", "gpus": [gpu("GPU-a")]})));
        let folder = scratch();
        install(&folder);
        Machine::StandIn { nvml, folder, counted: [1000, 2000], used: 10 << 30 }
    }

    fn is_real(&self) -> bool {
        matches!(self, Machine::Real)
    }

    fn agent(&self) -> Agent {
        let gpu = match self {
            Machine::Real => "[gpu]\nenabled = \"on\"\ninterval = \"200ms\"\n".to_owned(),
            Machine::StandIn { nvml, .. } => nvml.config(),
        };
        let config = format!("tick = \"100ms\"\n{gpu}[transfer]\nenabled = true\nscan = \"100ms\"\n");
        let mut agent = Agent::spawn(&config, |command| self.configure(command));
        agent.await_ready();
        agent
    }

    /// Sets the environment with which a process uses the right NVML.
    fn configure(&self, command: &mut Command) {
        if let Machine::StandIn { nvml, .. } = self {
            let (name, value) = nvml.environment();
            command.env(name, value);
        }
    }

    fn cuda(&self) -> PathBuf {
        match self {
            Machine::Real => "libcuda.so.1".into(),
            Machine::StandIn { folder, .. } => folder.join("libcuda.so.1"),
        }
    }

    /// How often a block is copied: on hardware, more than 32 bits can count.
    fn times(&self) -> u64 {
        if self.is_real() { 80 } else { 8 }
    }

    /// Adds to the GPU memory that the program's process holds. Only for the stand-in.
    fn allocated(&mut self, pid: u32, bytes: u64) {
        if let Machine::StandIn { nvml, used, .. } = self {
            // The driver takes a little for itself.
            *used += bytes + (2 << 20);
            nvml.scenario["gpus"][0]["processes"] = json!([{"pid": pid, "bytes": *used - (10 << 30)}]);
            nvml.change("/gpus/0/memory/used", json!(*used));
        }
    }

    /// Adds to the bytes sent and received. Only for the stand-in.
    fn moved(&mut self, received: u64, sent: u64) {
        if let Machine::StandIn { nvml, counted, .. } = self {
            // One twelfth more for the headers; the first counter is what the GPU sends.
            *counted = [counted[0] + sent + sent / 12, counted[1] + received + received / 12];
            let [sent, received] = *counted;
            nvml.change("/gpus/0/pcie/counters", json!([{"base": sent}, {"base": received}]));
        }
    }

    /// Cost of each call, and types of the counters.
    fn ask(&self) -> Vec<Vec<String>> {
        let mut command = Command::new(PROGRAM);
        command.args(["nvml", "50"]);
        if let Machine::StandIn { nvml, .. } = self {
            command.arg(nvml.library());
        }
        self.configure(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}

/// A label of the series of `headroom_gpu_info` for the first GPU.
fn info_label(seen: &Exposition, label: &str) -> String {
    let mut lines = seen.text.lines().filter(|line| line.starts_with("headroom_gpu_info{"));
    let line = lines.find(|line| line.contains("gpu=\"0\"")).unwrap_or_else(|| panic!("no GPU 0:\n{}", seen.text));
    let value = line.split(&format!("{label}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_else(|| panic!("no {label}: {line}")).to_owned()
}

/// Growth of the GPU's counters from one exposition to another.
fn growth(before: &Exposition, after: &Exposition, uuid: &str) -> [f64; 2] {
    [TO, FROM].map(|way| after.sum(PCIE, &[("uuid", uuid), way]) - before.sum(PCIE, &[("uuid", uuid), way]))
}

#[test]
fn the_agent_agrees_with_a_program_that_does_known_things() {
    needs!(is_root(), "programs need root");
    let hardware = std::env::var_os(HARDWARE).is_some();
    assert!(!hardware || Path::new("/proc/driver/nvidia/version").exists(), "no NVIDIA driver is loaded");
    let mut machine = if hardware { Machine::Real } else { Machine::stand_in() };
    let cgroup = Cgroup::new("hardware");
    let workload = ("workload", cgroup.path.as_str());
    let agent = machine.agent();
    let seen = agent.scrape_until("the first GPU", |it| it.has("headroom_gpu_info", &[("gpu", "0")]));
    let uuid = info_label(&seen, "uuid");
    let one = ("uuid", uuid.as_str());
    assert_eq!(
        seen.sum("headroom_gpu_mig", &[one]),
        0.0,
        "GPU 0 is divided into MIG devices: switch MIG off for this test"
    );
    let mut report = head(&machine, &seen);

    let mut cuda = Cuda::with_visible_gpu(PROGRAM, &cgroup, &uuid);
    cuda.load(&machine.cuda());
    assert_eq!(cuda.send("open").0, 0, "the driver does not start");
    agent.scrape_until("the library", |it| {
        it.sum("headroom_probe_state", &[("probe", "transfer_copy_end"), ("state", "attached")]) == 1.0
    });

    // The first allocation of a context includes what the driver needs once.
    let first = cuda.allocate("cuMemAlloc_v2", 4096);
    machine.allocated(cuda.pid(), 4096);
    let before = agent.scrape_until("the holder", |it| it.has(HELD, &[one, workload]));
    sleep(Duration::from_secs(2));
    let before = quiet(&agent, before, &uuid);

    let device = cuda.allocate("cuMemAlloc_v2", VRAM);
    machine.allocated(cuda.pid(), VRAM);
    let grown = |it: &Exposition, name, labels: &[(&str, &str)]| it.sum(name, labels) - before.sum(name, labels);
    let (used, held) = ([one, USED], [one, workload]);
    let seen = agent.scrape_until("the memory", |it| {
        grown(it, MEMORY, &used) >= VRAM as f64 && grown(it, HELD, &held) >= VRAM as f64
    });
    let (used, held) = (grown(&seen, MEMORY, &used), grown(&seen, HELD, &held));
    let most = (VRAM + EXTRA) as f64;
    assert!(used <= most && held <= most, "{VRAM} allocated: the GPU says {used} more, of the process {held}");
    let pinned = cuda.allocate("cuMemHostAlloc", HOST);
    let seen = agent.settle();
    assert_eq!(seen.sum(ALLOCATED, &[workload]), (VRAM + 4096) as f64);
    assert_eq!(seen.sum(PINNED, &[workload]), HOST as f64);
    let _ = writeln!(
        report,
        "- {VRAM} bytes allocated: `nvmlDeviceGetMemoryInfo_v2` said {used} more, the process's share {held}; the agent \
         counted the allocation, and {HOST} bytes of pinned memory, to the byte."
    );

    let asked = machine.ask();
    let counted = asked.iter().any(|line| line[0] == "field");
    let (times, moved) = (machine.times(), machine.times() * BLOCK);
    for (function, way, other, to, from) in
        [("cuMemcpyHtoD_v2", TO, FROM, device, pinned), ("cuMemcpyDtoH_v2", FROM, TO, pinned, device)]
    {
        // Earlier copies have been read by then.
        sleep(Duration::from_millis(500));
        let before = agent.settle();
        cuda.copy(function, to, from, BLOCK, times);
        cuda.call("cuCtxSynchronize", 0);
        machine.moved(if way == TO { moved } else { 0 }, if way == TO { 0 } else { moved });
        let seen = agent.settle();
        assert_eq!(seen.sum(CALLS, &[workload, way]), times as f64);
        assert_eq!(seen.sum(BYTES, &[workload, way]), moved as f64);
        assert_eq!(seen.sum(BYTES, &[workload, other]), before.sum(BYTES, &[workload, other]));
        if counted {
            let seen = agent.scrape_until("the bytes on the link", |it| {
                let [to, from] = growth(&before, it, &uuid);
                to.max(from) >= OVERHEAD.start() * moved as f64
            });
            let [to, from] = growth(&before, &seen, &uuid).map(|bytes| bytes / moved as f64);
            let (with, against) = if way == TO { (to, from) } else { (from, to) };
            let _ = writeln!(
                report,
                "- {moved} bytes by `{function}`: `{}` grew by {with:.3} times that, the other direction by {against:.3}.",
                way.1
            );
            assert!(
                OVERHEAD.contains(&with) && against < 0.2,
                "{function}: {with} times what was copied, {against} back"
            );
        }
    }
    if !counted {
        report += "- This driver has no counters of PCIe bytes: traffic on the link was not compared.\n";
    }
    cuda.call("cuMemFreeHost", pinned);
    cuda.call("cuMemFree_v2", device);
    cuda.call("cuMemFree_v2", first);
    let seen = agent.settle();
    assert_eq!([PINNED, ALLOCATED].map(|name| seen.sum(name, &[workload])), [0.0; 2]);

    for (name, exported) in [
        ("cuMemcpyHtoD", "cuMemcpyHtoD_v2"),
        ("cuMemcpyDtoH", "cuMemcpyDtoH_v2"),
        ("cuMemAlloc", "cuMemAlloc_v2"),
        ("cuMemHostAlloc", "cuMemHostAlloc"),
    ] {
        let is = match cuda.send(&format!("same {name} {exported}")) {
            (0, 1) => "is the exported",
            (0, _) => "**is not** the exported",
            _ => "could not be asked for; the exported is",
        };
        let _ = writeln!(report, "- CUDA's runtime gets for the name `{name}` {is} `{exported}`.");
    }
    println!("{report}{}", costs(&asked));
    cuda.end();
    assert_eq!(seen.lost("transfer"), 0.0);
}

/// Fails if another program uses the link. Returns the exposition after that check.
fn quiet(agent: &Agent, before: Exposition, uuid: &str) -> Exposition {
    sleep(Duration::from_secs(1));
    let now = agent.settle();
    let busy: f64 = growth(&before, &now, uuid).iter().sum();
    assert!(busy <= 3.0 * QUIET, "the GPU is in use: {busy} bytes went over its link while the program did nothing");
    now
}

fn head(machine: &Machine, seen: &Exposition) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let what = match machine.is_real() {
        true => "",
        false => "**No hardware: stand-ins played both libraries.** ",
    };
    let (model, driver) = (info_label(seen, "model"), info_label(seen, "driver"));
    format!(
        "\n## Measured on {model}\n\n{what}`cargo xtask test gpu --hardware`, driver {driver}, Linux {}.\n\n",
        kernel.trim()
    )
}

/// The results of `Machine::ask` as Markdown.
fn costs(asked: &[Vec<String>]) -> String {
    let mut text = String::new();
    for line in asked.iter().filter(|line| line[0] == "field") {
        let wide = if line[3].parse::<u64>().unwrap() > u64::from(u32::MAX) { "is" } else { "is not" };
        let _ = writeln!(
            text,
            "- Field {} says that it has {}; its value {wide} more than 32 bits hold.",
            line[1], line[2]
        );
    }
    text += "\n| call | µs, median | µs, at most | |\n|---|---|---|---|\n";
    let micros = |ns: &str| ns.parse::<f64>().unwrap() / 1e3;
    for line in asked.iter().filter(|line| line[0] != "field") {
        let [median, most] = [&line[1], &line[2]].map(|ns| micros(ns));
        let _ = writeln!(text, "| `{}` | {median:.1} | {most:.1} | {} |", line[0], line[3]);
    }
    text
}
