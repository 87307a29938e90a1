// Lines over time. uPlot comes when the first chart is drawn, after the page is there.
import { useEffect, useRef, useState } from "preact/hooks";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Colours of lines, told apart with colour-blind eyes; each line also has another dash. */
export const colours = () => [1, 2, 3, 4, 5, 6].map((n) => style(`--line-${n}`));
const pad = (n) => String(n).padStart(2, "0");
/** 12:03:59, UTC as all times of the server. */
const time = (s) => {
    const date = new Date(s * 1000);
    return `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
};
/** Steps of an axis of bytes. */
const BINARY = Array.from({ length: 42 }, (_, n) => 2 ** n);
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];

/** `data`: [times in seconds, values, ...]; `series`: [{ label, value: text of a number, fill }]; `binary` for bytes, `free` for an axis without 0. */
export function Chart({ data, series, height = 150, label, theme, binary, free }) {
    const place = useRef(), plot = useRef();
    const [ready, setReady] = useState(false);
    const shape = series.map((s) => s.label).join("\n");
    useEffect(() => {
        let gone = false, watch;
        import("uplot").then(({ default: UPlot }) => {
            if (gone || !place.current) return;
            const lines = colours(), text = style("--muted"), grid = style("--grid");
            const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
            const format = series[0]?.value ?? String;
            const options = {
                width: place.current.clientWidth || 300,
                height,
                cursor: { points: { size: 6 }, y: false },
                legend: { show: false },
                padding: [8, 24, 0, 0],
                scales: { x: { time: false, range: (_, low, high) => (low == null ? [0, 60] : [Math.min(low, high - 30), high]) }, y: { range: (_, low, high) => (low == null ? [0, 1] : free ? [low - (high - low || 1) * 0.1, high + (high - low || 1) * 0.1] : [Math.min(0, low), high <= 0 ? 10 : high * 1.1]) } },
                axes: [{ ...axis, space: 76, size: 24, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400], values: (_, ticks) => ticks.map(time) }, { ...axis, size: 58, space: 28, ...(binary ? { incrs: BINARY } : {}), values: (_, ticks) => ticks.map(format) }],
                series: [
                    {},
                    ...series.map((s, at) => ({
                        label: s.label,
                        stroke: lines[at % lines.length],
                        width: 1.5,
                        dash: DASHES[at % DASHES.length],
                        fill: s.fill ? `${lines[at % lines.length]}22` : undefined,
                        points: { show: false },
                        spanGaps: false,
                    })),
                ],
            };
            plot.current = new UPlot(options, data, place.current);
            watch = new ResizeObserver(([entry]) => entry.contentRect.width && plot.current?.setSize({ width: Math.floor(entry.contentRect.width), height }));
            watch.observe(place.current);
            setReady(true);
        });
        return () => {
            gone = true;
            watch?.disconnect();
            plot.current?.destroy();
            plot.current = null;
        };
    }, [shape, height, theme]);
    useEffect(() => {
        if (ready) plot.current?.setData(data);
    });
    const last = (at) => data[at + 1]?.findLast((v) => v != null);
    return (
        <figure class="chart">
            <figcaption>
                <span>{label}</span>
                <span class="legend">
                    {series.map((s, at) => (
                        <span key={s.label}>
                            <svg width="18" height="8" aria-hidden="true">
                                <line x1="0" x2="18" y1="4" y2="4" stroke={`var(--line-${(at % 6) + 1})`} stroke-width="2" stroke-dasharray={DASHES[at % 6].join(" ")} />
                            </svg>
                            {s.label} <b>{last(at) == null ? "–" : s.value(last(at))}</b>
                        </span>
                    ))}
                </span>
            </figcaption>
            <div ref={place} class="plot" style={{ height: `${height}px` }} role="img" aria-label={`${label}: ${series.map((s, at) => `${s.label} ${last(at) == null ? "no value" : s.value(last(at))}`).join(", ")}`} />
        </figure>
    );
}
