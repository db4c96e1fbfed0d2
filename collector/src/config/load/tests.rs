//! Which layer wins, and what is refused.

use super::*;
use std::os::unix::ffi::OsStringExt;

fn layers(environment: &[(&str, &str)]) -> Layers {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Layers { environment, ..Layers::default() }
}

fn without_file(layers: &Layers) -> Result<Effective, Errors> {
    load_from(layers, Path::new("/nowhere/headroom.toml"))
}

fn refusal(layers: &Layers) -> String {
    without_file(layers).unwrap_err().to_string()
}

#[test]
fn without_layers_the_defaults_apply() {
    let effective = without_file(&layers(&[("PATH", "/bin"), ("HEADROOMX", "1")])).unwrap();
    assert_eq!(effective.config, Config::default());
    assert_eq!(effective.file, None);
    assert!(SETTINGS.iter().all(|setting| effective.origin(setting).is_none()));
}

#[test]
fn every_variable_is_applied_and_a_flag_overrides_it() {
    for setting in SETTINGS {
        let shown = |effective: &Effective| setting.kind.show(&effective.config);
        let (low, high) = match setting.kind.placeholder() {
            "ADDRESS" => ("127.0.0.1:1", "127.0.0.1:2"),
            // A threshold fits into its window.
            "DURATION" if setting.key.starts_with("pressure.") => ("1500ms", "1800ms"),
            "DURATION" => ("3s", "4s"),
            "FILE" => ("/a", "/b"),
            "NUMBER" => ("7", "8"),
            "BYTES" => ("4096", "8192"),
            "BOOL" if setting.kind.show(&Config::default()).as_deref() == Some("true") => ("false", "true"),
            "BOOL" => ("true", "false"),
            "NAMES" => ("fault", "block"),
            "PATHS" => ("/a", "/b"),
            "SLOTS" => ("a", "a=2"),
            "SHARE" => ("0.5", "0.6"),
            "SIZE" => ("1G", "2G"),
            _ => match setting.key {
                "log.level" => ("warn", "error"),
                "gpu.enabled" => ("on", "off"),
                "guard.no_agent" => ("deny", "allow"),
                "profile" => ("warmup", "musicgen"),
                // Its default is one of the two.
                "metrics.detail" => ("full", "usual"),
                _ => ("json", "pretty"),
            },
        };
        let variable = setting.variable();
        let mut layers = layers(&[(&variable, low)]);
        let effective = without_file(&layers).unwrap();
        assert_ne!(shown(&effective), setting.kind.show(&Config::default()), "{}", setting.key);
        assert_eq!(effective.origin(setting), Some(&Place::Variable(variable)));

        layers.flags.push((setting, high.to_owned()));
        let above = without_file(&layers).unwrap();
        assert_ne!(shown(&above), shown(&effective), "{}", setting.key);
        assert!(matches!(above.origin(setting), Some(Place::Flag(_))));
    }
}

#[test]
fn all_wrong_variables_are_reported_together() {
    let refusal = refusal(&layers(&[("HEADROOM_TICK", "0s"), ("HEADROOM_KERNEL_SLOWIO", "1s"), ("HEADROOM_FOO", "")]));
    assert_eq!(
        refusal,
        "3 errors in the configuration
  HEADROOM_TICK: tick: \"0s\" is not a duration from \"10ms\" to \"1m\"
  HEADROOM_KERNEL_SLOWIO: unknown variable; did you mean HEADROOM_KERNEL_SLOW_IO?
  HEADROOM_FOO: unknown variable"
    );
}

#[test]
fn a_trigger_that_no_kernel_takes_is_a_mistake_where_it_is_set() {
    let set = [("HEADROOM_PRESSURE_MEMORY_STALLED", "3s")];
    let text = "pressure.memory_stalled: 3s is longer than pressure.memory_window, 2s";
    assert_eq!(refusal(&layers(&set)), format!("HEADROOM_PRESSURE_MEMORY_STALLED: {text}"));
    let set = [("HEADROOM_PRESSURE_IO_WINDOW", "500ms")];
    let text = "pressure.io_stalled: 1s is longer than pressure.io_window, 500ms";
    assert_eq!(refusal(&layers(&set)), format!("HEADROOM_PRESSURE_IO_WINDOW: {text}"));
}

