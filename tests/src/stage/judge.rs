//! Compares what was told with what is true.

use collector_core::alert::Alert;
use collector_core::incident::Incident;

use super::play::Played;
use super::row::Row;
use super::scenario::{OOM, Scenario, Truth};
use super::script::Scale;
use super::table::BY_HAND;
use super::told::{Said, Told};

/// A scenario that was played, and its numbers.
pub struct Case<'a> {
    pub scenario: &'a Scenario,
    pub scale: &'a Scale,
    pub played: &'a Played,
}

impl Case<'_> {
    /// Whether the incident is about this scenario.
    pub fn concerns(&self, incident: &Incident) -> bool {
        let label = incident.labels.get("workload").map(String::as_str);
        let affected = incident.evidence.workload.as_ref().map(|it| it.cgroup.as_str());
        let victims = incident.evidence.kills.iter().filter_map(|kill| kill.workload.as_deref());
        let named = label.into_iter().chain(affected).chain(victims);
        self.scenario.alone && incident.kind.name() != OOM || named.into_iter().any(|name| self.is_ours(name))
    }

    fn is_ours(&self, name: &str) -> bool {
        let root = self.scale.name("{id12} {two12} {uid}");
        self.played.paths.values().any(|path| name.starts_with(path.as_str()))
            || root.split(' ').any(|id| name.contains(id))
    }

    /// Whether it also has the kind that must be told.
    pub fn is_wanted(&self, incident: &Incident) -> bool {
        Some(incident.kind.name()) == self.scenario.truth.kind && self.concerns(incident)
    }

    /// Whether all that must be told was told.
    pub fn is_complete(&self, told: &[Told]) -> bool {
        let wanted = told.iter().filter(|it| self.is_wanted(&it.incident));
        let mut killed = 0;
        let all = wanted.fold(None, |all: Option<bool>, it| {
            killed += it.incident.evidence.killed;
            Some(all.unwrap_or(true) && it.incident.complete)
        });
        all == Some(true) && (self.scenario.truth.kind != Some(OOM) || killed >= self.played.kills)
    }

    /// The name that the agent gives to the workload of this cgroup, or to `=NAME`.
    fn workload(&self, group: &str) -> String {
        match group.strip_prefix('=') {
            Some(name) => {
                let root = self.played.paths.get("").map_or("", String::as_str);
                self.scale.name(name).replace("{root}", root)
            }
            None => self.played.paths.get(group).cloned().unwrap_or_default(),
        }
    }

    pub fn judge(&self, told: &[Told], alerts: &[Alert]) -> Row {
        let truth = &self.scenario.truth;
        let ours: Vec<&Told> = told.iter().filter(|it| self.concerns(&it.incident)).collect();
        let mut row = self.row();
        match truth.kind {
            Some(kind) => match ours.iter().find(|it| it.incident.kind.name() == kind) {
                Some(told) => self.compare(told, &mut row),
                None if truth.alert && self.alerted(alerts, &mut row) => {}
                None => {
                    row.last = "nothing was told".to_owned();
                    let others = ours.first().map(|it| it.incident.title.clone());
                    row.faults.extend(others.map(|title| format!("told instead: {title}")));
                }
            },
            None => self.silence(&ours, &mut row),
        }
        self.count(&ours, &mut row);
        row
    }

    /// A kill is a kill: as many as the kernel counts. What somebody else killed is told as that, if at all.
    fn count(&self, ours: &[&Told], row: &mut Row) {
        let killed = ours.iter().filter(|it| it.incident.kind.name() == OOM && !BY_HAND.contains(&&*it.last.cause));
        let killed: u64 = killed.map(|it| it.incident.evidence.killed).sum();
        // A group kill is counted once more than processes die of it.
        let wanted = self.played.kills.saturating_sub(u64::from(self.scenario.truth.together))..=self.played.kills;
        if !wanted.contains(&killed) {
            row.faults.push(format!("{killed} OOM kills told, but {} by the kernel's count", self.played.kills));
        }
    }

    pub fn row(&self) -> Row {
        let Scenario { name, what, truth, .. } = self.scenario;
        let truth = match truth.kind {
            Some(_) => truth.causes.join(" or "),
            None if truth.causes.is_empty() => "nothing".to_owned(),
            None => format!("nothing, or {}", truth.causes.join(" or ")),
        };
        Row { name: (*name).to_owned(), what: (*what).to_owned(), truth, ..Row::default() }
    }

    /// Nothing need be told, and no OOM kill may be.
    fn silence(&self, ours: &[&Told], row: &mut Row) {
        let is_right = |said: &Said| self.scenario.truth.causes.contains(&&*said.cause);
        let kernel = self.played.kills > 0;
        let wrong = ours.iter().find(|it| it.incident.kind.name() == OOM && !kernel && !is_right(&it.last));
        let Some(told) = wrong.or(ours.iter().find(|it| is_right(&it.last))) else {
            (row.first, row.last) = ("nothing".to_owned(), "nothing".to_owned());
            (row.first_right, row.cause_right) = (true, true);
            return;
        };
        (row.first, row.last) = (self.text(&told.first), self.text(&told.last));
        (row.first_right, row.cause_right) = (is_right(&told.first), is_right(&told.last));
    }

    fn compare(&self, told: &Told, row: &mut Row) {
        let Truth { workload, causes, limit, timed, .. } = &self.scenario.truth;
        (row.first, row.last) = (self.text(&told.first), self.text(&told.last));
        row.first_right = causes.contains(&&*told.first.cause);
        row.cause_right = causes.contains(&&*told.last.cause);
        let label = told.incident.labels.get("workload").cloned().unwrap_or_default();
        let wanted: Vec<String> = workload.split('|').map(|group| self.workload(group)).collect();
        if !wanted.contains(&label) {
            row.faults.push(format!("the workload is {}, not {label}", wanted.join(" or ")));
        }
        if let Some((group, percent)) = limit {
            let (of, bytes) = (self.workload(group), self.scale.bytes(*percent));
            match &told.incident.evidence.limit {
                Some(it) if it.workload.as_ref() == Some(&of) && it.bytes == Some(bytes) => {}
                Some(it) => row.faults.push(format!(
                    "the limit is {bytes} of {of}, not {:?} of {}",
                    it.bytes,
                    it.workload.as_deref().unwrap_or("?")
                )),
                None => row.faults.push(format!("the limit is {bytes} of {of}, and none was told")),
            }
        }
        let took = self.played.grew.filter(|_| *timed);
        let said = told.incident.cause.numbers.get("growth_seconds").copied();
        // History has a point a second.
        let wrong = |(took, said): &(f64, f64)| *said > 1.5 * took + 2.0 || *said < 0.5 * took - 1.0;
        if let Some((took, said)) = took.zip(said).filter(wrong) {
            row.faults.push(format!("it grew within {took:.1} s, not {said:.1} s"));
        }
        self.words(&told.last.sentence, row);
        if told.delivered.as_ref().is_some_and(|cause| *cause != told.last.cause) {
            let cause = told.delivered.as_deref().unwrap_or_default();
            row.faults.push(format!("receivers were told {cause}, and no correction"));
        }
    }

    /// Faults of a sentence.
    fn words(&self, sentence: &str, row: &mut Row) {
        // The scenario's name is in its path.
        let root = self.played.paths.get("").map_or("/", String::as_str);
        let low = sentence.replace(root, "").to_lowercase();
        let filled = |word: &str| {
            let paths = self.played.paths.iter().map(|(group, path)| (group, path.replace(root, "")));
            paths.fold(word.to_owned(), |word, (group, path)| word.replace(&format!("{{{group}}}"), &path))
        };
        let has = |word: &str| low.contains(&filled(word).to_lowercase());
        let Truth { says, never, .. } = &self.scenario.truth;
        let missing = says.iter().filter(|words| !words.split('|').any(has));
        let faults = missing.map(|words| format!("the sentence does not say {}", filled(words)));
        let wrong = never.iter().filter(|word| has(word)).map(|word| format!("the sentence says {}", filled(word)));
        row.faults.extend(faults.chain(wrong));
    }

    /// Whether an alert about the workload has the words.
    pub fn alerted(&self, alerts: &[Alert], row: &mut Row) -> bool {
        let name = self.workload(self.scenario.truth.workload);
        let ours = alerts.iter().filter(|alert| alert.labels.get("workload") == Some(&name));
        for alert in ours {
            let mut trial = self.row();
            self.words(&alert.summary, &mut trial);
            if trial.faults.is_empty() {
                row.last = format!("alert {}: {}", alert.alert, alert.summary);
                (row.first, row.first_right, row.cause_right) = (row.last.clone(), true, true);
                return true;
            }
        }
        false
    }

    /// Without the path of the scenario, which is long.
    fn text(&self, said: &Said) -> String {
        let root = self.played.paths.get("").map_or("/", String::as_str);
        format!("{}: {}", said.cause, said.sentence).replace(root, "/…")
    }
}
