//! Ports of RDMA devices (InfiniBand and RoCE): what they move passes by the host's interfaces. Reads sysfs alone
//! (Documentation/ABI/stable/sysfs-class-infiniband).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::statistic::network::Statistic::{self, *};
use collector_core::statistic::network::{Reading, Values};

use super::read;
use crate::source::text::{fields, number};

/// Ports that are read. More are counted as lost, once.
const PORTS: usize = 64;
/// Entries of a folder that are looked at.
const ENTRIES: usize = 1024;
const VALUE: u64 = 256;

/// The files of a port, each with its factor: data is counted in words of four bytes.
const COUNTERS: [(&str, Statistic, u64); 6] = [
    ("port_rcv_data", ReceiveBytes, 4),
    ("port_rcv_packets", ReceivePackets, 1),
    ("port_rcv_errors", ReceiveErrors, 1),
    ("port_xmit_data", TransmitBytes, 4),
    ("port_xmit_packets", TransmitPackets, 1),
    ("port_xmit_discards", TransmitDrops, 1),
];

pub struct Ports {
    folder: PathBuf,
    known: Vec<Port>,
    /// Ports that there was no room for when they were listed last, and those of them that were not told yet.
    beyond: u64,
    lost: u64,
}

struct Port {
    name: Arc<str>,
    folder: PathBuf,
    speed: Option<u64>,
    up: Option<u64>,
}

impl Ports {
    pub fn new(folder: PathBuf) -> Ports {
        Ports { folder, known: Vec::new(), beyond: 0, lost: 0 }
    }

    /// Emits all ports, and which are gone. At a `turn` it looks which there are, and how their links are.
    pub fn read(&mut self, turn: bool, emit: &mut dyn FnMut(Reading)) {
        if turn {
            let mut now = ports(&self.folder);
            let beyond = now.len().saturating_sub(PORTS) as u64;
            self.lost += beyond.saturating_sub(self.beyond);
            self.beyond = beyond;
            now.truncate(PORTS);
            let now: Vec<Port> = now.into_iter().map(|(name, folder)| Port::at(name, folder)).collect();
            for gone in self.known.iter().filter(|known| now.iter().all(|port| port.name != known.name)) {
                emit(Reading::Interface { device: gone.name.clone(), route: false, values: None });
            }
            self.known = now;
        }
        for port in &self.known {
            let mut values = Values::new();
            for (file, statistic, factor) in COUNTERS {
                let text = read(&port.folder.join("counters").join(file), VALUE).ok();
                let count = text.and_then(|text| number(text.trim_ascii()));
                values.put(statistic, count.map(|count| count.saturating_mul(factor)));
            }
            values.put(Speed, port.speed);
            values.put(Up, port.up);
            emit(Reading::Interface { device: port.name.clone(), route: false, values: Some(values) });
        }
    }

    /// Ports that there is no room for, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

impl Port {
    fn at(name: Arc<str>, folder: PathBuf) -> Port {
        let value = |file: &str| read(&folder.join(file), VALUE).ok();
        // `4: ACTIVE`
        let up = value("state").map(|text| u64::from(text.starts_with(b"4:")));
        // A port that is down says a speed, too.
        let speed = value("rate").filter(|_| up == Some(1)).and_then(|text| rate(&text));
        Port { name, folder, speed, up }
    }
}

/// All ports by name, each with its folder.
fn ports(folder: &Path) -> Vec<(Arc<str>, PathBuf)> {
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().take(ENTRIES);
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    };
    let mut all = Vec::new();
    for device in names(folder) {
        for port in names(&folder.join(&device).join("ports")) {
            let name = collector_core::text::escape(format!("{device}:{port}").as_bytes()).as_ref().into();
            all.push((name, folder.join(&device).join("ports").join(&port)));
        }
    }
    all
}

/// Bits a second in `100 Gb/sec (4X EDR)`.
fn rate(text: &[u8]) -> Option<u64> {
    let mut fields = fields(text);
    let (amount, unit) = (fields.next()?, fields.next()?);
    let amount: f64 = std::str::from_utf8(amount).ok()?.parse().ok()?;
    (unit == b"Gb/sec" && amount > 0.0 && amount < 1e6).then_some((amount * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn a_port_counts_words_and_has_the_speed_of_its_link() {
        let tree = Tree::new();
        let port = "mlx5_0/ports/1";
        tree.write(&format!("{port}/rate"), "2.5 Gb/sec (1X SDR)\n");
        tree.write(&format!("{port}/state"), "4: ACTIVE\n");
        tree.write(&format!("{port}/counters/port_xmit_data"), "25\n");
        tree.write(&format!("{port}/counters/port_rcv_packets"), "N/A\n");
        tree.write("mlx5_1/ports/1/state", "1: DOWN\n");
        let mut ports = Ports::new(tree.0.clone());
        let mut read = |turn| {
            let mut found = Vec::new();
            ports.read(turn, &mut |reading| match reading {
                Reading::Interface { device, values, .. } => found.push((device.to_string(), values)),
                Reading::Namespace { .. } => panic!("{reading:?}"),
            });
            found
        };
        assert_eq!(read(false), []);
        let first = Values::from_iter([(TransmitBytes, 100), (Speed, 2_500_000_000), (Up, 1)]);
        let second = Values::from_iter([(Up, 0)]);
        assert_eq!(read(true), [("mlx5_0:1".to_owned(), Some(first.clone())), ("mlx5_1:1".to_owned(), Some(second))]);
        fs::remove_dir_all(tree.0.join("mlx5_1")).unwrap();
        assert_eq!(read(true), [("mlx5_1:1".to_owned(), None), ("mlx5_0:1".to_owned(), Some(first))]);
        for port in 0..PORTS + 3 {
            tree.write(&format!("mlx4_0/ports/{port}/state"), "1: DOWN\n");
        }
        assert_eq!(read(true).len(), PORTS + 1, "one is not shown any more");
        assert_eq!([ports.take_lost(), ports.take_lost()], [4, 0], "each is lost once");
        for text in ["", "x Gb/sec", "100", "-1 Gb/sec", "inf Gb/sec", "100 Mb/sec"] {
            assert_eq!(rate(text.as_bytes()), None, "{text}");
        }
    }
}
