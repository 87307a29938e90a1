// One view: its dataflow as a graph, with what each operator does now, its rows, its definition.
import { useEffect, useRef, useState } from "preact/hooks";
import { useRows } from "../api.js";
import { bytes, count, duration, quoted, rate, short } from "../format.js";
import { one, useLive } from "../live.js";
import { Bar, Copied, Failure, Status, Table, Tile } from "../parts.jsx";
import { HeldUp } from "./overview.jsx";
import { CARD, layout, parsePlan } from "../plan.js";

export function View({ name }) {
    useLive();
    const text = name.replaceAll("'", "''");
    const about = useRows(
        [
            `SELECT * FROM millrace.views WHERE view = '${text}'`,
            `SELECT job, view, status, percent, rows_read, rows_to_read FROM millrace.jobs WHERE view = '${text}'`,
        ],
        2000,
    );
    const [view] = about.data?.[0] ?? [], [job] = about.data?.[1] ?? [];
    const create = useRows(`SHOW CREATE MATERIALIZED VIEW ${quoted(name)}`, 0);
    const sql = create.data?.[0]?.[0]?.create_sql;
    const failing = useRows(`SELECT count(*) AS n, min(code) AS code, min(message) AS message FROM millrace.view_errors WHERE view = '${text}'`, 5000).data?.[0]?.[0];
    return (
        <>
            <h1><span><a href="#/views">Views</a> / {name}</span> {view && <Status word={view.status} />}</h1>
            <Failure error={about.error} />
            <HeldUp />
            {job && (
                <div class="job">
                    <span class="name">filling</span>
                    <Bar part={(job.percent ?? 0) / 100} label={`${name}, filled`} />
                    <span class="percent">{job.percent == null ? "…" : `${job.percent} %`}</span>
                    <span class="muted">{count(job.rows_read)} of {count(job.rows_to_read)} read</span>
                </div>
            )}
            {about.data && !view && !job && <Failure error={{ message: `There is no view "${name}".`, hint: "Another one may have its name; see all views." }} />}
            {view?.error && <Failure error={{ message: view.error }} />}
            {+failing?.n > 0 && (
                <Failure error={{ code: failing.code, message: `${failing.message}, in ${count(failing.n)} row${+failing.n > 1 ? "s" : ""} of this view: SELECT from it fails until they change or go.`, hint: <>SET view_errors = 'warn' reads the others; <a href="#/bad">Late &amp; bad</a> lists them.</> }} />
            )}
            {view && (
                <div class="tiles">
                    <Tile label="Rows" value={short(view.rows_at_most)} note="at most" />
                    <Tile label="State" value={bytes(view.state_bytes)} note="of operators" />
                    <Tile label="Late rows" value={count(view.late_rows)} note="turned away" tone={+view.late_rows ? "warn" : ""} href="#/bad" />
                    <Tile label="Epoch" value={count(view.epoch)} note={`${count(one("epochs_in_flight"))} in flight`} tone={one("epochs_in_flight") >= 4 ? "warn" : ""} />
                    <Tile label="Content" value="rows, live" note="table and chart" href={`#/live/${encodeURIComponent(name)}`} />
                </div>
            )}
            {view?.status === "running" && <Dataflow name={name} />}
            {sql && (
                <section>
                    <h2>Definition <Copied text={sql} /></h2>
                    <pre class="code wraps">{sql}</pre>
                </section>
            )}
        </>
    );
}

/** What operators did between two looks, a second: rows in and out, and the parts of one worker's time that they worked and were behind. */
function perSecond(now, before) {
    const found = new Map();
    if (!now || !before || now.at === before.at) return found;
    const seconds = (now.at - before.at) / 1000;
    const old = new Map(before.nodes.map((n) => [n.id, n.figures]));
    for (const { id, figures } of now.nodes) {
        const was = old.get(id);
        if (figures && was && figures.rowsIn >= was.rowsIn)
            found.set(id, { rowsIn: (figures.rowsIn - was.rowsIn) / seconds, rowsOut: (figures.rowsOut - was.rowsOut) / seconds, busy: (figures.ms - was.ms) / 1000 / seconds, behind: (figures.behind - was.behind) / 1000 / seconds });
    }
    return found;
}

