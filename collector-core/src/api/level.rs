//! How degraded the host is and why, and the same of each GPU: the answer of `/api/v1/level`, and what `headroom level` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lease::Priority;
use crate::level::Level;
use crate::view::View;
use crate::view::level::{GpuLevel, Resource, STALLED_CRITICAL, STALLED_RAISES, Standing};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostLevel {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The level of the host.
    #[serde(flatten)]
    pub standing: LevelLine,
    /// What counts for it, each against its limit.
    pub resources: Vec<LimitLine>,
    pub pressure: PressureLine,
    /// Above this share of the host's memory only work of priority 2 (normal) and above starts; absent if none is set for hosts of this
    /// size (`[[level.target]]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_target_ratio: Option<f64>,
    /// Each concerns only what starts on that GPU.
    pub gpus: Vec<GpuLevelLine>,
    /// What is missing. Without memory or a filesystem the level is not known.
    #[serde(default)]
    pub not_known: Vec<String>,
}

/// A level, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LevelLine {
    /// 0 (normal) to 4 (critical); absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// What is known amounts to this: the level is this or higher.
    pub at_least: u8,
    /// The name of the level: normal, light, moderate, heavy or critical; absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The share of its work that a program which adapts should do: 1, 1, 0.5, 0.25, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Work of this priority and above may start: 0 (background), 1 (low), 2 (normal), 3 (high), 4 (critical).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admits_priority: Option<u8>,
    /// Since when it holds, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// How long it holds after the numbers have fallen.
    pub hold_seconds: f64,
    /// Why it is above 0, the most severe first; and that the memory is above its target.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// A resource that counts for the level of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitLine {
    /// `memory`, `cpu` (mean of 30 s) or `filesystem`.
    pub resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// Share of the whole, 0 to 1; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
    /// The share that may be used.
    pub limit_ratio: f64,
    /// The use as a share of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_used_ratio: Option<f64>,
    /// The level of this resource alone, without a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
}

/// Waits for memory, as far as the host itself reclaims it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LevelPressure)]
pub struct PressureLine {
    /// Share of the last ten seconds in which all tasks waited for memory (PSI full); absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_stalled_ratio: Option<f64>,
    /// Above this share the level is one higher.
    pub raises_above: f64,
    /// Above this share it is 4.
    pub critical_above: f64,
}

/// The level of a GPU's memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GpuLevelLine {
    /// Its number.
    pub gpu: String,
    pub uuid: String,
    #[serde(flatten)]
    pub standing: LevelLine,
    /// Share of its usable memory in use, without what model servers hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
    /// Share that model servers hold on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_ratio: Option<f64>,
    pub limit_ratio: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_used_ratio: Option<f64>,
    #[serde(default)]
    pub not_known: Vec<String>,
}

impl HostLevel {
    pub fn of(view: &View) -> HostLevel {
        let levels = &view.level;
        let resources = levels.uses().map(|it| {
            let (resource, mountpoint) = match it.resource {
                Resource::Memory => ("memory", None),
                Resource::Cpu => ("cpu", None),
                Resource::Filesystem(mountpoint) => ("filesystem", Some(mountpoint.to_string())),
            };
            LimitLine {
                resource: resource.to_owned(),
                mountpoint,
                used_ratio: it.used,
                limit_ratio: it.limit,
                limit_used_ratio: it.share(),
                level: it.level().map(Level::number),
            }
        });
        let mut gpus: Vec<_> = levels.gpus.iter().map(|(uuid, gpu)| GpuLevelLine::of(view, uuid, gpu)).collect();
        gpus.sort_by(|one, other| (one.gpu.len(), &one.gpu).cmp(&(other.gpu.len(), &other.gpu)));
        HostLevel {
            time: view.time,
            standing: LevelLine::host(view),
            memory_target_ratio: view.memory_target(),
            resources: resources.collect(),
            pressure: PressureLine {
                memory_stalled_ratio: levels.stalled,
                raises_above: STALLED_RAISES,
                critical_above: STALLED_CRITICAL,
            },
            gpus,
            not_known: levels.not_known(),
        }
    }
}

impl LevelLine {
    /// Of the host.
    pub(super) fn host(view: &View) -> LevelLine {
        let mut line = LevelLine::of(&view.level.host, view.level.reasons());
        if let Some(why) = view.above_target(0) {
            let normal = u8::from(Priority::Normal);
            line.admits_priority = line.admits_priority.map(|least| least.max(normal));
            line.reasons.push(why);
        }
        line
    }

