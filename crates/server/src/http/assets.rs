//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
    ("app-BG3XKWAZ.js", include_bytes!("../../console/dist/app-BG3XKWAZ.js.gz")),
    ("app-ROK5Q6FG.css", include_bytes!("../../console/dist/app-ROK5Q6FG.css.gz")),
    ("editor-2HQ5UU47.js", include_bytes!("../../console/dist/editor-2HQ5UU47.js.gz")),
    ("index.html", include_bytes!("../../console/dist/index.html.gz")),
    ("uPlot.esm-ULJJVTMH.js", include_bytes!("../../console/dist/uPlot.esm-ULJJVTMH.js.gz")),
];
