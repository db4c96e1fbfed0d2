//! block: IO of devices and of workloads, and single IOs that were slow or failed.

use super::{State, named};
use crate::count::{grow, grow_histogram};
use crate::outcome::Outcome;
use crate::signal::block::{OnDevice, Reading};
use crate::stage::Stage;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Device { device, operation, queue, service, bytes, errors, untimed } => {
            match view.host.device_io(*device, *operation, time) {
                Some(amounts) => {
                    grow_histogram(&mut amounts.queue, queue);
                    grow_histogram(&mut amounts.service, service);
                    grow(&mut amounts.bytes, *bytes);
                    grow(&mut amounts.errors, *errors);
                    grow(&mut amounts.untimed, *untimed);
                }
                None => view.coverage.lose(Stage::Device, 1),
            }
            None
        }
        Reading::Name { device, name } => {
            if view.host.name_device(*device, name).is_none() {
                view.coverage.lose(Stage::Device, 1);
            }
            None
        }
        Reading::Workload { cgroup, operation, ios, bytes, ns } => {
            let amounts = &mut view.workloads.charge(*cgroup).block[*operation as usize];
            grow(&mut amounts.ios, *ios);
            grow(&mut amounts.bytes, *bytes);
            grow(&mut amounts.ns, *ns);
            None
        }
        Reading::Io(io) => {
            let device = match view.host.devices.get(&io.device) {
                Some(device) => device.name.clone(),
                None => io.device.to_string().into(),
            };
            let named = Box::new(named(view, time, io.cgroup, OnDevice { device, io: io.clone() }));
            Some(if io.status == 0 { Outcome::SlowIo(named) } else { Outcome::FailedIo(named) })
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_common::block;
    use collector_common::ring::{Header, Kind};
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID, engine};
    use crate::sample::{self, Sample};
    use crate::signal::block::Device;

    const NVME: Device = Device { major: 259, minor: 3 };

    #[test]
    fn an_io_is_slow_or_failed_and_names_its_device() {
        let mut engine = engine();
        let name = Reading::Name { device: NVME, name: "nvme0n1".into() };
        engine.apply(&Sample { time: 1, reading: sample::Reading::Block(name) });
        let mut record = block::Io::new_zeroed();
        record.header = Header::new(Kind::BlockIo, 5);
        record.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        record.device.device = NVME.major << 20 | NVME.minor;
        let outcomes = engine.apply(&decode_record(record.as_bytes(), &CONTEXT).unwrap());
        let [Outcome::SlowIo(io)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((&*io.fact.device, io.workload.as_deref()), ("nvme0n1", Some("/a")));

        record.status = -5;
        record.device.device = 8 << 20;
        record.cgroup = Default::default();
        let outcomes = engine.apply(&decode_record(record.as_bytes(), &CONTEXT).unwrap());
        let [Outcome::FailedIo(io)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((&*io.fact.device, io.workload.as_deref()), ("8:0", None));

        record.device.operation = 5;
        assert_eq!(decode_record(record.as_bytes(), &CONTEXT).unwrap_err().why, "no such operation");
    }
}
