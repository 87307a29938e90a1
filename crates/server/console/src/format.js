// Numbers as one reads them at a glance: three digits that say something, and a unit.

const whole = new Intl.NumberFormat("en-US");

/** 1,234,567 */
export const count = (n) => (n == null || Number.isNaN(+n) ? "–" : whole.format(Math.round(+n)));

function scaled(n, step, units) {
    let at = 0, value = Math.abs(n);
    while (value >= step && at < units.length - 1) {
        value /= step;
        at++;
    }
    const digits = at === 0 ? (value < 10 && value % 1 ? 1 : 0) : value < 10 ? 2 : value < 100 ? 1 : 0;
    return `${n < 0 ? "−" : ""}${value.toFixed(digits)}${units[at] ? ` ${units[at]}` : ""}`;
}

/** 12.3 k */
export const short = (n) => (n == null || Number.isNaN(+n) ? "–" : scaled(+n, 1000, ["", "k", "M", "G", "T"]));

/** 12.3 k/s */
export const rate = (n) => (n == null ? "–" : `${short(n)}/s`);

/** 12.3 MB */
export const bytes = (n) => (n == null || Number.isNaN(+n) ? "–" : scaled(+n, 1024, ["B", "kB", "MB", "GB", "TB"]));

/** Seconds as 1.2 ms, 3.4 s, 5 min, 2 h. */
export function duration(s) {
    if (s == null || Number.isNaN(+s)) return "–";
    const a = Math.abs(s);
    const digits = (x) => (x < 10 ? 1 : 0);
    if (a < 0.001) return `${Math.round(s * 1e6)} µs`;
    if (a < 1) return `${(s * 1000).toFixed(digits(a * 1000))} ms`;
    if (a < 120) return `${s.toFixed(digits(a))} s`;
    if (a < 7200) return `${(s / 60).toFixed(0)} min`;
    if (a < 172800) return `${(s / 3600).toFixed(digits(a / 3600))} h`;
    return `${(s / 86400).toFixed(0)} d`;
}

/** A timestamptz as the server writes it, in milliseconds since 1970. */
export const millis = (text) => {
    if (!text) return NaN;
    if (/^\d{4}-\d\d-\d\d$/.test(text)) return Date.parse(text);
    const iso = text.replace(" ", "T");
    return Date.parse(/[+-]\d\d$/.test(iso) ? `${iso}:00` : /Z|[+-]\d\d:\d\d$/.test(iso) ? iso : `${iso}Z`);
};

/** 12:03:59 today, else with the date. */
export function clock(text) {
    const at = millis(text);
    if (Number.isNaN(at)) return "–";
    const date = new Date(at), day = date.toISOString().slice(0, 10);
    const time = date.toISOString().slice(11, 19);
    return day === new Date().toISOString().slice(0, 10) ? time : `${day} ${time}`;
}

/** The value below which a part of the values lie. */
export function quantile(values, part) {
    if (!values.length) return null;
    const sorted = [...values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

/** A name as SQL wants it. */
export const quoted = (name) => `"${String(name).replaceAll('"', '""')}"`;
