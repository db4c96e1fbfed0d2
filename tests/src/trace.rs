//! The kernel's own tracing, as a reference: the text of a tracepoint.

use std::fs;
use std::path::PathBuf;

use crate::mount::Mount;

/// A trace instance of its own, so that other tracing is not disturbed. Removed when dropped.
pub struct Trace {
    instance: PathBuf,
    _mount: Mount,
}

impl Trace {
    /// Records this event where `filter` holds, from now on; an error says why tracefs cannot be mounted.
    pub fn of(event: &str, filter: &str) -> Result<Trace, String> {
        let mount = Mount::tracefs()?;
        let instance = mount.0.join(format!("instances/headroom-{}", std::process::id()));
        fs::create_dir(&instance).unwrap_or_else(|error| panic!("{}: {error}", instance.display()));
        let trace = Trace { instance, _mount: mount };
        let (filter_of, enable) = (format!("events/{event}/filter"), format!("events/{event}/enable"));
        for (file, text) in [("buffer_size_kb", "4096"), (&filter_of, filter), (&enable, "1")] {
            fs::write(trace.instance.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        Ok(trace)
    }

    /// Lines of this thread.
    pub fn of_thread(&self, tid: u32) -> Vec<String> {
        let text = fs::read_to_string(self.instance.join("trace")).unwrap();
        assert!(!text.contains("LOST"), "the buffer was too small");
        let of = |line: &&str| line.split(" [").next().is_some_and(|head| head.trim().ends_with(&format!("-{tid}")));
        text.lines().filter(|line| !line.starts_with('#')).filter(of).map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
    }
}
