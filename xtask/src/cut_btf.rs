//! `cut-btf`: reduces a kernel's BTF to what the collector reads, so that it is small enough for a fixture.
//!
//! It keeps the prototypes of the hooks in the catalogue, and the members and enumerators listed here. Other types that these
//! refer to keep their name and size, and lose their content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use collector_common::{Hook, SIGNALS};
use collector_core::btf::{Btf, Kind, Type};

/// Structs, and their members that are kept.
const STRUCTS: &[(&str, &[&str])] = &[
    ("task_struct", &["pid", "tgid", "comm", "flags", "mm", "signal", "cred", "cgroups", "exit_code"]),
    ("css_set", &["subsys"]),
    ("cgroup_subsys_state", &["cgroup", "serial_nr", "parent", "nr_populated_csets"]),
    (
        "cgroup",
        &[
            "kn",
            "root",
            "level",
            "self",
            "subsys",
            "nr_populated_csets",
            "nr_populated_domain_children",
            "nr_populated_threaded_children",
            "bstat",
            "psi",
        ],
    ),
    ("cgroup_base_stat", &["cputime"]),
    ("task_cputime", &["sum_exec_runtime"]),
    ("psi_group", &["total"]),
    ("task_group", &["css", "cfs_bandwidth"]),
    ("cfs_bandwidth", &["nr_periods", "nr_throttled", "throttled_time"]),
    ("cpuacct", &["css", "cpuusage"]),
    ("bpf_array", &["pptrs"]),
    ("cgroup_root", &["hierarchy_id"]),
    ("kernfs_node", &["id"]),
    ("signal_struct", &["oom_score_adj", "maxrss", "flags", "group_exit_code"]),
    ("cred", &["uid"]),
    ("mm_struct", &["rss_stat", "hiwater_rss"]),
    ("mm_rss_stat", &["count"]),
    ("percpu_counter", &["count"]),
    (
        "mem_cgroup",
        &["css", "memory", "swap", "kmem", "oom_lock", "oom_group", "memory_events", "under_oom", "swappiness"],
    ),
    ("page_counter", &["usage", "max", "high", "low", "min", "watermark", "failcnt"]),
    ("bpf_iter_meta", &["session_id"]),
    ("oom_control", &["memcg", "order", "constraint"]),
    ("kernel_siginfo", &["si_code"]),
    ("request", &["q", "rq_disk", "cmd_flags", "__data_len", "bio", "start_time_ns", "io_start_time_ns", "rq_flags"]),
    ("request_queue", &["disk"]),
    ("gendisk", &["major", "first_minor", "disk_name"]),
    ("bio", &["bi_blkg"]),
    ("blkcg_gq", &["blkcg"]),
    ("blkcg", &["css"]),
];

