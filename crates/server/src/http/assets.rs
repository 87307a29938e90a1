//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-6FTOUWLR.js", include_bytes!("../../console/dist/app-6FTOUWLR.js.gz")),
    ("app-J42YRS67.css", include_bytes!("../../console/dist/app-J42YRS67.css.gz")),
    ("editor-IACMSVTL.js", include_bytes!("../../console/dist/editor-IACMSVTL.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
