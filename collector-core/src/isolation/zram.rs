//! zram that may take so much of the memory that nothing is left to compress into. Advice about it judges by the same numbers.

use super::Check;
use super::found::Found;
use crate::action::Object;
use crate::advice::{Evidence, Unit};
use crate::amount::{bytes, fixed, percent};
use crate::statistic::host::Statistic;
use crate::view::View;
use crate::view::host::Host;

pub(super) const CHECK: Check = Check {
    name: "zram_size",
    holds: "The memory that all zram devices may use (mem_limit, else disksize) is at most half of the host's.",
    otherwise: "Data that hardly compresses takes the memory that compressing needs: the host swaps without end.",
    needs: "Size, limit and use of the zram devices that are set up (mm_stat), while there is swap.",
    unused: "No zram device is set up as swap.",
    judge,
};

/// Of the host's memory.
const HALF: f64 = 0.5;

/// What zram may take and takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zram {
    /// The most memory that it may take: its limit, else its size.
    pub most: f64,
    pub used: f64,
    /// Its size, if there is no limit below that.
    pub unlimited: Option<f64>,
    /// Before and after compression, if there is anything in it.
    pub ratio: Option<(f64, f64)>,
    /// Memory of the host.
    pub total: f64,
}

impl Zram {
    /// `None` where none is used as swap.
    pub fn of(host: &Host) -> Option<Zram> {
        let get = |statistic| host.statistics.get(statistic).map(|bytes| bytes as f64);
        let (total, most) = (host.memory()?.total as f64, get(Statistic::ZramMost)?);
        // A device that is no swap takes only what somebody stores in it.
        get(Statistic::SwapTotal).filter(|swap| *swap > 0.0)?;
        let ratio = get(Statistic::ZramOriginal).zip(get(Statistic::ZramCompressed));
        Some(Zram {
            most,
            used: get(Statistic::ZramUsed).unwrap_or(0.0),
            unlimited: get(Statistic::ZramSize).filter(|size| most >= *size),
            ratio: ratio.filter(|(_, compressed)| *compressed > 0.0),
            total,
        })
    }

    pub fn is_too_large(self) -> bool {
        self.most > HALF * self.total
    }
}

fn judge(view: &View, found: &mut Found) {
    let Some(zram) = Zram::of(&view.host) else { return };
    let shown = |amount: f64| bytes(amount as u64);
    let measured = match zram.ratio {
        Some((original, compressed)) => format!("its data is {} times smaller now", fixed(original / compressed, 1)),
        None => "how well its data compresses is not known yet".to_owned(),
    };
    let share = percent(zram.most / zram.total);
    if !zram.is_too_large() {
        return found.says(format!("zram may take {} at most, {share} of the memory; {measured}.", shown(zram.most)));
    }
    let limit = match zram.unlimited {
        Some(size) => format!("zram is without a limit (mem_limit) and {} large, and", shown(size)),
        None => "By its limit (mem_limit) zram".to_owned(),
    };
    let is =
        format!("{limit} may take {share} of {} of memory if data does not compress; {measured}.", shown(zram.total));
    let next = format!("Limit it: write {} or less to mem_limit in /sys/block/zram*.", (zram.total * HALF) as u64);
    let evidence = vec![
        Evidence::configured("memory that zram may use", zram.most, Unit::Bytes),
        Evidence::measured("memory that it uses", zram.used, Unit::Bytes),
        Evidence::measured("memory of the host", zram.total, Unit::Bytes),
    ];
    found.fails(Object::Host, is, next, evidence);
}
