//! Compares what was told with what is true.

use collector_core::alert::Alert;
use collector_core::incident::Incident;

use super::play::Played;
use super::row::Row;
use super::scenario::{Act, IO_PRESSURE, KILLED, MEMORY_PRESSURE, OOM, Scenario, Truth};
use super::script::Scale;
use super::told::{Said, Told};

/// A size is right if it is off by less than this share of the scenario's own.
const NEAR: f64 = 0.1;

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
        let waits = [MEMORY_PRESSURE, IO_PRESSURE].contains(&incident.kind.name());
        self.scenario.alone && waits || named.into_iter().any(|name| self.is_ours(name))
    }

    fn is_ours(&self, name: &str) -> bool {
        let root = self.scale.name("{id12} {two12} {uid}");
        self.played.paths.values().any(|path| name.starts_with(path.as_str()))
            || root.split(' ').any(|id| name.contains(id))
    }

    /// Whether it also has the kind that must be told.
    pub fn is_wanted(&self, incident: &Incident) -> bool {
        let (truth, kind) = (&self.scenario.truth, Some(incident.kind.name()));
        (kind == truth.kind || kind == truth.or_kind) && self.concerns(incident)
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
        let wanted: Vec<&Told> = ours.iter().filter(|it| self.is_wanted(&it.incident)).copied().collect();
        let mut row = row_of(self.scenario);
        match truth.kind {
            Some(_) if !wanted.is_empty() => row = self.compare_all(&wanted),
            Some(_) if truth.alert && self.alerted(alerts, &mut row) => {}
            Some(_) => {
                row.last = "nothing was reported".to_owned();
                row.faults.extend(ours.first().map(|it| format!("told instead: {}", it.incident.title)));
            }
            None => self.silence(&ours, &mut row),
        }
        self.count(&ours, &mut row);
        row.faults.extend(self.made_up(&ours));
        row
    }

    /// A kill is a kill: as many as the kernel counts.
    fn count(&self, ours: &[&Told], row: &mut Row) {
        let killed = ours.iter().filter(|it| it.incident.kind.name() == OOM);
        let killed: u64 = killed.map(|it| it.incident.evidence.killed).sum();
        // A group kill is counted once more than processes die of it.
        let wanted = self.played.kills.saturating_sub(u64::from(self.scenario.truth.together))..=self.played.kills;
        if !wanted.contains(&killed) {
            row.faults.push(format!("{killed} OOM kills told, but {} by the kernel's count", self.played.kills));
        }
    }

    /// A kill by a process, although the scenario sends no signal.
    fn made_up(&self, ours: &[&Told]) -> Option<String> {
        let sends = self.scenario.acts.iter().any(|act| matches!(act, Act::Signal(..)));
        let told = ours.iter().find(|it| it.incident.kind.name() == KILLED && !sends)?;
        Some(format!("told as well: {}", told.incident.title))
    }

    /// Nothing need be told. If a death is, then for one of the causes that are right.
    fn silence(&self, ours: &[&Told], row: &mut Row) {
        let is_right = |said: &Said| self.scenario.truth.causes.contains(&&*said.cause);
        let mut deaths = ours.iter().filter(|it| [OOM, KILLED].contains(&it.incident.kind.name()));
        let Some(told) = deaths.clone().find(|it| !is_right(&it.last)).or(deaths.next()) else {
            (row.first, row.last) = ("nothing".to_owned(), "nothing".to_owned());
            (row.first_right, row.cause_right) = (true, true);
            return;
        };
        (row.first, row.last) = (self.text(&told.first), self.text(&told.last));
        (row.first_right, row.cause_right) = (is_right(&told.first), is_right(&told.last));
    }

    /// Every incident of the wanted kind must be right. The row shows the first that is not.
    fn compare_all(&self, wanted: &[&Told]) -> Row {
        let rows: Vec<Row> = wanted.iter().enumerate().map(|(place, told)| self.compare(told, place)).collect();
        let shown = rows.iter().find(|row| !row.right()).or(rows.first()).cloned().unwrap_or_default();
        let all = |right: fn(&Row) -> bool| rows.iter().all(right);
        Row { first_right: all(|row| row.first_right), cause_right: all(|row| row.cause_right), ..shown }
    }

    /// `place`: how many incidents of this kind were told before it.
    fn compare(&self, told: &Told, place: usize) -> Row {
        let Truth { workload, causes, .. } = &self.scenario.truth;
        let mut row = row_of(self.scenario);
        (row.first, row.last) = (self.text(&told.first), self.text(&told.last));
        row.first_right = causes.contains(&&*told.first.cause);
        row.cause_right = causes.contains(&&*told.last.cause);
        let label = told.incident.labels.get("workload").cloned().unwrap_or_default();
        let wanted: Vec<String> = workload.split('|').map(|group| self.workload(group)).collect();
        if !wanted.contains(&label) {
            row.faults.push(format!("the workload is {}, not {label}", wanted.join(" or ")));
        }
        row.faults.extend(self.limit(told));
        row.faults.extend(self.sizes(told));
        row.faults.extend(self.time(told, place));
        self.words(&told.last.sentence, &mut row);
        if told.delivered.as_ref().is_some_and(|cause| *cause != told.last.cause) {
            let cause = told.delivered.as_deref().unwrap_or_default();
            row.faults.push(format!("receivers were told {cause}, and no correction"));
        }
        row
    }

    fn limit(&self, told: &Told) -> Option<String> {
        let (group, percent) = self.scenario.truth.limit?;
        let (of, bytes) = (self.workload(group), self.scale.bytes(percent));
        match &told.incident.evidence.limit {
            Some(it) if it.workload.as_ref() == Some(&of) && it.bytes == Some(bytes) => None,
            Some(it) => {
                let whose = it.workload.as_deref().unwrap_or("?");
                Some(format!("the limit is {bytes} of {of}, not {:?} of {whose}", it.bytes))
            }
            None => Some(format!("the limit is {bytes} of {of}, and none was told")),
        }
    }

    /// Numbers of the cause that are not near the truth.
    fn sizes(&self, told: &Told) -> Vec<String> {
        let near = NEAR * self.scale.bytes(100.0) as f64;
        let wrong = |(name, percent): &(&str, f64)| {
            let (wanted, said) = (self.scale.bytes(*percent), told.incident.cause.numbers.get(*name));
            let right = said.is_some_and(|said| (said - wanted as f64).abs() <= near);
            (!right).then(|| format!("{name} is {wanted}, not {said:?}"))
        };
        self.scenario.truth.sizes.iter().filter_map(wrong).collect()
    }

    fn time(&self, told: &Told, place: usize) -> Option<String> {
        if !self.scenario.truth.timed {
            return None;
        }
        let took = self.played.grew.get(place)?;
        // History has a point a second.
        match told.incident.cause.numbers.get("growth_seconds") {
            Some(said) if (0.5 * took - 1.0..=1.5 * took + 2.0).contains(said) => None,
            Some(said) => Some(format!("it grew within {took:.1} s, not {said:.1} s")),
            None => Some(format!("it grew within {took:.1} s, and no time was told")),
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
            let mut trial = row_of(self.scenario);
            self.words(&alert.summary, &mut trial);
            if trial.faults.is_empty() {
                row.last = format!("alert {}: {}", alert.alert, alert.summary);
                (row.first, row.first_right, row.cause_right) = (row.last.clone(), true, true);
                return true;
            }
        }
        false
    }

    /// Without the path of the scenario, which is long, and that of this process, which says where it was staged.
    fn text(&self, said: &Said) -> String {
        let root = self.played.paths.get("").map_or("/", String::as_str);
        let text = format!("{}: {}", said.cause, said.sentence).replace(root, "/…");
        match collector::source::cgroup::own_path().filter(|own| own.len() > 1) {
            Some(own) => text.replace(&own, "/test"),
            None => text,
        }
    }
}

