//! Development tasks.

use std::path::PathBuf;

mod cut_btf;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(2).map(PathBuf::from);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("cut-btf INPUT OUTPUT");
    };
    cut_btf::run(&input, &output)
}