/// Enumerators that are kept. An enum that has none of them is skipped.
const ENUMERATORS: &[&str] = &[
    "memory_cgrp_id",
    "cpu_cgrp_id",
    "cpuacct_cgrp_id",
    "PSI_AVGS",
    "PSI_MEM_SOME",
    "PSI_CPU_SOME",
    "PSI_IO_SOME",
    "MEMCG_LOW",
    "MEMCG_HIGH",
    "MEMCG_MAX",
    "MEMCG_OOM",
    "MEMCG_OOM_KILL",
    "MEMCG_OOM_GROUP_KILL",
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
    let read = || anyhow::Ok(Btf::parse(fs::read(input)?)?);
    let btf = read().with_context(|| format!("read the BTF in {}", input.display()))?;
    let cut = Cut::new(&btf).all().with_context(|| format!("cut the BTF in {}", input.display()))?;
    fs::write(output, cut).with_context(|| format!("write {}", output.display()))
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
            self.named(&name, &[Kind::Typedef, Kind::Func])?;
        }
        for (name, _) in STRUCTS {
            self.named(name, &[Kind::Struct])?;
        }
        for id in 1..=self.btf.last() {
            if !enumerators(&self.of(id)?).is_empty() {
                self.id(id, &[])?;
            }
        }
        Ok(self.bytes())
    }

    fn of(&self, id: u32) -> Result<Type<'a>> {
        self.btf.get(id).with_context(|| format!("there is no type {id}"))
    }

    fn named(&mut self, name: &str, wanted: &[Kind]) -> Result<()> {
        for id in self.btf.named(name) {
            if wanted.contains(&self.of(id)?.kind) {
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
        let words = self.words(self.of(there)?, wanted)?;
        self.types[here as usize - 1] = words;
        Ok(here)
    }

    fn words(&mut self, r#type: Type<'a>, wanted: &[&str]) -> Result<Vec<u32>> {
        if matches!(r#type.kind, Kind::Struct | Kind::Union) {
            return self.container(&r#type, wanted);
        }
        let (kind, flag, name) = (r#type.kind, r#type.flag, self.string(r#type.name));
        let size = r#type.size().unwrap_or(0) as u32;
        let target = || r#type.target().context("a type without the type that it refers to");
        Ok(match kind {
            Kind::Int => vec![name, info(kind, 0, flag), size, (r#type.encoding() << 24) | (size * 8)],
            Kind::Array => {
                let element = self.id(target()?, &[])?;
                // The reader does not give the type of the index; it is always this one, and never read.
                let index = self.btf.named("unsigned int").next().context("no unsigned int")?;
                vec![0, info(kind, 0, false), 0, element, self.id(index, &[])?, r#type.len() as u32]
            }
            Kind::Enum | Kind::Enum64 => {
                let kept = enumerators(&r#type);
                let mut words = vec![name, info(kind, kept.len(), flag), size];
                for (name, value) in kept {
                    words.extend([self.string(name), value as u32]);
                    words.extend((kind == Kind::Enum64).then_some((value >> 32) as u32));
                }
                words
            }
            Kind::Fwd => vec![name, info(kind, 0, flag), 0],
            Kind::Ptr => vec![0, info(kind, 0, false), self.id(target()?, &[])?],
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                vec![name, info(kind, 0, flag), self.id(target()?, wanted)?]
            }
            Kind::Func => vec![name, info(kind, r#type.linkage().min(1).into(), false), self.id(target()?, &[])?],
            Kind::FuncProto => {
                let parameters: Vec<_> = r#type.parts().collect();
                let mut words = vec![0, info(kind, parameters.len(), false), self.id(target()?, &[])?];
                for parameter in parameters {
                    words.extend([self.string(parameter.name), self.id(parameter.id, &[])?]);
                }
                words
            }
            Kind::Float => vec![name, info(kind, 0, false), size],
            _ => bail!("unexpected type: {kind:?}"),
        })
    }

    fn container(&mut self, container: &Type<'a>, wanted: &[&str]) -> Result<Vec<u32>> {
        let wanted = match STRUCTS.iter().find(|(of, _)| *of == container.name) {
            Some((_, members)) => members,
            None if container.name.is_empty() => wanted,
            None => &[],
        };
        let mut members = Vec::new();
        for field in container.parts() {
            let is_kept = match field.name {
                "" => self.holds(field.id, wanted)?,
                name => wanted.contains(&name),
            };
            if is_kept {
                let wanted = if field.name.is_empty() { wanted } else { &[] };
                members.extend([self.string(field.name), self.id(field.id, wanted)?, (field.width << 24) | field.bits]);
            }
        }
        let has_bits = container.flag && !members.is_empty();
        let size = container.size().unwrap_or(0) as u32;
        let mut words = vec![self.string(container.name), info(container.kind, members.len() / 3, has_bits), size];
        words.append(&mut members);
        Ok(words)
    }

    /// Whether an anonymous struct or union, or one inside it, has one of these members.
    fn holds(&self, id: u32, wanted: &[&str]) -> Result<bool> {
        let container = self.of(id)?;
        if !matches!(container.kind, Kind::Struct | Kind::Union) {
            return Ok(false);
        }
        for field in container.parts() {
            let holds = match field.name {
                "" => self.holds(field.id, wanted)?,
                name => wanted.contains(&name),
            };
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn string(&mut self, string: &str) -> u32 {
        let end = self.strings.len() as u32;
        *self.offsets.entry(string.into()).or_insert_with_key(|string| {
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

fn info(kind: Kind, vlen: usize, flag: bool) -> u32 {
    u32::from(flag) << 31 | kind.number() << 24 | vlen as u32
}

/// Those enumerators of an enum that are kept.
fn enumerators<'a>(r#type: &Type<'a>) -> Vec<(&'a str, u64)> {
    let all = r#type.parts().filter(|_| matches!(r#type.kind, Kind::Enum | Kind::Enum64));
    all.map(|part| (part.name, part.value)).filter(|(name, _)| ENUMERATORS.contains(name)).collect()
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
            let btf = Btf::parse(&bytes[..]).unwrap();
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
