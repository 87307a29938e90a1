// Statements: an editor that knows the tables, results as grids, errors where they are.
import { useEffect, useRef, useState } from "preact/hooks";
import { rows, run, useRows } from "../api.js";
import { count, duration } from "../format.js";
import { Grid } from "../grid.jsx";
import { Bar, Failure } from "../parts.jsx";

/** Passwords are kept nowhere. */
const isSecret = (text) => /password|secret/i.test(text);
const KEPT = "millrace.sql", PAST = "millrace.past";
const LIMITS = [100, 1000, 10000];
const load = (name, other) => {
    try {
        return JSON.parse(localStorage.getItem(name)) ?? other;
    } catch {
        return other;
    }
};
const keep = (name, value) => {
    try {
        localStorage.setItem(name, JSON.stringify(value));
    } catch {
        // Without a store the text is kept while the page is open.
    }
};

/** Tables and columns for completion, by schema. */
async function known() {
    const found = { public: {}, millrace: {} };
    const columns = await rows("SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE table_schema IN ('public', 'millrace') ORDER BY table_schema, table_name, ordinal_position", { limit: 20000 });
    for (const c of columns) ((found[c.table_schema] ??= {})[c.table_name] ??= []).push(c.column_name);
    return found;
}

export function Sql({ query }) {
    const host = useRef(), editor = useRef(), control = useRef();
    const [answer, setAnswer] = useState(null);
    const [busy, setBusy] = useState(null);
    const [limit, setLimit] = useState(1000);
    const [past, setPast] = useState(() => load(PAST, []));
    const limits = useRef(limit);
    limits.current = limit;

    async function go() {
        if (control.current) return;
        const { text, from } = editor.current.chosen();
        if (!text.trim()) return;
        editor.current.point(null);
        control.current = new AbortController();
        const begun = Date.now();
        setBusy(begun);
        try {
            const found = await run(text, { limit: limits.current, signal: control.current.signal });
            setAnswer({ ...found, took: Date.now() - begun });
            if (found.error?.position) editor.current.point([...editor.current.text().slice(0, from)].length + found.error.position - 1);
            if (!found.error) {
                if (!isSecret(text)) setPast((old) => {
                    const now = [text, ...old.filter((t) => t !== text)].slice(0, 30);
                    keep(PAST, now);
                    return now;
                });
                if (found.results.some((r) => /^(CREATE|DROP|ALTER)/.test(r.tag))) learn();
            }
        } catch (error) {
            setAnswer({ results: [], error: error.name === "AbortError" ? { code: "57014", message: "canceled: the server ends the statement" } : error, took: Date.now() - begun });
        }
        control.current = null;
        setBusy(null);
    }
    const learn = () => known().then((schema) => editor.current?.knows(schema), () => {});

    useEffect(() => {
        let gone = false;
        import("../editor.js").then(({ createEditor }) => {
            if (gone) return;
            editor.current = createEditor(host.current, query.q ?? load(KEPT, "SELECT * FROM millrace.views;"), {
                run: () => go(),
                leave: () => document.getElementById("main").focus(),
                changed: (text) => keep(KEPT, isSecret(text) ? "" : text),
            });
            host.current.setAttribute("data-ready", "");
            editor.current.focus();
            learn();
        });
        return () => {
            gone = true;
            control.current?.abort();
            editor.current?.end();
            editor.current = null;
        };
    }, []);
    useEffect(() => {
        if (query.q && editor.current && editor.current.text() !== query.q) editor.current.replace(query.q);
    }, [query.q]);

    return (
        <>
            <h1>SQL</h1>
            <div class="editor" ref={host} />
            <p class="choices">
                {busy ? <button class="button" onClick={() => control.current?.abort()}>Cancel</button> : <button class="button primary" onClick={go}>Run <kbd>Ctrl ↵</kbd></button>}
                <label>Rows <select value={limit} onChange={(e) => setLimit(+e.target.value)}>{LIMITS.map((n) => <option key={n} value={n}>{count(n)}</option>)}</select></label>
                {past.length > 0 && (
                    <label>Earlier{" "}
                        <select class="past" value="" onChange={(e) => e.target.value !== "" && editor.current.replace(past[+e.target.value])}>
                            <option value="">choose…</option>
                            {past.map((text, at) => <option key={at} value={at}>{text.replace(/\s+/g, " ").slice(0, 80)}</option>)}
                        </select>
                    </label>
                )}
                {busy && <Running since={busy} />}
                <span class="muted small">What is selected runs alone. A run is a session of its own.</span>
            </p>
            <div class="results" aria-live="polite">
                {answer?.results.map((result, at) => <Result key={at} result={result} at={at} many={answer.results.length + !!answer.error > 1} />)}
                <Failure error={answer?.error} title={answer?.results.length > 0 && `Statement ${answer.results.length + 1}, where the run ended: `} />
            </div>
        </>
    );
}

function Running({ since }) {
    const [, tick] = useState(0);
    useEffect(() => {
        const timer = setInterval(() => tick((n) => n + 1), 100);
        return () => clearInterval(timer);
    }, []);
    const jobs = useRows("SELECT job, view, percent FROM millrace.jobs WHERE status = 'running'", 1000).data?.[0] ?? [];
    return (
        <>
            <span class="muted">runs for {duration((Date.now() - since) / 1000)}</span>
            {jobs.map((job) => <span key={job.job} class="nowrap">{job.view} <Bar part={(job.percent ?? 0) / 100} label={`${job.view}, filled`} /> {job.percent == null ? "…" : `${job.percent} %`}</span>)}
        </>
    );
}

function Result({ result, at, many }) {
    const { columns, rows: found, truncated, tag, elapsed_us: took, notices } = result;
    const plan = columns.length === 1 && columns[0].name === "QUERY PLAN";
    const tsv = () => [columns.map((c) => c.name), ...found].map((r) => r.map((v) => v ?? "").join("\t")).join("\n");
    return (
        <section class="result">
            <p class="muted small">
                {many && <b>{at + 1}. </b>}<b>{tag}</b> · {duration(took / 1e6)}
                {truncated && <span class="warn"> · more rows than asked for: the first {count(found.length)}</span>}
                {columns.length > 0 && <> <button class="quiet" onClick={() => navigator.clipboard?.writeText(tsv())}>copy</button></>}
            </p>
            {notices.map((n, i) => <p key={i} class="notice"><b>{n.code}</b> {n.message}{n.hint && ` ${n.hint}`}</p>)}
            {plan ? <pre class="code">{found.map((r) => r[0]).join("\n")}</pre> : columns.length > 0 && <Grid columns={columns} rows={found} label={`Result ${at + 1}`} />}
        </section>
    );
}
