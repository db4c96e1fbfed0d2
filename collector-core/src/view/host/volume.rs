//! Volumes in memory (tmpfs) that containers and pods write to: `/dev/shm`, and emptyDirs of medium Memory.

use std::sync::Arc;

use super::Host;
use crate::cgroup::Id;
use crate::identity::Kind;
use crate::stage::Stage;
use crate::statistic::filesystem::{Owner, Reading, State, Statistic, Values};
use crate::statistic::workload::Statistic::{MemoryShmem, MemorySwap};
use crate::view::coverage::Coverage;
use crate::view::workload::{Workload, Workloads};

/// At most this many volumes are kept. More are counted as lost, stage `filesystem`.
const VOLUMES: usize = 2048;

/// A volume, by the name of its workload and its own.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Namespace, pod and container of the workload; empty where it has none.
    pub labels: [Arc<str>; 3],
    pub mountpoint: Arc<str>,
    /// `None` if it did not answer. Only its size is known if the agent may not look into the workload's mount namespace.
    pub values: Option<Values>,
    /// The cgroup whose processes alone see it.
    pub cgroup: Option<Id>,
}

impl Volume {
    /// Share (0 to 1) of a volume that only its workload sees that can be used at most: all shared memory and tmpfs charged to the
    /// workload, and all that it has in swap, could be there. `None` if how much is used is known, or if all that would not fit: then
    /// it tells nothing.
    pub fn most_used(&self, workloads: &Workloads) -> Option<f64> {
        let values = self.values.as_ref().filter(|values| values.get(Statistic::Free).is_none())?;
        let (size, workload) = (values.get(Statistic::Size)?, workloads.of(self.cgroup?)?);
        let get = |statistic| workload.statistics.get(statistic);
        let most = get(MemoryShmem)?.saturating_add(get(MemorySwap).unwrap_or(0));
        (most <= size && size > 0).then(|| most as f64 / size as f64)
    }
}

impl Host {
    /// Names are those of the workload now: they may be known only some time after the mount.
    pub(crate) fn volume(&mut self, reading: &Reading, owner: &Owner, workloads: &Workloads, coverage: &mut Coverage) {
        let mountpoint = &reading.mountpoint;
        let values = match &reading.state {
            State::Read(values) => Some(values.clone()),
            State::Refused | State::Hung => None,
            State::Gone => return self.volumes.retain(|_, volume| volume.mountpoint != *mountpoint),
        };
        let holder = holder(owner, workloads);
        let key = (holder.map_or(&owner.name, |workload| &workload.name).clone(), owner.volume.clone());
        if let Some(volume) = self.volumes.get_mut(&key)
            && volume.mountpoint == *mountpoint
        {
            volume.values = values;
            return;
        }
        self.volumes.retain(|_, volume| volume.mountpoint != *mountpoint);
        if self.volumes.len() >= VOLUMES {
            return coverage.lose(Stage::Filesystem, 1);
        }
        let [_, labels @ ..] = holder.map(Workload::labels).unwrap_or_default();
        let (labels, mountpoint, cgroup) = (labels.map(Arc::from), mountpoint.clone(), owner.cgroup);
        self.volumes.insert(key, Volume { labels, mountpoint, values, cgroup });
    }
}

