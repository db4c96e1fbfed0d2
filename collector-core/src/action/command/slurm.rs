//! Slurm: what the job asks for the next time. A running job gets no more.

use crate::action::{Change, Command, Tool};

pub(super) fn directive(change: &Change) -> Option<Command> {
    let text = match change {
        Change::MemoryMax(Some(bytes)) => format!("#SBATCH --mem={}M", bytes.div_ceil(1 << 20)),
        Change::CpuMax(Some(cpus)) => format!("#SBATCH --cpus-per-task={}", cpus.ceil()),
        _ => return None,
    };
    let note = "In the script of the job, for its next run: what a running job may have cannot grow.";
    Some(Command::new(Tool::Slurm, text).note(note))
}
