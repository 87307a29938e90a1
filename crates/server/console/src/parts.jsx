// Small parts that pages share.
import { useState } from "preact/hooks";

const WORDS = {
    running: ["ok", "●"], unread: ["idle", "○"], queued: ["idle", "○"], recovering: ["warn", "◐"], starting: ["warn", "◐"], snapshot: ["warn", "◐"],
    retrying: ["warn", "▲"], unreachable: ["bad", "▲"], refused: ["bad", "▲"], failed: ["bad", "✕"], stopped: ["bad", "✕"],
};

/** A status: a word with a sign and a colour. */
export function Status({ word }) {
    const [kind, sign] = WORDS[word] ?? ["idle", "○"];
    return <span class={`status ${kind}`}><span aria-hidden="true">{sign}</span> {word}</span>;
}

export function Tile({ label, value, note, tone, href }) {
    const inner = (
        <>
            <span class="label">{label}</span>
            <span class="value">{value}</span>
            <span class="note">{note ?? " "}</span>
        </>
    );
    return href ? <a class={`tile ${tone ?? ""}`} href={href}>{inner}</a> : <div class={`tile ${tone ?? ""}`}>{inner}</div>;
}

/** What a share looks like; the number stands beside it. */
export function Bar({ part, label, tone }) {
    const percent = Math.max(0, Math.min(100, part * 100));
    return (
        <span class={`bar ${tone ?? ""}`} role="progressbar" aria-label={label} aria-valuemin="0" aria-valuemax="100" aria-valuenow={Math.round(percent)}>
            <span style={{ width: `${percent}%` }} />
        </span>
    );
}

export function Failure({ error, title }) {
    if (!error) return null;
    return (
        <div class="failure" role="alert">
            <p>{title}<b>{error.code ? `${error.code} ` : ""}</b>{error.message}</p>
            {error.detail && <p>{error.detail}</p>}
            {error.hint && <p class="hint">{error.hint}</p>}
        </div>
    );
}

export function Copied({ text }) {
    const [done, set] = useState(false);
    const copy = () => navigator.clipboard?.writeText(text).then(() => {
        set(true);
        setTimeout(() => set(false), 1500);
    }, () => {});
    return <button class="quiet" onClick={copy}>{done ? "copied" : "copy"}</button>;
}

/** Nothing is there yet: what to type next. */
export function Empty({ title, children, sql }) {
    return (
        <div class="empty">
            <h2>{title}</h2>
            {children}
            {sql && (
                <div class="sample">
                    <pre>{sql}</pre>
                    <p>
                        <a class="button" href={`#/sql?q=${encodeURIComponent(sql)}`}>Open in the editor</a> <Copied text={sql} />
                    </p>
                </div>
            )}
        </div>
    );
}

/**
 * A table whose rows may be opened. `columns`: [{ name, label, number, show(row), wide }].
 * At 375 px what is not `wide` stays.
 */
export function Table({ label, columns, rows, open, empty }) {
    if (!rows.length) return empty ?? null;
    const go = (row) => open && (location.hash = open(row));
    return (
        <div class="scroll" tabindex="0" role="region" aria-label={label}>
            <table>
                <thead>
                    <tr>{columns.map((c) => <th key={c.name} scope="col" class={`${c.number ? "number" : ""} ${c.wide ? "wide" : ""}`} title={c.title} aria-sort={c.sorted}>{c.label ?? c.name}</th>)}</tr>
                </thead>
                <tbody>
                    {rows.map((row, at) => (
                        <tr key={at} class={open ? "opens" : ""} onClick={(e) => !e.target.closest("a") && !getSelection().toString() && go(row)}>
                            {columns.map((c, first) => {
                                const shown = c.show ? c.show(row) : row[c.name] ?? <span class="null">–</span>;
                                return (
                                    <td key={c.name} class={`${c.number ? "number" : ""} ${c.wide ? "wide" : ""}`}>
                                        {open && first === 0 ? <a href={open(row)}>{shown}</a> : shown}
                                    </td>
                                );
                            })}
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}
