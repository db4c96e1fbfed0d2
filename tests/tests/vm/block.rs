//! Block devices that are slow or that fail, which only a virtual machine of the tests has.

use std::fs;
use std::path::Path;

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::loopback::disk_stats;
use collector_tests::needs;
use collector_tests::provocation::Provocation;
use collector_tests::record::ios_of;
use collector_tests::require::own_machine;

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

#[test]
fn a_bad_sector_fails_only_its_own_reads() {
    needs!(own_machine(), OWN);
    let model = |name: &str| fs::read_to_string(format!("/sys/block/{name}/device/model")).unwrap_or_default();
    let disks = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = disks.into_iter().find(|name| model(name).starts_with("scsi_debug")).expect("no scsi_debug disk");
    // SDEBUG_OPT_MEDIUM_ERR (drivers/scsi/scsi_debug.c).
    fs::write("/sys/bus/pseudo/drivers/scsi_debug/opts", "2").unwrap();
    let agent = Agent::start("tick = \"100ms\"\n");
    let cgroup = Cgroup::new("bad");
    let before = disk_stats(&name);
    let (good, failed) = read(&cgroup, &name, 512);
    fs::write("/sys/bus/pseudo/drivers/scsi_debug/opts", "0").unwrap();
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
