"""The files under docker/ are well-formed, and what they name is there: files, ports, and the program's options.

There is no Docker engine where the tests run, so this reads what one would read. The program is asked for its help,
and started as the image and the unit would start it, with ports and a directory of its own.
python docker_files.py docker target/debug/millrace
"""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

docker, program = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
compose = yaml.safe_load((docker / "compose.yaml").read_text())
services, volumes = compose["services"], compose["volumes"]
for name, service in services.items():
    assert ("image" in service) or ("build" in service), name
    for needed in service.get("depends_on", []):
        assert needed in services, f"{name} depends on {needed}"
    for mount in service.get("volumes", []):
        place = mount.split(":")[0]
        known = (docker / place).exists() if place.startswith(".") else place in volumes
        assert known, f"{name} mounts {mount}"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), f"{name} opens {port} to the world"

build = services["millrace"]["build"]
context = docker / build["context"]
assert (context / build["dockerfile"]).exists()
words = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "ENV", "ENTRYPOINT", "CMD"}
words.add("HEALTHCHECK")
text = (docker / "Dockerfile").read_text().replace("\\\n", " ")
for line in filter(None, (line.strip() for line in text.splitlines())):
    assert line.startswith("#") or line.split()[0] in words, line

provisioning = docker / "grafana/provisioning"
sources = yaml.safe_load((provisioning / "datasources/millrace.yaml").read_text())["datasources"]
uids = {source["uid"] for source in sources}
assert all(source["url"].split(":")[0] in services for source in sources)
for provider in yaml.safe_load((provisioning / "dashboards/sensors.yaml").read_text())["providers"]:
    mounted = [mount.split(":")[1] for mount in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted, provider
for file in (docker / "grafana/dashboards").glob("*.json"):
    dashboard = json.loads(file.read_text())
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] in uids, (file, panel["title"])
# Whoever is not ready is seen, and whoever ends is started again.
server = services["millrace"]
assert server["restart"] == "unless-stopped"
assert server["healthcheck"]["test"][:3] == ["CMD", "millrace", "ready"]
set_in_image = [word for word in text.split() if word.startswith("MILLRACE_") and "=" in word]
image = dict(word.split("=", 1) for word in set_in_image)
assert server["healthcheck"]["test"][-1] == image["MILLRACE_HTTP"], image


