//! `sleeper [anon=BYTES] [score=ADJ] [uid=UID] [comm=NAME] [exit=CODE]`: allocates memory, prints `ready`, and waits to be killed;
//! with `exit`, until standard input ends, beside another thread.

use std::io::Read as _;

use crate::memory::Memory;
use crate::option::{number, size};

pub fn run(arguments: &[String]) {
    crate::hog::dress(arguments);
    let code = number(arguments, "exit");
    if code.is_some() {
        std::thread::spawn(|| wait());
    }
    Memory::anonymous(size(arguments, "anon")).write();
    crate::hog::become_another(arguments);
    println!("ready");
    if let Some(code) = code {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(code as i32);
    }
    wait();
}

/// Waits to be killed.
pub fn wait() -> ! {
    loop {
        std::thread::park();
    }
}
