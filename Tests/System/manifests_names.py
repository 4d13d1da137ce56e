"""Checks what the schemas of Kubernetes objects can't see: the names that they use of one another, and what libpq, probes and
the network need in order to work together.

usage: manifests_names.py DIRECTORY
"""

import pathlib
import sys
import urllib.parse

import yaml

directory = pathlib.Path(sys.argv[1])
problems = []
objects = []
for path in sorted(directory.glob("*.yaml")):
    for item in yaml.safe_load_all(path.read_text()):
        objects.append((path.name, item))

kinds = {}
for name, item in objects:
    if "metadata" in item:
        kinds.setdefault(item["kind"], {})[item["metadata"]["name"]] = item


def expect(condition, file, text):
    if not condition:
        problems.append(f"{file}: {text}")


def pod(item):
    spec = item["spec"]
    while "template" in spec or "jobTemplate" in spec:
        template = spec.get("template") or spec["jobTemplate"]
        item, spec = template, template["spec"]
    return item


def labels_of(item):
    return pod(item)["metadata"]["labels"]


def check_url(file, url, mounts):
    """What a connection by libpq needs: it ignores what it can't use, or fails."""
    parts = urllib.parse.urlsplit(url)
    settings = dict(urllib.parse.parse_qsl(parts.query))
    if settings.get("sslmode") in ("verify-ca", "verify-full"):
        root = settings.get("sslrootcert", "")
        mounted = any(root.startswith(f"{mount}/") for mount in mounts)
        expect(root == "system" or mounted, file, f"sslmode={settings['sslmode']} without a root certificate that is mounted")
    expect("passfile" not in settings, file, "libpq ignores a mounted passfile, whose mode isn't 0600")
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = int(host.rpartition(":")[2]) if ":" in host else 5432
        expect(port in allowed("Egress"), file, f"the network policies don't let it reach port {port} of the database")


def allowed(direction):
    """The ports that the network policies allow in a direction."""
    rules = [rule for policy in kinds.get("NetworkPolicy", {}).values() for rule in policy["spec"].get(direction.lower(), [])]
    return {port["port"] for rule in rules for port in rule["ports"]}


workloads = [(name, item) for name, item in objects if item["kind"] in ("Deployment", "Job", "CronJob")]
labelled = [labels_of(item) for _, item in workloads]


def selected(labels):
    return [have for have in labelled if labels.items() <= have.items()]


for file, item in workloads:
    spec = pod(item)["spec"]
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            expect(volume["secret"]["secretName"] in kinds["Secret"], file, f"no secret for the volume {volume['name']}")
        if "configMap" in volume:
            expect(volume["configMap"]["name"] in kinds["ConfigMap"], file, f"no config map for the volume {volume['name']}")
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            expect(claim in kinds["PersistentVolumeClaim"], file, f"no claim {claim}")
    for container in spec["containers"]:
        ports = {port["name"] for port in container.get("ports", [])}
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        variables = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                secret = kinds["Secret"].get(reference["name"], {})
                expect(reference["key"] in secret.get("stringData", {}), file, f"no {reference['key']} in {reference['name']}")
                if variable["name"].endswith("DATABASE_URL"):
                    check_url(file, secret.get("stringData", {}).get(reference["key"], ""), mounts)
        for mount in container.get("volumeMounts", []):
            expect(mount["name"] in volumes, file, f"no volume {mount['name']}")
        scheme = "HTTPS" if "CUSTOMERD_TLS_CERTIFICATE" in variables else "HTTP"
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            request = container.get(probe, {}).get("httpGet")
            if request:
                port = request["port"]
                expect(isinstance(port, int) or port in ports, file, f"no port {port} for the {probe}")
                expect(request.get("scheme", "HTTP") == scheme, file, f"the {probe} doesn't speak {scheme}, which is served")
        if container.get("args") == ["serve"]:
            expect(variables.get("CUSTOMERD_HOST") == "::", file, "it doesn't listen on IPv4 and IPv6")
            annotations = pod(item)["metadata"].get("annotations", {})
            scraped = annotations.get("prometheus.io/scheme", "http").upper()
            expect(scraped == scheme, file, f"Prometheus doesn't scrape by {scheme}, which is served")

for file, item in objects:
    kind, spec = item["kind"], item.get("spec", {})
    if kind == "Deployment":
        labels = spec["selector"]["matchLabels"]
        expect(labels.items() <= labels_of(item).items(), file, "it doesn't select its own pods")
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
            expect(selected(constraint["labelSelector"]["matchLabels"]), file, "a constraint selects no pod")
    elif kind == "Service":
        pods = [pod(work) for _, work in workloads if spec["selector"].items() <= labels_of(work).items()]
        expect(pods, file, "it selects no pod")
        have = {port["name"] for one in pods for container in one["spec"]["containers"] for port in container.get("ports", [])}
        for port in spec["ports"]:
            expect(isinstance(port["targetPort"], int) or port["targetPort"] in have, file, f"no port {port['targetPort']}")
    elif kind == "PodDisruptionBudget":
        labels = spec["selector"]["matchLabels"]
        replicas = [work["spec"]["replicas"] for _, work in workloads
                    if work["kind"] == "Deployment" and labels.items() <= labels_of(work).items()]
        expect(replicas, file, "it selects no pod")
        expect(sum(replicas) > spec["minAvailable"], file, "it lets no pod be drained")
    elif kind == "NetworkPolicy":
        labels = spec["podSelector"].get("matchLabels", {})
        expect(selected(labels), file, f"no pod is {labels}")
        for expression in spec["podSelector"].get("matchExpressions", []):
            for value in expression["values"]:
                expect(selected({expression["key"]: value}), file, f"no pod is {value}")
    elif kind == "Kustomization":
        resources = set(item["resources"])
        for missing in sorted(resources - {path.name for path in directory.glob("*.yaml")}):
            problems.append(f"{file}: there is no {missing}")
        for path in sorted(directory.glob("*.yaml")):
            used = path.name in resources or path.name == file or path.name.endswith(".example.yaml")
            expect(used, file, f"{path.name} isn't in it")
        images = {container["image"] for _, work in workloads for container in pod(work)["spec"]["containers"]}
        for image in item.get("images", []):
            expect(image["name"] in images, file, f"no container has the image {image['name']}")
        # The template of a Job can't be changed: with a new tag it has to be another Job.
        renamed = {target["select"].get("name") for replacement in item.get("replacements", [])
                   for target in replacement["targets"] if "metadata.name" in target["fieldPaths"]}
        for name in sorted(set(kinds["Job"]) - renamed):
            problems.append(f"{file}: the Job {name} can't be applied again with a new tag")

scraped = {annotations["prometheus.io/port"] for _, item in workloads
           if (annotations := pod(item)["metadata"].get("annotations", {})).get("prometheus.io/scrape") == "true"}
sources = [source for policy in kinds.get("NetworkPolicy", {}).values() for rule in policy["spec"].get("ingress", [])
           for source in rule["from"] if {int(port) for port in scraped} <= {port["port"] for port in rule["ports"]}]
expect(not scraped or any("kubernetes.io/metadata.name" in source["namespaceSelector"]["matchLabels"] for source in sources),
       "network.yaml", "Prometheus can't scrape what is annotated for it")
expect(6432 in allowed("Egress"), "network.yaml", "PgBouncer can't be reached")

for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
