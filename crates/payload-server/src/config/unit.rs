//! Sizes, durations and shares: numbers that mean nothing without a unit, and are refused without one.

use payload_core::Span;

use super::problem::{Fault, nearest};
use super::value::{Value, Written, quote};

/// Units of size, the ones that are shown first in front.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of time in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// How much a tier may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capacity {
    /// A share of what the machine has, in percent.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl Capacity {
    /// In bytes, where the machine has `whole`.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Percent(percent) => u64::try_from(u128::from(whole) * u128::from(percent) / 100).unwrap_or(u64::MAX),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Value for Capacity {
    const KIND: &'static str = "size or percentage";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("8GiB")?;
        match text.strip_suffix('%') {
            None => measure(text, "size", "8GiB", &SIZES).map(Self::Bytes),
            Some(percent) => match percent.trim_end().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(Fault::new(format!("{text:?} is not a percentage from 1% to 100%"))),
            },
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Percent(percent) => quote(format_args!("{percent}%")),
            Self::Bytes(bytes) => quote(show(*bytes, &SIZES)),
        }
    }
}

impl Value for Span {
    const KIND: &'static str = "duration";

    fn read(written: &Written) -> Result<Self, Fault> {
        measure(written.text("30s")?, "duration", "30s", &TIMES).map(Self::from_millis)
    }

    fn show(&self) -> String {
        quote(show(u64::try_from(self.as_millis()).unwrap_or(u64::MAX), &TIMES))
    }
}

/// Parses digits and a unit into the smallest unit.
fn measure(text: &str, kind: &str, example: &str, units: &[(&str, u64)]) -> Result<u64, Fault> {
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim_start());
    if digits.is_empty() || unit.starts_with(['.', ',', '_', 'e', 'E']) {
        return Err(Fault::new(format!("{text:?} is not a {kind}"))
            .hint(format!("write a whole number and a unit, such as \"{example}\"")));
    }
    if unit.is_empty() {
        return Err(Fault::new(format!("{text:?} has no unit")).hint(format!("write a unit, such as \"{example}\"")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(digits, unit, units));
    };
    let too_large = || Fault::new(format!("{text:?} is too large"));
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    number.checked_mul(*factor).ok_or_else(too_large)
}

fn unknown_unit(digits: &str, unit: &str, units: &[(&str, u64)]) -> Fault {
    let names = || units.iter().map(|(name, _)| *name);
    let meant = names()
        .find(|name| name.eq_ignore_ascii_case(unit))
        // "8G" and "8M" are what many tools call GiB and MiB.
        .or_else(|| names().find(|name| name.len() == 3 && name[..1].eq_ignore_ascii_case(unit)))
        // "min", "sec", "hours".
        .or_else(|| {
            names()
                .filter(|name| *name != "B" && unit.starts_with(name))
                .max_by_key(|name| name.len())
        })
        .or_else(|| nearest(unit, names()));
    let fault = Fault::new(format!("{unit:?} is not a unit"));
    match meant {
        Some(name) => fault.hint(format!("did you mean \"{digits}{name}\"?")),
        None => fault.hint(format!("units are {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// The number with the first unit that divides it.
fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number.is_multiple_of(*factor) && number >= *factor;
    match units.iter().find(fits) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => format!("0{}", units[units.len() - 1].0),
    }
}

/// A size for people and for the file.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn duration(text: &str) -> Result<Span, Fault> {
        Span::read(&Written::Text(text.to_owned()))
    }

    fn capacity(text: &str) -> Result<Capacity, Fault> {
        Capacity::read(&Written::Text(text.to_owned()))
    }

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5 m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Span::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_number_and_a_unit_are_a_size() {
        for (text, bytes) in [("8GiB", 8 << 30), ("500MB", 500_000_000), ("0B", 0), ("1 TiB", 1 << 40)] {
            assert_eq!(capacity(text), Ok(Capacity::Bytes(bytes)), "{text}");
        }
        assert_eq!(capacity("25%"), Ok(Capacity::Percent(25)));
    }

    #[test]
    fn fault_48_nonsense_durations_and_sizes_are_refused() {
        for text in [
            "", "s", "-5s", "NaN", "nan s", "inf", "1e3s", "1.5h", "1_000s", "٣s", "30", "5y", "+5s", "0x10s",
        ] {
            assert!(duration(text).is_err(), "{text:?} is not a duration");
        }
        for text in ["18446744073709551616ms", "18446744073709551615d", "213503982335d"] {
            assert!(duration(text).unwrap_err().message.contains("too large"), "{text}");
        }
        for text in [
            "", "B", "-1B", "NaN", "1.5GiB", "8", "0%", "101%", "-5%", "nan%", "%", "2.5%",
        ] {
            assert!(capacity(text).is_err(), "{text:?} is not a size");
        }
        for text in ["18446744073709551616B", "16777216TiB", "18446744073709551615KB"] {
            assert!(capacity(text).unwrap_err().message.contains("too large"), "{text}");
        }
    }

    #[test]
    fn a_wrong_unit_is_answered_with_the_right_one() {
        for (text, meant) in [
            ("8G", "8GiB"),
            ("8gb", "8GB"),
            ("8gib", "8GiB"),
            ("8Mib", "8MiB"),
            ("5k", "5KiB"),
        ] {
            let hint = capacity(text).unwrap_err().hint.unwrap();
            assert_eq!(hint, format!("did you mean \"{meant}\"?"), "{text}");
        }
        for (text, meant) in [
            ("5sec", "5s"),
            ("5min", "5m"),
            ("5msec", "5ms"),
            ("5S", "5s"),
            ("2hours", "2h"),
            ("2days", "2d"),
        ] {
            let hint = duration(text).unwrap_err().hint.unwrap();
            assert_eq!(hint, format!("did you mean \"{meant}\"?"), "{text}");
        }
    }

    #[test]
    fn a_share_of_anything_does_not_overflow() {
        assert_eq!(Capacity::Percent(25).of(1000), 250);
        assert_eq!(Capacity::Percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(Capacity::Bytes(7).of(1), 7);
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(bytes: u64, millis: u64) {
            let shown = show(bytes, &SIZES);
            prop_assert_eq!(capacity(&shown), Ok(Capacity::Bytes(bytes)));
            let shown = show(millis, &TIMES);
            prop_assert_eq!(duration(&shown), Ok(Span::from_millis(millis)));
        }

        #[test]
        fn any_text_is_a_value_or_a_fault_but_no_panic(text: String) {
            let _ = duration(&text);
            let _ = capacity(&text);
        }
    }
}
