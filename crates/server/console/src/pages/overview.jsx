// Is all well, and how fast does it go: figures of now, their last minutes, sources and views that matter.
import { useRows } from "../api.js";
import { Chart } from "../chart.jsx";
import { bytes, count, duration, millis, quantile, rate, short } from "../format.js";
import { live, one, total, useLive } from "../live.js";
import { Bar, Empty, Failure, Status, Table, Tile } from "../parts.jsx";

export const FIRST_SOURCE = `CREATE SOURCE readings (id BIGINT, value BIGINT, ts TIMESTAMPTZ,
  WATERMARK FOR ts AS ts - INTERVAL '1 second')
WITH (connector = 'datagen', rows.per.second = 1000,
  fields.id.kind = 'random', fields.id.min = 1, fields.id.max = 20,
  fields.value.kind = 'sensor', fields.value.min = 0, fields.value.max = 100,
  fields.ts.kind = 'now');`;

export const FIRST_VIEW = `CREATE MATERIALIZED VIEW readings_10s AS
SELECT window_start, id, count(*) AS n, avg(value) AS avg
FROM TUMBLE(readings, ts, INTERVAL '10 seconds')
GROUP BY window_start, id;`;

const QUERIES = [
    "SELECT source, sum(rate) AS rate, sum(lag) AS lag, sum(malformed) AS malformed, max(watermark) AS watermark, min(status) AS status, max(error) AS error FROM millrace.sources GROUP BY source ORDER BY source",
    "SELECT view, status, rows_at_most, state_bytes, memory_bytes, late_rows, error FROM millrace.views ORDER BY view",
    "SELECT sealed_at, complete_us FROM millrace.epochs ORDER BY epoch",
    "SELECT job, view, status, percent FROM millrace.jobs",
    "SELECT sink, view, status, lag_epochs FROM millrace.sinks ORDER BY sink",
];

/** Of the last epochs: when they were sealed, and after how long all views showed them. */
export function freshness(epochs) {
    const done = (epochs ?? []).filter((e) => e.complete_us != null);
    const took = done.map((e) => e.complete_us / 1e6);
    return { at: done.map((e) => millis(e.sealed_at) / 1000), took, p50: quantile(took, 0.5), p99: quantile(took, 0.99) };
}

const BEHIND = "SELECT view, operator, sum(rows_waiting) AS n FROM millrace.operators WHERE rows_waiting > 0 GROUP BY view, operator ORDER BY n DESC LIMIT 1";

/** Which operator the sources wait for, while they wait for results. */
export function HeldUp() {
    const { data } = useRows(BEHIND, 2000);
    const [found] = data?.[0] ?? [], inFlight = one("epochs_in_flight") ?? 0;
    if (!found || inFlight < 4) return null;
    return (
        <p class="notice" role="status">
            {count(inFlight)} epochs wait for <b>{found.operator}</b> of <a href={`#/view/${encodeURIComponent(found.view)}`}>{found.view}</a>, where {count(found.n)} rows wait.
        </p>
    );
}

