//! Homes of users that only the agent sees, what they may write into books there, and a filesystem that does not answer.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use collector::source::cgroup::Hierarchies;
use collector::source::root::Root;

use crate::process::Killed;
use crate::scratch::{Scratch, scratch};

const BOOK: &str = ".local/share/containers/storage/overlay-containers/containers.json";

pub fn id(uid: u32) -> String {
    format!("{uid:08x}{:08x}{:048x}", std::process::id(), 0)
}

/// Cgroups below those that are there already, with a process in each container: who holds nothing has no series. When dropped,
/// those that were made are removed.
#[derive(Default)]
pub struct Made {
    directories: Vec<PathBuf>,
    processes: Vec<Killed>,
}

impl Made {
    pub fn make(&mut self, path: &str) {
        let process = Killed(Command::new("sleep").arg("3600").spawn().unwrap());
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        for hierarchy in hierarchies.distinct() {
            let mut directory = hierarchy.root.clone();
            for part in path.split('/').filter(|part| !part.is_empty()) {
                directory.push(part);
                if fs::create_dir(&directory).is_ok() {
                    self.directories.push(directory.clone());
                }
            }
            fs::write(directory.join("cgroup.procs"), process.0.id().to_string()).unwrap();
        }
        self.processes.push(process);
    }

    pub fn container(&mut self, uid: u32) {
        self.make(&format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/libpod-{}.scope", id(uid)));
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.processes.clear();
        self.directories.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
    }
}

/// A filesystem whose server never answers, until it is dropped.
pub struct Dead(CString, Option<File>);

impl Dead {
    pub fn mount(at: &Path) -> Option<Dead> {
        let server = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let [options, at] = [options.as_str(), at.to_str().unwrap()].map(|text| CString::new(text).unwrap());
        let (name, kind) = (c"headroom-dead".as_ptr(), c"fuse".as_ptr());
        // SAFETY: strings that end in zeros and outlive the call.
        let result = unsafe { libc::mount(name, at.as_ptr(), kind, 0, options.as_ptr().cast()) };
        (result == 0).then_some(Dead(at, Some(server)))
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        self.1 = None;
        // SAFETY: a string that ends in zero and outlives the call.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Homes in a folder of the test, and a list of users that only the agent sees.
pub struct Homes {
    pub folder: Scratch,
    uids: Vec<u32>,
}

impl Homes {
    pub fn new(uids: &[u32]) -> Homes {
        Homes { folder: scratch(), uids: uids.to_vec() }
    }

    pub fn home(&self, uid: u32) -> PathBuf {
        self.folder.join(uid.to_string())
    }

    /// The path of a user's book, whose folder is made.
    pub fn book(&self, uid: u32) -> PathBuf {
        let book = self.home(uid).join(BOOK);
        fs::create_dir_all(book.parent().unwrap()).unwrap();
        book
    }

    pub fn write(&self, uid: u32, text: &str) {
        fs::write(self.book(uid), text).unwrap();
        chown(self.book(uid), Some(uid), None).unwrap();
    }

    fn passwd(&self) -> CString {
        let line = |uid: u32| format!("u{uid}:x:{uid}:{uid}::{}:/bin/sh\n", self.home(uid).display());
        let text: String = [0].iter().chain(&self.uids).map(|uid| line(*uid)).collect();
        let path = self.folder.join("passwd");
        fs::write(&path, text).unwrap();
        CString::new(path.to_str().unwrap()).unwrap()
    }

    /// Makes a command see these users.
    pub fn show(&self, command: &mut Command) {
        let passwd = self.passwd();
        let mount = move || {
            let (root, over, none) = (c"/".as_ptr(), c"/etc/passwd".as_ptr(), std::ptr::null());
            // SAFETY: system calls with live strings.
            let done = unsafe {
                [
                    libc::unshare(libc::CLONE_NEWNS),
                    libc::mount(none, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()),
                    libc::mount(passwd.as_ptr(), over, none, libc::MS_BIND, none.cast()),
                ]
            };
            if done.iter().any(|done| *done < 0) { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: between fork and exec there are only system calls.
        unsafe { command.pre_exec(mount) };
    }
}

pub fn entry(uid: u32, name: &str) -> String {
    format!(r#"{{"id":"{}","names":["{name}"]}}"#, id(uid))
}

/// A list that is full of short names: four bytes of it took 56 in memory.
pub fn short_names(uid: u32, bytes: usize) -> String {
    let mut text = r#"[{"id":"x","names":["#.to_owned();
    while text.len() < bytes {
        text.push_str("\"a\",");
    }
    text + r#""a"]},"# + &entry(uid, "late") + "]"
}
