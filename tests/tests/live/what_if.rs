//! What would have been: pairs that are staged with and without a change, and what is said of one from the recording of the other.

use std::path::Path;
use std::{env, fs};

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::seed;
use collector_tests::stage::what_if::{Row, all, document, quick, run};

fn wrong(rows: &[Row]) -> Vec<String> {
    rows.iter().filter(|row| !row.direction || row.failed.is_some()).map(|row| format!("{row:#?}")).collect()
}

#[test]
fn what_would_have_happened_is_said_as_it_happens() {
    needs!(is_root(), "loading eBPF programs needs root");
    let rows = run(env!("CARGO_BIN_EXE_provoke"), &quick(), false, seed());
    assert!(rows.len() == quick().len() && wrong(&rows).is_empty(), "{}", wrong(&rows).join("\n"));
}

#[test]
#[ignore = "takes about two minutes; BLESS=1 writes docs/what-if.md"]
fn every_pair_is_staged() {
    needs!(is_root(), "loading eBPF programs needs root");
    let rows = run(env!("CARGO_BIN_EXE_provoke"), &all(), true, seed());
    let staged: Vec<&Row> = rows.iter().filter(|row| row.failed.is_none()).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let page = document(&rows, kernel.trim());
    println!("{page}");
    if env::var_os("BLESS").is_some() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::write(root.join("docs/what-if.md"), &page).unwrap();
    }
    let right = staged.iter().filter(|row| row.direction).count();
    let sizes: Vec<bool> = staged.iter().filter_map(|row| row.size).collect();
    let near = sizes.iter().filter(|near| **near).count();
    assert!(staged.len() >= 20, "{} of {} staged", staged.len(), rows.len());
    assert!(right * 10 >= staged.len() * 9, "{right} of {}: {}", staged.len(), wrong(&rows).join("\n"));
    assert!(near * 10 >= sizes.len() * 7, "{near} of {} sizes", sizes.len());
}