    fn of(standing: &Standing, reasons: Vec<String>) -> LevelLine {
        let level = standing.level;
        LevelLine {
            level: level.map(Level::number),
            at_least: standing.at_least.number(),
            name: level.map(|level| level.name().to_owned()),
            factor: level.map(Level::factor),
            admits_priority: level.map(Level::least_priority),
            since: Some(standing.since).filter(|since| *since > 0),
            hold_seconds: standing.hold_ns as f64 / 1e9,
            reasons,
        }
    }
}

impl GpuLevelLine {
    fn of(view: &View, uuid: &str, gpu: &GpuLevel) -> GpuLevelLine {
        let limits = &view.level.limits;
        GpuLevelLine {
            gpu: gpu.gpu.to_string(),
            uuid: uuid.to_owned(),
            standing: LevelLine::of(&gpu.standing, gpu.reasons(limits)),
            used_ratio: gpu.used,
            intended_ratio: gpu.intended,
            limit_ratio: limits.gpu,
            limit_used_ratio: gpu.used.map(|used| used / limits.gpu),
            not_known: gpu.not_known(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::start;
    use crate::level::{Limits, Target};
    use crate::sample::{Reading, Sample};
    use crate::statistic::host::{Statistic, Values};

    fn level(available: Option<u64>) -> HostLevel {
        let mut engine = Engine::new();
        let mut values = Values::from_iter([(Statistic::MemoryTotal, 100)]);
        values.put(Statistic::MemoryAvailable, available);
        for reading in [Reading::Start(start()), Reading::Host(values), Reading::Tick] {
            engine.apply(&Sample { time: 5, reading });
        }
        HostLevel::of(engine.view())
    }

    #[test]
    fn a_level_comes_with_what_follows_from_it_and_why() {
        let HostLevel { standing, resources, not_known, .. } = level(Some(20));
        assert_eq!((standing.level, standing.factor, standing.admits_priority), (Some(2), Some(0.5), Some(0)));
        assert_eq!(
            (standing.name.as_deref(), standing.since, standing.hold_seconds),
            (Some("moderate"), Some(5), 10.0)
        );
        assert_eq!(standing.reasons, ["memory is 80 % used, 89 % of the limit of 90 %"]);
        assert_eq!((resources[0].resource.as_str(), resources[0].level), ("memory", Some(2)));
        assert_eq!((resources[1].resource.as_str(), resources[1].used_ratio), ("cpu", None));
        assert_eq!(not_known.len(), 2, "{not_known:?}");
    }

    #[test]
    fn above_its_target_a_host_of_level_0_admits_normal_priority_and_above() {
        let targets = vec![Target { from: 100, gpu: Some(false), memory: 0.5 }];
        let limits = Limits { targets, ..Limits::default() };
        let of = |available: u64| {
            let mut engine = Engine::new();
            let values = Values::from_iter([(Statistic::MemoryTotal, 100), (Statistic::MemoryAvailable, available)]);
            for reading in
                [Reading::Start(start()), Reading::Host(values), Reading::Level(limits.clone()), Reading::Tick]
            {
                engine.apply(&Sample { time: 5, reading });
            }
            HostLevel::of(engine.view())
        };
        let above = of(40);
        assert_eq!((above.standing.level, above.standing.admits_priority), (Some(0), Some(2)));
        assert_eq!(above.standing.reasons, ["memory is 60 % used, above the target of 50 %"]);
        let below = of(60);
        assert_eq!((below.memory_target_ratio, below.standing.admits_priority), (Some(0.5), Some(0)));
        assert_eq!(below.standing.reasons, [""; 0]);
    }

    #[test]
    fn without_memory_there_is_no_level_no_factor_and_no_priority() {
        let unknown = level(None);
        let json = serde_json::to_value(&unknown).unwrap();
        for absent in ["level", "factor", "name", "admits_priority"] {
            assert_eq!(json.get(absent), None, "{absent}");
        }
        assert_eq!((json["at_least"].as_u64(), &*unknown.not_known[0]), (Some(0), "memory of the host"));
        assert_eq!(serde_json::from_value::<HostLevel>(json).unwrap(), unknown);
    }
}
