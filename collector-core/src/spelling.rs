//! Hints for mistyped words: "did you mean …?". Knows no word list of its own.

/// The known word that is closest to `word`, if it is close enough.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distances = known.into_iter().map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate));
    // At most a third of the letters may be wrong: `slow_oi` is close to `slow_io`, `foo` to nothing.
    distances.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| distance * 3 <= word.len()).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_has_a_hint_and_another_word_has_none() {
        let known = ["kernel.slow_io", "kernel.stall", "tick"];
        assert_eq!(closest("kernel.slow_oi", known), Some("kernel.slow_io"));
        assert_eq!(closest("TICK", known), Some("tick"));
        assert_eq!(closest("tik", known), Some("tick"));
        assert_eq!(closest("foo", known), None);
        assert_eq!(closest("", known), None);
    }
}
