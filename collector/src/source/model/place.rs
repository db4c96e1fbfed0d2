//! Which of the processes that look like model servers are servers, how each can be reached without entering a namespace, and who gets a
//! place: a user decides how many there are. Reads the kernel's tables of sockets and routes; connects to nothing.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::statistic::model::State;

use super::address::{Routes, addresses, locals};
use super::find::Candidate;
use super::process;
use super::socket::{Listener, listeners};

/// Servers that are asked, and those of one owner.
pub const SERVERS: usize = 256;
const OF_AN_OWNER: usize = 16;
/// Places that users leave to the host's own.
const FOR_HOST: usize = 64;

/// A port of a network namespace.
pub type Key = (u64, u16);

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through this process's own namespace: one of these.
    Own(Vec<SocketAddr>),
    /// At one of a container's addresses, if the connection arrives in the namespace of this folder `net`.
    Container(Vec<SocketAddr>, PathBuf),
}

/// A process on whose port there is a server, or should be.
#[derive(Clone, Debug)]
pub struct Spot {
    pub pid: u32,
    /// Its user listens on the port.
    pub owns: bool,
    /// Where it is, for its name: absent in this process's own namespace.
    pub address: Option<IpAddr>,
    /// Or why it cannot be reached.
    pub way: Result<Way, (State, String)>,
}

/// What of the host is needed to judge: read once in a round.
pub struct Places<'a> {
    proc: &'a Path,
    own: Option<u64>,
    /// Of this process's own namespace, once they are needed.
    routes: OnceCell<Result<Routes, String>>,
    locals: OnceCell<Result<Vec<IpAddr>, String>>,
    /// By namespace.
    tables: BTreeMap<u64, Table>,
}

/// What a namespace has.
struct Table {
    listeners: Result<Vec<Listener>, String>,
    addresses: Vec<Ipv4Addr>,
}

impl<'a> Places<'a> {
    /// `proc` is the host's; the routes are those of this process.
    pub fn read(proc: &'a Path) -> Places<'a> {
        let own = process::namespace(Path::new("/proc/self"));
        Places { proc, own, routes: OnceCell::new(), locals: OnceCell::new(), tables: BTreeMap::new() }
    }

    /// Whether a namespace is this process's own.
    pub fn is_own(&self, namespace: u64) -> bool {
        self.own == Some(namespace)
    }

    /// The servers among the candidates: of each port one.
    pub fn spots(&mut self, candidates: &BTreeMap<u32, Candidate>) -> BTreeMap<Key, Spot> {
        let mut groups: BTreeMap<Key, Vec<(u32, &Candidate)>> = BTreeMap::new();
        for (pid, candidate) in candidates {
            groups.entry((candidate.namespace, candidate.found.port)).or_default().push((*pid, candidate));
        }
        groups.into_iter().filter_map(|(key, group)| Some((key, self.spot(key, &group)?))).collect()
    }

    fn spot(&mut self, (namespace, port): Key, group: &[(u32, &Candidate)]) -> Option<Spot> {
        let own = self.is_own(namespace);
        let eldest = group.iter().min_by_key(|(pid, candidate)| (candidate.started, *pid)).map(|(pid, _)| *pid)?;
        let table = self.tables.entry(namespace).or_insert_with(|| match own {
            // A process may leave its namespace at any time: what is here is not for it to say.
            true => Table::read(std::iter::once(PathBuf::from("/proc/self/net")), own),
            false => Table::read(group.iter().map(|(pid, _)| process::folder(self.proc, *pid).join("net")), own),
        });
        let at = |pid, owns, way| {
            let address = (!own).then(|| table.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED).into());
            Some(Spot { pid, owns, address, way })
        };
        let failed = |why: String| Err((State::Failed, why));
        let found = match &table.listeners {
            Err(why) => return at(eldest, false, failed(why.clone())),
            Ok(all) => all.iter().filter(|listener| listener.address.port() == port).collect::<Vec<_>>(),
        };
        let Some(someone) = found.first().map(|listener| listener.uid) else {
            let default = group.iter().all(|(_, candidate)| !candidate.found.port_given);
            let which = if default { " (the default: its arguments name none)" } else { "" };
            return at(eldest, false, failed(format!("nothing listens on port {port}{which}")));
        };
        // Another user may listen at another address of this host: the host's own come first, then the eldest.
        let listens = |uid: u32| found.iter().any(|listener| listener.uid == uid);
        let those = group.iter().filter(|(_, candidate)| listens(candidate.uid));
        let best = those.min_by_key(|(pid, candidate)| (candidate.owner.is_some(), candidate.started, *pid));
        let Some((pid, candidate)) = best else {
            return at(
                eldest,
                false,
                failed(format!("port {port} is another user's (uid {someone}), so it is not asked")),
            );
        };
        let (pid, uid) = (*pid, candidate.uid);
        if candidate.found.tls {
            return at(pid, true, failed("it speaks TLS: name its https URL in a [[model_server]]".to_owned()));
        }
        let of = |same: bool| found.iter().filter(move |listener| (listener.uid == uid) == same);
        let listening = of(true).map(|listener| listener.address.ip());
        let locals = || self.locals.get_or_init(locals);
        let two = |other: u32| {
            failed(format!("two users listen on port {port} (uids {uid} and {other}), so it is not asked"))
        };
        let way = match (own, of(false).next()) {
            (true, None) => inside(listening, port, locals),
            (true, Some(other)) => inside(listening, port, locals).and_then(|way| {
                // Where the other user does not listen, too.
                let Way::Own(mut at) = way else { return Ok(way) };
                at.retain(|at| !of(false).any(|other| covers(other.address.ip(), at.ip())));
                if at.is_empty() { two(other.uid) } else { Ok(Way::Own(at)) }
            }),
            (false, Some(other)) => two(other.uid),
            (false, None) => {
                let net = process::folder(self.proc, pid).join("net");
                let routes = self.routes.get_or_init(routes);
                outside(listening.collect(), port, &table.addresses, routes, locals).map(|at| Way::Container(at, net))
            }
        };
        at(pid, true, way)
    }
}

