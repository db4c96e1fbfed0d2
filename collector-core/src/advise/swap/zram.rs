//! zram that may take so much of the memory that nothing is left to compress into.

use super::missing::zram_size;
use crate::action::{Object, zram_smaller};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::draft;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, percent};
use crate::isolation::zram::Zram;

pub(super) const TOO_LARGE: Rule = Rule {
    name: "zram_too_large",
    when: "The memory that all zram devices may use (mem_limit, else disksize) is more than half of the host's: data that hardly compresses then takes the memory that compressing needs.",
    needs: "zram, and its sizes in /sys/block.",
    judge,
};

/// From here on it may take nearly all.
const MOST: f64 = 0.75;
/// It takes so much of the memory now.
const TAKES: f64 = 0.25;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let Some(zram) = Zram::of(&given.view.host).filter(|zram| zram.is_too_large()) else { return };
    let Zram { most, used, ratio, total, .. } = zram;
    let to = zram_size(total);
    let mut evidence = vec![
        Evidence::configured("memory that zram may use", most, Unit::Bytes),
        Evidence::measured("memory that it uses", used, Unit::Bytes),
        Evidence::measured("memory of the host", total, Unit::Bytes),
    ];
    evidence.extend(ratio.map(|(original, compressed)| {
        Evidence::computed("how many times smaller its data gets", original / compressed, Unit::Ratio)
    }));
    let (confidence, because) = match () {
        () if used >= TAKES * total => {
            (Confidence::High, format!("It takes {} of the memory already.", percent(used / total)))
        }
        () if most >= MOST * total => {
            (Confidence::Medium, "It does not take much yet; what does not compress would fill the memory.".to_owned())
        }
        () => (Confidence::Low, "It is little more than half, and does not take much yet.".to_owned()),
    };
    let title =
        format!("Make zram smaller: {} instead of {}, or limit its memory (mem_limit).", bytes(to), bytes(most as u64));
    let why = format!(
        "zram may take {} of {} of memory. When it is that full, there is nothing left to compress into, and the host swaps without end.",
        bytes(most as u64),
        bytes(total as u64)
    );
    judged.advice.push(Advice {
        evidence,
        confidence,
        because,
        ..draft(TOO_LARGE.name, Object::Host, vec![zram_smaller(most as u64, to)], title, why)
    });
}
