//! [`Slot`]: where a GPU sits: its memory node, and what link the card itself could have, whatever the slot. From the kernel's description of
//! the PCI device, read once a session: it does not change while the GPU is there.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use collector_core::statistic::gpu::Statistic::{NumaNode, PcieGenerationCard, PcieWidthCard};
use collector_core::statistic::gpu::Values;
use nvml_wrapper::Device;

use crate::source::root::Root;
use crate::source::text::number;
use crate::source::watch::Watch;

/// Longer than anything in these files.
const BYTES: u64 = 256;
/// Gigatransfers a second of the generations of PCIe, as the kernel writes them.
const SPEEDS: [&str; 7] = ["2.5", "5", "8", "16", "32", "64", "128"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    node: Option<u64>,
    generation: Option<u64>,
    width: Option<u64>,
}

/// The kernel's directory of PCI devices.
pub fn devices(root: &Root) -> PathBuf {
    root.at("/sys/bus/pci/devices")
}

impl Slot {
    /// Without anything if the driver does not say where the GPU is.
    pub fn of(device: &Device<'_>, devices: &Path, watch: &Watch) -> Slot {
        let info = watch.call("PCI address", || device.pci_info());
        info.ok()
            .and_then(|info| folder(&info.bus_id))
            .map_or_else(Slot::default, |name| Slot::read(&devices.join(name)))
    }

    fn read(folder: &Path) -> Slot {
        let text = |name: &str| {
            let mut text = Vec::new();
            File::open(folder.join(name)).ok()?.take(BYTES).read_to_end(&mut text).ok()?;
            Some(text)
        };
        Slot {
            // -1 is no number here: the firmware does not say.
            node: text("numa_node").and_then(|text| number(text.trim_ascii())),
            generation: text("max_link_speed").and_then(|text| generation(&text)),
            // 255 stands for what the card does not say.
            width: text("max_link_width")
                .and_then(|text| number(text.trim_ascii()))
                .filter(|lanes| (1..=32).contains(lanes)),
        }
    }

    pub fn put(self, values: &mut Values) {
        values.put(NumaNode, self.node);
        values.put(PcieGenerationCard, self.generation);
        values.put(PcieWidthCard, self.width);
    }
}

/// The name of the directory: NVML writes the domain with eight digits and in capitals, the kernel with four and without.
fn folder(bus_id: &str) -> Option<String> {
    let (domain, place) = bus_id.split_once(':')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (bus, rest) = place.split_once(':')?;
    let (slot, function) = rest.split_once('.')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    let sound = [bus, slot, function].into_iter().all(digits);
    sound.then(|| format!("{domain:04x}:{}", place.to_ascii_lowercase()))
}

/// `16.0 GT/s PCIe`.
fn generation(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let speed = text.split_whitespace().next()?.trim_end_matches(".0");
    let place = SPEEDS.iter().position(|known| *known == speed)?;
    Some(place as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_address_is_a_directory_of_the_kernel() {
        assert_eq!(folder("00000000:3B:00.0").as_deref(), Some("0000:3b:00.0"));
        assert_eq!(folder("00010000:0A:1F.7").as_deref(), Some("10000:0a:1f.7"));
        assert_eq!(folder("0000:3b:00.0").as_deref(), Some("0000:3b:00.0"));
        for wrong in ["", "00000000:3B", "x:3B:00.0", "00000000:../..:00.0", "00000000:3B:00", "00000000:3B:00./"] {
            assert_eq!(folder(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_slot_is_what_the_kernel_says() {
        let folder = std::env::temp_dir().join(format!("headroom-slot-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        assert_eq!(Slot::read(&folder), Slot::default());
        write("numa_node", "1\n");
        write("max_link_speed", "16.0 GT/s PCIe\n");
        write("max_link_width", "16\n");
        assert_eq!(Slot::read(&folder), Slot { node: Some(1), generation: Some(4), width: Some(16) });
        write("numa_node", "-1\n");
        write("max_link_speed", "2.5 GT/s PCIe\n");
        write("max_link_width", "255\n");
        assert_eq!(Slot::read(&folder), Slot { node: None, generation: Some(1), width: None });
        write("max_link_speed", "Unknown\n");
        assert_eq!(Slot::read(&folder).generation, None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