/// Whether who listens at one address gets what is sent to another.
fn covers(listens: IpAddr, at: IpAddr) -> bool {
    listens == at || listens.is_unspecified() && (listens.is_ipv6() || at.is_ipv4())
}

impl Table {
    /// By one of these folders `net`: a process that ends has none any more.
    fn read(nets: impl Iterator<Item = PathBuf>, own: bool) -> Table {
        let mut table = Table { listeners: Err("its sockets cannot be listed".to_owned()), addresses: Vec::new() };
        for net in nets {
            let read = listeners(&net);
            let gone = read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            table.listeners = read.map_err(|error| format!("its sockets cannot be listed: {error}"));
            if !gone {
                table.addresses = if own { Vec::new() } else { addresses(&net).unwrap_or_default() };
                break;
            }
        }
        table
    }
}

/// The routes of this process's own namespace.
fn routes() -> Result<Routes, String> {
    let read = Routes::read(Path::new("/proc/self/net"), Path::new("/sys/class/net"));
    read.map_err(|error| format!("the routes of this host cannot be read: {error}"))
}

/// Where this process's own namespace is asked. Anybody may listen at an address that is none of this host's.
fn inside<'a>(
    listening: impl Iterator<Item = IpAddr>,
    port: u16,
    locals: impl Fn() -> &'a Result<Vec<IpAddr>, String>,
) -> Result<Way, (State, String)> {
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let (mut at, mut unknown) = (Vec::new(), None);
    for address in listening {
        match address {
            IpAddr::V4(any) if any.is_unspecified() => at.push(v4),
            IpAddr::V6(any) if any.is_unspecified() => at.extend([v4, v6]),
            address if address.is_loopback() => at.push(address),
            address => match locals() {
                Ok(all) if all.contains(&address) => at.push(address),
                Ok(_) => {}
                Err(why) => unknown = Some(why),
            },
        }
    }
    at.sort();
    at.dedup();
    match (at.is_empty(), unknown) {
        (true, Some(why)) => Err((State::Unreachable, why.clone())),
        (true, None) => {
            Err((State::Unreachable, format!("port {port} listens at an address that this host does not have")))
        }
        (false, _) => Ok(Way::Own(at.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())),
    }
}

