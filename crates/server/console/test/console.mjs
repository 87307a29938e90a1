// Clicks through every page of a server under load, in headless Chromium, wide and narrow, light and dark.
// Fails on any error in the browser's console, any failed request, and anything that is wider than the window.
//   node test/console.mjs MILLRACE        the server's program; scripts/console test
// MILLRACE_SCREENSHOTS: where screenshots are kept. MILLRACE_CHROMIUM: the browser, if it is not /usr/bin/chromium.
// MILLRACE_CONSOLE_FILES=dist: the files as they are built now, in place of those in the program.
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gunzipSync } from "node:zlib";

const program = process.argv[2];
const work = mkdtempSync(join(tmpdir(), "millrace-console-"));
const shots = process.env.MILLRACE_SCREENSHOTS ?? join(work, "screenshots");
mkdirSync(shots, { recursive: true });
const PATIENCE = 60_000;

// ---- the server, and what flows through it

const server = spawn(program, ["serve", "--data-dir", join(work, "data"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
const log = [];
let root = "";
await new Promise((done, fail) => {
    createInterface({ input: server.stderr }).on("line", (line) => {
        log.push(line);
        const http = line.match(/serving HTTP.*address=(\S+)/);
        if (http) root = `http://${http[1]}`;
        if (line.includes("listening on")) done();
    });
    server.on("exit", () => fail(new Error(`the server has ended:\n${log.join("\n")}`)));
});
server.removeAllListeners("exit");

async function sql(text) {
    const answer = await (await fetch(`${root}/api/sql`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sql: text }) })).json();
    if (answer.error) throw new Error(`${text}: ${answer.error.code} ${answer.error.message}`);
    return answer.results.at(-1);
}

const LOAD = `
CREATE SOURCE readings (id BIGINT, value BIGINT, ts TIMESTAMPTZ, WATERMARK FOR ts AS ts - INTERVAL '1 second')
WITH (connector = 'datagen', rows.per.second = 2000, fields.id.kind = 'random', fields.id.min = 1, fields.id.max = 8,
  fields.value.kind = 'sensor', fields.value.min = 0, fields.value.max = 100, fields.ts.kind = 'now');
CREATE SOURCE lagging (id BIGINT, at TIMESTAMPTZ, ts TIMESTAMPTZ AS at - id * INTERVAL '1 second', half BIGINT AS 60 / (id % 30),
  WATERMARK FOR ts AS ts - INTERVAL '1 second')
WITH (connector = 'datagen', rows.per.second = 20, fields.id.kind = 'random', fields.id.min = 1, fields.id.max = 60, fields.at.kind = 'now');
CREATE MATERIALIZED VIEW readings_10s AS SELECT window_start, id, count(*) AS n, avg(value) AS avg, max(value) AS max
FROM TUMBLE(readings, ts, INTERVAL '10 seconds') GROUP BY window_start, id;
CREATE MATERIALIZED VIEW readings_1s AS SELECT window_start, id, count(*) AS n, round(avg(value), 1) AS avg
FROM TUMBLE(readings, ts, INTERVAL '1 second') GROUP BY window_start, id;
CREATE MATERIALIZED VIEW slow_windows AS SELECT window_start, count(*) AS n FROM TUMBLE(lagging, ts, INTERVAL '2 seconds') GROUP BY window_start;
CREATE TABLE sensors (id BIGINT PRIMARY KEY, room TEXT NOT NULL);
INSERT INTO sensors SELECT x, 'room ' || (x % 3)::text FROM generate_series(1, 8) g(x);
CREATE MATERIALIZED VIEW hottest AS SELECT room, id, value, ts FROM
  (SELECT s.room, r.id, r.value, r.ts, row_number() OVER (PARTITION BY s.room ORDER BY r.value DESC, r.ts) AS k FROM readings r JOIN sensors s ON s.id = r.id) q WHERE k <= 3;
CREATE SOURCE bids (auction BIGINT, bidder BIGINT, price BIGINT) WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = 400000000);`;
const FILLING = "SET background_ddl = true; CREATE MATERIALIZED VIEW by_auction AS SELECT auction, bidder, count(*) AS n, max(price) AS price FROM bids GROUP BY auction, bidder";

