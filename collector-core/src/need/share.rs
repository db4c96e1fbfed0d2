//! Shares of a GPU's memory, which some engines take whatever their model needs. They become bytes once the GPU's size is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::remark::Remark;
use super::{Need, Origin, Part, Resource};
use crate::amount;

/// A part of a GPU's memory that an engine takes in all: the parts of the need on this GPU are within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GpuShare)]
pub struct Share {
    /// What fills the rest of it: `KV cache, the rest of vLLM's share`.
    pub what: String,
    /// Counted among those that this work may use.
    pub gpu: u32,
    /// Millionths of the GPU's memory.
    pub millionths: u32,
    /// Bytes among the parts on this GPU that are beside the share, not within.
    #[serde(default)]
    pub beside: u64,
    /// The error of those: it says nothing about what is within.
    #[serde(default)]
    pub beside_error: u64,
}

const WHOLE: u32 = 1_000_000;

impl Share {
    /// Bytes of a GPU with this much memory, rounded up, as vLLM does (`request_memory` in vllm/v1/worker/utils.py).
    pub fn bytes(&self, total: u64) -> u64 {
        let bytes = (u128::from(total) * u128::from(self.millionths)).div_ceil(u128::from(WHOLE));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub fn percent(&self) -> String {
        amount::percent(f64::from(self.millionths) / f64::from(WHOLE))
    }
}

/// A share as command lines have it, above 0 and at most 1: `0.92`.
pub fn parse(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "a share above 0 and at most 1, such as 0.9";
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(EXPECTED);
    }
    let fraction = &fraction[..fraction.len().min(6)];
    let whole: u32 = if whole.is_empty() { Ok(0) } else { whole.parse() }.map_err(|_| EXPECTED)?;
    let millionths = format!("{fraction:0<6}").parse::<u32>().map_err(|_| EXPECTED)?;
    let sum = whole.checked_mul(WHOLE).and_then(|whole| whole.checked_add(millionths));
    sum.filter(|sum| (1..=WHOLE).contains(sum)).ok_or(EXPECTED)
}

impl Need {
    /// Shares of GPUs whose memory is known become bytes. `totals`: bytes of each GPU, counted as in [`Resource::Vram`].
    pub fn resolve(&mut self, totals: &BTreeMap<u32, u64>) {
        for share in std::mem::take(&mut self.shares) {
            let Some(total) = totals.get(&share.gpu) else {
                self.shares.push(share);
                continue;
            };
            let taken = share.bytes(*total);
            let (least, error) = self.least(share.gpu);
            let (least, error) = (least.saturating_sub(share.beside), error.saturating_sub(share.beside_error));
            if let Some(rest) = taken.checked_sub(least) {
                let resource = Resource::Vram { gpu: share.gpu };
                let origin = Origin::Estimated;
                self.add(Part { what: share.what, resource, amount: rest, error: 0, origin, loading: false });
                continue;
            }
            let sentence = format!(
                "{} of GPU {} ({}) are {}, but it needs at least {}",
                share.percent(),
                share.gpu,
                amount::bytes(*total),
                amount::bytes(taken),
                amount::bytes(least)
            );
            if taken.saturating_add(error) < least {
                self.refused.push(Remark::vram(sentence));
            } else {
                self.assume(format!("it may refuse to start: {sentence}, with an error of {}", amount::bytes(error)));
            }
        }
    }

    /// What is needed of a GPU apart from shares, and its error.
    fn least(&self, gpu: u32) -> (u64, u64) {
        let parts = self.parts.iter().filter(|part| part.resource == Resource::Vram { gpu } && !part.loading);
        parts.fold((0, 0), |(sum, error), part| (sum.saturating_add(part.amount), error.saturating_add(part.error)))
    }

    /// Sentences about what is not known. While there is one, the sums are a lower bound, and no answer can be yes.
    pub fn missing(&self) -> Vec<String> {
        let share = |share: &Share| {
            let (percent, gpu) = (share.percent(), share.gpu);
            format!("how much {percent} of GPU {gpu} is: its size is not known (--gpu-memory SIZE, or a running agent)")
        };
        self.shares.iter().map(share).chain(self.not_known.iter().map(|remark| remark.sentence.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(parts: &[(u64, u64)], millionths: u32) -> Need {
        let part = |(amount, error): &(u64, u64)| Part {
            what: "x".to_owned(),
            resource: Resource::Vram { gpu: 0 },
            amount: *amount,
            error: *error,
            origin: Origin::Estimated,
            loading: false,
        };
        let shares = vec![Share { what: "rest".to_owned(), gpu: 0, millionths, beside: 0, beside_error: 0 }];
        Need { parts: parts.iter().map(part).collect(), shares, ..Need::default() }
    }

    #[test]
    fn shares_are_read_exactly() {
        assert_eq!([parse("0.92"), parse("1"), parse(".5"), parse("1.0")], [920_000, WHOLE, 500_000, WHOLE].map(Ok));
        assert_eq!(parse("0.9123456789"), Ok(912_345));
        for text in ["", ".", "0", "0.0", "1.1", "-0.5", "x", "0.9.1", "+1", "99999999999999999999", "1e-1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_filled_up_to_its_bytes() {
        let mut need = need(&[(100, 10), (200, 0)], 920_000);
        assert!(need.missing()[0].starts_with("how much 92 % of GPU 0 is: its size is not known"));
        need.resolve(&BTreeMap::from([(1, 1000)]));
        assert_eq!(need.shares.len(), 1, "another GPU says nothing of this one");
        need.resolve(&BTreeMap::from([(0, 1001)]));
        assert_eq!((need.total().vram[&0], need.parts[2].amount, need.missing().len()), (921, 621, 0));
    }

    #[test]
    fn a_share_that_is_too_small_is_refused_unless_the_error_covers_it() {
        let mut sure = need(&[(500, 10), (u64::MAX, 0)], 500_000);
        sure.resolve(&BTreeMap::from([(0, 1000)]));
        assert_eq!((sure.refused.len(), sure.parts.len(), sure.shares.len()), (1, 2, 0));
        let mut unsure = need(&[(510, 10)], 500_000);
        unsure.resolve(&BTreeMap::from([(0, 1000)]));
        assert!(
            unsure.refused.is_empty() && unsure.assumptions[0].starts_with("it may refuse to start: 50 % of GPU 0")
        );
    }

    #[test]
    fn what_is_beside_a_share_comes_on_top() {
        let mut need = need(&[(100, 0), (50, 0)], 500_000);
        need.shares[0].beside = 50;
        need.resolve(&BTreeMap::from([(0, 1000)]));
        assert_eq!(need.total().vram[&0], 550);
        let small = |beside_error| {
            let mut need = self::need(&[(60, 0), (50, 40)], 50_000);
            (need.shares[0].beside, need.shares[0].beside_error) = (50, beside_error);
            need.resolve(&BTreeMap::from([(0, 1000)]));
            need.refused.len()
        };
        assert_eq!([small(40), small(0)], [1, 0], "its error says nothing about what is within");
    }

    #[test]
    fn no_size_overflows() {
        let share = Share { what: String::new(), gpu: 0, millionths: u32::MAX, beside: 0, beside_error: 0 };
        assert_eq!(share.bytes(u64::MAX), u64::MAX);
    }
}
