//! The one thread that changes anything: takes requests one after the other, judges, writes down, carries out, reads back, and undoes what is
//! over. Knows no socket.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::act::{
    Actions, Answer, Asked, Caller, Object, Planned, Policy, Preview, Readings, Record, Request, State, Task, Verdict,
    Who, is_undoable, judge, key, plan,
};
use collector_core::action::{Kind, Owner};
use collector_core::api::problem::Problem;
use collector_core::identity::{Identity, Names};
use tokio::sync::oneshot;

use super::carry::{self, Made};
use super::cgroup::Cgroup;
use super::end::Undoing;
use super::journal::{Journal, LISTED};
use super::policy;
use super::process::{Held, hold};
use super::settle::settle_all;
use super::tree::Tree;
use crate::clock;

/// Requests that wait for the thread.
const QUEUE: usize = 64;
/// Changes that wait to be undone, or are to be.
const MOST_PENDING: u64 = 1000;
/// How long it waits at most for the next change that ends: its clock stands still while the host sleeps.
const LOOK: Duration = Duration::from_secs(5);
const NS_PER_MS: u64 = 1_000_000;

type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// An error once the thread has ended.
pub type Ended = oneshot::Receiver<()>;

pub enum Work {
    Ask(Box<Request>, Caller, Reply<Answer>),
    Undo { id: u64, dry_run: bool, caller: Caller, reply: Reply<Answer> },
    List(Caller, Reply<Actions>),
    Get(u64, Caller, Reply<Answer>),
    Stop,
}

pub struct Worker {
    tree: Tree,
    journal: Journal,
    /// Read again for each request.
    policy: PathBuf,
    boot: String,
    page: u64,
}

/// What a request is about, held open until it is carried out.
enum Target<'a> {
    Cgroup(Cgroup<'a>),
    Process(Held),
}

