//! What the history on disk keeps of filesystems and CPUs, for forecasts: how full they are, and how many there are.

use super::Host;
use crate::statistic::filesystem::Statistic::{Available, Size};
use crate::statistic::host::Statistic::Cpus;
use crate::tier::Rare;

/// At most so many filesystems are kept, the largest.
const FILESYSTEMS: usize = 16;

impl Host {
    /// How full each filesystem is, and how many CPUs there are.
    pub(crate) fn room(&self) -> impl Iterator<Item = (Rare, u64)> {
        let mut all: Vec<_> = self
            .filesystems
            .iter()
            .filter_map(|(mount, filesystem)| {
                let values = filesystem.values.as_ref()?;
                let (size, available) = (values.get(Size)?, values.get(Available)?);
                (size > 0).then_some((mount, size, size.saturating_sub(available)))
            })
            .collect();
        all.sort_by_key(|(_, size, _)| std::cmp::Reverse(*size));
        all.truncate(FILESYSTEMS);
        let disks = all
            .into_iter()
            .flat_map(|(mount, size, used)| [(Rare::Disk(mount.clone()), used), (Rare::DiskSize(mount.clone()), size)]);
        let cpus = self.statistics.get(Cpus).map(|cpus| (Rare::Cpus, cpus));
        disks.chain(cpus)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine;
    use crate::engine::test::start;
    use crate::sample::{Reading, Sample};
    use crate::statistic::filesystem::{self, State, Statistic, Values};
    use crate::statistic::host;
    use crate::tier::Rare;

    #[test]
    fn what_programs_cannot_have_any_more_is_used_and_the_largest_are_kept() {
        let mut engine = Engine::new();
        let mut apply = |reading| drop(engine.apply(&Sample { time: 100, reading }));
        apply(Reading::Start(start()));
        apply(Reading::Host(host::Values::from_iter([(host::Statistic::Cpus, 8)])));
        for number in 0..20_u64 {
            let values = [(Statistic::Size, 100 + number), (Statistic::Free, 50), (Statistic::Available, 40)];
            apply(Reading::Filesystem(filesystem::Reading {
                mountpoint: format!("/disk{number}").into(),
                device: "sda".into(),
                fstype: "ext4".into(),
                owner: None,
                state: State::Read(Values::from_iter(values)),
            }));
        }
        let counts: Vec<_> = engine.view().host.room().collect();
        assert_eq!(counts.len(), 2 * 16 + 1);
        assert_eq!(counts[..2], [(Rare::Disk("/disk19".into()), 79), (Rare::DiskSize("/disk19".into()), 119)]);
        assert_eq!(counts[32], (Rare::Cpus, 8));
    }
}