function Dataflow({ name }) {
    const plan = useRows(`EXPLAIN ANALYZE MATERIALIZED VIEW ${quoted(name)}`, 1000);
    const past = useRef([]);
    const [chosen, choose] = useState(null);
    const lines = plan.data?.[0]?.map((r) => r["QUERY PLAN"]);
    useEffect(() => {
        past.current = [];
    }, [name]);
    if (!lines) return <Failure error={plan.error} />;
    const now = { ...parsePlan(lines), at: plan.at };
    if (past.current.at(-1)?.at !== now.at) past.current = [...past.current, now].slice(-6);
    const speeds = perSecond(now, past.current[0]);
    if (!now.root) return null;
    const { columns, rows } = layout(now.root);
    const x = (n) => n.column * (CARD.width + CARD.across), y = (n) => n.row * (CARD.height + CARD.gap);
    const width = columns * (CARD.width + CARD.across) - CARD.across, height = rows * (CARD.height + CARD.gap) - CARD.gap;
    const slowest = holdsUp(now.nodes, speeds);
    const shown = now.nodes.find((n) => n.id === chosen);
    return (
        <section>
            <h2>Dataflow</h2>
            <p class="muted small">
                {lines.find((l) => l.startsWith("Running since"))?.replace(/\.\d+\+00;/, " UTC;").replace("figures are sums", "totals are sums").replace(/ since$/, " since then")}.
                Rates are of the last seconds. <i>Busy</i> and <i>behind</i> are parts of one worker's time: an operator is behind while it has rows that it could work on and has not; the others wait for it.
            </p>
            <div class="scroll graph" tabindex="0" role="region" aria-label={`Dataflow of ${name}`} onKeyDown={(e) => arrowed(e, now.nodes)}>
                <div style={{ width: `${width}px`, height: `${height}px`, position: "relative" }}>
                    <svg width={width} height={height} aria-hidden="true">
                        {now.nodes.flatMap((n) =>
                            n.inputs.map((input) => {
                                const [x1, y1, x2, y2] = [x(input) + CARD.width, y(input) + CARD.height / 2, x(n), y(n) + CARD.height / 2];
                                const flows = (speeds.get(input.id)?.rowsOut ?? 1) > 0;
                                return <path key={`${n.id}-${input.id}`} class={flows ? "edge flows" : "edge"} d={`M${x1} ${y1}C${x1 + 22} ${y1} ${x2 - 22} ${y2} ${x2} ${y2}`} />;
                            }),
                        )}
                    </svg>
                    {now.nodes.map((n) => (
                        <Operator key={n.id} node={n} speed={speeds.get(n.id)} style={{ left: `${x(n)}px`, top: `${y(n)}px`, width: `${CARD.width}px`, height: `${CARD.height}px` }} chosen={n.id === chosen} choose={() => choose(n.id === chosen ? null : n.id)} slowest={n === slowest} />
                    ))}
                </div>
            </div>
            {slowest && <p class="notice" role="status"><b>{slowest.title}</b> holds the others up: behind {percent(speeds.get(slowest.id)?.behind)} of the time{slowest.figures.waiting > 0 && <>, {count(slowest.figures.waiting)} rows wait for it</>}.</p>}
            {shown ? <Details node={shown} speed={speeds.get(shown.id)} /> : <p class="muted small">Choose an operator to see its keys and its state; arrows go from one to the next.</p>}
            <details>
                <summary>As a table, and as text</summary>
                <Table label="Operators" rows={now.nodes.filter((n) => n.figures)} columns={[
                    { name: "title", label: "operator", show: (n) => `${n.title} (${n.figures.name})` },
                    { name: "in", label: "in", number: true, show: (n) => rate(speeds.get(n.id)?.rowsIn) },
                    { name: "out", number: true, show: (n) => rate(speeds.get(n.id)?.rowsOut) },
                    { name: "busy", number: true, show: (n) => percent(speeds.get(n.id)?.busy) },
                    { name: "behind", title: "part of one worker's time in which others waited for it", number: true, show: (n) => percent(speeds.get(n.id)?.behind) },
                    { name: "waiting", label: "rows wait", number: true, wide: true, show: (n) => count(n.figures.waiting) },
                    { name: "state", number: true, show: (n) => bytes(n.figures.stateBytes) },
                    { name: "time", label: "time so far", number: true, wide: true, show: (n) => duration(n.figures.ms / 1000) },
                ]} />
                <pre class="code">{lines.join("\n")}</pre>
            </details>
        </section>
    );
}

