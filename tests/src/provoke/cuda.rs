//! Calls functions of a CUDA driver library, as commanded line by line on standard input. Answers each line with the driver's
//! code and a number. Exits at the end of the input without freeing anything.

use std::ffi::{CString, c_char, c_void};
use std::io::{BufRead as _, Write as _, stdin, stdout};

/// Two to five numbers or pointers, which are passed in the same registers on all supported architectures.
pub type Function = extern "C" fn(u64, u64, u64, u64, u64) -> u32;

pub fn run() {
    let mut library = std::ptr::null_mut();
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        let (code, value) = match words[0] {
            "load" => {
                library = load(words[1]);
                (0, 0)
            }
            "open" => (open(library), 0),
            // NAME EXPORTED: whether the CUDA runtime would get the exported function by that name.
            "same" => same(library, words[1], words[2]),
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
            // NAME TO FROM BYTES COUNT: this many copies at once, one after the other in memory.
            "batch" => {
                let (bytes, count) = (number(4), number(5));
                let ends = |from: u64| (0..count).map(|index| from + index * bytes).collect::<Vec<u64>>();
                let (to, from, sizes) = (ends(number(2)), ends(number(3)), vec![bytes; count as usize]);
                let arrays = [&to, &from, &sizes].map(|array| array.as_ptr() as u64);
                (batch(function(library, words[1]), arrays, count, words[1].contains("_v2")), 0)
            }
            // NAME BYTES
            "allocate" => {
                let mut address = 0u64;
                let code = function(library, words[1])(&raw mut address as u64, number(2), 0, 0, 0);
                (code, address)
            }
            // NAME BYTES TIMES: allocates as often.
            "fill" => {
                let (allocate, mut address) = (function(library, words[1]), 0u64);
                let codes: u32 = (0..number(3)).map(|_| allocate(&raw mut address as u64, number(2), 0, 0, 0)).sum();
                (codes, address)
            }
            // NAME THREADS: this many threads end inside a call.
            "leave" => {
                function(library, "stand_in_leave")(0, 0, 0, 0, 0);
                (leave(function(library, words[1]), number(2)), 0)
            }
            // NAME BYTES UID COUNT: this many processes, each of another user from this one on, allocate and stay.
            "users" => (users(function(library, words[1]), number(2), number(3), number(4)), 0),
            // UID: becomes this user.
            "user" => {
                let uid = number(1) as libc::uid_t;
                // SAFETY: a system call with numbers.
                (u32::from(unsafe { libc::setresuid(uid, uid, uid) } != 0), 0)
            }
            // FILE OVER: mounts it there, in the mount namespace that `hide` made.
            "cover" => (cover(words[1], words[2]), 0),
            // NAME ADDRESS [BYTES]
            "call" => {
                let bytes = if words.len() > 3 { number(3) } else { 0 };
                (function(library, words[1])(number(2), bytes, 0, 0, 0), 0)
            }
            other => panic!("unknown command: {other}"),
        };
        println!("{code} {value}");
        stdout().flush().unwrap();
    }
}

/// Copies in a batch, in the order of the default stream (`CUmemcpyAttributes` of cuda.h: the order of access, two hints of
/// two numbers each, flags).
fn batch(function: Function, [to, from, sizes]: [u64; 3], count: u64, second: bool) -> u32 {
    type Batch = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u32;
    // SAFETY: the function has this many arguments, or one less.
    let batch = unsafe { std::mem::transmute::<Function, Batch>(function) };
    let (attributes, first, mut failed) = ([1u32, 0, 0, 0, 0, 0], 0u64, 0u64);
    let failed = if second { 0 } else { &raw mut failed as u64 };
    batch(to, from, sizes, count, attributes.as_ptr() as u64, &raw const first as u64, 1, failed, 0)
}