/// Where a container is asked.
fn outside<'a>(
    listening: Vec<IpAddr>,
    port: u16,
    addresses: &[Ipv4Addr],
    routes: &Result<Routes, String>,
    locals: impl Fn() -> &'a Result<Vec<IpAddr>, String>,
) -> Result<Vec<SocketAddr>, (State, String)> {
    let unreachable = |why: String| Err((State::Unreachable, why));
    if listening.iter().all(IpAddr::is_loopback) {
        return unreachable(format!("it listens on the loopback of its container alone, at port {port}"));
    }
    let routes = match routes {
        Ok(routes) => routes,
        Err(why) => return unreachable(why.clone()),
    };
    let locals = match locals() {
        Ok(locals) => locals,
        Err(why) => return unreachable(why.clone()),
    };
    let serves = |address: &&Ipv4Addr| listening.iter().any(|ip| ip.is_unspecified() || *ip == IpAddr::V4(**address));
    let (mut at, mut why) = (Vec::new(), None);
    for address in addresses.iter().filter(serves) {
        // The kernel's local table comes first.
        let shared = locals.contains(&IpAddr::V4(*address));
        let led = match shared {
            true => Err(format!("{address} is an address of this host, too")),
            false => routes.leads_inside(*address),
        };
        match led {
            Ok(()) => at.push(SocketAddr::new(IpAddr::V4(*address), port)),
            Err(reason) => why = Some(reason),
        }
    }
    match at.is_empty() {
        false => Ok(at),
        true => unreachable(why.unwrap_or_else(|| "its container has no IPv4 address at which it listens".to_owned())),
    }
}

