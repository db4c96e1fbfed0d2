//! Which work is started under a lease, and what the same work needed before. Measures nothing.

use std::borrow::Cow;
use std::sync::Arc;

use super::card;
use crate::learn::{self, Lesson, Run, Work};
use crate::lease::{Kept, Lease};
use crate::need::Need;
use crate::view::View;
use crate::view::lease::Leases;

/// What an owner may have before its work begins, such as a shell, in bytes.
const SMALL: u64 = 32 << 20;

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
pub(super) fn begin(view: &mut View, lease: &Lease, young: bool) {
    if !view.leases.runs.contains_key(&lease.id) {
        return;
    }
    // Whoever has nothing of any GPU yet has all of it from now on.
    let gpus = view.gpus.iter().map(|gpu| gpu.device.gpu.to_string()).collect();
    let whole = Lease { gpus, ..lease.clone() };
    let has_none = || card::vram(view, &whole, &lease.owner, &lease.pids).values().all(|bytes| *bytes == 0);
    let any = lease.gpus.is_empty() && (young || has_none());
    let now = view.leases.now;
    if let Some(run) = view.leases.runs.get_mut(&lease.id) {
        run.begin(now, lease.gpus.clone(), any);
        if lease.base.hard > SMALL || lease.base.vram.values().any(|bytes| *bytes > 0) {
            run.had_more();
        }
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
