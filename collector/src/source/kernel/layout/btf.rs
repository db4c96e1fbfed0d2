//! Queries a kernel's BTF for field offsets and enumerator values; `arguments.rs` has more queries.
//!
//! Knows nothing about what the programs need. Every id, size and offset in the BTF may be invalid: an inconsistent
//! answer is an error text for the operator, and never a loop or a panic.

use std::collections::{HashMap, HashSet};

use collector_core::btf::{Btf, Kind, Type};

/// Limit on nested typedefs, qualifiers and arrays; real kernels have fewer than ten.
pub(super) const DEPTH: usize = 32;

/// Limit on anonymous structs and unions in a struct; real ones have some dozens.
const NESTED: usize = 256;

/// A kernel's types.
pub struct Types<'a> {
    pub(super) btf: &'a Btf,
    enumerators: HashMap<String, u32>,
}

impl<'a> Types<'a> {
    /// The types in `btf`, and the enumerators of the enums with these names (`""`: unnamed).
    pub fn new(btf: &'a Btf, enums: &[&str]) -> Types<'a> {
        let mut types = Types { btf, enumerators: HashMap::new() };
        for name in enums {
            btf.named(name).filter_map(|id| btf.get(id)).for_each(|r#type| types.add_enumerators(&r#type));
        }
        types
    }

    pub fn enumerator(&self, name: &str) -> Result<u32, String> {
        self.enumerators.get(name).copied().ok_or_else(|| format!("no enumerator {name} in the kernel's BTF"))
    }

    /// The byte offset of a field, spelt as in C: `css_set.subsys[memory_cgrp_id]`, where an index is an enumerator.
    /// Fails if the field's size is not `width` bytes; a `width` of 0 accepts any.
    pub fn offset(&self, expression: &str, width: usize) -> Result<u32, String> {
        let mut steps = expression.split('.');
        let name = steps.next().unwrap_or_default();
        let mut answer = Err(format!("no struct {name} in the kernel's BTF"));
        for r#type in self.named(name) {
            // A forward declaration, a function or some driver's struct may have the same name.
            if r#type.kind == Kind::Struct {
                answer = self.walk(r#type, steps.clone(), width).map_err(|why| format!("{expression}: {why}"));
                if answer.is_ok() {
                    break;
                }
            }
        }
        answer
    }

    /// Every type with that name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = Type<'a>> {
        self.btf.named(name).filter_map(|id| self.btf.get(id))
    }

    fn add_enumerators(&mut self, r#type: &Type<'_>) {
        if !matches!(r#type.kind, Kind::Enum | Kind::Enum64) {
            return;
        }
        for part in r#type.parts() {
            if let Ok(value) = part.value.try_into() {
                self.enumerators.entry(part.name.to_owned()).or_insert(value);
            }
        }
    }

    fn walk<'s>(
        &self,
        container: Type<'a>,
        steps: impl Iterator<Item = &'s str>,
        width: usize,
    ) -> Result<u32, &'static str> {
        let mut at = container;
        let mut offset = 0u32;
        for step in steps {
            let (field, indexes) = step.split_at(step.find('[').unwrap_or(step.len()));
            if !holds_fields(&at) {
                return Err("not in a struct");
            }
            let (id, bytes) = self.member(&at, field, &mut HashSet::new()).ok_or("no such field")?;
            offset = offset.checked_add(bytes).ok_or("invalid offset")?;
            at = self.target(id).ok_or("the field's type is invalid")?;
            for index in indexes.split_terminator(']') {
                if at.kind != Kind::Array {
                    return Err("not an array");
                }
                let index = self.enumerator(index.trim_start_matches('[')).map_err(|_| "no such index")?;
                let (element, size) = self.element(&at).ok_or("the array's type is invalid")?;
                // An array of unknown length has a length of zero.
                if !at.is_empty() && index as usize >= at.len() {
                    return Err("index beyond the array's end");
                }
                let bytes = u32::try_from(size).ok().and_then(|size| size.checked_mul(index));
                offset = bytes.and_then(|bytes| offset.checked_add(bytes)).ok_or("invalid offset")?;
                at = element;
            }
        }
        match self.size(&at, DEPTH) {
            Some(size) if width == 0 || size == width => Ok(offset),
            _ => Err("unexpected size"),
        }
    }

    /// A field's type and byte offset. Fields of anonymous structs and unions count as fields of their parent; each is
    /// searched once, so a recursive one ends.
    fn member(&self, container: &Type<'a>, name: &str, searched: &mut HashSet<u32>) -> Option<(u32, u32)> {
        container.parts().find_map(|field| {
            let is_bits = field.width != 0 || field.bits % 8 != 0;
            let bytes = field.bits / 8;
            match field.name {
                found if found == name => (!is_bits).then_some((field.id, bytes)),
                "" if searched.len() < NESTED && searched.insert(field.id) => {
                    let inner = self.target(field.id).filter(holds_fields)?;
                    let (id, further) = self.member(&inner, name, searched)?;
                    Some((id, bytes.checked_add(further)?))
                }
                _ => None,
            }
        })
    }

    /// The type with that id, without typedefs and qualifiers.
    pub(super) fn target(&self, id: u32) -> Option<Type<'a>> {
        let mut r#type = self.btf.get(id)?;
        for _ in 0..DEPTH {
            match r#type.kind {
                Kind::Typedef | Kind::TypeTag | Kind::Const | Kind::Volatile | Kind::Restrict => {
                    r#type = self.btf.get(r#type.target()?)?;
                }
                _ => return Some(r#type),
            }
        }
        None
    }

    /// An array's element, and its size in bytes.
    fn element(&self, array: &Type<'a>) -> Option<(Type<'a>, usize)> {
        let element = self.target(array.target()?)?;
        let size = self.size(&element, DEPTH)?;
        Some((element, size))
    }

    fn size(&self, r#type: &Type<'a>, depth: usize) -> Option<usize> {
        match r#type.kind {
            // The programs run only on 64-bit kernels.
            Kind::Ptr => Some(8),
            Kind::Array => self.size(&self.target(r#type.target()?)?, depth.checked_sub(1)?)?.checked_mul(r#type.len()),
            Kind::Float => None,
            _ => r#type.size(),
        }
    }
}

