//! Which sockets of a network namespace listen, and whose they are; and whether a connection has arrived there. Reads the kernel's tables
//! from outside, as `/proc/PID/net/tcp` of a process in it. Connects to nothing.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;

use crate::source::text::{fields, number};

/// The kernel fills one page at a read, whatever room there is.
const PAGE: usize = 4096;
/// Bytes that are read of a table at most. A socket takes 150 of them.
const MOST: usize = 8 << 20;
/// States (include/net/tcp_states.h).
const ESTABLISHED: u64 = 0x01;
const SYN_RECV: u64 = 0x03;
const LISTEN: u64 = 0x0a;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Whose the socket is: who made it.
    pub uid: u32,
}

#[derive(Debug)]
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    state: u64,
    uid: u32,
}

/// All sockets that listen in the namespace of this folder `net`.
pub fn listeners(net: &Path) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    each(net, &mut |row| {
        // Those that listen come first (`tcp_seq_start`, net/ipv4/tcp_ipv4.c).
        if row.state != LISTEN {
            return ControlFlow::Break(());
        }
        found.push(Listener { address: row.local, uid: row.uid });
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Whether the namespace has the other end of a connection from `client` to `server`.
pub fn has(net: &Path, client: SocketAddr, server: SocketAddr) -> io::Result<bool> {
    let mut found = false;
    each(net, &mut |row| {
        let is_it = row.local == server && row.remote == client && [ESTABLISHED, SYN_RECV].contains(&row.state);
        found |= is_it;
        if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// The rows of both tables, each until it breaks. Without IPv6 there is one.
fn each(net: &Path, row: &mut dyn FnMut(Row) -> ControlFlow<()>) -> io::Result<()> {
    read(File::open(net.join("tcp"))?, row)?;
    match File::open(net.join("tcp6")) {
        Ok(file) => read(file, row),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read(mut file: impl io::Read, row: &mut dyn FnMut(Row) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = vec![0; 2 * PAGE];
    let (mut kept, mut total) = (0, 0);
    loop {
        let length = match file.read(&mut buffer[kept..]) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += length;
        let filled = kept + length;
        let end = match length {
            0 => filled,
            _ => buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        for line in buffer[..end].split(|byte| *byte == b'\n') {
            if let Some(parsed) = parse(line)
                && row(parsed).is_break()
            {
                return Ok(());
            }
        }
        if length == 0 {
            return Ok(());
        }
        if total > MOST || filled - end == buffer.len() {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "there are too many sockets"));
        }
        buffer.copy_within(end..filled, 0);
        kept = filled - end;
    }
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 …` (`get_tcp4_sock`, net/ipv4/tcp_ipv4.c); `None`
/// for the header.
fn parse(line: &[u8]) -> Option<Row> {
    let mut fields = fields(line).skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = hex(fields.next()?)?;
    let uid = u32::try_from(number(fields.nth(3)?)?).ok()?;
    Some(Row { local, remote, state, uid })
}

/// Words of 32 bits as this host has them in memory, then the port. An IPv4 address in an IPv6 one is told as what it is.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (address, port) = (&text[..colon], u16::try_from(hex(&text[colon + 1..])?).ok()?);
    let word = |digits: &[u8]| Some(u32::try_from(hex(digits)?).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(address)?)),
        32 => {
            let mut bytes = [0; 16];
            for (place, digits) in bytes.chunks_exact_mut(4).zip(address.chunks_exact(8)) {
                place.copy_from_slice(&word(digits)?);
            }
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const OWN: &str = "/proc/self/net";

    #[test]
    fn own_sockets_are_found_with_their_owner() {
        let uid = rustix::process::geteuid().as_raw();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let found = listeners(Path::new(OWN)).unwrap();
            assert!(found.contains(&Listener { address, uid }), "{address}: {found:?}");
            drop(listener);
            let found = listeners(Path::new(OWN)).unwrap();
            assert!(!found.iter().any(|other| other.address == address), "{address} is gone");
        }
    }

    #[test]
    fn a_connection_is_found_where_it_arrives() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let server = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.local_addr().unwrap().port());
            let client = TcpStream::connect(server).unwrap();
            let client = client.local_addr().unwrap();
            assert!(has(Path::new(OWN), client, server).unwrap(), "{address}");
            let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 9).into(), client.port());
            assert!(!has(Path::new(OWN), other, server).unwrap());
        }
    }

    #[test]
    fn lines_are_parsed_wherever_a_read_ends_and_tables_are_bounded() {
        struct Slow<'a>(&'a [u8], usize);
        impl io::Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.1.min(self.0.len()).min(buffer.len());
                buffer[..length].copy_from_slice(&self.0[..length]);
                self.0 = &self.0[length..];
                Ok(length)
            }
        }
        let word = u32::from_ne_bytes([10, 1, 2, 3]);
        let line = format!(
            "   0: {word:08X}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 5 1\n"
        );
        let text = format!("  sl  local_address rem_address   st tx_queue\n{}", line.repeat(300));
        for step in [1, 7, 150, 4096] {
            let mut count = 0;
            read(Slow(text.as_bytes(), step), &mut |row| {
                assert_eq!((row.local.to_string().as_str(), row.state, row.uid), ("10.1.2.3:8080", LISTEN, 1000));
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(count, 300, "{step}");
        }
        let endless = read(io::repeat(b'x'), &mut |_| ControlFlow::Continue(()));
        assert_eq!(endless.unwrap_err().kind(), ErrorKind::FileTooLarge);
        for junk in ["0: 0:0 0:0 0A", "0: 0100007F:99999 0100007F:1 0A a b c 1", "0: 0100007F 0100007F 0A a b c 1", ""]
        {
            assert!(parse(junk.as_bytes()).is_none(), "{junk}");
        }
    }
}
