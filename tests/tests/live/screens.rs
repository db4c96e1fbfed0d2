//! Every number that the API, `headroom top` and the page show is that of the metrics at the same tick.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::browser::{Browser, Page};
use collector_tests::cached::forget;
use collector_tests::cgroup::Cgroup;
use collector_tests::nvml::host;
use collector_tests::process::Killed;
use collector_tests::require::{installed, is_root};
use collector_tests::scratch::scratch;
use collector_tests::shown::{Shown, UNKNOWN};
use collector_tests::terminal::Terminal;
use collector_tests::tick::{Number, Tick, Ticks};
use collector_tests::{needs, provoke};
use serde_json::json;

/// Below the second after which an agent makes another snapshot: so there is one a tick, for all who ask.
const TICK: &str = "900ms";
const LIMIT: u64 = 24 << 20;
/// Ticks that a rate of a screen may go back: the page's are over up to ten seconds.
const BACK: usize = 12;
/// The head of the page's column of CPUs, and the share by which it may differ.
const CPUS: &str = "CPUs";
const READ: f64 = 0.15;

/// The page's numbers, as it shows them: a function of JavaScript.
const LOOK: &str = include_str!("../../browser/numbers.js");

/// A number of a workload, and where each has it.
struct Figure {
    /// Keys of the API's line, which add up.
    api: &'static [&'static str],
    /// The head of the terminal's column; empty if it has none.
    top: &'static str,
    /// The same of the page.
    page: &'static str,
    metric: &'static str,
    labels: &'static [(&'static str, &'static str)],
    /// Screens show its growth a second.
    counts: bool,
}

const fn gauge(api: &'static [&'static str], top: &'static str, page: &'static str, metric: &'static str) -> Figure {
    Figure { api, top, page, metric, labels: &[], counts: false }
}

const fn counter(api: &'static [&'static str], top: &'static str, page: &'static str, metric: &'static str) -> Figure {
    Figure { counts: true, ..gauge(api, top, page, metric) }
}

const WAITING: &str = "headroom_workload_pressure_waiting_seconds_total";
const BLOCK: &str = "headroom_workload_block_bytes_total";

const FIGURES: [Figure; 16] = [
    gauge(&["memory_bytes"], "MEMORY", "Memory", "headroom_workload_memory_current_bytes"),
    gauge(&["memory_limit_bytes"], "LIMIT", "Limit", "headroom_workload_memory_limit_bytes"),
    gauge(&[], "USED", "Of limit", "headroom_workload_memory_limit_used_ratio"),
    gauge(&["memory_working_set_bytes"], "WSET", "", "headroom_workload_memory_working_set_bytes"),
    gauge(&["swap_bytes"], "SWAP", "Swap", "headroom_workload_memory_swap_bytes"),
    gauge(&["pinned_bytes"], "PINNED", "Pinned", "headroom_workload_pinned_host_bytes"),
    gauge(&["oom_kills"], "KILLS", "OOM kills", "headroom_oom_kills_total"),
    gauge(&[], "VRAM", "GPU memory", "headroom_workload_gpu_memory_bytes"),
    counter(&["cpu_seconds"], "CPU", "CPUs", "headroom_workload_cpu_seconds_total"),
    counter(&["reclaim_stall_seconds"], "STALL", "Stalls", "headroom_workload_reclaim_stall_seconds_total"),
    counter(&["major_faults"], "FAULTS", "Faults/s", "headroom_workload_major_page_faults_total"),
    counter(&["block_read_bytes", "block_written_bytes"], "IO/S", "", BLOCK),
    Figure { labels: &[("operation", "read")], ..counter(&["block_read_bytes"], "", "Read", BLOCK) },
    Figure { labels: &[("operation", "write")], ..counter(&["block_written_bytes"], "", "Written", BLOCK) },
    Figure {
        labels: &[("resource", "memory")],
        ..counter(&["memory_waiting_seconds"], "PSI", "Waits: memory", WAITING)
    },
    Figure { labels: &[("resource", "io")], ..counter(&["io_waiting_seconds"], "IO PSI", "Waits: IO", WAITING) },
];

