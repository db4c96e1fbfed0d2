//! Two programs that look at the whole card while they start, as vLLM does: together one fails, and guarded both start right.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::needs;
use collector_tests::nvml::{Nvml, host};
use collector_tests::process::Killed;
use collector_tests::require::is_root;

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
/// What each takes, of 69 GiB that are free.
const GIB: u64 = 30;
const FREE: u64 = 69;

/// A program that was started, by itself or by a guard.
struct Server {
    process: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(mut command: Command, nvml: &Nvml) -> Server {
        let (name, value) = nvml.environment();
        command.env(name, value).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Killed(command.spawn().unwrap());
        let (input, output) = (process.0.stdin.take().unwrap(), process.0.stdout.take().unwrap());
        Server { process, input, output: BufReader::new(output) }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it go on, unless it has ended.
    fn go_on(&mut self) {
        let _ = writeln!(self.input);
    }

    /// Its exit code, after its input has ended.
    fn end(self) -> Option<i32> {
        let Server { mut process, input, .. } = self;
        drop(input);
        process.0.wait().unwrap().code()
    }
}

fn alone(nvml: &Nvml) -> Server {
    let mut command = Command::new(PROGRAM);
    command.arg("profile").arg(nvml.library()).arg(GIB.to_string()).arg("pause");
    Server::start(command, nvml)
}

fn guarded(nvml: &Nvml, agent: &Agent) -> Server {
    let mut command = headroom("guard");
    command.args(["--config", "/dev/null", "--socket"]).arg(agent.directory().join("headroom.sock"));
    command.args(["--vram", &format!("{GIB}G"), "--wait", "100s", "--quiet", "--", PROGRAM, "profile"]);
    command.arg(nvml.library()).arg(GIB.to_string());
    Server::start(command, nvml)
}

#[test]
fn two_that_profile_the_whole_card_fail_together_and_start_right_one_after_the_other() {
    needs!(is_root(), "programs need root");
    let nvml = host(&["GPU-a"]);
    // Both are at half of what they take before either goes on: each of them misses what the other took.
    let mut both = [alone(&nvml), alone(&nvml)];
    let said: Vec<Vec<String>> = both.iter_mut().map(|server| vec![server.line(), server.line()]).collect();
    assert!(said.iter().any(|lines| lines[0] == format!("begun {FREE}")), "{said:?}");
    both.iter_mut().for_each(Server::go_on);
    let codes = both.map(Server::end);
    assert!(codes.contains(&Some(1)), "together one fails: {said:?} {codes:?}");

    let nvml = host(&["GPU-a"]);
    let agent = nvml.agent();
    agent.scrape_until("the GPU", |now| !now.values("headroom_gpu_info", &[]).is_empty());
    let mut first = guarded(&nvml, &agent);
    assert_eq!(first.line(), format!("begun {FREE}"));
    // It grows while the other one asks.
    let mut second = guarded(&nvml, &agent);
    assert_eq!(first.line(), "ready", "{}", agent.log());
    assert_eq!(second.line(), format!("begun {}", FREE - GIB), "the first has all that it takes: {}", agent.log());
    assert_eq!(second.line(), "ready", "{}", agent.log());
    assert_eq!([first.end(), second.end()], [Some(0), Some(0)]);
}
