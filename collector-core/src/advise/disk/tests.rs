//! Weights that do nothing.

use super::*;
use crate::advise::stage::{BEGAN, DAY as DAY_OF, Host};
use crate::incident::{Cause, Incident, Kind, Neighbour, Slow};
use crate::sample::Reading;
use crate::signal::block;
use crate::statistic::disk;

/// What a workload did to another through the disk, so many times.
pub(in crate::advise) fn floods(times: u64) -> Vec<Incident> {
    let incident = |number: u64| {
        let mut incident = Incident::new(Kind::Latency, format!("{number:04}"), BEGAN - number * DAY_OF / 2);
        let sentence =
            "backup.service floods the disk that vllm.service needs: it reads and writes 477 MiB/s".to_owned();
        incident.cause = Cause { rule: "io_by_neighbour".to_owned(), sentence, ..Cause::default() };
        let io =
            Neighbour { workload: "backup.service".to_owned(), io_bytes_per_second: Some(5e8), ..Neighbour::default() };
        let (workload, disk) = (Some("vllm.service".to_owned()), Some("vda".to_owned()));
        incident.evidence.slow = Some(Slow { workload, disk, neighbours: vec![io], ..Slow::default() });
        incident
    };
    (0..times).map(incident).collect()
}

/// A host with a disk on which weights act, or do not, or nobody knows.
pub(in crate::advise) fn weighing(weighs: Option<u64>) -> Host {
    let mut host = Host::new(&["/system.slice/backup.service", "/system.slice/vllm.service"]);
    let device = block::Device { major: 254, minor: 0 };
    host.apply(1, Reading::Block(block::Reading::Name { device, name: "vda".into() }));
    let values = [(disk::Statistic::Busy, 1)].into_iter().chain(weighs.map(|weighs| (disk::Statistic::Weighs, weighs)));
    host.apply(1, Reading::Disk(disk::Reading { device: "vda".into(), values: Some(values.collect()) }));
    host
}

#[test]
fn weights_that_would_have_helped_are_made_to_act() {
    let mut host = weighing(Some(0));
    assert!(host.judge(&RULES[0]).advice.is_empty(), "nobody waited");
    host.remember(&floods(2));
    let judged = host.judge(&RULES[0]);
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.id, "io_weight_inert:vda");
    let texts: Vec<_> = advice.actions[0].commands.iter().map(|command| &*command.text).collect();
    assert_eq!(
        texts,
        [
            "modprobe bfq && echo bfq > /sys/block/vda/queue/scheduler",
            "ACTION==\"add|change\", KERNEL==\"vda\", ATTR{queue/scheduler}=\"bfq\"\n",
            "echo \"254:0 enable=1 ctrl=auto\" > /sys/fs/cgroup/io.cost.qos",
        ]
    );
}

#[test]
fn weights_that_act_are_left_alone_and_an_unknown_scheduler_is_said() {
    let mut host = weighing(Some(1));
    host.remember(&floods(2));
    let judged = host.judge(&RULES[0]);
    assert!(judged.advice.is_empty() && judged.lacking.is_empty());
    let mut host = weighing(None);
    host.remember(&floods(2));
    let judged = host.judge(&RULES[0]);
    assert!(judged.advice.is_empty() && judged.lacking[0].missing.starts_with("the scheduler"), "{judged:?}");
    // Too long ago.
    let mut host = weighing(Some(0));
    let mut old = floods(2);
    old.iter_mut().for_each(|incident| incident.time -= 8 * DAY_OF);
    host.remember(&old);
    assert!(host.judge(&RULES[0]).advice.is_empty());
}
