// One view: its dataflow as a graph, with what each operator does now, its rows, its definition.
import { useEffect, useRef, useState } from "preact/hooks";
import { useRows } from "../api.js";
import { bytes, count, duration, quoted, rate, short } from "../format.js";
import { one, useLive } from "../live.js";
import { Bar, Copied, Failure, Status, Table, Tile } from "../parts.jsx";
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
    return (
        <>
            <h1><a href="#/views">Views</a> / {name} {view && <Status word={view.status} />}</h1>
            <Failure error={about.error} />
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
                    <pre class="code">{sql}</pre>
                </section>
            )}
        </>
    );
}

/** What operators did between two looks, a second: rows in and out, and the part of one worker's time. */
function perSecond(now, before) {
    const found = new Map();
    if (!now || !before || now.at === before.at) return found;
    const seconds = (now.at - before.at) / 1000;
    const old = new Map(before.nodes.map((n) => [n.id, n.figures]));
    for (const { id, figures } of now.nodes) {
        const was = old.get(id);
        if (figures && was && figures.rowsIn >= was.rowsIn)
            found.set(id, { rowsIn: (figures.rowsIn - was.rowsIn) / seconds, rowsOut: (figures.rowsOut - was.rowsOut) / seconds, busy: (figures.ms - was.ms) / 1000 / seconds });
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
    const busiest = now.nodes.reduce((most, n) => ((speeds.get(n.id)?.busy ?? 0) > (speeds.get(most?.id)?.busy ?? 0) ? n : most), null);
    const shown = now.nodes.find((n) => n.id === chosen);
    return (
        <section>
            <h2>Dataflow</h2>
            <p class="muted small">
                {lines.find((l) => l.startsWith("Running since"))?.replace("figures are sums", "totals are sums").replace(/ since$/, " since then")}.
                Rates are of the last seconds; <i>busy</i> is the part of one worker's time: whatever is near 100 % holds back what is before it.
            </p>
            <div class="scroll graph" tabindex="0" role="region" aria-label={`Dataflow of ${name}`}>
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
                        <Operator key={n.id} node={n} speed={speeds.get(n.id)} style={{ left: `${x(n)}px`, top: `${y(n)}px`, width: `${CARD.width}px`, height: `${CARD.height}px` }} chosen={n.id === chosen} choose={() => choose(n.id === chosen ? null : n.id)} busiest={n === busiest && (speeds.get(n.id)?.busy ?? 0) > 0.5} />
                    ))}
                </div>
            </div>
            {shown ? <Details node={shown} speed={speeds.get(shown.id)} /> : <p class="muted small">Choose an operator to see its keys and its state.</p>}
            <details>
                <summary>As a table, and as text</summary>
                <Table label="Operators" rows={now.nodes.filter((n) => n.figures)} columns={[
                    { name: "title", label: "operator", show: (n) => `${n.title} (${n.figures.name})` },
                    { name: "in", label: "in", number: true, show: (n) => rate(speeds.get(n.id)?.rowsIn) },
                    { name: "out", number: true, show: (n) => rate(speeds.get(n.id)?.rowsOut) },
                    { name: "busy", number: true, show: (n) => percent(speeds.get(n.id)?.busy) },
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

function Operator({ node, speed, style, chosen, choose, busiest }) {
    const { figures } = node;
    return (
        <button class={`operator ${figures ? "" : "step"} ${chosen ? "chosen" : ""} ${busiest ? "busiest" : ""}`} style={style} onClick={choose} aria-pressed={chosen}>
            <span class="title"><b>{node.title}</b>{busiest && <span class="badge">busiest</span>}</span>
            <span class="detail">{[node.detail, ...chained(node)].join(" → ")}</span>
            {figures && (
                <span class="numbers">
                    <span title="rows in, a second">→ {speed ? rate(speed.rowsIn) : "…"}</span>
                    <span title="rows out, a second">{speed ? rate(speed.rowsOut) : "…"} →</span>
                    <span title="part of one worker's time"><Bar part={speed?.busy ?? 0} label={`${node.title} busy`} tone={(speed?.busy ?? 0) > 0.8 ? "bad" : (speed?.busy ?? 0) > 0.5 ? "warn" : ""} /> {percent(speed?.busy)}</span>
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
                    <div><dt>time</dt><dd>{duration(figures.ms / 1000)} · {percent(speed?.busy)}</dd></div>
                </dl>
            )}
        </div>
    );
}
