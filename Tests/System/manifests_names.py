"""Follows the names that Kubernetes objects use of one another, which their schemas take for any text.

usage: manifests_names.py DIRECTORY
"""

import pathlib
import sys

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
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            expect(claim in kinds["PersistentVolumeClaim"], file, f"no claim {claim}")
    for container in spec["containers"]:
        ports = {port["name"] for port in container.get("ports", [])}
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                secret = kinds["Secret"].get(reference["name"], {})
                expect(reference["key"] in secret.get("stringData", {}), file, f"no {reference['key']} in {reference['name']}")
        for mount in container.get("volumeMounts", []):
            expect(mount["name"] in volumes, file, f"no volume {mount['name']}")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            expect(port is None or isinstance(port, int) or port in ports, file, f"no port {port} for the {probe}")

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

for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
