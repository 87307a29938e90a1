//! What PostgreSQL answers for the same templates.

use millrace_types::NUMERIC_SCALE;
use millrace_types::input::{self, Zone};

use super::fields::cut;
use super::{digits, form, read, show};

#[test]
fn times_are_written_by_their_fields() {
    let time = input::timestamp("2024-05-06 17:08:09.123456").unwrap();
    for (template, wanted) in [
        ("YYYY-MM-DD HH24:MI:SS", "2024-05-06 17:08:09"),
        ("DD Mon YYYY, HH12:MI am US MS", "06 May 2024, 05:08 pm 123456 123"),
        ("Day|DAY|FMDay|Dy|Month|FMMonth|MON", "Monday   |MONDAY   |Monday|Mon|May      |May|MAY"),
        ("D|ID|DDD|WW|IW|IYYY|Q|CC|J|YY|Y,YYY", "2|1|127|19|19|2024|2|21|2460437|24|2,024"),
        ("FMDD FMMM DDth", "6 5 06th"),
        ("HH24\"h\"MI", "17h08"),
    ] {
        assert_eq!(
            show::timestamp(time, Some(Zone::Utc), &cut(template)).unwrap(),
            wanted,
            "{template}"
        );
    }
    let span = input::interval("26 hours 3 minutes").unwrap();
    assert_eq!(show::interval(span, &cut("HH24:MI:SS")).unwrap(), "26:03:00");
    assert!(show::interval(span, &cut("Month")).is_err());
}

#[test]
fn times_are_read_by_their_fields() {
    for (text, template, wanted) in [
        ("06 May 2024", "DD Mon YYYY", "2024-05-06"),
        ("20240506", "YYYYMMDD", "2024-05-06"),
        ("05/06/24", "MM/DD/YY", "2024-05-06"),
        ("2024 127", "YYYY DDD", "2024-05-06"),
        ("2024-05-06 07:08:09", "YYYY-MM-DD HH24:MI:SS", "2024-05-06 07:08:09"),
        ("06/05/2024 07:08 PM", "DD/MM/YYYY HH12:MI AM", "2024-05-06 19:08"),
        ("2024-05-06 07:08:09.25", "YYYY-MM-DD HH24:MI:SS.MS", "2024-05-06 07:08:09.25"),
        ("2024-05-06", "YYYY-MM-DD HH24", "2024-05-06"),
    ] {
        let found = read::timestamp(text, &cut(template), Zone::Utc);
        assert_eq!(found, input::timestamptz(wanted), "{text} {template}");
    }
    let error = |text, template| read::date(text, &cut(template)).unwrap_err();
    assert_eq!(error("x", "YYYY").message, "invalid value \"x\" for \"YYYY\"");
    let range = error("2024-13-01", "YYYY-MM-DD").message;
    assert_eq!(range, "date/time field value out of range: \"2024-13-01\"");
}

#[test]
fn numbers_are_written_by_their_digits() {
    for (number, template, wanted) in [
        ("1234.5", "9999.99", " 1234.50"),
        ("1234.5", "FM9,999.00", "1,234.50"),
        ("-5", "999", "  -5"),
        ("12", "0000", " 0012"),
        ("0.5", "9.9", "  .5"),
        ("0.5", "0.9", " 0.5"),
        ("0", "9", " 0"),
        ("0.0", "FM9.9", "0."),
        ("1234567", "999", " ###"),
        ("5", "FM000", "005"),
        ("1.5", "9.99", " 1.50"),
        ("1485", "S9999", "+1485"),
        ("-12.3", "FM90.00", "-12.30"),
        ("1.5", "FM9.99", "1.5"),
        ("12", "99%", " 12%"),
        ("1234567", "9,999,999", " 1,234,567"),
        ("12", "9,999", "    12"),
        ("485", "RN", "        CDLXXXV"),
        ("485", "FMrn", "cdlxxxv"),
        ("482", "999th", " 482nd"),
        ("-485", "999PR", "<485>"),
        ("12.4", "99V9", " 124"),
        ("0.00048", "9.99EEEE", " 4.80e-04"),
        ("485", "\"Good number:\"999", "Good number: 485"),
    ] {
        let value = digits::Value::Numeric(input::numeric(number, None).unwrap(), NUMERIC_SCALE);
        let shown = form::form(template).and_then(|form| digits::number(value, &form));
        assert_eq!(shown.unwrap(), wanted, "{number} {template}");
    }
    for wrong in ["9.9.9", "9V9.9", "S9S", "MI9S", "9PR9", "9EEEE9", "FM9EEEE"] {
        assert_eq!(form::form(wrong).unwrap_err().code.code(), "42601", "{wrong}");
    }
}