class Repeated(dict):
    """A unit may say a thing twice."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


unit = configparser.RawConfigParser(strict=False, dict_type=Repeated)
unit.optionxform = str
service = docker / "millrace.service"
unit.read_string(service.read_text())
assert set(unit.sections()) == {"Unit", "Service", "Install"}
said = unit["Service"]
assert said["Restart"] == "on-failure" and said["KillSignal"] == "SIGTERM"
assert int(said["LimitNOFILE"]) >= 65536
assert said["NoNewPrivileges"] == said["PrivateTmp"] == "yes" and said["ProtectSystem"] == "strict"
assert said["ExecStart"].split()[1:] == ["serve"], said["ExecStart"]
stop = int(said["TimeoutStopSec"].removesuffix("s"))
assert stop >= 30, "a checkpoint at the end takes its time"
if shutil.which("systemd-analyze"):
    installed = said["ExecStart"].split()[0]
    with tempfile.TemporaryDirectory() as folder:
        # The program is not installed where the tests run.
        copy = Path(folder) / service.name
        copy.write_text(service.read_text().replace(installed, "/bin/true"))
        command = ["systemd-analyze", "verify", "--man=no", str(copy)]
        verified = subprocess.run(command, capture_output=True, text=True)
        told = [line for line in verified.stderr.splitlines() if service.name in line]
        assert verified.returncode == 0 and not told, verified.stderr


def port(address):
    return address.rsplit(":", 1)[1]


def after(words, option):
    return words[words.index(option) + 1]


def help_of(*words):
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


# What the program is called with is what it knows.
commands = [server["command"], server["healthcheck"]["test"][2:], said["ExecStart"].split()[1:]]
instructions = re.findall(r"^(?:HEALTHCHECK .*)?(CMD|ENTRYPOINT) (\[.*\])$", text, re.M)
assert json.loads(dict(instructions)["ENTRYPOINT"]) == ["millrace"]
for kind, words in instructions:
    words = json.loads(words)
    if kind != "ENTRYPOINT":
        commands.append(words[1:] if words[0] == "millrace" else words)
assert len(commands) == 5, commands
for command in commands:
    known = help_of(command[0])
    for word in command[1:]:
        assert not word.startswith("--") or re.search(rf"(?m)^ +{word}[ \n]", known), (command, word)
known = set(re.findall(r"\[env: (MILLRACE_\w+)[=\]]", help_of("serve")))
named = {name for one in (text, service.read_text()) for name in re.findall(r"MILLRACE_\w+", one)}
# `MILLRACE_*` in a comment names all of them.
named.discard("MILLRACE_")
assert named and named <= known, named - known

# Whoever calls from outside the container, or from another one, calls where somebody listens.
listens, http = port(image["MILLRACE_LISTEN"]), port(after(server["command"], "--http"))
assert {port(opened) for opened in server["ports"]} == {listens, http}
assert port(server["healthcheck"]["test"][-1]) == http
assert all(port(source["url"]) == listens for source in sources)
broker = services["kafka"]["environment"]
advertised = dict(one.split("://") for one in broker["KAFKA_ADVERTISED_LISTENERS"].split(","))
listeners = dict(one.split("://") for one in broker["KAFKA_LISTENERS"].split(","))
assert all(port(advertised[name]) == port(listeners[name]) for name in advertised)
assert {port(opened) for opened in services["kafka"]["ports"]} == {port(advertised["OUTSIDE"])}
bootstrap = re.findall(r"bootstrap\.server = '([^']+)'", (docker / "sensors.sql").read_text())
assert bootstrap and set(bootstrap) == {advertised["INSIDE"]}, bootstrap
head = (docker / "compose.yaml").read_text()
told = re.findall(r"-h 127\.0\.0\.1 -p (\d+)|http://127\.0\.0\.1:(\d+)", head)
opened = {one.split(":")[1] for each in services.values() for one in each["ports"]}
assert told and {found for pair in told for found in pair if found} <= opened, told
for file in re.findall(r"-f (docker/\S+)", head + text):
    assert (docker.parent / file).exists(), file

# Data lie where they stay.
assert image["MILLRACE_DATA_DIR"] in [mount.split(":")[1] for mount in server["volumes"]]
environment = dict(one.split("=", 1) for one in said["Environment"].split())
assert environment["MILLRACE_DATA_DIR"] == f"/var/lib/{said['StateDirectory']}"
assert (docker.parent / "crates/server/Cargo.toml").read_text().count('name = "millrace-server"') == 1
toolchain = re.search(r'channel = "(\d+\.\d+)', (docker.parent / "rust-toolchain.toml").read_text())
assert f"FROM rust:{toolchain[1]}-" in text, toolchain[1]


def starts(command, settings):
    """The program runs with these words and variables, and ends when it is told to."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"MILLRACE_DATA_DIR": f"{folder}/data", "MILLRACE_LISTEN": "127.0.0.1:0"}
        own |= {"MILLRACE_HTTP": "127.0.0.1:0"} if "MILLRACE_HTTP" in settings else {}
        others = os.environ.items()
        inherited = {name: value for name, value in others if not name.startswith("MILLRACE_")}
        command = [re.sub(r":\d+$", ":0", word) for word in command]
        running = subprocess.Popen(
            [program, *command], env=inherited | settings | own, stderr=subprocess.PIPE, text=True
        )
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "listening on" in line:
                running.terminate()
        assert running.wait() == 0, (shlex.join(command), lines)


starts(server["command"], image)
starts(said["ExecStart"].split()[1:], environment)
print("docker/ is well-formed, and the program takes what it names")
