//! Models that are read again and again from a slow disk.

use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::draft;
use crate::advise::need::{Servers, reads_again};
use crate::advise::{Given, Judged, Rule};
use crate::amount::bytes;
use crate::statistic::model_file::{How, Tier};
use crate::view::model_file::Line;

pub(super) const TIER: Rule = Rule {
    name: "model_file_disk",
    when: "A mapped model on a network filesystem or a disk that rotates was read again by a tenth and 64 MiB at least, and still is.",
    needs: "What of a model file is in memory (cachestat or mincore), and what its disk is.",
    judge,
};

const AGAIN_SHARE: f64 = 0.1;
const AGAIN_LEAST: f64 = (64u64 << 20) as f64;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let servers = Servers::of(view);
    for (([name, ..], _, file), line) in view.model_files.lines(&view.workloads) {
        let slow = matches!(line.tier, Tier::Hdd | Tier::Network) && line.how == How::Mapped;
        let again = line.again as f64 >= (AGAIN_SHARE * line.bytes as f64).max(AGAIN_LEAST);
        if !slow || !again {
            continue;
        }
        let Some(workload) = view.workloads.find(name) else { continue };
        let id = crate::advice::id(TIER.name, &Object::File(file.to_owned()));
        // Several workloads may read it.
        let told = judged.advice.iter().any(|advice| advice.id == id);
        if !told && reads_again(view, workload, &servers.get(name)) {
            judged.advice.push(advice(name, file, &line));
        }
    }
}

fn advice(workload: &str, file: &str, line: &Line<'_>) -> Advice {
    let object = Object::File(file.to_owned());
    let (on, confidence, because) = match line.tier {
        Tier::Network => {
            ("a network filesystem", Confidence::Medium, "Another host or the network may be fast enough for it.")
        }
        _ => {
            ("a disk that says that it rotates", Confidence::Low, "Disks of virtual machines often say so and do not.")
        }
    };
    let evidence = vec![
        Evidence::measured("size of the file", line.bytes as f64, Unit::Bytes),
        Evidence::measured("read again after it was dropped, since it is watched", line.again as f64, Unit::Bytes),
    ];
    let title = format!("Move {file} to a local SSD, or keep all of it in memory.");
    let why = format!(
        "{workload} maps {file} from {on} ({}), and read {} of it again after it was dropped from memory.",
        line.file.fstype,
        bytes(line.again)
    );
    let actions = vec![by_hand(
        object.clone(),
        "the file on a local SSD, and its new path in the server's command line".to_owned(),
        Risk::Medium,
    )];
    let because = because.to_owned();
    Advice { evidence, confidence, because, ..draft(TIER.name, object, actions, title, why) }
}
