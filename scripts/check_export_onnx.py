"""Holds `dram export --onnx` against dram itself, by onnx and onnxruntime.
usage: check_export_onnx.py BUILD FOLDER   (scripts/check_export.sh calls it)

FOLDER, which is made anew, gets a toy run of a student of each family, whose weights are then drawn at random: after a
few steps running statistics and relative positions are still what they began as. Every export is checked by
onnx.checker (full), its node list by what may be in opset 17, and its numbers against those of export_numbers.
"""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

onnxruntime.set_default_logger_severity(4)  # one of its refusals is asked for
ARCHS = ["regnetx_004", "regnety_004", "vit_micro"]
SIZES = [256, 320]
BATCHES = [1, 2]
CONFIG = """name: {arch}
threads: 2
device: cpu
data: {{size: 64, train: {{images: scenes/images, labels: scenes/labels}}, val: {{images: scenes/images, labels: scenes/labels}}, classes: 12}}
student: {{arch: {arch}}}
sam_distill: {{teacher: {{model_type: vit_micro, weights: random}}, sam_input_size: 64, fidelity_images: 0}}
task: {{enabled: true}}
optim: {{warmup_steps: 1}}
train: {{steps: 2, batch_size: 2}}
run: {{dir: runs}}
"""

build, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
compared = 0


def run(*command):
    subprocess.run([str(word) for word in command], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def redraw(path):
    """All numbers of a file of weights at random, so that every tensor matters and activations stay near 1."""
    rng = np.random.default_rng(7)
    tensors = load_file(path)
    for name, t in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        draw = rng.standard_normal(t.shape)
        if name.endswith("running_var"):
            t = 1 + 0.5 * np.tanh(draw)
        elif name.endswith(("running_mean", "bias")):
            t = 0.1 * draw
        elif "rel_pos" in name or "pos_embed" in name:
            t = 0.3 * draw
        elif t.ndim == 1:
            t = (0.4 if "conv3.bn" in name else 1) + 0.1 * draw
        else:
            t = draw / np.sqrt(np.prod(t.shape[1:]))
        tensors[name] = t.astype(np.float32)
    save_file(tensors, path, metadata={"format": "pt"})


def near(ours, theirs, bound, what):
    global compared
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    assert np.isfinite(theirs).all(), what
    gap = np.abs(ours - theirs).max() / (ours.max() - ours.min())
    compared += 1
    print(f"{what}: {gap:.1e} of the range")
    assert gap <= bound, f"{what}: {gap} is more than {bound}"


def export(arch, *options):
    path = folder / "student.onnx"
    path.unlink(missing_ok=True)
    run(build / "dram", "export", f"runs/{arch}", "--onnx", path.name, *options)
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert model.ir_version == 8 and model.opset_import[0].version == 17, arch
    assert {p.key: p.value for p in model.metadata_props}["arch"] == arch
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def normalised(pixels):
    mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    return ((pixels - mean) / std).transpose(0, 3, 1, 2)


def outputs(dram):
    """By the name that --output has for them, and by that in the file, what dram makes of the images."""
    taps = [dram[f"tap{i}"] for i in range(5) if f"tap{i}" in dram]
    side = dram["image"].shape[-1]
    return {
        "embedding": {"image_embeddings": dram["embedding"]},
        "features": {f"features_{side // tap.shape[-1]}": tap for tap in taps},
        "logits": {"logits": dram["logits"]},
    }


def check(arch, size):
    run(build / "tests/export_numbers", f"runs/{arch}", "-", size, max(BATCHES), 3, "dram.safetensors")
    dram = load_file(folder / "dram.safetensors")
    image = dram["image"]
    for output, want in outputs(dram).items():
        for half in [False, True]:
            options = ["--size", size, "--output", output, "--dynamic-batch", "--input-name", "x"]
            session = export(arch, *options, *(["--half"] if half else []))
            assert [i.name for i in session.get_inputs()] == ["x"]
            assert sorted(o.name for o in session.get_outputs()) == sorted(want), want.keys()
            for batch in BATCHES:
                for o, got in zip(session.get_outputs(), session.run(None, {"x": image[:batch]})):
                    what = f"{arch} {size} {o.name} batch {batch}{' half' if half else ''}"
                    near(want[o.name][:batch], got, 1e-2 if half else 1e-4, what)
    fixed = export(arch, "--size", size)
    for i in range(max(BATCHES)):
        got = fixed.run(None, {"image": image[i : i + 1]})[0]
        near(dram["embedding"][i : i + 1], got, 1e-4, f"{arch} {size} fixed, image {i}")
    check_pixels(arch, size, dram)


def check_pixels(arch, size, dram):
    """u8 [H,W,3]: a whole square, and what is valid of an image that is not, padded inside."""
    inside = export(arch, "--size", size, "--with-preprocess")
    heights = set()
    for i, (h, w) in enumerate(dram["valid"].astype(int)):
        pixels = dram["pixels"][i].astype(np.uint8)[:h, :w]
        heights.add(h)
        near(dram["embedding"][i : i + 1], inside.run(None, {"image": pixels})[0], 1e-4, f"{arch} {size} pixels {h}x{w}")
    assert len(heights) == 2, heights
    part = dram["pixels"][0].astype(np.uint8)[: size // 2, : size - 40]
    padded = np.zeros((1, 3, size, size), np.float32)
    padded[:, :, : part.shape[0], : part.shape[1]] = normalised(part[None].astype(np.float32))
    got = inside.run(None, {"image": part})[0]
    near(export(arch, "--size", size).run(None, {"image": padded})[0], got, 1e-4, f"{arch} {size} part")
    try:
        inside.run(None, {"image": np.zeros((size + 1, size, 3), np.uint8)})
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        return
    raise AssertionError("an image that is larger than the student's was taken")


def check_samexporter():
    """Its runtime loads the encoder file and runs it; the decoder is its own, and is not run."""
    try:
        from samexporter.sam_onnx import SegmentAnythingONNX
    except ImportError as error:
        print(f"check_export_onnx: skipped samexporter: {error}")
        return
    export("regnety_004", "--size", 1024)
    encoder = str(folder / "student.onnx")
    runtime = SegmentAnythingONNX(encoder, encoder)
    picture = np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    shape = runtime.encode(picture)["image_embedding"].shape
    assert shape == (1, 256, 64, 64), shape
    print(f"samexporter: {shape}")


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
run(build / "dram", "synth", "scenes", "--count", 4, "--seed", 1)
for arch in ARCHS:
    (folder / "run.yaml").write_text(CONFIG.format(arch=arch))
    run(build / "dram", "train", "run.yaml")
    for file in ["student", "heads"]:
        redraw(folder / "runs" / arch / f"{file}.safetensors")
    for size in SIZES:
        check(arch, size)
check_samexporter()
assert compared >= 100, compared
print(f"check_export_onnx: {compared} comparisons")
