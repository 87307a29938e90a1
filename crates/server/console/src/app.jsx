// The shell: pages by the part of the address behind #, keys, theme, palette.
import { render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { rows } from "./api.js";
import { count, duration } from "./format.js";
import { live, one, useLive } from "./live.js";
import { Overview } from "./pages/overview.jsx";
import { Sources } from "./pages/sources.jsx";
import { Views } from "./pages/views.jsx";
import { View } from "./pages/view.jsx";
import { Live } from "./pages/live.jsx";
import { Sql } from "./pages/sql.jsx";
import { Bad } from "./pages/bad.jsx";
import { Jobs } from "./pages/jobs.jsx";
import "uplot/dist/uPlot.min.css";
import "./style.css";

const PAGES = [
    { key: "o", path: "", name: "Overview" },
    { key: "s", path: "sources", name: "Sources" },
    { key: "v", path: "views", name: "Views" },
    { key: "l", path: "live", name: "Live" },
    { key: "q", path: "sql", name: "SQL" },
    { key: "b", path: "bad", name: "Late & bad" },
    { key: "j", path: "jobs", name: "Jobs" },
];
const THEMES = ["system", "light", "dark"];

function place() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [page, ...rest] = path.split("/");
    const name = rest.length ? decodeURIComponent(rest.join("/")) : undefined;
    return { page, name, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

function savedTheme() {
    try {
        return localStorage.getItem("millrace.theme") ?? "system";
    } catch {
        return "system";
    }
}

function App() {
    const [at, setAt] = useState(place);
    const [theme, setTheme] = useState(savedTheme);
    const [open, setOpen] = useState(null);
    const pending = useRef(0);
    useLive();
    useEffect(() => {
        const moved = () => {
            setAt(place());
            setOpen(null);
            document.getElementById("main")?.scrollTo(0, 0);
        };
        addEventListener("hashchange", moved);
        return () => removeEventListener("hashchange", moved);
    }, []);
    useEffect(() => {
        if (theme === "system") delete document.documentElement.dataset.theme;
        else document.documentElement.dataset.theme = theme;
        try {
            localStorage.setItem("millrace.theme", theme);
        } catch {
            // It lasts as long as the page.
        }
    }, [theme]);
    useEffect(() => {
        document.title = `${PAGES.find((p) => p.path === at.page)?.name ?? at.name ?? "Millrace"} · Millrace`;
    }, [at.page, at.name]);
    const turn = () => setTheme((now) => THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
    useEffect(() => {
        const pressed = (e) => {
            if ((e.ctrlKey || e.metaKey) && e.key === "k") {
                e.preventDefault();
                return setOpen((o) => (o === "palette" ? null : "palette"));
            }
            if (e.key === "Escape") return setOpen(null);
            const typing = e.composedPath()[0].closest?.("input, textarea, select, [contenteditable=true]") || e.composedPath().some((n) => n.isContentEditable);
            if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
            const target = Date.now() - pending.current < 1200 && PAGES.find((p) => p.key === e.key);
            pending.current = e.key === "g" ? Date.now() : 0;
            if (target) {
                e.preventDefault();
                location.hash = `#/${target.path}`;
            } else if (e.key === "?") setOpen("help");
            else if (e.key === "t") turn();
            else if (e.key === "/") {
                e.preventDefault();
                setOpen("palette");
            }
        };
        addEventListener("keydown", pressed);
        return () => removeEventListener("keydown", pressed);
    });
    return (
        <>
            <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById("main").focus())}>To the content</a>
            <Bar at={at} theme={theme} turn={turn} open={setOpen} />
            {live.offline && <div class="away" role="alert">The server does not answer. What is shown is of {new Date(live.offline).toISOString().slice(11, 19)}; the page goes on when it is back.</div>}
            <main id="main" tabindex="-1">
                <Page at={at} theme={theme} />
            </main>
            {open === "help" && <Help close={() => setOpen(null)} />}
            {open === "palette" && <Palette close={() => setOpen(null)} turn={turn} />}
        </>
    );
}

function Page({ at, theme }) {
    switch (at.page) {
        case "": return <Overview theme={theme} />;
        case "sources": return <Sources query={at.query} />;
        case "views": return <Views />;
        case "view": return <View key={at.name} name={at.name ?? ""} />;
        case "live": return <Live name={at.name} theme={theme} />;
        case "sql": return <Sql query={at.query} />;
        case "bad": return <Bad />;
        case "jobs": return <Jobs />;
        default: return <><h1>There is no such page</h1><p><a href="#/">Overview</a></p></>;
    }
}

function Bar({ at, theme, turn, open }) {
    useLive();
    const page = at.page === "view" ? "views" : at.page;
    const nav = useRef();
    useEffect(() => {
        const here = nav.current.querySelector("[aria-current]");
        if (here) nav.current.scrollLeft = here.offsetLeft - nav.current.offsetLeft - 60;
    }, [page]);
    const ready = one("ready"), jobs = one("jobs", { state: "running" }) ?? 0;
    const state = live.offline ? ["bad", "✕", `no answer for ${duration((Date.now() - live.offline) / 1000)}`] : ready == null ? ["idle", "○", "asking"] : ready ? ["ok", "●", "ready"] : ["warn", "◐", "recovering"];
    return (
        <header class="bar-top">
            <a class="brand" href="#/"><svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true"><path d="M1 5q3.5-3 7 0t7 0M1 11q3.5-3 7 0t7 0" /></svg>Millrace</a>
            <nav aria-label="Pages" ref={nav}>
                {PAGES.map((p) => (
                    <a key={p.path} href={`#/${p.path}`} aria-current={p.path === page ? "page" : undefined} title={`g ${p.key}`}>
                        {p.name}
                        {p.path === "jobs" && jobs > 0 && <span class="badge">{jobs}</span>}
                    </a>
                ))}
            </nav>
            <div class="side">
                <span class={`status ${state[0]}`} role="status"><span aria-hidden="true">{state[1]}</span> {state[2]}</span>
                <span class="muted epoch" title="the last sealed epoch">epoch {count(one("epoch"))}</span>
                <button class="quiet" onClick={() => open("palette")} title="Ctrl K, or /">Go to…</button>
                <button class="quiet" onClick={turn} title="t"><span class="wide">theme: </span>{theme}</button>
                <button class="quiet" onClick={() => open("help")} title="?" aria-label="Keys">?</button>
            </div>
        </header>
    );
}

function Dialog({ label, close, children }) {
    const box = useRef();
    // Shown before the next key comes: an effect after the frame would leave the keys until then to the page.
    useLayoutEffect(() => {
        const dialog = box.current;
        dialog.showModal();
        // Gives the focus back. Its event comes later, when another dialog may be open: it is not heard then.
        return () => dialog.close();
    }, []);
    return (
        <dialog ref={box} aria-label={label} onClose={() => box.current && close()} onClick={(e) => e.target === box.current && close()}>
            {children}
        </dialog>
    );
}

function Help({ close }) {
    const keys = [...PAGES.map((p) => [`g ${p.key}`, p.name]), ["/  or  Ctrl K", "go to a page, source or view"], ["t", "theme: as the system, light, dark"], ["Ctrl ↵", "run the statement"], ["Esc", "leave the editor, close"], ["?", "this"]];
    return (
        <Dialog label="Keys" close={close}>
            <h2>Keys</h2>
            <dl class="keys">{keys.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
            <p><button class="button" onClick={close} autofocus>Close</button></p>
        </Dialog>
    );
}

function Palette({ close, turn }) {
    const [text, setText] = useState("");
    const [chosen, choose] = useState(0);
    const [objects, setObjects] = useState([]);
    useEffect(() => {
        rows("SELECT 'view' AS kind, view AS name FROM millrace.views UNION ALL SELECT DISTINCT 'source', source FROM millrace.sources").then(setObjects, () => {});
    }, []);
    const all = [
        ...PAGES.map((p) => ({ label: p.name, kind: "page", go: () => (location.hash = `#/${p.path}`) })),
        ...objects.flatMap((o) => (o.kind === "view" ? [
            { label: o.name, kind: "view", go: () => (location.hash = `#/view/${encodeURIComponent(o.name)}`) },
            { label: o.name, kind: "live", go: () => (location.hash = `#/live/${encodeURIComponent(o.name)}`) },
        ] : [{ label: o.name, kind: "source", go: () => (location.hash = `#/sources?source=${encodeURIComponent(o.name)}`) }])),
        { label: "Change the theme", kind: "do", go: turn },
    ];
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((o) => words.every((w) => `${o.kind} ${o.label}`.toLowerCase().includes(w))).slice(0, 12);
    const at = Math.min(chosen, found.length - 1);
    const pressed = (e) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
        if (step) {
            e.preventDefault();
            choose((at + step + found.length) % Math.max(1, found.length));
        } else if (e.key === "Enter" && found[at]) {
            close();
            found[at].go();
        }
    };
    return (
        <Dialog label="Go to" close={close}>
            <input autofocus role="combobox" aria-expanded="true" aria-controls="found" aria-activedescendant={at >= 0 ? `found-${at}` : undefined} aria-label="Page, source or view" placeholder="Page, source or view" value={text} onInput={(e) => (setText(e.target.value), choose(0))} onKeyDown={pressed} />
            <ul id="found" role="listbox" class="found">
                {found.map((o, n) => (
                    <li key={`${o.kind} ${o.label}`} id={`found-${n}`} role="option" aria-selected={n === at} onClick={() => (close(), o.go())}>
                        {o.label} <span class="muted">{o.kind}</span>
                    </li>
                ))}
                {!found.length && <li class="muted">Nothing has that name.</li>}
            </ul>
        </Dialog>
    );
}

const root = document.getElementById("app");
root.replaceChildren();
render(<App />, root);
performance.mark("console-ready");
