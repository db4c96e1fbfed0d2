//! `cut-btf`: reduces a kernel's BTF to what the collector reads, so that it is small enough for a fixture.
//!
//! It keeps the prototypes of the hooks in the catalogue, and the members and enumerators listed here. Other types that these
//! refer to keep their name and size, and lose their content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use btf_rs::{Btf, BtfType, Struct, Type};
use collector_common::{Hook, SIGNALS};

/// Structs, and their members that are kept.
const STRUCTS: &[(&str, &[&str])] = &[
    ("task_struct", &["pid", "tgid", "comm", "flags", "mm", "signal", "cred", "cgroups", "exit_code"]),
    ("css_set", &["subsys"]),
    ("cgroup_subsys_state", &["cgroup", "serial_nr", "parent"]),
    ("cgroup", &["kn", "root", "level"]),
    ("cgroup_root", &["hierarchy_id"]),
    ("kernfs_node", &["id"]),
    ("signal_struct", &["oom_score_adj", "maxrss", "flags", "group_exit_code"]),
    ("cred", &["uid"]),
    ("mm_struct", &["rss_stat", "hiwater_rss"]),
    ("mm_rss_stat", &["count"]),
    ("percpu_counter", &["count"]),
    ("mem_cgroup", &["css", "memory", "swap", "oom_lock", "oom_group"]),
    ("page_counter", &["usage", "max"]),
    ("oom_control", &["memcg", "order", "constraint"]),
    ("kernel_siginfo", &["si_code"]),
    ("request", &["q", "rq_disk", "cmd_flags", "__data_len", "bio", "start_time_ns", "rq_flags"]),
    ("request_queue", &["disk"]),
    ("gendisk", &["major", "first_minor", "disk_name"]),
    ("bio", &["bi_blkg"]),
    ("blkcg_gq", &["blkcg"]),
    ("blkcg", &["css"]),
];

/// Enumerators that are kept. An enum that has none of them is skipped.
const ENUMERATORS: &[&str] = &[
    "memory_cgrp_id",
    "MM_FILEPAGES",
    "MM_ANONPAGES",
    "MM_SWAPENTS",
    "MM_SHMEMPAGES",
    "REQ_OP_READ",
    "REQ_OP_WRITE",
    "REQ_OP_FLUSH",
    "REQ_OP_DISCARD",
    "REQ_OP_SECURE_ERASE",
    "VM_FAULT_MAJOR",
    "CONSTRAINT_CPUSET",
    "CONSTRAINT_MEMORY_POLICY",
    "CONSTRAINT_MEMCG",
    "__RQF_IO_STAT",
    // The helper that the layout looks for, and one that every kernel has.
    "BPF_FUNC_get_current_task_btf",
    "BPF_FUNC_get_current_task",
];

/// Reduces the BTF in `input` and writes the result, little-endian, to `output`.
pub fn run(input: &Path, output: &Path) -> Result<()> {
    let btf = Btf::from_file(input).with_context(|| format!("read the BTF in {}", input.display()))?;
    let cut = Cut::new(&btf).all().with_context(|| format!("cut the BTF in {}", input.display()))?;
    fs::write(output, cut).with_context(|| format!("write {}", output.display()))
}

/// The kinds of the BTF format.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const FLOAT: u32 = 16;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// The reduced copy, being built.
struct Cut<'a> {
    btf: &'a Btf,
    /// Id in the input → id in the output. The kept members of an anonymous struct depend on the struct around it, but each is in
    /// only one.
    ids: HashMap<u32, u32>,
    /// Types as words, from id 1.
    types: Vec<Vec<u32>>,
    strings: Vec<u8>,
    offsets: BTreeMap<String, u32>,
}

