"""What the documentation shows in Python runs: the blocks of docs/clients/python.md, the cells of the notebook.

python snippets.py MILLRACE, with psycopg and pandas, from the root of the repository. A block runs as it is
written, against a server of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

millrace = sys.argv[1]
directory = tempfile.mkdtemp(prefix="millrace-snippets-")
environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
server = subprocess.Popen(
    [millrace, "serve", "--data-dir", directory, "--listen", "127.0.0.1:0", "--workers", "1"],
    stderr=subprocess.PIPE,
    text=True,
    env={**environment, "NO_COLOR": "1"},
)
port = next(found[1] for line in server.stderr if (found := re.search(r"listening on \S+:(\d+)", line)))
os.environ["MILLRACE_URL"] = f"host=127.0.0.1 port={port} user=root dbname=dev"


def run(name, parts):
    names = {"__name__": name}
    for number, part in enumerate(parts, 1):
        exec(compile(part, f"{name}, part {number}", "exec"), names)
    return names


try:
    page = Path("docs/clients/python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2, "the page's blocks are where they were"
    run("python.md", blocks)
    notebook = json.loads(Path("examples/live_view.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    live = run("live_view.ipynb", code)["live"]
    assert list(live.columns) == ["window_start", "id", "mean", "n"] and len(live) > 0, live
    assert not live.duplicated(["window_start", "id"]).any(), "one row a key"
    print("snippets: ok")
finally:
    server.terminate()
    server.wait()
    shutil.rmtree(directory, ignore_errors=True)