fn holds_fields(r#type: &Type<'_>) -> bool {
    matches!(r#type.kind, Kind::Struct | Kind::Union)
}

#[cfg(test)]
mod tests {
    use collector_common::layout::ABSENT;

    use super::*;
    use crate::source::kernel::layout::field::ENUMS;
    use crate::source::kernel::layout::tests::{fixture, resolve_bytes};
    use crate::source::kernel::layout::{LayoutError, Unmet};

    const HEADER: usize = 24;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// The byte range of the types.
    fn types(bytes: &[u8]) -> std::ops::Range<usize> {
        HEADER..HEADER + word(bytes, 12) as usize
    }

    /// The offset of the type with this kind and name.
    fn find(bytes: &[u8], kind: u32, name: &str) -> usize {
        let strings = types(bytes).end;
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        let name = 1 + bytes[strings..].windows(needle.len()).position(|window| window == needle).unwrap() as u32;
        types(bytes).step_by(4).find(|at| word(bytes, *at) == name && word(bytes, at + 4) >> 24 & 0x7f == kind).unwrap()
    }

    fn put(bytes: &mut [u8], at: usize, value: u32) {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Overwrites the size or target of the type of this kind and name.
    fn set(bytes: &mut [u8], kind: u32, name: &str, value: u32) {
        let at = find(bytes, kind, name) + 8;
        put(bytes, at, value);
    }

    fn id(bytes: &[u8], name: &str) -> u32 {
        Btf::parse(bytes).unwrap().named(name).next().unwrap()
    }

    fn reason(bytes: &[u8], program: &str) -> String {
        match &resolve_bytes(bytes).unwrap().unmet[program] {
            Unmet::Unsupported(why) | Unmet::Unneeded(why) => why.clone(),
        }
    }

    #[test]
    fn an_unresolvable_expression_says_where_it_fails() {
        let btf = Btf::parse(fixture("6.12")).unwrap();
        let types = Types::new(&btf, ENUMS);
        let why = |expression, width| types.offset(expression, width).unwrap_err();
        assert_eq!(types.offset("mm_struct.rss_stat[MM_ANONPAGES].count", 8), Ok(872));
        assert_eq!(why("nonesuch.pid", 4), "no struct nonesuch in the kernel's BTF");
        assert_eq!(why("task_struct.nonesuch", 4), "task_struct.nonesuch: no such field");
        assert_eq!(why("task_struct.pid", 8), "task_struct.pid: unexpected size");
        assert_eq!(why("task_struct.pid.x", 4), "task_struct.pid.x: not in a struct");
        assert_eq!(why("task_struct.pid[memory_cgrp_id]", 4), "task_struct.pid[memory_cgrp_id]: not an array");
        assert_eq!(why("css_set.subsys[NONESUCH]", 8), "css_set.subsys[NONESUCH]: no such index");
        // No kernel has 30 controllers.
        let types = Types { enumerators: [("far".into(), 30)].into(), ..types };
        let why = types.offset("css_set.subsys[far]", 8).unwrap_err();
        assert_eq!(why, "css_set.subsys[far]: index beyond the array's end");
    }

    #[test]
    fn a_recursive_typedef_ends() {
        let mut bytes = fixture("6.12");
        let own = id(&bytes, "pid_t");
        set(&mut bytes, 8, "pid_t", own);
        assert_eq!(reason(&bytes, "oom_mark_victim"), "task_struct.pid: the field's type is invalid");
        let own = id(&bytes, "btf_trace_block_rq_issue");
        set(&mut bytes, 8, "btf_trace_block_rq_issue", own);
        assert_eq!(reason(&bytes, "block_rq_issue"), "this kernel has no tracepoint block_rq_issue");
    }

    #[test]
    fn a_recursive_struct_ends() {
        // mm_struct consists of one anonymous struct: its member's type follows the member's name.
        let mut bytes = fixture("6.12");
        let (at, own) = (find(&bytes, 4, "mm_struct") + 16, id(&bytes, "mm_struct"));
        put(&mut bytes, at, own);
        assert_eq!(resolve_bytes(&bytes).unwrap().layout.mm_hiwater_rss, ABSENT);
    }

    #[test]
    fn nesting_is_limited() {
        let mut bytes = fixture("6.12");
        let (end, first) = (types(&bytes).end, Btf::parse(&bytes[..]).unwrap().last() + 1);
        let deep = 100_000;
        // Each is an anonymous struct with one anonymous member, the next one.
        let nested = (first..first + deep).flat_map(|id| [0, 4 << 24 | 1, 8, 0, (id + 1) % (first + deep), 0]);
        let nested: Vec<u8> = nested.flat_map(u32::to_le_bytes).collect();
        let grown = word(&bytes, 12) + nested.len() as u32;
        bytes.splice(end..end, nested);
        put(&mut bytes, 12, grown);
        put(&mut bytes, 16, grown);
        let at = find(&bytes, 4, "mm_struct") + 16;
        put(&mut bytes, at, first);
        assert_eq!(resolve_bytes(&bytes).unwrap().layout.mm_hiwater_rss, ABSENT);
    }

    #[test]
    fn an_id_out_of_range_is_a_missing_type() {
        let mut bytes = fixture("6.12");
        set(&mut bytes, 8, "btf_trace_block_rq_issue", u32::MAX);
        assert_eq!(reason(&bytes, "block_rq_issue"), "this kernel has no tracepoint block_rq_issue");
    }

    #[test]
    fn a_field_of_unexpected_size_is_rejected() {
        let mut bytes = fixture("6.12");
        set(&mut bytes, 1, "short int", 4);
        assert_eq!(reason(&bytes, "oom_mark_victim"), "signal_struct.oom_score_adj: unexpected size");
    }

    #[test]
    fn siblings_with_different_forms_are_not_both_supported() {
        let mut bytes = fixture("7.1");
        // Give it the page fault's prototype: its first argument is an unsigned long too, but no mem_cgroup follows.
        let btf = Btf::parse(&bytes[..]).unwrap();
        let fault = btf.get(id(&bytes, "btf_trace_page_fault_user")).unwrap().target().unwrap();
        set(&mut bytes, 8, "btf_trace_mm_vmscan_memcg_reclaim_end", fault);
        assert!(reason(&bytes, "reclaim_memcg_end").ends_with("which differs from the form of its sibling"));
        assert!(!resolve_bytes(&bytes).unwrap().unmet.contains_key("reclaim_direct_end"));
    }

    #[test]
    fn any_word_may_be_invalid() {
        for kernel in ["5.10.218", "7.3"] {
            let whole = fixture(kernel);
            let last = Btf::parse(&whole[..]).unwrap().last();
            let mut outcomes = [0; 3];
            for at in types(&whole).step_by(4) {
                let ids = [1, at as u32 % last + 1, last];
                for value in
                    [0, u32::MAX, 1 << 31, word(&whole, at) ^ 1, word(&whole, at) ^ (1 << 24)].into_iter().chain(ids)
                {
                    let mut bytes = whole.clone();
                    put(&mut bytes, at, value);
                    let Ok(btf) = Btf::parse(bytes) else {
                        outcomes[0] += 1;
                        continue;
                    };
                    match crate::source::kernel::layout::resolve(&btf) {
                        Err(LayoutError::Attribution(why)) => {
                            assert!(!why.is_empty());
                            outcomes[1] += 1;
                        }
                        Err(other) => panic!("{other}"),
                        Ok(_) => outcomes[2] += 1,
                    }
                }
            }
            // All three outcomes must occur: rejected by the parser, rejected by the resolver, harmless.
            assert!(outcomes.iter().all(|n| *n > 100), "{kernel}: {outcomes:?}");
        }
    }
}
