//! Who is read every tick: as many workloads as have a place in the view, and of each owner a share of them.

use std::sync::Arc;

use collector_core::identity::Shares;

#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: usize,
    owners: Shares,
}

impl Places {
    pub fn new(most: usize) -> Places {
        Places { most, taken: 0, owners: Shares::default() }
    }

    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Whether there was one, which is taken now.
    pub fn take(&mut self, owner: &Option<Arc<str>>) -> bool {
        let free = self.taken < self.most && self.owners.has_room(owner, self.most);
        if free {
            self.taken += 1;
            self.owners.take(owner);
        }
        free
    }

    pub fn leave(&mut self, owner: &Option<Arc<str>>) {
        self.taken -= 1;
        self.owners.leave(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_leaves_places_to_the_others() {
        let mut places = Places::new(8);
        let user = Some("user-1".into());
        assert_eq!([(); 4].map(|()| places.take(&user)), [true, true, false, false]);
        assert_eq!([(); 7].map(|()| places.take(&None)), [true, true, true, true, true, true, false]);
        places.leave(&None);
        assert!(!places.take(&user), "it has its share");
        places.leave(&user);
        assert!(places.take(&user) && places.taken() == 7);
    }
}
