// Sources by partition: where reading stands, how far it is behind, what went wrong last.
import { useRows } from "../api.js";
import { clock, count, duration, millis, rate, short } from "../format.js";
import { Empty, Failure, Status, Table } from "../parts.jsx";
import { FIRST_SOURCE } from "./overview.jsx";

const QUERIES = [
    "SELECT * FROM millrace.sources ORDER BY source, partition",
    "SELECT source, partition, \"offset\", reason, \"time\" FROM millrace.source_errors ORDER BY \"time\" DESC LIMIT 20",
];

export function Sources({ query }) {
    const { data, error } = useRows(QUERIES[0], 1000);
    const errors = useRows(QUERIES[1], 5000);
    const partitions = data?.[0] ?? [];
    const names = [...new Set(partitions.map((p) => p.source))].filter((name) => !query.source || name === query.source);
    return (
        <>
            <h1>Sources{query.source && <> · {query.source} <a class="small" href="#/sources">all</a></>}</h1>
            <Failure error={error} />
            {data && !partitions.length && (
                <Empty title="No source yet" sql={FIRST_SOURCE}>
                    <p>A source reads a Kafka topic, or makes rows by itself (<code>datagen</code>, <code>nexmark</code>). It begins to read when a view over it is made.</p>
                </Empty>
            )}
            {names.map((name) => {
                const own = partitions.filter((p) => p.source === name), first = own[0];
                const failed = (errors.data?.[0] ?? []).filter((e) => e.source === name);
                return (
                    <section key={name} class="panel">
                        <header>
                            <h2>{name}</h2> <Status word={first.status} />
                            <span class="spacer" />
                            <span class="muted">{rate(own.reduce((all, p) => all + +p.rate, 0))} · {first.watermark ? `watermark ${clock(first.watermark)}, ${duration(Math.max(0, (Date.now() - millis(first.watermark)) / 1000))} behind` : "no watermark"}</span>
                        </header>
                        {first.error && <Failure error={{ message: first.error, detail: first.since ? `since ${clock(first.since)}` : null }} />}
                        {first.status === "unread" && <p class="muted">No view reads it: nothing is taken from it until one does.</p>}
                        <Table label={`Partitions of ${name}`} rows={own} columns={[
                            { name: "partition" },
                            { name: "rate", label: "rows/s", number: true, show: (p) => short(p.rate) },
                            { name: "lag", number: true, show: (p) => <span class={+p.lag > 100000 ? "warn" : ""}>{p.lag == null ? "–" : count(p.lag)}</span> },
                            { name: "offset", number: true, show: (p) => count(p.offset) },
                            { name: "end_offset", label: "end", number: true, wide: true, show: (p) => count(p.end_offset) },
                            { name: "rows", number: true, wide: true, show: (p) => count(p.rows) },
                            { name: "max_event_time", label: "newest row", number: true, wide: true, show: (p) => clock(p.max_event_time) },
                            { name: "malformed", label: "bad", number: true, show: (p) => count(p.malformed) },
                            { name: "future_rows", label: "in the future", number: true, wide: true, show: (p) => count(p.future_rows) },
                            { name: "idle", wide: true, show: (p) => (p.idle === "t" ? "idle" : "") },
                        ]} />
                        {failed.length > 0 && (
                            <details open={!!query.source}>
                                <summary>Last {failed.length} message{failed.length > 1 ? "s" : ""} that {failed.length > 1 ? "are" : "is"} no row · <a href="#/bad">all</a></summary>
                                <Table label={`Bad messages of ${name}`} rows={failed.slice(0, 8)} columns={[{ name: "time", show: (e) => clock(e.time) }, { name: "partition", number: true }, { name: "offset", number: true, show: (e) => count(e.offset) }, { name: "reason" }]} />
                            </details>
                        )}
                    </section>
                );
            })}
        </>
    );
}
