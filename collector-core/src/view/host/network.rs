//! The network: interfaces and RDMA ports of the host, and what workloads send and receive in network namespaces of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Past;
use crate::cgroup::Id;
use crate::stage::Stage;
use crate::statistic::network::Statistic::{ReceiveBytes, Speed, TransmitBytes, Up};
use crate::statistic::network::{Reading, Statistic, TRAFFIC, Traffic, Values};
use crate::view::coverage::Coverage;
use crate::view::workload::Workloads;

/// At most this many interfaces and ports, and namespaces, are kept. More are counted as lost, stage `network`.
const INTERFACES: usize = 256;
const NAMESPACES: usize = 1024;
/// At most this many cgroups of one namespace are kept.
const SHARERS: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// By name.
    pub interfaces: BTreeMap<Arc<str>, Interface>,
    /// By number.
    pub namespaces: BTreeMap<u64, Namespace>,
}

#[derive(Clone, Debug, Default)]
pub struct Interface {
    pub values: Values,
    /// The default route leads through it.
    pub route: bool,
    /// The fastest link that it had since the agent's start, in bits a second.
    pub fastest: Option<u64>,
    past: Past<[Option<u64>; 2]>,
}

/// A network namespace that is not the host's.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    values: Values,
    /// Cgroups with a process in it. Its traffic is counted for the first that belongs to a workload.
    pub cgroups: Vec<Id>,
}

impl Interface {
    /// Bits a second that it received and sent in the last ten seconds or so; `None` if it was not read twice yet.
    pub fn rates(&self) -> [Option<f64>; 2] {
        [0, 1].map(|way| self.past.pace(|bytes: &[Option<u64>; 2]| bytes[way]).map(|bytes| bytes * 8.0))
    }

    /// Bits a second that its link carries in each direction; `None` if that is not known.
    pub fn speed(&self) -> Option<u64> {
        self.values.get(Speed).filter(|speed| *speed > 0)
    }

    /// Those rates as shares (0 to 1) of the link.
    pub fn used(&self) -> [Option<f64>; 2] {
        let speed = self.speed();
        self.rates().map(|rate| Some(rate? / speed? as f64))
    }

    /// The share (0 to 1) of its fastest link that it has now.
    pub fn speed_ratio(&self) -> Option<f64> {
        Some(self.speed()? as f64 / self.fastest? as f64)
    }

    /// Whether it has a link; `None` if that is not known.
    pub fn is_up(&self) -> Option<bool> {
        self.values.get(Up).map(|up| up != 0)
    }

    /// Whether it has no link.
    pub fn is_down(&self) -> bool {
        self.values.get(Up) == Some(0)
    }
}

impl Network {
    /// What the default route leads through.
    pub fn route(&self) -> Option<(&Arc<str>, &Interface)> {
        self.interfaces.iter().find(|(_, interface)| interface.route)
    }

    pub(crate) fn fold(&mut self, time: u64, reading: &Reading, workloads: &mut Workloads, coverage: &mut Coverage) {
        match reading {
            Reading::Interface { device, values: None, .. } => drop(self.interfaces.remove(device)),
            Reading::Interface { device, route, values: Some(values) } => {
                if !self.interfaces.contains_key(device) {
                    if self.interfaces.len() >= INTERFACES {
                        return coverage.lose(Stage::Network, 1);
                    }
                    self.interfaces.insert(device.clone(), Interface::default());
                }
                let Some(interface) = self.interfaces.get_mut(device) else { return };
                interface.values.advance(values);
                interface.route = *route;
                interface.fastest = interface.fastest.max(interface.speed());
                let bytes = [ReceiveBytes, TransmitBytes].map(|statistic| interface.values.get(statistic));
                interface.past.keep(time, bytes);
            }
            Reading::Namespace { namespace, values: None, .. } => drop(self.namespaces.remove(namespace)),
            Reading::Namespace { namespace, cgroups, values: Some(values) } => {
                if !self.namespaces.contains_key(namespace) {
                    if self.namespaces.len() >= NAMESPACES {
                        return coverage.lose(Stage::Network, 1);
                    }
                    self.namespaces.insert(*namespace, Namespace::default());
                }
                let Some(known) = self.namespaces.get_mut(namespace) else { return };
                let kept = &cgroups[..cgroups.len().min(SHARERS)];
                if known.cgroups != kept {
                    known.cgroups = kept.to_vec();
                }
                let grown = growth(&known.values, values);
                known.values = values.clone();
                let owner = known.cgroups.iter().copied().find(|id| workloads.of(*id).is_some());
                if let Some(owner) = owner.filter(|_| grown != Traffic::default()) {
                    let sums = &mut workloads.charge(Some(owner)).network;
                    sums.iter_mut().zip(grown).for_each(|(sum, more)| *sum = sum.saturating_add(more));
                }
            }
        }
    }
}

