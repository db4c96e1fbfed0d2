//! What a user may write into books in a home, all at once: honest containers keep their names, and memory stays small.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use collector::source::cgroup::Hierarchies;
use collector::source::root::Root;
use collector_tests::agent::{Agent, headroom};
use collector_tests::needs;
use collector_tests::process::{Killed, memory};
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use rustix::fs::{FileType, Mode, inotify};

const MIB: u64 = 1 << 20;
/// What the agent may use at most, with all of it at once.
const MOST: u64 = 128 * MIB;
const BOOK: &str = ".local/share/containers/storage/overlay-containers/containers.json";

/// Uids that no known system uses.
const ENDLESS: u32 = 64_331;
const LONG: u32 = 64_332;
const FIFO: u32 = 64_333;
const LINK: u32 = 64_334;
const GONE: u32 = 64_335;
const HONEST: u32 = 64_336;

fn id(uid: u32) -> String {
    format!("{uid:08x}{:08x}{:048x}", std::process::id(), 0)
}

/// Cgroups below those that are there already, with a process in each container: who holds nothing has no series. When dropped,
/// those that were made are removed.
#[derive(Default)]
struct Made {
    directories: Vec<PathBuf>,
    processes: Vec<Killed>,
}

impl Made {
    fn make(&mut self, path: &str) {
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

    fn container(&mut self, uid: u32) {
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
struct Dead(CString, Option<File>);

impl Dead {
    fn mount(at: &Path) -> Option<Dead> {
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
struct Homes(Scratch);

impl Homes {
    fn home(&self, uid: u32) -> PathBuf {
        self.0.join(uid.to_string())
    }

    /// The path of a user's book, whose folder is made.
    fn book(&self, uid: u32) -> PathBuf {
        let book = self.home(uid).join(BOOK);
        fs::create_dir_all(book.parent().unwrap()).unwrap();
        book
    }

    fn write(&self, uid: u32, text: &str) {
        fs::write(self.book(uid), text).unwrap();
        chown(self.book(uid), Some(uid), None).unwrap();
    }

    fn passwd(&self) -> CString {
        let line = |uid: u32| format!("u{uid}:x:{uid}:{uid}::{}:/bin/sh\n", self.home(uid).display());
        let text: String = [0, ENDLESS, LONG, FIFO, LINK, GONE, HONEST].map(line).concat();
        let path = self.0.join("passwd");
        fs::write(&path, text).unwrap();
        CString::new(path.to_str().unwrap()).unwrap()
    }

    /// Makes a command see these users.
    fn show(&self, command: &mut Command) {
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

fn entry(uid: u32, name: &str) -> String {
    format!(r#"{{"id":"{}","names":["{name}"]}}"#, id(uid))
}

/// A list that is full of short names: four bytes of it took 56 in memory.
fn short_names(uid: u32, bytes: usize) -> String {
    let mut text = r#"[{"id":"x","names":["#.to_owned();
    while text.len() < bytes {
        text.push_str("\"a\",");
    }
    text + r#""a"]},"# + &entry(uid, "late") + "]"
}

#[test]
fn whatever_is_in_the_homes_honest_names_are_found_in_little_memory() {
    needs!(is_root(), "homes of users and cgroups need root");
    let homes = Homes(scratch());
    homes.write(ENDLESS, &short_names(ENDLESS, 16 << 20));
    homes.write(LONG, &short_names(LONG, (4 << 20) - 1000));
    homes.write(HONEST, &format!("[{}]", entry(HONEST, "honest")));
    let fifo = homes.book(FIFO);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(homes.0.join("root's"), format!("[{}]", entry(LINK, "stolen"))).unwrap();
    symlink(homes.0.join("root's"), homes.book(LINK)).unwrap();
    fs::create_dir_all(homes.home(GONE)).unwrap();
    let dead = Dead::mount(&homes.home(GONE));
    needs!(dead.is_some(), "a home that does not answer needs /dev/fuse");
    // Whoever opens them, even for a moment, is seen.
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for file in [&fifo, &homes.0.join("root's")] {
        inotify::add_watch(&watch, file, inotify::WatchFlags::OPEN).unwrap();
    }
    let mut made = Made::default();
    [GONE, ENDLESS, LONG, FIFO, LINK, HONEST].into_iter().for_each(|uid| made.container(uid));

    let docker = homes.0.join("docker");
    fs::create_dir_all(docker.join("containers").join(id(0))).unwrap();
    fs::write(docker.join("containers").join(id(0)).join("config.v2.json"), r#"{"Name":"/web","Config":{}}"#).unwrap();
    let config = format!("tick = \"100ms\"\n[workload]\ndocker = {docker:?}\n");
    let mut agent = Agent::spawn(&config, |command| homes.show(command));
    agent.await_ready();
    let has = |name: &str| {
        let name = name.to_owned();
        move |now: &collector_tests::exposition::Exposition| {
            now.has("headroom_workload_memory_current_bytes", &[("workload", &name)])
        }
    };
    agent.scrape_until("a user's honest container", has(&format!("user-{HONEST}/podman/honest")));
    agent.scrape_until("the last name of a long list", has(&format!("user-{LONG}/podman/late")));
    made.make(&format!("/docker/{}", id(0)));
    let exposition = agent.scrape_until("the host's container", has("docker/web"));
    assert!(!exposition.text.contains("stolen"));
    assert_eq!(exposition.lost("name"), 0.0, "what users break of their own is no loss");
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "name")]), 1.0, "users cannot make it fail");
    agent.await_log(&[&format!("the home of user {GONE} does not answer")]);
    agent.await_log(&[&format!("of user {ENDLESS}: longer than")]);
    agent.await_log(&[&format!("of user {FIFO}: not a regular file")]);
    assert_eq!(rustix::io::read(&watch, &mut [0; 512]), Err(rustix::io::Errno::AGAIN), "one was opened");
    let most = memory(agent.pid(), "VmHWM:");
    assert!(most < MOST, "{} MiB", most / MIB);

    let file = homes.0.join("doctor.toml");
    fs::write(&file, config).unwrap();
    let mut doctor = headroom("doctor");
    homes.show(doctor.arg("--config").arg(&file));
    // It says so in time, but the kernel ends a process only when none of its threads waits for another's lookup.
    let mut doctor = Killed(doctor.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let lines = BufReader::new(doctor.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let words = format!("the home of user {GONE} does not answer");
    assert!({ lines }.any(|line| line.starts_with("names") && line.contains(&words)), "{words}");
    drop(dead);
    // Asked again, it has an answer: the agent's own mount namespace keeps the mount, whose server is gone for good.
    agent.await_log(&[&format!("could not read names of the containers of user {GONE}")]);
}
