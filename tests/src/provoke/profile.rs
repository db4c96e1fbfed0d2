//! `profile LIBRARY GIB [pause]`: takes so much of the first GPU as vLLM does when it starts: looks how much is free, takes its share in steps,
//! and looks at each whether free memory is what it was, less its own. If somebody else took or gave some meanwhile, it ends with 1. The
//! GPU is the stand-in for NVML, whose scenario all who use it change in turn.

use std::fs::{self, File};
use std::io::{Write as _, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{exit, id};
use std::thread::sleep;
use std::time::Duration;

use nvml_wrapper::Nvml;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;
/// Between two steps of a GiB.
const STEP: Duration = Duration::from_millis(20);

pub fn run(library: &str, gib: u64, pauses: bool) {
    let scenario = PathBuf::from(std::env::var_os("NVML_STAND_IN").unwrap());
    let nvml = Nvml::builder().lib_path(library.as_ref()).init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    let free = || device.memory_info().unwrap().free;
    let first = free();
    say(&format!("begun {}", first / GIB));
    if first < gib * GIB {
        say("failed: less is free than its share");
        exit(1);
    }
    for step in 1..=gib {
        hold(&scenario, step * GIB);
        let now = free();
        let expected = first - step * GIB;
        if now != expected {
            say(&format!(
                "failed: {} GiB are free and {} were expected: another uses the GPU",
                now / GIB,
                expected / GIB
            ));
            hold(&scenario, 0);
            exit(1);
        }
        if pauses && step == gib / 2 {
            say("half");
            await_line();
        }
        sleep(STEP);
    }
    say("ready");
    await_line();
    hold(&scenario, 0);
}

fn say(line: &str) {
    println!("{line}");
    stdout().flush().unwrap();
}

/// Waits for a line, or the end of the input.
fn await_line() {
    stdin().read_line(&mut String::new()).unwrap();
}

/// What this process holds from now on.
fn hold(scenario: &Path, bytes: u64) {
    let lock = File::create(scenario.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut host: Value = serde_json::from_slice(&fs::read(scenario).unwrap()).unwrap();
    let gpu = &mut host["gpus"][0];
    let own = |process: &Value| process["pid"] == json!(id());
    let list = gpu["processes"].as_array_mut().unwrap();
    let before =
        list.iter().filter(|process| own(process)).filter_map(|process| process["bytes"].as_u64()).sum::<u64>();
    list.retain(|process| !own(process));
    if bytes > 0 {
        list.push(json!({"pid": id(), "bytes": bytes}));
    }
    let used = gpu["memory"]["used"].as_u64().unwrap() - before + bytes;
    gpu["memory"]["used"] = json!(used);
    let new = scenario.with_extension("new");
    fs::write(&new, host.to_string()).unwrap();
    fs::rename(new, scenario).unwrap();
}
