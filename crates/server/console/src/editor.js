// The editor of the SQL page: CodeMirror, which is loaded with the first visit of that page.
// It lives in a shadow root: there it may bring its style sheets without weakening the page's policy.
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, startCompletion } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { PostgreSQL, SQLDialect, sql } from "@codemirror/lang-sql";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";

/** What PostgreSQL's keywords lack. */
const dialect = SQLDialect.define({
    ...PostgreSQL.spec,
    keywords: `${PostgreSQL.spec.keywords} source sources sink sinks watermark emit subscribe retention tumble hop cumulate session late_rows on_error asof jobs job flush secret secrets backup materialized`,
});

const colours = HighlightStyle.define([
    { tag: tags.keyword, color: "var(--code-keyword)", fontWeight: "600" },
    { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
    { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
    { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
    { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--code-type)" },
]);

const look = EditorView.theme({
    "&": { color: "var(--text)", backgroundColor: "var(--panel)", fontSize: "13px", height: "100%" },
    ".cm-content": { fontFamily: "ui-monospace, 'SF Mono', 'DejaVu Sans Mono', monospace", caretColor: "var(--accent)", padding: "8px 0" },
    ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--muted)", border: "none" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
    ".cm-cursor": { borderLeftColor: "var(--accent)" },
    "&.cm-focused": { outline: "none" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selected)" },
    ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--text)", border: "1px solid var(--line)", borderRadius: "6px" },
    ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
    ".cm-error": { textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "3px" },
    ".cm-placeholder": { color: "var(--muted)" },
});

const mark = StateEffect.define();
const marked = StateField.define({
    create: () => Decoration.none,
    update(found, change) {
        for (const effect of change.effects)
            if (effect.is(mark)) return effect.value == null ? Decoration.none : Decoration.set([Decoration.mark({ class: "cm-error" }).range(...effect.value)]);
        return change.docChanged ? Decoration.none : found;
    },
    provide: (field) => EditorView.decorations.from(field),
});

/** `host`: an element; `keys`: { run, leave }. */
export function createEditor(host, text, { run, leave, changed }) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    const place = document.createElement("div");
    place.style.height = "100%";
    root.replaceChildren(place);
    const language = new Compartment();
    const known = (schema) => sql({ dialect, schema, defaultSchema: "public", upperCaseKeywords: true });
    // Whether the last thing that was done is typing: what is learnt then may complete it.
    let typing = false;
    const view = new EditorView({
        parent: place,
        root,
        state: EditorState.create({
            doc: text,
            extensions: [
                lineNumbers(), history(), drawSelection(), highlightActiveLine(), bracketMatching(), closeBrackets(), autocompletion({ activateOnTypingDelay: 80 }), marked,
                language.of(known({})), syntaxHighlighting(colours), look, EditorView.lineWrapping, placeholder("SELECT * FROM …      Ctrl+Enter runs it"),
                EditorView.contentAttributes.of({ "aria-label": "SQL" }),
                keymap.of([
                    { key: "Mod-Enter", run: () => ((typing = false), run(), true) },
                    { key: "Tab", run: acceptCompletion },
                    ...closeBracketsKeymap, ...completionKeymap,
                    { key: "Escape", run: () => ((typing = false), leave(), true) },
                    ...defaultKeymap.filter((k) => k.key !== "Mod-Enter"), ...historyKeymap, indentWithTab,
                ]),
                EditorView.updateListener.of((update) => {
                    if (update.docChanged || update.selectionSet) typing = update.transactions.some((t) => t.isUserEvent("input.type"));
                    if (update.docChanged) changed(update.state.doc.toString());
                }),
            ],
        }),
    });
    return {
        focus: () => view.focus(),
        text: () => view.state.doc.toString(),
        /** What is selected, with the number of characters before it; else all. */
        chosen: () => {
            const { from, to } = view.state.selection.main;
            return from === to ? { text: view.state.doc.toString(), from: 0 } : { text: view.state.sliceDoc(from, to), from };
        },
        replace: (to) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: to } }),
        knows: (schema) => {
            view.dispatch({ effects: language.reconfigure(known(schema)) });
            const { head } = view.state.selection.main;
            if (typing && view.hasFocus && /[\w."]/.test(view.state.sliceDoc(head - 1, head))) startCompletion(view);
        },
        /** Underlines the word at a place, counted in characters. */
        point: (at) => {
            if (at == null) return view.dispatch({ effects: mark.of(null) });
            const text = view.state.doc.toString();
            // Positions count characters, the editor UTF-16 units.
            const from = Math.min([...text].slice(0, at).join("").length, Math.max(0, text.length - 1));
            const word = text.slice(from).match(/^[\w$."]+/)?.[0].length ?? 1;
            const to = Math.min(text.length, from + word);
            if (from < to) view.dispatch({ effects: mark.of([from, to]), selection: { anchor: from }, scrollIntoView: true });
        },
        end: () => view.destroy(),
    };
}
