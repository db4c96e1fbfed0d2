//! Calls the CUDA driver's functions of a library given by its path, as it is told line by line on its standard input;
//! answers each with the driver's code and a number. Ends, without giving anything back, when there is no more input.

use std::ffi::{CString, c_char, c_void};
use std::io::{BufRead as _, Write as _, stdin, stdout};

/// Two to five numbers or pointers: the same registers on all of our architectures.
type Function = extern "C" fn(u64, u64, u64, u64, u64) -> u32;

pub fn run() {
    let mut library = std::ptr::null_mut();
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        let (code, value) = match words[0] {
            "load" => {
                let path = CString::new(words[1]).unwrap();
                // SAFETY: the stand-in's initialisers are none.
                library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
                assert!(!library.is_null(), "{} cannot be loaded", words[1]);
                (0, 0)
            }
            "hide" => (hide(words[1], words[2]), 0),
            "fail" => {
                function(library, "stand_in_fail")(number(1), 0, 0, 0, 0);
                (0, 0)
            }
            // NAME TO FROM BYTES TIMES
            "copy" => {
                let (copy, times) = (function(library, words[1]), number(5));
                let codes: u32 = (0..times).map(|_| copy(number(2), number(3), number(4), 0, 0)).sum();
                (codes, 0)
            }
            // NAME BYTES
            "allocate" => {
                let mut address = 0u64;
                let code = function(library, words[1])(&raw mut address as u64, number(2), 0, 0, 0);
                (code, address)
            }
            // NAME ADDRESS [BYTES]
            "call" => {
                let bytes = if words.len() > 3 { number(3) } else { 0 };
                (function(library, words[1])(number(2), bytes, 0, 0, 0), 0)
            }
            other => panic!("no such word: {other}"),
        };
        println!("{code} {value}");
        stdout().flush().unwrap();
    }
}

fn function(library: *mut c_void, name: &str) -> Function {
    let name = CString::new(name).unwrap();
    // SAFETY: the library is loaded, or null, which stands for this program.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null(), "no {name:?}");
    // SAFETY: each function takes numbers and pointers only, no more than five, and returns a number or nothing.
    unsafe { std::mem::transmute::<*mut c_void, Function>(symbol) }
}

/// Puts a copy of the file into a folder that only this process's mounts show, as a container's are.
fn hide(file: &str, folder: &str) -> u32 {
    let content = std::fs::read(file).unwrap();
    let call = |what: &str, result: i32| assert_eq!(result, 0, "{what}: {}", std::io::Error::last_os_error());
    let (root, tmpfs, folder_c) = (c"/", c"tmpfs", CString::new(folder).unwrap());
    let none: *const c_char = std::ptr::null();
    // SAFETY: plain system calls with live strings.
    unsafe {
        call("unshare", libc::unshare(libc::CLONE_NEWNS));
        call("mount", libc::mount(none, root.as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()));
        call("mount", libc::mount(tmpfs.as_ptr(), folder_c.as_ptr(), tmpfs.as_ptr(), 0, std::ptr::null()));
    }
    let name = std::path::Path::new(file).file_name().unwrap();
    std::fs::write(std::path::Path::new(folder).join(name), content).unwrap();
    0
}
