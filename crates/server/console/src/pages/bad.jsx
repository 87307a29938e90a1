// What was not taken: messages that are no rows, rows that came too late, rows whose expressions fail.
import { useRows } from "../api.js";
import { clock, count } from "../format.js";
import { Empty, Failure, Table, Tile } from "../parts.jsx";

const QUERIES = [
    "SELECT source, sum(malformed) AS malformed, sum(future_rows) AS future_rows FROM millrace.sources GROUP BY source ORDER BY 2 DESC",
    "SELECT view, late_rows FROM millrace.views ORDER BY late_rows DESC",
    "SELECT table_name, rows, gone FROM millrace.kept_rows",
];
const ERRORS = "SELECT \"time\", source, partition, \"offset\", reason, raw FROM millrace.source_errors ORDER BY \"time\" DESC LIMIT 50";
const LATE = "SELECT view, source, partition, \"offset\", window_end, event_time, watermark, row FROM millrace.late_rows ORDER BY watermark DESC LIMIT 50";
const FAILED = "SELECT * FROM millrace.view_errors LIMIT 100";

/** A message's bytes, which come as hexadecimal digits, as text. */
function message(raw) {
    const digits = raw?.replace(/^\\x/, "").match(/../g) ?? [];
    return new TextDecoder().decode(Uint8Array.from(digits, (d) => parseInt(d, 16)));
}

export function Bad() {
    const { data, error } = useRows(QUERIES, 2000);
    const errors = useRows(ERRORS, 5000), late = useRows(LATE, 5000), failed = useRows(FAILED, 5000);
    const [sources, views, kept] = data ?? [[], [], []];
    const sum = (rows, name) => rows.reduce((all, r) => all + +(r[name] ?? 0), 0);
    const listed = (name) => kept.find((k) => k.table_name === name);
    const note = (name) => {
        const list = listed(name);
        return list ? `${count(list.rows)} listed${+list.gone ? `, ${count(list.gone)} gone` : ""}` : "";
    };
    const bad = errors.data?.[0] ?? [], lateRows = late.data?.[0] ?? [], failedRows = failed.data?.[0] ?? [];
    const nothing = data && errors.data && late.data && failed.data && !bad.length && !lateRows.length && !failedRows.length;
    return (
        <>
            <h1>Late rows and bad records</h1>
            <Failure error={error} />
            <div class="tiles">
                <Tile label="Bad messages" value={count(sum(sources, "malformed"))} note={note("source_errors")} tone={sum(sources, "malformed") ? "warn" : ""} />
                <Tile label="Late rows" value={count(sum(views, "late_rows"))} note={note("late_rows")} tone={sum(views, "late_rows") ? "warn" : ""} />
                <Tile label="Rows that fail" value={failed.data ? count(failedRows.length) : "–"} note="in views, now" tone={failedRows.length ? "bad" : ""} />
                <Tile label="In the future" value={count(sum(sources, "future_rows"))} note="move no watermark" />
            </div>
            {nothing && (
                <Empty title="Everything was taken" sql={"ALTER SOURCE s SET (on_error = 'record');\nALTER SOURCE s SET (late_rows = 'record');"}>
                    <p>Messages that are no rows, and rows that come after their window has closed, are listed here while the source records them, as it does unless it was told otherwise:</p>
                </Empty>
            )}
            <List title="Bad messages" answer={errors} rows={bad} columns={[
                { name: "time", show: (r) => clock(r.time) }, { name: "source" }, { name: "partition", number: true, wide: true },
                { name: "offset", number: true, show: (r) => count(r.offset) }, { name: "reason" },
                // A source that makes rows by itself has no messages.
                ...(bad.some((r) => message(r.raw)) ? [{ name: "raw", label: "message", wide: true, show: (r) => <code class="clip" title={message(r.raw)}>{message(r.raw)}</code> }] : []),
            ]} />
            <List title="Late rows" answer={late} rows={lateRows} columns={[
                { name: "view" }, { name: "event_time", label: "event time", show: (r) => clock(r.event_time) }, { name: "window_end", label: "window ended", show: (r) => clock(r.window_end) },
                { name: "watermark", wide: true, show: (r) => clock(r.watermark) }, { name: "source", wide: true }, { name: "offset", number: true, wide: true, show: (r) => count(r.offset) },
                { name: "row", wide: true, show: (r) => <code class="clip" title={r.row}>{r.row}</code> },
            ]} />
            <List title="Rows whose expressions fail" answer={failed} rows={failedRows} columns={Object.keys(failedRows[0] ?? {}).map((name) => ({ name }))} />
        </>
    );
}

function List({ title, answer, rows, columns }) {
    if (answer.error) return <section><h2>{title}</h2><Failure error={answer.error} /></section>;
    if (!answer.data) return <section><h2>{title}</h2><p class="muted">asking; this waits while views are behind…</p></section>;
    if (!rows.length) return null;
    return (
        <section class="list">
            <h2>{title} <span class="muted small">{rows.length === 1 ? "one" : `the last ${rows.length}`}</span></h2>
            <Table label={title} rows={rows} columns={columns} />
        </section>
    );
}
