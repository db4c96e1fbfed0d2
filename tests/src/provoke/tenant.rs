//! `tenant USAGE`: takes memory in its cgroup as commanded line by line on standard input, and answers each line when it is done:
//! `take BYTES` takes anonymous memory until the file USAGE, the kernel's count of its own cgroup, says that there is so much more;
//! `share BYTES` takes shared memory; `read FILE` and `write FILE BYTES` fill the page cache; `map FILE` reads the whole file twice through
//! a mapping; `ask SOCKET JSON` asks the agent whether something may start, and answers with its verdict. Ends with its input.

use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _, stdin, stdout};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;

use crate::memory::Memory;

/// Bytes of a read and of a write.
const BLOCK: usize = 1 << 16;
/// Pages that are written between two looks at the kernel's count.
const PAGES: usize = 4;

pub fn run(usage: &str) {
    let usage = File::open(usage).unwrap();
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let said = match words[..] {
            ["take", bytes] => take(&usage, bytes.parse().unwrap()),
            ["share", bytes] => {
                Memory::shared(bytes.parse().unwrap()).write();
                "done".to_owned()
            }
            ["read", file] => read(file),
            ["write", file, bytes] => write(file, bytes.parse().unwrap()),
            ["map", file] => {
                let memory = Memory::file(&File::open(file).unwrap());
                (0..2).for_each(|_| memory.read());
                "done".to_owned()
            }
            ["ask", socket, body] => ask(socket, body),
            _ => panic!("unknown command: {line}"),
        };
        println!("{said}");
        stdout().flush().unwrap();
    }
}

/// What the kernel charges its cgroup with.
fn used(usage: &File) -> usize {
    let mut text = [0; 32];
    let length = usage.read_at(&mut text, 0).unwrap();
    std::str::from_utf8(&text[..length]).unwrap().trim().parse().unwrap()
}

/// Page tables and what the kernel charges in advance count, so the last pages of the mapping are usually not touched.
fn take(usage: &File, bytes: usize) -> String {
    let end = used(usage) + bytes;
    let pages: Vec<Memory> = Memory::anonymous(bytes).pages().collect();
    for some in pages.chunks(PAGES) {
        if used(usage) >= end {
            break;
        }
        some.iter().for_each(|page| page.write());
    }
    "done".to_owned()
}

fn read(file: &str) -> String {
    let (mut file, mut block) = (File::open(file).unwrap(), [0; BLOCK]);
    while file.read(&mut block).unwrap() > 0 {}
    "done".to_owned()
}

fn write(file: &str, bytes: usize) -> String {
    let mut file = File::create(file).unwrap();
    (0..bytes / BLOCK).for_each(|_| file.write_all(&[7; BLOCK]).unwrap());
    "done".to_owned()
}

/// The body of the answer.
fn ask(socket: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    write!(stream, "POST /api/v1/admit HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.replace('\n', " ")
}
