//! Whether a reservation may be made ahead: what this host has in all, less what others were promised for the same time. What runs then
//! without a reservation nobody knows now.

use crate::lease::{Lease, State, Want, words};
use crate::view::View;

/// When it is to begin and to end, in nanoseconds by the clock of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub begins: u64,
    pub ends: u64,
}

impl Period {
    /// Whether a lease is still there, or there again, in that time.
    fn meets(self, lease: &Lease) -> bool {
        let begun = lease.begins.is_none_or(|begins| begins < self.ends);
        begun && lease.expires.is_none_or(|expires| expires > self.begins)
    }
}

/// Why it is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// In a sentence.
    pub why: String,
    /// It is known that it does not fit. Otherwise a reading is missing.
    pub known: bool,
}

/// The GPUs that it gets, by number.
///
/// # Errors
/// With why it does not fit.
pub fn fits(view: &View, uid: u32, want: &Want, gpus: &[String], period: Period) -> Result<Vec<String>, Short> {
    let others: Vec<&Lease> = view
        .leases
        .held
        .values()
        .filter(|lease| (lease.is_held() || lease.state == State::Planned) && period.meets(lease))
        .collect();
    let sum = |of: &dyn Fn(&Lease) -> u64| others.iter().fold(0_u64, |sum, lease| sum.saturating_add(of(lease)));
    let short = |resource: &str, of: Option<&str>, need: u64, all: u64, promised: u64| {
        let show = |amount: u64| words::amount(resource, amount);
        let what = words::name(resource, of);
        let why = format!(
            "{what}: needs {}, and of {} there are {} reserved for that time",
            show(need),
            show(all),
            show(promised)
        );
        Short { why, known: true }
    };
    let unknown = |why: String| Short { why, known: false };
    if want.hard.peak > 0 {
        let Some(memory) = view.host.memory() else {
            return Err(unknown("not known: how much memory this host has".to_owned()));
        };
        let total = memory.total.saturating_sub(super::kept(view, memory.total, view.level.limits.memory));
        let promised = sum(&|lease| lease.want.hard.peak);
        if want.hard.peak > total.saturating_sub(promised) {
            return Err(short("host memory", None, want.hard.peak, total, promised));
        }
    }
    for (name, need) in &want.slot {
        // One that the configuration does not name belongs to its user.
        let shared = view.leases.limits.slots.get(name.as_str()).copied();
        let places = shared.unwrap_or(1);
        let counts = |lease: &Lease| shared.is_some() || lease.uid == uid;
        let promised = sum(&|lease| lease.want.slot.get(name).copied().filter(|_| counts(lease)).unwrap_or(0));
        if *need > places.saturating_sub(promised) {
            return Err(short("slot", Some(name), *need, places, promised));
        }
    }
    let on = |gpu: &str| {
        let of = |lease: &Lease| {
            let mine = lease.gpus.iter().zip(0_u32..).filter(|(number, _)| *number == gpu);
            mine.map(|(_, own)| lease.want.vram.get(&own).copied().unwrap_or_default().peak).sum()
        };
        sum(&of)
    };
    let mut rooms: Vec<(String, u64, u64)> = view
        .gpus
        .iter()
        .filter(|gpu| gpus.is_empty() || gpus.iter().any(|number| **number == *gpu.device.gpu))
        .filter_map(|gpu| Some((gpu.device.gpu.to_string(), super::gpu::most(view, gpu)?, on(&gpu.device.gpu))))
        .collect();
    // Those with most room first, unless they were named in an order.
    match gpus.is_empty() {
        true => rooms.sort_by_key(|(_, all, promised)| std::cmp::Reverse(all.saturating_sub(*promised))),
        false => rooms.sort_by_key(|(number, ..)| gpus.iter().position(|named| named == number)),
    }
    let Some(last) = want.vram.keys().last() else { return Ok(Vec::new()) };
    let mut chosen = Vec::new();
    for own in 0..=*last {
        let need = want.vram.get(&own).copied().unwrap_or_default().peak;
        let Some((number, all, promised)) = rooms.get(own as usize) else {
            let counts = format!("it needs {} GPUs, and there are {} whose memory is known", last + 1, rooms.len());
            return Err(unknown(counts));
        };
        if need > all.saturating_sub(*promised) {
            return Err(short("VRAM", Some(number), need, *all, *promised));
        }
        chosen.push(number.clone());
    }
    Ok(chosen)
}
