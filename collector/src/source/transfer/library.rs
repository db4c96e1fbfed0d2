//! One CUDA driver library file: finds the offsets of functions in it. The file may be malicious: of its tables no more is read
//! than a library has, and offsets outside its segments are rejected.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64, Sym64};
use object::pod::{Pod, bytes_of_slice, bytes_of_slice_mut, slice_from_bytes};

/// Limits on what is read, far above what libraries have: the driver's has some 10 segments, 40 sections, and 100 KB of symbols
/// and of their names each.
const MAX_SEGMENTS: u16 = 64;
const MAX_SECTIONS: u16 = 256;
const MAX_TABLE: u64 = 4 << 20;
/// Symbols that are read at once.
const CHUNK: u64 = 1024;

const LE: LittleEndian = LittleEndian;

#[derive(Debug)]
pub enum Unusable {
    Unreadable(io::Error),
    /// Not a library that a process could have loaded.
    NotLibrary(String),
    /// Built for another architecture.
    Foreign(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Unusable::NotLibrary(why) => write!(f, "it is not a library: {why}"),
            Unusable::Foreign(machine) => write!(f, "it is built for {machine}, not for {}", std::env::consts::ARCH),
        }
    }
}

impl std::error::Error for Unusable {}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        match error.kind() {
            ErrorKind::UnexpectedEof => Unusable::NotLibrary("it ends before its tables do".to_owned()),
            _ => Unusable::Unreadable(error),
        }
    }
}

/// The file offsets of those wanted functions that the library defines.
pub fn functions<'a>(file: &File, wanted: &[&'a str]) -> Result<BTreeMap<&'a str, u64>, Unusable> {
    let header = header(file)?;
    let segments: Vec<ProgramHeader64<LittleEndian>> =
        table(file, header.e_phoff.get(LE), header.e_phnum.get(LE), MAX_SEGMENTS, "segments")?;
    let sections: Vec<SectionHeader64<LittleEndian>> =
        table(file, header.e_shoff.get(LE), header.e_shnum.get(LE), MAX_SECTIONS, "sections")?;
    let mut found = BTreeMap::new();
    let Some(symbols) = sections.iter().find(|section| section.sh_type.get(LE) == elf::SHT_DYNSYM) else {
        return Ok(found);
    };
    let names = sections.get(symbols.sh_link.get(LE) as usize);
    let names = names.ok_or_else(|| Unusable::NotLibrary("its symbols have no names".to_owned()))?;
    let text = read(file, names.sh_offset.get(LE), bounded(names.sh_size.get(LE))?)?;
    let text = bytes_of_slice(&text);
    let count = bounded(symbols.sh_size.get(LE))? / size_of::<Sym64<LittleEndian>>() as u64;
    let mut at = 0;
    while at < count {
        let some = CHUNK.min(count - at);
        let start = symbols.sh_offset.get(LE).saturating_add(at * size_of::<Sym64<LittleEndian>>() as u64);
        for symbol in many::<Sym64<LittleEndian>>(file, start, some as usize)? {
            if symbol.st_shndx.get(LE) == elf::SHN_UNDEF {
                continue;
            }
            let Some(name) = name(text, symbol.st_name.get(LE) as usize) else { continue };
            if let Some(name) = wanted.iter().find(|wanted| wanted.as_bytes() == name)
                && let Some(offset) = offset(&segments, symbol.st_value.get(LE))
            {
                found.insert(*name, offset);
            }
        }
        at += some;
    }
    Ok(found)
}

/// The header of a file that this machine could load.
fn header(file: &File) -> Result<FileHeader64<LittleEndian>, Unusable> {
    let not_library = |why: &str| Unusable::NotLibrary(why.to_owned());
    let [header] = many::<FileHeader64<LittleEndian>>(file, 0, 1)?[..] else { return Err(not_library("no header")) };
    if header.e_ident.magic != elf::ELFMAG {
        return Err(not_library("it is no ELF file"));
    }
    // In the same place in files of 32 bits.
    let machine = header.e_machine.get(LE);
    if !is_native(machine) {
        return Err(Unusable::Foreign(machine_name(machine)));
    }
    if header.e_ident.class != elf::ELFCLASS64 || header.e_ident.data != elf::ELFDATA2LSB {
        return Err(not_library("it is not a 64-bit little-endian ELF file"));
    }
    Ok(header)
}

/// A table of a header.
fn table<T: Pod>(file: &File, offset: u64, count: u16, most: u16, what: &str) -> Result<Vec<T>, Unusable> {
    if count > most {
        return Err(Unusable::NotLibrary(format!("{count} {what} are more than a library has")));
    }
    many(file, offset, count.into())
}

fn many<T: Pod>(file: &File, offset: u64, count: usize) -> Result<Vec<T>, Unusable> {
    let words = read(file, offset, (count * size_of::<T>()) as u64)?;
    let misaligned = |()| Unusable::NotLibrary("a table is cut".to_owned());
    slice_from_bytes::<T>(bytes_of_slice(&words), count).map(|(values, _)| values.to_vec()).map_err(misaligned)
}

