//! Paths that no statement writes: deep ones, long ones, and all kinds of text that is none.

use millrace_types::SqlState;

use super::parse::parse;

#[test]
fn a_path_of_any_depth_is_read_in_one_pass_or_refused() {
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("$[", "0", "]"),
        ("-", "1", ""),
        ("$ ? (exists (", "@", "))"),
        ("!(", "1 == 1", ")"),
    ] {
        for (depth, fits) in [(1, true), (20, true), (100_000, false)] {
            let text = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let code = parse(&text).map(drop).map_err(|report| report.code);
            let expected = if fits { Ok(()) } else { Err(SqlState::STATEMENT_TOO_COMPLEX) };
            assert_eq!(code, expected, "{open} {depth}");
        }
    }
    let long = format!("$.a{}", " + $.a".repeat(100_000));
    assert_eq!(parse(&long).unwrap_err().code, SqlState::STATEMENT_TOO_COMPLEX);
}

#[test]
fn what_is_no_path_is_refused_wherever_it_ends() {
    let whole = "strict $.\"a\\u0061\"[0 to last, 2].** {1 to last}.b ? (@.x > 1.5e3 && !(@.y starts with $\"v\")).size() + 1";
    for end in whole.char_indices().map(|(at, _)| at) {
        // Some beginnings are paths, too; none panics.
        drop(parse(&whole[..end]));
    }
    assert!(parse(whole).is_ok());
    for text in [
        "$.",
        "$ $",
        "@",
        "last",
        "$[last",
        "$ ? 1",
        "1 == 2 == 3",
        "($ == 1) + 1",
        "$ ? (1)",
        "!1",
        "1a",
        "01",
        "\"a",
        "$.a.nothing()",
        "$.**{1 to}",
        "\"\\u00\"",
        "/* open",
        "$ =",
        "1 &&",
        "$ like_regex \"a\" flag \"z\"",
    ] {
        let report = parse(text).map(drop).unwrap_err();
        assert_eq!(report.code, SqlState::SYNTAX_ERROR, "{text}");
    }
}
