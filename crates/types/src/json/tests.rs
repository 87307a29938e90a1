//! JSON as bytes and back: what is shown, how values are ordered, what is no value.

use super::*;

fn shown(text: &str) -> String {
    let bytes = encode(text).unwrap_or_else(|report| panic!("{text}: {report:?}"));
    let mut out = String::new();
    show(Json::new(&bytes), &mut out);
    out
}

#[test]
fn a_value_is_shown_as_postgresql_shows_it() {
    for (text, wanted) in [
        (" null ", "null"),
        ("[ ]", "[]"),
        ("{}", "{}"),
        (
            r#"{"bb":1,"a":[true,false,null,"x"],"c":{}}"#,
            r#"{"a": [true, false, null, "x"], "c": {}, "bb": 1}"#,
        ),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
        (r#""\u00c4\ud83d\ude00\n\/\"\\ \u001f""#, "\"Ä😀\\n/\\\"\\\\ \\u001f\""),
        ("-0", "0"),
        ("1e3", "1000"),
        ("-12.50", "-12.5"),
        ("0.00012", "0.00012"),
        ("1E-7", "0.0000001"),
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ("100", "100"),
    ] {
        assert_eq!(shown(text), wanted, "{text}");
        assert_eq!(shown(wanted), wanted, "what is shown means the same");
    }
}

#[test]
fn what_is_not_json_says_where() {
    for text in ["", "[1,", "{\"a\" 1}", "nul", "1 2", "'a'", "01", "{a: 1}", "\"\\u0000\"", "[1,]"]
    {
        assert!(encode(text).is_err(), "{text}");
    }
    let deep = "[".repeat(10_000);
    assert!(encode(&deep).is_err());
    assert_eq!(encode("1e999999").unwrap_err().code, crate::SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
}

#[test]
fn bytes_are_ordered_as_postgresql_orders_values() {
    let ascending = [
        "null",
        "\"\"",
        "\"a\"",
        "\"aa\"",
        "\"b\"",
        "-100",
        "-12",
        "-1.5",
        "-1",
        "-0.1",
        "0",
        "0.01",
        "0.1",
        "0.11",
        "1",
        "1.5",
        "2",
        "10",
        "11",
        "1e20",
        "false",
        "true",
        "[]",
        "[1]",
        "[2]",
        "[1, 1]",
        "{}",
        "{\"a\": 1}",
        "{\"a\": 2}",
        "{\"b\": 0}",
        "{\"a\": 0, \"b\": 0}",
    ];
    let encoded: Vec<Vec<u8>> = ascending.iter().map(|text| encode(text).unwrap()).collect();
    assert!(encoded.is_sorted_by(|a, b| a < b));
    assert_eq!(encode("1.0").unwrap(), encode("1e0").unwrap());
    assert_eq!(encode("{\"a\":1,\"b\":2}").unwrap(), encode("{\"b\":2,\"a\":1.00}").unwrap());
}

#[test]
fn a_value_is_walked_by_keys_and_places() {
    let bytes = encode(r#"{"a": [10, {"b": "x"}, []], "long key": 1}"#).unwrap();
    let value = Json::new(&bytes);
    let inner = value.member("a").unwrap();
    assert_eq!(inner.element(1).unwrap().member("b").unwrap().as_str(), Some("x"));
    assert_eq!(inner.element(-1).unwrap().kind(), Kind::Array);
    assert_eq!(inner.element(-4), None);
    assert_eq!(inner.step("0").unwrap().bytes(), encode("10").unwrap());
    assert_eq!(value.member("b"), None);
    assert_eq!(value.members().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "long key"]);
}

#[test]
fn containment_is_postgresqls() {
    for (whole, part, wanted) in [
        (r#"{"a": 1, "b": {"c": [1, 2]}}"#, r#"{"b": {"c": [2]}}"#, true),
        ("[1, 2, [3]]", "[[3], 1, 1]", true),
        ("[1, 2]", "1", true),
        ("[[1]]", "1", false),
        ("[1]", "[[1]]", false),
        ("1", "[1]", false),
        (r#"{"a": [1]}"#, r#"{"a": 1}"#, false),
    ] {
        let (whole_bytes, part_bytes) = (encode(whole).unwrap(), encode(part).unwrap());
        let found = contains(Json::new(&whole_bytes), Json::new(&part_bytes));
        assert_eq!(found, wanted, "{whole} @> {part}");
    }
}

#[test]
fn bytes_that_are_no_value_are_read_without_a_panic() {
    let whole = encode(r#"{"a": [1, -2.5, "x"], "b": {"c": null}}"#).unwrap();
    for end in 0..whole.len() {
        for byte in [0, 1, 2, 3, 6, 7, 255] {
            let mut cut = whole[..end].to_vec();
            cut.push(byte);
            let mut out = String::new();
            show(Json::new(&cut), &mut out);
        }
    }
}
