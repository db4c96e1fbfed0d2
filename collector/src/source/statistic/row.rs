//! Runs the pass over all cgroups, and finds whose its rows are.

use collector_core::cgroup::Id;

use super::file::File;
use super::given::Given;
use crate::source::kernel::pass::{Pass, Row};

/// The rows of the last pass.
#[derive(Debug, Default)]
pub struct Rows {
    pass: Option<Pass>,
    /// Ids in the order of the last pass, each with the index of its workload: the order seldom changes.
    order: Vec<(u64, Option<usize>)>,
    /// The place of each workload's row.
    places: Vec<Option<usize>>,
    /// Passes that failed since the last one that did not.
    failures: u32,
}

/// So many failures in a row, and the pass is given up: it may fail for a while for want of memory or descriptors.
const FAILURES: u32 = 60;

impl Rows {
    pub fn new(pass: Option<Pass>) -> Rows {
        Rows { pass, ..Rows::default() }
    }

    /// What a pass gives of a file, if it gives all of it.
    pub fn given(&self, file: &File) -> Option<&'static Given> {
        Given::of(file, self.pass.as_ref()?)
    }

    /// Workloads have come or gone.
    pub fn forget(&mut self) {
        self.order.clear();
    }

    /// Runs the pass; `index` knows the workloads. Without rows, files are read. `false` if there will be none any more.
    pub fn run(&mut self, hierarchy: u64, workloads: usize, index: impl Fn(Id) -> Option<usize>) -> bool {
        let Rows { pass: Some(pass), order, places, failures } = self else { return true };
        places.clear();
        places.resize(workloads, None);
        if let Err(error) = pass.run() {
            *failures += 1;
            if *failures == 1 {
                tracing::warn!("the numbers of cgroups come from their files while this lasts: {error:#}");
            }
            if *failures >= FAILURES {
                self.pass = None;
            }
            return self.pass.is_some();
        }
        *failures = 0;
        for (at, (place, id)) in pass.ids().enumerate() {
            let known = order.get(at).filter(|(other, _)| *other == id).copied();
            let (_, workload) = known.unwrap_or_else(|| (id, index(Id { hierarchy, id })));
            match order.get_mut(at) {
                Some(before) => *before = (id, workload),
                None => order.push((id, workload)),
            }
            if let Some(slot) = workload.and_then(|workload| places.get_mut(workload)) {
                *slot = Some(place);
            }
        }
        true
    }

    /// Number of workloads with a row.
    pub fn count(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// The row of a workload, if the last pass found it.
    pub fn of(&self, workload: usize) -> Option<Row> {
        self.pass.as_ref()?.row((*self.places.get(workload)?)?)
    }
}
