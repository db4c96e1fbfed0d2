//! What models were used for since the history on disk had it last: requests and tokens. Bounded, and for each user: whoever runs a server
//! chooses the names of its models.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Models;
use crate::count::grow;
use crate::tier::Rare;
use crate::view::workload::Workloads;

/// At most so many models of all servers are counted at one time, and so many of one server: one that makes names up takes no place from others.
const COUNTED: usize = 4096;
const OF_A_SERVER: usize = 16;
/// A quarter of an hour on disk has at most so many, and so many of one user or of servers that are gone: those with most tokens.
const KEPT: usize = 64;
const OF_A_USER: usize = 8;
/// A longer name is none.
const NAME: usize = 256;

/// Requests and tokens by server and model.
#[derive(Clone, Debug, Default)]
pub struct Usage(BTreeMap<(Arc<str>, Arc<str>), [u64; 2]>);

impl Usage {
    pub(super) fn add(&mut self, server: &Arc<str>, model: &Arc<str>, more: [u64; 2]) {
        if more == [0; 2] || model.is_empty() || model.len() > NAME {
            return;
        }
        let key = (server.clone(), model.clone());
        let has_place = || self.0.len() < COUNTED && self.of(server) < OF_A_SERVER;
        if self.0.contains_key(&key) || has_place() {
            for (sum, more) in self.0.entry(key).or_default().iter_mut().zip(more) {
                grow(sum, more);
            }
        }
    }

    /// How many models of a server are counted.
    fn of(&self, server: &Arc<str>) -> usize {
        let from = (server.clone(), Arc::from(""));
        self.0.range(from..).take_while(|((other, _), _)| other == server).count()
    }

    /// The history on disk has it from now on.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Models {
    /// What the history on disk does not have yet.
    pub(crate) fn uncounted(&self, workloads: &Workloads) -> Vec<(Rare, u64)> {
        let mut all: Vec<_> = self.usage.0.iter().collect();
        all.sort_by_key(|(_, [requests, tokens])| std::cmp::Reverse((*tokens, *requests)));
        let mut of_users: BTreeMap<Option<Arc<str>>, usize> = BTreeMap::new();
        let mut sums: BTreeMap<&Arc<str>, [u64; 2]> = BTreeMap::new();
        for ((server, model), more) in all {
            let workload = self.servers.get(server).and_then(|told| told.workload(workloads));
            // Whose it was is not known any more: they share one place.
            let user = workload.map_or_else(|| Some("".into()), |workload| workload.identity.owner.clone());
            if let Some(user) = user {
                let count = of_users.entry(Some(user)).or_default();
                *count += 1;
                if *count > OF_A_USER {
                    continue;
                }
            }
            if sums.len() < KEPT || sums.contains_key(model) {
                for (sum, more) in sums.entry(model).or_default().iter_mut().zip(more) {
                    grow(sum, *more);
                }
            }
        }
        let counts = sums.into_iter().flat_map(|(model, [requests, tokens])| {
            [(Rare::Requests(model.clone()), requests), (Rare::Tokens(model.clone()), tokens)]
        });
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_makes_names_up_takes_no_place_from_others() {
        let mut usage = Usage::default();
        let [bad, good]: [Arc<str>; 2] = ["bad".into(), "good".into()];
        for number in 0..2 * COUNTED {
            usage.add(&bad, &Arc::from(format!("{number}")), [1, 1]);
        }
        usage.add(&good, &"m".into(), [1, 7]);
        usage.add(&bad, &"0".into(), [1, 1]);
        assert_eq!((usage.0.len(), usage.of(&bad), usage.of(&good)), (OF_A_SERVER + 1, OF_A_SERVER, 1));
        assert_eq!((usage.0[&(good, "m".into())], usage.0[&(bad, "0".into())]), ([1, 7], [2, 2]));
    }
}
