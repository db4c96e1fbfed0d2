//! Which work is the same work: its executable, its model, and the settings that matter. A client says it before anything runs, so it
//! counts for the client's own user alone, and only if the agent then sees that program run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::is_shown;

/// Bytes of a digest in hexadecimal, of a name, and of what is shown.
const DIGEST: usize = 64;
const NAME: usize = 128;
const SHOWN: usize = 256;
/// Names that the processes of one program may have, and resources that somebody declares.
const NAMES: usize = 4;
const DECLARED: usize = 8;
/// The kernel keeps so many bytes of the name of a process (TASK_COMM_LEN of include/linux/sched.h, without the final zero).
const COMM: usize = 15;

/// A file as its filesystem knows it: another version of a program is another file, or has another size or time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExecutableFile)]
pub struct File {
    pub device: u64,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since the Unix epoch.
    pub modified: u64,
}

/// What is started, as the client that starts it knows it. Digests, never arguments: these may be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// What is executed; of a script its interpreter.
    pub executable: File,
    /// The names that its processes may have: the agent may not always look at their executables.
    pub names: Vec<String>,
    /// A digest of the headers of all models that it loads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A digest of all else that could change what it needs: arguments, a script, the environment.
    pub settings: String,
    /// What it is called where it is listed.
    pub name: String,
    /// The resources whose amount a person declared for this start: that stands, whatever was learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<String>,
}

impl Work {
    /// # Errors
    /// With a sentence, if anything is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        let digest =
            |text: &String| (1..=DIGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = |text: &String, most: usize| (1..=most).contains(&text.len()) && text.chars().all(is_shown);
        if !digest(&self.settings) || !self.model.iter().all(digest) {
            return Err(format!("the digests of work have {DIGEST} hexadecimal digits at most"));
        }
        if self.names.is_empty() || self.names.len() > NAMES || !self.names.iter().all(|name| text(name, NAME)) {
            return Err(format!("work has 1 to {NAMES} names of processes, of {NAME} bytes at most"));
        }
        if !text(&self.name, SHOWN) {
            return Err(format!("the name of work has {SHOWN} bytes at most, and can be shown"));
        }
        if self.declared.len() > DECLARED || !self.declared.iter().all(|kind| text(kind, NAME)) {
            return Err(format!("work has {DECLARED} declared resources at most"));
        }
        Ok(())
    }

    /// Whether this is the same work: whatever it is called, and whatever is declared for it.
    pub fn is_same(&self, other: &Work) -> bool {
        self.executable == other.executable && self.model == other.model && self.settings == other.settings
    }

    /// Whether processes with these executables and names are of it. Names count only where no executable could be looked at.
    pub fn is_run_by(&self, executables: &[File], names: &[String]) -> bool {
        let name = |name: &String| {
            let short = |own: &String| own.as_bytes().iter().take(COMM).eq(name.as_bytes().iter().take(COMM));
            self.names.iter().any(short)
        };
        match executables {
            [] => names.iter().any(name),
            some => some.contains(&self.executable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work {
            executable: File { device: 1, inode: 2, size: 3, modified: 4 },
            names: vec!["a-very-long-name-of-a-program".into(), "python3".into()],
            settings: "0af".into(),
            name: "a".into(),
            ..Work::default()
        }
    }

    #[test]
    fn an_executable_tells_and_a_name_only_where_none_could_be_seen() {
        let (work, other) = (work(), File { inode: 9, ..work().executable });
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(work.is_run_by(&[other, work.executable], &[]));
        assert!(!work.is_run_by(&[other], &names(&["python3"])), "it is another version");
        assert!(work.is_run_by(&[], &names(&["sh", "a-very-long-nam"])));
        assert!(!work.is_run_by(&[], &names(&["a-very-long"])) && !work.is_run_by(&[], &[]));
    }

    #[test]
    fn what_is_out_of_its_bounds_is_refused() {
        assert_eq!(work().check(), Ok(()));
        let long = "a".repeat(1000);
        for wrong in [
            Work { settings: String::new(), ..work() },
            Work { settings: "/etc/passwd".into(), ..work() },
            Work { model: Some("a".repeat(65)), ..work() },
            Work { names: Vec::new(), ..work() },
            Work { names: vec!["a".into(); 5], ..work() },
            Work { names: vec!["\x1b[2J".into()], ..work() },
            Work { name: String::new(), ..work() },
            Work { name: long.clone(), ..work() },
            Work { declared: vec![long], ..work() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_it_is_called_and_what_is_declared_make_no_other_work() {
        let work = work();
        let other = Work { name: "b".into(), declared: vec!["VRAM".into()], names: vec!["c".into()], ..work.clone() };
        assert!(work.is_same(&other));
        assert!(!work.is_same(&Work { settings: "1".into(), ..work.clone() }));
        assert!(!work.is_same(&Work { model: Some("1".into()), ..work.clone() }));
        assert!(!work.is_same(&Work { executable: File::default(), ..work.clone() }));
    }
}
