// The figures of the last five minutes: /metrics once a second, while somebody looks.
import { useEffect, useState } from "preact/hooks";
import { parseMetrics } from "./api.js";

const KEPT = 300;

export const live = { now: null, at: [], rate: [], lag: [], resident: [], state: [], content: [], cache: [], inFlight: [], bySource: new Map(), offline: null };
const listeners = new Set();

const sum = (samples) => (samples ?? []).reduce((all, s) => all + s.value, 0);
export const one = (name, wanted) => live.now?.[name]?.find((s) => !wanted || Object.entries(wanted).every(([k, v]) => s.labels[k] === v))?.value;
export const total = (name) => sum(live.now?.[name]);

function push(list, value) {
    list.push(value);
    if (list.length > KEPT) list.shift();
}

async function ask() {
    try {
        if (!document.hidden) {
            const response = await fetch("/metrics");
            if (!response.ok) throw new Error(response.statusText);
            live.now = parseMetrics(await response.text());
            live.offline = null;
            push(live.at, Date.now() / 1000);
            push(live.rate, sum(live.now.source_rows_per_second));
            push(live.lag, sum(live.now.source_lag));
            for (const kind of ["resident", "state", "content", "cache"]) push(live[kind], one("memory_bytes", { kind }) ?? 0);
            push(live.inFlight, one("epochs_in_flight") ?? 0);
            const rates = new Map();
            for (const { labels, value } of live.now.source_rows_per_second ?? []) rates.set(labels.source, (rates.get(labels.source) ?? 0) + value);
            for (const [source, value] of rates) {
                if (!live.bySource.has(source)) live.bySource.set(source, Array(live.at.length - 1).fill(null));
                push(live.bySource.get(source), value);
            }
            for (const [source, values] of live.bySource) if (!rates.has(source)) push(values, null);
        }
    } catch (error) {
        live.offline ??= Date.now();
        void error;
    }
    for (const tell of listeners) tell();
    setTimeout(ask, 1000);
}

let started = false;

/** Draws the component again with each sample. */
export function useLive() {
    const [, set] = useState(0);
    useEffect(() => {
        const tell = () => set((n) => n + 1);
        listeners.add(tell);
        if (!started) {
            started = true;
            ask();
        }
        return () => listeners.delete(tell);
    }, []);
    return live;
}
