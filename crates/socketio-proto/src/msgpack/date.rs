//! Points in time as JavaScript writes them.

use std::fmt::Write as _;

/// Appends milliseconds since 1970 as a JSON string, or `null` if no `Date` can be so far away.
pub(super) fn push(out: &mut String, millis: i64) {
    if millis.unsigned_abs() > MAX_MILLIS {
        return out.push_str("null");
    }
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // writing to a string cannot fail
    let _ = match year {
        0..=9999 => write!(out, "\"{year:04}"),
        _ => write!(out, "\"{year:+07}"),
    };
    let _ = write!(
        out,
        "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\""
    );
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last, and in eras of 400, which all have the same length.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

const DAY: i64 = 86_400_000;

/// Days from the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

/// Days in 400 years.
const ERA: i64 = 146_097;

/// 100 million days, the farthest that a `Date` can be from 1970.
const MAX_MILLIS: u64 = 8_640_000_000_000_000;

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_written_as_javascript_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_208_000_123, "2024-02-29T12:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ] {
            let mut out = String::new();
            super::push(&mut out, millis);
            assert_eq!(out, format!("\"{text}\""), "{millis}");
        }
        for millis in [8_640_000_000_000_001, i64::MIN, i64::MAX] {
            let mut out = String::new();
            super::push(&mut out, millis);
            assert_eq!(out, "null");
        }
    }
}
