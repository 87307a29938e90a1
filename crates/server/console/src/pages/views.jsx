// All views, and those that are being filled.
import { useRows } from "../api.js";
import { Empty, Failure, Table } from "../parts.jsx";
import { FIRST_VIEW, Jobs, VIEW_COLUMNS } from "./overview.jsx";

const QUERIES = [
    "SELECT * FROM millrace.views ORDER BY view",
    "SELECT job, view, status, percent FROM millrace.jobs",
    "SELECT view, sum(busy_us) AS busy_us, sum(rows_in) AS rows_in, max(since) AS since FROM millrace.operators GROUP BY view",
];

export function Views() {
    const { data, error } = useRows(QUERIES, 2000);
    const [views, jobs, work] = data ?? [[], [], []];
    const busy = new Map(work.map((w) => [w.view, w]));
    return (
        <>
            <h1>Views</h1>
            <Failure error={error} />
            {jobs.length > 0 && <Jobs jobs={jobs} />}
            {data && !views.length && !jobs.length && (
                <Empty title="No materialized view yet" sql={FIRST_VIEW}>
                    <p>A materialized view is a query whose result follows each change of its input.</p>
                </Empty>
            )}
            <Table label="Views" rows={views} open={(v) => `#/view/${encodeURIComponent(v.view)}`} columns={[
                ...VIEW_COLUMNS,
                { name: "epoch", number: true, wide: true },
                { name: "time", label: "work so far", title: "time of all workers since the server began to run it", number: true, wide: true, show: (v) => seconds(busy.get(v.view)?.busy_us) },
                { name: "error", wide: true, show: (v) => v.error ?? "" },
            ]} />
        </>
    );
}

const seconds = (us) => (us == null ? "–" : `${(us / 1e6).toFixed(us < 1e7 ? 2 : 0)} s`);
