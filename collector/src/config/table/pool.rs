//! `[[pool]]`: its keys. Does not know what pools must fit into: `contradiction.rs` does.

use crate::config::entry::{Key, Table};
use crate::config::kind::Kind;
use crate::config::pool::Pool;
use crate::config::section::Config;

/// `[[pool]]`
pub const POOL: Table<Config, Pool> = Table {
    name: "pool",
    doc: "Declares a pool of memory that this host's own service keeps. Only checked: `check-config` says if all pools, with a fifth \
          to spare, are more than need.memory. [level.md](level.md) describes profiles.",
    example: "\
[[pool]]
name = \"weights\"
memory = \"16G\"
",
    keys: &[
        Key { name: "name", kind: Kind::Text(|pool| &mut pool.name), required: true, doc: "Name of the pool." },
        Key {
            name: "memory",
            kind: Kind::Size(|pool| &mut pool.memory),
            required: true,
            doc: "Host memory that it holds.",
        },
    ],
    field: |config| &mut config.pool,
    check: |_| Vec::new(),
};
