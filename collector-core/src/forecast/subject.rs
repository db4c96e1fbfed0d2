//! What is forecast: which numbers of a host or a workload, below which limits, and who is known to clean up. Knows no forecast.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Facts, Material, Quarter, Resource};
use crate::advice::Unit;
use crate::series::Series;
use crate::tier::{Figure, Rare, kept};

/// The kubelet's defaults: it removes images that nobody uses from here on, and evicts pods from there on.
const KUBELET: [(&str, f64); 2] =
    [("the kubelet, which removes unused images", 0.85), ("the kubelet, which evicts pods", 0.90)];

pub(super) struct Subject {
    pub resource: Resource,
    pub of: Option<String>,
    pub unit: Unit,
    pub quarters: Vec<Quarter>,
    pub limit: Option<f64>,
    /// It cannot be more.
    pub most: Option<f64>,
    /// Who cleans up, and from which use on.
    pub cleaners: Vec<(&'static str, f64)>,
}

pub(super) fn all(material: &Material, facts: &Facts) -> Vec<Subject> {
    let of = |series: Series| kept(series).map(|kept| quarters(material, kept)).unwrap_or_default();
    let limit = limit(material);
    let mut all =
        vec![Subject { limit, most: limit, ..subject(Resource::Memory, None, Unit::Bytes, of(Series::Memory)) }];
    let is_host = material.workload.is_none();
    let cpus =
        Rare::last(&material.counts, |rare| matches!(rare, Rare::Cpus)).map(|count| count as f64).filter(|_| is_host);
    all.push(Subject { limit: cpus, most: cpus, ..subject(Resource::Cpu, None, Unit::Cpus, of(Series::Cpu)) });
    if is_host {
        all.extend(cards(material));
        all.extend(disks(material, facts));
    } else {
        for (resource, unit, series) in [
            (Resource::Vram, Unit::Bytes, Series::Vram),
            (Resource::HostToDevice, Unit::BytesPerSecond, Series::HostToDevice),
        ] {
            let quarters = of(series);
            let used = quarters.iter().any(|(.., [_, _, most])| most.is_some_and(|most| most > 0.0));
            all.extend(used.then(|| subject(resource, None, unit, quarters)));
        }
    }
    all
}

/// That of the last quarter of an hour in which memory is known: one that was there before may have been taken away since.
fn limit(material: &Material) -> Option<f64> {
    let (memory, limit) = (kept(Series::Memory)?, kept(Series::MemoryLimit)?);
    let last = material.quarters.iter().rev().find(|known| known.values[memory][2].is_some())?;
    last.values[limit][2].map(f64::from)
}

fn subject(resource: Resource, of: Option<String>, unit: Unit, quarters: Vec<Quarter>) -> Subject {
    Subject { resource, of, unit, quarters, limit: None, most: None, cleaners: Vec::new() }
}

fn quarters(material: &Material, kept: usize) -> Vec<Quarter> {
    material.quarters.iter().map(|known| (known.time, known.seconds, known.values[kept])).collect()
}

fn cards(material: &Material) -> Vec<Subject> {
    let mut all = Vec::new();
    for card in &material.cards {
        let of = |figure: Figure| -> Vec<Quarter> {
            card.quarters.iter().map(|known| (known.time, known.seconds, known.values[figure as usize])).collect()
        };
        let usable = of(Figure::MemoryUsable).iter().rev().find_map(|(.., [_, _, most])| most.map(f64::from));
        let gpu = || Some(card.gpu.to_string());
        all.push(Subject {
            limit: usable,
            most: usable,
            ..subject(Resource::Vram, gpu(), Unit::Bytes, of(Figure::MemoryUsed))
        });
        let link = of(Figure::ToGpu);
        if link.iter().any(|(.., [_, mean, _])| mean.is_some()) {
            let subject = subject(Resource::HostToDevice, gpu(), Unit::Ratio, link);
            all.push(Subject { limit: Some(1.0), most: Some(1.0), ..subject });
        }
    }
    all
}

fn disks(material: &Material, facts: &Facts) -> Vec<Subject> {
    let mut used: BTreeMap<Arc<str>, Vec<Quarter>> = BTreeMap::new();
    for (time, rare, bytes) in &material.counts {
        if let Rare::Disk(mount) = rare {
            used.entry(mount.clone()).or_default().push((*time, 900, [Some(*bytes as f32); 3]));
        }
    }
    let subject = |(mount, quarters): (Arc<str>, Vec<Quarter>)| {
        let size = Rare::last(&material.counts, |rare| matches!(rare, Rare::DiskSize(of) if *of == mount));
        let size = size.map(|bytes| bytes as f64);
        let cleans = facts.kubelet && facts.kubelet_mounts.iter().any(|kept| **kept == *mount);
        let cleaners = KUBELET.into_iter().filter(|_| cleans);
        Subject {
            limit: size,
            most: size,
            cleaners: cleaners.filter_map(|(who, share)| Some((who, share * size?))).collect(),
            ..subject(Resource::Disk, Some(mount.to_string()), Unit::Bytes, quarters)
        }
    };
    used.into_iter().map(subject).collect()
}
