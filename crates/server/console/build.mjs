// Builds the console: sources in src/ to compressed files in dist/, and the list of them that the server embeds.
//   node build.mjs           writes dist/ and ../src/http/assets.rs
//   node build.mjs check     fails if what is checked in is not what the sources give
import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const list = join(root, "../src/http/assets.rs");

/** All files below a directory, sorted. */
function walk(dir) {
    return readdirSync(dir, { withFileTypes: true })
        .flatMap((e) => (e.isDirectory() ? walk(join(dir, e.name)) : [join(dir, e.name)]))
        .sort();
}

/** FNV-1a over names and contents of what a build reads; crates/sim/src/console.rs computes the same. */
function fingerprint() {
    const files = [...walk(join(root, "src")), ...["build.mjs", "package-lock.json", "package.json"].map((f) => join(root, f))];
    let hash = 0xcbf29ce484222325n;
    const add = (bytes) => {
        for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    };
    for (const file of files) {
        add(Buffer.from(file.slice(root.length + 1) + "\n"));
        add(readFileSync(file));
    }
    return hash.toString(16).padStart(16, "0");
}

/** Licences of the packages that are in the bundle. */
function licences(inputs) {
    const names = new Set();
    for (const input of inputs) {
        const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
        if (found) names.add(found[1]);
    }
    const parts = [...names].sort().map((name) => {
        const dir = join(root, "node_modules", name);
        const about = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
        const file = readdirSync(dir).find((f) => /^licen[cs]e/i.test(f));
        if (!file) throw new Error(`${name} has no licence file`);
        const text = readFileSync(join(dir, file), "utf8").trim();
        return `${name} ${about.version} (${about.license})\n\n${text}\n`;
    });
    return `What others wrote of the console's files, and its licences. Written by scripts/console.\n\n${parts.join("\n----\n\n")}`;
}

async function bundle() {
    const result = await build({
        absWorkingDir: root,
        entryPoints: { app: "src/app.jsx" },
        bundle: true,
        splitting: true,
        format: "esm",
        target: "es2022",
        minify: true,
        legalComments: "none",
        jsx: "automatic",
        jsxImportSource: "preact",
        outdir: "out",
        entryNames: "[name]-[hash]",
        chunkNames: "[name]-[hash]",
        assetNames: "[name]-[hash]",
        metafile: true,
        write: false,
    });
    const files = new Map(result.outputFiles.map((f) => [f.path.split("/").pop(), Buffer.from(f.contents)]));
    const named = (pattern) => [...files.keys()].find((name) => pattern.test(name));
    const script = named(/^app-.*\.js$/), style = named(/^app-.*\.css$/);
    // What the first page needs, fetched at once.
    const first = Object.values(result.metafile.outputs).find((o) => o.entryPoint === "src/app.jsx");
    const early = first.imports.filter((i) => i.kind === "import-statement").map((i) => i.path.split("/").pop());
    const html = readFileSync(join(root, "src/index.html"), "utf8")
        .replace("<!--style-->", `<link rel="stylesheet" href="/assets/${style}">`)
        .replace(
            "<!--script-->",
            [...early.map((e) => `<link rel="modulepreload" href="/assets/${e}">`), `<script type="module" src="/assets/${script}"></script>`].join("\n"),
        );
    files.set("index.html", Buffer.from(html));
    return { files: new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))), inputs: Object.keys(result.metafile.inputs) };
}

const { files, inputs } = await bundle();
const text = licences(inputs);
const rust = `//! The files of the console, compressed. Written by scripts/console; do not edit.

/// Name and gzip of each file.
#[rustfmt::skip]
pub(super) const ASSETS: &[(&str, &[u8])] = &[
${[...files.keys()].map((n) => `    ("${n}", include_bytes!("../../console/dist/${n}.gz")),`).join("\n")}
];
`;

if (process.argv[2] === "check") {
    const wrong = [];
    const have = new Set(readdirSync(dist));
    for (const [name, bytes] of files) {
        if (!have.delete(`${name}.gz`) || !gunzipSync(readFileSync(join(dist, `${name}.gz`))).equals(bytes)) wrong.push(name);
    }
    have.delete("sources");
    wrong.push(...have);
    if (readFileSync(list, "utf8") !== rust) wrong.push("assets.rs");
    if (readFileSync(join(root, "LICENSES.txt"), "utf8") !== text) wrong.push("LICENSES.txt");
    if (wrong.length) {
        console.error(`not what the sources give: ${wrong.join(", ")}; run scripts/console`);
        process.exit(1);
    }
    console.log("the bundle is that of the sources");
} else {
    rmSync(dist, { recursive: true, force: true });
    mkdirSync(dist);
    for (const [name, bytes] of files) {
        const gz = gzipSync(bytes, { level: 9 });
        writeFileSync(join(dist, `${name}.gz`), gz);
        console.log(`${name.padEnd(28)} ${String(bytes.length).padStart(7)} ${String(gz.length).padStart(7)} gzip`);
    }
    writeFileSync(join(dist, "sources"), `${fingerprint()}\n`);
    writeFileSync(list, rust);
    writeFileSync(join(root, "LICENSES.txt"), text);
}
