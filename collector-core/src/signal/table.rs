//! The table of signals: one row each. Everything that must know them all is made of these rows: the variants of
//! [`crate::sample::Reading`], decoding, the engine's arms, and what a workload is charged. Nothing but data.

/// Hands the rows to the macro `$to`, which makes of them what its file needs.
///
/// Most signals are *folded*: each has a file in `engine/`, whose `fold` says what its readings change.
/// `signal: Reading from Origin, record [Kind], maps ["MAP" => function];` says: `signal/signal.rs` has `Reading`, which is
/// `sample::Reading::Reading`; its function `record` decodes records of this `Kind`, and `function` the rows of `MAP`.
///
/// A *counted* signal needs no such file: one map with a row a cgroup, whose numbers add up in the workload.
/// `signal: Reading, "MAP";` says: `signal/signal.rs` has `Counts`, and says how to read and to add them.
macro_rules! signals {
    ($to:ident) => {
        $to! {
            folded {
                cgroup: Cgroup from Cgroup, record [CgroupChange], maps [];
                oom: Oom from Kernel, record [OomKill], maps [];
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
