//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-ROK5Q6FG.css", include_bytes!("../../console/dist/app-ROK5Q6FG.css.gz")),
    ("app-UNNT377X.js", include_bytes!("../../console/dist/app-UNNT377X.js.gz")),
    ("editor-IACMSVTL.js", include_bytes!("../../console/dist/editor-IACMSVTL.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
