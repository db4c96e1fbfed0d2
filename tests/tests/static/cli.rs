//! The built binary as seen from a shell: verbs, exit codes, stdout and stderr. Needs no privileges.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use collector_tests::binary::binary;

/// `headroom` with these arguments and a clean environment.
fn headroom(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    headroom(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Writes a file with this name and content in the tests' own folder; returns its path.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// Output of `check-config` on a file that it must refuse.
fn refused(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = file(name, content);
    let output = run(&["check-config", "--config", &path]);
    assert_eq!(code(&output), 3, "{}", err(&output));
    assert_eq!(out(&output), "");
    err(&output).replace(&path, name)
}

/// The program, if installed; otherwise its part of the test is skipped with a message.
fn program(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("{name} is not installed: its part is skipped");
    }
    found.then(|| Command::new(name))
}

fn feed(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Write while reading the output: both pipes may fill.
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

#[test]
fn help_and_version() {
    let alone = run(&[]);
    assert_eq!(code(&alone), 2);
    assert!(err(&alone).contains("Usage: headroom <COMMAND>"), "{}", err(&alone));
    let help = run(&["--help"]);
    assert_eq!((code(&help), err(&help)), (0, ""));
    for verb in [
        "run",
        "replay",
        "doctor",
        "status",
        "top",
        "gpus",
        "level",
        "rules",
        "need",
        "guard",
        "wait",
        "check-config",
        "completions",
        "man",
    ] {
        assert!(out(&help).contains(&format!("\n  {verb} ")), "{verb}");
        let help = run(&[verb, "--help"]);
        assert_eq!(code(&help), 0, "{verb}");
        assert!(out(&help).contains("Examples:"), "{verb}: {}", out(&help));
    }
    assert_eq!(out(&run(&["--version"])), format!("headroom {}\n", env!("CARGO_PKG_VERSION")));
    let run = run(&["run", "--help-all"]);
    for text in ["--record <FILE>", "--kernel-debug", "[env: HEADROOM_TICK]", "Exit status:", "\n    7  too few probes"]
    {
        assert!(out(&run).contains(text), "{text}: {}", out(&run));
    }
}

#[test]
fn wrong_arguments_exit_with_2() {
    for args in [
        &["fly"][..],
        &["run", "--fast"],
        &["run", "now"],
        &["replay"],
        &["completions"],
        &["completions", "sh"],
        &["check-config", "--config"],
        &["check-config", "--config", ""],
        &["check-config", "--tick", "0s"],
        &["check-config", "--tick", "1s", "--tick", "2s"],
        &["check-config", "--log-level", "loud"],
        &["check-config", "--listen", "localhost"],
        &["check-config", "--kernel-debug=maybe"],
    ] {
        let output = run(args);
        assert_eq!((code(&output), out(&output)), (2, ""), "{args:?}");
        assert!(err(&output).starts_with("error: "), "{args:?}: {}", err(&output));
    }
    let output = run(&["check-config", "--tick", "0s"]);
    assert!(err(&output).contains("--tick <DURATION>"), "{}", err(&output));
}

#[test]
fn each_source_of_settings_overrides_the_one_below_and_every_value_names_its_source() {
    let text = "tick = \"2s\"\nlisten = \"127.0.0.1:1\"\n[kernel]\nstall = \"3s\"\nslow_io = \"4s\"\n";
    let path = file("layers.toml", text);
    let mut command = headroom(&["check-config", "--config", &path, "--listen", "[::1]:2", "--kernel-debug"]);
    let output = command.env("HEADROOM_TICK", "5s").env("HEADROOM_KERNEL_STALL", "6s").output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, ""));
    let lines: Vec<String> =
        out(&output).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        format!("# OK: {path}"),
        "listen = \"[::1]:2\" # --listen".into(),
        "tick = \"5s\" # HEADROOM_TICK".into(),
        "stall = \"6s\" # HEADROOM_KERNEL_STALL".into(),
        format!("slow_io = \"4s\" # {path}:5:11"),
        "debug = true # --kernel-debug".into(),
        "level = \"info\" # default".into(),
    ] {
        assert!(lines.contains(&line), "{line} is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn a_variable_can_name_the_file() {
    let path = file("variable.toml", "tick = \"7s\"");
    let output = headroom(&["check-config"]).env("HEADROOM_CONFIG", &path).output().unwrap();
    assert!(out(&output).contains("tick = \"7s\""), "{}", out(&output));
    let output = headroom(&["check-config", "--config", "/dev/null"]).env("HEADROOM_CONFIG", &path).output().unwrap();
    assert!(out(&output).contains("tick = \"1s\""), "{}", out(&output));
}

#[test]
fn a_wrong_file_is_refused_with_line_column_and_key() {
    assert_eq!(
        refused("one.toml", "[kernel]\nslow_oi = \"1s\"\n"),
        "headroom: error: one.toml:2:1: kernel.slow_oi: unknown key; did you mean kernel.slow_io?\n"
    );
    assert_eq!(
        refused("two.toml", "tick = \"2h\"\n[kernel]\nbulk_ring = 5000\n"),
        "headroom: error: 2 errors in the configuration\n  \
         two.toml:1:8: tick: \"2h\" is not a duration from \"10ms\" to \"1m\"\n  \
         two.toml:3:13: kernel.bulk_ring: 5000 is not a power of two from 4096 to 1073741824\n"
    );
    assert!(refused("syntax.toml", "tick = \n").contains("syntax.toml:1:8: not valid TOML"));
    assert_eq!(
        refused("latin.toml", b"tick = \"1s\"\n# gr\xfc\xdfe\n"),
        "headroom: error: latin.toml:2:5: is not UTF-8 from here on\n"
    );
    assert!(refused("binary.toml", b"\0\0\0\0").contains("binary.toml:1:1: not valid TOML"));
    assert!(refused("large.toml", "#".repeat(1024 * 1024 + 1)).contains("large.toml: is larger than 1048576 bytes"));
}

#[test]
fn rules_are_shown_as_configured_and_a_wrong_one_is_refused() {
    let text = "[[rule]]\nalert = \"HostMemoryHigh\"\nabove = 0.5\n\n[[rule]]\nalert = \"GpuHot\"\nenabled = false\n";
    let path = file("rules.toml", text);
    let table = run(&["rules", "--config", &path]);
    assert_eq!((code(&table), err(&table)), (0, ""));
    let line = |name: &str| {
        let line = out(&table).lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("HostMemoryHigh"), "HostMemoryHigh warning changed headroom_host_memory_used_ratio > 0.5, for 5m");
    assert!(line("GpuHot").starts_with("GpuHot off changed "), "{}", line("GpuHot"));
    assert!(line("GpuPcieBusy").starts_with("GpuPcieBusy off default "), "{}", line("GpuPcieBusy"));

    let json: serde_json::Value = serde_json::from_str(out(&run(&["rules", "--json", "--config", &path]))).unwrap();
    let rules = json["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["alert"] == "GpuHot").unwrap();
    assert_eq!((&rule["enabled"], &rule["summary"]), (&false.into(), &"GPU {labels.gpu} is at {value} °C".into()));

    let exported = run(&["rules", "--format", "prometheus", "--config", &path]);
    assert!(out(&exported).contains("expr: \"headroom_host_memory_used_ratio > 0.5\"\n        for: 5m\n"));
    assert!(!out(&exported).contains("GpuHot"));

    assert_eq!(
        refused(
            "bad-rules.toml",
            "[[rule]]\nalert = \"HostMemoryHigh\"\nabove = 0.5\nclear = 0.6\n\n[[rule]]\nalert = \"Mine\"\n"
        ),
        "headroom: error: 2 errors in the configuration\n  \
         bad-rules.toml:4:9: rule.clear: 0.6 contradicts above = 0.5: the alert would resolve at once\n  \
         bad-rules.toml:6:1: rule.metric: is missing: a rule needs a metric or an event\n"
    );
}

#[test]
fn a_file_may_be_empty_and_as_large_as_the_limit() {
    for (name, content) in [("empty.toml", String::new()), ("limit.toml", "#".repeat(1024 * 1024))] {
        let output = run(&["check-config", "--config", &file(name, content)]);
        assert_eq!((code(&output), err(&output)), (0, ""), "{name}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_by_every_verb_that_reads_it() {
    let rule = file("bad-rule.toml", "[[rule]]\nalert = \"HostMemoryHigh\"\nmetric = \"headroom_no_such_metric\"\n");
    for verb in [
        &["check-config"][..],
        &["run"],
        &["doctor"],
        &["rules"],
        &["replay", "/dev/null"],
        &["workloads"],
        &["status"],
        &["top"],
        &["gpus"],
        &["alerts"],
        &["incidents"],
        &["events"],
        &["explain"],
    ] {
        let bad = run(&[verb, &["--config", &rule]].concat());
        assert_eq!((code(&bad), out(&bad)), (3, ""), "{verb:?}: {}", err(&bad));
        let wanted = format!(
            "headroom: error: {rule}:3:10: rule.metric: no metric for rules is called \"headroom_no_such_metric\""
        );
        assert!(err(&bad).starts_with(&wanted), "{verb:?}: {}", err(&bad));
        let folder = run(&[verb, &["--config", env!("CARGO_TARGET_TMPDIR")]].concat());
        assert_eq!(code(&folder), 3, "{verb:?}");
        assert!(err(&folder).contains("is a directory"), "{verb:?}: {}", err(&folder));
        let absent = run(&[verb, &["--config", "/nowhere/headroom.toml"]].concat());
        assert_eq!(code(&absent), 3, "{verb:?}");
        assert_eq!(err(&absent), "headroom: error: /nowhere/headroom.toml: file not found\n", "{verb:?}");
        let variable = headroom(verb).env("HEADROOM_TICKS", "1s").output().unwrap();
        assert_eq!(code(&variable), 3, "{verb:?}");
        assert!(err(&variable).contains("did you mean HEADROOM_TICK?"), "{verb:?}: {}", err(&variable));
    }
}

#[test]
fn a_wrong_web_configuration_is_refused_before_anything_else() {
    let web = file("web.yml", "basic_auth_users:\n  alice: hunter2\n");
    // If it were accepted, `run` would fail for lack of probes or privileges, with another exit code.
    for verb in ["check-config", "run"] {
        let output = run(&[verb, "--config", "/dev/null", "--web-config-file", &web]);
        assert_eq!(code(&output), 3, "{verb}: {}", err(&output));
        assert!(
            err(&output).contains(&format!("{web}:2:3: basic_auth_users.alice: is not a bcrypt hash")),
            "{}",
            err(&output)
        );
        assert!(!err(&output).contains("hunter2"), "{}", err(&output));
    }
}

#[test]
fn a_file_name_that_is_not_utf8_works() {
    let name = OsStr::from_bytes(b"/nowhere/\xff.toml");
    let output = headroom(&["check-config", "--config"]).arg(name).output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("file not found"), "{}", err(&output));
}

#[test]
fn completions_know_verbs_flags_and_values() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!((code(&output), err(&output)), (0, ""), "{shell}");
        for word in ["check-config", "kernel-debug", "trace"] {
            assert!(out(&output).contains(word), "{shell}: {word}");
        }
        if let Some(mut syntax) = program(shell) {
            syntax.arg("-n");
            let checked = feed(syntax, &output.stdout);
            assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {}", err(&checked));
        }
    }
}

#[test]
fn the_manual_page_renders() {
    let output = run(&["man"]);
    assert_eq!((code(&output), err(&output)), (0, ""));
    assert!(out(&output).contains(".TH headroom 8"));
    if let Some(mut man) = program("man") {
        man.args(["--warnings", "-l", "-"]).env("MANPAGER", "cat").env("MANWIDTH", "200").env("LC_ALL", "C.UTF-8");
        let shown = feed(man, &output.stdout);
        assert!(shown.status.success() && shown.stderr.is_empty(), "{}", err(&shown));
        for text in ["EXIT STATUS", "HEADROOM_KERNEL_SLOW_IO", "/etc/headroom/headroom.toml", "--skip-broken"] {
            assert!(out(&shown).contains(text), "{text}: {}", out(&shown));
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = headroom(&["man"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, ""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = headroom(&["man"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("headroom: error: write to stdout\n  because: "), "{}", err(&output));
}
