//! PSI triggers that no kernel takes: within a window nobody waits longer than it is. Knows no kernel.

use std::time::Duration;

use humantime::format_duration;

use super::section::Config;

/// A threshold that does not fit into its window: both settings, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Impossible {
    pub threshold: &'static str,
    pub window: &'static str,
    pub text: String,
}

pub fn impossible(config: &Config) -> Vec<Impossible> {
    let pressure = &config.pressure;
    let (memory, io, cpu) = (pressure.memory_window, pressure.io_window, pressure.cpu_window);
    let triggers: [(&'static str, Duration, &'static str, Duration); 5] = [
        ("pressure.memory_waiting", pressure.memory_waiting, "pressure.memory_window", memory),
        ("pressure.memory_stalled", pressure.memory_stalled, "pressure.memory_window", memory),
        ("pressure.io_waiting", pressure.io_waiting, "pressure.io_window", io),
        ("pressure.io_stalled", pressure.io_stalled, "pressure.io_window", io),
        ("pressure.cpu_waiting", pressure.cpu_waiting, "pressure.cpu_window", cpu),
    ];
    let wrong = triggers.into_iter().filter(|(_, threshold, _, length)| threshold > length);
    wrong
        .map(|(name, threshold, window, length)| {
            let text = format!("{} is longer than {window}, {}", format_duration(threshold), format_duration(length));
            Impossible { threshold: name, window, text }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_fits_into_its_window() {
        assert_eq!(impossible(&Config::default()), []);
        let mut config = Config::default();
        config.pressure.memory_stalled = Duration::from_secs(3);
        config.pressure.cpu_waiting = config.pressure.cpu_window;
        let expected = Impossible {
            threshold: "pressure.memory_stalled",
            window: "pressure.memory_window",
            text: "3s is longer than pressure.memory_window, 2s".to_owned(),
        };
        assert_eq!(impossible(&config), [expected]);
    }
}
