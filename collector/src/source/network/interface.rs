//! Interfaces of the host: `/proc/1/net/dev` counts their traffic, sysfs knows their links. With them the RDMA ports.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use collector_core::pattern::Patterns;
use collector_core::statistic::network::Statistic::{self, *};
use collector_core::statistic::network::{Reading, Values};
use collector_core::text::escape;

use super::port::Ports;
use super::{read, route};
use crate::source::root::Root;
use crate::source::text::{cut, fields, lines, number};

/// Bytes that are read of the list: a line of an interface has 120 or so.
const LIST: u64 = 1 << 20;
/// Bytes of a file of one value.
const VALUE: u64 = 256;
const MEGABIT: u64 = 1_000_000;

/// Eight columns of a line, as `dev_seq_printf_stats` (net/core/net-procfs.c) prints them for each direction; the drops there include what
/// the device itself missed.
const WIDTH: usize = 8;
const COLUMNS: [Statistic; 4] = [ReceiveBytes, ReceivePackets, ReceiveErrors, ReceiveDrops];
const SENT: [Statistic; 4] = [TransmitBytes, TransmitPackets, TransmitErrors, TransmitDrops];

pub struct Interfaces {
    /// A process in the host's network namespace.
    process: PathBuf,
    sys: PathBuf,
    exclude: Patterns,
    ports: Ports,
    known: Vec<Known>,
    /// The one with the default route.
    route: Option<Vec<u8>>,
    namespace: Option<u64>,
}

struct Known {
    name: Vec<u8>,
    device: Arc<str>,
    shown: bool,
    seen: bool,
    link: Link,
}

/// What its driver says of its link.
#[derive(Clone, Copy, Default)]
struct Link {
    /// In bits a second.
    speed: Option<u64>,
    up: Option<u64>,
}

impl Interfaces {
    pub fn new(root: &Root, exclude: Patterns) -> Interfaces {
        let first = root.at("/proc/1");
        let process = if first.join("net/dev").exists() { first } else { root.at("/proc/self") };
        Interfaces {
            process: process.join("net"),
            sys: root.at("/sys/class/net"),
            exclude,
            ports: Ports::new(root.at("/sys/class/infiniband")),
            known: Vec::new(),
            route: None,
            namespace: None,
        }
    }

    /// The number of the host's network namespace, once it was read.
    pub fn namespace(&self) -> Option<u64> {
        self.namespace
    }

    /// Ports that there was no room for, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        self.ports.take_lost()
    }

    /// Emits all interfaces and ports, and which are gone. At a `turn` also what seldom changes is read.
    ///
    /// # Errors
    /// If the interfaces could not be read: then they are gone.
    pub fn read(&mut self, turn: bool, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let path = self.process.join("dev");
        let list = File::open(&path).and_then(|file| {
            let mut text = Vec::new();
            let number = file.metadata()?.ino();
            file.take(LIST).read_to_end(&mut text)?;
            Ok((text, number))
        });
        let list = list.with_context(|| format!("read {}", path.display()));
        let text = match &list {
            Ok((text, number)) => {
                self.namespace = Some(*number);
                &text[..]
            }
            Err(_) => &[],
        };
        if turn {
            self.route = route::default(&self.process);
        }
        self.known.iter_mut().for_each(|known| known.seen = false);
        for (name, values) in parse(text) {
            let known = match self.known.iter().position(|known| known.name == name) {
                Some(place) => &mut self.known[place],
                None => {
                    let device: Arc<str> = escape(name).as_ref().into();
                    let shown = !self.exclude.matches(&device);
                    let link = if shown { link(&self.sys, name) } else { Link::default() };
                    self.known.push(Known { name: name.to_vec(), device, shown, seen: true, link });
                    let Some(last) = self.known.last_mut() else { continue };
                    last
                }
            };
            known.seen = true;
            if !known.shown {
                continue;
            }
            if turn {
                known.link = link(&self.sys, name);
            }
            let mut values = values;
            values.put(Speed, known.link.speed);
            values.put(Up, known.link.up);
            let route = self.route.as_deref() == Some(name);
            emit(Reading::Interface { device: known.device.clone(), route, values: Some(values) });
        }
        self.known.retain(|known| {
            if known.shown && !known.seen {
                emit(Reading::Interface { device: known.device.clone(), route: false, values: None });
            }
            known.seen
        });
        self.ports.read(turn, emit);
        list.map(drop)
    }
}

