//! Queries a kernel's BTF for the arguments of tracepoints and functions.
//!
//! Knows nothing about the expected arguments, and trusts the BTF no more than `btf.rs` does.

use btf_rs::{BtfType, Type};

use super::btf::{DEPTH, Types};

impl Types<'_> {
    /// The arguments that a tracepoint passes, spelt as in C.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<String>, String> {
        let is_prototype = |typedef| match typedef {
            Type::Typedef(typedef) => match self.target(typedef.get_type_id()?)? {
                Type::Ptr(pointer) => self.target(pointer.get_type_id()?),
                _ => None,
            },
            _ => None,
        };
        let mut arguments = self
            .arguments(&format!("btf_trace_{name}"), is_prototype)
            .ok_or_else(|| format!("this kernel has no tracepoint {name}"))?;
        // The first argument is the listener's own data pointer.
        if arguments.is_empty() || arguments.remove(0) != "void *" {
            return Err(format!("the prototype of tracepoint {name} is malformed"));
        }
        Ok(arguments)
    }

    /// The arguments that a function takes, spelt as in C.
    pub fn function(&self, name: &str) -> Result<Vec<String>, String> {
        let is_prototype = |function| match function {
            Type::Func(function) => self.target(function.get_type_id()?),
            _ => None,
        };
        self.arguments(name, is_prototype)
            .ok_or_else(|| format!("this kernel has no function {name} that can be traced"))
    }

    fn arguments(&self, name: &str, prototype: impl Fn(Type) -> Option<Type>) -> Option<Vec<String>> {
        self.named(name).into_iter().find_map(|r#type| match prototype(r#type)? {
            Type::FuncProto(prototype) => {
                Some(prototype.parameters.iter().map(|p| self.spell(p.get_type_id().unwrap_or(0))).collect())
            }
            _ => None,
        })
    }

    /// A type, spelt as in C. Integers go by size and sign: their names depend on the compiler that built the kernel.
    fn spell(&self, id: u32) -> String {
        let mut stars = String::new();
        let mut constant = "";
        let mut id = id;
        for _ in 0..DEPTH {
            let r#type = match id {
                0 => Type::Void,
                id => match self.btf.resolve_type_by_id(id) {
                    Ok(r#type) => r#type,
                    Err(_) => break,
                },
            };
            let base = match &r#type {
                Type::Ptr(t) => {
                    // So far `const` applies to the pointer itself, which matters only to the callee.
                    constant = "";
                    stars.insert_str(0, if stars.is_empty() { " *" } else { "*" });
                    id = t.get_type_id().unwrap_or(0);
                    continue;
                }
                Type::Const(t) => {
                    constant = "const ";
                    id = t.get_type_id().unwrap_or(0);
                    continue;
                }
                Type::Volatile(t) | Type::Restrict(t) => {
                    id = t.get_type_id().unwrap_or(0);
                    continue;
                }
                Type::TypeTag(t) => {
                    id = t.get_type_id().unwrap_or(0);
                    continue;
                }
                Type::Void => "void".into(),
                Type::Int(t) if t.is_bool() => "bool".into(),
                Type::Int(t) => integer(t.size(), t.is_signed()).into(),
                Type::Typedef(t) => self.name(t),
                Type::Struct(t) => format!("struct {}", self.name(t)),
                Type::Union(t) => format!("union {}", self.name(t)),
                Type::Fwd(t) => format!("{} {}", if t.is_union() { "union" } else { "struct" }, self.name(t)),
                Type::Enum(t) => format!("enum {}", self.name(t)),
                Type::Enum64(t) => format!("enum {}", self.name(t)),
                other => other.name().into(),
            };
            // Only a pointee can be constant for the caller.
            let constant = if stars.is_empty() { "" } else { constant };
            return format!("{constant}{base}{stars}");
        }
        "?".into()
    }
}

fn integer(bytes: usize, signed: bool) -> &'static str {
    match (bytes, signed) {
        // Whether a plain char is signed depends on the architecture.
        (1, _) => "char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (4, true) => "int",
        (4, false) => "unsigned int",
        (8, true) => "long",
        (8, false) => "unsigned long",
        _ => "integer",
    }
}

#[cfg(test)]
mod tests {
    use btf_rs::Btf;

    use super::*;
    use crate::source::kernel::layout::tests::fixture;

    #[test]
    fn types_are_spelt_as_in_c() {
        let btf = Btf::from_bytes(&fixture("5.10.262")).unwrap();
        let types = Types::new(&btf, &[]);
        let attach = ["struct cgroup *", "const char *", "struct task_struct *", "bool"];
        assert_eq!(types.tracepoint("cgroup_attach_task").unwrap(), attach);
        assert_eq!(types.tracepoint("mark_victim").unwrap(), ["struct task_struct *", "uid_t"]);
        assert_eq!(types.tracepoint("mm_compaction_end").unwrap()[4..], ["bool", "int"]);
        assert_eq!(types.function("oom_kill_process").unwrap(), ["struct oom_control *", "const char *"]);
        assert!(types.tracepoint("nonesuch").is_err() && types.function("nonesuch").is_err());
    }
}
