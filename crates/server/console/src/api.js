// What the console asks the server: statements, metrics, live changes. Nothing else.
import { useEffect, useRef, useState } from "preact/hooks";

/** Runs statements; gives all results, throws the error with SQLSTATE, hint and position. */
export async function run(sql, { limit, timeout, signal } = {}) {
    const response = await fetch("/api/sql", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ sql, limit, timeout_ms: timeout }),
        signal,
    });
    if (!response.ok) throw { message: (await response.text()).trim() || response.statusText };
    return response.json();
}

/** The rows of one statement as objects. */
export async function rows(sql, options) {
    const answer = await run(sql, { timeout: 60000, ...options });
    if (answer.error) throw answer.error;
    return objects(answer.results.at(-1));
}

export const objects = (result) =>
    result.rows.map((row) => Object.fromEntries(row.map((value, at) => [result.columns[at].name, value])));

/**
 * Several statements in one request, asked again every `every` ms while the page is looked at.
 * Gives { data: [rows, ...] or null, error }.
 */
export function useRows(statements, every = 2000) {
    const sql = [].concat(statements).join(";\n");
    const [state, set] = useState({ data: null, error: null });
    const again = useRef(() => {});
    useEffect(() => {
        let timer = 0, gone = false;
        const control = new AbortController();
        async function ask() {
            clearTimeout(timer);
            try {
                if (!document.hidden) {
                    const answer = await run(sql, { timeout: 60000, signal: control.signal });
                    if (!gone) set({ data: answer.error ? null : answer.results.map(objects), error: answer.error ?? null, at: Date.now() });
                }
            } catch (error) {
                if (!gone && error.name !== "AbortError") set((old) => ({ ...old, error }));
            }
            if (!gone && every) timer = setTimeout(ask, every);
        }
        again.current = ask;
        set({ data: null, error: null });
        ask();
        return () => {
            gone = true;
            clearTimeout(timer);
            control.abort();
        };
    }, [sql, every]);
    return { ...state, again: () => again.current() };
}

/** Prometheus' text as { name: [{ labels, value }] }. */
export function parseMetrics(text) {
    const found = {};
    for (const line of text.split("\n")) {
        const match = line.match(/^millrace_(\w+)(?:\{(.*)\})? (\S+)$/);
        if (!match) continue;
        const labels = {};
        for (const [, name, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
            labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
        (found[match[1]] ??= []).push({ labels, value: +match[3] });
    }
    return found;
}

/**
 * Follows a view. `content` is a map from a row's JSON to { row, weight }; it only changes when an epoch is complete,
 * so what is drawn is always one moment. Gives a function that ends it.
 */
export function follow(view, { begin, moment, failed, waiting }) {
    const source = new EventSource(`/api/subscribe?view=${encodeURIComponent(view)}`);
    // What has come of an epoch that is not complete yet, and its size.
    let content = new Map(), pending = [], bytes = 0;
    const tooLarge = () => {
        source.close();
        pending = [];
        failed({ message: "The view is too large to be followed here.", hint: "Follow a view with fewer rows." });
    };
    source.addEventListener("begin", (event) => {
        const told = JSON.parse(event.data);
        [pending, bytes] = [[], 0];
        if (told.snapshot) content = new Map();
        begin(told.columns);
    });
    source.addEventListener("rows", (event) => {
        pending.push(JSON.parse(event.data));
        bytes += event.data.length;
        if (bytes > 64 << 20) tooLarge();
    });
    source.addEventListener("progress", (event) => {
        let changes = 0;
        for (const { rows } of pending)
            for (const [weight, row] of rows) {
                changes++;
                const key = JSON.stringify(row), held = content.get(key);
                const now = (held?.weight ?? 0) + weight;
                if (now === 0) content.delete(key);
                else content.set(key, { row, weight: now });
            }
        [pending, bytes] = [[], 0];
        moment(content, JSON.parse(event.data).epoch, changes);
        if (content.size > 200_000) tooLarge();
    });
    source.addEventListener("failure", (event) => {
        source.close();
        failed(JSON.parse(event.data));
    });
    source.onerror = () => waiting?.();
    return () => source.close();
}
