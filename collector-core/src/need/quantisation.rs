//! How many bytes a tensor takes, by its type. Sizes of `type_traits` in llama.cpp's ggml/src/ggml.c (b11434).

/// A type of tensors: elements come in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    id: u32,
    pub name: &'static str,
    /// Elements in a block.
    block: u64,
    /// Bytes of a block.
    size: u64,
    /// x86 CPUs with AVX2 or AVX-512 keep weights of the type repacked, in anonymous memory
    /// (`ggml_repack_get_optimal_repack_type` in ggml/src/ggml-cpu/repack.cpp).
    pub repacked: bool,
}

const fn kind(id: u32, name: &'static str, block: u64, size: u64) -> Type {
    Type { id, name, block, size, repacked: false }
}

const fn repacked(id: u32, name: &'static str, block: u64, size: u64) -> Type {
    Type { id, name, block, size, repacked: true }
}

/// Ids that are not here were removed, or are newer.
#[rustfmt::skip]
const TYPES: [Type; 35] = [
    kind(0, "f32", 1, 4), kind(1, "f16", 1, 2), repacked(2, "q4_0", 32, 18), kind(3, "q4_1", 32, 20),
    kind(6, "q5_0", 32, 22), kind(7, "q5_1", 32, 24), kind(8, "q8_0", 32, 34), kind(9, "q8_1", 32, 36),
    repacked(10, "q2_k", 256, 84), kind(11, "q3_k", 256, 110), repacked(12, "q4_k", 256, 144), kind(13, "q5_k", 256, 176),
    kind(14, "q6_k", 256, 210), kind(15, "q8_k", 256, 292), kind(16, "iq2_xxs", 256, 66), kind(17, "iq2_xs", 256, 74),
    kind(18, "iq3_xxs", 256, 98), kind(19, "iq1_s", 256, 50), repacked(20, "iq4_nl", 32, 18), kind(21, "iq3_s", 256, 110),
    kind(22, "iq2_s", 256, 82), kind(23, "iq4_xs", 256, 136), kind(24, "i8", 1, 1), kind(25, "i16", 1, 2),
    kind(26, "i32", 1, 4), kind(27, "i64", 1, 8), kind(28, "f64", 1, 8), kind(29, "iq1_m", 256, 56),
    kind(30, "bf16", 1, 2), kind(34, "tq1_0", 256, 54), kind(35, "tq2_0", 256, 66), repacked(39, "mxfp4", 32, 17),
    kind(40, "nvfp4", 64, 36), kind(41, "q1_0", 128, 18), kind(42, "q2_0", 64, 18),

];

/// Types that llama.cpp takes for its caches (`kv_cache_types` in common/arg.cpp).
const CACHE: [&str; 9] = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];

impl Type {
    pub const F16: Type = TYPES[1];

    pub fn of(id: u32) -> Option<Type> {
        TYPES.into_iter().find(|known| known.id == id)
    }

    /// A type of `--cache-type-k` and `--cache-type-v`.
    pub fn cache(name: &str) -> Option<Type> {
        let name = CACHE.into_iter().find(|known| *known == name)?;
        TYPES.into_iter().find(|known| known.name == name)
    }

    /// Bytes of this many elements; `None` if they are not whole blocks, or too many.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        if elements.is_multiple_of(self.block) { (elements / self.block).checked_mul(self.size) } else { None }
    }

    /// The same, with the last block counted as full.
    pub fn row(self, elements: u64) -> u64 {
        elements.div_ceil(self.block).saturating_mul(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_and_blocks_whole() {
        assert!(TYPES.windows(2).all(|two| two[0].id < two[1].id));
        let name = |id| Type::of(id).map(|found| found.name);
        assert_eq!(
            [name(0), name(12), name(39), name(4), name(31), name(u32::MAX)],
            [Some("f32"), Some("q4_k"), Some("mxfp4"), None, None, None]
        );
    }

    #[test]
    fn bytes_are_those_of_blocks() {
        let bytes = |name: &str, elements| Type::cache(name).unwrap().bytes(elements);
        assert_eq!([bytes("f16", 3), bytes("q8_0", 64), bytes("q8_0", 33)], [Some(6), Some(68), None]);
        assert_eq!(bytes("f32", u64::MAX), None);
        assert_eq!(Type::cache("q8_0").unwrap().row(33), 68);
        assert_eq!(Type::cache("q4_k"), None);
    }
}
