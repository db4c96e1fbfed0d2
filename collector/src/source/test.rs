//! Temporary trees of files for tests.

use std::fs;
use std::path::PathBuf;
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