impl Worker {
    /// Starts the thread, once the journal of before is settled. Whoever waits for what comes last sees its end.
    pub fn start(journal: &std::path::Path, policy: PathBuf) -> Result<(SyncSender<Work>, JoinHandle<()>, Ended)> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the id of this boot")?;
        let worker = Worker {
            tree: Tree::find()?,
            journal: Journal::open(journal)?,
            policy,
            boot: boot.trim().to_owned(),
            page: rustix::param::page_size() as u64,
        };
        settle_all(&worker.journal, &worker.tree, &worker.boot, worker.page)?;
        let (work, todo) = sync_channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let run = move || {
            // Dropped in any case, also by a panic.
            let _ends = ends;
            worker.run(&todo);
        };
        let thread = std::thread::Builder::new().name("act".into()).spawn(run);
        Ok((work, thread.context("start a thread")?, ended))
    }

    fn run(&self, todo: &Receiver<Work>) {
        loop {
            let wait = self.expire();
            let work = match wait {
                None => todo.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => todo.recv_timeout(wait.min(LOOK)),
            };
            // Who asked may have gone: what was done is in the journal.
            match work {
                Ok(Work::Ask(request, caller, reply)) => _ = reply.send(self.ask(&request, &caller)),
                Ok(Work::Undo { id, dry_run, caller, reply }) => _ = reply.send(self.undo(id, dry_run, &caller)),
                Ok(Work::List(caller, reply)) => _ = reply.send(self.list(&caller)),
                Ok(Work::Get(id, caller, reply)) => _ = reply.send(self.seen(id, &caller).map(shown)),
                Err(RecvTimeoutError::Timeout) => {}
                // What is pending stays: ending is no reason to undo anything.
                Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn undoing(&self) -> Undoing<'_> {
        Undoing { tree: &self.tree, journal: &self.journal, page: self.page, now: now() }
    }

    /// Undoes what is over, and says how long it is until the next.
    fn expire(&self) -> Option<Duration> {
        let since_boot = clock::boot_ns() / NS_PER_MS;
        let over =
            |record: &Record| record.state == State::Done && record.until_boot.is_some_and(|until| until <= since_boot);
        let ended = self.journal.due().and_then(|due| match due {
            Some(due) if due <= since_boot => {
                for record in self.journal.pending()?.into_iter().filter(over) {
                    let record = self.undoing().end(record, None)?;
                    tracing::info!("change {} ({}) is {}", record.id, record.object, record.state.label());
                }
                self.journal.due()
            }
            due => Ok(due),
        });
        match ended {
            Ok(due) => Some(Duration::from_millis(due?.saturating_sub(since_boot).max(1))),
            Err(error) => {
                tracing::error!("what is over could not be undone: {error:#}");
                Some(LOOK)
            }
        }
    }

    /// The policy, for somebody whom it names.
    fn policy(&self, caller: &Caller) -> Result<Policy, Problem> {
        let policy = policy::read(&self.policy).map_err(|error| Problem::new(503, format!("{error:#}")))?;
        match policy.knows(caller.uid, &caller.gids) {
            true => Ok(policy),
            false => Err(Problem::new(403, format!("the policy names uid {} nowhere", caller.uid))),
        }
    }

    fn ask(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let policy = self.policy(caller)?;
        let task = request.task().map_err(|why| Problem::new(400, why.0))?;
        let again = request.key.as_deref().filter(|_| !request.dry_run).map(|key| self.journal.by_key(caller.uid, key));
        if let Some(record) = again.transpose().map_err(broken)?.flatten() {
            return match record.kind == request.kind && record.object == request.object {
                true => Ok(shown(record)),
                false => Err(Problem::new(409, "there was another request with this key".to_owned())),
            };
        }
        let gone = |why| Problem::new(409, why);
        let (target, place) = match &request.object {
            Object::Cgroup { path, id } => {
                let cgroup = Cgroup::identified(&self.tree, path, *id, self.page).map_err(gone)?;
                let place =
                    cgroup.place(request.kind).map_err(|why| Problem::new(501, format!("unsupported here: {why}")))?;
                (Target::Cgroup(cgroup), place)
            }
            Object::Process { pid, started } => {
                let held = hold(&self.tree, *pid, Some(*started)).map_err(gone)?;
                let place = collector_core::act::Place::Process(held.process.clone());
                (Target::Process(held), place)
            }
        };
        let (readings, limit) = match (&target, &task) {
            (Target::Cgroup(cgroup), Task::Change(change)) => cgroup.readings(change),
            _ => (Readings::default(), None),
        };
        let since = |seconds: u64| now().saturating_sub(seconds.saturating_mul(1000));
        // What cannot be counted is too much.
        let recent = |rule: &str, seconds| self.journal.count(rule, since(seconds)).unwrap_or(u64::MAX);
        let asked = Asked { request, task: &task, caller, place: &place, readings, limit, recent: &recent };
        let (rule, risk, forced) = match judge(&policy, &asked) {
            Verdict::Allowed { rule, risk, forced } => (rule, risk, forced),
            Verdict::Refused(why) => {
                tracing::warn!("refused: {} of {} for uid {}: {why}", key(request.kind), request.object, caller.uid);
                return Err(Problem::new(403, why));
            }
        };
        let steps = match (&target, &task) {
            (Target::Cgroup(cgroup), Task::Change(change)) => match plan(change, cgroup, self.page) {
                Planned::Steps(steps) => steps,
                Planned::Already(sentence) => return Ok(Answer::Unchanged { sentence }),
                Planned::Unsupported(why) => return Err(Problem::new(501, why)),
            },
            _ => Vec::new(),
        };
        let mut notes: Vec<String> = forced.iter().cloned().collect();
        notes.extend(owner_note(&request.object, request.kind));
        if request.dry_run {
            let (kind, object, for_seconds) = (request.kind, request.object.to_string(), request.for_seconds);
            return Ok(Answer::Preview(Box::new(Preview { kind, object, rule, risk, steps, for_seconds, notes })));
        }
        if self.journal.waiting().map_err(broken)? >= MOST_PENDING {
            return Err(Problem::new(503, format!("{MOST_PENDING} changes wait to be undone: undo some first")));
        }
        let after = |from: u64| request.for_seconds.map(|seconds| from.saturating_add(seconds.saturating_mul(1000)));
        let mut record = Record {
            id: 0,
            time: now(),
            boot: self.boot.clone(),
            who: Who::from(caller),
            why: request.why.clone(),
            advice: request.advice.clone(),
            key: request.key.clone(),
            rule,
            kind: request.kind,
            object: request.object.clone(),
            risk,
            forced: forced.is_some(),
            steps,
            until: after(now()),
            until_boot: after(clock::boot_ns() / NS_PER_MS),
            state: State::Intended,
            note: None,
            ending: None,
        };
        self.journal.add(&mut record).map_err(broken)?;
        let made = self.carry_out(&target, &task, &record);
        match made {
            Ok(Made { read_back, note }) => {
                record.steps.iter_mut().zip(read_back).for_each(|(step, value)| step.read_back = Some(value));
                record.state = State::Done;
                notes.splice(0..0, note);
            }
            Err(why) => {
                record.state = State::Failed;
                notes.insert(0, why);
            }
        }
        record.note = Some(notes.join("; ")).filter(|note| !note.is_empty());
        self.journal.put(&record).map_err(|error| {
            let done = format!("change {} is {}, which the journal could not take", record.id, record.state.label());
            broken(error.context(done + ": its row is settled at the next start of the actuator"))
        })?;
        tracing::info!(
            "change {}: {} of {} for uid {} ({}): {}",
            record.id,
            key(record.kind),
            record.object,
            record.who.uid,
            record.who.comm,
            record.state.label()
        );
        Ok(shown(record))
    }

    fn carry_out(&self, target: &Target<'_>, task: &Task, record: &Record) -> Result<Made, String> {
        match (target, task) {
            (Target::Cgroup(cgroup), Task::Change(_)) => carry::change(cgroup, &record.steps, self.page),
            (Target::Cgroup(cgroup), task) => carry::end_all(&self.tree, cgroup, *task == Task::Kill),
            (Target::Process(held), task) => carry::end(held, *task == Task::Kill),
        }
    }

    fn undo(&self, id: u64, dry_run: bool, caller: &Caller) -> Result<Answer, Problem> {
        let record = self.seen(id, caller)?;
        is_undoable(&record).map_err(|why| Problem::new(409, why))?;
        if record.boot != self.boot {
            // Ids of cgroups are given out again.
            return Err(Problem::new(409, "the host has started again since: what was changed is gone".to_owned()));
        }
        if dry_run {
            return self.undoing().preview(&record).map_err(|why| Problem::new(409, why));
        }
        let record = self.undoing().end(record, Some(Who::from(caller))).map_err(broken)?;
        tracing::info!("change {} is {} for uid {}", record.id, record.state.label(), caller.uid);
        Ok(shown(record))
    }

    /// A change that somebody may see: root all, everybody their own.
    fn seen(&self, id: u64, caller: &Caller) -> Result<Record, Problem> {
        self.policy(caller)?;
        let found = self.journal.get(id).map_err(broken)?;
        let mine = found.filter(|record| caller.uid == 0 || record.who.uid == caller.uid);
        mine.ok_or_else(|| Problem::new(404, format!("there is no change {id}")))
    }

    fn list(&self, caller: &Caller) -> Result<Actions, Problem> {
        self.policy(caller)?;
        let of = Some(caller.uid).filter(|uid| *uid != 0);
        Ok(Actions { actions: self.journal.list(of, LISTED).map_err(broken)? })
    }
}

fn shown(record: Record) -> Answer {
    Answer::Action(Box::new(record))
}

fn broken(error: anyhow::Error) -> Problem {
    tracing::error!("{error:#}");
    Problem::new(500, format!("{error:#}"))
}

/// Milliseconds since the epoch.
fn now() -> u64 {
    clock::unix_ns() / NS_PER_MS
}

/// Who else writes the same files.
fn owner_note(object: &Object, kind: Kind) -> Option<String> {
    let Object::Cgroup { path, .. } = object else { return None };
    if matches!(kind, Kind::Reclaim | Kind::Terminate | Kind::Kill | Kind::Freeze | Kind::Thaw) {
        return None;
    }
    match Owner::of(&Identity::of(path), &Names::default()) {
        Owner::Unit { unit, .. } => Some(format!(
            "systemd owns {unit} and knows nothing of this: it writes its own value when the unit is changed or starts again"
        )),
        Owner::Docker { container, .. } | Owner::Podman { container, .. } => {
            Some(format!("the engine of container {container} knows nothing of this: it lasts until that starts again"))
        }
        _ => None,
    }
}