/// The names and the traffic in `/proc/PID/net/dev`; its first two lines are titles, without a colon.
pub fn parse(text: &[u8]) -> impl Iterator<Item = (&[u8], Values)> {
    lines(text).filter_map(|line| {
        let (name, numbers) = cut(line, b':')?;
        let mut values = Values::new();
        for (place, text) in fields(numbers).take(WIDTH + SENT.len()).enumerate() {
            let (side, place) = if place < WIDTH { (&COLUMNS, place) } else { (&SENT, place - WIDTH) };
            if let Some(statistic) = side.get(place) {
                values.put(*statistic, number(text));
            }
        }
        Some((name.trim_ascii(), values))
    })
}

/// The speed is -1 or an error where the driver does not know it, or has no link.
fn link(sys: &std::path::Path, name: &[u8]) -> Link {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = sys.join(std::ffi::OsStr::from_bytes(name));
    let value = |file: &str| read(&folder.join(file), VALUE).ok();
    let megabits = value("speed").and_then(|text| number(text.trim_ascii()));
    // An unsigned -1 in older kernels.
    let speed = megabits.filter(|speed| *speed > 0 && *speed < u64::from(u32::MAX)).map(|speed| speed * MEGABIT);
    let up = value("operstate").and_then(|text| match text.trim_ascii() {
        b"up" => Some(1),
        b"unknown" => None,
        _ => Some(0),
    });
    Link { speed, up }
}

/// One interface in words.
pub fn describe(reading: &Reading) -> Option<String> {
    let Reading::Interface { device, route, values: Some(values) } = reading else { return None };
    let speed = match values.get(Speed) {
        Some(speed) => format!("{:.1} Gbit/s", speed as f64 / 1e9),
        None => "speed not known".to_owned(),
    };
    Some(format!("{device} ({speed}{})", if *route { ", default route" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    const LIST: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0
  eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0
 ib0:5 5
";

    fn all(interfaces: &mut Interfaces, turn: bool) -> Vec<(String, bool, Option<Values>)> {
        let mut found = Vec::new();
        let _ = interfaces.read(turn, &mut |reading| {
            let Reading::Interface { device, route, values } = reading else { panic!("{reading:?}") };
            found.push((device.to_string(), route, values));
        });
        found
    }

    #[test]
    fn traffic_comes_from_the_list_and_the_link_from_its_driver_at_a_turn() {
        let tree = Tree::new();
        tree.write("proc/1/net/dev", LIST);
        tree.write(
            "proc/1/net/route",
            "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n",
        );
        tree.write("sys/class/net/eth0/speed", "25000\n");
        tree.write("sys/class/net/eth0/operstate", "up\n");
        tree.write("sys/class/net/ib0/speed", "-1\n");
        let mut interfaces = Interfaces::new(&Root::new(&tree.0), Patterns::new(&["lo".to_owned()]));
        let found = all(&mut interfaces, true);
        let eth0 = [(ReceiveBytes, 100), (ReceivePackets, 10), (ReceiveErrors, 1), (ReceiveDrops, 2)];
        let sent = [(TransmitBytes, 200), (TransmitPackets, 20), (TransmitErrors, 3), (TransmitDrops, 4)];
        let link = [(Speed, 25_000 * MEGABIT), (Up, 1)];
        let eth0 = Values::from_iter(eth0.into_iter().chain(sent).chain(link));
        let ib0 = Values::from_iter([(ReceiveBytes, 5), (ReceivePackets, 5)]);
        assert_eq!(found, [("eth0".to_owned(), true, Some(eth0)), ("ib0".to_owned(), false, Some(ib0))]);
        assert!(interfaces.namespace().is_some());
        tree.write("sys/class/net/eth0/speed", "1000\n");
        tree.write("proc/1/net/dev", "eth0: 1\n");
        let speed = |found: &[(String, bool, Option<Values>)]| found[0].2.as_ref().and_then(|it| it.get(Speed));
        let now = all(&mut interfaces, false);
        assert_eq!((speed(&now), &now[1]), (Some(25_000 * MEGABIT), &("ib0".to_owned(), false, None)));
        assert_eq!(speed(&all(&mut interfaces, true)), Some(1000 * MEGABIT));
        std::fs::remove_file(tree.0.join("proc/1/net/dev")).unwrap();
        assert_eq!(all(&mut interfaces, false), [("eth0".to_owned(), false, None)]);
        assert!(interfaces.read(false, &mut |_| {}).is_err());
    }

    #[test]
    fn any_list_is_accepted() {
        for text in [&b""[..], b":", b"\n:\n", b"a", b"\xff: 1 x 3", b"a: -1 99999999999999999999 3", b"a:b: 1"] {
            parse(text).for_each(|(_, values)| assert!(values.iter().count() <= 8));
        }
    }
}
