//! Temporary trees of files for tests.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A temporary directory, removed when dropped.
pub struct Tree(pub PathBuf);

impl Tree {
    pub fn new() -> Tree {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headroom-tree-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Tree(path)
    }

    /// Writes a file in it, and creates its parent directories.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A filesystem whose server never answers, until it is dropped.
pub struct DeadServer {
    mountpoint: CString,
    /// Whoever waits for an answer gets an error once it is closed.
    server: Option<File>,
}

impl DeadServer {
    /// `None`, with the reason on stderr, where this process may not mount.
    pub fn mount(at: &Path) -> Option<DeadServer> {
        fs::create_dir_all(at).unwrap();
        let server = File::options().read(true).write(true).open("/dev/fuse").ok();
        let mountpoint = CString::new(at.to_str().unwrap()).unwrap();
        let mounted = server.and_then(|server| {
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
            let options = CString::new(options).unwrap();
            let (name, kind) = (c"headroom-dead".as_ptr(), c"fuse".as_ptr());
            // SAFETY: strings that end in zeros and outlive the call.
            let result = unsafe { libc::mount(name, mountpoint.as_ptr(), kind, 0, options.as_ptr().cast()) };
            (result == 0).then_some(server)
        });
        if mounted.is_none() {
            eprintln!("not tested: a filesystem without an answer needs root and /dev/fuse");
        }
        mounted.map(|server| DeadServer { mountpoint, server: Some(server) })
    }
}

impl Drop for DeadServer {
    fn drop(&mut self) {
        self.server = None;
        // SAFETY: a string that ends in zero and outlives the call.
        unsafe { libc::umount2(self.mountpoint.as_ptr(), libc::MNT_DETACH) };
    }
}
