"""The files under docker/ are well-formed, and what they name is there.

There is no Docker engine where the tests run, so this reads what one would read.
"""

import configparser
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

docker = Path(sys.argv[1])
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
    program = said["ExecStart"].split()[0]
    with tempfile.TemporaryDirectory() as folder:
        # The program is not installed where the tests run.
        copy = Path(folder) / service.name
        copy.write_text(service.read_text().replace(program, "/bin/true"))
        command = ["systemd-analyze", "verify", "--man=no", str(copy)]
        verified = subprocess.run(command, capture_output=True, text=True)
        told = [line for line in verified.stderr.splitlines() if service.name in line]
        assert verified.returncode == 0 and not told, verified.stderr
print("docker/ is well-formed")
