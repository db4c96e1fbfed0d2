//! [`Again`]: how much of a file was dropped from the page cache, and read again, since it was first looked at. Knows no process.

use crate::statistic::model_file::{File, How};

/// What one page fault that needs IO reads at least.
const PAGE: u64 = 4096;

/// Both grow only. What was dropped and read again between two readings shows in what the cgroup read again of all files, and in page
/// faults, of which one page is counted. Both count only for a mapped file of which some is missing; the process's libraries are among
/// them: the kernel does not say which file it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Bytes dropped.
    pub evicted: u64,
    /// Bytes read again.
    pub read: u64,
    /// Bytes in the page cache at the last reading, and bytes that were never seen there.
    last: Option<(u64, u64)>,
}

impl Again {
    /// With the next reading of the file. `faults` are the page faults that needed IO, and `refaulted` the bytes of files that were read
    /// again, since the last, as far as they are the file's.
    pub(super) fn next(mut self, file: &File, faults: Option<u64>, refaulted: Option<u64>) -> Again {
        let Some(cached) = file.cached else { return Again { last: None, ..self } };
        let unseen = file.bytes.saturating_sub(cached).saturating_sub(file.evicted.unwrap_or(0));
        let Some((before, unseen_before)) = self.last else { return Again { last: Some((cached, unseen)), ..self } };
        // The kernel forgets in time what it dropped.
        let unseen = unseen.min(unseen_before);
        self.last = Some((cached, unseen));
        let first = unseen_before - unseen;
        let more = cached.saturating_sub(before).saturating_sub(first);
        // A fault on a page that was never there is its first reading.
        // No fault tells of one that is read by other means.
        let missing = file.how == How::Mapped && cached.min(before) < file.bytes;
        let faulted = faults.filter(|_| missing).unwrap_or(0).saturating_mul(PAGE).saturating_sub(first);
        let read = more.max(faulted).max(refaulted.filter(|_| missing).unwrap_or(0));
        let dropped = before.saturating_add(first).saturating_add(read).saturating_sub(cached);
        self.read = self.read.saturating_add(read);
        self.evicted = self.evicted.saturating_add(dropped);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistic::model_file::Tier;

    #[test]
    fn what_a_process_waits_for_is_a_files_only_if_it_is_mapped() {
        let read = |how| {
            let file = File {
                name: "a.gguf".into(),
                id: (1, 1),
                how,
                bytes: 100 * PAGE,
                cached: Some(60 * PAGE),
                evicted: Some(40 * PAGE),
                tier: Tier::Ssd,
                fstype: "ext4".into(),
            };
            let again = Again::default().next(&file, None, None);
            again.next(&file, Some(5), Some(20 * PAGE)).read / PAGE
        };
        assert_eq!([How::Mapped, How::Open, How::Argument].map(read), [20, 0, 0]);
    }
}
