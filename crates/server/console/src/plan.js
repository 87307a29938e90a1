// EXPLAIN ANALYZE MATERIALIZED VIEW as a tree: what the view's dataflow page draws.

const FIGURES = /^(.+ \d+|.+): (\d+) rows in, (\d+) out(?:, state of (\d+) rows in (\d+) bytes)?, ([\d.]+) ms(?:, behind for ([\d.]+) ms)?(?:, (\d+) rows wait)?$/;
const NOTES = /^(state|rows (?:final|leave)|late|key)\b/;

/** The node at the root, and all nodes in order. Each: { title, detail, notes, figures, inputs, steps, depth, id }. */
export function parsePlan(lines) {
    const nodes = [], open = [];
    for (const line of lines) {
        const text = line.trimStart(), depth = (line.length - text.length) / 2;
        if (!text || text.startsWith("Running since")) continue;
        while (open.length && open.at(-1).depth >= depth) open.pop();
        const above = open.at(-1);
        const figures = text.match(FIGURES);
        if (figures && above) {
            const [, name, rowsIn, rowsOut, stateRows, stateBytes, ms, behind, waiting] = figures;
            above.figures = {
                name, rowsIn: +rowsIn, rowsOut: +rowsOut, stateRows: stateRows == null ? null : +stateRows, stateBytes: stateBytes == null ? null : +stateBytes,
                ms: +ms, behind: +(behind ?? 0), waiting: +(waiting ?? 0),
            };
            continue;
        }
        if ((NOTES.test(text) || !/^[A-Z]/.test(text)) && above) {
            above.notes.push(text);
            continue;
        }
        const at = text.indexOf(":");
        const node = { id: nodes.length, depth, title: at < 0 ? text : text.slice(0, at), detail: at < 0 ? "" : text.slice(at + 1).trim(), notes: [], figures: null, inputs: [], steps: [] };
        above?.inputs.push(node);
        nodes.push(node);
        open.push(node);
    }
    return merged(nodes[0], nodes);
}

/** Steps without figures run with the operator below them: they stand in its card. */
function merged(root, nodes) {
    const gone = new Set();
    const real = (node) => {
        while (node.depth > 0 && !node.figures && node.inputs.length === 1 && node.title !== "Union") {
            const [input] = node.inputs;
            input.steps.unshift(node);
            input.steps.unshift(...node.steps);
            gone.add(node);
            node = input;
        }
        node.inputs = node.inputs.map(real);
        return node;
    };
    return { root: root && real(root), nodes: nodes.filter((n) => !gone.has(n)) };
}

export const CARD = { width: 232, height: 134, gap: 16, across: 36 };

/** Places of nodes: the sources on the left, the view on the right. */
export function layout(root) {
    let row = 0;
    const depth = (node) => 1 + Math.max(0, ...node.inputs.map(depth));
    const columns = depth(root);
    (function place(node, column) {
        node.column = columns - 1 - column;
        for (const input of node.inputs) place(input, column + 1);
        node.row = node.inputs.length ? (node.inputs[0].row + node.inputs.at(-1).row) / 2 : row++;
    })(root, 0);
    return { columns, rows: row };
}
