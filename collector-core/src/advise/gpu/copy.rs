//! Copies to GPUs from memory that is not pinned.

use super::{Rule, names};
use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::{draft, lately};
use crate::amount::bytes;
use crate::view::slow::Fact;

/// Who copies so many bytes a second would feel it.
const COPIES: f64 = 200e6;
/// So little pinned memory is none that copies go through.
const NONE: f64 = 16e6;

pub(super) const PAGEABLE: Rule = Rule {
    name: "pageable_copies",
    when: "A workload copied 200 MB a second to a GPU in the last minutes and holds hardly any pinned host memory: the driver copies everything twice, and the GPU waits for it.",
    needs: "transfer.enabled",
    judge: |given, judged| {
        let view = given.view;
        for name in names(given) {
            let Some(trail) = view.slow.workload(name) else { continue };
            let of = |fact| lately(view, trail, fact);
            let Some((rate, pinned)) = of(Fact::ToGpu).zip(of(Fact::Pinned)) else { continue };
            if rate < COPIES || pinned >= NONE {
                continue;
            }
            let object = Object::Workload(name.to_owned());
            let title = format!("Have {name} copy to its GPU from pinned memory.");
            let why = format!(
                "It copied {}/s in the last minutes and holds {} of pinned memory, so the driver copies through a buffer of its own, piece by piece.",
                bytes(rate as u64),
                bytes(pinned as u64)
            );
            let what = "pin_memory=True in PyTorch's DataLoader and non_blocking=True in .to(); the memory limit must have room for the pinned buffers";
            let actions = vec![by_hand(object.clone(), what.to_owned(), Risk::High)];
            let evidence = vec![
                Evidence::measured("copied to GPUs in a second, in the last minutes", rate, Unit::BytesPerSecond),
                Evidence::measured("pinned host memory", pinned, Unit::Bytes),
            ];
            let because =
                "Only the last minutes are known; a model that is being loaded is copied like this as well.".to_owned();
            let advice = draft("pageable_copies", object, actions, title, why);
            judged.advice.push(Advice { evidence, confidence: Confidence::Low, because, ..advice });
        }
    },
};
