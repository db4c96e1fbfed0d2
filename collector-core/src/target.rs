//! The workload that a change is about, from the view: who owns it, and what is set now.

use crate::action::{Above, Known, Owner, Target};
use crate::identity::{Identity, Kind, Names};
use crate::statistic::contention;
use crate::statistic::workload::Statistic;
use crate::view::View;

/// A workload by its name. `None` for what is no workload of its own, and for what is gone.
pub fn of(view: &View, name: &str) -> Option<Target> {
    let workload = view.workloads.find(name).filter(|workload| workload.is_alive())?;
    if matches!(workload.identity.kind, Kind::Other | Kind::Root) {
        return None;
    }
    let get = |statistic| workload.statistics.get(statistic);
    // In force: its own, or a lower one above it. One that is only above it is not its own.
    let own = workload.statistics.was_used(Statistic::CpuPeriods);
    let quota = view.slow.close(name).filter(|_| own).and_then(|values| values.get(contention::Statistic::CpuQuota));
    let known = Known {
        limits: get(Statistic::MemoryCurrent).is_some(),
        memory_max: get(Statistic::MemoryLimit),
        memory_high: get(Statistic::MemoryHigh),
        memory_low: get(Statistic::MemoryLow),
        memory_min: get(Statistic::MemoryMin),
        swap_max: get(Statistic::MemorySwapLimit),
        cpu_max: quota.map(|quota| quota as f64 / 1000.0),
        memory: get(Statistic::MemoryCurrent),
    };
    Some(Target {
        name: workload.name.clone(),
        owner: Owner::of(&workload.identity, &workload.names),
        path: workload.identity.top.clone(),
        unified: view.workloads.memory_hierarchy() == 0,
        known,
        above: above(view, &workload.identity.top),
    })
}

/// The cgroups above a path, the outermost first, without the root.
fn above(view: &View, path: &str) -> Vec<Above> {
    let above = view.workloads.above(path).skip(1).map(|(path, known)| {
        let known = known.filter(|workload| workload.is_alive());
        let get = |statistic| known.and_then(|known| known.statistics.get(statistic));
        let identity = known.map_or_else(|| Identity::of(path), |known| known.identity.clone());
        Above {
            owner: Owner::of(&identity, &Names::default()),
            path: path.into(),
            memory_low: get(Statistic::MemoryLow),
            memory_min: get(Statistic::MemoryMin),
        }
    });
    let mut above: Vec<Above> = above.collect();
    above.reverse();
    above
}
