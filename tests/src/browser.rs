//! A real Chromium, driven by `tests/browser/driver.mjs`. Knows nothing of the page that is shown.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::require::{find, installed, tools};

/// As `cargo xtask setup` looks for them.
const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/driver.mjs");

/// A browser with its driver. Both end when it is dropped.
pub struct Browser {
    driver: Child,
    /// Commands, and their answers.
    pipes: RefCell<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

/// A page in a profile of its own.
pub struct Page<'a> {
    browser: &'a Browser,
    number: u64,
}

/// What a page keeps in memory, after a collection of garbage.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Of live objects of JavaScript.
    pub bytes: u64,
    pub nodes: u64,
    pub listeners: u64,
}

/// The browser that is installed.
fn program() -> Option<PathBuf> {
    BROWSERS.into_iter().find_map(find)
}

impl Browser {
    /// Why none can be started here.
    pub fn missing() -> Option<&'static str> {
        if program().is_none() {
            return Some("needs chromium: cargo xtask setup");
        }
        let there = installed("node") && tools().join("browser/installed").is_file();
        (!there).then_some("needs the driver of chromium: cargo xtask setup")
    }

    pub fn start() -> Browser {
        let mut command = Command::new("node");
        command.arg(DRIVER).arg(tools().join("browser")).arg(program().unwrap());
        let mut driver = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(driver.stdout.take().unwrap());
        Browser { pipes: RefCell::new((driver.stdin.take(), answers)), driver }
    }

    /// Opens a page; `options` are those of the driver's `open`.
    pub fn open(&self, url: &str, options: Value) -> Page<'_> {
        let number = self.call("open", json!({ "url": url }), options).as_u64().unwrap();
        Page { browser: self, number }
    }

    fn call(&self, command: &str, head: Value, options: Value) -> Value {
        let mut request = json!({ "command": command });
        for part in [head, options] {
            request.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        let (commands, answers) = &mut *self.pipes.borrow_mut();
        writeln!(commands.as_mut().unwrap(), "{request}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the driver ended at {request}"));
        assert!(answer["error"].is_null(), "{}", answer["error"].as_str().unwrap_or_default());
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // At the end of its input the driver closes the browser.
        drop(self.pipes.get_mut().0.take());
        let _ = self.driver.wait();
    }
}

impl Page<'_> {
    fn call(&self, command: &str, options: Value) -> Value {
        self.browser.call(command, json!({ "page": self.number }), options)
    }

    /// Goes to an address; one that differs only after its `#` loads nothing.
    pub fn go(&self, url: &str) {
        self.call("go", json!({ "url": url }));
    }

    /// The value of an expression of JavaScript.
    pub fn evaluate(&self, script: &str) -> Value {
        self.call("evaluate", json!({ "script": script }))
    }

    /// Waits until an expression is true to JavaScript; its value.
    pub fn until(&self, script: &str) -> Value {
        self.call("until", json!({ "script": script }))
    }

    /// Waits until all of these are shown; everything that is then shown.
    pub fn until_shown(&self, texts: &[&str]) -> String {
        let wanted = json!(texts);
        let shown = self.until(&format!(
            "(() => {{ const shown = document.body.innerText; return {wanted}.every((text) => shown.includes(text)) && shown; }})()"
        ));
        shown.as_str().unwrap().to_owned()
    }

    /// Presses keys, such as `Tab` and `Enter`.
    pub fn press(&self, keys: &[&str]) {
        self.call("press", json!({ "keys": keys }));
    }

    pub fn resize(&self, width: u32, height: u32) {
        self.call("resize", json!({ "width": width, "height": height }));
    }

    /// `dark` or `light`, as the user prefers it.
    pub fn scheme(&self, scheme: &str) {
        self.call("scheme", json!({ "scheme": scheme }));
    }

    /// Keeps a picture of all of it, `target/page/NAME.png`.
    pub fn screenshot(&self, name: &str) {
        let folder = tools().with_file_name("page");
        fs::create_dir_all(&folder).unwrap();
        self.call("screenshot", json!({ "file": folder.join(format!("{name}.png")) }));
    }

    /// Lets seconds of its own clock pass, if it was opened with `clock`.
    pub fn pass(&self, seconds: u64) {
        self.call("pass", json!({ "seconds": seconds }));
    }

    pub fn heap(&self) -> Heap {
        let heap = self.call("heap", json!({}));
        let number = |name: &str| heap[name].as_u64().unwrap();
        Heap { bytes: number("bytes"), nodes: number("nodes"), listeners: number("listeners") }
    }

    /// Asserts that nothing went wrong since the last time: no error in the console, no exception, no violation of its
    /// Content-Security-Policy, no request to another origin.
    pub fn assert_well(&self) {
        let troubles = self.troubles();
        assert!(troubles.is_empty(), "{}", troubles.join("\n"));
    }

    /// All that went wrong since the last time.
    pub fn troubles(&self) -> Vec<String> {
        let troubles = self.call("troubles", json!({}));
        troubles.as_array().unwrap().iter().map(|trouble| trouble.as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that it keeps every criterion of WCAG, level A and AA, that axe can check.
    pub fn assert_accessible(&self) {
        let found = self.call("axe", json!({}));
        let violations: Vec<&str> = found["violations"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        assert!(found["passes"].as_array().unwrap().iter().any(|rule| rule == "color-contrast"), "{found}");
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.call("close", json!({}));
        }
    }
}
