//! What the owner of a lease has of each GPU, by the driver's word. Knows nothing of when leases begin and end.

use std::collections::BTreeMap;

use crate::cgroup::contains;
use crate::lease::{Lease, Owner};
use crate::statistic::gpu::Holder;
use crate::view::View;

/// The memory of each of a lease's GPUs that an owner with these processes has.
pub(super) fn vram(view: &View, lease: &Lease, owner: &Owner, pids: &[u32]) -> BTreeMap<String, u64> {
    let owned = |holder: &Holder| match owner {
        Owner::Process { .. } => pids.contains(&holder.pid),
        Owner::Cgroup { path } => is_in(view, holder, path),
    };
    let gpus = view.gpus.iter().filter(|gpu| lease.gpus.iter().any(|number| **number == *gpu.device.gpu));
    let sum = |holders: &[Holder]| {
        let bytes = holders.iter().filter(|holder| owned(holder)).filter_map(|holder| holder.bytes);
        bytes.fold(0_u64, u64::saturating_add)
    };
    gpus.map(|gpu| (gpu.device.gpu.to_string(), sum(gpu.processes()))).collect()
}

/// Whether the process is in this cgroup or below it.
pub(super) fn is_in(view: &View, holder: &Holder, path: &str) -> bool {
    holder.cgroup.and_then(|id| view.workloads.path(id)).is_some_and(|at| contains(path, at))
}
