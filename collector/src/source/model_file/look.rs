//! [`look`]: the model files of one process, each with what is known of it. May block, on the process and on where the files are.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use collector_core::model_file::{is_model, label};
use collector_core::statistic::model_file::{FILES, File, How, Tier};

use super::cache::{Cached, Kind};
use super::device;
use super::mount::Mounts;
use super::process::{self, Mapped};
use super::walk::{Found, Ways, Who};
use crate::source::root::Root;

/// Limit on the names that are read of a folder that a command line names.
const NAMES: usize = 1024;
/// Limit on the files of a process whose use is remembered, reported or not.
const KNOWN: usize = 256;

/// What does not differ between processes.
#[derive(Clone, Debug)]
pub struct Host {
    pub root: Root,
    pub mounts: Arc<Mounts>,
    /// Whether to see what a process has mapped and open.
    pub inspect: bool,
}

/// What was found of one process.
#[derive(Debug, Default)]
pub struct Looked {
    /// The largest.
    pub files: Vec<File>,
    /// How many more there are.
    pub more: u64,
    /// Device and inode of all of them, as far as [`KNOWN`] reaches.
    pub ids: Vec<(u64, u64)>,
    /// There may be files that were not looked at.
    pub partial: bool,
    pub faults: Option<u64>,
    /// It is not known what it has mapped and open.
    pub blind: bool,
    pub children: Vec<u32>,
}

/// Looks at a process of this user.
///
/// # Errors
/// It has ended.
pub fn look(host: &Host, pid: u32, uid: u32) -> io::Result<Looked> {
    let here = host.root.at("/proc").join(pid.to_string());
    let arguments = process::arguments(&here)?;
    let mounts = Mounts::parse(&process::mounts(&here)?);
    let root = host.root.at("/");
    let ways = Ways { root: &root, process: &mounts, host: &host.mounts };
    let mut files = Files { host, files: BTreeMap::new(), partial: arguments.len() >= process::MOST };
    let mut blind = false;
    if host.inspect {
        match process::mapped(&here).and_then(|mapped| Ok((mapped, process::open(&here)?))) {
            Ok((mapped, open)) => {
                files.partial |= mapped.len() >= process::MOST || open.len() >= process::MOST;
                mapped.iter().for_each(|mapped| files.mapped(&ways, mapped));
                open.iter().for_each(|(path, id)| files.open(&ways, path, *id));
            }
            Err(error) if is_gone(&error) => return Err(error),
            Err(_) => blind = true,
        }
    }
    for path in arguments {
        files.argument(&ways, &path, Who::User(uid));
    }
    let Files { files, partial, .. } = files;
    let mut found: Vec<File> = files.into_values().collect();
    found.sort_by_key(|file| (file.how == How::Argument, std::cmp::Reverse(file.bytes), file.id));
    let ids = found.iter().take(KNOWN).map(|file| file.id).collect();
    let partial = partial || found.len() > KNOWN;
    let more = found.len().saturating_sub(FILES) as u64;
    found.truncate(FILES);
    let faults = process::faults(&here);
    let children = process::children(&here, pid);
    Ok(Looked { files: found, more, ids, partial, faults, blind, children })
}

/// Whether a process ended before or while it was looked at.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// What was found, by device and inode.
struct Files<'a> {
    host: &'a Host,
    files: BTreeMap<(u64, u64), File>,
    partial: bool,
}

impl Files<'_> {
    fn mapped(&mut self, ways: &Ways<'_>, mapped: &Mapped) {
        let found = if mapped.deleted { None } else { ways.find(&mapped.path, Who::Kernel).ok().flatten() };
        match found.filter(|found| found.is_file() && found.stat.st_ino == mapped.inode) {
            Some(found) => self.add(&found, How::Mapped),
            // It has no path any more, or none here: what is mapped is all that is known.
            None => {
                let file = File {
                    name: label(base(&mapped.path)),
                    id: (0, mapped.inode),
                    how: How::Mapped,
                    bytes: mapped.bytes,
                    cached: None,
                    evicted: None,
                    tier: Tier::Unknown,
                    fstype: Arc::default(),
                };
                self.files.entry(file.id).or_insert(file);
            }
        }
    }

    fn open(&mut self, ways: &Ways<'_>, path: &Path, id: (u64, u64)) {
        if let Ok(Some(found)) = ways.find(path, Who::Kernel)
            && found.is_file()
            && found.id() == id
            && process::matters(base(&found.path), found.bytes())
        {
            self.add(&found, How::Open);
        }
    }

    /// A file, or a folder with a model that was made for it: weights beside their `config.json`.
    fn argument(&mut self, ways: &Ways<'_>, path: &Path, who: Who) {
        let Ok(Some(found)) = ways.find(path, who) else { return };
        if found.is_file() {
            // The link's name may be a model's, as in Hugging Face's snapshots, or the file's.
            if process::matters(base(&found.path), found.bytes()) || is_model(base(path), found.bytes()) {
                self.add(&found, How::Argument);
            }
            return;
        }
        if found.kind().ok() == Some(Kind::Program) {
            return;
        }
        let names = found.names(NAMES).unwrap_or_default();
        if !names.iter().any(|name| name == b"config.json") {
            return;
        }
        let models = names.iter().filter(|name| is_model(name, u64::MAX) && !name.ends_with(b".gguf"));
        self.partial |= names.len() >= NAMES || models.clone().count() > process::MOST;
        for name in models.take(process::MOST) {
            let path = found.path.join(std::ffi::OsStr::from_bytes(name));
            if let Ok(Some(file)) = ways.find(&path, who)
                && file.is_file()
                && is_model(name, file.bytes())
            {
                self.add(&file, How::Argument);
            }
        }
    }

    fn add(&mut self, found: &Found, how: How) {
        if let Some(known) = self.files.get_mut(&found.id()) {
            known.how = known.how.min(how);
            return;
        }
        let kind = found.kind().unwrap_or(Kind::Program);
        let Cached { cached, evicted } = match found.cached() {
            Ok(cached) => cached,
            Err(_) => return self.put(found, how, kind, None),
        };
        self.put(found, how, kind, Some((cached, evicted)));
    }

    fn put(&mut self, found: &Found, how: How, kind: Kind, cached: Option<(u64, u64)>) {
        let mounts = &self.host.mounts;
        let bytes = found.bytes();
        let file = File {
            name: label(base(&found.path)),
            id: found.id(),
            how,
            bytes,
            // The last page reaches beyond the end.
            cached: cached.map(|(cached, _)| cached.min(bytes)),
            evicted: cached.map(|(_, evicted)| evicted.min(bytes)),
            tier: device::tier(&self.host.root, mounts, &found.here, found.stat.st_dev, kind),
            fstype: mounts.of(&found.here).map(|mount| mount.fstype.as_str().into()).unwrap_or_default(),
        };
        self.files.insert(file.id, file);
    }
}

