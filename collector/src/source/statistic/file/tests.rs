//! Tests of each file format.

use super::*;
use proptest::prelude::*;

fn read(name: &CStr, v2: bool, text: &str, values: &mut Values) {
    let file = FILES.iter().find(|file| file.name == name && file.v2 == v2).unwrap();
    file.format.read(text.as_bytes(), values);
}

fn values(v2: bool, files: &[(&CStr, &str)]) -> Vec<(S, u64)> {
    let mut values = Values::new();
    files.iter().for_each(|(name, text)| read(name, v2, text, &mut values));
    values.iter().collect()
}

#[test]
fn the_files_of_v2() {
    let files = [
        (c"memory.current", "100\n"),
        (c"memory.max", "max\n"),
        (c"memory.high", "4096\n"),
        (c"memory.low", "20\n"),
        (c"memory.min", "10\n"),
        (c"memory.stat", "anon 9\nunevictable 5\nfile_dirty 3\nfile_writeback 2\n"),
        (c"io.max", "8:0 rbps=2000 wbps=max riops=max wiops=5\n259:0 rbps=1000 wbps=max riops=max wiops=max\n"),
        (c"memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n"),
        (c"cpu.stat", "usage_usec 3\nuser_usec 2\nsystem_usec 1\ncore_sched.force_idle_usec 0\n"),
        (
            c"io.stat",
            "259:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:0 rbytes=10 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
        ),
        (
            c"io.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
    ];
    let expected = [
        (S::MemoryCurrent, 100),
        (S::MemoryHigh, 4096),
        (S::MemoryLow, 20),
        (S::MemoryMin, 10),
        (S::MemoryAnon, 9),
        (S::MemoryUnevictable, 5),
        (S::MemoryDirty, 3),
        (S::MemoryWriteback, 2),
        (S::MemoryEventLow, 1),
        (S::MemoryEventHigh, 2),
        (S::MemoryEventMax, 3),
        (S::MemoryEventOom, 4),
        (S::MemoryEventOomKill, 5),
        (S::MemoryEventOomGroupKill, 6),
        (S::IoPressureSome, 7_000),
        (S::IoPressureFull, 1_000),
        (S::CpuUsage, 3_000),
        (S::CpuUser, 2_000),
        (S::CpuSystem, 1_000),
        (S::IoReadBytes, 11),
        (S::IoWriteBytes, 2),
        (S::IoDiscardBytes, 5),
        (S::IoReadLimit, 1000),
        (S::IoReads, 4),
        (S::IoWrites, 4),
        (S::IoDiscards, 6),
    ];
    assert_eq!(values(true, &files), expected);
}

#[test]
fn kernel_memory_is_one_number_or_the_sum_of_its_parts() {
    let parts = "kernel_stack 100\npagetables 20\npercpu 3\nsock 4\n";
    let slab = "slab_reclaimable 5000\nslab_unreclaimable 1000\nslab 6000\n";
    let kernel = |text: String| {
        let found = values(true, &[(c"memory.stat", &text)]);
        found.into_iter().find(|(statistic, _)| *statistic == S::MemoryKernel).map(|(_, bytes)| bytes)
    };
    assert_eq!(kernel(format!("anon 1\nkernel 9000\n{parts}{slab}")), Some(9004), "sockets are not in it");
    assert_eq!(kernel(format!("anon 1\n{parts}{slab}")), Some(6127));
    assert_eq!(kernel("anon 1\nsock 4\n".to_owned()), None);
}

#[test]
fn the_files_of_v1() {
    let stat = "cache 1\nrss 2\ntotal_cache 300\ntotal_rss 200\ntotal_shmem 100\ntotal_swap 0\ntotal_inactive_file 50\n\
         total_unevictable 5\ntotal_dirty 3\ntotal_writeback 2\n";
    let blkio = "8:0 Read 5\n8:0 Write 6\n8:0 Sync 11\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 11\nTotal 11\n";
    let files = [
        (c"memory.usage_in_bytes", "1000\n"),
        (c"memory.failcnt", "9\n"),
        (c"memory.limit_in_bytes", "4096\n"),
        (c"memory.memsw.limit_in_bytes", "5096\n"),
        (c"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        (c"memory.stat", stat),
        (c"cpuacct.usage", "123456789\n"),
        (c"cpuacct.stat", "user 10\nsystem 2\n"),
        (c"cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 77\nnr_bursts 0\nburst_time 0\n"),
        (c"blkio.throttle.io_service_bytes_recursive", blkio),
        (c"blkio.throttle.write_bps_device", "8:0 5000\n8:16 4000\n"),
    ];
    let expected = [
        (S::MemoryCurrent, 1000),
        (S::MemoryLimit, 4096),
        (S::MemoryInactiveFile, 50),
        (S::MemoryAnon, 200),
        (S::MemoryFile, 300),
        (S::MemoryShmem, 100),
        (S::MemoryUnevictable, 5),
        (S::MemoryDirty, 3),
        (S::MemoryWriteback, 2),
        (S::MemorySwap, 0),
        (S::MemorySwapLimit, 1000),
        (S::MemoryUnderOom, 0),
        (S::MemoryEventMax, 9),
        (S::MemoryEventOomKill, 3),
        (S::CpuUsage, 123_456_789),
        (S::CpuUser, 100_000_000),
        (S::CpuSystem, 20_000_000),
        (S::CpuPeriods, 4),
        (S::CpuThrottledPeriods, 2),
        (S::CpuThrottled, 77),
        (S::IoReadBytes, 5),
        (S::IoWriteBytes, 6),
        (S::IoDiscardBytes, 0),
        (S::IoWriteLimit, 4000),
    ];
    assert_eq!(values(false, &files), expected);
}

#[test]
fn a_huge_v1_limit_is_unlimited() {
    for page in [4096, 16384, 65536] {
        let unlimited = (i64::MAX as u64 / page * page).to_string();
        assert_eq!(values(false, &[(c"memory.limit_in_bytes", &unlimited)]), []);
    }
    let both = [(c"memory.limit_in_bytes", "max"), (c"memory.memsw.limit_in_bytes", "4096")];
    assert_eq!(values(false, &both), [], "the share of swap is unknown");
}

#[test]
fn values_missing_from_a_file_become_unknown() {
    let mut values = Values::new();
    read(c"memory.events", true, "max 1\noom_kill 2\n", &mut values);
    read(c"memory.events", true, "max 3\n", &mut values);
    read(c"memory.max", true, "4096", &mut values);
    read(c"memory.max", true, "max", &mut values);
    assert_eq!(values.iter().collect::<Vec<_>>(), [(S::MemoryEventMax, 3)]);
    read(c"memory.events", true, "", &mut values);
    assert_eq!(values, Values::new());
}

#[test]
fn an_empty_io_file_means_no_io() {
    assert_eq!(values(true, &[(c"io.stat", "")]).iter().map(|(_, value)| value).sum::<u64>(), 0);
    assert_eq!(values(true, &[(c"io.stat", "")]).len(), 6);
    assert_eq!(values(false, &[(c"blkio.throttle.io_serviced_recursive", "Total 0\n")]), [], "v1 may not count IO");
    assert_eq!(values(true, &[(c"io.stat", "8:0 rbytes=18446744073709551615\n8:16 rbytes=1\n")])[0].1, u64::MAX);
}

#[test]
fn absurd_numbers_saturate() {
    let huge = u64::MAX.to_string();
    assert_eq!(values(true, &[(c"cpu.stat", &format!("usage_usec {huge}\n"))]), [(S::CpuUsage, u64::MAX)]);
    assert_eq!(values(true, &[(c"memory.current", &format!("{huge}0"))]), []);
}

#[test]
fn the_working_set_is_usage_minus_inactive_file() {
    let mut values = Values::from_iter([(S::MemoryCurrent, 100), (S::MemoryInactiveFile, 30)]);
    derive(&mut values);
    assert_eq!(values.get(S::MemoryWorkingSet), Some(70));
    values.set(S::MemoryInactiveFile, 300);
    derive(&mut values);
    assert_eq!(values.get(S::MemoryWorkingSet), Some(0), "the two files are read at slightly different times");
    values.put(S::MemoryCurrent, None);
    derive(&mut values);
    assert_eq!(values.get(S::MemoryWorkingSet), None);
}

proptest! {
    #[test]
    fn a_file_changes_only_its_own_statistics(
        file in 0..FILES.len(),
        text in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let file = &FILES[file];
        let mut values = Values::from_iter([(S::MemoryCurrent, 1), (S::CpuUsage, 1), (S::IoReads, 1)]);
        let mut others = values.clone();
        file.format.forget(&mut others);
        file.format.read(&text, &mut values);
        for (statistic, value) in others.iter() {
            prop_assert_eq!(values.get(statistic), Some(value));
        }
        file.format.forget(&mut values);
        prop_assert_eq!(values, others);
    }
}
