//! A larger batch for who has a GPU for itself and leaves some of its time and memory. How large a batch is nobody says: of work that was
//! learned only a digest of its settings is kept. So its memory is taken to grow in proportion to it.

use super::{Card, Rule, cards, holders};
use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::Given;
use crate::advise::draft::{self, MUCH, draft};
use crate::advise::need::recent;
use crate::advise::server::AIM;
use crate::advise::starve::starves;
use crate::amount::{bytes, fixed, percent};
use crate::statistic::gpu::Statistic::{MemoryTotal, Mig};
use crate::view::slow::{holds, is_shared};
use crate::view::workload::Workload;

const NAME: &str = "batch_size";

/// Of what is free at the peak, so much may be used: a fifth stays as a margin.
const OF_FREE: f64 = 0.8;
/// It is worth it from this factor on, and nobody goes further than that at once.
const WORTH: f64 = 1.25;
const MOST: f64 = 8.0;
/// Who works keeps the GPU running for this share of the time. One that runs nothing in between waits for something else than its batch:
/// requests, data, a person.
const STEADY: f64 = 0.9;
/// From this share of a GPU's memory on it may be a framework that takes a share at its start (JAX: three quarters): not what it needs.
const TAKEN: f64 = 0.7;

pub(super) const SIZE: Rule = Rule {
    name: NAME,
    when: "A workload that is no model server has whole GPUs for itself. In the hours of the last day in which it worked, each of them ran something for 90 % of the time at least, and in less than 85 % on average; and what is free of its memory at the peak, less 20 %, has room for a quarter more than the workload takes. Not while the host or the link keeps the GPU waiting.",
    needs: "NVML, and an hour of such work. How large its batch is nobody says, so memory is taken to grow in proportion to it: the estimate is linear, an upper bound of what a larger batch needs.",
    judge: |given, judged| {
        for name in super::names(given) {
            let Some(workload) = given.view.workloads.find(name).filter(|workload| may(given, workload)) else {
                continue;
            };
            let Some(job) = Job::of(given, workload) else { continue };
            if job.used >= AIM || job.ran < STEADY {
                continue;
            }
            let object = Object::Workload(name.to_owned());
            let Some(room) = job.room else {
                judged.lacks(NAME, object, "how much memory its GPUs have, and how much of that is free");
                continue;
            };
            if room.factor < WORTH {
                continue;
            }
            if !draft::seen(judged, NAME, object.clone(), job.seconds) {
                continue;
            }
            if let Some(what) = starves(given, workload) {
                judged.lacks(NAME, object, format!("work that the host does not slow down: {what}"));
                continue;
            }
            judged.advice.push(advice(name, &job, &room));
        }
    },
};

/// Whether it is a program of its own that could have a batch: no server, and no group of others.
fn may(given: &Given<'_>, workload: &Workload) -> bool {
    let servers = given.view.models.servers.values();
    let mut own = servers.filter_map(|told| told.workload(&given.view.workloads));
    !is_shared(workload) && own.all(|server| server.name != workload.name)
}

/// What a workload does on its GPUs.
struct Job {
    gpus: usize,
    /// Share of time in which they ran something: of several, of the one that did most; and of those that ran at all, the least.
    used: f64,
    ran: f64,
    /// For how long it worked, in seconds.
    seconds: f64,
    room: Option<Room>,
}

/// Of the GPU that has least room, in bytes.
#[derive(Clone, Copy)]
struct Room {
    total: f64,
    peak: f64,
    factor: f64,
}

impl Job {
    /// `None` if it shares one of them, has a part of one, or did not work on one.
    fn of(given: &Given<'_>, workload: &Workload) -> Option<Job> {
        let view = given.view;
        let own: Vec<Card<'_>> = cards(given).filter(|card| holds(view, card.gpu, workload)).collect();
        let parts = view.gpus.iter().any(|gpu| gpu.device.parent.is_some() && holds(view, gpu, workload));
        let alone = own.iter().all(|card| {
            let mine = card.day.alone.workload.as_ref() == Some(&workload.name);
            mine && holders(given, card.gpu).len() == 1 && card.gpu.values.get(Mig) != Some(1)
        });
        if own.is_empty() || parts || !alone {
            return None;
        }
        let day = |card: &Card<'_>| card.day.alone.utilization;
        let seconds = own.iter().map(|card| day(card).seconds).reduce(f64::min)?;
        let used = own.iter().map(|card| day(card).mean()).collect::<Option<Vec<_>>>()?;
        let ran = own.iter().map(|card| card.day.alone.ran_seconds / day(card).seconds.max(1.0));
        Some(Job {
            gpus: own.len(),
            used: used.into_iter().reduce(f64::max)?,
            ran: ran.reduce(f64::min)?,
            seconds,
            room: room(given, workload, &own),
        })
    }
}