impl Figure {
    /// What it is at a tick; how it grew in so many ticks before.
    fn at(&self, ticks: &Ticks, at: usize, back: usize, workload: &str) -> Number {
        let labels = [&[("workload", workload)], self.labels].concat();
        if self.counts { ticks.pace(at, back, self.metric, &labels) } else { ticks.gauge(at, self.metric, &labels) }
    }

    /// The API's figure is that of the metrics.
    fn compare(&self, tick: &Tick, workload: &str) {
        let lines = tick.workloads["workloads"].as_array().unwrap();
        let line = lines.iter().find(|line| line["workload"] == workload).unwrap();
        let numbers: Option<Vec<f64>> = self.api.iter().map(|key| line[*key].as_f64()).collect();
        let (number, value) = (
            numbers.map(|numbers| numbers.iter().sum::<f64>()),
            tick.sum(self.metric, &[&[("workload", workload)], self.labels].concat()),
        );
        // A counter that has counted nothing has no series.
        let (number, value) = (number.or(value.map(|_| f64::NAN)).unwrap_or(0.0), value.unwrap_or(0.0));
        assert!(
            (number - value).abs() <= value.abs() * 1e-12,
            "{}: {number} in the API, {value} in the metrics",
            self.metric
        );
    }
}

/// Numbers as a screen shows them, and the second that it shows.
struct Screen {
    second: String,
    /// By the keys of [`Ticks::host`].
    host: Vec<(String, String)>,
    /// By the head of the column.
    workload: Vec<(String, String)>,
}

fn is_shown(shown: &str, number: Number) -> bool {
    match (Shown::parse(shown), number) {
        (Some(shown), Some((number, share))) => shown.is(number, share),
        // A counter that has counted nothing has no series.
        (Some(shown), None) => shown.is(0.0, 0.0),
        (None, number) => shown == UNKNOWN && number.is_none(),
    }
}

impl Screen {
    /// What is not in the metrics of any tick of the second that is shown. `None` if it is not known yet what they are.
    fn wrong(&self, ticks: &Ticks, workload: &str, head: fn(&Figure) -> &'static str) -> Option<Vec<String>> {
        // Two ticks may be in one second.
        let those: Vec<usize> = (0..ticks.0.len()).filter(|at| ticks.0[*at].second().ends_with(&self.second)).collect();
        if those.is_empty() || !those.iter().all(|at| ticks.is_known(*at)) {
            return None;
        }
        let wrong = those.into_iter().map(|at| self.wrong_at(ticks, at, workload, head));
        wrong.min_by_key(Vec::len)
    }

    fn wrong_at(&self, ticks: &Ticks, at: usize, workload: &str, head: fn(&Figure) -> &'static str) -> Vec<String> {
        let host = self.host.iter().filter_map(|(key, shown)| {
            let numbers = ticks.host(at, key);
            let right = numbers.iter().any(|number| is_shown(shown, *number));
            (!right).then(|| format!("{key}: {shown} is shown, {numbers:?} is in the metrics"))
        });
        let line = |at: usize, back: usize| {
            let wrong = self.workload.iter().filter_map(move |(label, shown)| {
                let figure = FIGURES.iter().find(|figure| head(figure) == label);
                let figure = figure.unwrap_or_else(|| panic!("which number is {label}?"));
                let number = figure.at(ticks, at, back, workload);
                // The agent's own rate, between two readings of the workload.
                let about = |back| figure.at(ticks, at, back, workload).map(|(number, _)| (number, READ));
                let right =
                    is_shown(shown, number) || label == CPUS && (1..=BACK).any(|back| is_shown(shown, about(back)));
                (!right).then(|| format!("{label}: {shown} is shown, {number:?} is in the metrics"))
            });
            wrong.collect::<Vec<_>>()
        };
        // The terminal asks for the workloads after the host, and a tick may end between the two. On a busy machine a screen may
        // miss a tick: then its rates are over more than one.
        let lines = [at, at + 1].into_iter().flat_map(|at| (1..=BACK.min(at)).map(move |back| line(at, back)));
        host.chain(lines.min_by_key(Vec::len).unwrap()).collect()
    }
}

