//! Headers that were made up: what is read of them, and what is refused.

use super::*;

/// A GGUF file under construction.
#[derive(Default)]
struct Made {
    keys: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Made {
    fn key(mut self, name: &str, kind: u32, value: &[u8]) -> Made {
        self.keys.push([&text(name)[..], &kind.to_le_bytes(), value].concat());
        self
    }

    fn text(self, name: &str, value: &str) -> Made {
        self.key(name, 8, &text(value))
    }

    fn array(self, name: &str, kind: u32, length: u64, elements: &[u8]) -> Made {
        let value = [&kind.to_le_bytes()[..], &length.to_le_bytes(), elements].concat();
        self.key(name, 9, &value)
    }

    fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Made {
        let shape: Vec<u8> = [shape.len() as u64]
            .iter()
            .map(|count| (*count as u32).to_le_bytes().to_vec())
            .chain(shape.iter().map(|size| size.to_le_bytes().to_vec()))
            .flatten()
            .collect();
        self.tensors.push([&text(name)[..], &shape, &kind.to_le_bytes(), &offset.to_le_bytes()].concat());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.keys.len() as u64].map(u64::to_le_bytes).concat();
        [&b"GGUF\x03\0\0\0"[..], &counts, &self.keys.concat(), &self.tensors.concat()].concat()
    }

    fn read(&self) -> Result<Header, Error> {
        Header::read(&*self.bytes())
    }
}

fn whole() -> Made {
    Made::default()
        .text("general.architecture", "llama")
        .key("llama.block_count", 4, &2u32.to_le_bytes())
        .key("llama.rope.freq_base", 6, &1f32.to_le_bytes())
        .array("llama.attention.head_count_kv", 5, 2, &[4i32, 0].map(i32::to_le_bytes).concat())
        .array("tokenizer.ggml.tokens", 8, 3, &[text("a"), text(""), text("é")].concat())
        .array("tokenizer.ggml.scores", 6, 600, &[0; 2400])
        .text("tokenizer.chat_template", &"{".repeat(300))
        .tensor("token_embd.weight", &[32, 3], 0, 0)
        .tensor("blk.1.attn_q.weight", &[32, 32], 8, 384)
}

#[test]
fn a_header_has_its_numbers_and_the_sums_of_its_tensors() {
    let header = whole().read().unwrap();
    assert_eq!(header.architecture(), Ok("llama"));
    assert_eq!(header.number("llama.block_count"), Ok(Some(2)));
    assert_eq!(header.number("llama.rope.freq_base"), Ok(None), "floats are not kept");
    assert_eq!(header.numbers("llama.attention.head_count_kv", 2), Ok(Some(vec![4, 0])));
    assert_eq!(header.numbers("llama.block_count", 3), Ok(Some(vec![2; 3])));
    let lengths = ["tokenizer.ggml.tokens", "tokenizer.ggml.scores", "llama.block_count"].map(|key| header.length(key));
    assert_eq!(lengths, [Some(3), Some(600), None]);
    assert_eq!(header.text("tokenizer.chat_template"), None, "it is long");
    assert_eq!((header.weights.sum(), header.weights.end), (384 + 1088, 384 + 1088));
    assert_eq!(header.data, u64::try_from(whole().bytes().len()).unwrap().next_multiple_of(32));
}

#[test]
fn a_header_that_is_cut_off_anywhere_says_so() {
    let bytes = whole().bytes();
    for end in 0..bytes.len() {
        let error = Header::read(&bytes[..end]).unwrap_err();
        match end {
            0..4 => assert_eq!(error, Error::NotGguf),
            _ => assert!(matches!(error, Error::CutOff { at } if at == end as u64), "{end}: {error:?}"),
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    let with = |version: u32| Header::read(&*[&b"GGUF"[..], &version.to_le_bytes(), &[0; 16]].concat());
    assert_eq!(Header::read(&b"PK\x03\x04 a zip"[..]).unwrap_err(), Error::NotGguf);
    assert_eq!(
        [with(1), with(3 << 24), with(4)].map(Result::unwrap_err),
        [Error::Version(1), Error::BigEndian, Error::Version(4)]
    );
    assert_eq!(with(2).unwrap().architecture(), Err(Error::Key("general.architecture".to_owned())));
}

#[test]
fn hostile_headers_are_refused_before_they_cost_much() {
    let counts = |tensors: u64, keys: u64| {
        Header::read(&*[&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()).unwrap_err()
    };
    assert_eq!(counts(u64::MAX, 0), Error::TooMany { what: "tensors" });
    assert_eq!(counts(0, 1 << 40), Error::TooMany { what: "keys" });
    let refused = |made: Made| made.read().unwrap_err();
    assert!(matches!(refused(Made::default().array("a", 0, u64::MAX, &[])), Error::TooLong { .. }));
    assert!(matches!(refused(Made::default().array("a", 12, 1 << 61, &[])), Error::TooLong { .. }));
    assert!(matches!(refused(Made::default().key("a", 8, &u64::MAX.to_le_bytes())), Error::TooLong { .. }));
    assert!(matches!(refused(Made::default().array("a", 9, 1, &[0; 12])), Error::Malformed { .. }), "array of arrays");
    assert!(matches!(refused(Made::default().key("a", 13, &[])), Error::Malformed { .. }));
    assert!(matches!(refused(Made::default().tensor("a", &[1; 5], 0, 0)), Error::Malformed { at: 24, .. }));
    assert!(matches!(refused(Made::default().tensor("a", &[1 << 33, 1 << 33], 0, 0)), Error::Malformed { .. }));
    assert!(matches!(refused(Made::default().tensor("a", &[1], 0, u64::MAX)), Error::Malformed { .. }));
    let aligned = Made::default().key("general.alignment", 4, &24u32.to_le_bytes());
    assert_eq!(refused(aligned), Error::Key("general.alignment".to_owned()));
}

#[test]
fn numbers_out_of_range_are_no_sizes() {
    let header = Made::default()
        .key("a", 11, &(-1i64).to_le_bytes())
        .key("b", 10, &u64::MAX.to_le_bytes())
        .array("c", 5, 1, &(-5i32).to_le_bytes())
        .text("d", "7")
        .read()
        .unwrap();
    for key in ["a", "b", "d"] {
        assert_eq!(header.number(key), Err(Error::Key(key.to_owned())));
    }
    assert_eq!(header.numbers("c", 1), Err(Error::Key("c".to_owned())));
    assert_eq!(header.number("e"), Ok(None));
}

#[test]
fn the_files_of_a_split_model_are_named() {
    let split = |number: u16, count: u16| {
        let made =
            Made::default().key("split.no", 2, &number.to_le_bytes()).key("split.count", 2, &count.to_le_bytes());
        made.read().unwrap().split()
    };
    assert_eq!([split(0, 1), split(1, 3)], [Ok(None), Ok(Some((1, 3)))]);
    assert!([split(3, 3), split(0, 1001)].iter().all(Result::is_err));
    let named = files("m-00002-of-00002.gguf", 2).unwrap();
    assert_eq!(named, ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    for name in ["m.gguf", "m-00002-of-00003.gguf", "m-0002-of-00002.gguf", "-of-00002.gguf", "m-é0002-of-00002.gguf"]
    {
        assert_eq!(files(name, 2), None, "{name}");
    }
    assert_eq!(numbered("a-of-b-00002-of-00003.gguf"), Some(("a-of-b", 2, 3)));
    assert_eq!(numbered("best-of-breed.gguf"), None);
}
