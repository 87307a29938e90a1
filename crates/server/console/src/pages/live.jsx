// A view, live: its rows and a chart of them, from the changes that the server sends.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { follow, useRows } from "../api.js";
import { Chart } from "../chart.jsx";
import { count, millis, short } from "../format.js";
import { Empty, Failure } from "../parts.jsx";
import { Grid } from "../grid.jsx";
import { FIRST_VIEW } from "./overview.jsx";

const SHOWN = 40;
const LINES = 6;
const isTime = (c) => /^(timestamp|date)/.test(c.type);
export const isNumber = (c) => /^(smallint|integer|bigint|numeric|real|double)/.test(c.type);

export function Live({ name, theme }) {
    const names = useRows("SELECT view FROM millrace.views ORDER BY view", 5000);
    const views = names.data?.[0]?.map((r) => r.view) ?? [];
    const view = name ?? views[0];
    return (
        <>
            <h1>Live</h1>
            {names.data && !views.length && (
                <Empty title="No view to follow yet" sql={FIRST_VIEW}>
                    <p>The rows of a view and each change of them come here as they happen.</p>
                </Empty>
            )}
            {views.length > 0 && (
                <p class="choices">
                    <label>View <select value={view} onChange={(e) => (location.hash = `#/live/${encodeURIComponent(e.target.value)}`)}>{!views.includes(view) && <option>{view}</option>}{views.map((v) => <option key={v}>{v}</option>)}</select></label>
                    {views.includes(view) && <a href={`#/view/${encodeURIComponent(view)}`}>its dataflow</a>}
                </p>
            )}
            {view && <Followed key={view} view={view} theme={theme} />}
        </>
    );
}

/** Rows of one time by their other columns. */
const inOrder = (a, b) => a.join("\n").localeCompare(b.join("\n"), "en", { numeric: true });

function Followed({ view, theme }) {
    const [columns, setColumns] = useState(null);
    const [state, setState] = useState({ rows: [], epoch: null, size: 0 });
    const [error, fail] = useState(null);
    const [waiting, wait] = useState(false);
    const [still, setStill] = useState(false);
    const changes = useRef(0), paused = useRef(false);
    paused.current = still;
    useEffect(() => {
        let newest = null, timer = 0;
        // Many epochs may come between two drawings.
        const draw = () => {
            timer = 0;
            if (!newest || paused.current) return;
            const [content, epoch] = newest;
            const rows = [];
            for (const { row, weight } of content.values()) for (let n = 0; n < Math.min(weight, 100); n++) rows.push(row);
            setState({ rows, epoch, size: content.size });
        };
        const end = follow(view, {
            begin: (found) => {
                setColumns(found);
                fail(null);
            },
            moment: (content, epoch, n) => {
                newest = [content, epoch];
                changes.current += n;
                wait(false);
                timer ||= setTimeout(draw, 200);
            },
            failed: fail,
            waiting: () => wait(true),
        });
        return () => {
            end();
            clearTimeout(timer);
        };
    }, [view]);
    if (!columns) return <><Failure error={error} />{!error && <p class="wait">waiting for {view}…</p>}</>;
    const time = columns.findIndex(isTime);
    const rows = time < 0 ? state.rows : [...state.rows].sort((a, b) => (a[time] < b[time] ? 1 : a[time] > b[time] ? -1 : inOrder(a, b)));
    return (
        <>
            <Failure error={error} />
            <p class="muted small" aria-live="off">
                {waiting ? "the line was cut, coming back…" : <>epoch {count(state.epoch)} · {count(state.size)} rows · {short(changes.current)} changes seen</>}{" "}
                <button class="quiet" aria-pressed={still} onClick={() => setStill(!still)}>{still ? "go on" : "hold"}</button>
            </p>
            {state.rows.length > 0 && <LiveChart columns={columns} rows={state.rows} theme={theme} />}
            {state.epoch != null && !state.rows.length && <p class="muted">The view has no rows now; they come here as soon as there are some. Its columns: {columns.map((c) => c.name).join(", ")}.</p>}
            {rows.length > 0 && <Grid columns={columns} rows={rows.slice(0, SHOWN)} label={`Rows of ${view}`} />}
            {rows.length > SHOWN && <p class="muted small">The first {SHOWN} of {count(rows.length)} rows{time >= 0 ? `, newest ${columns[time].name} first` : ""}.</p>}
        </>
    );
}

/** A number over a time, a line for each value of a third column. */
function LiveChart({ columns, rows, theme }) {
    const times = columns.filter(isTime), numbers = columns.filter(isNumber);
    const others = columns.filter((c) => !isTime(c));
    const guess = useMemo(() => {
        const value = numbers.findLast((c) => !/(^|_)id$/.test(c.name)) ?? numbers.at(-1);
        const group = others.find((c) => c !== value && (/(^|_)(id|key|name)$/.test(c.name) || !isNumber(c)));
        return { time: times[0]?.name, value: value?.name, group: group?.name ?? "" };
    }, [columns]);
    const [chosen, choose] = useState({});
    const { time, value, group } = { ...guess, ...chosen };
    if (!time || !value) return <p class="muted small">A chart needs a time and a number among the columns.</p>;
    const at = (name) => columns.findIndex((c) => c.name === name);
    const [t, v, g] = [at(time), at(value), group ? at(group) : -1];
    const lines = new Map(), moments = new Set();
    for (const row of rows) {
        if (row[t] == null || row[v] == null) continue;
        const moment = millis(row[t]) / 1000, key = g < 0 ? value : `${group} ${row[g] ?? "NULL"}`;
        moments.add(moment);
        if (!lines.has(key)) lines.set(key, new Map());
        const line = lines.get(key);
        line.set(moment, (line.get(moment) ?? 0) + +row[v]);
    }
    const axis = [...moments].sort((a, b) => a - b).slice(-300);
    const names = [...lines.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const shown = names.slice(0, LINES);
    const set = (name) => (e) => choose({ ...chosen, [name]: e.target.value });
    const Pick = ({ label, name, from, none }) => (
        <label>{label} <select value={{ time, value, group }[name]} onChange={set(name)}>{none && <option value="">none</option>}{from.map((c) => <option key={c.name}>{c.name}</option>)}</select></label>
    );
    return (
        <>
            <p class="choices"><Pick label="Number" name="value" from={numbers} /> <Pick label="over" name="time" from={times} /> <Pick label="a line for each" name="group" from={others} none /></p>
            {axis.length > 0 && <Chart theme={theme} free height={200} label={`${value} over ${time}${names.length > LINES ? `, the first ${LINES} of ${names.length} lines` : ""}`} data={[axis, ...shown.map((n) => axis.map((m) => lines.get(n).get(m) ?? null))]} series={shown.map((n) => ({ label: n, value: short, fill: shown.length === 1 }))} />}
        </>
    );
}