/// The workload of a volume. What is mounted for a container of a pod is shared by all its containers.
fn holder<'a>(owner: &Owner, workloads: &'a Workloads) -> Option<&'a Workload> {
    let Owner { container_id, pod_uid, .. } = owner;
    if let Some(id) = owner.cgroup {
        return workloads.of(id);
    }
    let by_id = |it: &&Workload| container_id.is_some() && it.identity.container_id == *container_id;
    // Others can make a cgroup with the same id.
    let container = workloads.iter().filter(by_id).min_by_key(|it| it.identity.owner.is_some());
    let uid = container.and_then(|it| it.identity.pod_uid.as_ref()).or(pod_uid.as_ref());
    let pod = uid.and_then(|uid| {
        workloads.iter().find(|it| it.identity.kind == Kind::Pod && it.identity.pod_uid.as_ref() == Some(uid))
    });
    pod.or(container)
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::identity::Names;
    use crate::sample::{self, Name, Sample, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::filesystem::{Owner, Reading, State, Statistic, Values};
    use crate::statistic::workload::Statistic as Memory;

    const POD: &str = "/kubepods/burstable/pod6f0f2b3c-8c1d-4e2a-9f6b-0123456789ab";

    fn apply(engine: &mut Engine, reading: sample::Reading) {
        engine.apply(&Sample { time: 100, reading });
    }

    fn mount(engine: &mut Engine, digit: char, state: State) -> Vec<(String, [String; 3], bool)> {
        mount_below(engine, "/var/lib/docker", digit, state)
    }

    fn mount_below(engine: &mut Engine, folder: &str, digit: char, state: State) -> Vec<(String, [String; 3], bool)> {
        let id = digit.to_string().repeat(64);
        let owner = Owner {
            name: format!("docker/{}", &id[..12]).into(),
            container_id: Some(id.as_str().into()),
            pod_uid: None,
            cgroup: None,
            volume: "/dev/shm".into(),
        };
        let mountpoint = format!("{folder}/containers/{id}/mounts/shm");
        let (device, fstype) = ("shm".into(), "tmpfs".into());
        let reading = Reading { mountpoint: mountpoint.into(), device, fstype, owner: Some(owner), state };
        apply(engine, sample::Reading::Filesystem(reading));
        let volumes = engine.view().host.volumes.iter();
        let shown = volumes.map(|((workload, _), volume)| {
            (workload.to_string(), volume.labels.clone().map(|label| label.to_string()), volume.values.is_some())
        });
        shown.collect()
    }

    fn full() -> State {
        State::Read(Values::from_iter([(Statistic::Size, 4), (Statistic::Free, 0), (Statistic::Available, 0)]))
    }

    #[test]
    fn a_volume_has_the_name_of_its_container_as_soon_as_that_is_known() {
        let mut engine = Engine::new();
        apply(&mut engine, sample::Reading::Start(sample::Start { workload_max: 10, ..start() }));
        let nothing = [(); 3].map(|()| String::new());
        assert_eq!(mount(&mut engine, 'a', full()), [("docker/aaaaaaaaaaaa".to_owned(), nothing.clone(), true)]);
        let id = Id { id: 90, ..ID };
        let path = format!("/docker/{}", "a".repeat(64));
        apply(&mut engine, sample::Reading::Cgroup(cgroup::Reading::Born { id, path }));
        let names = Names { name: Some("llm".into()), ..Names::default() };
        apply(&mut engine, sample::Reading::Name(Name { cgroup: id, names }));
        assert_eq!(mount(&mut engine, 'a', State::Hung), [("docker/llm".to_owned(), nothing, false)]);
        assert_eq!(mount(&mut engine, 'a', State::Gone), []);
        assert!(engine.view().host.filesystems.is_empty());
    }

    #[test]
    fn where_only_the_size_is_known_the_most_that_can_be_used_follows_from_the_workloads_memory() {
        let mut engine = Engine::new();
        apply(&mut engine, sample::Reading::Start(sample::Start { workload_max: 10, ..start() }));
        let id = Id { id: 90, ..ID };
        apply(&mut engine, sample::Reading::Cgroup(cgroup::Reading::Born { id, path: "/lxc.payload.web".into() }));
        let mut most = |values: Values, shmem: u64, swap: u64| {
            let memory = [(Memory::MemoryShmem, shmem), (Memory::MemorySwap, swap)].into_iter().collect();
            apply(&mut engine, sample::Reading::Statistics(Statistics { cgroup: id, values: memory, turn: true }));
            let (name, cgroup, volume) = ("lxc/web".into(), Some(id), "/dev/shm".into());
            let owner = Owner { name, container_id: None, pod_uid: None, cgroup, volume };
            let (mountpoint, device, fstype) = ("/dev/shm in /lxc.payload.web".into(), "shm".into(), "tmpfs".into());
            let state = State::Read(values);
            apply(
                &mut engine,
                sample::Reading::Filesystem(Reading { mountpoint, device, fstype, owner: Some(owner), state }),
            );
            let view = engine.view();
            view.host.volumes[&("lxc/web".into(), "/dev/shm".into())].most_used(&view.workloads)
        };
        let size = || Values::from_iter([(Statistic::Size, 100)]);
        assert_eq!(
            [most(size(), 60, 0), most(size(), 60, 30)],
            [Some(0.6), Some(0.9)],
            "swapped out it is no shared memory"
        );
        assert_eq!(most(size(), 80, 30), None, "some of it is elsewhere");
        assert_eq!(most(size(), 0, 0), Some(0.0));
        assert_eq!(most(Values::from_iter([(Statistic::Size, 100), (Statistic::Free, 1)]), 60, 0), None, "it is read");
    }

    #[test]
    fn a_volume_that_is_mounted_elsewhere_now_is_not_gone_with_the_old_mount() {
        let mut engine = Engine::new();
        apply(&mut engine, sample::Reading::Start(start()));
        mount(&mut engine, 'a', full());
        assert_eq!(mount_below(&mut engine, "/mnt/docker", 'a', full()).len(), 1);
        assert_eq!(mount(&mut engine, 'a', State::Gone).len(), 1);
        assert_eq!(mount_below(&mut engine, "/mnt/docker", 'a', State::Gone), []);
    }

    #[test]
    fn what_a_pods_sandbox_has_is_the_pods() {
        let mut engine = Engine::new();
        apply(&mut engine, sample::Reading::Start(sample::Start { workload_max: 10, ..start() }));
        for (number, path) in [(90, POD.to_owned()), (91, format!("{POD}/{}", "b".repeat(64)))] {
            let id = Id { id: number, ..ID };
            apply(&mut engine, sample::Reading::Cgroup(cgroup::Reading::Born { id, path }));
            let names = Names { namespace: Some("n".into()), pod: Some("p".into()), ..Names::default() };
            apply(&mut engine, sample::Reading::Name(Name { cgroup: id, names }));
        }
        let labels = ["n", "p", ""].map(str::to_owned);
        assert_eq!(mount(&mut engine, 'b', full()), [("n/p".to_owned(), labels, true)]);
    }
}
