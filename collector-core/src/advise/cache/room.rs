//! Mapped models that others press out of the page cache. Of one at its own limit `limit/` tells.

use crate::action::{Action, Object, Risk, Setting, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::change::{configure, memory_high};
use crate::advise::draft::draft;
use crate::advise::need::{MARGIN, Need, REACH_NS, Served, Servers, need, reads_again, round_up, sized};
use crate::advise::{Given, Judged, Rule};
use crate::amount::bytes;
use crate::program::Program;
use crate::statistic::model::Kind;
use crate::statistic::workload::Statistic;
use crate::view::model::Told;
use crate::view::slow::Fact;
use crate::view::workload::Workload;

pub(super) const AGAIN: Rule = Rule {
    name: "model_file_again",
    when: "A process reads a mapped model again, 1 MB a second and a tenth of it at least, because its memory.high or the host's shortage presses it out of the page cache. At the workload's limit it is memory_limit_raise.",
    needs: "What of a model file is in memory (cachestat or mincore), and what the workload reads again.",
    judge,
};

/// Near its memory.high, and its limit.
const AT: f64 = 0.95;
/// The host reclaims from so many bytes a second on.
const RECLAIMED: f64 = 1e6;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let servers = Servers::of(view);
    for workload in sized(view) {
        let served = servers.get(&workload.name);
        if !reads_again(view, workload, &served) {
            continue;
        }
        let get = |statistic| workload.statistics.get(statistic).map(|bytes| bytes as f64);
        let held = get(Statistic::MemoryCurrent).unwrap_or(0.0);
        let at = |statistic| get(statistic).filter(|limit| held >= AT * limit);
        let total = view.host.memory().map_or(f64::INFINITY, |memory| memory.total as f64);
        match (at(Statistic::MemoryLimit).filter(|limit| *limit < total), at(Statistic::MemoryHigh)) {
            // Another rule's.
            (Some(_), _) => {}
            (None, Some(high)) => judged.advice.extend(above_high(given, workload, served, high)),
            (None, None) if is_short(given) => judged.advice.extend(pressed(given, workload, served)),
            (None, None) => {
                let object = Object::Workload(workload.name.to_string());
                let missing = "what presses its model out of memory: a limit above it, or a reader that drops it";
                judged.lacks(AGAIN.name, object, missing);
            }
        }
    }
}

fn is_short(given: &Given<'_>) -> bool {
    let view = given.view;
    let since = view.time.saturating_sub(REACH_NS);
    let reclaimed = view.slow.host().and_then(|host| host.means(Fact::HostReclaimed, since, view.time));
    view.host.memory().is_some_and(|memory| memory.is_short()) || reclaimed.is_some_and(|means| means.now >= RECLAIMED)
}

/// What it needs without the models.
fn own(given: &Given<'_>, workload: &Workload) -> Option<f64> {
    let known = need(given.past, workload).filter(|need| need.is_enough() && !need.with_cache);
    let now = workload.statistics.get(Statistic::MemoryWithoutCache).map(|bytes| bytes as f64 * MARGIN);
    known.map(|need: Need| need.target).or(now)
}

fn evidence(served: &Served) -> Vec<Evidence> {
    vec![
        Evidence::measured("size of the model files that it maps", served.mapped, Unit::Bytes),
        Evidence::measured("what of them is in memory", served.cached, Unit::Bytes),
        Evidence::measured("read again after it was dropped, since they are watched", served.again, Unit::Bytes),
    ]
}

fn above_high(given: &Given<'_>, workload: &Workload, served: Served, high: f64) -> Option<Advice> {
    let view = given.view;
    // Where next to nothing can be dropped, memory.high is to go altogether.
    let stays = workload.unreclaimable(view.host.swap()).map_or(0.0, |bytes| bytes as f64);
    let to = round_up(own(given, workload)? + served.mapped + served.promised);
    if stays >= AT * high || to as f64 <= high {
        return None;
    }
    let name = &workload.name;
    let mut evidence = evidence(&served);
    evidence.push(Evidence::configured("memory.high", high, Unit::Bytes));
    let title = format!("Raise memory.high of {name} from {} to {}.", bytes(high as u64), bytes(to));
    let why = format!(
        "It maps models of {} and is at its memory.high: {} of them was dropped and read from disk again.",
        bytes(served.mapped as u64),
        bytes(served.again as u64)
    );
    let because =
        "The kernel counts what it reads again; a server that has its layers on a GPU may need less of the file.";
    let actions = memory_high(view, name, Some(to));
    let (object, because) = (Object::Workload(name.to_string()), because.to_owned());
    Some(Advice { evidence, confidence: Confidence::High, because, ..draft(AGAIN.name, object, actions, title, why) })
}

fn pressed(given: &Given<'_>, workload: &Workload, served: Served) -> Option<Advice> {
    let view = given.view;
    let memory = view.host.memory()?;
    let name = &workload.name;
    let object = Object::Workload(name.to_string());
    let mut evidence = evidence(&served);
    evidence.push(Evidence::measured("memory of the host that is available", memory.available as f64, Unit::Bytes));
    let why = format!(
        "It maps models of {}, of which {} is in memory: {} was dropped for others and read from disk again.",
        bytes(served.mapped as u64),
        bytes(served.cached as u64),
        bytes(served.again as u64)
    );
    // What of the model is in memory counts as available.
    if (memory.available as f64) < served.mapped {
        let short = served.mapped - memory.available as f64;
        let title = format!("Make {} of room for the model of {name}, or serve a smaller one.", bytes(short as u64));
        let what =
            "stop or move another workload, or take a smaller model, a stronger quantisation, or more layers on a GPU"
                .to_owned();
        let actions = vec![by_hand(object.clone(), what, Risk::High)];
        let because = "It does not fit beside what others hold now; they may hold less later.".to_owned();
        return Some(Advice {
            evidence,
            confidence: Confidence::Medium,
            because,
            ..draft(AGAIN.name, object, actions, title, why)
        });
    }
    let actions = lock(given, workload);
    let title = match actions.is_empty() {
        true => format!("Keep the model of {name} in memory: protect it from reclaim, or have its server lock it."),
        false => format!(
            "Have the server of {name} lock its model in memory (--load-mode mmap+mlock; older versions: --mlock)."
        ),
    };
    let because =
        "It fits beside what others hold now. What is locked cannot be given to others when they need it.".to_owned();
    let actions = match actions.is_empty() {
        true => vec![by_hand(
            object.clone(),
            "have the server lock its weights, or read them without mapping them".to_owned(),
            Risk::Medium,
        )],
        false => actions,
    };
    Some(Advice { evidence, confidence: Confidence::Medium, because, ..draft(AGAIN.name, object, actions, title, why) })
}

/// How its server is told to keep it: locked, or read instead of mapped.
fn lock(given: &Given<'_>, workload: &Workload) -> Vec<Action> {
    let view = given.view;
    let mut servers = view.models.servers.values();
    let llama = servers.find(|told| {
        let own = told.workload(&view.workloads).is_some_and(|other| other.name == workload.name);
        own && told.server.kind == Some(Kind::LlamaCpp)
    });
    let settings = [
        Setting::new("--load-mode", "mmap+mlock"),
        Setting::flag("--mlock"),
        Setting::new("--load-mode", "none"),
        Setting::flag("--no-mmap"),
    ];
    let of = |told: &Told| configure(view, &workload.name, Program::LlamaCpp, &settings, &told.server.flags);
    llama.map(|told| of(told)).unwrap_or_default()
}
