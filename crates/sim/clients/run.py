"""Runs every client against a server of its own and compares docs/clients.md with what they say.

    run.py MILLRACE CACHE [--rewrite] [--verbose] [--only NAME[,NAME...]]

MILLRACE is the server's program, CACHE the directory where scripts/clients has put what the clients need. With --rewrite the table and the snippets
in docs/clients.md become what the tests give; without, a difference is a failure.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
USER, PASSWORD = "app", "secret"
# A client that is silent for so long hangs.
PATIENCE_S = 120


def clients(cache):
    """The commands by client; Java's options keep it from taking half of a small machine."""
    python = str(cache / "python" / "bin" / "python")
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{cache}/java:{cache}/java/*"]
    return {
        "psql": [python, HERE / "python" / "psql_client.py"],
        "psycopg": [python, HERE / "python" / "psycopg_client.py"],
        "sqlalchemy": [python, HERE / "python" / "sqlalchemy_client.py"],
        "asyncpg": [python, HERE / "python" / "asyncpg_client.py"],
        "node": ["node", cache / "node" / "client.js"],
        "pgjdbc": [*java, "Client"],
        "pgx": [cache / "go" / "pgx_client"],
        "pq": [cache / "go" / "pq_client"],
        "tokio": [cache / "rust" / "debug" / "millrace-clients", "tokio"],
        "slt": [cache / "rust" / "debug" / "millrace-clients", "slt"],
        "sltx": [cache / "rust" / "debug" / "millrace-clients", "sltx"],
    }


class Server:
    """A server with a password, a certificate and a fixed address once it has one."""

    def __init__(self, program, directory):
        self.program, self.directory = program, pathlib.Path(directory)
        self.log, self.port, self.process = [], 0, None
        self.certify()
        self.start()
        self.psql("root", f"CREATE USER {USER} PASSWORD '{PASSWORD}'",
                  f"GRANT CREATE ON SCHEMA public TO {USER}")

    def certify(self):
        """An authority, and a certificate of localhost that it has signed."""
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

        (self.directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
                "-keyout", "ca.key", "-out", "ca.pem")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "server.key",
                "-out", "server.csr")
        openssl("x509", "-req", "-in", "server.csr", "-days", "2", "-CAcreateserial", "-CA", "ca.pem",
                "-CAkey", "ca.key", "-extfile", "names", "-out", "server.pem")

    def start(self):
        command = [self.program, "serve", "--data-dir", self.directory / "data", "--workers", "1",
                   "--listen", f"127.0.0.1:{self.port}",
                   "--tls-cert", self.directory / "server.pem", "--tls-key", self.directory / "server.key"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        else:
            sys.exit("the server did not start:\n" + "".join(self.log))
        threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True).start()

    def restart(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def psql(self, user, *statements):
        options = [option for statement in statements for option in ("-c", statement)]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        command = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                   "-U", user, "-d", "dev", *options]
        subprocess.run(command, env=environment, check=True)

    def prepare(self, client):
        """What every client finds: a table, a view of it and a materialized view."""
        self.psql(USER,
                  f"CREATE TABLE {client}_events (id INT PRIMARY KEY, kind TEXT NOT NULL, amount FLOAT8)",
                  f"CREATE VIEW {client}_kinds AS SELECT DISTINCT kind FROM {client}_events",
                  f"""CREATE MATERIALIZED VIEW {client}_totals AS
                      SELECT kind, count(*) AS n, sum(amount) AS total FROM {client}_events GROUP BY kind""")


def run(client, command, server, verbose):
    """What a client says of each feature."""
    environment = {
        **os.environ,
        "MILLRACE_HOST": "localhost", "MILLRACE_PORT": str(server.port), "MILLRACE_USER": USER,
        "MILLRACE_PASSWORD": PASSWORD, "MILLRACE_CA": str(server.directory / "ca.pem"),
    }
    process = subprocess.Popen([str(word) for word in command], env=environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, complaints = {}, []
    listening = threading.Thread(target=complaints.extend, args=(process.stderr,), daemon=True)
    listening.start()
    for line in lines(process):
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if "restart" in told:
            server.restart()
            process.stdin.write("done\n")
            process.stdin.flush()
        else:
            said[told["feature"]] = told
    process.wait()
    listening.join()
    for feature in report.FEATURES:
        if feature not in said:
            said[feature] = {"feature": feature, "result": "no", "note": "the client did not get there"}
    failed = [told for told in said.values() if told["result"] == "no"]
    for told in failed:
        print(f"{client}: {told['feature']}: {told['note']}", flush=True)
    if failed and verbose:
        print("".join(complaints), flush=True)
    return said


def lines(process):
    """Lines as they come; a client that says nothing for long is ended."""
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    for line in process.stdout:
        watchdog.cancel()
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        yield line
    watchdog.cancel()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("millrace")
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--rewrite", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true", help="what failing clients say on standard error")
    arguments = parser.parse_args()
    commands = clients(arguments.cache)
    chosen = arguments.only.split(",") if arguments.only else list(commands)
    with tempfile.TemporaryDirectory() as directory:
        server = Server(arguments.millrace, directory)
        results = {}
        try:
            for client in chosen:
                begin = time.monotonic()
                server.prepare(client)
                results[client] = run(client, commands[client], server, arguments.verbose)
                good = sum(told["result"] == "yes" for told in results[client].values())
                print(f"{client}: {good} of {len(report.FEATURES)} in {time.monotonic() - begin:.1f} s", flush=True)
            status = server.stop()
        finally:
            server.process.kill()
    # Clients come with a wrong password on purpose; some end TLS with an alert that says so.
    expected = ("login failed", "description: UserCanceled")
    complaints = [line for line in server.log
                  if re.match(r"\S+\s+(WARN|ERROR)\b", line) and not any(text in line for text in expected)]
    if status != 0 or complaints:
        sys.exit(f"the server ended with {status} and said:\n" + "".join(complaints))
    report.conclude(results, arguments.rewrite, complete=not arguments.only)


main()
