//! `sleeper [anon=BYTES] [score=ADJ] [uid=UID] [comm=NAME]`: allocates memory, prints `ready`, and waits to be killed.

use crate::memory::Memory;
use crate::option::size;

pub fn run(arguments: &[String]) {
    crate::hog::dress(arguments);
    Memory::anonymous(size(arguments, "anon")).write();
    crate::hog::become_another(arguments);
    println!("ready");
    loop {
        std::thread::park();
    }
}
