//! One run of work while it lasts: what is measured of it, and when it counts. In times, nanoseconds by a clock that never jumps.

use std::collections::BTreeMap;

use super::peak::Peaks;
use super::work::{File, Work};

/// What more than this is worth writing down, and how often, in bytes and nanoseconds.
const STEP: u64 = 1 << 20;
const PAUSE_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug)]
pub struct Run {
    /// Told apart from all others by its number.
    pub id: u64,
    pub uid: u32,
    pub work: Work,
    /// The entry that it was counted in.
    pub entry: Option<u64>,
    pub peaks: Peaks,
    /// Since when its owner is measured; absent before it was granted.
    since: Option<u64>,
    /// How long it took to start.
    settled: Option<u64>,
    /// The agent saw that program run.
    seen: bool,
    /// The OOM killer ended it.
    killed: bool,
    /// Its GPUs, by number, in its own order; with `any` those that it was seen on.
    gpus: Vec<String>,
    any: bool,
    /// Something else ran for the same owner: what is measured is not this work's alone.
    mixed: bool,
    /// The kernel's peak of the cgroup when it was first read.
    before: Option<u64>,
    /// What was written down, and when.
    told: Peaks,
    told_at: u64,
}

/// What an owner uses at one moment.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub hard: u64,
    pub soft: u64,
    /// By the number of the GPU.
    pub vram: BTreeMap<String, u64>,
    /// Whether its start is over.
    pub settled: bool,
    /// Whether other leases have the same owner.
    pub mixed: bool,
    /// Whether it is known what the owner has of each GPU here.
    pub cards: bool,
}

impl Run {
    pub fn new(id: u64, uid: u32, work: Work) -> Run {
        Run {
            id,
            uid,
            work,
            entry: None,
            peaks: Peaks::default(),
            since: None,
            settled: None,
            seen: false,
            killed: false,
            gpus: Vec::new(),
            any: false,
            mixed: false,
            before: None,
            told: Peaks::default(),
            told_at: 0,
        }
    }

    /// It was granted, or has another owner: what was measured before is no part of it. Without GPUs of its own it may be on `any`.
    pub fn begin(&mut self, now: u64, gpus: Vec<String>, any: bool) {
        *self = Run { since: Some(now), gpus, any, ..Run::new(self.id, self.uid, self.work.clone()) };
    }

    pub fn gpus(&self) -> &[String] {
        &self.gpus
    }

    pub fn on_any_gpu(&self) -> bool {
        self.any
    }

    /// Its owner had memory before: what is measured is only what came to that.
    pub fn had_more(&mut self) {
        self.mixed = true;
    }

    /// The OOM killer ended it: what it had is less than what it needed.
    pub fn kill(&mut self) {
        self.killed = true;
    }

    /// These executables and names are among its owner's processes.
    pub fn ran(&mut self, executables: &[File], names: &[String]) {
        self.seen |= self.work.is_run_by(executables, names);
    }

    /// What the kernel itself counts: the peak of the owner's cgroup, and pinned memory.
    pub fn counted(&mut self, cgroup: Option<u64>, pinned: Option<u64>) {
        let Some(_) = self.since else { return };
        self.peaks.pinned = self.peaks.pinned.max(pinned);
        // A peak of before this run says nothing about it.
        let before = *self.before.get_or_insert(cgroup.unwrap_or(0));
        self.peaks.cgroup = self.peaks.cgroup.max(cgroup.filter(|peak| *peak > before));
    }

    pub fn measure(&mut self, now: u64, measured: &Measured) {
        let Some(since) = self.since else { return };
        let Measured { hard, soft, vram, settled, mixed, cards } = measured;
        self.mixed |= *mixed;
        // What another work uses is no peak of this one, also after it counted.
        if self.mixed {
            return;
        }
        self.peaks.cards |= self.any && *cards;
        if *settled && self.settled.is_none() {
            self.settled = Some(now.saturating_sub(since));
        }
        self.peaks.hard.rise(*hard, *settled);
        self.peaks.soft = self.peaks.soft.max(*soft);
        for (number, bytes) in vram.iter().filter(|(_, bytes)| **bytes > 0) {
            if self.any && !self.gpus.contains(number) {
                self.gpus.push(number.clone());
            }
            let own = self.gpus.iter().position(|own| own == number).and_then(|own| u32::try_from(own).ok());
            own.into_iter().for_each(|own| self.peaks.gpu(own, *bytes, *settled));
        }
    }

    /// How long it took to start, once it counts: it was measured for so long, its start was over, and it was this work alone.
    pub fn counts(&self, now: u64, least: u64) -> Option<u64> {
        let long = least > 0 && self.since.is_some_and(|since| now.saturating_sub(since) >= least);
        self.settled.filter(|_| long && self.seen && !self.mixed && !self.killed)
    }

