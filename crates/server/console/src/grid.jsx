// A result as a grid: values as PostgreSQL writes them, NULL told apart from text.
import { Table } from "./parts.jsx";
import { isNumber } from "./pages/live.jsx";

export function Grid({ columns, rows, label }) {
    return (
        <Table
            label={label}
            rows={rows}
            empty={<p class="muted">No rows.</p>}
            columns={columns.map((c, at) => ({
                name: `${at}`,
                label: <>{c.name} <span class="type">{c.type}</span></>,
                number: isNumber(c),
                show: (row) => (row[at] == null ? <span class="null">NULL</span> : <span class="cell" title={row[at].length > 60 ? row[at] : undefined}>{row[at]}</span>),
            }))}
        />
    );
}
