//! Durations (`"60s"`), as operators write them.

use std::time::Duration;

/// Parses `"250ms"`, `"60s"`, `"3min"` (or `"3m"`), `"2h"`, `"7d"`. One whole number and one unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a duration: write a whole number and a unit, as in \"60s\""))?;
    let ms_per_unit = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("`{text}` has no unit: write ms, s, min, h or d, as in \"{text}s\"")),
        other => return Err(format!("`{other}` is not a unit of time: write ms, s, min, h or d")),
    };
    number.checked_mul(ms_per_unit).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

/// Parses `"512MiB"`, `"10GiB"`, `"2TiB"`, `"64KiB"`. One whole number and one unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size: write a whole number and a unit, as in \"10GiB\""))?;
    let shift = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "" => return Err(format!("`{text}` has no unit: write KiB, MiB, GiB or TiB, as in \"{text}GiB\"")),
        other => return Err(format!("`{other}` is not a unit of size: write KiB, MiB, GiB or TiB")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too much"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("64KiB", 1 << 16), ("512MiB", 1 << 29), ("10 GiB", 10 << 30), ("2TiB", 2 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1GiB", "1.5GiB", "10", "10GB", "99999999999TiB", "99999999999999999999KiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("250ms", 250), ("60s", 60_000), ("3min", 180_000), ("3m", 180_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "60", "3 weeks", "99999999999999999999s", "9999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