    /// Whether there is something to write down that was not yet; then it counts as written.
    pub fn tells(&mut self, now: u64, ends: bool) -> bool {
        let waits = !ends && now.saturating_sub(self.told_at) < PAUSE_NS;
        if waits || !self.peaks.exceed(&self.told, if ends { 1 } else { STEP }) {
            return false;
        }
        (self.told, self.told_at) = (self.peaks.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn run() -> Run {
        Run::new(1, 7, Work { names: vec!["a".into()], ..Work::default() })
    }

    fn uses(hard: u64, settled: bool) -> Measured {
        Measured { hard, settled, ..Measured::default() }
    }

    #[test]
    fn a_run_counts_once_it_was_measured_for_long_has_settled_and_was_seen() {
        let least = 60 * SECOND;
        let mut run = run();
        run.measure(SECOND, &uses(9, true));
        assert_eq!((run.counts(100 * SECOND, least), run.peaks.hard.most()), (None, 0), "it was not granted yet");
        run.begin(SECOND, Vec::new(), false);
        run.measure(2 * SECOND, &uses(7, false));
        run.measure(5 * SECOND, &uses(5, true));
        assert_eq!(run.counts(61 * SECOND, least), None, "nobody saw it");
        run.ran(&[], &["b".into()]);
        assert_eq!(run.counts(61 * SECOND, least), None, "that was another program");
        run.ran(&[], &["a".into()]);
        assert_eq!(run.counts(60 * SECOND, least), None, "it was too short");
        assert_eq!(run.counts(61 * SECOND, least), Some(4 * SECOND));
        assert_eq!(run.counts(61 * SECOND, 0), None, "learning is switched off");
        assert_eq!((run.peaks.hard.loading, run.peaks.hard.running), (7, 5));
        run.measure(62 * SECOND, &Measured { mixed: true, ..uses(5, true) });
        assert_eq!(run.counts(62 * SECOND, least), None, "its owner had more to do");
        run.begin(70 * SECOND, Vec::new(), false);
        assert_eq!((run.counts(200 * SECOND, least), run.peaks.hard.most()), (None, 0), "another owner is another run");
    }

    #[test]
    fn a_peak_of_the_cgroup_counts_only_if_it_came_during_the_run() {
        let mut run = run();
        run.begin(1, Vec::new(), false);
        run.counted(Some(100), None);
        run.counted(Some(100), Some(3));
        assert_eq!((run.peaks.cgroup, run.peaks.pinned), (None, Some(3)));
        run.counted(Some(120), Some(1));
        assert_eq!((run.peaks.cgroup, run.peaks.pinned), (Some(120), Some(3)));
    }

    #[test]
    fn gpus_keep_the_order_of_the_work_and_others_count_only_if_it_may_be_on_any() {
        let on = |gpus: &[(&str, u64)]| Measured {
            vram: gpus.iter().map(|(gpu, bytes)| ((*gpu).to_owned(), *bytes)).collect(),
            ..Measured::default()
        };
        let peaks = |run: &Run| run.peaks.vram.iter().map(|(own, peak)| (*own, peak.most())).collect::<Vec<_>>();
        let mut own = run();
        own.begin(1, vec!["3".into(), "1".into()], false);
        own.measure(2, &on(&[("1", 5), ("2", 9), ("3", 7)]));
        assert_eq!(peaks(&own), [(0, 7), (1, 5)]);
        let mut any = run();
        any.begin(1, Vec::new(), true);
        any.measure(2, &on(&[("0", 0), ("2", 9)]));
        any.measure(3, &on(&[("0", 4), ("2", 8)]));
        assert_eq!((peaks(&any), any.gpus()), (vec![(0, 9), (1, 4)], &["2".to_owned(), "0".to_owned()][..]));
        any.kill();
        any.ran(&[], &["a".into()]);
        any.measure(4, &Measured { settled: true, ..Measured::default() });
        assert_eq!(any.counts(9, 1), None, "the OOM killer ended it");
    }

    #[test]
    fn growth_is_written_down_in_steps_and_the_rest_at_the_end() {
        let mut run = run();
        run.begin(0, Vec::new(), false);
        run.measure(SECOND, &uses(STEP, true));
        assert!(run.tells(20 * SECOND, false) && !run.tells(40 * SECOND, false));
        run.measure(41 * SECOND, &uses(2 * STEP, true));
        assert!(!run.tells(25 * SECOND, false), "it is too soon");
        assert!(run.tells(41 * SECOND, false));
        run.measure(42 * SECOND, &uses(2 * STEP + 1, true));
        assert!(!run.tells(90 * SECOND, false) && run.tells(90 * SECOND, true) && !run.tells(91 * SECOND, true));
    }
}
