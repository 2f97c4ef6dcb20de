//! `Range`: which part of the content is asked for (RFC 9110, section 14).

/// What a `Range` header amounts to for content of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// No range, or one that may be ignored: other units, several ranges, nonsense.
    Whole,
    /// From `first` on, so many bytes.
    Bytes { first: u64, length: u64 },
    /// A range with nothing of the content in it.
    Nothing,
}

/// Reads a `Range` header.
pub(super) fn part(header: Option<&str>, size: u64) -> Part {
    let Some((first, last)) = header.and_then(ends) else {
        return Part::Whole;
    };
    let (first, end) = match (first, last) {
        (Some(first), Some(last)) if first > last => return Part::Whole,
        (Some(first), Some(last)) => (first, last.saturating_add(1).min(size)),
        (Some(first), None) => (first, size),
        (None, Some(count)) => (size.saturating_sub(count), size),
        (None, None) => return Part::Whole,
    };
    if first >= end {
        return Part::Nothing;
    }
    Part::Bytes {
        first,
        length: end - first,
    }
}

/// The two numbers around the dash of the only range; `None` if that is not what it is.
fn ends(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// Absent if there are no digits; a number too large for us lies behind everything.
fn number(text: &str) -> Option<Option<u64>> {
    match text {
        "" => Some(None),
        digits if digits.bytes().all(|c| c.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn bytes(first: u64, length: u64) -> Part {
        Part::Bytes { first, length }
    }

    #[test]
    fn every_form_of_a_range() {
        let cases = [
            ("bytes=0-0", bytes(0, 1)),
            ("bytes=0-99", bytes(0, 100)),
            ("bytes=10-", bytes(10, 90)),
            ("bytes=-10", bytes(90, 10)),
            ("bytes=-1000", bytes(0, 100)),
            ("bytes=99-1000", bytes(99, 1)),
            ("Bytes = 5-6", bytes(5, 2)),
            ("bytes=0-18446744073709551615", bytes(0, 100)),
            ("bytes=0-99999999999999999999999", bytes(0, 100)),
            ("bytes=100-", Part::Nothing),
            ("bytes=100-200", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=-", Part::Whole),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes 0-1", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(part(Some(header), 100), expected, "{header}");
        }
        assert_eq!(part(None, 100), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Part::Nothing);
        assert_eq!(part(Some("bytes=-5"), 0), Part::Nothing);
    }
}
