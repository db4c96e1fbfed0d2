//! Why a level holds, and what of it is not known, in words.

use crate::amount::percent;
use crate::level::{Level, Limits};
use crate::view::level::{GpuLevel, Levels, Resource, STALLED_RAISES, Standing, Use};

impl Levels {
    /// What raises the host's level: the highest use first.
    pub fn reasons(&self) -> Vec<String> {
        let raises = |it: &Use<'_>| it.level().is_some_and(|level| level > Level::Normal);
        let mut uses: Vec<Use<'_>> = self.uses().filter(raises).collect();
        uses.sort_by(|one, other| other.share().partial_cmp(&one.share()).unwrap_or(std::cmp::Ordering::Equal));
        let mut reasons: Vec<String> = uses.iter().map(sentence).collect();
        if let Some(stalled) = self.stalled.filter(|stalled| *stalled > STALLED_RAISES) {
            reasons.push(format!("all tasks waited for memory for {} of the last 10 s", percent(stalled)));
        }
        reasons.extend(held(&self.host));
        reasons
    }

    /// What is missing. The first of these make the level unknown; without CPUs or PSI it rests on the rest.
    pub fn not_known(&self) -> Vec<String> {
        let missing = self.uses().filter(|it| it.used.is_none()).map(|it| match it.resource {
            Resource::Memory => "memory of the host".to_owned(),
            Resource::Cpu => "use of the CPUs (10 s after the start at the earliest)".to_owned(),
            Resource::Filesystem(mountpoint) => {
                format!("filesystem {mountpoint}: it is not mounted, is excluded, or does not answer")
            }
        });
        let stalls = self.stalled.is_none().then(|| "how long tasks wait for memory (PSI)".to_owned());
        missing.chain(stalls).collect()
    }

    /// Reasons, then what is missing.
    pub(crate) fn why(&self) -> Vec<String> {
        let missing = self.not_known().into_iter().map(|what| format!("not known: {what}"));
        self.reasons().into_iter().chain(missing.filter(|_| self.host.level.is_none())).collect()
    }
}

impl GpuLevel {
    pub fn reasons(&self, limits: &Limits) -> Vec<String> {
        let share = self.used.map(|used| used / limits.gpu).filter(|share| Level::of(*share) > Level::Normal);
        let besides =
            if self.intended.is_some_and(|held| held > 0.0) { " besides what model servers hold" } else { "" };
        let sentence = share.zip(self.used).map(|(share, used)| {
            let (used, share, limit) = (percent(used), percent(share), percent(limits.gpu));
            format!("{used} of its memory is used{besides}, {share} of the limit of {limit}")
        });
        sentence.into_iter().chain(held(&self.standing)).collect()
    }

    pub fn not_known(&self) -> Vec<String> {
        let memory = self.used.is_none().then(|| match self.is_unnamed {
            true => format!("who holds memory of GPU {}: the name of a container is looked up", self.gpu),
            false => format!("memory of GPU {}", self.gpu),
        });
        let partial = self.is_partial.then(|| {
            format!(
                "what one of the model servers holds on GPU {}: the driver does not say, so it counts as used",
                self.gpu
            )
        });
        memory.into_iter().chain(partial).collect()
    }

    pub(crate) fn why(&self, limits: &Limits) -> Vec<String> {
        let missing = self.not_known().into_iter().map(|what| format!("not known: {what}"));
        self.reasons(limits).into_iter().chain(missing).collect()
    }
}

fn sentence(it: &Use<'_>) -> String {
    let (used, share) = (percent(it.used.unwrap_or(0.0)), percent(it.share().unwrap_or(0.0)));
    let what = match it.resource {
        Resource::Memory => format!("memory is {used} used"),
        Resource::Cpu => format!("CPUs were {used} busy in the last 30 s"),
        Resource::Filesystem(mountpoint) => format!("{mountpoint} is {used} used"),
    };
    format!("{what}, {share} of the limit of {}", percent(it.limit))
}

/// That the numbers are lower already.
fn held(standing: &Standing) -> Option<String> {
    let Standing { now, at_least, hold_ns, .. } = *standing;
    (now < at_least).then(|| format!("held for {} s after the numbers fell to level {now}", hold_ns / 1_000_000_000))
}
