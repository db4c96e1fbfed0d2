//! The files of /proc about the host: memory, reclaim, CPUs, load, pressure, disks, mounts.

#![no_main]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use collector::source::filesystem::mount::{self, Exclude, Mount};
use collector::source::host::disk::Disks;
use collector::source::host::{FILES, Units};
use collector::source::model_file::mount::{Mounts, plain};
use collector::source::text::{fields, lines, number};
use collector_core::pattern::Patterns;
use collector_core::statistic::host::Values;
use collector_core::text::unescape;
use libfuzzer_sys::fuzz_target;

const UNITS: Units = Units { page: 4096, tick_ns: 10_000_000 };
/// The disks of a host. A name without a folder here is not a disk.
const SYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/host/6.18/sys");

fuzz_target!(|text: &[u8]| {
    for field in lines(text).flat_map(fields) {
        let digits = std::str::from_utf8(field).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(number(field), digits.and_then(|digits| digits.parse().ok()));
    }
    // A newer kernel may add lines, but not to a file that is one line.
    const SINGLE: [&str; 2] = ["loadavg", "sys/vm/swappiness"];
    let more = [text, b"\nnovelty 1\n"].concat();
    for (name, _, parse) in FILES.into_iter().filter(|(name, ..)| !SINGLE.contains(name)) {
        let [plain, newer] = [text, &more].map(|text| {
            let mut values = Values::new();
            parse(text, &UNITS, &mut values);
            values
        });
        assert_eq!(plain, newer, "{name}");
    }
    FILES.into_iter().for_each(|(_, _, parse)| parse(text, &UNITS, &mut Values::new()));
    check_disks(text);
    check_mounts(text);
    check_ways(text);
});

/// The same text gives the same readings, and each disk that vanishes is reported as gone.
fn check_disks(text: &[u8]) {
    let mut disks = Disks::new(Path::new(SYS), Patterns::new(&["loop*".to_owned()]));
    let mut read = |text: &[u8]| {
        let mut readings = Vec::new();
        disks.read(text, &mut |reading| readings.push(reading));
        readings
    };
    let first = read(text);
    assert_eq!(read(text), first);
    let names: HashSet<_> = first.iter().map(|reading| reading.device.clone()).collect();
    let gone = read(b"");
    assert!(gone.iter().all(|reading| reading.values.is_none() && names.contains(&reading.device)));
    assert_eq!(gone.len(), names.len());
}

/// A path of a process leads to a path of the host: the same in the same namespace, and none that goes up.
fn check_ways(text: &[u8]) {
    let mounts = Mounts::parse(text);
    for path in ["/", "/a/b", "/proc/1/cwd/../x"].map(Path::new).into_iter().filter_map(plain) {
        let here = mounts.translate(&path, &mounts);
        assert!(here.is_none_or(|here| here == path));
        let other = Mounts::parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
        assert!(mounts.translate(&path, &other).is_none_or(|here| here.is_absolute()));
    }
}

/// No mount is outside the root or listed twice, and names escaped as by the kernel are read back unchanged.
fn check_mounts(text: &[u8]) {
    let root = Path::new("/host");
    let exclude =
        Exclude {
            mountpoints: Patterns::new(&["/proc/*".to_owned()]),
            types: Patterns::new(&["tmpfs".to_owned()]),
            ..Exclude::default()
        };
    // Of a process in a container, whose text it is.
    if let Some(shm) = mount::shm(text) {
        assert!(mount::devices(text).any(|device| device == shm.device), "{shm:?}");
    }
    let mounts = mount::parse(text, root, &exclude);
    let points: HashSet<_> = mounts.iter().map(|mount| &mount.mountpoint).collect();
    assert_eq!(points.len(), mounts.len());
    assert!(mounts.iter().all(|mount| mount.path.starts_with(root)), "{mounts:?}");
    let mut written = Vec::new();
    for Mount { mountpoint, device, fstype, .. } in &mounts {
        let [mountpoint, device, fstype] = [mountpoint, device, fstype].map(|shown| mangled(&unescape(shown)));
        written.extend([b"36 35 98:0 / ", &*mountpoint, b" rw - ", &fstype, b" ", &device, b" rw\n"].concat());
    }
    let again = mount::parse(&written, root, &exclude);
    let shown = |mounts: &[Mount]| -> Vec<_> {
        mounts
            .iter()
            .map(|Mount { mountpoint, device, fstype, .. }| [mountpoint, device, fstype].map(Arc::clone))
            .collect()
    };
    assert_eq!(shown(&again), shown(&mounts), "{}", written.escape_ascii());
}

/// As the kernel writes names (`mangle`, fs/seq_file.c).
fn mangled(name: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    };
    name.iter().flat_map(escape).collect()
}
