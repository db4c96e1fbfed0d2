//! Tests with what a user may put at a path: FIFOs, devices, links, files of others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};

use rustix::fs::{CWD, mknodat};

use super::*;
use crate::source::test::Tree;

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

fn me() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn only_a_missing_file_is_not_an_error() {
    let tree = Tree::new();
    tree.write("folder/file", "12345");
    fifo(&tree.0.join("folder/fifo"));
    for owner in [Owner::Root, Owner::User(me()), Owner::Process] {
        let read = |name: &str, max| Place::new(&tree.0, owner).join("folder").join(name).read(max);
        assert_eq!(read("file", 5).unwrap().as_deref(), Some(&b"12345"[..]), "{owner:?}");
        assert_eq!(read("none", 5).unwrap(), None);
        assert_eq!(read("file/below", 5).unwrap(), None);
        assert_eq!(read("file", 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for name in [".", "fifo"] {
            assert!(read(name, 99).unwrap_err().to_string().contains("not a regular file"), "{name}");
        }
    }
}

/// A FIFO that is opened, even without blocking, wakes its writer: nothing may have opened it.
#[test]
fn what_is_no_file_is_not_opened_at_all() {
    let tree = Tree::new();
    let path = tree.0.join("fifo");
    fifo(&path);
    let watch = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::NONBLOCK).unwrap();
    rustix::fs::inotify::add_watch(&watch, &path, rustix::fs::inotify::WatchFlags::OPEN).unwrap();
    for owner in [Owner::Root, Owner::User(me()), Owner::Process] {
        assert!(Place::new(&tree.0, owner).join("fifo").read(9).is_err());
    }
    let opened = || rustix::io::read(&watch, &mut [0; 256]);
    assert_eq!(opened(), Err(rustix::io::Errno::AGAIN));
    drop(open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap());
    assert!(opened().is_ok(), "the watch sees an opening");
}

#[test]
fn in_a_home_no_link_is_followed_wherever_it_leads() {
    let tree = Tree::new();
    tree.write("outside/secret", "root's");
    tree.write("home/own/file", "own");
    symlink(tree.0.join("outside/secret"), tree.0.join("home/absolute")).unwrap();
    symlink("../outside/secret", tree.0.join("home/relative")).unwrap();
    symlink("own", tree.0.join("home/inside")).unwrap();
    symlink("/proc/self/root", tree.0.join("home/magic")).unwrap();
    symlink("/dev/watchdog", tree.0.join("home/watchdog")).unwrap();
    let home = Place::new(tree.0.join("home"), Owner::User(me()));
    assert_eq!(home.join("own/file").read(9).unwrap().as_deref(), Some(&b"own"[..]));
    let out = tree.0.join("outside/secret");
    let magic = format!("magic/{}", out.display());
    for name in ["absolute", "relative", "inside/file", &magic, "watchdog", "../outside/secret", out.to_str().unwrap()]
    {
        assert!(home.join(name).read(99).is_err(), "{name}");
    }
    // Root's own links lead where root wants.
    assert!(Place::new(tree.0.join("home"), Owner::Root).join("relative").read(99).unwrap().is_some());
}

#[test]
fn in_a_home_only_the_users_own_files_count() {
    if me() != 0 {
        return;
    }
    let tree = Tree::new();
    tree.write("home/file", "x");
    let home = |uid| Place::new(tree.0.join("home"), Owner::User(uid)).join("file").read(9);
    assert!(home(65_534).unwrap_err().to_string().contains("it belongs to user 0, not to user 65534"));
    chown(tree.0.join("home/file"), Some(65_534), None).unwrap();
    assert!(home(65_534).unwrap().is_some());
    assert!(home(0).is_err());
}

#[test]
fn a_process_sees_nothing_outside_its_root() {
    let tree = Tree::new();
    tree.write("root/lib/a", "a");
    tree.write("b", "b");
    symlink("a", tree.0.join("root/lib/link")).unwrap();
    let seen = |path: &str| Place::new(tree.0.join("root"), Owner::Process).join(path).look();
    let found = seen("lib/a").unwrap().unwrap();
    let witness = fs::metadata(tree.0.join("root/lib/a")).unwrap();
    assert_eq!((found.id(), found.bytes()), ((witness.dev(), witness.ino()), 1));
    assert!(seen("../b").unwrap().is_none());
    assert!(seen("lib/link").unwrap().unwrap().open().is_err());
}
