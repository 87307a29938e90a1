// A result as a grid: values as PostgreSQL writes them, NULL told apart from text; a column's name sorts by it.
import { useState } from "preact/hooks";
import { Table } from "./parts.jsx";
import { isNumber } from "./pages/live.jsx";

/** Rows by one column; NULLs last. */
function sorted(rows, { at, down }, numbers) {
    const compare = numbers ? (a, b) => a - b : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return [...rows].sort((a, b) => (a[at] == null ? 1 : b[at] == null ? -1 : (down ? -1 : 1) * compare(a[at], b[at])));
}

export function Grid({ columns, rows, label }) {
    const [order, setOrder] = useState(null);
    const shown = order && columns[order.at] ? sorted(rows, order, isNumber(columns[order.at])) : rows;
    const turn = (at) => setOrder(order?.at !== at ? { at, down: false } : order.down ? null : { at, down: true });
    return (
        <Table
            label={label}
            rows={shown}
            empty={<p class="muted">No rows.</p>}
            columns={columns.map((c, at) => ({
                name: `${at}`,
                label: <button class="sort" title="sort" onClick={() => turn(at)}>{c.name} <span class="type">{c.type}</span>{order?.at === at && <span aria-hidden="true"> {order.down ? "↓" : "↑"}</span>}</button>,
                sorted: order?.at === at ? (order.down ? "descending" : "ascending") : undefined,
                number: isNumber(c),
                show: (row) => (row[at] == null ? <span class="null">NULL</span> : <span class="cell" title={row[at].length > 60 ? row[at] : undefined}>{row[at]}</span>),
            }))}
        />
    );
}
