//! How much of what servers answer is held at once: a bound for each answer, for each owner of servers, and for all. Used by one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of one answer, of the answers of one owner, and of all.
pub const ANSWER: usize = 4 << 20;
const OWNER: usize = 8 << 20;
const ALL: usize = 24 << 20;

type Owner = Option<Arc<str>>;

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    owners: BTreeMap<Arc<str>, usize>,
}

/// For the answers of one owner.
#[derive(Clone, Debug, Default)]
pub struct Room {
    taken: Rc<RefCell<Taken>>,
    owner: Owner,
}

/// What one answer takes, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    room: Room,
    bytes: usize,
}

impl Room {
    /// For the answers of another owner, in the same room.
    pub fn of(&self, owner: &Owner) -> Room {
        Room { taken: self.taken.clone(), owner: owner.clone() }
    }

    pub fn hold(&self) -> Hold {
        Hold { room: self.clone(), bytes: 0 }
    }
}

impl Hold {
    /// # Errors
    /// Why there is no room for so many bytes more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), String> {
        let mut taken = self.room.taken.borrow_mut();
        let of_owner = self.room.owner.as_ref().map_or(0, |owner| taken.owners.get(owner).copied().unwrap_or(0));
        if self.bytes.saturating_add(bytes) > ANSWER {
            return Err(format!("its answer has more than {} MiB", ANSWER >> 20));
        }
        // Users leave some to the host's own.
        let all = if self.room.owner.is_some() { ALL - OWNER } else { ALL };
        if of_owner + bytes > OWNER || taken.all + bytes > all {
            return Err("the answers of other servers take all the room that there is".to_owned());
        }
        self.bytes += bytes;
        taken.all += bytes;
        if let Some(owner) = &self.room.owner {
            *taken.owners.entry(owner.clone()).or_default() += bytes;
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut taken = self.room.taken.borrow_mut();
        taken.all -= self.bytes;
        if let Some(owner) = &self.room.owner
            && let Some(of_owner) = taken.owners.get_mut(owner)
        {
            *of_owner -= self.bytes;
            if *of_owner == 0 {
                taken.owners.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_an_owner_and_all_have_a_bound_and_give_back_what_they_took() {
        let all = Room::default();
        let (one, other) = (all.of(&Some("uid 1".into())), all.of(&Some("uid 2".into())));
        let full = |room: &Room| {
            let mut hold = room.hold();
            hold.grow(ANSWER).map(|()| hold)
        };
        let mut first = full(&one).unwrap();
        assert!(first.grow(1).unwrap_err().contains("more than 4 MiB"));
        let second = full(&one).unwrap();
        assert!(full(&one).unwrap_err().contains("all the room"));
        let held: Vec<Hold> = (0..4).map(|index| full(if index < 2 { &other } else { &all }).unwrap()).collect();
        assert!(full(&all).is_err(), "all of them are bounded");
        drop((first, second, held));
        let taken = all.taken.borrow();
        assert!(taken.all == 0 && taken.owners.is_empty());
    }
}
