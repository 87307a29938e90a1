"""docs/clients.md: its table and its snippets are what the tests gave and ran."""

import difflib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs" / "clients.md"

FEATURES = {
    "connect": "connects with a password (SCRAM); a wrong one is refused",
    "tls": "TLS with the server's certificate verified",
    "objects": "lists tables, views and materialized views as such",
    "describe": "describes columns and types",
    "types_text": "every type as parameter and result, text",
    "types_binary": "every type as parameter and result, binary",
    "prepared": "prepared statements used again",
    "errors": "errors with SQLSTATE, position, detail",
    "transactions": "transactions, savepoints, failed ones",
    "streaming": "large results in portions",
    "copy_in": "COPY FROM",
    "copy_out": "COPY TO",
    "notices": "notices",
    "cancel": "cancels a running query",
    "pool": "reset of a pooled connection",
    "application_name": "application_name",
    "view": "reads a live materialized view",
    "subscribe": "SUBSCRIBE over a cursor",
    "reconnect": "reconnects after a restart of the server",
    "snippet": "the snippet below",
}
NAMES = {
    "psql": "psql", "psycopg": "psycopg 3", "sqlalchemy": "SQLAlchemy, pandas", "asyncpg": "asyncpg",
    "node": "node-postgres", "pgjdbc": "pgjdbc", "pgx": "pgx", "pq": "lib/pq", "tokio": "tokio-postgres",
    "slt": "sqllogictest, simple", "sltx": "sqllogictest, extended",
}
# Where the snippet of a client stands, between ANCHOR and ANCHOR_END.
SNIPPETS = {
    "psql": ("python/psql_client.py", "sh"),
    "psycopg": ("python/psycopg_client.py", "python"),
    "sqlalchemy": ("python/sqlalchemy_client.py", "python"),
    "asyncpg": ("python/asyncpg_client.py", "python"),
    "node": ("node/client.js", "js"),
    "pgjdbc": ("java/Client.java", "java"),
    "pgx": ("go/pgx_client/main.go", "go"),
    "pq": ("go/pq_client/main.go", "go"),
    "tokio": ("rust/src/tokio_client.rs", "rust"),
    "slt": ("snippet.slt", "text"),
}


def table(results):
    """Features down, clients across, and a note for each `no` and `-`."""
    out = ["| | " + " | ".join(NAMES[client] for client in results) + " |",
           "|---|" + "---|" * len(results)]
    notes = []
    for feature, words in FEATURES.items():
        cells = []
        for client in results:
            told = results[client][feature]
            cell = told["result"]
            if told.get("note"):
                note = told["note"][:160].replace("|", "\\|")
                if note not in notes:
                    notes.append(note)
                cell += f" ({notes.index(note) + 1})"
            cells.append(cell)
        out.append(f"| {words} | " + " | ".join(cells) + " |")
    out.append("")
    out += [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(out).rstrip() + "\n"


def snippet(client):
    """The lines between the anchors, moved to the left."""
    path, language = SNIPPETS[client]
    text = (HERE / path).read_text()
    found = re.search(r"ANCHOR: snippet[^\n]*\n(.*?)\n[^\n]*ANCHOR_END: snippet", text, re.DOTALL)
    body = (found.group(1) if found else text).rstrip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in body if line.strip())
    body = "\n".join(line[margin:] for line in body)
    return f"```{language}\n{body}\n```\n"


def replaced(page, results):
    """The page with its generated parts made anew."""
    def part(match):
        name = match.group(1)
        body = table(results) if name == "table" else snippet(name)
        return f"<!-- begin {name} -->\n{body}<!-- end {name} -->"

    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", part, page, flags=re.DOTALL)


def cells(page):
    """What a page says, without the notes: the words of a failure may be others the next time."""
    page = re.sub(r"(\| (?:yes|no|-)) \(\d+\)", r"\1", page)
    return re.sub(r"\n\d+\. [^\n]*(?=\n)", "", page)


def conclude(results, rewrite, complete):
    """Ends the program: with an error if the page says something else than the tests."""
    told = [line["result"] for said in results.values() for line in said.values()]
    print(f"{told.count('yes')} yes, {told.count('no')} no, {told.count('-')} not there")
    if not complete:
        sys.exit(1 if "no" in told else 0)
    page = PAGE.read_text()
    wanted = replaced(page, results)
    if rewrite:
        PAGE.write_text(wanted)
    said, now = cells(page).splitlines(), cells(wanted).splitlines()
    differences = [] if rewrite else [line for line in difflib.ndiff(said, now) if line[0] in "+-"]
    print("\n".join(differences))
    # scripts/test reads this line.
    print(f"test result: ok. {told.count('yes')} passed; {len(differences)} failed;")
    if differences:
        sys.exit("docs/clients.md does not say what the tests gave: scripts/clients --rewrite")
