//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-N56MX2R3.js", include_bytes!("../../console/dist/app-N56MX2R3.js.gz")),
    ("app-NCTFFSKI.css", include_bytes!("../../console/dist/app-NCTFFSKI.css.gz")),
    ("editor-WOUXDEJN.js", include_bytes!("../../console/dist/editor-WOUXDEJN.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
