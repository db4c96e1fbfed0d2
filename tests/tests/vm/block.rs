//! Block devices that are slow or that fail, which only a virtual machine of the tests has.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread::{sleep, spawn};
use std::time::Duration;

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::loopback::disk_stats;
use collector_tests::mount::Mount;
use collector_tests::provocation::{Provocation, await_ready};
use collector_tests::record::{ios_of, written};
use collector_tests::require::own_machine;
use collector_tests::scratch::scratch;
use collector_tests::{needs, provoke};

const SERVICE: &str = "headroom_block_io_service_seconds";
const OWN: &str = "it needs a machine with such disks: cargo xtask test vm";

/// Reads this many blocks of 4 KiB from the start; returns how many succeeded and how many failed.
fn read(cgroup: &Cgroup, name: &str, count: u64) -> (u64, u64) {
    let verb = ["io", "read", &format!("/dev/{name}"), "4096", &count.to_string()];
    let mut provocation = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb, cgroup);
    let report = provocation.report();
    provocation.end();
    report
}

#[test]
fn a_slow_disk_shows_its_real_latency() {
    needs!(own_machine(), OWN);
    const COUNT: u64 = 20;
    /// Latency that the device is set to.
    const SECONDS: f64 = 0.030;
    let agent = Agent::start("tick = \"100ms\"\n[kernel]\nslow_io = \"25ms\"\n");
    let cgroup = Cgroup::new("slow");
    let before = disk_stats("nullb0");
    assert_eq!(read(&cgroup, "nullb0", COUNT), (COUNT, 0));
    let exposition = agent.settle();
    let after = disk_stats("nullb0");
    let labels = [("device", "nullb0"), ("operation", "read")];
    let count = exposition.sum(&format!("{SERVICE}_count"), &labels);
    assert_eq!(count, (after.reads - before.reads) as f64);
    let mean = exposition.sum(&format!("{SERVICE}_sum"), &labels) / count;
    let reference = (after.read_ms - before.read_ms) as f64 / 1e3 / count;
    eprintln!("{count} reads, {mean} s each, {reference} s by the kernel");
    assert!(mean >= SECONDS && mean <= reference * 1.1 + 0.001, "{mean} s, {reference} s by the kernel");
    let samples = agent.stop();
    let slow = ios_of(&samples, "/dev/nullb0".as_ref());
    assert_eq!(slow.len() as f64, count, "every read was over the threshold");
    let id = cgroup.memory_id();
    assert!(slow.iter().all(|io| io.status == 0 && io.cgroup.is_some_and(|cgroup| cgroup.id == id)), "{slow:?}");
}