/// What is true of it, before it is known what was told.
pub fn row_of(scenario: &Scenario) -> Row {
    let Scenario { name, what, truth, .. } = scenario;
    let row = Row::of(name, what, &truth.causes);
    match truth.kind {
        None if !truth.causes.is_empty() => Row { truth: format!("nothing, or {}", row.truth), ..row },
        _ => row,
    }
}

#[cfg(test)]
mod tests {
    use collector_core::incident::Kind;

    use super::*;
    use crate::stage::scenario::Knob;
    use crate::stage::script::Numbers;

    const SPIKE: &[&str] = &["sudden_spike"];

    fn scenario() -> Scenario {
        Scenario::new("a", "it grows").group("", &[Knob::Limit(100.0)])
    }

    /// An incident of the scenario's own cgroup, told as this from the first to the last.
    fn told(kind: Kind, cause: &str, numbers: &[(&str, f64)]) -> Told {
        let mut incident = Incident::new(kind, "1".to_owned(), 7);
        incident.labels.insert("workload".to_owned(), "/a".to_owned());
        incident.evidence.killed = u64::from(kind == Kind::Oom);
        incident.cause.numbers = numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
        let said = Said { cause: cause.to_owned(), sentence: "it says".to_owned() };
        Told { first: said.clone(), last: said, delivered: None, incident }
    }