#[test]
fn a_variable_that_is_not_utf8_is_rejected() {
    let mut layers = layers(&[]);
    layers.environment.push(("HEADROOM_LOCK".into(), OsString::from_vec(b"/run/\xff".to_vec())));
    assert_eq!(refusal(&layers), "HEADROOM_LOCK: lock: is not UTF-8");
    layers.environment[0] = (OsString::from_vec(b"HEADROOM_\xff".to_vec()), "1".into());
    assert!(refusal(&layers).contains("unknown variable"));
}

#[test]
fn variables_of_tests_and_of_kubernetes_are_ignored() {
    let mine = [("HEADROOM_BIN", "/bin/headroom"), ("HEADROOM_REQUIRE", "1")];
    let links = [
        ("HEADROOM_SERVICE_HOST", "10.0.0.7"),
        ("HEADROOM_SERVICE_PORT", "9843"),
        ("HEADROOM_SERVICE_PORT_METRICS", "9843"),
        ("HEADROOM_PORT", "tcp://10.0.0.7:9843"),
        ("HEADROOM_PORT_9843_TCP", "tcp://10.0.0.7:9843"),
        ("HEADROOM_PORT_9843_TCP_PROTO", "tcp"),
        ("HEADROOM_PORT_9843_TCP_PORT", "9843"),
        ("HEADROOM_PORT_9843_TCP_ADDR", "10.0.0.7"),
        ("HEADROOM_METRICS_SERVICE_HOST", "10.0.0.7"),
    ];
    assert_eq!(without_file(&layers(&[&mine[..], &links[..]].concat())).unwrap().config, Config::default());
    for wrong in [("HEADROOM_PORT", "9843"), ("HEADROOM_PORT_X_TCP", "1"), ("HEADROOM_PORT_1_TCP_FOO", "1")] {
        assert!(refusal(&layers(&[wrong])).contains("unknown variable"), "{wrong:?}");
    }
}

#[test]
fn a_named_file_must_exist_and_the_flag_overrides_the_variable() {
    let mut layers = layers(&[(FILE_VARIABLE, "/nowhere/a.toml")]);
    assert_eq!(refusal(&layers), "/nowhere/a.toml: file not found");
    layers.file = Some("/nowhere/b.toml".into());
    assert_eq!(refusal(&layers), "/nowhere/b.toml: file not found");
    layers.file = Some("/dev/null".into());
    assert_eq!(without_file(&layers).unwrap().file, Some("/dev/null".into()));
    layers.file = None;
    layers.environment[0].1 = "".into();
    assert_eq!(without_file(&layers).unwrap().file, None);
}

#[test]
fn the_default_file_is_optional_but_must_be_readable() {
    assert_eq!(load_from(&layers(&[]), Path::new("/dev/null")).unwrap().file, Some("/dev/null".into()));
    assert!(load_from(&layers(&[]), Path::new("/")).unwrap_err().to_string().starts_with("/: is a directory"));
}

#[test]
fn a_wrong_value_is_rejected_even_if_overridden() {
    let mut layers = layers(&[("HEADROOM_TICK", "never")]);
    layers.flags.push((find("tick").unwrap(), "1s".into()));
    assert!(refusal(&layers).starts_with("HEADROOM_TICK: tick: "));
}

#[test]
fn unreadable_files_are_rejected() {
    let refusal = |path: &str| read(Path::new(path)).unwrap_err().to_string();
    assert_eq!(refusal("/"), "/: is a directory, not a TOML file");
    // Endless, with a reported length of zero.
    assert_eq!(refusal("/dev/zero"), "/dev/zero: is larger than 1048576 bytes");
    // Can be opened but not read.
    assert!(refusal("/proc/self/mem").starts_with("/proc/self/mem: cannot be read: "));
    assert!(refusal("/dev/null/a").starts_with("/dev/null/a: cannot be opened: "));
    assert!(refusal("/a\0b").contains("cannot be opened"));
    assert_eq!(read(Path::new("/nowhere/headroom.toml")).unwrap(), None);
    assert_eq!(read(Path::new("/dev/null")).unwrap().as_deref(), Some(""));
}
