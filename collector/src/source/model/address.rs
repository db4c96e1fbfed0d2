//! At which addresses a network namespace can be reached from this one, without entering it: which it has, and which of them this
//! namespace's routes take to an interface that leads into a container. Reads the kernel's tables of both; connects to nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::source::text::{fields, lines, number};

/// A table of more bytes is not read: half of one says nothing of what is not in it.
const TABLE: u64 = 1 << 20;
/// Addresses of another namespace that are kept.
const ADDRESSES: usize = 16;
/// Flags of a route (include/uapi/linux/route.h): it is up, and it refuses.
const UP: u64 = 0x1;
const REJECT: u64 = 0x200;
/// `ARPHRD_ETHER` of include/uapi/linux/if_arp.h.
const ETHERNET: &[u8] = b"1";

/// The IPv4 addresses that a namespace has, without those of its loopback. `net` is a folder of that name of a process in it.
pub fn addresses(net: &Path) -> io::Result<Vec<Ipv4Addr>> {
    Ok(local(&read(&net.join("fib_trie"))?, ADDRESSES))
}

/// Below an address `|-- 172.17.0.2` its routes: `/32 host LOCAL` is one of the namespace's own (`fib_trie_seq_show`,
/// net/ipv4/fib_trie.c).
fn local(text: &[u8], most: usize) -> Vec<Ipv4Addr> {
    let (mut found, mut last) = (BTreeSet::new(), None);
    for line in lines(text) {
        let mut words = fields(line);
        match (words.next(), words.next(), words.next()) {
            (Some(b"|--"), Some(address), None) => {
                last = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
            }
            (Some(b"/32"), Some(b"host"), Some(b"LOCAL")) if found.len() < most => {
                found.extend(last.filter(|address: &Ipv4Addr| !address.is_loopback()));
            }
            _ => {}
        }
    }
    found.into_iter().collect()
}

/// The addresses of this process's own namespace, without those of its loopback: all of them, or none.
pub fn locals() -> Result<Vec<IpAddr>, String> {
    let own = Path::new("/proc/self/net");
    let v4 = read(&own.join("fib_trie")).map(|text| local(&text, usize::MAX));
    let v4 = v4.map_err(|error| format!("the addresses of this host cannot be read: {error}"))?;
    let v6 = v6(&std::fs::read(own.join("if_inet6")).unwrap_or_default()).map(IpAddr::V6).collect::<Vec<_>>();
    Ok(v4.into_iter().map(IpAddr::V4).chain(v6).collect())
}

/// The global addresses in `/proc/net/if_inet6`: `00000000000000000000000000000001 01 80 10 80 lo` (`if6_seq_show`, net/ipv6/addrconf.c).
fn v6(text: &[u8]) -> impl Iterator<Item = Ipv6Addr> {
    lines(text).filter_map(|line| {
        let mut fields = fields(line);
        let address = u128::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, 16).ok()?;
        let scope = fields.nth(2)?;
        (scope == b"00").then(|| Ipv6Addr::from(address))
    })
}

/// The routes and interfaces of this process's own namespace.
pub struct Routes {
    all: Vec<Route>,
    interfaces: PathBuf,
}

#[derive(Debug, PartialEq)]
struct Route {
    interface: String,
    /// In the order of the network.
    to: u32,
    mask: u32,
    metric: u64,
    refuses: bool,
}

impl Routes {
    /// `net` is `/proc/self/net`, and `interfaces` is `/sys/class/net`.
    pub fn read(net: &Path, interfaces: &Path) -> io::Result<Routes> {
        let text = read(&net.join("route"))?;
        Ok(Routes { all: lines(&text).filter_map(route).collect(), interfaces: interfaces.to_owned() })
    }

    /// The interface through which an address is reached, if it leads into a namespace of this host: a bridge, or an end of a pair.
    ///
    /// # Errors
    /// Why it does not.
    pub fn leads_inside(&self, address: Ipv4Addr) -> Result<(), String> {
        let to = u32::from(address);
        let fitting = self.all.iter().filter(|route| to & route.mask == route.to);
        let best = fitting.max_by_key(|route| (route.mask, std::cmp::Reverse(route.metric)));
        let Some(route) = best.filter(|route| !route.refuses) else {
            return Err(format!("no route leads to {address}"));
        };
        match self.is_inside(&route.interface) {
            true => Ok(()),
            false => {
                let name = collector_core::text::shown(&route.interface);
                Err(format!("the route to {address} leads out of this host, through {name}"))
            }
        }
    }

    fn is_inside(&self, interface: &str) -> bool {
        let folder = self.interfaces.join(interface);
        if folder.join("bridge").is_dir() {
            return true;
        }
        let text = |name: &str| read(&folder.join(name)).unwrap_or_default();
        let trimmed = |name: &str| text(name).trim_ascii_end().to_vec();
        // VLANs, tunnels, bonds and the like say what they are; an end of a pair says nothing, and has another behind it.
        let is_typed = lines(&text("uevent")).any(|line| line.starts_with(b"DEVTYPE="));
        let is_pair = trimmed("ifindex") != trimmed("iflink");
        let is_other = folder.join("device").exists() || folder.join("tun_flags").exists();
        trimmed("type") == ETHERNET && is_pair && !is_typed && !is_other
    }
}

