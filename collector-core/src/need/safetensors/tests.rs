//! Headers as they are, and as somebody who means harm would write them.

use std::io::{Read, repeat};

use super::*;

fn file(json: &str) -> Vec<u8> {
    let mut bytes = u64::try_from(json.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

fn read(json: &str) -> Result<Header, Error> {
    Header::read(&*file(json))
}

fn tensor(name: &str, kind: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{kind}","shape":[{shape}],"data_offsets":[{begin},{end}]}}"#)
}

fn object(tensors: &[String]) -> String {
    format!("{{{}}}", tensors.join(","))
}

#[test]
fn bytes_are_counted_by_kind() {
    let tensors = [
        r#""__metadata__":{"format":"pt"}"#.to_owned(),
        tensor("model.layers.0.mlp.weight", "BF16", "3,5", 40, 70),
        tensor("model.embed_tokens.weight", "F32", "10", 0, 40),
        tensor("scale", "F8_E8M0", "2", 70, 72),
        tensor("packed", "F4", "8", 72, 76),
        tensor("nothing", "BF16", "0,4", 76, 76),
    ];
    // Padded, as the format wants.
    let header = read(&(object(&tensors) + "   ")).unwrap();
    let expected = Weights { tensors: 5, bytes: 76, floats: 25, float_bytes: 70, embeddings: 10, largest_file: 0 };
    assert_eq!(header.weights, expected);
    assert_eq!(header.end - header.data, 76);
    let mut all = header.weights;
    all.join(&header.weights);
    assert_eq!((all.bytes, all.largest_file), (152, 76));
}

#[test]
fn nothing_is_read_beyond_the_header() {
    let json = object(&[tensor("a", "U8", "9", 0, 9)]);
    let mut whole = file(&json);
    whole.extend([0xff; 9]);
    assert_eq!(Header::read(&*whole).unwrap().end, u64::try_from(whole.len()).unwrap());
    assert_eq!(read("{}").unwrap().weights, Weights::default());
}

#[test]
fn a_header_that_is_cut_off_says_so() {
    let whole = file(&object(&[tensor("a", "U8", "9", 0, 9)]));
    for length in 0..whole.len() {
        let error = Header::read(&whole[..length]).unwrap_err();
        assert_eq!(error, if length < 8 { Error::NotSafetensors } else { Error::CutOff }, "{length}");
    }
}

#[test]
fn a_length_that_cannot_be_is_not_read() {
    for length in [LONGEST + 1, u64::MAX] {
        let bytes = length.to_le_bytes();
        assert_eq!(Header::read(bytes.chain(repeat(b'{'))), Err(Error::TooLong(length)));
    }
    assert!(Error::TooLong(u64::MAX).to_string().contains("18446744073709551615"));
}

#[test]
fn sizes_that_overflow_or_contradict_are_refused() {
    for (tensor, why) in [
        (tensor("a", "F64", "18446744073709551615", 0, 8), "contradict"),
        (tensor("a", "F64", "4294967296,4294967296", 0, 8), "a tensor too large"),
        (tensor("a", "U8", "18446744073709551616", 0, 8), "invalid"),
        (tensor("a", "U8", "-1", 0, 8), "invalid"),
        (tensor("a", "U8", "1.5", 0, 8), "invalid"),
        (tensor("a", "U8", "9", 9, 0), "ends before it begins"),
        (tensor("a", "BF16", "9", 0, 9), "contradict"),
        (tensor("a", "U8", &["1"; 65].join(","), 0, 1), "more than 64 dimensions"),
        (r#""a":{"dtype":"U8","shape":[1]}"#.to_owned(), "missing field"),
        (r#""a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}"#.to_owned(), "duplicate field"),
        (r#""a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}"#.to_owned(), "invalid type"),
        (r#""a":7"#.to_owned(), "invalid type"),
    ] {
        let error = read(&object(std::slice::from_ref(&tensor))).unwrap_err().to_string();
        assert!(error.starts_with("the header is malformed: ") && error.contains(why), "{tensor}: {error}");
    }
    // Whatever the type, the end of the file is a number.
    let far = u64::MAX - 1;
    assert_eq!(read(&object(&[tensor("a", "F4", "1", 0, far)])), Err(Error::Layout(far)));
}

#[test]
fn tensors_neither_overlap_nor_share_a_name() {
    let two = |begin, name| object(&[tensor("a", "U8", "4", 0, 4), tensor(name, "U8", "4", begin, begin + 4)]);
    assert!(read(&two(4, "b")).is_ok());
    assert_eq!(read(&two(2, "b")), Err(Error::Layout(2)), "overlaps");
    assert_eq!(read(&two(5, "b")), Err(Error::Layout(4)), "leaves a hole");
    assert_eq!(read(&two(4, "a")), Err(Error::Duplicate));
    assert_eq!(read(&object(&[tensor("a", "U8", "4", 1, 5)])), Err(Error::Layout(0)));
}

#[test]
fn deep_json_costs_neither_stack_nor_memory() {
    let deep = "[".repeat(1 << 20);
    for json in [
        deep.clone(),
        format!(r#"{{"__metadata__":{deep}"#),
        format!(r#"{{"a":{deep}"#),
        format!(r#"{{"a":{{"more":{deep}"#),
        r#"{"a":"#.repeat(1 << 18),
    ] {
        assert!(matches!(read(&json), Err(Error::Malformed(_) | Error::CutOff)), "{:.40}", json);
    }
    for json in ["[]", "null", "{} {}", "\u{feff}{}", "{\"a\":"] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn too_many_tensors_are_counted_no_further() {
    let one = |number: usize| format!(r#""{number:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let json = |count| object(&(0..count).map(one).collect::<Vec<_>>());
    assert_eq!(read(&json(MOST_TENSORS + 1)), Err(Error::TooManyTensors));
}
