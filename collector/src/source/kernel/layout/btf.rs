//! Queries a kernel's BTF for field offsets and enumerator values; `arguments.rs` has more queries.
//!
//! Knows nothing about what the programs need. Every id, size and offset in the BTF may be invalid: an inconsistent
//! answer is an error text for the operator, and never a loop or a panic.

use std::collections::{HashMap, HashSet};

use btf_rs::{Array, Btf, BtfType, Struct, Type};

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
            types.named(name).iter().for_each(|r#type| types.add_enumerators(r#type));
        }
        types
    }

    pub fn enumerator(&self, name: &str) -> Result<u32, String> {
        self.enumerators.get(name).copied().ok_or_else(|| format!("no enumerator {name} in the kernel's BTF"))
    }

    /// The byte offset of a field, spelt as in C: `css_set.subsys[memory_cgrp_id]`, where the index is an enumerator.
    /// Fails if the field's size is not `width` bytes; a `width` of 0 accepts any.
    pub fn offset(&self, expression: &str, width: usize) -> Result<u32, String> {
        let mut steps = expression.split('.');
        let name = steps.next().unwrap_or_default();
        let mut answer = Err(format!("no struct {name} in the kernel's BTF"));
        for r#type in self.named(name) {
            // A forward declaration, a function or some driver's struct may have the same name.
            if let Type::Struct(container) = r#type {
                answer = self.walk(container, steps.clone(), width).map_err(|why| format!("{expression}: {why}"));
                if answer.is_ok() {
                    break;
                }
            }
        }
        answer
    }

    /// Every type with that name. Types that cannot be resolved are skipped.
    pub(super) fn named(&self, name: &str) -> Vec<Type> {
        self.btf.resolve_types_by_name(name).unwrap_or_default()
    }

    pub(super) fn name(&self, named: &dyn BtfType) -> String {
        self.btf.resolve_name(named).unwrap_or_default()
    }

    fn add_enumerators(&mut self, r#type: &Type) {
        let enumerators: Vec<(String, Option<u32>)> = match r#type {
            Type::Enum(e) => e.members.iter().map(|m| (self.name(m), Some(m.val()))).collect(),
            Type::Enum64(e) => e.members.iter().map(|m| (self.name(m), m.val().try_into().ok())).collect(),
            _ => return,
        };
        for (name, value) in enumerators {
            if let Some(value) = value {
                self.enumerators.entry(name).or_insert(value);
            }
        }
    }

    fn walk<'s>(
        &self,
        container: Struct,
        steps: impl Iterator<Item = &'s str>,
        width: usize,
    ) -> Result<u32, &'static str> {
        let mut at = Type::Struct(container);
        let mut offset = 0u32;
        for step in steps {
            let (field, index) = match step.split_once('[') {
                Some((field, index)) => (field, Some(index.trim_end_matches(']'))),
                None => (step, None),
            };
            let (Type::Struct(container) | Type::Union(container)) = &at else { return Err("not in a struct") };
            let (id, bytes) = self.member(container, field, &mut HashSet::new()).ok_or("no such field")?;
            offset = offset.checked_add(bytes).ok_or("invalid offset")?;
            at = self.target(id).ok_or("the field's type is invalid")?;
            if let Some(index) = index {
                let Type::Array(array) = &at else { return Err("not an array") };
                let index = self.enumerator(index).map_err(|_| "no such index")?;
                let (element, size) = self.element(array).ok_or("the array's type is invalid")?;
                // An array of unknown length has a length of zero.
                if array.len() != 0 && index as usize >= array.len() {
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
    fn member(&self, container: &Struct, name: &str, searched: &mut HashSet<u32>) -> Option<(u32, u32)> {
        container.members.iter().find_map(|member| {
            let id = member.get_type_id()?;
            let is_bits = member.bitfield_size().is_some_and(|bits| bits != 0) || member.bit_offset() % 8 != 0;
            let bytes = member.bit_offset() / 8;
            match self.name(member) {
                found if found == name => (!is_bits).then_some((id, bytes)),
                anonymous if anonymous.is_empty() && searched.len() < NESTED && searched.insert(id) => {
                    match self.target(id)? {
                        Type::Struct(inner) | Type::Union(inner) => {
                            let (id, further) = self.member(&inner, name, searched)?;
                            Some((id, bytes.checked_add(further)?))
                        }
                        _ => None,
                    }
                }
                _ => None,
            }
        })
    }

    /// The type with that id, without typedefs and qualifiers.
    pub(super) fn target(&self, id: u32) -> Option<Type> {
        let mut r#type = self.btf.resolve_type_by_id(id).ok()?;
        for _ in 0..DEPTH {
            let next = match &r#type {
                Type::Typedef(t) => t.get_type_id()?,
                Type::TypeTag(t) => t.get_type_id()?,
                Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => t.get_type_id()?,
                _ => return Some(r#type),
            };
            r#type = self.btf.resolve_type_by_id(next).ok()?;
        }
        None
    }

    /// An array's element, and its size in bytes.
    fn element(&self, array: &Array) -> Option<(Type, usize)> {
        let element = self.target(array.get_type_id()?)?;
        let size = self.size(&element, DEPTH)?;
        Some((element, size))
    }

    fn size(&self, r#type: &Type, depth: usize) -> Option<usize> {
        match r#type {
            Type::Int(t) => Some(t.size()),
            // The programs run only on 64-bit kernels.
            Type::Ptr(_) => Some(8),
            Type::Struct(t) | Type::Union(t) => Some(t.size()),
            Type::Enum(t) => Some(t.size()),
            Type::Enum64(t) => Some(t.size()),
            Type::Array(t) => self.size(&self.target(t.get_type_id()?)?, depth.checked_sub(1)?)?.checked_mul(t.len()),
            _ => None,
        }
    }
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
        Btf::from_bytes(bytes).unwrap().resolve_ids_by_name(name).unwrap()[0]
    }

    fn reason(bytes: &[u8], program: &str) -> String {
        match &resolve_bytes(bytes).unwrap().unmet[program] {
            Unmet::Unsupported(why) | Unmet::Unneeded(why) => why.clone(),
        }
    }

    #[test]
    fn an_unresolvable_expression_says_where_it_fails() {
        let btf = Btf::from_bytes(&fixture("6.12")).unwrap();
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
        let (end, first) = (types(&bytes).end, Btf::from_bytes(&bytes).unwrap().base().type_id_range().1 + 1);
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
        let btf = Btf::from_bytes(&bytes).unwrap();
        let Type::Typedef(fault) = &btf.resolve_types_by_name("btf_trace_page_fault_user").unwrap()[0] else {
            panic!()
        };
        set(&mut bytes, 8, "btf_trace_mm_vmscan_memcg_reclaim_end", fault.get_type_id().unwrap());
        assert!(reason(&bytes, "reclaim_memcg_end").ends_with("which differs from the form of its sibling"));
        assert!(!resolve_bytes(&bytes).unwrap().unmet.contains_key("reclaim_direct_end"));
    }

    #[test]
    fn any_word_may_be_invalid() {
        for kernel in ["5.10.218", "7.3"] {
            let whole = fixture(kernel);
            let last = Btf::from_bytes(&whole).unwrap().base().type_id_range().1;
            let mut outcomes = [0; 3];
            for at in types(&whole).step_by(4) {
                let ids = [1, at as u32 % last + 1, last];
                for value in
                    [0, u32::MAX, 1 << 31, word(&whole, at) ^ 1, word(&whole, at) ^ (1 << 24)].into_iter().chain(ids)
                {
                    let mut bytes = whole.clone();
                    put(&mut bytes, at, value);
                    let Ok(btf) = Btf::from_bytes(&bytes) else {
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
