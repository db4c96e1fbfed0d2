//! The default route: through which interface packets leave this host. Reads the kernel's tables of a network namespace.

use std::path::Path;

use super::read;
use crate::source::text::{fields, lines, number};

/// Bytes that are read of a table: the default route comes first in that of IPv4 (`fib_route_seq_show`, net/ipv4/fib_trie.c).
const TABLE: u64 = 64 << 10;
/// Flags of a route (include/uapi/linux/route.h): it is up, and it refuses.
const UP: u64 = 0x1;
const REJECT: u64 = 0x200;

/// The interface of the default route with the least metric: of IPv4, or else of IPv6. `net` is a process's folder of that name.
pub fn default(net: &Path) -> Option<Vec<u8>> {
    let table = |name: &str| read(&net.join(name), TABLE).unwrap_or_default();
    least(lines(&table("route")).filter_map(v4)).or_else(|| least(lines(&table("ipv6_route")).filter_map(v6)))
}

fn least<'a>(routes: impl Iterator<Item = (u64, &'a [u8])>) -> Option<Vec<u8>> {
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name.to_vec())
}

/// `eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0`: the interface, the destination, the gateway, flags, two counts, the metric, the
/// mask.
fn v4(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut fields = fields(line);
    let (name, destination, _) = (fields.next()?, fields.next()?, fields.next()?);
    let flags = hex(fields.next()?)?;
    let metric = number(fields.nth(2)?)?;
    let mask = fields.next()?;
    let all = hex(destination)? == 0 && hex(mask)? == 0;
    (all && flags & UP != 0 && flags & REJECT == 0).then_some((metric, name))
}

/// The destination and its length, the source and its length, the next hop, the metric, two counts, flags, the interface.
fn v6(line: &[u8]) -> Option<(u64, &[u8])> {
    let fields: Vec<&[u8]> = fields(line).collect();
    let [destination, length, _, _, _, metric, _, _, flags, name] = fields[..] else { return None };
    let all = destination.iter().all(|digit| *digit == b'0') && hex(length)? == 0;
    let flags = hex(flags)?;
    (all && flags & UP != 0 && flags & REJECT == 0 && name != b"lo").then_some((hex(metric)?, name))
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use crate::source::test::Tree;

    #[test]
    fn the_default_route_with_the_least_metric_counts() {
        let tree = Tree::new();
        let default = || super::default(&tree.0).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(default(), None);
        tree.write(
            "ipv6_route",
            "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth6
",
        );
        assert_eq!(default().as_deref(), Some("eth6"));
        tree.write(
            "route",
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
slow\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
fast\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
down\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\t0\t0\t0
lan\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
x\t\u{fffd}
",
        );
        assert_eq!(default().as_deref(), Some("fast"));
    }
}
