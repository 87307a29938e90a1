"""dbt against a live server: seeds, every materialization, a second run, tests, a change, a full refresh.

python run.py MILLRACE, with dbt-postgres and this adapter installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg2

millrace = sys.argv[1]
project = Path(tempfile.mkdtemp(prefix="millrace-dbt-"))
shutil.copytree(Path(__file__).parent / "project", project, dirs_exist_ok=True)
environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
server = subprocess.Popen(
    [millrace, "serve", "--data-dir", str(project / "data"), "--listen", "127.0.0.1:0", "--workers", "1"],
    stderr=subprocess.PIPE,
    text=True,
    env={**environment, "NO_COLOR": "1"},
)
port = next(int(found[1]) for line in server.stderr if (found := re.search(r"listening on \S+:(\d+)", line)))

(project / "profiles.yml").write_text(
    f"""shop:
  target: dev
  outputs:
    dev: {{type: millrace, host: 127.0.0.1, port: {port}, user: root, password: "", dbname: dev, schema: public, threads: 2}}
"""
)


def dbt(*arguments, fails=False):
    command = [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "--no-send-anonymous-usage-stats", *arguments]
    done = subprocess.run(
        [*command, "--project-dir", str(project), "--profiles-dir", str(project)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode != 0) == fails, f"dbt {arguments}:\n{done.stdout}{done.stderr}"
    return done.stdout


def ask(query):
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="root", dbname="dev")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    connection.close()
    return rows


try:
    dbt("seed")
    dbt("run")
    assert ask("SELECT place, sensors FROM places ORDER BY 1") == [("cellar", 1), ("roof", 2)]
    assert ask("SELECT sensors FROM roofs") == [(2,)]
    assert ask("SELECT place, weighted FROM snapshot_of_places ORDER BY 1")[1] == ("roof", 3)
    assert [row[0] for row in ask("SHOW SOURCES")] == ["readings"]
    assert "retain_history" in ask("SHOW CREATE MATERIALIZED VIEW by_id")[0][1]
    # A second run changes nothing: what is there is current.
    oids = ask("SELECT relname, oid FROM pg_class WHERE relname IN ('by_id', 'places') ORDER BY 1")
    again = dbt("run")
    assert again.count("as it was") == 4, again
    assert ask("SELECT relname, oid FROM pg_class WHERE relname IN ('by_id', 'places') ORDER BY 1") == oids
    dbt("test")
    # A changed model is not dropped unless that was asked for.
    model = project / "models" / "places.sql"
    model.write_text(model.read_text().replace("count(*)", "count(*) + 10"))
    told = dbt("run", "--select", "places", fails=True)
    assert "--full-refresh" in told, told
    assert ask("SELECT sensors FROM places WHERE place = 'roof'") == [(2,)]
    dbt("run", "--full-refresh", "--select", "places+")
    assert ask("SELECT sensors FROM roofs") == [(12,)]
    # A statement that is wrong says so, with the server's words.
    (project / "models" / "wrong.sql").write_text("SELECT nothing FROM {{ ref('places') }}")
    assert "does not exist" in dbt("run", "--select", "wrong", fails=True)
    print("dbt: ok")
finally:
    server.terminate()
    server.wait()
    shutil.rmtree(project, ignore_errors=True)