/// Initialises the driver on the first GPU, as CUDA's runtime does.
fn open(library: *mut c_void) -> u32 {
    let (mut device, mut context) = (0i32, 0u64);
    let (device_at, context_at) = (&raw mut device as u64, &raw mut context as u64);
    let steps: [(&str, u64, u64); 3] =
        [("cuInit", 0, 0), ("cuDeviceGet", device_at, 0), ("cuDevicePrimaryCtxRetain", context_at, 0)];
    for (name, first, second) in steps {
        let code = function(library, name)(first, second, 0, 0, 0);
        if code != 0 {
            return code;
        }
    }
    function(library, "cuCtxSetCurrent")(context, 0, 0, 0, 0)
}

/// The driver's code, and 1 if both names give the same function.
fn same(library: *mut c_void, name: &str, exported: &str) -> (u32, u64) {
    let name = CString::new(name).unwrap();
    let (mut found, mut status) = (0u64, 0i32);
    let at = (&raw mut found as u64, &raw mut status as u64);
    // CUDA 12.0, which every driver with this function supports.
    let code = function(library, "cuGetProcAddress_v2")(name.as_ptr() as u64, at.0, 12_000, 0, at.1);
    (code, u64::from(found == function(library, exported) as *const () as u64))
}

pub fn load(path: &str) -> *mut c_void {
    let name = CString::new(path).unwrap();
    // SAFETY: the stand-in has no initialisers.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{path} cannot be loaded");
    library
}

pub fn function(library: *mut c_void, name: &str) -> Function {
    let name = CString::new(name).unwrap();
    // SAFETY: the library is loaded, or null, which means this program.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null(), "no {name:?}");
    // SAFETY: each function takes at most five numbers or pointers, and returns a number or nothing.
    unsafe { std::mem::transmute::<*mut c_void, Function>(symbol) }
}

/// Has threads call a function, one after the other.
fn leave(function: Function, threads: u64) -> u32 {
    extern "C" fn call(function: *mut c_void) -> *mut c_void {
        // SAFETY: `leave` passes a function of this type.
        let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
        function(0x2_0000_0000, 0x1000, 4096, 0, 0);
        std::ptr::null_mut()
    }
    for _ in 0..threads {
        let (mut thread, none) = (0, std::ptr::null());
        // SAFETY: the thread gets what `call` takes, and is waited for.
        let result = unsafe {
            let created = libc::pthread_create(&raw mut thread, none, call, function as *mut c_void);
            if created == 0 { libc::pthread_join(thread, std::ptr::null_mut()) } else { created }
        };
        assert_eq!(result, 0);
    }
    0
}

/// Forks processes that become users, allocate, and end with this process.
fn users(allocate: Function, bytes: u64, first: u64, count: u64) -> u32 {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let mut done = [0u8; 1];
    for uid in first..first + count {
        // SAFETY: this process has one thread, so that the child may do all that it could.
        match unsafe { libc::fork() } {
            0 => {
                let (uid, mut address) = (uid as libc::uid_t, 0u64);
                // SAFETY: system calls with numbers and live buffers; the child never returns from here.
                unsafe {
                    let failed = libc::setresuid(uid, uid, uid) != 0;
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    let code = allocate(&raw mut address as u64, bytes, 0, 0, 0);
                    done[0] = u8::from(failed || code != 0);
                    libc::write(ends[1], done.as_ptr().cast(), 1);
                    loop {
                        libc::pause();
                    }
                }
            }
            child => assert!(child > 0, "fork: {}", std::io::Error::last_os_error()),
        }
        // SAFETY: a live buffer of this size.
        assert_eq!(unsafe { libc::read(ends[0], done.as_mut_ptr().cast(), 1) }, 1);
        if done[0] != 0 {
            return 1;
        }
    }
    0
}

/// Mounts a file, or a FIFO, over another.
fn cover(file: &str, over: &str) -> u32 {
    let [file, over] = [file, over].map(|path| CString::new(path).unwrap());
    let none: *const c_char = std::ptr::null();
    // SAFETY: a system call with live strings.
    let result = unsafe { libc::mount(file.as_ptr(), over.as_ptr(), none, libc::MS_BIND, std::ptr::null()) };
    u32::from(result != 0)
}

/// Copies the file into a folder that is visible only in this process's mount namespace, as in a container.
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
