//! The GPUs that a need is for: as the command line says, or as this host and its agent do.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, anyhow, ensure};
use collector_core::amount;
use collector_core::api::gpus::{GpuLine, Gpus};
use collector_core::need::Need;
use collector_core::need::known::{self, Model, version};
use collector_core::need::remark::Remark;

use super::environment::Environment;
use crate::client::Client;
use crate::config::load::Effective;
use crate::config::table::model::models;

/// Path of the GPUs as JSON.
const GPUS: &str = "/api/v1/gpus";
/// Most GPUs that are believed.
const MOST: u32 = 64;

/// Which GPUs there are. Asks the agent only when a need depends on it.
pub struct Host<'a> {
    pub count: u32,
    /// That is how many there are, not how many there are at least.
    pub certain: bool,
    /// The command line describes them: nothing of this host's GPUs is meant.
    pub said: bool,
    pub environment: Environment,
    /// Bytes of each, as the command line says.
    sizes: Vec<u64>,
    effective: &'a Effective,
    /// What the agent answered.
    agent: OnceCell<BTreeMap<u32, GpuLine>>,
}

impl<'a> Host<'a> {
    /// `memory`: `80G` for all, or `80G,24G`.
    pub fn of(
        count: Option<u32>,
        memory: Option<&str>,
        environment: Environment,
        effective: &'a Effective,
    ) -> anyhow::Result<Host<'a>> {
        let size = |text: &str| amount::parse_bytes(text).map_err(|why| anyhow!("--gpu-memory {text}: {why}"));
        let sizes: Vec<u64> = memory.iter().flat_map(|list| list.split(',')).map(size).collect::<Result<_, _>>()?;
        let listed = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
        let said = count.is_some() || listed > 0;
        // One size is that of all GPUs, however many.
        let there = if said { 0 } else { nodes() };
        let here = environment.visible().map_or(there, |visible| visible_of(there, &visible));
        let certain = count.is_some() || listed > 1 || there > 0;
        let count = count.unwrap_or(listed.max(here));
        ensure!(count.max(listed) <= MOST, "--gpus {}: expected at most {MOST}", count.max(listed));
        Ok(Host { count, certain, said, environment, sizes, effective, agent: OnceCell::new() })
    }

    /// Bytes of each GPU, as far as they are known.
    pub fn sizes(&self) -> BTreeMap<u32, u64> {
        match self.sizes.last() {
            Some(last) => {
                let sizes = self.sizes.iter().chain(std::iter::repeat(last));
                (0..if self.certain { self.count } else { MOST }).zip(sizes.copied()).collect()
            }
            None => self.here().iter().filter_map(|(index, gpu)| Some((*index, gpu.memory_total_bytes?))).collect(),
        }
    }

    /// Says whether this host's GPUs are new enough.
    fn compare(&self, need: &mut Need) {
        let Some(least) = need.compute_capability else { return };
        let tenths = |gpu: &GpuLine| known::capability(gpu.compute_capability.as_deref()?);
        let gpus = self.here();
        let known: Vec<(u32, u32)> = gpus.iter().filter_map(|(index, gpu)| Some((*index, tenths(gpu)?))).collect();
        if known.is_empty() || known.len() < gpus.len() {
            let least = version(least);
            need.assume(format!("whether the GPUs have a compute capability of {least} is not known here"));
        } else if let Some((_, best)) = known.iter().max_by_key(|(_, tenths)| tenths).filter(|(_, best)| *best < least)
        {
            let (least, best) = (version(least), version(*best));
            let why = format!("it needs a compute capability of {least}, and no GPU here has more than {best}");
            need.refused.push(Remark::whatever(why));
        }
    }

    /// The model that the configuration, or Headroom itself, knows by this name.
    pub fn known(&self, name: &str) -> Option<Model> {
        known::find(models(&self.effective.config), name)
    }

    /// Turns shares into bytes, and compares with the GPUs, as far as they are known.
    pub fn resolve(&self, need: &mut Need) {
        if !need.shares.is_empty() {
            need.resolve(&self.sizes());
        }
        self.compare(need);
    }

    /// This host's GPUs as its agent knows them: nothing of it is true of others.
    fn here(&self) -> &BTreeMap<u32, GpuLine> {
        self.agent.get_or_init(|| if self.said { BTreeMap::new() } else { self.ask().unwrap_or_default() })
    }

    fn ask(&self) -> anyhow::Result<BTreeMap<u32, GpuLine>> {
        let body = Client::of(self.effective)?.page(GPUS)?;
        let gpus: Gpus = serde_json::from_slice(&body).context("the answer is not from an agent of this version")?;
        // MIG devices are parts of other GPUs.
        let whole = gpus.gpus.into_iter().filter(|gpu| gpu.parent.is_none()).collect();
        Ok((0..MOST).zip(seen(whole, self.environment.visible().as_deref())).collect())
    }
}

