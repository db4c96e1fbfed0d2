//! Interfaces and RDMA ports of the host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::view::View;
use crate::view::host::network::Interface;

/// Rates and shares are over the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkLine {
    /// The interface (`eth0`), or the RDMA port (`mlx5_0:1`).
    pub device: String,
    /// Whether the default route leads through it.
    pub route: bool,
    /// Whether it has a link; absent where the driver does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_bytes_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_bytes_per_second: Option<f64>,
    /// What its link carries in each direction; absent where the driver does not say, as most virtual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_bytes_per_second: Option<u64>,
    /// The rate of the busier direction as a share (0 to 1) of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
    /// Speed of the link as a share (0 to 1) of the fastest that it had since the agent started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_ratio: Option<f64>,
}

impl NetworkLine {
    /// Bytes a second that it received and sent.
    pub fn rate(&self) -> f64 {
        self.receive_bytes_per_second.unwrap_or(0.0) + self.transmit_bytes_per_second.unwrap_or(0.0)
    }

    /// The busiest first: by the share of the link, then by what they carry.
    pub fn busiest(lines: &[NetworkLine]) -> Vec<&NetworkLine> {
        let mut order: Vec<&NetworkLine> = lines.iter().collect();
        let key = |line: &NetworkLine| (line.used_ratio.unwrap_or(0.0), line.rate());
        order.sort_by(|one, other| {
            let ((share, rate), (other, others)) = (key(one), key(other));
            other.total_cmp(&share).then(others.total_cmp(&rate))
        });
        order
    }
}

pub(super) fn network(view: &View) -> Vec<NetworkLine> {
    let line = |(device, it): (&Arc<str>, &Interface)| {
        let [received, sent] = it.rates().map(|bits| bits.map(|bits| bits / 8.0));
        NetworkLine {
            device: device.to_string(),
            route: it.route,
            up: it.is_up(),
            receive_bytes_per_second: received,
            transmit_bytes_per_second: sent,
            speed_bytes_per_second: it.speed().map(|bits| bits / 8),
            used_ratio: it.used().into_iter().flatten().reduce(f64::max),
            speed_ratio: it.speed_ratio(),
        }
    };
    view.host.network.interfaces.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::engine;
    use crate::sample::{Reading as Any, Sample};
    use crate::statistic::network::Statistic::{ReceiveBytes, Speed, TransmitBytes, Up};
    use crate::statistic::network::{Reading, Values};

    #[test]
    fn rates_are_bytes_and_the_busier_direction_counts() {
        let mut engine = engine();
        for (second, device, sent) in [(20, "a", 0), (20, "b", 0), (30, "a", 10_000), (30, "b", 20)] {
            let mut values = Values::from_iter([(ReceiveBytes, 100 * second), (TransmitBytes, sent)]);
            if device == "a" {
                values.set(Speed, 80_000);
                values.set(Up, 1);
            }
            let reading = Reading::Interface { device: device.into(), route: device == "a", values: Some(values) };
            engine.apply(&Sample { time: second * 1_000_000_000, reading: Any::Network(reading) });
        }
        let lines = network(engine.view());
        let known = NetworkLine {
            device: "a".to_owned(),
            route: true,
            up: Some(true),
            receive_bytes_per_second: Some(100.0),
            transmit_bytes_per_second: Some(1000.0),
            speed_bytes_per_second: Some(10_000),
            used_ratio: Some(0.1),
            speed_ratio: Some(1.0),
        };
        assert_eq!(lines[0], known);
        assert_eq!((lines[1].used_ratio, lines[1].up, lines[1].transmit_bytes_per_second), (None, None, Some(2.0)));
        let order = |lines: &[NetworkLine]| -> Vec<String> {
            NetworkLine::busiest(lines).into_iter().map(|line| line.device.clone()).collect()
        };
        assert_eq!(order(&[lines[1].clone(), lines[0].clone()]), ["a", "b"]);
    }
}