/// The kernel's BTF, in which the time of issue stands elsewhere: where requests of a file have nothing (`end_io`). There is no
/// driver to test with whose requests have no such time.
fn without_times_of_issue(folder: &Path) -> PathBuf {
    let mut bytes = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    // `struct btf_header` (include/uapi/linux/btf.h).
    let [types, length, strings] = [8, 12, 16].map(|at| word(&bytes, at) as usize);
    let head = word(&bytes, 4) as usize;
    let name = |name: &str| {
        let strings = &bytes[head + strings..];
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        strings.windows(needle.len()).position(|window| window == needle).unwrap() as u32 + 1
    };
    let [issued, end] = ["io_start_time_ns", "end_io"].map(name);
    // Members have a name, a type and an offset in bits.
    let members = |name: u32| -> Vec<usize> {
        (head + types..head + types + length).step_by(4).filter(|at| word(&bytes, *at) == name).collect()
    };
    let [issued] = members(issued)[..] else { panic!("not one member io_start_time_ns") };
    let end = members(end).into_iter().find(|at| *at > issued).unwrap();
    bytes.copy_within(end + 8..end + 12, issued + 8);
    let path = folder.join("btf");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_disk_whose_requests_store_no_time_of_issue_is_timed_from_the_next_tick_on() {
    needs!(own_machine(), OWN);
    const COUNT: u64 = 20;
    const SECONDS: f64 = 0.030;
    let folder = scratch();
    let btf = without_times_of_issue(&folder);
    let agent = Agent::start(&format!("tick = \"100ms\"\n[kernel]\nbtf = {btf:?}\n"));
    let cgroup = Cgroup::new("untimed");
    let is = |exposition: &Exposition, state| {
        exposition.sum("headroom_probe_state", &[("probe", "block_rq_issue"), ("state", state)]) == 1.0
    };
    let labels = [("device", "nullb0"), ("operation", "read")];
    let numbers = |exposition: &Exposition| {
        [&format!("{SERVICE}_count"), "headroom_block_io_untimed_total"].map(|name| exposition.sum(name, &labels))
    };
    let idle = agent.scrape_until("it is not attached", |exposition| is(exposition, "unneeded"));
    assert_eq!(numbers(&idle), [0.0; 2]);
    let before = disk_stats("nullb0").reads;
    assert_eq!(read(&cgroup, "nullb0", COUNT), (COUNT, 0));
    let exposition = agent.settle();
    let done = (disk_stats("nullb0").reads - before) as f64;
    let [timed, untimed] = numbers(&exposition);
    eprintln!("of {done} reads {timed} were timed, {untimed} not");
    assert!(timed + untimed == done && timed > 0.0, "{}", exposition.text);
    // Another disk may have been first: the one that the reader is on.
    assert!(exposition.sum("headroom_block_io_untimed_total", &[]) > 0.0, "{}", exposition.text);
    assert!(is(&exposition, "attached"), "{}", exposition.text);
    let mean = exposition.sum(&format!("{SERVICE}_sum"), &labels) / timed;
    assert!((SECONDS..10.0 * SECONDS).contains(&mean), "{mean} s each");
    let workload = [("workload", cgroup.path.as_str()), ("operation", "read")];
    let seconds = exposition.sum("headroom_workload_block_service_seconds_total", &workload);
    assert!((seconds / timed / mean - 1.0).abs() < 1e-6, "{seconds} s of the workload");
    assert_eq!(exposition.sum("headroom_workload_block_ios_total", &workload), done);
    assert_eq!(exposition.lost("in_flight"), 0.0);
    agent.scrape_until("it is detached", |exposition| is(exposition, "unneeded"));
    // Until the next of them.
    assert_eq!(read(&cgroup, "nullb0", 1), (1, 0));
    let again = agent.scrape_until("it is attached again", |exposition| is(exposition, "attached"));
    assert_eq!(numbers(&again).iter().sum::<f64>(), done + 1.0);
}

/// A setting of the driver scsi_debug (drivers/scsi/scsi_debug.c).
fn scsi_debug(setting: &str, value: &str) {
    fs::write(format!("/sys/bus/pseudo/drivers/scsi_debug/{setting}"), value).unwrap();
}

/// The name of its disk.
fn scsi_disk() -> String {
    let model = |name: &str| fs::read_to_string(format!("/sys/block/{name}/device/model")).unwrap_or_default();
    let disks = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    disks.into_iter().find(|name| model(name).starts_with("scsi_debug")).expect("no scsi_debug disk")
}

#[test]
fn a_read_that_times_out_and_is_repeated_took_all_that_time() {
    needs!(own_machine(), OWN);
    const COUNT: u64 = 4;
    let name = scsi_disk();
    let timeout = format!("/sys/block/{name}/device/timeout");
    let before = fs::read_to_string(&timeout).unwrap();
    let agent = Agent::start("tick = \"100ms\"\n[kernel]\nslow_io = \"500ms\"\n");
    let cgroup = Cgroup::new("timeout");
    let begun = disk_stats(&name);
    fs::write(&timeout, "1").unwrap();
    // Every second command is not answered (SDEBUG_OPT_TIMEOUT): the kernel aborts it after a second, and sends it again.
    scsi_debug("every_nth", "2");
    scsi_debug("opts", "4");
    let done = read(&cgroup, &name, COUNT);
    scsi_debug("opts", "0");
    scsi_debug("every_nth", "0");
    fs::write(&timeout, before).unwrap();
    assert_eq!(done, (COUNT, 0));
    let exposition = agent.settle();
    let ended = disk_stats(&name);
    let labels = [("device", name.as_str()), ("operation", "read")];
    let seconds = exposition.sum(&format!("{SERVICE}_sum"), &labels);
    let reference = (ended.read_ms - begun.read_ms) as f64 / 1e3;
    eprintln!("{COUNT} reads took {seconds} s, {reference} s by the kernel");
    assert!(reference >= 1.0 && seconds >= 0.9 * reference && seconds <= 1.1 * reference + 0.1, "{reference}");
    let samples = agent.stop();
    let slow = ios_of(&samples, &Path::new("/dev").join(&name));
    assert!(!slow.is_empty() && slow.iter().all(|io| io.status == 0 && io.service_ns >= 1_000_000_000), "{slow:?}");
}

#[test]
fn a_bad_sector_fails_only_its_own_reads() {
    needs!(own_machine(), OWN);
    let name = scsi_disk();
    // SDEBUG_OPT_MEDIUM_ERR.
    scsi_debug("opts", "2");
    let agent = Agent::start("tick = \"100ms\"\n");
    let cgroup = Cgroup::new("bad");
    let before = disk_stats(&name);
    let (good, failed) = read(&cgroup, &name, 512);
    scsi_debug("opts", "0");
    assert_eq!((good, failed), (511, 1), "sectors 2048 to 2055 are one block of 4 KiB");
    let exposition = agent.settle();
    let after = disk_stats(&name);
    let labels = [("device", name.as_str()), ("operation", "read")];
    assert_eq!(exposition.sum("headroom_block_io_errors_total", &labels), 1.0, "{}", exposition.text);
    let count = exposition.sum(&format!("{SERVICE}_count"), &labels);
    eprintln!("{count} reads, {} by the kernel", after.reads - before.reads);
    assert_eq!(count, 512.0);
    let samples = agent.stop();
    let [bad] = ios_of(&samples, &Path::new("/dev").join(&name))[..] else { panic!("not exactly one failed IO") };
    assert!(bad.status != 0 && bad.cgroup.is_some_and(|of| of.id == cgroup.memory_id()), "{bad:?}");
}

/// A disk that takes 50 ms for each request, one after the other: 20 IOs per second. When dropped, it is removed.
struct Slow {
    name: String,
    folder: PathBuf,
    _mount: Mount,
}

impl Slow {
    /// With requests of at most `kilobytes`.
    fn new(kilobytes: u64) -> Slow {
        let disks = || -> BTreeSet<String> {
            fs::read_dir("/sys/block").unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
        };
        let before = disks();
        let mount = Mount::configfs().unwrap();
        let folder = mount.0.join("nullb/slow");
        fs::create_dir(&folder).unwrap();
        // `queue_mode` 2 has a queue, and `irqmode` 2 completes after `completion_nsec`.
        let settings =
            ["queue_mode=2", "irqmode=2", "completion_nsec=50000000", "hw_queue_depth=1", "size=256", "power=1"];
        for (name, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
            fs::write(folder.join(name), value).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let name = disks().difference(&before).next().expect("no disk appeared").clone();
        fs::write(format!("/sys/block/{name}/queue/max_sectors_kb"), kilobytes.to_string()).unwrap();
        Slow { name, folder, _mount: mount }
    }

    fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

const WRITTEN: u64 = 64 << 20;

/// Removes a cgroup whose writes are written back for half a minute or more, and makes others. Returns the bytes that were
/// charged to it, and to nobody; fails if any were charged to one of the others.
fn write_back_late(config: &str) -> (u64, u64) {
    let disk = Slow::new(120);
    let agent = Agent::start(&format!("tick = \"100ms\"\n{config}"));
    let removed = Cgroup::new("removed");
    let id = removed.memory_id();
    // The file stays open here: the last process to close a block device writes it back itself.
    let file = OpenOptions::new().write(true).open(disk.device()).unwrap();
    let verb = ["dirty", disk.device().to_str().unwrap(), &WRITTEN.to_string()].map(str::to_owned);
    let mut writer = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb.each_ref().map(String::as_str), &removed);
    writer.report();
    writer.end();
    let written_back = spawn(move || file.sync_all().unwrap());
    agent.scrape_until("IO of the cgroup", |exposition| {
        exposition.sum("headroom_workload_block_bytes_total", &[("workload", &removed.path)]) > 0.0
    });
    drop(removed);
    let mut next = Vec::new();
    while !written_back.is_finished() {
        let cgroup = Cgroup::new("next");
        let mut sleeper = provoke!(&cgroup, &["sleeper"]);
        await_ready(&mut sleeper);
        next.push((cgroup, sleeper));
        sleep(Duration::from_secs(1));
    }
    written_back.join().unwrap();
    let exposition = agent.settle();
    let device = [("device", disk.name.as_str()), ("operation", "write")];
    assert_eq!(exposition.sum("headroom_block_io_bytes_total", &device), WRITTEN as f64);
    assert_eq!(exposition.lost("unknown_cgroup"), 0.0);
    let written = written(&agent.stop());
    for (cgroup, sleeper) in &mut next {
        assert_eq!(written.get(&Some(cgroup.memory_id())), None, "{}: {written:?}", cgroup.path);
        let faults = exposition.sum("headroom_workload_page_faults_total", &[("workload", &cgroup.path)]);
        assert!(faults > 0.0, "{} has no slot", cgroup.path);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    assert!(next.len() > 5, "the disk was not slow");
    let [own, nobody] = [Some(id), None].map(|id| written.get(&id).copied().unwrap_or(0));
    eprintln!("{} born, {own} bytes its own, {nobody} of nobody", next.len());
    (own, nobody)
}

#[test]
fn late_io_of_a_removed_cgroup_is_its_own() {
    needs!(own_machine(), OWN);
    let (own, _) = write_back_late("[workload]\ngrace = \"10m\"\n");
    assert_eq!(own, WRITTEN);
}

#[test]
fn late_io_of_a_forgotten_cgroup_is_not_charged_to_the_next_one() {
    needs!(own_machine(), OWN);
    // The agent forgets it soon, and gives its slot to another.
    let (own, nobody) = write_back_late("[workload]\ngrace = \"4s\"\n");
    assert!(own < WRITTEN && own + nobody >= WRITTEN, "{own} and {nobody} bytes");
}