// ---- the browser, and what must not happen in it

const executablePath = process.env.MILLRACE_CHROMIUM ?? "/usr/bin/chromium";
if (!existsSync(executablePath)) throw new Error(`${executablePath} is not there: scripts/setup test installs it`);
const browser = await chromium.launchPersistentContext(join(work, "profile"), { executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"], viewport: { width: 1280, height: 860 }, colorScheme: "light", reducedMotion: "no-preference" });
if (process.env.MILLRACE_CONSOLE_FILES) {
    const kinds = { html: "text/html", js: "text/javascript", css: "text/css" };
    await browser.route(/^http:\/\/[^/]+\/(assets\/.*)?$/, (route) => {
        const name = new URL(route.request().url()).pathname.replace(/^\/(assets\/)?/, "") || "index.html";
        const body = gunzipSync(readFileSync(join(process.env.MILLRACE_CONSOLE_FILES, `${name}.gz`)));
        return route.fulfill({ body, contentType: kinds[name.split(".").pop()], headers: { "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'" } });
    });
}
const wrong = [];
let doing = "";
function watch(page) {
    const note = (what) => wrong.push(`${doing}: ${what}`);
    page.on("console", (m) => ["error", "warning"].includes(m.type()) && note(`${m.type()}: ${m.text()}`));
    page.on("pageerror", (e) => note(`exception: ${e.message}`));
    // The console itself ends requests when a page is left.
    page.on("requestfailed", (r) => r.failure()?.errorText !== "net::ERR_ABORTED" && note(`${r.url()}: ${r.failure()?.errorText}`));
    page.on("response", (r) => r.status() >= 400 && note(`${r.url()}: ${r.status()}`));
    page.on("dialog", (d) => d.accept());
    return page;
}

let passed = 0, failed = 0;
async function check(name, work) {
    doing = name;
    const before = wrong.length;
    try {
        await work();
        if (wrong.length > before) throw new Error(wrong.slice(before).join("\n"));
        passed++;
        console.log(`ok      ${name}`);
    } catch (error) {
        failed++;
        console.log(`FAILED  ${name}\n${String(error.stack ?? error).replace(/^/gm, "        ")}`);
        await page.screenshot({ path: join(shots, `failed-${failed}.png`) }).catch(() => {});
        wrong.length = 0;
    }
}
function assert(holds, what) {
    if (!holds) throw new Error(what);
}

const page = watch(await browser.newPage());
page.setDefaultTimeout(PATIENCE);
const heading = (text) => page.locator("h1", { hasText: text }).waitFor();
const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
const fits = async () => {
    const [wide, window] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
    assert(wide <= window, `the page is ${wide} pixels wide, the window ${window}`);
};
const text = (selector) => page.locator(selector).first().innerText();

await check("an empty server tells what to type next, on each page", async () => {
    for (const [path, said] of [["", "Nothing flows yet"], ["sources", "No source yet"], ["views", "No materialized view yet"], ["live", "No view to follow yet"], ["bad", "Everything was taken"], ["jobs", "No view is being filled"]]) {
        await page.goto(`${root}/#/${path}`);
        await page.locator(".empty h2", { hasText: said }).waitFor();
    }
    await page.goto(`${root}/#/`);
    await page.getByText("Nothing flows yet").waitFor();
    await shot("empty-1280-light");
});

await check("the first steps can be taken from the overview", async () => {
    await page.getByText("Open in the editor").click();
    await page.locator(".editor[data-ready]").waitFor();
    await page.getByRole("button", { name: /Run/ }).click();
    // The result's tag, not the statement in the editor.
    await page.locator("b", { hasText: "CREATE MATERIALIZED VIEW" }).waitFor();
    await sql("DROP SOURCE readings CASCADE");
});

await sql(LOAD);
await sql(FILLING);

await check("keys lead to each page, and the palette to each view", async () => {
    await page.goto(`${root}/#/`);
    await heading("Overview");
    for (const [key, name] of [["s", "Sources"], ["v", "Views"], ["l", "Live"], ["b", "Late rows"], ["j", "Jobs"], ["o", "Overview"]]) {
        await page.keyboard.press("g");
        await page.keyboard.press(key);
        await heading(name);
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("go to a page").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await page.keyboard.press("Control+k");
    // At once: no key goes to the page below.
    await page.keyboard.type("view hott");
    assert((await page.getByRole("combobox").inputValue()) === "view hott", "the palette takes each key");
    await page.getByRole("option", { name: "hottest" }).first().waitFor();
    await page.keyboard.press("Enter");
    await heading("hottest");
});

for (const width of [1280, 375]) {
    for (const scheme of ["light", "dark"]) {
        const look = `${width}-${scheme}`;
        await page.setViewportSize({ width, height: width > 500 ? 860 : 760 });
        await page.emulateMedia({ colorScheme: scheme });
        const visit = (name, path, work) => check(`${name}, ${width} px, ${scheme}`, async () => {
            await page.goto(`${root}/#/${path}`);
            await work();
            await fits();
            if (path !== "sql") assert(!(await page.locator(".failure").count()), await page.locator(".failure").allInnerTexts());
            await shot(`${name.split(" ")[0]}-${look}`);
        });
        await visit("overview moves", "", async () => {
            await page.locator(".chart canvas").nth(3).waitFor();
            await page.locator("td a", { hasText: "readings_10s" }).waitFor();
            await page.waitForFunction(() => /\d k?\/s/.test(document.querySelector(".tile .value")?.textContent));
            const epoch = await page.locator(".facts dd").first().innerText();
            await page.waitForFunction((old) => document.querySelector(".facts dd").textContent !== old, epoch);
        });
        await visit("sources tell offsets and errors", "sources", async () => {
            await page.locator(".panel h2", { hasText: "lagging" }).waitFor();
            await page.getByText(/messages? that/).first().click();
            await page.getByText("division by zero").first().waitFor();
        });
        await visit("views are listed", "views", async () => {
            await page.locator("td a", { hasText: "hottest" }).waitFor();
            await page.locator(".job .bar").waitFor();
        });
        await visit("dataflow of a view is drawn", "view/hottest", async () => {
            await page.locator(".operator").nth(4).waitFor();
            await page.waitForFunction(() => [...document.querySelectorAll(".operator .numbers")].some((n) => /\d k?\/s/.test(n.textContent)));
            await page.locator(".operator", { hasText: "Join" }).click();
            await page.getByText("state: the rows of both inputs").first().waitFor();
        });
        await visit("live view follows changes", "live/readings_1s", async () => {
            await page.locator(".chart canvas").waitFor();
            const before = await text("main p.muted");
            await page.waitForFunction((old) => document.querySelector("main p.muted").innerText !== old, before);
        });
        await visit("sql completes, runs, shows errors", "sql", async () => {
            const editor = page.locator(".editor[data-ready]");
            await editor.waitFor();
            const type = async (text) => {
                await editor.click();
                await page.keyboard.press("Control+a");
                await page.keyboard.press("Delete");
                await page.keyboard.type(text);
            };
            await type("SELECT * FROM readings_1");
            await page.locator(".cm-tooltip-autocomplete li", { hasText: "readings_10s" }).waitFor();
            await page.keyboard.press("Escape");
            await type("SELECT nothing FROM readings_10s");
            await page.keyboard.press("Escape");
            await page.getByRole("button", { name: /Run/ }).click();
            await page.locator(".failure", { hasText: "42703" }).waitFor();
            await page.locator(".cm-error", { hasText: "nothing" }).waitFor();
            // Of windows that close soon enough: there are twelve rows.
            await type("SELECT * FROM readings_1s ORDER BY window_start DESC, id LIMIT 12");
            await page.keyboard.press("Control+Enter");
            await page.getByText("SELECT 12").waitFor();
        });
        await visit("bad records and late rows are listed", "bad", async () => {
            await page.locator(".list td", { hasText: "division by zero" }).first().waitFor();
            await page.locator("h2", { hasText: /^Late rows/ }).waitFor();
        });
        await visit("jobs show how full a view is", "jobs", async () => {
            await page.locator("td .bar").waitFor();
        });
    }
}

await check("what the editor learns late completes what was typed", async () => {
    let learn;
    const learnt = new Promise((done) => (learn = done));
    await page.route("**/api/sql", async (route) => {
        if (route.request().postData().includes("information_schema.columns")) await learnt;
        await route.continue().catch(() => {});
    });
    await page.goto(`${root}/#/sql?q=`);
    await page.locator(".editor[data-ready]").click();
    await page.keyboard.type("SELECT * FROM readings_1");
    await page.locator(".cm-content", { hasText: "readings_1" }).waitFor();
    learn();
    await page.locator(".cm-tooltip-autocomplete li", { hasText: "readings_10s" }).waitFor();
    await page.unroute("**/api/sql");
});

await check("a statement is cancelled", async () => {
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.goto(`${root}/#/sql?q=${encodeURIComponent("SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b WHERE a + b = 0")}`);
    await page.locator(".editor[data-ready]").waitFor();
    await page.getByRole("button", { name: /Run/ }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator(".failure", { hasText: "57014" }).waitFor();
});

await check("a job is given up", async () => {
    await page.goto(`${root}/#/jobs`);
    await page.getByRole("button", { name: "give up" }).click();
    await page.getByText("No view is being filled").waitFor();
});

await check("the theme can be chosen, and stays", async () => {
    // By the clock: a page with nothing to draw has no frames to look at.
    const shows = (theme) => page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, theme, { polling: 100 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(`${root}/#/`);
    await page.locator(".side .status", { hasText: "ready" }).waitFor();
    // Nothing before this has chosen one.
    assert((await page.locator(".side button[title=t]").innerText()).endsWith("system"), "the theme is the system's");
    await page.keyboard.press("t");
    await page.keyboard.press("t");
    await shows("dark");
    await page.reload();
    await shows("dark");
    for (const theme of [undefined, "light", "dark", undefined]) {
        await page.keyboard.press("t");
        await shows(theme);
    }
});

await check("what is read has contrast, what is pressed has a name", async () => {
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const poor = await page.evaluate(() => {
            const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
            const light = (hex) => {
                const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
            const pairs = ["--back", "--panel", "--hover"].flatMap((back) => ["--text", "--muted", "--accent", "--ok", "--warn", "--bad"].map((name) => [name, back]));
            pairs.push(["--on-accent", "--accent"], ["--warn", "--warn-back"], ["--bad", "--bad-back"], ["--muted", "--warn-back"], ["--muted", "--bad-back"], ["--text", "--selected"], ["--muted", "--selected"]);
            pairs.push(...["keyword", "string", "number", "type"].map((n) => [`--code-${n}`, "--panel"]));
            return pairs.map(([a, b]) => [a, b, contrast(value(a), value(b))]).filter(([, , c]) => c < 4.5).map(([a, b, c]) => `${a} on ${b}: ${c.toFixed(2)}`);
        });
        assert(!poor.length, `${colorScheme}: ${poor.join(", ")}`);
    }
    for (const path of ["", "sources", "views", "view/hottest", "live/readings_10s", "sql", "bad", "jobs"]) {
        await page.goto(`${root}/#/${path}`);
        await page.locator("h1").waitFor();
        const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a[href], input, select")].filter((e) => !(e.innerText || e.ariaLabel || e.labels?.length || e.title)).map((e) => e.outerHTML));
        assert(!nameless.length, `${path}: ${nameless.join(", ")}`);
    }
});

await check("the overview is small and soon there", async () => {
    const fresh = watch(await browser.newPage());
    const session = await browser.newCDPSession(fresh);
    await session.send("Network.enable");
    await session.send("Network.setCacheDisabled", { cacheDisabled: true });
    const assets = new Map();
    session.on("Network.responseReceived", ({ requestId, response }) => /\/(assets\/.*)?$/.test(new URL(response.url).pathname) && response.url.startsWith(root) && assets.set(requestId, 0));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => assets.has(requestId) && assets.set(requestId, encodedDataLength));
    await fresh.goto(`${root}/#/`);
    await fresh.locator(".chart canvas").nth(3).waitFor();
    const ready = await fresh.evaluate(() => Math.round(performance.getEntriesByName("console-ready")[0].startTime));
    const drawn = await fresh.evaluate(() => Math.round(performance.now()));
    const size = [...assets.values()].reduce((all, n) => all + n, 0);
    console.log(`        ${size} bytes on the wire in ${assets.size} files; answers to keys after ${ready} ms, charts drawn after at most ${drawn} ms`);
    // Files that are given here are not compressed.
    assert(process.env.MILLRACE_CONSOLE_FILES || size < 100_000, `the overview takes ${size} bytes`);
    await fresh.close();
});

await check("names that are long fit, and an error names its statement", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    const name = "a_very_long_name_of_a_materialized_view_that_somebody_made_by_a_script";
    await sql(`CREATE TABLE d (id INT PRIMARY KEY, x INT); INSERT INTO d VALUES (1, 0), (2, 5); CREATE MATERIALIZED VIEW ${name} AS SELECT id, 10 / x AS q FROM d`);
    await page.setViewportSize({ width: 375, height: 760 });
    for (const path of ["", "views", `view/${name}`, "live/readings_1s", "live/nosuch"]) {
        await page.goto(`${root}/#/${path}`);
        await page.reload();
        await page.locator("main td a, main .operator, main select").first().waitFor();
        await fits();
    }
    await page.goto(`${root}/#/view/${name}`);
    await page.locator(".failure", { hasText: "22012 division by zero, in 1 row of this view" }).waitFor();
    await shot("failing-375-light");
    await page.goto(`${root}/#/sql?q=${encodeURIComponent(`SELECT 1; SELECT * FROM ${name}`)}`);
    await page.locator(".editor[data-ready]").waitFor();
    await page.getByRole("button", { name: /Run/ }).click();
    await page.locator(".failure", { hasText: /Statement 2, .*22012/ }).waitFor();
});

await check("the operator that holds others up stands out, and arrows lead to it", async () => {
    await page.setViewportSize({ width: 1280, height: 860 });
    await sql(`CREATE TABLE a (id INT PRIMARY KEY, k INT); CREATE TABLE b (id INT PRIMARY KEY, k INT);
CREATE MATERIALIZED VIEW pairs AS SELECT x.id % 3 AS g, count(*) AS n FROM (SELECT id, max(k) AS k FROM a GROUP BY id) x JOIN b ON x.k = b.k WHERE (x.id + b.id) % 100 = 0 GROUP BY x.id % 3;
INSERT INTO a SELECT x, 1 FROM generate_series(1, 20000) g(x); INSERT INTO b SELECT x, 1 FROM generate_series(1, 20000) g(x)`);
    await page.goto(`${root}/#/view/pairs`);
    await page.locator(".operator.slowest", { hasText: "Join" }).getByText("holds others up").waitFor();
    await page.locator(".notice", { hasText: /Join holds the others up: behind [\d.]+ % of the time, [\d,]+ rows wait for it/ }).waitFor();
    assert((await page.locator(".operator.slowest").count()) === 1, "one operator holds the others up");
    await page.locator(".operator", { hasText: "Changes of b" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.locator(".operator.slowest.chosen", { hasText: "Join" }).waitFor();
    await page.locator(".panel dt", { hasText: "behind" }).waitFor();
    await shot("behind-1280-light");
    await page.emulateMedia({ colorScheme: "dark" });
    await shot("behind-1280-dark");
});

await check("a server that goes is told, and one that comes back is used", async () => {
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.goto(`${root}/#/`);
    await page.locator(".side .status", { hasText: "ready" }).waitFor();
    server.kill("SIGKILL");
    await page.locator(".side .status", { hasText: "no answer" }).waitFor();
    // What the browser says of a server that is not there.
    wrong.length = 0;
});
wrong.length = 0;

await browser.close();
server.kill("SIGKILL");
rmSync(work, { recursive: true, force: true });
const complaints = log.filter((line) => / (WARN|ERROR) /.test(line));
if (complaints.length) {
    failed++;
    console.log(`FAILED  the server's log\n${complaints.join("\n")}`);
}
console.log(`test result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed;`);
process.exit(failed ? 1 : 0);
