//! Needs as a caller declares them: `--memory 18G --vram 20G --disk 50G:/data --cpu 4 --network 1G --slot NAME`.

use std::fmt;

use super::{Memory, Need, Origin, Part, Resource};
use crate::amount::{self, Malformed};

/// The texts of the flags, as given.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Anonymous memory.
    pub memory: Option<String>,
    /// `20G` on one GPU, or `20G,20G`: one each.
    pub vram: Option<String>,
    /// `50G:/data`.
    pub disk: Vec<String>,
    /// CPUs: `4`, `0.5`.
    pub cpu: Option<String>,
    /// Bits a second, with decimal prefixes, as links are rated.
    pub network: Option<String>,
    /// `NAME` or `NAME=2`.
    pub slot: Vec<String>,
}

/// A declared amount that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub flag: &'static str,
    pub text: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Amount(Malformed),
    /// `--disk` without a path.
    NoPath,
    /// `--slot` without a name.
    NoName,
    /// Places of a slot that are no whole number.
    Count,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.flag, self.text, self.why())
    }
}

impl Error {
    /// What was expected.
    pub fn why(&self) -> String {
        match &self.why {
            Why::Amount(malformed) => malformed.to_string(),
            Why::NoPath => "expected an amount and an absolute path, such as 50G:/data".to_owned(),
            Why::NoName => "expected a name, or NAME=COUNT".to_owned(),
            Why::Count => "expected a whole number of places, such as NAME=2".to_owned(),
        }
    }
}

impl std::error::Error for Error {}

impl Declared {
    pub fn need(&self) -> Result<Need, Error> {
        let mut need = Need::default();
        // An amount of 0 counts too: it stands in place of an estimate.
        let mut add = |resource, amount| {
            need.parts.push(Part {
                what: "declared".to_owned(),
                resource,
                amount,
                error: 0,
                origin: Origin::Declared,
                loading: false,
            });
        };
        if let Some(text) = &self.memory {
            add(Resource::Host { memory: Memory::Anonymous }, read("--memory", text, amount::parse_bytes)?);
        }
        for (gpu, text) in (0..).zip(self.vram.iter().flat_map(|list| list.split(','))) {
            add(Resource::Vram { gpu }, read("--vram", text, amount::parse_bytes)?);
        }
        for text in &self.disk {
            let error = || Error { flag: "--disk", text: text.clone(), why: Why::NoPath };
            let (amount, path) = text.split_once(':').filter(|(_, path)| path.starts_with('/')).ok_or_else(error)?;
            add(Resource::Disk { path: path.to_owned() }, read("--disk", amount, amount::parse_bytes)?);
        }
        if let Some(text) = &self.cpu {
            add(Resource::Cpu, read("--cpu", text, amount::parse_thousandths)?);
        }
        if let Some(text) = &self.network {
            add(Resource::Network, read("--network", text, amount::parse_decimal)?);
        }
        for text in &self.slot {
            let error = |why| Error { flag: "--slot", text: text.clone(), why };
            let (name, count) = text.split_once('=').unwrap_or((text, "1"));
            if name.is_empty() {
                return Err(error(Why::NoName));
            }
            add(Resource::Slot { name: name.to_owned() }, count.parse().map_err(|_| error(Why::Count))?);
        }
        Ok(need)
    }
}

fn read(flag: &'static str, text: &str, parse: impl Fn(&str) -> Result<u64, Malformed>) -> Result<u64, Error> {
    parse(text).map_err(|malformed| Error { flag, text: text.to_owned(), why: Why::Amount(malformed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_part() {
        let some = |text: &str| Some(text.to_owned());
        let declared = Declared {
            memory: some("18G"),
            vram: some("20G,10G"),
            disk: vec!["50G:/data".to_owned(), "1M:/a:b".to_owned()],
            cpu: some("0.5"),
            network: some("1G"),
            slot: vec!["gpu-job".to_owned(), "licence=2".to_owned()],
        };
        let need = declared.need().unwrap();
        let amounts: Vec<_> = need.parts.iter().map(|part| (&part.resource, part.amount)).collect();
        let slot = |name: &str| Resource::Slot { name: name.to_owned() };
        let disk = |path: &str| Resource::Disk { path: path.to_owned() };
        assert_eq!(
            amounts,
            [
                (&Resource::Host { memory: Memory::Anonymous }, 18 << 30),
                (&Resource::Vram { gpu: 0 }, 20 << 30),
                (&Resource::Vram { gpu: 1 }, 10 << 30),
                (&disk("/data"), 50 << 30),
                (&disk("/a:b"), 1 << 20),
                (&Resource::Cpu, 500),
                (&Resource::Network, 1_000_000_000),
                (&slot("gpu-job"), 1),
                (&slot("licence"), 2),
            ]
        );
        assert!(need.parts.iter().all(|part| part.origin == Origin::Declared));
        assert_eq!(need.total().host_hard, 18 << 30);
    }

    #[test]
    fn nothing_that_is_declared_stands_in_place_of_an_estimate() {
        let mut estimated = Need { upper_bound: true, ..Need::default() };
        estimated.add(Part {
            what: "weights".to_owned(),
            resource: Resource::Vram { gpu: 0 },
            amount: 1 << 30,
            error: 0,
            origin: Origin::Estimated,
            loading: false,
        });
        let declared = |text: &str| Declared { vram: Some(text.to_owned()), ..Declared::default() }.need().unwrap();
        let need = estimated.clone().with_declared(declared("0"));
        assert_eq!((need.total().vram[&0], need.parts.len(), need.upper_bound), (0, 1, false));
        assert!(estimated.with_declared(Need::default()).upper_bound);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_flag() {
        let error = |declared: Declared| declared.need().unwrap_err().to_string();
        let memory = |text: &str| Declared { memory: Some(text.to_owned()), ..Declared::default() };
        assert_eq!(error(memory("-1")), "--memory -1: an amount cannot be negative");
        assert!(error(memory("2Q")).starts_with("--memory 2Q: unknown unit `Q`"));
        let disk = |text: &str| Declared { disk: vec![text.to_owned()], ..Declared::default() };
        assert_eq!(error(disk("50G")), "--disk 50G: expected an amount and an absolute path, such as 50G:/data");
        assert!(error(disk("50G:data")).ends_with("an absolute path, such as 50G:/data"));
        let slot = Declared { slot: vec!["=2".to_owned()], ..Declared::default() };
        assert_eq!(error(slot), "--slot =2: expected a name, or NAME=COUNT");
        for text in ["a=2.5", "a=1K", "a=-1", "a="] {
            let slot = Declared { slot: vec![text.to_owned()], ..Declared::default() };
            let expected = format!("--slot {text}: expected a whole number of places, such as NAME=2");
            assert_eq!(error(slot), expected);
        }
        let cpu = Declared { cpu: Some("4 cores".to_owned()), ..Declared::default() };
        assert_eq!(error(cpu), "--cpu 4 cores: unknown unit `cores`: use a number alone, such as 4 or 0.5");
        let network = Declared { network: Some("1GiB".to_owned()), ..Declared::default() };
        assert_eq!(error(network), "--network 1GiB: unknown unit `GiB`: use K, M, G, T, P (powers of 1000)");
        let vram = Declared { vram: Some("1G,".to_owned()), ..Declared::default() };
        assert!(error(vram).starts_with("--vram : expected a number"));
    }
}