impl<'a> Cut<'a> {
    fn new(btf: &'a Btf) -> Cut<'a> {
        let offsets = BTreeMap::from([(String::new(), 0)]);
        Cut { btf, ids: HashMap::from([(0, 0)]), types: Vec::new(), strings: vec![0], offsets }
    }

    fn all(mut self) -> Result<Vec<u8>> {
        let hooks: BTreeSet<String> = SIGNALS
            .iter()
            .flat_map(|signal| signal.probes)
            .filter_map(|probe| match probe.hook {
                Hook::RawTracepoint { name, .. } | Hook::TypedTracepoint { name, .. } => {
                    Some(format!("btf_trace_{name}"))
                }
                Hook::Entry(name) | Hook::Exit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => Some(name.into()),
                Hook::Software(_) | Hook::LibraryEntry(_) | Hook::LibraryReturn(_) => None,
            })
            .collect();
        for name in hooks {
            self.named(&name, |r#type| matches!(r#type, Type::Typedef(_) | Type::Func(_)))?;
        }
        for (name, _) in STRUCTS {
            self.named(name, |r#type| matches!(r#type, Type::Struct(_)))?;
        }
        let (first, last) = self.btf.base().type_id_range();
        for id in first..=last {
            let r#type = self.btf.resolve_type_by_id(id)?;
            if matches!(r#type, Type::Enum(_) | Type::Enum64(_)) && !self.enumerators(&r#type)?.is_empty() {
                self.id(id, &[])?;
            }
        }
        Ok(self.bytes())
    }

    fn named(&mut self, name: &str, wanted: fn(&Type) -> bool) -> Result<()> {
        for id in self.btf.resolve_ids_by_name(name)? {
            if wanted(&self.btf.resolve_type_by_id(id)?) {
                self.id(id, &[])?;
            }
        }
        Ok(())
    }

    /// Id in the output of a type in the input. An anonymous struct keeps the members in `wanted`, which are those of the struct
    /// around it.
    fn id(&mut self, there: u32, wanted: &[&str]) -> Result<u32> {
        if let Some(here) = self.ids.get(&there) {
            return Ok(*here);
        }
        self.types.push(Vec::new());
        let here = self.types.len() as u32;
        // Before the types that it refers to, which may refer back to it.
        self.ids.insert(there, here);
        let words = self.words(self.btf.resolve_type_by_id(there)?, wanted)?;
        self.types[here as usize - 1] = words;
        Ok(here)
    }

    fn words(&mut self, r#type: Type, wanted: &[&str]) -> Result<Vec<u32>> {
        let target = |r#type: &dyn BtfType| r#type.get_type_id().context("a type without the type that it refers to");
        let size = |bytes: usize| bytes as u32;
        Ok(match &r#type {
            Type::Int(t) => {
                let encoding = u32::from(t.is_signed()) | u32::from(t.is_char()) << 1 | u32::from(t.is_bool()) << 2;
                vec![self.name(t)?, info(kind::INT, 0, 0), size(t.size()), (encoding << 24) | (size(t.size()) * 8)]
            }
            Type::Ptr(t) => vec![0, info(kind::PTR, 0, 0), self.id(target(t)?, &[])?],
            Type::Array(t) => {
                let element = self.id(target(t)?, &[])?;
                // The reader does not give the type of the index; it is always this one, and never read.
                let int = self.btf.resolve_ids_by_name("unsigned int")?;
                let index = self.id(*int.first().context("no unsigned int")?, &[])?;
                vec![0, info(kind::ARRAY, 0, 0), 0, element, index, size(t.len())]
            }
            Type::Struct(t) => self.container(kind::STRUCT, t, wanted)?,
            Type::Union(t) => self.container(kind::UNION, t, wanted)?,
            Type::Enum(t) => {
                let kept = self.enumerators(&r#type)?;
                let mut words = vec![self.name(t)?, info(kind::ENUM, kept.len(), t.is_signed().into()), size(t.size())];
                kept.into_iter().for_each(|(name, value)| words.extend([self.string(name), value as u32]));
                words
            }
            Type::Enum64(t) => {
                let kept = self.enumerators(&r#type)?;
                let mut words =
                    vec![self.name(t)?, info(kind::ENUM64, kept.len(), t.is_signed().into()), size(t.size())];
                for (name, value) in kept {
                    words.extend([self.string(name), value as u32, (value >> 32) as u32]);
                }
                words
            }
            Type::Fwd(t) => vec![self.name(t)?, info(kind::FWD, 0, t.is_union().into()), 0],
            Type::Typedef(t) => vec![self.name(t)?, info(kind::TYPEDEF, 0, 0), self.id(target(t)?, wanted)?],
            Type::Volatile(t) => vec![0, info(kind::VOLATILE, 0, 0), self.id(target(t)?, wanted)?],
            Type::Const(t) => vec![0, info(kind::CONST, 0, 0), self.id(target(t)?, wanted)?],
            Type::Restrict(t) => vec![0, info(kind::RESTRICT, 0, 0), self.id(target(t)?, wanted)?],
            Type::Func(t) => {
                let linkage = if t.is_static() { 0 } else { 1 };
                vec![self.name(t)?, info(kind::FUNC, linkage, 0), self.id(target(t)?, &[])?]
            }
            Type::FuncProto(t) => {
                let mut words =
                    vec![0, info(kind::FUNC_PROTO, t.parameters.len(), 0), self.id(t.return_type_id(), &[])?];
                for parameter in &t.parameters {
                    words.extend([self.name(parameter)?, self.id(target(parameter)?, &[])?]);
                }
                words
            }
            Type::Float(t) => vec![self.name(t)?, info(kind::FLOAT, 0, 0), size(t.size())],
            Type::TypeTag(t) => {
                vec![self.name(t)?, info(kind::TYPE_TAG, 0, t.is_attribute().into()), self.id(target(t)?, wanted)?]
            }
            other => bail!("unexpected type: {}", other.name()),
        })
    }

    fn container(&mut self, kind: u32, container: &Struct, wanted: &[&str]) -> Result<Vec<u32>> {
        let name = self.btf.resolve_name(container)?;
        let wanted = match STRUCTS.iter().find(|(of, _)| *of == name) {
            Some((_, members)) => members,
            None if name.is_empty() => wanted,
            None => &[],
        };
        let mut members = Vec::new();
        let mut has_bits = false;
        for member in &container.members {
            let id = member.get_type_id().context("a member without a type")?;
            let name = self.btf.resolve_name(member)?;
            let is_kept = match name.as_str() {
                "" => self.holds(id, wanted)?,
                name => wanted.contains(&name),
            };
            if is_kept {
                has_bits |= member.bitfield_size().is_some();
                let bits = member.bitfield_size().unwrap_or(0) << 24;
                let wanted = if name.is_empty() { wanted } else { &[] };
                members.extend([self.string(name), self.id(id, wanted)?, bits | member.bit_offset()]);
            }
        }
        let mut words =
            vec![self.string(name), info(kind, members.len() / 3, has_bits.into()), container.size() as u32];
        words.append(&mut members);
        Ok(words)
    }

    /// Whether an anonymous struct or union, or one inside it, has one of these members.
    fn holds(&self, id: u32, wanted: &[&str]) -> Result<bool> {
        let (Type::Struct(container) | Type::Union(container)) = self.btf.resolve_type_by_id(id)? else {
            return Ok(false);
        };
        for member in &container.members {
            let holds = match self.btf.resolve_name(member)?.as_str() {
                "" => self.holds(member.get_type_id().context("a member without a type")?, wanted)?,
                name => wanted.contains(&name),
            };
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn enumerators(&self, r#type: &Type) -> Result<Vec<(String, u64)>> {
        let mut all = Vec::new();
        match r#type {
            Type::Enum(t) => {
                for member in &t.members {
                    all.push((self.btf.resolve_name(member)?, member.val().into()));
                }
            }
            Type::Enum64(t) => {
                for member in &t.members {
                    all.push((self.btf.resolve_name(member)?, member.val()));
                }
            }
            _ => {}
        }
        all.retain(|(name, _)| ENUMERATORS.contains(&name.as_str()));
        Ok(all)
    }

    fn name(&mut self, named: &dyn BtfType) -> Result<u32> {
        let name = self.btf.resolve_name(named)?;
        Ok(self.string(name))
    }

    fn string(&mut self, string: String) -> u32 {
        let end = self.strings.len() as u32;
        *self.offsets.entry(string).or_insert_with_key(|string| {
            self.strings.extend(string.bytes().chain([0]));
            end
        })
    }

    fn bytes(self) -> Vec<u8> {
        const HEADER: u32 = 24;
        let types: Vec<u8> = self.types.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [HEADER, 0, types.len() as u32, types.len() as u32, self.strings.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(types);
        bytes.extend(self.strings);
        bytes
    }
}

fn info(kind: u32, vlen: usize, flag: u32) -> u32 {
    flag << 31 | kind << 24 | vlen as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_file_is_reduced_no_further() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/btf");
        let mut seen = 0;
        for fixture in fs::read_dir(fixtures).unwrap() {
            let bytes = fs::read(fixture.unwrap().path()).unwrap();
            let btf = Btf::from_bytes(&bytes).unwrap();
            assert!(Cut::new(&btf).all().unwrap() == bytes);
            seen += 1;
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn a_file_that_is_not_btf_is_an_error() {
        let manifest = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let error = run(manifest, Path::new("/nonexistent/out.btf")).unwrap_err();
        assert!(format!("{error:#}").starts_with("read the BTF in "), "{error:#}");
    }
}