/// GPUs as a program sees them that may use these alone.
fn seen(gpus: Vec<GpuLine>, visible: Option<&[String]>) -> Vec<GpuLine> {
    let Some(visible) = visible else { return gpus };
    let is = |gpu: &&GpuLine, name: &str| gpu.gpu == name || name.starts_with("GPU-") && gpu.uuid.starts_with(name);
    visible.iter().map_while(|name| gpus.iter().find(|gpu| is(gpu, name)).cloned()).collect()
}

/// How many of so many GPUs are visible.
fn visible_of(count: u32, visible: &[String]) -> u32 {
    let there = |gpu: &&String| gpu.parse::<u32>().map_or(count > 0, |number| number < count);
    u32::try_from(visible.iter().take_while(there).count()).unwrap_or(count).min(count)
}

/// GPUs with a device node here.
pub fn nodes() -> u32 {
    let Ok(nodes) = fs::read_dir("/dev") else { return 0 };
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok());
    let count = nodes.flatten().filter(|node| node.file_name().to_str().is_some_and(is_gpu)).count();
    u32::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};

    #[test]
    fn sizes_are_those_that_were_said() {
        let layers = Layers { file: Some("/dev/null".into()), ..Layers::default() };
        let effective = load(&layers).unwrap();
        let sizes = |count, memory| {
            let host = Host::of(count, memory, Environment::default(), &effective)?;
            Ok::<_, anyhow::Error>((host.count, host.sizes().into_values().collect::<Vec<_>>()))
        };
        let one = Host::of(None, Some("80G"), Environment::default(), &effective).unwrap();
        assert_eq!((one.count, one.certain, one.sizes()[&7]), (1, false, 80 << 30), "of each, however many");
        assert_eq!(sizes(Some(3), Some("80G")).unwrap(), (3, vec![80 << 30; 3]));
        assert_eq!(sizes(None, Some("80G,24G")).unwrap(), (2, vec![80 << 30, 24 << 30]));
        assert_eq!(sizes(Some(2), None).unwrap(), (2, vec![]), "sizes of this host's GPUs are not those of another's");
        assert_eq!(sizes(Some(65), None).unwrap_err().to_string(), "--gpus 65: expected at most 64");
        assert!(sizes(None, Some("big")).unwrap_err().to_string().starts_with("--gpu-memory big: expected a number"));
    }

    #[test]
    fn only_visible_gpus_count() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!([visible_of(2, &list("1")), visible_of(2, &list("0,1,2")), visible_of(2, &list("5"))], [1, 2, 0]);
        assert_eq!([visible_of(2, &list("GPU-a")), visible_of(0, &list("GPU-a")), visible_of(2, &[])], [1, 0, 0]);
        let gpu = |number: &str, uuid: &str| {
            serde_json::from_value::<GpuLine>(
                serde_json::json!({"gpu": number, "uuid": uuid, "model": "", "driver": ""}),
            )
        };
        let gpus = || vec![gpu("0", "GPU-aa").unwrap(), gpu("1", "GPU-bb").unwrap()];
        let names =
            |visible: Option<&[String]>| seen(gpus(), visible).into_iter().map(|gpu| gpu.gpu).collect::<Vec<_>>();
        assert_eq!(names(None), ["0", "1"]);
        assert_eq!(names(Some(&list("1,0"))), ["1", "0"], "in the order that the program sees");
        assert_eq!(names(Some(&list("GPU-b,7,0"))), ["1"]);
    }
}
