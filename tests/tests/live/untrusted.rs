//! What a user may write into books in a home, all at once: honest containers keep their names, and memory stays small.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use collector_tests::agent::{Agent, headroom};
use collector_tests::home::{Dead, Homes, Made, entry, id, short_names};
use collector_tests::needs;
use collector_tests::process::{Killed, memory};
use collector_tests::require::is_root;
use rustix::fs::{FileType, Mode, inotify};

const MIB: u64 = 1 << 20;
/// What the agent may use at most, with all of it at once.
const MOST: u64 = 128 * MIB;
/// Uids that no known system uses.
const ENDLESS: u32 = 64_331;
const LONG: u32 = 64_332;
const FIFO: u32 = 64_333;
const LINK: u32 = 64_334;
const GONE: u32 = 64_335;
const HONEST: u32 = 64_336;

#[test]
fn whatever_is_in_the_homes_honest_names_are_found_in_little_memory() {
    needs!(is_root(), "homes of users and cgroups need root");
    let homes = Homes::new(&[ENDLESS, LONG, FIFO, LINK, GONE, HONEST]);
    homes.write(ENDLESS, &short_names(ENDLESS, 16 << 20));
    homes.write(LONG, &short_names(LONG, (4 << 20) - 1000));
    homes.write(HONEST, &format!("[{}]", entry(HONEST, "honest")));
    let fifo = homes.book(FIFO);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(homes.folder.join("root's"), format!("[{}]", entry(LINK, "stolen"))).unwrap();
    symlink(homes.folder.join("root's"), homes.book(LINK)).unwrap();
    fs::create_dir_all(homes.home(GONE)).unwrap();
    let dead = Dead::mount(&homes.home(GONE));
    needs!(dead.is_some(), "a home that does not answer needs /dev/fuse");
    // Whoever opens them, even for a moment, is seen.
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for file in [&fifo, &homes.folder.join("root's")] {
        inotify::add_watch(&watch, file, inotify::WatchFlags::OPEN).unwrap();
    }
    let mut made = Made::default();
    [GONE, ENDLESS, LONG, FIFO, LINK, HONEST].into_iter().for_each(|uid| made.container(uid));

    let docker = homes.folder.join("docker");
    fs::create_dir_all(docker.join("containers").join(id(0))).unwrap();
    fs::write(docker.join("containers").join(id(0)).join("config.v2.json"), r#"{"Name":"/web","Config":{}}"#).unwrap();
    let config = format!("tick = \"100ms\"\n[workload]\ndocker = {docker:?}\n");
    let mut agent = Agent::spawn(&config, |command| homes.show(command));
    agent.await_ready();
    let has = |name: &str| {
        let name = name.to_owned();
        move |now: &collector_tests::exposition::Exposition| {
            now.has("headroom_workload_memory_current_bytes", &[("workload", &name)])
        }
    };
    agent.scrape_until("a user's honest container", has(&format!("user-{HONEST}/podman/honest")));
    agent.scrape_until("the last name of a long list", has(&format!("user-{LONG}/podman/late")));
    made.make(&format!("/docker/{}", id(0)));
    let exposition = agent.scrape_until("the host's container", has("docker/web"));
    assert!(!exposition.text.contains("stolen"));
    assert_eq!(exposition.lost("name"), 0.0, "what users break of their own is no loss");
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "name")]), 1.0, "users cannot make it fail");
    agent.await_log(&[&format!("the home of user {GONE} does not answer")]);
    agent.await_log(&[&format!("of user {ENDLESS}: longer than")]);
    agent.await_log(&[&format!("of user {FIFO}: not a regular file")]);
    assert_eq!(rustix::io::read(&watch, &mut [0; 512]), Err(rustix::io::Errno::AGAIN), "one was opened");
    let most = memory(agent.pid(), "VmHWM:");
    assert!(most < MOST, "{} MiB", most / MIB);

    let file = homes.folder.join("doctor.toml");
    fs::write(&file, config).unwrap();
    let mut doctor = headroom("doctor");
    homes.show(doctor.arg("--config").arg(&file));
    // It says so in time, but the kernel ends a process only when none of its threads waits for another's lookup.
    let mut doctor = Killed(doctor.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let lines = BufReader::new(doctor.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let words = format!("the home of user {GONE} does not answer");
    assert!({ lines }.any(|line| line.starts_with("names") && line.contains(&words)), "{words}");
    drop(dead);
    // Asked again, it has an answer: the agent's own mount namespace keeps the mount, whose server is gone for good.
    agent.await_log(&[&format!("could not read names of the containers of user {GONE}")]);
}
