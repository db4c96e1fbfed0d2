//! Parses `/proc/pressure/*` and the pressure files of cgroups: `some avg10=92.02 avg60=54.58 avg300=18.02
//! total=2260045882`, total in microseconds (Documentation/accounting/psi.rst).

use super::text::{fields, lines, number};

/// The totals of `some` and `full`, in nanoseconds.
pub fn parse(text: &[u8]) -> [Option<u64>; 2] {
    let mut totals = [None; 2];
    for line in lines(text) {
        let mut fields = fields(line);
        let total = match fields.next() {
            Some(b"some") => &mut totals[0],
            Some(b"full") => &mut totals[1],
            _ => continue,
        };
        let us = fields.find_map(|field| number(field.strip_prefix(b"total=")?));
        *total = us.map(|us| us.saturating_mul(1000));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn totals_are_nanoseconds() {
        let text = "some avg10=92.02 avg60=54.58 avg300=18.02 total=2260045882\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(text.as_bytes()), [Some(2_260_045_882_000), Some(7000)]);
        assert_eq!(parse(b"full avg10=0.00 total=1\n"), [None, Some(1000)]);
        assert_eq!(parse(b"some total=x\nfuller total=1\n"), [None, None]);
        assert_eq!(parse(b"some total=\nfull\nsome_other total=1\ntotal=2"), [None, None]);
        assert_eq!(parse(b""), [None, None]);
    }

    proptest! {
        #[test]
        fn formatted_totals_round_trip(some: u32, full: u32, share in 0.0..100.0) {
            let line = |kind, total| format!("{kind} avg10={share:.2} avg60={share:.2} avg300=0.00 total={total}\n");
            let text = line("some", some) + &line("full", full);
            prop_assert_eq!(parse(text.as_bytes()), [some, full].map(|us| Some(u64::from(us) * 1000)));
        }

        #[test]
        fn any_text_is_accepted(text in "(some|full|total=|[0-9]{0,24}|[ =\n-])*", bytes: Vec<u8>) {
            parse(text.as_bytes());
            parse(&bytes);
        }
    }
}
