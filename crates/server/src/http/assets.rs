//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-GTKVP575.js", include_bytes!("../../console/dist/app-GTKVP575.js.gz")),
    ("app-ROK5Q6FG.css", include_bytes!("../../console/dist/app-ROK5Q6FG.css.gz")),
    ("editor-IACMSVTL.js", include_bytes!("../../console/dist/editor-IACMSVTL.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