/// What came since the last reading. A namespace begins with zero, so all that it has when it is first seen counts for it; also what an
/// interface that was moved into it carried before. A number that fell was set back, as when an interface left.
fn growth(before: &Values, now: &Values) -> Traffic {
    TRAFFIC.map(|statistic: Statistic| {
        let (before, now) = (before.get(statistic).unwrap_or(0), now.get(statistic).unwrap_or(0));
        now.saturating_sub(before)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading as Any, Sample};

    const SECOND: u64 = 1_000_000_000;

    fn values(received: u64, sent: u64) -> Values {
        Values::from_iter([(ReceiveBytes, received), (TransmitBytes, sent)])
    }

    #[test]
    fn an_interface_has_rates_and_shares_of_its_link_and_remembers_its_fastest() {
        let mut engine = engine();
        let mut say = |second: u64, sent, speed: Option<u64>| {
            let mut values = values(0, sent);
            values.put(Speed, speed);
            let reading = Reading::Interface { device: "eth0".into(), route: true, values: Some(values) };
            engine.apply(&Sample { time: second * SECOND, reading: Any::Network(reading) });
            engine.view().host.network.interfaces["eth0"].clone()
        };
        assert_eq!(say(100, 0, Some(8000)).rates(), [None, None]);
        let now = say(105, 2500, Some(8000));
        assert_eq!((now.rates(), now.used()), ([Some(0.0), Some(4000.0)], [Some(0.0), Some(0.5)]));
        let slower = say(110, 2500, Some(2000));
        assert_eq!(slower.speed_ratio(), Some(0.25));
        let unknown = say(115, 2500, None);
        assert_eq!((unknown.used(), unknown.speed_ratio()), ([None, None], None), "a speed that is not known is not 0");
    }

    #[test]
    fn the_traffic_of_a_namespace_is_counted_once_for_the_first_known_workload() {
        let mut engine = engine();
        let unknown = Id { hierarchy: ID.hierarchy, id: 99 };
        let mut say = |cgroups: &[Id], values| {
            let reading = Reading::Namespace { namespace: 7, cgroups: cgroups.to_vec(), values };
            engine.apply(&Sample { time: 20, reading: Any::Network(reading) });
            engine.view().workloads.of(ID).unwrap().amounts.network[TransmitBytes as usize]
        };
        assert_eq!(say(&[unknown], Some(values(1, 100))), 0);
        assert_eq!(say(&[unknown, ID], Some(values(1, 150))), 50);
        assert_eq!(say(&[ID], Some(values(1, 20))), 50, "an interface left");
        assert_eq!(say(&[ID], Some(values(1, 25))), 55);
        assert_eq!(say(&[ID], None), 55);
        assert_eq!(say(&[ID], Some(values(1, 5))), 60, "another namespace with the same number");
    }

    #[test]
    fn interfaces_and_namespaces_are_bounded() {
        let mut engine = engine();
        for number in 0..INTERFACES.max(NAMESPACES) as u64 + 3 {
            let device = format!("eth{number}").into();
            let interface = Reading::Interface { device, route: false, values: Some(Values::new()) };
            let namespace =
                Reading::Namespace { namespace: number, cgroups: vec![ID; 99], values: Some(Values::new()) };
            for reading in [interface, namespace] {
                engine.apply(&Sample { time: 20, reading: Any::Network(reading) });
            }
        }
        let network = &engine.view().host.network;
        assert_eq!((network.interfaces.len(), network.namespaces.len()), (INTERFACES, NAMESPACES));
        assert_eq!(network.namespaces[&1].cgroups.len(), SHARERS);
        let lost = (NAMESPACES + 3 - INTERFACES) + 3;
        assert_eq!(engine.view().coverage.lost(Stage::Network), lost as u64);
    }
}
