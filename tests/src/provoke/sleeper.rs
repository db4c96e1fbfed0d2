//! `sleeper [anon=BYTES] [score=ADJ] [uid=UID] [comm=NAME]`: takes memory, says `ready`, and waits for its end.

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