    fn judged(scenario: &Scenario, kills: u64, told: &[Told]) -> Row {
        let paths = [(String::new(), "/a".to_owned())].into();
        let played = Played { paths, kills, grew: vec![4.0, 20.0], ..Played::default() };
        Case { scenario, scale: &Scale::draw(&mut Numbers::new(7, "a")), played: &played }.judge(told, &[])
    }

    #[test]
    fn every_incident_must_be_right() {
        let scenario = scenario().oom("", SPIKE);
        let (right, wrong) = (told(Kind::Oom, "sudden_spike", &[]), told(Kind::Oom, "own_limit", &[]));
        assert!(judged(&scenario, 2, &[right.clone(), right.clone()]).right());
        let row = judged(&scenario, 2, &[right.clone(), wrong]);
        assert!(!row.right() && !row.first_right && row.last.starts_with("own_limit: "), "{row:?}");
        let row = judged(&scenario, 3, &[right.clone(), right.clone()]);
        assert_eq!(row.faults, ["2 OOM kills told, but 3 by the kernel's count"]);
        let row = judged(&scenario, 1, &[right, told(Kind::Killed, "killed_by_a_process", &[])]);
        assert!(row.cause_right && !row.right(), "nobody sent a signal: {row:?}");
    }

    #[test]
    fn silence_is_broken_only_by_what_may_be_told() {
        let (oom, killed) = (told(Kind::Oom, "sudden_spike", &[]), told(Kind::Killed, "killed_by_a_process", &[]));
        let quiet = scenario().none(&[]);
        assert!(judged(&quiet, 0, &[]).right());
        assert!(judged(&quiet, 0, &[told(Kind::MemoryPressure, "not_known", &[])]).right(), "it may wait");
        assert!(!judged(&quiet, 0, std::slice::from_ref(&oom)).right());
        assert!(!judged(&quiet, 0, std::slice::from_ref(&killed)).right());
        let may = scenario().signal("app", libc::SIGTERM).none(&["killed_by_a_process"]).uncounted();
        assert!(judged(&may, 0, std::slice::from_ref(&killed)).right());
        assert!(!judged(&may, 1, &[killed, oom]).right());
    }

    #[test]
    fn times_and_sizes_must_be_told_and_be_near_the_truth() {
        let timed = scenario().oom("", SPIKE).timed();
        let spike = |seconds| told(Kind::Oom, "sudden_spike", &[("growth_seconds", seconds)]);
        assert!(judged(&timed, 2, &[spike(5.0), spike(19.0)]).right());
        assert!(!judged(&timed, 2, &[spike(5.0), spike(5.0)]).right());
        assert!(!judged(&timed, 1, &[told(Kind::Oom, "sudden_spike", &[])]).right());
        let sized = scenario().oom("", SPIKE).size("filled_bytes", 80.0);
        let size = Scale::draw(&mut Numbers::new(7, "a")).bytes(100.0) as f64;
        let filled = |share| judged(&sized, 1, &[told(Kind::Oom, "sudden_spike", &[("filled_bytes", share * size)])]);
        assert!(filled(0.75).right() && filled(0.88).right());
        assert!(!filled(0.65).right() && !filled(0.95).right());
        assert!(!judged(&sized, 1, &[told(Kind::Oom, "sudden_spike", &[])]).right());
    }
}