fn room(given: &Given<'_>, workload: &Workload, own: &[Card<'_>]) -> Option<Room> {
    let known = |card: &Card<'_>| Some((card.gpu.values.get(MemoryTotal)? as f64, card.day.alone.taken.most()?));
    let cards = own.iter().map(known).collect::<Option<Vec<_>>>()?;
    let today: f64 = cards.iter().map(|(_, peak)| peak).sum();
    let days = given.past.workloads.get(&workload.name).map_or(&[][..], |span| &span.days);
    let before = recent(given.past, days).filter_map(|(day, _)| Some(day.vram?[2])).fold(0.0, f64::max);
    // It took more on a day before: of several GPUs each of them did, as far as is known.
    let more = (before / today.max(1.0)).max(1.0);
    let of = |(total, peak): (f64, f64)| {
        let peak = (peak * more).min(total);
        let factor = if peak > 0.0 { (peak + OF_FREE * (total - peak)) / peak } else { 1.0 };
        Room { total, peak, factor }
    };
    cards.into_iter().map(of).min_by(|one, two| one.factor.total_cmp(&two.factor))
}

fn advice(name: &str, job: &Job, room: &Room) -> Advice {
    let Room { total, peak, factor } = *room;
    // Rounded down: up is too much.
    let times = fixed((factor.min(MOST) * 10.0 + 1e-6).floor() / 10.0, 1);
    let (gpu, free) = (if job.gpus == 1 { "its GPU" } else { "its GPUs" }, total - peak);
    let title = format!("Raise the batch size of {name}, to at most {times} times what it is now.");
    let why = format!(
        "It has {gpu} for itself: while it worked, {} {} in use for {} of the time (aim: 85 to 90 %), and of {} of memory it took {} at most.",
        gpu,
        if job.gpus == 1 { "was" } else { "were" },
        percent(job.used),
        bytes(total as u64),
        bytes(peak as u64),
    );
    let evidence = vec![
        Evidence::measured("utilization of its GPU while it worked, on average", job.used, Unit::Ratio),
        Evidence::measured("time in which it worked, of the last day", job.seconds, Unit::Seconds),
        Evidence::measured("memory of the GPU that it took at most", peak, Unit::Bytes),
        Evidence::measured("memory of the GPU that was free then", free, Unit::Bytes),
        Evidence::assumed("share of that which stays free", 1.0 - OF_FREE, Unit::Ratio),
        Evidence::assumed("growth of its memory for each growth of the batch (1: in proportion)", 1.0, Unit::Count),
        Evidence::computed("factor for which there is room", factor, Unit::Count),
    ];
    let reserved = peak >= TAKEN * total;
    let (_, seen) = draft::sure(job.seconds, Confidence::Low);
    let confidence = if job.seconds >= MUCH && !reserved { Confidence::Medium } else { Confidence::Low };
    let share = match reserved {
        true => " It may be a program that takes a share of the memory at its start (JAX does), whatever it needs.",
        false => "",
    };
    let because = format!(
        "{seen} Memory is taken as linear in the batch, an upper bound of what it needs: weights and optimizer state do not grow with it. Whether its program has a batch, and what a larger one does to what it learns, is not known.{share}"
    );
    let object = Object::Workload(name.to_owned());
    let what = format!(
        "raise its batch size at its next start (--batch-size, per_device_train_batch_size) to at most {times} times what it is; watch GPU memory in its first steps"
    );
    let actions = vec![by_hand(object.clone(), what, Risk::Medium)];
    Advice { evidence, confidence, because, ..draft(NAME, object, actions, title, why) }
}
