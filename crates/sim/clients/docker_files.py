"""The files under docker/ are well-formed, and what they name is there.

There is no Docker engine where the tests run, so this reads what one would read.
"""

import json
import sys
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
print("docker/ is well-formed")
