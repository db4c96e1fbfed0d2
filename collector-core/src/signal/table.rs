//! The table of signals, one row each. Macros generate from it everything that must know all signals: the variants of
//! [`crate::sample::Reading`], decoding, the engine's match arms, and the sums of a workload. Only data.

/// Passes the rows to the macro `$to`, which generates what its file needs.
///
/// Most signals are *folded*: each has a file in `engine/`, whose `fold` says what its readings change.
/// `signal: Reading from Origin, record [Kind], maps ["MAP" => function];` says: `signal/signal.rs` has `Reading`, which is
/// `sample::Reading::Reading`; its function `record` decodes records of this `Kind`, and `function` the rows of `MAP`.
///
/// A *counted* signal needs no such file: it has one map with a row per cgroup, whose numbers are added up in the workload.
/// `signal: Reading, "MAP";` says: `signal/signal.rs` has `Counts`, and defines how to read and add them.
macro_rules! signals {
    ($to:ident) => {
        $to! {
            folded {
                cgroup: Cgroup from Cgroup, record [CgroupChange], maps [];
                oom: Oom from Kernel, record [OomKill], maps [];
                kill: Kill from Kernel, record [SignalSent], maps [];
                reclaim: Reclaim from Kernel, record [ReclaimStall], maps ["RECLAIM" => counts, "RECLAIM_TIME" => time];
                kswapd: Kswapd from Kernel, record [], maps ["KSWAPD" => counts];
                compaction: Compaction from Kernel, record [CompactionStall],
                    maps ["COMPACTION" => counts, "COMPACTION_TIME" => time];
                fault: Fault from Kernel, record [], maps ["FAULT" => counts, "MAJOR_FAULT_TIME" => time];
                block: Block from Kernel, record [BlockIo], maps ["BLOCK" => device, "BLOCK_IO" => workload];
                transfer: Transfer from Kernel, record [AllocationRefused],
                    maps ["TRANSFER" => counts, "TRANSFER_TIME" => time];
            }
            counted {
                dirty: Dirty, "DIRTY";
            }
        }
    };
}
pub(crate) use signals;