/// `eth0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0`: the interface, the destination, the gateway, flags, two counts, the metric, the
/// mask (`fib_route_seq_show`, net/ipv4/fib_trie.c).
fn route(line: &[u8]) -> Option<Route> {
    let mut fields = fields(line);
    let interface = std::str::from_utf8(fields.next()?).ok()?.to_owned();
    let to = hex(fields.next()?)?;
    let flags = hex(fields.nth(1)?)?;
    let metric = number(fields.nth(2)?)?;
    let mask = hex(fields.next()?)?;
    let word = |word: u64| Some(u32::from_be_bytes(u32::try_from(word).ok()?.to_ne_bytes()));
    let named = !interface.contains('/') && !matches!(&*interface, "." | "..");
    let refuses = flags & REJECT != 0;
    let it = Route { interface, to: word(to)?, mask: word(mask)?, metric, refuses };
    (flags & (UP | REJECT) != 0 && (named || refuses)).then_some(it)
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    whole(File::open(path)?)
}

fn whole(table: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    table.take(TABLE + 1).read_to_end(&mut text)?;
    match text.len() as u64 > TABLE {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has too many lines")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn a_namespaces_own_addresses_are_found_without_its_loopback() {
        let text = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 172.17.0.2
        /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
";
        // The kernel writes the main table into both.
        let twice = format!("{text}{text}");
        assert_eq!(local(twice.as_bytes(), ADDRESSES), ["172.17.0.2".parse::<Ipv4Addr>().unwrap()]);
        assert_eq!(
            local(b"|-- x\n/32 host LOCAL\n/32 host LOCAL\n|-- 1.2.3.4 5\n/32 host LOCAL", 1),
            [] as [Ipv4Addr; 0]
        );
        let table =
            "fd000000000000000000000000000001 02 40 00 80 eth0\nfe80000000000000000000000000000a 02 40 20 80 eth0\nx";
        assert_eq!(v6(table.as_bytes()).collect::<Vec<_>>(), ["fd00::1".parse::<Ipv6Addr>().unwrap()]);
        assert!(!addresses(Path::new("/proc/self/net")).unwrap().contains(&Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_table_is_read_as_a_whole_or_not_at_all() {
        let size = TABLE as usize;
        assert_eq!(whole(io::repeat(b'x').take(TABLE)).map(|text| text.len()).ok(), Some(size));
        assert_eq!(whole(io::repeat(b'x')).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    /// An interface of the kinds that there are.
    fn interface(tree: &Tree, name: &str, uevent: &str, [index, link]: [u32; 2]) {
        for (file, text) in [("type", "1\n".to_owned()), ("uevent", format!("{uevent}INTERFACE={name}\n"))] {
            tree.write(&format!("class/{name}/{file}"), &text);
        }
        tree.write(&format!("class/{name}/ifindex"), &format!("{index}\n"));
        tree.write(&format!("class/{name}/iflink"), &format!("{link}\n"));
    }

    #[test]
    fn only_bridges_and_pairs_lead_into_this_host() {
        let tree = Tree::new();
        let word = |text: &str| u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets());
        let mut table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_owned();
        let mut add = |name: &str, to: &str, mask: &str, flags: &str, metric: u32| {
            table +=
                &format!("{name}\t{:08X}\t00000000\t{flags}\t0\t0\t{metric}\t{:08X}\t0\t0\t0\n", word(to), word(mask));
        };
        add("eth0", "0.0.0.0", "0.0.0.0", "0003", 100);
        add("docker0", "172.17.0.0", "255.255.0.0", "0001", 0);
        add("cali1", "10.1.0.7", "255.255.255.255", "0005", 0);
        add("wg0", "10.2.0.0", "255.255.0.0", "0001", 0);
        add("tap0", "10.3.0.0", "255.255.0.0", "0001", 0);
        add("*", "10.4.0.0", "255.255.0.0", "0201", 0);
        add("eth0", "10.5.0.0", "255.255.0.0", "0001", 5);
        add("cali1", "10.5.0.0", "255.255.0.0", "0001", 9);
        add("../x", "10.6.0.0", "255.255.0.0", "0001", 0);
        tree.write("net/route", &table);
        interface(&tree, "eth0", "", [2, 2]);
        tree.write("class/eth0/device/vendor", "0x8086\n");
        interface(&tree, "docker0", "DEVTYPE=bridge\n", [3, 3]);
        std::fs::create_dir(tree.0.join("class/docker0/bridge")).unwrap();
        interface(&tree, "cali1", "", [4, 2]);
        interface(&tree, "wg0", "DEVTYPE=wireguard\n", [5, 0]);
        interface(&tree, "tap0", "", [6, 1]);
        tree.write("class/tap0/tun_flags", "0x1002\n");
        let routes = Routes::read(&tree.0.join("net"), &tree.0.join("class")).unwrap();
        let leads = |address: &str| routes.leads_inside(address.parse().unwrap());
        for address in ["172.17.0.2", "10.1.0.7"] {
            assert_eq!(leads(address), Ok(()), "{address}");
        }
        for address in ["10.1.0.8", "10.2.0.1", "10.3.0.1", "10.5.0.1"] {
            assert!(leads(address).unwrap_err().contains("out of this host"), "{address}");
        }
        assert!(leads("10.4.0.1").unwrap_err().contains("no route"));
        assert!(leads("10.6.0.1").is_err());
    }
}
