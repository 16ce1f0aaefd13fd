"""Reads the event files of a run with PyPI's tensorboard, and holds every number against the run's own files.

usage: check_tensorboard.py RUN [URL]     URL: of a tensorboard that has watched the run, whose points are counted too
"""
import glob
import json
import os
import struct
import sys
import time
import urllib.parse
import urllib.request

from tensorboard.backend.event_processing import event_accumulator, event_file_loader

STEPS = {  # tag: key of metrics.jsonl, and what it is divided by
    "loss/total": ("loss", 1), "loss/task": ("loss_task", 1), "loss/sam": ("loss_sam", 1),
    "loss/resolution": ("loss_resolution", 1), "optim/lr": ("lr", 1), "optim/grad_norm": ("grad_norm", 1),
    "optim/loss_scale": ("loss_scale", 1), "throughput/images_per_second": ("images_per_second", 1),
    "throughput/device_utilization": ("device_utilization", 1),
    "memory/planned": ("planned_peak_bytes", 2**20), "memory/arena": ("measured_peak_bytes", 2**20),
    "ranks/comm_seconds": ("comm_seconds", 1), "ranks/wait_seconds": ("wait_seconds", 1)}
EVALUATIONS = {"eval/miou": ("miou", 1), "eval/pixel_accuracy": ("pixel_accuracy", 1),
               "eval/embedding_cosine": ("embedding_cosine", 1), "eval/embedding_mse": ("embedding_mse", 1)}
MEMORY = {"memory/process": ("process_rss_bytes", 2**20), "memory/free": ("free_bytes", 2**20),
          "memory/device": ("device_process_bytes", 2**20)}


def lines(run, name):
    path = os.path.join(run, name)
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def main(run):
    folder = os.path.join(run, "tb")
    files = sorted(glob.glob(os.path.join(folder, "*tfevents*")))
    assert files, f"{folder} holds no event file"
    read = event_accumulator.EventAccumulator(folder, size_guidance=dict.fromkeys(("scalars", "images", "tensors"), 0))
    read.Reload()
    tags = read.Tags()
    # What the loader gives of each file, one event after the other: TensorBoard forgets nothing of it.
    plain = {}
    for file in files:
        for event in event_file_loader.LegacyEventFileLoader(file).Load():
            for value in event.summary.value:
                plain.setdefault(value.tag, []).append(event.step)
    compared = 0
    for table, name, exact in ((STEPS, "metrics.jsonl", True), (EVALUATIONS, "evaluations.jsonl", True),
                               (MEMORY, "memory.jsonl", False)):
        rows = lines(run, name)
        for tag, (key, unit) in table.items():
            want = [(row["step"], single(row[key] / unit)) for row in rows if row.get(key) is not None]
            got = [(e.step, e.value) for e in read.Scalars(tag)] if tag in tags["scalars"] else []
            near = [(s, v) for s, v in want if any(g == s and abs(x - v) <= 2e-7 * abs(v) for g, x in got)]
            if exact:  # the files' numbers are rounded to 9 digits
                assert len(got) == len(want) == len(near), f"{tag}: not what {name} has: {set(got) ^ set(want)}"
            else:  # what was read at the step that a run went on from is cut
                assert len(got) <= len(want) and len(near) >= len(got) > 0 or not want, f"{tag}: {set(got) - set(want)}"
            assert plain.get(tag, []) == [s for s, _ in got], f"{tag}: the files have other steps than are shown"
            compared += len(got)
    unknown = set(tags["scalars"]) - set(STEPS) - set(EVALUATIONS) - set(MEMORY)
    assert not unknown, f"{unknown}: in no table of this script"
    for tag in ("plan", "config"):
        texts = [e.tensor_proto.string_val[0].decode() for e in read.Tensors(tag)]
        assert texts and all(line.startswith("    ") for line in texts[-1].splitlines()), f"{tag} is no text"
    config = "".join(line[4:] + "\n" for line in texts[-1].splitlines())
    assert config == open(sorted(glob.glob(os.path.join(run, "config*.yaml")))[-1]).read(), "config is another"
    pictures = 0
    for tag in tags["images"]:
        for image in read.Images(tag):
            assert image.encoded_image_string[:4] == b"\x89PNG", f"{tag} at {image.step} is no PNG"
            size = struct.unpack(">II", image.encoded_image_string[16:24])
            assert size == (image.width, image.height), f"{tag} at {image.step} has another size"
            pictures += 1
    assert compared, "nothing was compared"
    print(f"{run}: {len(files)} files, {compared} numbers of {len(tags['scalars'])} tags, {pictures} pictures: equal")


def points(url, run, tag):
    query = urllib.parse.urlencode({"run": run, "tag": tag})
    with urllib.request.urlopen(f"{url}/data/plugin/scalars/scalars?{query}") as answer:
        return [step for _, step, _ in json.load(answer)]


def ask(run, url):
    """What a server that has been there all the while shows: each step once, up to the last."""
    want = [row["step"] for row in lines(run, "metrics.jsonl")]
    name = os.path.join(os.path.basename(run.rstrip("/")), "tb")
    for _ in range(60):
        got = points(url, name, "loss/total")
        if got and got[-1] == want[-1]:
            break
        time.sleep(1)
    assert got == want, f"{url} shows the steps {got}, the run has {want}"
    print(f"{url} shows {len(got)} steps, each once")


main(sys.argv[1])
for address in sys.argv[2:]:
    ask(sys.argv[1], address)
