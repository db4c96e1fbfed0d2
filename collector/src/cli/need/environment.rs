//! The variables that a command starts with: this process's own, and those that `env NAME=VALUE…` puts before it.

use std::collections::BTreeMap;
use std::env;

use collector_core::need::command::split_environment;

/// Which GPUs CUDA shows to a program.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of a command that this process would start. What is no text is left out.
    pub fn of(command: &[String]) -> Environment {
        let own =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut all: BTreeMap<String, String> = own.collect();
        let (assignments, _) = split_environment(command);
        all.extend(
            assignments
                .iter()
                .filter_map(|text| text.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        Environment(all)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Numbers or uuids of the GPUs that are visible, in order; `None`: all are. What follows one that cannot be is not.
    pub fn visible(&self) -> Option<Vec<String>> {
        let text = self.get(VISIBLE)?;
        let can_be = |gpu: &&str| gpu.parse::<u32>().is_ok() || gpu.starts_with("GPU-") || gpu.starts_with("MIG-");
        Some(text.split(',').map(str::trim).take_while(can_be).map(str::to_owned).collect())
    }

    /// The same, if they are numbers and there is one: for the agent, which knows GPUs by their numbers.
    pub fn gpus(&self) -> Vec<String> {
        let visible = self.visible().unwrap_or_default();
        if visible.iter().all(|gpu| gpu.parse::<u32>().is_ok()) { visible } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Environment {
        Environment::of(&line.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_stands_before_the_command_replaces_what_is_there() {
        let path = env::var("PATH").unwrap();
        assert_eq!(of(&["x", "PATH=1"]).get("PATH"), Some(path.as_str()), "an argument");
        assert_eq!(of(&["env", "PATH=1", "A=b=c", "x"]).get("PATH"), Some("1"));
        assert_eq!(of(&["env", "A=b=c", "x"]).get("A"), Some("b=c"));
    }

    #[test]
    fn visible_gpus_end_at_the_first_that_cannot_be() {
        let visible = |value: &str| of(&["env", &format!("{VISIBLE}={value}"), "x"]);
        assert_eq!(visible("1,0").gpus(), ["1", "0"]);
        assert_eq!(visible("0,-1,1").gpus(), ["0"]);
        assert_eq!(visible("").visible(), Some(Vec::new()));
        assert_eq!(visible("NoDevFiles").visible(), Some(Vec::new()));
        let uuid = visible("GPU-1234,1");
        assert_eq!(
            (uuid.visible().unwrap().len(), uuid.gpus().len()),
            (2, 0),
            "the agent is not told of a part of them"
        );
    }
}
