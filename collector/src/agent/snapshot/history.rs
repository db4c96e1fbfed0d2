//! Answers about the history. What memory does not have is read from the disk's tier, for which no snapshot is held.

use std::path::Path;
use std::sync::Arc;

use collector_core::api::lookup::{Disk, Lookup};
use collector_core::api::window::Query;
use collector_core::view::View;

use crate::http::{Answer, Lane, Rendering};
use crate::sink::history::Reader;

/// `dir`: the folder of the file, if one is written.
pub fn render(view: &View, query: &Query, dir: Option<&Path>) -> Rendering {
    let lookup = Lookup::of(view, query);
    if !lookup.wants_disk() {
        return answer(lookup, Disk::Unread).into();
    }
    let Some(dir) = dir.map(Path::to_owned) else { return answer(lookup, Disk::Off).into() };
    let lookup = Arc::new(lookup);
    let late = lookup.clone();
    Rendering::Slow {
        lane: Lane::Disk,
        complete: Box::new(move || {
            let disk = read(&dir, &lookup);
            answer(Arc::unwrap_or_clone(lookup), disk)
        }),
        late: Box::new(move || {
            let why = "the disk takes too long, or too many wait for it".to_owned();
            answer(Arc::unwrap_or_clone(late), Disk::Failed(why))
        }),
    }
}

fn answer(lookup: Lookup, disk: Disk) -> Answer {
    match lookup.answer(disk) {
        Ok(history) => Answer::json(&history),
        Err(problem) => problem.into(),
    }
}

fn read(dir: &Path, lookup: &Lookup) -> Disk {
    let (from, to) = lookup.period();
    let kept = Reader::find(dir).and_then(|reader| match reader {
        Some(reader) => reader.kept(lookup.workload(), from, to),
        None => Ok(None),
    });
    kept.map_or_else(|error| Disk::Failed(format!("{error:#}")), Disk::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use collector_core::engine::Engine;
    use collector_core::sample::{Reading, Sample, Start};
    use collector_core::statistic::host;

    const SECOND: u64 = 1_000_000_000;

    fn view() -> Arc<View> {
        let mut engine = Engine::new();
        let start = Start {
            version: "0.1.0".into(),
            kernel: "6.18.0".into(),
            memory_hierarchy: 0,
            io_hierarchy: 0,
            workload_max: 3,
            workload_grace: SECOND,
            own: None,
            history: None,
            level: None,
            starved: None,
            leak: None,
            controllers: None,
        };
        let memory = [(host::Statistic::MemoryTotal, 100), (host::Statistic::MemoryAvailable, 40)];
        engine.apply(&Sample { time: 9000 * SECOND, reading: Reading::Start(start) });
        for second in 9000..9010 {
            for reading in [Reading::Host(host::Values::from_iter(memory)), Reading::Tick] {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        engine.view().clone()
    }

    fn body(rendering: Rendering) -> String {
        let Answer { bytes, .. } = match rendering {
            Rendering::Done(answer) => answer,
            Rendering::Slow { complete, .. } => complete(),
        };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn only_what_memory_does_not_reach_waits_for_the_disk() {
        let view = view();
        let query = |seconds| Query { seconds, workload: None, series: None, points: None };
        let dir = Path::new("/nonexistent/headroom");
        assert!(matches!(render(&view, &query(300), Some(dir)), Rendering::Done(_)));
        let Rendering::Slow { complete, late, .. } = render(&view, &query(3600), Some(dir)) else { panic!("not slow") };
        let text = |answer: Answer| String::from_utf8(answer.bytes.to_vec()).unwrap();
        let (complete, late) = (text(complete()), text(late()));
        assert!(complete.contains("nothing older is kept") && complete.contains("memory_bytes"), "{complete}");
        assert!(late.contains("the disk takes too long") && late.contains("memory_bytes"), "{late}");
        assert!(body(render(&view, &query(3600), None)).contains("history.max_bytes is 0"));
    }

    #[test]
    fn a_file_that_is_none_leaves_what_memory_has() {
        let dir = std::env::temp_dir().join(format!("headroom-asked-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("history.db"), b"not a database").unwrap();
        let query = Query { seconds: 3600, workload: None, series: None, points: None };
        let text = body(render(&view(), &query, Some(&dir)));
        fs::remove_dir_all(&dir).unwrap();
        assert!(text.contains("the tier on disk was not read") && text.contains("memory_bytes"), "{text}");
    }
}
