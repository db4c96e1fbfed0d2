//! Which work is started under a lease, and what the same work needed before. Measures nothing.

use std::borrow::Cow;
use std::sync::Arc;

use crate::learn::{self, Lesson, Run, Work};
use crate::lease::{Kept, Lease};
use crate::need::Need;
use crate::view::View;
use crate::view::lease::Leases;

/// A need with what was learned of the same work, and what to tell about it.
pub(super) fn taught<'a>(
    view: &View,
    uid: u32,
    need: &'a Need,
    work: Option<&Work>,
    gpus: &[String],
) -> (Cow<'a, Need>, Option<Lesson>) {
    let found = work.and_then(|work| Some((view.leases.learned.find(uid, work, model(view, gpus))?, work)));
    match found {
        Some((entry, work)) => {
            let (need, lesson) = learn::taught(need, entry, &work.declared);
            (Cow::Owned(need), Some(lesson))
        }
        None => (Cow::Borrowed(need), None),
    }
}

/// The model of these GPUs, or of all of this host, if they are of one.
pub(super) fn model<'a>(view: &'a View, gpus: &[String]) -> Option<&'a str> {
    let of = |gpu: &&crate::view::gpu::Gpu| gpus.is_empty() || gpus.iter().any(|number| **number == *gpu.device.gpu);
    let mut models = view.gpus.iter().filter(of).map(|gpu| &*gpu.device.model);
    let first = models.next()?;
    models.all(|model| model == first).then_some(first)
}

/// A claim says what is started under it.
pub(super) fn expect(leases: &mut Leases, id: u64, uid: u32, work: Option<&Work>) {
    if let Some(work) = work.filter(|_| leases.limits.learn_ns > 0) {
        leases.runs.insert(id, Run::new(id, uid, work.clone()));
    }
}

/// A lease was granted, or has another owner. All that a young one uses came since.
pub(super) fn begin(leases: &mut Leases, lease: &Lease, young: bool) {
    let now = leases.now;
    if let Some(run) = leases.runs.get_mut(&lease.id) {
        run.begin(now, lease.gpus.clone(), young && lease.gpus.is_empty());
    }
}

pub(super) fn kept(leases: &mut Leases, kept: &Kept) {
    match kept {
        Kept::Learned(entry) => Arc::make_mut(&mut leases.learned).restore((**entry).clone()),
        Kept::Ran { id, executables, names } => {
            if let Some(run) = leases.runs.get_mut(id) {
                run.ran(executables, names);
            }
        }
        Kept::Used { id, used } => {
            if let Some(run) = leases.runs.get_mut(id) {
                run.counted(used.peak, used.pinned);
            }
        }
        _ => {}
    }
}
