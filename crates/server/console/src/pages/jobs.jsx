// Views that are being filled with history.
import { useState } from "preact/hooks";
import { rows, useRows } from "../api.js";
import { count } from "../format.js";
import { Bar, Empty, Failure, Status, Table } from "../parts.jsx";

const QUERY = "SELECT * FROM millrace.jobs ORDER BY job";

export function Jobs() {
    const { data, error, again } = useRows(QUERY, 1000);
    const [failure, fail] = useState(null);
    const jobs = data?.[0] ?? [];
    const cancel = (job) => {
        if (!confirm(`Give up filling ${job.view}?`)) return;
        rows(`CANCEL JOB ${+job.job}`).then(() => fail(null), fail).finally(again);
    };
    return (
        <>
            <h1>Jobs</h1>
            <Failure error={error ?? failure} />
            {data && !jobs.length && (
                <Empty title="No view is being filled" sql={"SET background_ddl = true;\nCREATE MATERIALIZED VIEW v AS SELECT ...;"}>
                    <p>A view that is made over much history is filled by a job, which goes on after a crash. With <code>background_ddl</code> the statement returns at once, and the job is here until the view has caught up:</p>
                </Empty>
            )}
            <Table label="Jobs" rows={jobs} columns={[
                { name: "job", number: true, wide: true }, { name: "view" }, { name: "status", show: (j) => <Status word={j.status} /> },
                { name: "percent", label: "filled", show: (j) => <span class="nowrap"><Bar part={(j.percent ?? 0) / 100} label={`${j.view}, filled`} tone={j.status === "failed" ? "bad" : ""} /> {j.percent == null ? "…" : `${j.percent} %`}</span> },
                { name: "rows_read", label: "read", number: true, wide: true, show: (j) => count(j.rows_read) }, { name: "rows_to_read", label: "of", number: true, wide: true, show: (j) => count(j.rows_to_read) },
                { name: "rows_kept", label: "kept", title: "what a crash would not lose", number: true, wide: true, show: (j) => count(j.rows_kept) },
                { name: "error", wide: true, show: (j) => j.error ?? "" },
                { name: "cancel", label: "", show: (j) => <button class="quiet nowrap" onClick={() => cancel(j)}>give up</button> },
            ]} />
        </>
    );
}
