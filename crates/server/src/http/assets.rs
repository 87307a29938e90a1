//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-ELQ22JPS.css", include_bytes!("../../console/dist/app-ELQ22JPS.css.gz")),
    ("app-XPO4NA5O.js", include_bytes!("../../console/dist/app-XPO4NA5O.js.gz")),
    ("editor-2HQ5UU47.js", include_bytes!("../../console/dist/editor-2HQ5UU47.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
