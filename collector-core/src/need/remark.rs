//! Sentences of a need that are about amounts: what is declared makes them moot.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Need, Resource};

/// A sentence, and which amounts it is about; neither: it holds whatever is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeedRemark)]
pub struct Remark {
    pub sentence: String,
    /// About host memory.
    #[serde(default)]
    pub host: bool,
    /// About memory of GPUs.
    #[serde(default)]
    pub vram: bool,
}

impl Remark {
    pub fn host(sentence: impl Into<String>) -> Remark {
        Remark { host: true, ..Remark::whatever(sentence) }
    }

    pub fn vram(sentence: impl Into<String>) -> Remark {
        Remark { vram: true, ..Remark::whatever(sentence) }
    }

    pub fn both(sentence: impl Into<String>) -> Remark {
        Remark { host: true, ..Remark::vram(sentence) }
    }

    /// It is about no amount.
    pub fn whatever(sentence: impl Into<String>) -> Remark {
        Remark { sentence: sentence.into(), host: false, vram: false }
    }

    /// All amounts that it is about are declared.
    fn is_moot(&self, declared: &Need) -> bool {
        let says = |vram: bool| {
            declared.parts.iter().any(|part| match &part.resource {
                Resource::Vram { .. } => vram,
                Resource::Host { memory } => !vram && memory.hard(),
                _ => false,
            })
        };
        (self.host || self.vram) && (!self.host || says(false)) && (!self.vram || says(true))
    }
}

/// Keeps the sentences that what is declared leaves true.
pub fn retain(remarks: &mut Vec<Remark>, declared: &Need) {
    remarks.retain(|remark| !remark.is_moot(declared));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::declared::Declared;

    #[test]
    fn a_remark_is_moot_once_all_that_it_is_about_is_declared() {
        let declared = |memory: Option<&str>, vram: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Declared { memory: own(memory), vram: own(vram), ..Declared::default() }.need().unwrap()
        };
        let left = |declared: &Need| {
            let mut all = vec![Remark::host("h"), Remark::vram("v"), Remark::both("b"), Remark::whatever("w")];
            retain(&mut all, declared);
            all.into_iter().map(|remark| remark.sentence).collect::<String>()
        };
        let some = Some("0");
        assert_eq!(left(&declared(None, None)), "hvbw");
        assert_eq!(left(&declared(some, None)), "vbw");
        assert_eq!(left(&declared(None, some)), "hbw");
        assert_eq!(left(&declared(some, some)), "w");
    }
}
