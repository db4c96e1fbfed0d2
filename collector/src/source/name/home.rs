//! Finds the names of users' own containers, whose engines keep their books in the homes. A user may write anything there, and a
//! home may be on a server that is gone: a home that does not answer delays no other for longer than the deadline.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::time::Duration;

use collector_core::identity::{Identity, Names};

use super::books::ENGINES;
use super::request::{Found, Missing, Request};
use super::search::Search;
use crate::clock;
use crate::source::passwd::home;
use crate::source::root::Root;
use crate::source::untrusted::patience::Patience;
use crate::source::untrusted::{Owner, Place};

/// How long reading the books of one user may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Limit on logged warnings; each is logged once.
const MAX_WARNINGS: usize = 64;

pub(super) struct Homes {
    root: Root,
    patience: Patience,
    warnings: HashSet<(u32, io::ErrorKind)>,
    /// The users whose homes did not answer when they were last asked.
    hung: BTreeSet<u32>,
    cpu_ns: u64,
}

impl Homes {
    pub fn new(root: &Root) -> Homes {
        Homes {
            root: root.clone(),
            patience: Patience::new("headroom-home", DEADLINE),
            warnings: HashSet::new(),
            hung: BTreeSet::new(),
            cpu_ns: 0,
        }
    }

    /// The names of one user's containers.
    fn of_user(&mut self, uid: u32, requests: &[&Request]) -> Vec<Found> {
        let root = self.root.clone();
        let containers: Vec<Identity> = requests.iter().map(|request| request.identity.clone()).collect();
        let call = move || {
            let started = clock::thread_ns();
            (read(&root, uid, &containers), clock::thread_ns() - started)
        };
        let what = format!("the home of user {uid}");
        let found = self.patience.call(Owner::User(uid), &what, call).and_then(|(found, ns)| {
            self.cpu_ns += ns;
            found
        });
        let broken = match &found {
            Ok(found) => found.iter().find_map(|names| names.as_ref().err()),
            Err(error) => Some(error),
        };
        self.note(uid, broken);
        let state = |names: io::Result<Option<Names>>| match names {
            Ok(Some(names)) => Found::Complete(names),
            Ok(None) => Found::Absent,
            Err(_) => Found::Unreadable,
        };
        match found {
            Ok(found) => found.into_iter().map(state).collect(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => vec![Found::Hung; requests.len()],
            Err(_) => vec![Found::Unreadable; requests.len()],
        }
    }

    /// Logs what is new.
    fn note(&mut self, uid: u32, error: Option<&io::Error>) {
        let Some(error) = error else {
            if self.hung.remove(&uid) {
                tracing::info!("the home of user {uid} answers again");
            }
            return;
        };
        if error.kind() == io::ErrorKind::TimedOut {
            // Whoever is refused because others hang is not worth a line.
            if self.hung.len() < MAX_WARNINGS && self.hung.insert(uid) {
                tracing::warn!("names of the containers of user {uid} are not known while this lasts: {error}");
            }
        } else if self.warnings.len() < MAX_WARNINGS && self.warnings.insert((uid, error.kind())) {
            tracing::warn!("could not read names of the containers of user {uid}: {error}");
        }
    }
}

impl Search for Homes {
    /// Each book is read once for all containers of a user.
    fn find(&mut self, requests: &[&Request]) -> Vec<Found> {
        let mut found = vec![Found::Absent; requests.len()];
        let mut users: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, request) in requests.iter().enumerate() {
            if let Some(uid) = request.user() {
                users.entry(uid).or_default().push(index);
            }
        }
        for (uid, indices) in users {
            let of_user: Vec<&Request> = indices.iter().map(|index| requests[*index]).collect();
            for (index, result) in indices.into_iter().zip(self.of_user(uid, &of_user)) {
                found[index] = result;
            }
        }
        found
    }

    fn missing(&mut self, identity: &Identity) -> Missing {
        let books = ENGINES.iter().find(|books| books.runtime == identity.runtime);
        let whose = format!("a user's own {}", if identity.runtime.is_empty() { "engine" } else { identity.runtime });
        let advice = match books.and_then(|books| books.rootless) {
            Some(rootless) => format!("no books of them in {rootless} below the home that /etc/passwd says"),
            None => "it is not known where it keeps its books".to_owned(),
        };
        Missing { whose, advice }
    }

    fn cpu_ns(&mut self) -> u64 {
        std::mem::take(&mut self.cpu_ns)
    }
}

/// Reads the books in a user's home: of each container its own result. May block.
fn read(root: &Root, uid: u32, containers: &[Identity]) -> io::Result<Vec<io::Result<Option<Names>>>> {
    let mut found: Vec<_> = containers.iter().map(|_| Ok(None)).collect();
    let Some(home) = home(root, uid)? else { return Ok(found) };
    let home = Place::new(home, Owner::User(uid));
    for books in ENGINES {
        let Some(rootless) = books.rootless else { continue };
        let of_engine = |(index, it): (usize, &'_ Identity)| (it.runtime == books.runtime).then_some(index);
        let indices: Vec<usize> = containers.iter().enumerate().filter_map(of_engine).collect();
        let ids: Vec<&str> = indices.iter().filter_map(|index| containers[*index].container_id.as_deref()).collect();
        if ids.len() != indices.len() || ids.is_empty() {
            continue;
        }
        for (index, names) in indices.into_iter().zip((books.read)(&home.join(rootless), &ids)) {
            found[index] = names;
        }
    }
    Ok(found)
}
