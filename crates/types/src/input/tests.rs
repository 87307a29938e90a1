//! What PostgreSQL answers for the same text.

use super::*;

/// What a text gives: a value, or the SQLSTATE of its error.
fn shown<T: std::fmt::Debug>(result: Result<T, Report>) -> String {
    result.map_or_else(|report| report.code.to_string(), |value| format!("{value:?}"))
}

#[test]
fn words_of_booleans_may_be_cut() {
    for (text, wanted) in [
        (" t ", "true"),
        ("YES", "true"),
        ("on", "true"),
        ("1", "true"),
        ("of", "false"),
        ("n", "false"),
        ("o", "22P02"),
        ("2", "22P02"),
        ("", "22P02"),
    ] {
        assert_eq!(shown(boolean(text)), wanted, "{text}");
    }
}

#[test]
fn numbers_are_read_or_named_in_the_error() {
    let int = |text| integer::<i32>(text, &SqlType::Integer);
    assert_eq!(int(" +42 "), Ok(42));
    assert_eq!(int("4x").unwrap_err().message, "invalid input syntax for type integer: \"4x\"");
    let large = int("99999999999").unwrap_err();
    assert_eq!(large.message, "value \"99999999999\" is out of range for type integer");
    assert_eq!(large.code, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    for (text, wanted) in [
        ("1e3", "1000.0"),
        (" Infinity ", "inf"),
        ("-inf", "-inf"),
        ("nan", "NaN"),
        ("1e400", "22003"),
        ("1e-400", "22003"),
        ("0e5", "0.0"),
        ("abc", "22P02"),
    ] {
        assert_eq!(shown(double(text)), wanted, "{text}");
    }
    for (text, wanted) in [
        ("1.005", "101"),
        ("-1.005", "-101"),
        ("1.5e1", "1500"),
        (".5", "50"),
        ("12345", "22003"),
        ("NaN", "0A000"),
        ("1.2.3", "22P02"),
    ] {
        assert_eq!(shown(numeric(text, Some((5, 2)))), wanted, "{text}");
    }
}

#[test]
fn bytes_are_hexadecimal_or_escaped() {
    assert_eq!(bytea("\\x61 62"), Ok(vec![0x61, 0x62]));
    assert_eq!(bytea("a\\\\b\\001"), Ok(b"a\\b\x01".to_vec()));
    assert_eq!(shown(bytea("\\xz")), "22023");
    assert_eq!(shown(bytea("\\x1")), "22023");
    assert_eq!(shown(bytea("a\\b")), "22P02");
}

#[test]
fn times_are_read_in_many_spellings() {
    let noon = "1714996800000000"; // 2024-05-06 12:00:00
    for (text, wanted) in [
        ("2024-05-06T12:00", noon),
        (" 2024-05-06  12:00:00.0 ", noon),
        ("20240506T120000", noon),
        ("2024-05-06 14:00+02", noon),
        ("2024-05-06 14:00:00 +02:00", noon),
        ("2024-05-06 15:00 Europe/Helsinki", noon),
        ("2024-05-06 15:00 europe/helsinki", noon),
        ("2024-05-06 07:00 EST", noon),
        ("2024-05-06 12:00:00 PM", noon),
        ("May 6, 2024 12:00Z", noon),
        ("6-May-2024 12:00 UTC", noon),
        ("5/6/2024 12:00", noon),
        ("2024-05-06 11:59:60", noon),
        ("epoch", "0"),
        ("infinity", "9223372036854775807"),
        ("0001-01-01 BC", "-62167219200000000"),
        ("2024-10-27 03:30 Europe/Helsinki", "1729992600000000"),
        ("2024-03-31 03:30 Europe/Helsinki", "1711848600000000"),
        ("2024-05-06 12", "22007"),
        ("2024-05-06 12:00:00 2", "22007"),
        ("2024-05", "22007"),
        ("soon", "22007"),
        ("", "22007"),
        ("2024-02-30", "22008"),
        ("2024-05-06 25:00", "22008"),
        ("999999-01-01", "22008"),
        ("2024-05-06 12:00+25", "22009"),
        ("2024-05-06 12:00 Nowhere/X", "22023"),
    ] {
        assert_eq!(shown(timestamptz(text)), wanted, "{text}");
    }
    assert_eq!(timestamp("2024-05-06 14:00+02"), timestamp("2024-05-06 14:00"));
    assert_eq!(shown(date("1969-12-31 23:00")), "-1");
    assert_eq!(shown(date("6000000-01-01")), "22008");
    let message = date("2024-13-01").unwrap_err().message;
    assert_eq!(message, "date/time field value out of range: \"2024-13-01\"");
    assert_eq!(shown(time("07:30")), "27000000000");
    assert_eq!(shown(time("2024-05-06 07:30 PM")), "70200000000");
    assert_eq!(shown(time("0730")), "27000000000");
    assert_eq!(shown(time("24:00")), "86400000000");
    assert_eq!(shown(time("24:01")), "22008");
    assert_eq!(time("x").unwrap_err().message, "invalid input syntax for type time: \"x\"");
}

#[test]
fn zones_by_name_follow_daylight_saving_time() {
    let summer = 1_714_996_800_000_000;
    let zone = |name: &str| Zone::of(name).unwrap();
    assert_eq!(zone("Europe/Helsinki").offset(summer), 3 * 3_600);
    assert_eq!(zone("europe/helsinki").offset_of_reading(0), 2 * 3_600);
    assert_eq!(zone("+02").offset(0), -2 * 3_600, "POSIX counts to the west");
    assert_eq!(shown(Zone::of("Nowhere").map(|zone| zone.offset(0))), "22023");
    // In spring the clock in Berlin goes from 2 to 3, in autumn from 3 to 2.
    let read = |text: &str| timestamptz_in(text, zone("Europe/Berlin"));
    assert_eq!(read("2026-03-29 02:30"), timestamptz("2026-03-29 01:30"));
    assert_eq!(read("2026-10-25 02:30"), timestamptz("2026-10-25 01:30"));
    assert_eq!(read("2026-10-25 02:30+02"), timestamptz("2026-10-25 00:30"));
    assert_eq!(read("infinity"), Ok(i64::MAX));
    assert_eq!(read("epoch"), Ok(0));
    for year in [2037, 2098, 2099, 2100, 2400, 9999, 200_000] {
        let summer = format!("{year}-07-01 12:00");
        assert_eq!(read(&summer), timestamptz(&format!("{year}-07-01 10:00")), "{year}");
        let winter = format!("{year}-01-01 12:00");
        assert_eq!(read(&winter), timestamptz(&format!("{year}-01-01 11:00")), "{year}");
    }
}

#[test]
fn a_setting_of_a_zone_is_read_again_as_the_same_zone() {
    for (text, kept, east) in [
        ("europe/berlin", "Europe/Berlin", 3_600),
        ("zulu", "Zulu", 0),
        ("est", "EST", -5 * 3_600),
        ("3", "<+03>-03", 3 * 3_600),
        ("+3", "<+03>-03", 3 * 3_600),
        ("-3.5", "<-03:30>+03:30", -12_600),
        ("5.75", "<+05:45>-05:45", 20_700),
        ("+03:00", "+03:00", -3 * 3_600),
        ("UTC-05:30", "UTC-05:30", 19_800),
        ("GMT-03:00", "GMT-03:00", 3 * 3_600),
        ("0", "<+00>-00", 0),
    ] {
        assert_eq!(Zone::setting(text).as_deref(), Some(kept), "{text}");
        assert_eq!(Zone::of(kept).unwrap().offset(0), east, "{text}");
    }
    for text in ["", "pdt", "nowhere/x", "200", "CET-1CEST", "UTC+", "NaN", "inf"] {
        assert_eq!(Zone::setting(text), None, "{text}");
    }
    assert!(Zone::of("Etc/UTC").unwrap().is_utc() && Zone::of("<+00>-00").unwrap().is_utc());
    assert!(!Zone::of("Europe/London").unwrap().is_utc());
}

#[test]
fn intervals_are_words_clocks_and_iso() {
    const HOUR: i64 = 3_600_000_000;
    for (text, months, days, micros) in [
        ("1 day 02:00:00", 0, 1, 2 * HOUR),
        ("00:01:30", 0, 0, 90_000_000),
        ("-1:30", 0, 0, -HOUR * 3 / 2),
        ("1:2:3.5", 0, 0, HOUR + 123_500_000),
        ("1 day 2 hours ago", 0, -1, -2 * HOUR),
        ("-1 days +02:03:04", 0, -1, 2 * HOUR + 184_000_000),
        ("@ 1 minute", 0, 0, 60_000_000),
        ("P1DT2H", 0, 1, 2 * HOUR),
        ("P1Y2M3DT4H5M6.5S", 14, 3, 4 * HOUR + 306_500_000),
        ("P0001-02-03T04:05:06", 14, 3, 4 * HOUR + 306_000_000),
        ("PT36H", 0, 0, 36 * HOUR),
        ("1.5 days", 0, 1, 12 * HOUR),
        ("1.5 years", 18, 0, 0),
        ("1.5 mons", 1, 15, 0),
        ("1.3 weeks", 0, 9, 2 * HOUR + HOUR * 2 / 5),
        ("90", 0, 0, 90_000_000),
        ("1 02:00:00", 0, 1, 2 * HOUR),
        ("-1-2", -14, 0, 0),
        ("1h30m", 0, 0, HOUR * 3 / 2),
        ("100:00", 0, 0, 100 * HOUR),
        ("1.5 seconds", 0, 0, 1_500_000),
    ] {
        let found = interval(text).unwrap_or_else(|report| panic!("{text}: {report:?}"));
        assert_eq!(
            (found.months, found.days, found.nanoseconds),
            (months, days, micros * 1_000),
            "{text}"
        );
    }
    for text in ["", "1 fortnight", "3 1", "1 day 1 day", "P", "day", "1:70"] {
        assert_eq!(shown(interval(text)), "22007", "{text}");
    }
    for text in ["99999999999 days", "99999999999 hours"] {
        assert_eq!(shown(interval(text)), "22015", "{text}");
    }
}