export function Overview({ theme }) {
    useLive();
    const { data, error } = useRows(QUERIES, 2000);
    const [sources, views, epochs, jobs, sinks] = data ?? [[], [], [], [], []];
    const fresh = freshness(epochs);
    const resident = one("memory_bytes", { kind: "resident" }), limit = one("memory_limit_bytes");
    const failed = total("views_failed"), lag = total("source_lag");
    const down = (live.now?.source_up ?? []).filter((s) => s.value === 0).length;
    const bad = total("source_errors_total"), late = total("late_rows_total");
    return (
        <>
            <h1>Overview</h1>
            <Failure error={error} />
            <HeldUp />
            <div class="tiles">
                <Tile label="Rows in" value={live.now ? rate(total("source_rows_per_second")) : "–"} note={`${short(total("source_rows_total"))} in all`} href="#/sources" />
                <Tile label="Lag" value={live.now ? short(lag) : "–"} note={down ? `${down} source${down > 1 ? "s" : ""} away` : "rows not read yet"} tone={down ? "bad" : lag > Math.max(1000, 10 * total("source_rows_per_second")) ? "warn" : ""} href="#/sources" />
                <Tile label="Fresh within" value={duration(fresh.p99)} note={`p99 · median ${duration(fresh.p50)}`} tone={fresh.p99 > 1 ? "warn" : ""} />
                <Tile label="Memory" value={bytes(resident)} note={<><Bar part={resident / limit} label="memory of the limit" tone={resident > limit * 0.75 ? "warn" : ""} /> of {bytes(limit)}</>} tone={resident > limit ? "bad" : ""} />
                <Tile label="Views" value={live.now ? count(views.length) : "–"} note={failed ? `${failed} failed` : jobs.length ? `${jobs.length} being filled` : views.length ? "all run" : "none yet"} tone={failed ? "bad" : ""} href="#/views" />
                <Tile label="Not taken" value={live.now ? short(bad + late) : "–"} note={`${short(bad)} bad · ${short(late)} late`} tone={bad + late ? "warn" : ""} href="#/bad" />
            </div>
            {data && !sources.length && !views.length && (
                <Empty title="Nothing flows yet" sql={`${FIRST_SOURCE}\n\n${FIRST_VIEW}`}>
                    <p>A source brings rows in, a materialized view keeps a query over them up to date. This makes a thousand readings a second, and windows over them:</p>
                </Empty>
            )}
            {(sources.length > 0 || views.length > 0) && (
                <>
                    <div class="charts">
                        <Chart theme={theme} label="Rows read" data={[live.at, ...live.bySource.values()]} series={[...live.bySource.keys()].slice(0, 6).map((name) => ({ label: name, value: rate, fill: live.bySource.size === 1 }))} />
                        <Chart theme={theme} label="From seal to visible" data={[fresh.at, fresh.took]} series={[{ label: "epoch", value: duration, fill: true }]} />
                        <Chart theme={theme} binary label="Memory" data={[live.at, live.resident, live.state, live.cache]} series={[{ label: "process", value: bytes }, { label: "state", value: bytes }, { label: "cache", value: bytes }]} />
                        <Chart theme={theme} label="Lag" data={[live.at, live.lag]} series={[{ label: "rows not read", value: short, fill: true }]} />
                    </div>
                    {jobs.length > 0 && <Jobs jobs={jobs} />}
                    <section>
                        <h2><a href="#/sources">Sources</a></h2>
                        <Table label="Sources" rows={sources} open={(r) => `#/sources?source=${encodeURIComponent(r.source)}`} empty={<p class="muted">No source yet.</p>} columns={[
                            { name: "source" },
                            { name: "status", show: (r) => <Status word={r.status} /> },
                            { name: "rate", label: "rows/s", number: true, show: (r) => short(r.rate) },
                            { name: "lag", number: true, show: (r) => short(r.lag) },
                            { name: "malformed", label: "bad", number: true, wide: true, show: (r) => count(r.malformed) },
                            { name: "behind", label: "watermark", title: "how far the watermark is behind the clock", number: true, wide: true, show: (r) => (r.watermark ? `${duration(Math.max(0, (Date.now() - millis(r.watermark)) / 1000))} behind` : "–") },
                        ]} />
                    </section>
                    <section>
                        <h2><a href="#/views">Views</a></h2>
                        <Table label="Views" rows={views} open={(r) => `#/view/${encodeURIComponent(r.view)}`} empty={<p class="muted">No view yet: <a href={`#/sql?q=${encodeURIComponent("CREATE MATERIALIZED VIEW v AS\nSELECT ... ")}`}>write one</a>.</p>} columns={VIEW_COLUMNS} />
                    </section>
                    {sinks.length > 0 && (
                        <section>
                            <h2>Sinks</h2>
                            <Table label="Sinks" rows={sinks} columns={[{ name: "sink" }, { name: "status", show: (r) => <Status word={r.status} /> }, { name: "view", label: "follows" }, { name: "lag_epochs", label: "epochs behind", number: true, show: (r) => count(r.lag_epochs) }]} />
                        </section>
                    )}
                </>
            )}
            <Server />
        </>
    );
}

export const VIEW_COLUMNS = [
    { name: "view" },
    { name: "status", show: (r) => <Status word={r.status} /> },
    { name: "rows_at_most", label: "rows", title: "at most so many", number: true, show: (r) => short(r.rows_at_most) },
    { name: "state_bytes", label: "state", number: true, show: (r) => bytes(r.state_bytes) },
    { name: "memory_bytes", label: "not on disk yet", number: true, wide: true, show: (r) => bytes(r.memory_bytes) },
    { name: "late_rows", label: "late", number: true, wide: true, show: (r) => count(r.late_rows) },
];

export function Jobs({ jobs }) {
    return (
        <section>
            <h2><a href="#/jobs">Being filled</a></h2>
            {jobs.map((job) => (
                <div class="job" key={job.job}>
                    <span class="name">{job.view}</span>
                    <Bar part={(job.percent ?? 0) / 100} label={`${job.view}, filled`} tone={job.status === "failed" ? "bad" : ""} />
                    <span class="percent">{job.percent == null ? "…" : `${job.percent} %`}</span>
                    <Status word={job.status} />
                </div>
            ))}
        </section>
    );
}

function Server() {
    const checkpoint = one("checkpoint_age_seconds");
    const facts = [
        ["epoch", count(one("epoch"))],
        ["epochs in flight", count(one("epochs_in_flight"))],
        ["last checkpoint", checkpoint == null ? "–" : `${duration(checkpoint)} ago`],
        ["on disk", bytes(one("segment_bytes"))],
        ["disk free", bytes(one("disk_free_bytes"))],
        ["sessions", count(one("connections"))],
        ["version", live.now?.build_info?.[0]?.labels.version ?? "–"],
    ];
    return <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}
