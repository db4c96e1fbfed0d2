//! How many places of a table the cgroups of each owner take: a quarter of all at most, because an owner decides how many cgroups
//! there are. The host's own have no bound.

use std::collections::HashMap;
use std::sync::Arc;

/// One owner gets one of this many parts.
const SHARE: usize = 4;

type Owner = Option<Arc<str>>;

#[derive(Clone, Debug, Default)]
pub struct Shares(HashMap<Arc<str>, usize>);

impl Shares {
    /// Whether another cgroup of this owner may take one of the places.
    pub fn has_room(&self, owner: &Owner, places: usize) -> bool {
        let taken = owner.as_ref().and_then(|owner| self.0.get(owner));
        taken.is_none_or(|taken| *taken < (places / SHARE).max(1))
    }

    /// Whether any owner has its share.
    pub fn any_is_full(&self, places: usize) -> bool {
        self.0.values().any(|taken| *taken >= (places / SHARE).max(1))
    }

    /// The owner below whom a name is: all names of an owner's begin with the owner.
    pub fn of_name(&self, name: &str) -> Option<&str> {
        let is_below = |owner: &&Arc<str>| name.strip_prefix(&***owner).is_some_and(|rest| rest.starts_with('/'));
        self.0.keys().find(is_below).map(|owner| &**owner)
    }

    pub fn take(&mut self, owner: &Owner) {
        if let Some(owner) = owner {
            *self.0.entry(owner.clone()).or_default() += 1;
        }
    }

    pub fn leave(&mut self, owner: &Owner) {
        if let Some(owner) = owner
            && let Some(taken) = self.0.get_mut(owner)
        {
            *taken -= 1;
            if *taken == 0 {
                self.0.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_gets_a_quarter_and_the_host_all() {
        let mut shares = Shares::default();
        let [one, other, host] = [Some("user-1".into()), Some("user-2".into()), None];
        for _ in 0..3 {
            assert!(shares.has_room(&one, 12) && !shares.any_is_full(12));
            shares.take(&one);
            shares.take(&host);
        }
        assert!(!shares.has_room(&one, 12) && shares.has_room(&other, 12) && shares.has_room(&host, 12));
        assert!(shares.any_is_full(12));
        shares.leave(&host);
        shares.leave(&one);
        assert!(shares.has_room(&one, 12));
        (0..2).for_each(|_| shares.leave(&one));
        assert!(shares.0.is_empty(), "nothing is kept of an owner without cgroups");
    }
}
