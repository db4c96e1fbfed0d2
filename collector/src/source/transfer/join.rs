//! Joins the programs to one library file: opens it, finds the functions, attaches. May block as long as the file's server does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};

use super::attach::Uprobes;
use super::library;
use crate::source::untrusted::Seen;

/// Size limit in bytes; driver libraries have some tens of megabytes.
const MAX_SIZE: u64 = 1 << 30;

/// A loaded program, and the functions to attach it to.
#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    pub functions: &'static [&'static str],
    /// Attach to the functions' returns instead of their entries.
    pub returns: bool,
    pub fd: OwnedFd,
}

/// A file that is open, and the offsets of the functions in it.
pub struct Found {
    file: File,
    offsets: BTreeMap<&'static str, u64>,
}

/// The programs that are attached to a file.
pub struct Joined {
    /// Dropping them detaches the programs.
    _links: Vec<OwnedFd>,
    pub functions: BTreeSet<&'static str>,
}

/// Opens the file, and finds the functions that the programs want.
pub fn find(seen: Seen, programs: &[Program]) -> Result<Found> {
    if seen.bytes() > MAX_SIZE {
        bail!("it is not a library: {} bytes are more than a library has", seen.bytes());
    }
    let file = seen.open().context("it cannot be read")?;
    let wanted: Vec<&'static str> = programs.iter().flat_map(|program| program.functions).copied().collect();
    let offsets = library::functions(&file, &wanted)?;
    if offsets.is_empty() {
        // It would take the place of one that has them.
        bail!("none of the CUDA driver's functions is in it");
    }
    Ok(Found { file, offsets })
}

pub fn join(Found { file, offsets }: Found, programs: &[Program]) -> Result<Joined> {
    let uprobes = Uprobes::find().context("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)")?;
    let mut links = Vec::new();
    for program in programs {
        for (offset, function) in attach_points(program.functions, &offsets) {
            let link = uprobes.attach(program.fd.as_fd(), &file, offset, program.returns);
            links.push(link.with_context(|| format!("attach {} to {function}", program.name))?);
        }
    }
    Ok(Joined { _links: links, functions: offsets.into_keys().collect() })
}

/// The functions' offsets in the file. Two names of one offset are merged: a program attached twice counts twice.
fn attach_points(functions: &[&'static str], offsets: &BTreeMap<&'static str, u64>) -> BTreeMap<u64, &'static str> {
    functions.iter().filter_map(|function| Some((*offsets.get(function)?, *function))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_a_function_are_attached_once() {
        let offsets = BTreeMap::from([("cuMemFree", 64), ("cuMemFree_v2", 64), ("cuMemAlloc_v2", 96), ("other", 7)]);
        let attach_points = attach_points(&["cuMemFree", "cuMemFree_v2", "cuMemAlloc_v2", "absent"], &offsets);
        assert_eq!(attach_points.into_keys().collect::<Vec<_>>(), [64, 96]);
    }
}
