//! A made-up GGUF model that a real llama.cpp loads: a Llama of zeroes, as holes behind a header, with a vocabulary of bytes.

use std::path::Path;

use crate::model::hole;

/// Width, feed-forward width, heads, heads of keys, vocabulary.
const WIDTH: u64 = 1024;
const INNER: u64 = 2816;
const HEADS: u32 = 16;
const KEY_HEADS: u32 = 4;
const WORDS: u64 = 320;
/// Where tensors begin.
const ALIGNMENT: u64 = 32;

/// Writes a model of 45.1 MB a layer, and returns the bytes of its tensors.
pub fn llama(path: &Path, layers: u32) -> u64 {
    let mut keys = Keys::default();
    keys.text("general.architecture", "llama");
    for (name, number) in [
        ("context_length", 8192),
        ("embedding_length", WIDTH as u32),
        ("block_count", layers),
        ("feed_forward_length", INNER as u32),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KEY_HEADS),
        ("rope.dimension_count", WIDTH as u32 / HEADS),
        ("vocab_size", WORDS as u32),
    ] {
        keys.number(&format!("llama.{name}"), number);
    }
    keys.value("llama.attention.layer_norm_rms_epsilon", FLOAT, &1e-5_f32.to_le_bytes());
    vocabulary(&mut keys);
    let (tensors, bytes) = tensors(layers);
    let counts = [tensors.count, keys.count].map(u64::to_le_bytes).concat();
    let header = [&b"GGUF\x03\0\0\0"[..], &counts, &keys.bytes, &tensors.bytes].concat();
    let begin = u64::try_from(header.len()).unwrap().next_multiple_of(ALIGNMENT);
    hole(path, &header, begin + bytes);
    bytes
}

const NUMBER: u32 = 4;
const SIGNED: u32 = 5;
const FLOAT: u32 = 6;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// Part of a header, and how many there are in it.
#[derive(Default)]
struct Keys {
    count: u64,
    bytes: Vec<u8>,
}

impl Keys {
    fn value(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.count += 1;
        self.bytes.extend([&text(name)[..], &kind.to_le_bytes(), value].concat());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.value(name, TEXT, &text(value));
    }

    fn number(&mut self, name: &str, value: u32) {
        self.value(name, NUMBER, &value.to_le_bytes());
    }

    fn list(&mut self, name: &str, kind: u32, values: &[Vec<u8>]) {
        let count = u64::try_from(values.len()).unwrap().to_le_bytes();
        self.value(name, LIST, &[&kind.to_le_bytes()[..], &count, &values.concat()].concat());
    }
}

fn text(text: &str) -> Vec<u8> {
    [&u64::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

/// Three words that control, the bytes, and words that no text has.
fn vocabulary(keys: &mut Keys) {
    let words = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter();
    let words = words.chain((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let words: Vec<String> = words.chain((259..WORDS).map(|word| format!("\u{2581}t{word}"))).collect();
    let kind = |index: usize| match index {
        0 => 2_i32,
        1 | 2 => 3,
        3..259 => 6,
        _ => 1,
    };
    let each = |of: &dyn Fn(usize) -> Vec<u8>| (0..words.len()).map(of).collect::<Vec<_>>();
    keys.text("tokenizer.ggml.model", "llama");
    keys.list("tokenizer.ggml.tokens", TEXT, &each(&|index| text(&words[index])));
    keys.list("tokenizer.ggml.scores", FLOAT, &each(&|index| (-(index as f32)).to_le_bytes().to_vec()));
    keys.list("tokenizer.ggml.token_type", SIGNED, &each(&|index| kind(index).to_le_bytes().to_vec()));
    for (name, word) in [("bos", 1), ("eos", 2), ("unknown", 0)] {
        keys.number(&format!("tokenizer.ggml.{name}_token_id"), word);
    }
}

/// All tensors, of 32 bits, and their bytes.
fn tensors(layers: u32) -> (Keys, u64) {
    let (mut tensors, mut offset) = (Keys::default(), 0_u64);
    let mut tensor = |name: &str, shape: &[u64]| {
        let dimensions = u32::try_from(shape.len()).unwrap().to_le_bytes();
        let shape_bytes: Vec<u8> = shape.iter().flat_map(|dimension| dimension.to_le_bytes()).collect();
        tensors.count += 1;
        let place = [&0_u32.to_le_bytes()[..], &offset.to_le_bytes()].concat();
        tensors.bytes.extend([&text(name)[..], &dimensions, &shape_bytes, &place].concat());
        offset += (4 * shape.iter().product::<u64>()).next_multiple_of(ALIGNMENT);
    };
    let keys = WIDTH / u64::from(HEADS) * u64::from(KEY_HEADS);
    tensor("token_embd.weight", &[WIDTH, WORDS]);
    tensor("output.weight", &[WIDTH, WORDS]);
    tensor("output_norm.weight", &[WIDTH]);
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", &[WIDTH][..]),
            ("attn_q", &[WIDTH, WIDTH]),
            ("attn_k", &[WIDTH, keys]),
            ("attn_v", &[WIDTH, keys]),
            ("attn_output", &[WIDTH, WIDTH]),
            ("ffn_norm", &[WIDTH]),
            ("ffn_gate", &[WIDTH, INNER]),
            ("ffn_up", &[WIDTH, INNER]),
            ("ffn_down", &[INNER, WIDTH]),
        ] {
            tensor(&format!("blk.{layer}.{name}.weight"), shape);
        }
    }
    (tensors, offset)
}

#[cfg(test)]
mod tests {
    use collector_core::need::gguf::Header;

    use super::*;
    use crate::scratch::scratch;

    #[test]
    fn the_header_is_one() {
        let folder = scratch();
        let path = folder.join("m.gguf");
        let bytes = llama(&path, 2);
        let header = Header::read(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!((header.architecture(), header.weights.sum(), header.weights.tensors), (Ok("llama"), bytes, 21));
        assert_eq!(header.data + header.weights.end, std::fs::metadata(&path).unwrap().len());
    }
}