/// Those that get a place, best first: who listens before who does not, then the eldest. `taken` are places of others. Returns the rest,
/// too.
pub fn share(
    spots: BTreeMap<Key, Spot>,
    candidates: &BTreeMap<u32, Candidate>,
    taken: usize,
) -> (BTreeMap<Key, Spot>, Vec<Key>) {
    let mut order: Vec<(Key, Spot)> = spots.into_iter().collect();
    let rank = |spot: &Spot| {
        let started = candidates.get(&spot.pid).map(|candidate| candidate.started);
        (matches!(spot.way, Err((State::Failed, _))), started, spot.pid)
    };
    order.sort_by_key(|(_, spot)| rank(spot));
    let mut owners: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut users = 0;
    let (mut placed, mut refused) = (BTreeMap::new(), Vec::new());
    for (key, spot) in order {
        let owner = candidates.get(&spot.pid).and_then(|candidate| candidate.owner.clone());
        let of_owner = owner.map(|owner| owners.entry(owner).or_default());
        let of_users = if of_owner.is_some() { users } else { 0 };
        let full = of_owner.as_ref().is_some_and(|count| **count >= OF_AN_OWNER);
        if full || of_users >= SERVERS - FOR_HOST || taken + placed.len() >= SERVERS {
            refused.push(key);
            continue;
        }
        if let Some(count) = of_owner {
            *count += 1;
            users += 1;
        }
        placed.insert(key, spot);
    }
    (placed, refused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use collector_core::model::{Process, identify};

    use super::*;

    fn candidate(line: &str, started: u64, uid: u32, namespace: u64) -> Candidate {
        let Some(Process::Server(found)) = identify(b"llama-server", line.replace(' ', "\0").as_bytes()) else {
            panic!("{line}")
        };
        Candidate {
            found: Arc::new(found),
            started,
            parent: 1,
            uid,
            owner: (uid != 0).then(|| format!("uid {uid}").into()),
            namespace,
            cgroup: None,
            path: "/a".into(),
        }
    }

    /// Processes of this process's namespace, by number.
    fn spots(candidates: &[(u32, &str, u64, u32)]) -> BTreeMap<Key, Spot> {
        let own = process::namespace(Path::new("/proc/self")).unwrap();
        let all = candidates.iter().map(|(pid, line, started, uid)| (*pid, candidate(line, *started, *uid, own)));
        Places::read(Path::new("/proc")).spots(&all.collect())
    }

    #[test]
    fn a_server_is_the_eldest_process_of_whoever_listens_on_its_port() {
        let uid = rustix::process::geteuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let line = format!("llama-server -m x --port {}", at.port());
        let itself = std::process::id();
        let found = spots(&[(itself, &line, 7, uid), (itself + 1, &line, 9, uid), (itself + 2, &line, 1, uid + 1)]);
        let [spot] = &found.values().collect::<Vec<_>>()[..] else { panic!("{found:?}") };
        assert_eq!((spot.pid, &spot.address, spot.way.clone()), (itself, &None, Ok(Way::Own(vec![at]))));
        // Another user's process says that the port is its own.
        let other = spots(&[(itself, &line, 7, uid + 1)]);
        let Err((State::Failed, why)) = &other.values().next().unwrap().way else { panic!("{other:?}") };
        assert!(why.contains("another user's") && why.contains(&format!("uid {uid}")), "{why}");
        let tls = spots(&[(itself, &format!("{line} --ssl-key-file k"), 7, uid)]);
        assert!(matches!(&tls.values().next().unwrap().way, Err((_, why)) if why.contains("TLS")), "{tls:?}");
        drop(listener);
        let gone = spots(&[(itself, &line, 7, uid)]);
        let Err((State::Failed, why)) = &gone.values().next().unwrap().way else { panic!("{gone:?}") };
        assert_eq!(*why, format!("nothing listens on port {}", at.port()));
    }

    #[test]
    fn who_listens_at_one_address_gets_what_is_sent_there_and_to_all() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let covered = |listens: &str, at: &str| covers(ip(listens), ip(at));
        assert!(covered("127.0.0.1", "127.0.0.1") && covered("0.0.0.0", "127.0.0.1") && covered("::", "127.0.0.1"));
        assert!(!covered("127.0.0.2", "127.0.0.1") && !covered("0.0.0.0", "::1"));
    }

    #[test]
    fn only_this_hosts_addresses_are_asked() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let locals = Ok(vec![ip("10.0.0.1")]);
        let ask = |addresses: &[&str]| inside(addresses.iter().map(|text| ip(text)), 80, || &locals);
        let own =
            |addresses: &[&str]| Ok(Way::Own(addresses.iter().map(|text| SocketAddr::new(ip(text), 80)).collect()));
        assert_eq!(ask(&["0.0.0.0"]), own(&["127.0.0.1"]));
        assert_eq!(ask(&["::"]), own(&["127.0.0.1", "::1"]));
        assert_eq!(ask(&["127.0.0.5", "10.0.0.1", "10.0.0.1"]), own(&["10.0.0.1", "127.0.0.5"]));
        // Anybody can bind an address that is another host's (IP_FREEBIND).
        assert!(matches!(ask(&["10.0.0.2"]), Err((State::Unreachable, _))));
        let routes = || Err("no routes".to_owned());
        let loopback = outside(vec![ip("127.0.0.1"), ip("::1")], 80, &[], &routes(), || &locals);
        assert!(matches!(&loopback, Err((State::Unreachable, why)) if why.contains("loopback")), "{loopback:?}");
        let lost = outside(vec![ip("0.0.0.0")], 80, &[], &routes(), || &locals);
        assert_eq!(lost, Err((State::Unreachable, "no routes".to_owned())));
        let many = Err("too many lines".to_owned());
        let unknown = inside([ip("10.0.0.1")].into_iter(), 80, || &many);
        assert_eq!(unknown, Err((State::Unreachable, "too many lines".to_owned())));
    }

    #[test]
    fn a_user_gets_a_few_places_and_those_who_listen_come_first() {
        let mut candidates = BTreeMap::new();
        let mut spots = BTreeMap::new();
        for number in 0..40_u32 {
            // The last that came are the only ones that listen.
            let way = match number >= 36 {
                true => Ok(Way::Own(Vec::new())),
                false => Err((State::Failed, "nothing listens".to_owned())),
            };
            candidates.insert(number, candidate("llama-server -m x", u64::from(number), 1000, 1));
            spots.insert((1, number as u16), Spot { pid: number, owns: true, address: None, way });
        }
        for number in 1000..1300_u32 {
            candidates.insert(number, candidate("llama-server -m x", u64::from(number), 0, 1));
            let way = Ok(Way::Own(Vec::new()));
            spots.insert((1, number as u16), Spot { pid: number, owns: true, address: None, way });
        }
        let (placed, refused) = share(spots, &candidates, 6);
        assert_eq!((placed.len(), refused.len()), (SERVERS - 6, 340 - (SERVERS - 6)));
        let of_user: Vec<u16> = placed.keys().map(|(_, port)| *port).filter(|port| *port < 40).collect();
        assert_eq!(of_user, [36, 37, 38, 39], "those of root that listen leave no room for others that do not");
        let users = candidates.into_iter().filter(|(pid, _)| *pid < 40).collect();
        let spots = placed.into_iter().chain(refused.into_iter().map(|key| {
            (key, Spot { pid: u32::from(key.1), owns: true, address: None, way: Err((State::Failed, String::new())) })
        }));
        let (placed, _) = share(spots.filter(|((_, port), _)| *port < 40).collect(), &users, 0);
        assert_eq!(placed.len(), OF_AN_OWNER);
    }
}