/** What runs with an operator, behind it, in its order. */
const chained = (node) => node.steps.toReversed().map((s) => `${s.title} ${s.detail}`);
const percent = (part) => (part == null ? "–" : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`);

/** The operator that the others wait for; null if they hardly wait. */
function holdsUp(nodes, speeds) {
    const behind = (n) => speeds.get(n?.id)?.behind ?? 0;
    const most = nodes.reduce((found, n) => (behind(n) > behind(found) ? n : found), null);
    return behind(most) >= 0.2 ? most : null;
}

/** Arrows go along the rows' way: left to what an operator reads, right to what reads it, up and down to those beside it. */
function arrowed(event, nodes) {
    const at = nodes.find((n) => `operator-${n.id}` === event.target.id);
    const beside = at && nodes.filter((n) => n.column === at.column).sort((a, b) => a.row - b.row);
    const next = at && {
        ArrowLeft: () => at.inputs[0],
        ArrowRight: () => nodes.find((n) => n.inputs.includes(at)),
        ArrowUp: () => beside[beside.indexOf(at) - 1],
        ArrowDown: () => beside[beside.indexOf(at) + 1],
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    document.getElementById(`operator-${next.id}`).focus();
}

function Operator({ node, speed, style, chosen, choose, slowest }) {
    const { figures } = node;
    return (
        <button id={`operator-${node.id}`} class={`operator ${figures ? "" : "step"} ${chosen ? "chosen" : ""} ${slowest ? "slowest" : ""}`} style={style} onClick={choose} aria-pressed={chosen}>
            <span class="title"><b>{node.title}</b>{slowest && <span class="badge">holds others up</span>}</span>
            <span class="detail" title={[node.detail, ...chained(node)].join("\n")}>{[node.detail, ...chained(node)].join(" → ")}</span>
            {figures && (
                <span class="numbers">
                    <span title="rows in, a second">→ {speed ? rate(speed.rowsIn) : "…"}</span>
                    <span title="rows out, a second">{speed ? rate(speed.rowsOut) : "…"} →</span>
                    <span title="part of one worker's time"><Bar part={speed?.busy ?? 0} label={`${node.title} busy`} tone={(speed?.busy ?? 0) > 0.8 ? "bad" : (speed?.busy ?? 0) > 0.5 ? "warn" : ""} /> {percent(speed?.busy)} busy</span>
                    <span title="part of one worker's time in which it had rows that it could work on and had not" class={(speed?.behind ?? 0) >= 0.2 ? "behind" : ""}>{percent(speed?.behind)} behind</span>
                    <span title="rows that have come and whose results have not left">{figures.waiting ? `${short(figures.waiting)} rows wait` : "none wait"}</span>
                    <span title="state in memory">{figures.stateBytes == null ? "no state" : bytes(figures.stateBytes)}</span>
                </span>
            )}
        </button>
    );
}

function Details({ node, speed }) {
    const { figures } = node;
    return (
        <div class="panel">
            <h3>{node.title}</h3>
            <p>{node.detail}</p>
            {chained(node).map((step) => <p key={step}>then {step}</p>)}
            {node.notes.map((note) => <p key={note} class="muted">{note}</p>)}
            {figures && (
                <dl class="facts">
                    <div><dt>rows in</dt><dd>{count(figures.rowsIn)} · {rate(speed?.rowsIn)}</dd></div>
                    <div><dt>rows out</dt><dd>{count(figures.rowsOut)} · {rate(speed?.rowsOut)}</dd></div>
                    <div><dt>state</dt><dd>{figures.stateBytes == null ? "none" : `${count(figures.stateRows)} rows, ${bytes(figures.stateBytes)}`}</dd></div>
                    <div><dt>busy</dt><dd>{duration(figures.ms / 1000)} · {percent(speed?.busy)}</dd></div>
                    <div><dt>behind</dt><dd>{duration(figures.behind / 1000)} · {percent(speed?.behind)}</dd></div>
                    <div><dt>rows wait</dt><dd>{count(figures.waiting)}</dd></div>
                </dl>
            )}
        </div>
    );
}
