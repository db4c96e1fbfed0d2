//! A process that calls the stand-in for the CUDA driver's library, as a test commands.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::cgroup::Cgroup;

/// Copies the stand-in, which is built with the tests, into a folder under the library's name.
pub fn install(folder: &Path) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let beside = |folder: &Path| {
        let built = ["libcuda_stand_in.so", "deps/libcuda_stand_in.so"].map(|name| folder.join(name));
        built.into_iter().find(|library| library.is_file())
    };
    let built = test.ancestors().skip(1).take(2).find_map(beside);
    let built = built.unwrap_or_else(|| panic!("no libcuda_stand_in.so beside {}", test.display()));
    let library = folder.join("libcuda.so.1");
    fs::copy(&built, &library).unwrap();
    library
}

/// The process. When dropped, it is killed.
pub struct Cuda {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Cuda {
    /// Starts it in a cgroup, without loading the library; `program` is `env!("CARGO_BIN_EXE_provoke")`.
    pub fn start(program: &str, cgroup: &Cgroup) -> Cuda {
        Cuda::spawn(Command::new(program), cgroup)
    }

    /// Starts it so that the driver shows only this GPU.
    pub fn with_visible_gpu(program: &str, cgroup: &Cgroup, uuid: &str) -> Cuda {
        let mut command = Command::new(program);
        command.env("CUDA_VISIBLE_DEVICES", uuid);
        Cuda::spawn(command, cgroup)
    }

    fn spawn(mut command: Command, cgroup: &Cgroup) -> Cuda {
        let mut child = cgroup.spawn(command.arg("cuda").stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Cuda { child, input, output }
    }

    /// Starts it, and has it load the library.
    pub fn with(program: &str, cgroup: &Cgroup, library: &Path) -> Cuda {
        let mut cuda = Cuda::start(program, cgroup);
        cuda.load(library);
        cuda
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it load the library.
    pub fn load(&mut self, library: &Path) {
        assert_eq!(self.send(&format!("load {}", library.display())), (0, 0));
    }

    /// Sends one command; returns the driver's code and a number.
    pub fn send(&mut self, line: &str) -> (u32, u64) {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        let (code, value) = answer.trim().split_once(' ').unwrap_or_else(|| panic!("{line}: {answer:?}"));
        (code.parse().unwrap(), value.parse().unwrap())
    }

    /// Copies `times` times with this function.
    pub fn copy(&mut self, function: &str, to: u64, from: u64, bytes: u64, times: u64) {
        assert_eq!(self.send(&format!("copy {function} {to} {from} {bytes} {times}")).0, 0);
    }

    /// Copies in a batch of `count`, one after the other in memory.
    pub fn batch(&mut self, function: &str, to: u64, from: u64, bytes: u64, count: u64) {
        assert_eq!(self.send(&format!("batch {function} {to} {from} {bytes} {count}")).0, 0);
    }

    /// Allocates, and returns the address.
    pub fn allocate(&mut self, function: &str, bytes: u64) -> u64 {
        let (code, address) = self.send(&format!("allocate {function} {bytes}"));
        assert_eq!(code, 0);
        address
    }

    /// Calls a function with an address. The call must succeed.
    pub fn call(&mut self, function: &str, address: u64) {
        assert_eq!(self.send(&format!("call {function} {address}")).0, 0);
    }

    /// Lets it exit by itself, without freeing what it holds.
    pub fn end(self) {
        let Cuda { mut child, input, output } = self;
        drop((input, output));
        assert!(child.wait().unwrap().success());
    }
}
