//! A resource and an amount of it as they are called in a sentence.

use crate::amount;

/// `memory of GPU 0`, `room on /data`, `slot train`.
pub fn name(resource: &str, of: Option<&str>) -> String {
    match (resource, of) {
        ("VRAM", Some(gpu)) => format!("memory of GPU {gpu}"),
        ("disk", Some(path)) => format!("room on {path}"),
        ("slot", Some(slot)) => format!("slot {slot}"),
        ("network", Some(device)) => format!("network ({device})"),
        (other, _) => other.to_owned(),
    }
}

/// An amount in the unit of its resource.
pub fn amount(resource: &str, amount: u64) -> String {
    match resource {
        "CPU" => format!("{:.1} CPUs", amount as f64 / 1000.0),
        "network" => format!("{:.1} Gbit/s", amount as f64 / 1e9),
        "slot" => format!("{amount} {}", if amount == 1 { "place" } else { "places" }),
        _ => amount::bytes(amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_name_and_its_unit() {
        for (resource, of, number, wanted) in [
            ("host memory", None, 2 << 30, "host memory 2.00 GiB"),
            ("VRAM", Some("1"), 1 << 30, "memory of GPU 1 1.00 GiB"),
            ("disk", Some("/data"), 1 << 30, "room on /data 1.00 GiB"),
            ("slot", Some("a"), 1, "slot a 1 place"),
            ("slot", Some("a"), 2, "slot a 2 places"),
            ("CPU", None, 1500, "CPU 1.5 CPUs"),
            ("network", None, 2_000_000_000, "network 2.0 Gbit/s"),
        ] {
            assert_eq!(format!("{} {}", name(resource, of), amount(resource, number)), wanted);
        }
    }
}
