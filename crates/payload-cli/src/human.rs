//! Sizes, times and durations as people write and read them.

use std::time::Duration;

/// A duration such as `90s`, `10m`, `1.5h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as 500ms, 90s, 10m, 12h or 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_each = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(bad()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let count: f64 = digits.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(count * seconds_each).map_err(|_| bad())
}

/// A moment such as `2026-12-31T18:00:00Z`, in microseconds since the Unix epoch.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is not a time such as 2026-12-31T18:00:00Z"))?;
    Ok(time.as_microsecond())
}

/// A moment that is so long ago, such as `90s` or `7d`, or that has a name, such as `2026-12-31T18:00:00Z`; in microseconds
/// since the Unix epoch.
pub(crate) fn parse_when(text: &str) -> Result<i64, String> {
    moment(text, jiff::Timestamp::now())
}

fn moment(text: &str, now: jiff::Timestamp) -> Result<i64, String> {
    let bad =
        || format!("{text:?} is neither a duration such as 90s, 12h or 7d nor a time such as 2026-12-31T18:00:00Z");
    match parse_duration(text) {
        Ok(ago) => now
            .checked_sub(ago)
            .map(jiff::Timestamp::as_microsecond)
            .map_err(|_| bad()),
        Err(_) => parse_time(text).map_err(|_| bad()),
    }
}

/// A number of bytes such as `4096`, `500MiB` or `2TiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size such as 4096, 64KiB, 500MiB, 10GiB or 2TiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "PiB" => 50,
        _ => return Err(bad()),
    };
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(bad());
    }
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count.checked_mul(1 << shift).ok_or_else(bad)
}

/// The beginning of a line that is too long.
pub(crate) fn cut(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Bytes in binary units, three figures.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would round up to 1024 belongs to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match value {
        ..9.995 => format!("{value:.2} {}", UNITS[unit]),
        ..99.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// The word for a durability class that the command line takes.
pub(crate) fn durability(name: &str) -> String {
    match name {
        "OBJECT_STORAGE" => "object".to_owned(),
        other => other.to_lowercase(),
    }
}

/// A span in its two largest units.
pub(crate) fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A moment, in UTC, to the second.
pub(crate) fn time(micros: i64) -> String {
    match jiff::Timestamp::from_second(micros.div_euclid(1_000_000)) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{micros}us"),
    }
}

/// The same to the microsecond, for programs (RFC 3339).
pub(crate) fn precise_time(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros);
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text).unwrap().as_millis(), millis);
        }
        for bad in [
            "",
            "10",
            "m",
            "-1s",
            "1w",
            "NaNs",
            "infs",
            "1e999s",
            "10 m",
            ".s",
            "999999999999999999999d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_say_their_zone() {
        assert_eq!(parse_time("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000_000));
        assert_eq!(parse_time("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000_000_000));
        for bad in ["", "now", "2023-11-14", "2023-11-14T22:13:20", "1700000000"] {
            assert!(parse_time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_are_times_or_so_long_ago() {
        let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(moment("2023-11-14T22:13:20Z", now), Ok(1_700_000_000_000_000));
        assert_eq!(moment("1h", now), Ok(1_699_996_400_000_000));
        for bad in ["", "yesterday", "1", "-1h", "999999999999d"] {
            assert!(moment(bad, now).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_have_binary_units_or_none() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("64KiB", 65_536),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for bad in ["", "KiB", "-1", "+1", "1.5GiB", "1 KiB", "1kb", "1GB", "20000PiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn figures_are_short() {
        let sizes: Vec<_> = [0, 1023, 1024, 10_240, 102_400, 1_048_575, 1 << 20, 1 << 40, u64::MAX]
            .map(size)
            .into();
        let wanted = [
            "0 B", "1023 B", "1.00 KiB", "10.0 KiB", "100 KiB", "1.00 MiB", "1.00 MiB", "1.00 TiB", "16.0 EiB",
        ];
        assert_eq!(sizes, wanted);
        let spans: Vec<_> = [7, 7_000, 67_000, 3_720_000, 90_000_000].map(span).into();
        assert_eq!(spans, ["7ms", "7s", "1m07s", "1h02m", "1d01h"]);
        assert_eq!(time(1_700_000_000_999_999), "2023-11-14T22:13:20Z");
        assert_eq!(time(i64::MIN), format!("{}us", i64::MIN));
    }
}