/// What the page shows of the host and of this workload.
fn of_page(page: &Page, workload: &str) -> Screen {
    let shown = page.evaluate(&format!("({LOOK})({})", json!(workload)));
    let pairs = |part: &str| {
        let pairs = shown[part].as_array().unwrap().iter();
        pairs.map(|pair| [0, 1].map(|index| pair[index].as_str().unwrap().to_owned()).into()).collect()
    };
    Screen { second: shown["second"].as_str().unwrap().to_owned(), host: pairs("host"), workload: pairs("workload") }
}

/// What `headroom top` shows on a wide screen, the first workload of its list included.
fn of_top(screen: &str) -> Screen {
    let lines: Vec<&str> = screen.lines().collect();
    let part = |line: &str, from: usize, to: usize| {
        let characters = line.chars().skip(from).take(to - from);
        characters.collect::<String>().trim().to_owned()
    };
    let second = lines[0].trim_end().trim_end_matches(" UTC").rsplit("  ").next().unwrap().trim().to_owned();
    let host = lines.iter().flat_map(|line| band(&part(line, 0, 8), &part(line, 8, 14), &part(line, 16, 64)));
    let gpus = lines.iter().filter(|line| line.contains("Stand-in")).flat_map(|line| gpu(line));
    let at = lines.iter().position(|line| line.starts_with("WORKLOAD ")).unwrap();
    let heads = lines[at].replace("IO PSI", "IO_PSI");
    let (mut workload, mut begin) = (Vec::new(), 0);
    for head in heads.split_whitespace() {
        // Numbers and their heads end in the same column.
        let end = begin + heads[begin..].find(head).unwrap() + head.len();
        // The first is the name.
        if begin > 0 {
            workload.push((head.replace('_', " "), part(lines[at + 1], begin.max(end - 8), end)));
        }
        begin = end;
    }
    Screen { second, host: host.chain(gpus).collect(), workload }
}

fn pairs<const N: usize>(subject: &str, pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(key, shown)| (format!("{subject} {key}").trim().to_owned(), shown.trim().to_owned())).to_vec()
}

/// The numbers in a line of the host's band.
fn band(label: &str, share: &str, text: &str) -> Vec<(String, String)> {
    let two = |text: &str, between: &str| {
        let (one, other) = text.split_once(between).unwrap_or_else(|| panic!("{label}: {text}"));
        (one.to_owned(), other.to_owned())
    };
    match label {
        "Memory" | "Swap" => {
            let (used, total) = two(text, " of ");
            pairs(&label.to_lowercase(), [("share", share), ("used", &used), ("total", &total)])
        }
        "CPU" => {
            let (used, load) = two(text, " CPUs, load ");
            let (used, cpus) = two(&used, " of ");
            [pairs("cpu", [("share", share), ("used", &used), ("count", &cpus)]), pairs("load", [("1", &*load)])]
                .concat()
        }
        "Mem PSI" => pairs("memory", [("waiting", share), ("stalled", &two(text, "all tasks ").1)]),
        "IO PSI" => pairs("io", [("waiting", share), ("stalled", &two(text, "all tasks ").1)]),
        "Disk" => {
            let (at, free) = two(text.trim_end_matches(" free"), " ");
            pairs(&format!("filesystem {at}"), [("share", share), ("free", &free)])
        }
        "IO" => {
            let (device, rates) = two(text, " r ");
            let (read, written) = two(&rates, " w ");
            pairs(&format!("disk {device}"), [("share", share), ("read", &read), ("write", &written)])
        }
        _ => Vec::new(),
    }
}

