//! A user's cgroups, with names as long and as foreign as the kernel allows; and clients, from another address than the honest one.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use collector::source::cgroup::Hierarchies;
use collector::source::root::Root;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::Done;
use crate::process::Killed;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where hostile clients come from.
const FROM: &str = "127.0.0.2:0";
/// Connections that stay at their first byte.
const HEADS: usize = 300;
/// Those that ask for a page and do not read it.
const BODIES: usize = 12;
/// How long these are held before others take their place.
const HELD: Duration = Duration::from_secs(3);

/// Cgroups of a user, each with a process. When dropped, they are removed.
pub struct Crowd {
    base: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    processes: Vec<Killed>,
}

impl Crowd {
    pub fn gather(uid: u32, count: usize) -> Crowd {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        let mut crowd = Crowd { base: Vec::new(), directories: Vec::new(), processes: Vec::new() };
        for hierarchy in hierarchies.distinct() {
            let mut directory = hierarchy.root.clone();
            for part in ["user.slice".into(), format!("user-{uid}.slice"), format!("user@{uid}.service")] {
                directory.push(part);
                let _ = fs::create_dir(&directory);
                // Where there is one tree for all controllers, they have to be passed on.
                let _ = fs::write(directory.join("cgroup.subtree_control"), "+memory +io");
            }
            crowd.base.push(directory);
        }
        for number in 0..count {
            let start = format!("{:06}-{}", NEXT.fetch_add(1, Ordering::Relaxed), std::process::id());
            let name = match number % 8 {
                0 => format!("{start}\u{1b}[2J\r\u{202e}.scope").into_bytes(),
                1 => [start.as_bytes(), b"\xff\xfe.scope"].concat(),
                2 => format!("libpod-{:0>64}.scope", start.replace('-', "")).into_bytes(),
                _ => format!("{start}{}.scope", "x".repeat(240 - start.len())).into_bytes(),
            };
            let own = crowd.make(OsString::from_vec(name));
            crowd.processes.push(Killed(enter(Command::new("sleep").arg("3600"), own).spawn().unwrap()));
        }
        crowd
    }

    fn make(&mut self, name: OsString) -> Vec<PathBuf> {
        let own: Vec<PathBuf> = self.base.iter().map(|base| base.join(&name)).collect();
        own.iter().for_each(|directory| fs::create_dir(directory).unwrap());
        self.directories.extend(own.iter().cloned());
        own
    }

    /// Runs a command in another one, with a memory limit; whether it was killed.
    pub fn run(&mut self, name: &str, limit: u64, command: &mut Command) -> bool {
        let own = self.make(name.into());
        for file in ["memory.limit_in_bytes", "memory.max"] {
            let path = own[0].join(file);
            if path.exists() {
                fs::write(path, limit.to_string()).unwrap();
            }
        }
        let status = enter(command, own).stdout(Stdio::null()).status().unwrap();
        status.signal() == Some(libc::SIGKILL)
    }
}

/// Makes a command join these cgroups.
fn enter(command: &mut Command, directories: Vec<PathBuf>) -> &mut Command {
    let procs: Vec<PathBuf> = directories.iter().rev().map(|directory| directory.join("cgroup.procs")).collect();
    // SAFETY: between fork and exec only open, write and close are called.
    unsafe { command.pre_exec(move || procs.iter().try_for_each(|procs| fs::write(procs, "0"))) }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.processes.clear();
        for directory in self.directories.iter().rev() {
            // A cgroup can be busy for a moment after its last process ended.
            for _ in 0..200 {
                if fs::remove_dir(directory).is_ok() || !directory.exists() {
                    break;
                }
                sleep(Duration::from_millis(5));
            }
        }
        for base in &self.base {
            // Others may be in use.
            let _ = base.ancestors().take(3).try_for_each(fs::remove_dir);
        }
    }
}

/// A connection from the hostile address.
fn reach(address: &str) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &FROM.parse::<SocketAddrV4>().unwrap()).ok()?;
    connect(&socket, &address.parse::<SocketAddr>().unwrap()).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    Some(stream)
}

/// A scrape that reads all it gets.
pub fn scrape(address: &str, client: usize, done: &Done) {
    let accept =
        ["Accept: application/openmetrics-text; version=1.0.0\r\n", "Accept-Encoding: gzip\r\n", ""][client % 3];
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}\r\n");
    let Some(mut stream) = reach(address) else { return sleep(Duration::from_millis(100)) };
    if stream.write_all(request.as_bytes()).is_ok() {
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        done.scrapes.fetch_add(1, Ordering::Relaxed);
    }
}

fn hold(address: &str, count: usize, request: &[u8], done: &Done) {
    let mut held: Vec<TcpStream> = (0..count).filter_map(|_| reach(address)).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(request)));
    done.connections.fetch_add(held.len() as u64, Ordering::Relaxed);
    sleep(HELD);
}

pub fn hold_heads(address: &str, done: &Done) {
    hold(address, HEADS, b"G", done);
}

pub fn hold_bodies(address: &str, done: &Done) {
    hold(address, BODIES, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", done);
}