fn base(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::source::root::Root;

    struct Reader(Child, PathBuf);

    impl Drop for Reader {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
            let _ = fs::remove_dir_all(&self.1);
        }
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("headroom-look-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn host(inspect: bool) -> Host {
        let mounts = Arc::new(Mounts::parse(&process::mounts(Path::new("/proc/self")).unwrap()));
        Host { root: Root::default(), mounts, inspect }
    }

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn files_of_a_real_process_are_found_by_its_command_line_and_by_what_it_has_open() {
        let folder = folder("real");
        for (name, bytes) in [("a.gguf", 5000), ("b.safetensors", 7000), ("config.json", 2), ("c.gguf", 9000)] {
            fs::write(folder.join(name), vec![7; bytes]).unwrap();
        }
        let [one, other] = ["a.gguf", "c.gguf"].map(|name| folder.join(name));
        // It has one open, names another, and a folder.
        let script = "exec 7<\"$1\"; echo; read _ # $0 $2";
        let mut child = Command::new("sh");
        child.args(["-c", script, "x"]).args([&other, &folder]).arg(format!("--model={}", one.display()));
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _ = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]);
        let reader = Reader(child, folder);
        let found = look(&host(true), reader.0.id(), uid()).unwrap();
        let files: Vec<_> = found.files.iter().map(|file| (&*file.name, file.bytes, file.how)).collect();
        let open = ("c.gguf", 9000, How::Open);
        assert_eq!(files, [open, ("b.safetensors", 7000, How::Argument), ("a.gguf", 5000, How::Argument)]);
        assert_eq!((found.more, found.blind, found.faults.is_some()), (0, false, true));
        if super::super::cache::supported() {
            assert_eq!(found.files[0].cached, Some(9000), "it was just written");
        }
        // Without looking into it, what it names is known.
        let found = look(&host(false), reader.0.id(), uid()).unwrap();
        assert!(found.files.iter().all(|file| file.how == How::Argument), "{found:?}");
        assert_eq!(found.files.len(), 3);
    }

    #[test]
    fn files_beyond_those_that_are_told_are_known_and_what_took_an_open_ones_place_is_not_told() {
        // The kernel says paths without links.
        let folder = fs::canonicalize(folder("many")).unwrap();
        let paths: Vec<PathBuf> = (0..FILES + 4).map(|number| folder.join(format!("{number}.gguf"))).collect();
        paths.iter().for_each(|path| fs::write(path, vec![7; 5000]).unwrap());
        let (replaced, elsewhere) = (folder.join("replaced.gguf"), folder.join("elsewhere.gguf"));
        fs::write(&replaced, "here").unwrap();
        let mut child = Command::new("sh");
        child.args(["-c", "exec 7<\"$0\"; echo; read _ # $*"]).arg(&replaced).args(&paths);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _ = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]);
        let reader = Reader(child, folder.clone());
        let look = || look(&host(true), reader.0.id(), uid()).unwrap();
        let found = look();
        assert_eq!((found.files.len(), found.more, found.ids.len(), found.partial), (FILES, 5, FILES + 5, false));
        let host = host(true);
        let mounts = Mounts::parse(&process::mounts(Path::new("/proc/self")).unwrap());
        let ways = Ways { root: Path::new("/"), process: &mounts, host: &host.mounts };
        let id = |path: &Path| {
            let is = fs::metadata(path).unwrap();
            (std::os::unix::fs::MetadataExt::dev(&is), std::os::unix::fs::MetadataExt::ino(&is))
        };
        let open = |id| {
            let mut files = Files { host: &host, files: BTreeMap::new(), partial: false };
            files.open(&ways, &replaced, id);
            files.files.len()
        };
        let was = id(&replaced);
        assert_eq!(open(was), 1);
        // Between the look at the descriptor and that at its path.
        fs::rename(&replaced, &elsewhere).unwrap();
        fs::write(&replaced, "another").unwrap();
        assert_eq!([open(was), open(id(&replaced))], [0, 1]);
    }

    #[test]
    fn a_process_that_has_ended_is_an_error() {
        assert!(is_gone(&look(&host(true), u32::MAX, 0).unwrap_err()));
    }
}
