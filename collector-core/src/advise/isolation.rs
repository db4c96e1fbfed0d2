//! What the audit of isolation found to fail, as advice, where no rule judges the same with more than what is set now. Knows no check.

use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{Risk, by_hand};
use crate::advice::{Advice, Confidence};
use crate::isolation::CHECKS;

const NEEDS: &str = "What the check of the same name needs: [isolation.md](isolation.md).";

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: LIMIT,
        when: "A limit of memory is above a limit above it, or above the host's memory, and so never acts.",
        needs: NEEDS,
        judge: |given, judged| {
            audited(
                given,
                judged,
                LIMIT,
                Confidence::Low,
                "That it does not act is certain; what it was set for is not known.",
            )
        },
    },
    Rule {
        name: PROTECTION,
        when: "What cgroups are protected (memory.min, memory.low), all together, is more than what the cgroup above them is.",
        needs: NEEDS,
        judge: |given, judged| {
            audited(
                given,
                judged,
                PROTECTION,
                Confidence::Medium,
                "That no more is protected than above is certain; what it would have prevented is not known.",
            )
        },
    },
    Rule {
        name: GPU,
        when: "A workload relies on a limit of memory and holds memory of a GPU that shares the host's memory (GB10, Jetson).",
        needs: NEEDS,
        judge: |given, judged| {
            audited(
                given,
                judged,
                GPU,
                Confidence::Medium,
                "What the GPU holds of the host is known; whether that grows past the limit is not.",
            )
        },
    },
    Rule {
        name: KUBELET,
        when: "The limit of all pods is as much as the host's memory, or there is none.",
        needs: NEEDS,
        judge: |given, judged| {
            audited(
                given,
                judged,
                KUBELET,
                Confidence::Medium,
                "That nothing is kept for the host is certain; whether the pods will ever take all of it is not known.",
            )
        },
    },
];

const LIMIT: &str = "limit_above_parent";
const PROTECTION: &str = "protection_above_parent";
const GPU: &str = "unified_gpu_memory";
const KUBELET: &str = "kubelet_reserved";

fn audited(given: &Given<'_>, judged: &mut Judged, name: &'static str, confidence: Confidence, because: &str) {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else { return };
    let audited = check.judge(given.view);
    for failure in audited.fails {
        let action = by_hand(failure.object.clone(), failure.next.clone(), Risk::Medium);
        let advice = draft(name, failure.object, vec![action], failure.next, failure.is);
        let (evidence, because) = (failure.evidence, because.to_owned());
        judged.advice.push(Advice { evidence, confidence, because, ..advice });
    }
    for unknown in audited.not_known {
        judged.lacks(name, unknown.object, unknown.missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Object;
    use crate::advise::stage::Host;
    use crate::statistic::host;
    use crate::statistic::workload::Statistic::{MemoryCurrent, MemoryLimit, MemoryMin};

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_fails_is_advised_and_the_rest_is_not() {
        let mut made = Host::new(&["/kubepods.slice", "/ai.slice", "/ai.slice/a.service"]);
        made.host(1, &[(host::Statistic::MemoryTotal, 64 * GIB), (host::Statistic::MemoryAvailable, 32 * GIB)]);
        let limits = |limit, min| [(MemoryCurrent, GIB), (MemoryLimit, limit), (MemoryMin, min)];
        made.files(1, 2, &limits(8 * GIB, GIB));
        made.files(1, 3, &limits(16 * GIB, 2 * GIB));
        let ids = |made: &Host| {
            let judged = RULES.iter().flat_map(|rule| made.judge(rule).advice).collect::<Vec<_>>();
            assert!(judged.iter().all(|advice| !advice.evidence.is_empty()), "{judged:?}");
            judged.into_iter().map(|advice| (advice.id, advice.confidence)).collect::<Vec<_>>()
        };
        let of = |id: &str, confidence| (id.to_owned(), confidence);
        let expected = [
            of("limit_above_parent:a.service", Confidence::Low),
            of("protection_above_parent:ai.slice", Confidence::Medium),
            of("kubelet_reserved:kubepods.slice", Confidence::Medium),
        ];
        assert_eq!(ids(&made), expected);
        made.files(2, 1, &[(MemoryCurrent, GIB), (MemoryLimit, 60 * GIB)]);
        made.files(2, 3, &limits(8 * GIB, GIB));
        assert_eq!(ids(&made), []);
    }

    #[test]
    fn what_cannot_be_judged_is_said() {
        let mut made = Host::new(&["/kubepods.slice"]);
        made.files(1, 1, &[]);
        made.host(1, &[(host::Statistic::MemoryTotal, 64 * GIB)]);
        let lacking = made.judge(&RULES[3]).lacking;
        assert_eq!(lacking[0].object, Object::Workload("kubepods.slice".to_owned()));
    }
}