/// The numbers in a line of a GPU, but for who holds its memory.
fn gpu(line: &str) -> Vec<(String, String)> {
    let plain = line.replace(['█', '░'], " ");
    let cells: Vec<&str> = plain.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    // Its level is a word of the fold, and no number of a metric.
    let [name, share, memory, _, busy, temperature, link, power, ..] = cells[..] else { panic!("{line}") };
    // A unit that both have is there once.
    let both = |text: &str| {
        let (one, other) = text.split_once('/').unwrap();
        let unit = other.split_once(' ').unwrap().1;
        (if one.contains(' ') { one.to_owned() } else { format!("{one} {unit}") }, other.to_owned())
    };
    let ((used, total), (to, from)) = (both(memory), both(link));
    let (drawn, limit) = power.split_once(" of ").unwrap();
    let numbers =
        [("share", share), ("used", &*used), ("total", &*total), ("busy", busy), ("temperature", temperature)];
    let more = [("host_to_device", &*to), ("device_to_host", &*from), ("power", drawn), ("limit", limit)];
    let subject = format!("gpu {}", name.split(' ').next().unwrap());
    [pairs(&subject, numbers), pairs(&subject, more)].concat()
}

#[test]
fn every_number_on_every_screen_is_that_of_the_metrics_at_the_same_tick() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("tmux"), "tmux is not installed");
    needs!(Browser::missing().is_none(), Browser::missing().unwrap_or_default());
    let browser = Browser::start();
    let folder = scratch();
    let file = folder.join("data");
    fs::write(&file, vec![7; 2 * LIMIT as usize]).unwrap();
    forget(&file);
    let cgroup = Cgroup::everywhere("screens");
    cgroup.limit(LIMIT);
    // The file does not fit into its limit: it reads from the disk, stalls in reclaim, and is busy.
    let thrash = ["thrash", &format!("file={}", file.display()), "rounds=1000000"];
    let busy = Killed(provoke!(&cgroup, &thrash));
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{ "pid": busy.0.id(), "bytes": 3u64 << 30 }]);
    nvml.apply();
    let (name, scenario) = nvml.environment();
    let config = format!("tick = \"{TICK}\"\n[workload]\nsample = \"0s\"\n{}", nvml.config());
    let mut agent = Agent::spawn(&config, |command| _ = command.env(name, scenario));
    agent.await_ready();
    let (end, seen) = (AtomicBool::new(false), Mutex::new(Ticks(Vec::new())));
    scope(|threads| {
        let _end = End(&end);
        threads.spawn(|| Ticks::follow(&agent.address, &end, &seen));
        let arguments = format!("--interval 200ms --listen {}", agent.address);
        let terminal = Terminal::new(240, 50, "NO_COLOR=", &arguments);
        terminal.until(&["WORKLOAD", "Stand-in"]);
        terminal.keys(&["/", &cgroup.path, "Enter"]);
        terminal.until(&[&cgroup.path, "3.00 GiB", " CPUs, load "]);
        let shown = compare(&seen, &cgroup.path, |figure| figure.top, || of_top(&terminal.screen()));
        assert!(shown >= 30, "{shown} numbers are known on the terminal");
        let page = browser.open(&format!("http://{}/", agent.address), json!({}));
        page.until_shown(&["live", &cgroup.path, " CPUs; ", "Stand-in"]);
        page.until("document.querySelector('[data-rows] thead').innerText.includes('Waits')");
        let shown = compare(&seen, &cgroup.path, |figure| figure.page, || of_page(&page, &cgroup.path));
        assert!(shown >= 30, "{shown} numbers are known on the page");
        page.assert_well();
    });
    let ticks = seen.into_inner().unwrap();
    let last = ticks.0.last().unwrap();
    FIGURES.iter().filter(|figure| !figure.api.is_empty()).for_each(|figure| figure.compare(last, &cgroup.path));
    agent.stop();
}

/// Sets it when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks until the metrics of what is shown are known, and compares. The number of numbers.
fn compare(seen: &Mutex<Ticks>, workload: &str, head: fn(&Figure) -> &'static str, look: impl Fn() -> Screen) -> usize {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let screen = look();
        // The tick after the one that is shown has to end.
        sleep(Duration::from_secs(2));
        if let Some(wrong) = screen.wrong(&seen.lock().unwrap(), workload, head) {
            assert!(wrong.is_empty(), "at {}:\n{}", screen.second, wrong.join("\n"));
            let known = screen.host.iter().chain(&screen.workload).filter(|(_, shown)| shown != UNKNOWN);
            return known.count();
        }
    }
    panic!("no screen showed a tick whose metrics were seen");
}