fn bounded(bytes: u64) -> Result<u64, Unusable> {
    match bytes > MAX_TABLE {
        true => Err(Unusable::NotLibrary(format!("{bytes} bytes of symbols are more than a library has"))),
        false => Ok(bytes),
    }
}

/// Bytes as words, which are aligned like the numbers of any table. Callers bound the length.
fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u64>> {
    let mut words = vec![0_u64; length.div_ceil(8) as usize];
    file.read_exact_at(&mut bytes_of_slice_mut(&mut words)[..length as usize], offset)?;
    Ok(words)
}

fn name(text: &[u8], at: usize) -> Option<&[u8]> {
    let rest = text.get(at..)?;
    Some(&rest[..rest.iter().position(|byte| *byte == 0)?])
}

/// The file offset of an address in a loaded segment.
fn offset(segments: &[ProgramHeader64<LittleEndian>], address: u64) -> Option<u64> {
    let mut loaded = segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD);
    let offset = |segment: &ProgramHeader64<LittleEndian>| {
        let within = address.checked_sub(segment.p_vaddr.get(LE))?;
        (within < segment.p_filesz.get(LE)).then(|| segment.p_offset.get(LE).checked_add(within)).flatten()
    };
    loaded.find_map(offset)
}

fn is_native(machine: u16) -> bool {
    match machine {
        elf::EM_X86_64 => cfg!(target_arch = "x86_64"),
        elf::EM_AARCH64 => cfg!(target_arch = "aarch64"),
        elf::EM_RISCV => cfg!(target_arch = "riscv64"),
        _ => false,
    }
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        elf::EM_386 => "i386",
        elf::EM_X86_64 => "x86_64",
        elf::EM_ARM => "arm",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_PPC64 => "powerpc64",
        elf::EM_S390 => "s390x",
        elf::EM_RISCV => "riscv",
        _ => return format!("machine {machine}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    use crate::source::untrusted::{Owner, Place};

    fn file(name: &str, content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("headroom-library-{}-{name}", std::process::id()));
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        file.write_all(content).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    /// Checked against this process's `malloc`: its address minus the start of the file's mapping.
    #[test]
    fn offsets_match_the_loaded_library() {
        let address = libc::malloc as *const () as usize as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (start, at, path) = maps
            .lines()
            .find_map(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                let (start, end) = fields[0].split_once('-')?;
                let number = |text| u64::from_str_radix(text, 16).ok();
                let (start, end) = (number(start)?, number(end)?);
                (start..end).contains(&address).then(|| (start, number(fields[2]).unwrap(), fields[5].to_owned()))
            })
            .unwrap();
        let file = Place::new(Path::new("/"), Owner::Process).join(&path).look().unwrap().unwrap().open().unwrap();
        let found = functions(&file, &["malloc", "cuInit"]).unwrap();
        assert_eq!(found, BTreeMap::from([("malloc", address - start + at)]));
    }

    #[test]
    fn foreign_and_malformed_files_are_refused_with_a_reason() {
        let mut own = std::fs::read("/proc/self/exe").unwrap();
        for (name, content, why) in
            [("empty", b"".as_slice(), "not a library"), ("text", &[b'#'; 99], "it is no ELF file")]
        {
            let refused = functions(&file(name, content), &["malloc"]).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        // e_machine: 22 is S390.
        own[18..20].copy_from_slice(&[22, 0]);
        let refused = functions(&file("foreign", &own), &["malloc"]).unwrap_err().to_string();
        assert!(refused.contains("it is built for s390x, not for"), "{refused}");
        own.truncate(100);
        assert!(functions(&file("cut", &own), &["malloc"]).is_err());
    }

    /// A file of hundreds of megabytes that takes no disk, whose header says that all of it is symbols.
    #[test]
    fn of_a_sparse_file_with_endless_tables_almost_nothing_is_read() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let at = |offset: usize| u64::from_le_bytes(own[offset..offset + 8].try_into().unwrap()) as usize;
        let (sections, count) = (at(40), u16::from_le_bytes([own[60], own[61]]) as usize);
        let is = |section: usize| own[section + 4..section + 8] == elf::SHT_DYNSYM.to_le_bytes();
        let symbols = (0..count).map(|index| sections + 64 * index).find(|section| is(*section)).unwrap();
        for (name, place) in [("symbols", symbols), ("names", sections + 64 * own[symbols + 40] as usize)] {
            let mut own = own.clone();
            own[place + 32..place + 40].copy_from_slice(&(900_u64 << 20).to_le_bytes());
            let file = file(name, &own);
            file.set_len(945 << 20).unwrap();
            let refused = functions(&file, &["malloc"]).unwrap_err().to_string();
            assert!(refused.contains("943718400 bytes of symbols are more than a library has"), "{refused}");
        }
        let mut own = own;
        own[60..62].copy_from_slice(&[0xff, 0xff]);
        let refused = functions(&file("sections", &own), &["malloc"]).unwrap_err().to_string();
        assert!(refused.contains("65535 sections are more"), "{refused}");
    }
}
