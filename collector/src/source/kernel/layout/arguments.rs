//! Queries a kernel's BTF for the arguments of tracepoints and functions.
//!
//! Knows nothing about the expected arguments, and trusts the BTF no more than `btf.rs` does.

use collector_core::btf::{Kind, Type};

use super::btf::{DEPTH, Types};

impl<'a> Types<'a> {
    /// The arguments that a tracepoint passes, spelt as in C.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<String>, String> {
        let is_prototype = |typedef: Type<'_>| {
            let pointer = self.target((typedef.kind == Kind::Typedef).then(|| typedef.target())??)?;
            self.target((pointer.kind == Kind::Ptr).then(|| pointer.target())??)
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
        let is_prototype = |function: Type<'_>| self.target((function.kind == Kind::Func).then(|| function.target())??);
        self.arguments(name, is_prototype)
            .ok_or_else(|| format!("this kernel has no function {name} that can be traced"))
    }

    fn arguments(&self, name: &str, prototype: impl Fn(Type<'a>) -> Option<Type<'a>>) -> Option<Vec<String>> {
        self.named(name).find_map(|r#type| {
            let prototype = prototype(r#type).filter(|prototype| prototype.kind == Kind::FuncProto)?;
            Some(prototype.parts().map(|parameter| self.spell(parameter.id)).collect())
        })
    }

    /// A type, spelt as in C. Integers go by size and sign: their names depend on the compiler that built the kernel.
    fn spell(&self, id: u32) -> String {
        let mut stars = String::new();
        let mut constant = "";
        let mut id = id;
        for _ in 0..DEPTH {
            let Some(r#type) = self.btf.get(id) else { break };
            let base = match r#type.kind {
                Kind::Ptr | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    match r#type.kind {
                        Kind::Ptr => {
                            // So far `const` applies to the pointer itself, which matters only to the callee.
                            constant = "";
                            stars.insert_str(0, if stars.is_empty() { " *" } else { "*" });
                        }
                        Kind::Const => constant = "const ",
                        _ => {}
                    }
                    id = r#type.target().unwrap_or(0);
                    continue;
                }
                Kind::Void => "void".into(),
                Kind::Int if r#type.encoding() & 4 != 0 => "bool".into(),
                Kind::Int => integer(r#type.size().unwrap_or(0), r#type.encoding() & 1 != 0).into(),
                Kind::Typedef => r#type.name.into(),
                Kind::Struct => format!("struct {}", r#type.name),
                Kind::Union => format!("union {}", r#type.name),
                Kind::Fwd => format!("{} {}", if r#type.flag { "union" } else { "struct" }, r#type.name),
                Kind::Enum | Kind::Enum64 => format!("enum {}", r#type.name),
                Kind::FuncProto => "function".into(),
                Kind::Array => "array".into(),
                Kind::Float => "float".into(),
                _ => "?".into(),
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
    use collector_core::btf::Btf;

    use super::*;
    use crate::source::kernel::layout::tests::fixture;

    #[test]
    fn types_are_spelt_as_in_c() {
        let btf = Btf::parse(fixture("5.10.262")).unwrap();
        let types = Types::new(&btf, &[]);
        let attach = ["struct cgroup *", "const char *", "struct task_struct *", "bool"];
        assert_eq!(types.tracepoint("cgroup_attach_task").unwrap(), attach);
        assert_eq!(types.tracepoint("mark_victim").unwrap(), ["struct task_struct *", "uid_t"]);
        assert_eq!(types.tracepoint("mm_compaction_end").unwrap()[4..], ["bool", "int"]);
        assert_eq!(types.function("oom_kill_process").unwrap(), ["struct oom_control *", "const char *"]);
        assert!(types.tracepoint("nonesuch").is_err() && types.function("nonesuch").is_err());
    }
}
