#!/usr/bin/env python3
"""Records tests/golden/: what PyTorch, timm and transformers compute, for dram's tests to be held against.

Not needed to build or test dram: the recorded files are in the repository. To record again:

    python3 -m venv .venv
    .venv/bin/pip install torch==2.15.0 timm==1.0.31 transformers==5.23.0 safetensors==0.8.0 numpy==2.4.6
    .venv/bin/python scripts/golden.py                       # everything: about 5 minutes of two cores, 8 GB of memory
    .venv/bin/python scripts/golden.py --only vit_micro ops  # the files whose names begin so

All is computed in double precision on the CPU and stored as F32. Weights and inputs come from an integer hash of their
names (tests/support/hashweights.h is the same in C). tests/golden/README.md describes the files.
"""

import argparse
import copy
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
import timm
import torch
import torch.nn.functional as F
import transformers

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)

# values kept of a tensor: a network's output, a feature map, a parameter's gradient
OUTPUT, MAP, PARAMETER = 2048, 512, 96


# Hash weights --------------------------------------------------------------------------------------------------


def fnv1a64(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def mix64(z):
    """SplitMix64's finaliser, without its increment, on an array of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_u64(name, count):
    return mix64(np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64) * GOLDEN_RATIO)


def hash_index(name, count, bound):
    """Integers in [0, bound)."""
    return (hash_u64(name, count) % np.uint64(bound)).astype(np.int64)


def rule(name, shape):
    """scale, offset: a weight is offset + scale * u with u in (-1, 1)."""
    if name.endswith("running_var"):
        return 0.5, 1.0
    if name.endswith("running_mean") or name.endswith("bias"):
        return 0.1, 0.0
    if "rel_pos_" in name:
        return 0.3, 0.0
    if name.endswith("pos_embed"):
        return 0.5, 0.0
    if name.endswith("conv3.bn.weight"):
        return 0.125, 0.25  # weak branches: strong ones multiply rounding errors from block to block
    if name.endswith("weight"):
        return (0.25, 1.0) if len(shape) == 1 else (np.sqrt(3.0 / np.prod(shape[1:])), 0.0)
    if name == "input":
        return 2.0, 0.0
    return 1.0, 0.0


def hash_tensor(name, shape):
    """float32 numbers, as a double tensor."""
    count = int(np.prod(shape, dtype=np.int64))
    scale, offset = rule(name, shape)
    odd = 2 * (hash_u64(name, count) >> np.uint64(40)).astype(np.int64) + 1 - 2**24
    u = odd.astype(np.float64) * 2.0**-24  # 24 bits and a sign, never 0
    values = (offset + scale * u).astype(np.float32).astype(np.float64)
    return torch.from_numpy(values.reshape(shape))


def fill(model, name_of=lambda name: name):
    """Gives every parameter and running statistic its hash weight; the model becomes double."""
    model.double()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                value.copy_(hash_tensor(name_of(name), tuple(value.shape)))
    return model


# Golden files --------------------------------------------------------------------------------------------------


class Golden:
    """Entries of one file: a few values of each tensor, its shape and its sums."""

    def __init__(self, **about):
        self.values = {}
        self.metadata = {
            "about": json.dumps(about),
            "versions": json.dumps(
                {
                    "python": sys.version.split()[0],
                    "torch": torch.__version__,
                    "timm": timm.__version__,
                    "transformers": transformers.__version__,
                    "numpy": np.__version__,
                }
            ),
        }

    def add(self, name, tensor, limit):
        array = np.ascontiguousarray(tensor.detach().double().numpy())
        assert np.isfinite(array).all() and array.any(), name
        flat = array.reshape(-1)
        picked = flat if flat.size <= limit else flat[hash_index(name, limit, flat.size)]
        shape = ",".join(str(d) for d in array.shape)
        self.values[name] = picked.astype("<f4")
        self.metadata[name] = f"[{shape}] sum {flat.sum():.17g} sumsq {np.dot(flat, flat):.17g}"

    def save(self, folder, name):
        """A safetensors file; the library's own writer puts metadata in another order at each run."""
        header, at = {"__metadata__": self.metadata}, 0
        for key, value in self.values.items():
            header[key] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
            at += value.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        path = folder / f"{name}.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(v.tobytes() for v in self.values.values()))
        safetensors.numpy.load_file(path)  # it must be one
        print(f"{path.name}: {len(self.values)} entries, {path.stat().st_size} bytes", flush=True)


def spread(a, b):
    """Largest difference in units of the root mean square of a."""
    return float((a - b).abs().max() / a.square().mean().sqrt())


def note_rounding(what, exact, single):
    """How far PyTorch's own single precision is from the recorded numbers: a guide for tolerances."""
    worst = max(exact, key=lambda name: spread(exact[name], single[name].double()))
    print(f"  {what}: float32 differs by {spread(exact[worst], single[worst].double()):.1e} rms at most ({worst})")


# SAM's image encoder -------------------------------------------------------------------------------------------

VITS = {  # width, depth, heads, global blocks, native size
    "vit_b": (768, 12, 12, [2, 5, 8, 11], 1024),
    "vit_micro": (128, 6, 4, [2, 5], 256),
    "vit_tiny": (192, 12, 3, [2, 5, 8, 11], 256),
}


def meta_from_timm(name):
    return "image_encoder." + name.replace("mlp.fc", "mlp.lin")


def meta_from_hf(name):
    for theirs, metas in (
        ("layers.", "blocks."),
        ("layer_norm1", "norm1"),
        ("layer_norm2", "norm2"),
        ("patch_embed.projection", "patch_embed.proj"),
        ("neck.conv1", "neck.0"),
        ("neck.norm1", "neck.1"),
        ("neck.conv2", "neck.2"),
        ("neck.norm2", "neck.3"),
    ):
        name = name.replace(theirs, metas)
    return "image_encoder." + name


def hf_vit(arch, native=None):
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    width, depth, heads, blocks, own = VITS[arch]
    config = transformers.SamVisionConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        global_attn_indexes=blocks,
        image_size=native or own,
        mlp_dim=4 * width,
        output_channels=256,
        attn_implementation="eager",
    )
    model = fill(SamVisionEncoder(config), meta_from_hf)
    return model, lambda x: model(x).last_hidden_state, meta_from_hf


def timm_vit(arch, eps=1e-6, native=None):
    """timm's own default eps is 1e-5; SAM's, transformers' and dram's is 1e-6."""
    width, depth, heads, blocks, own = VITS[arch]
    model = timm.models.vision_transformer_sam.VisionTransformerSAM(
        img_size=native or own,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        global_attn_indexes=tuple(blocks),
        window_size=14,
        use_rel_pos=True,
        num_classes=0,
        norm_layer=partial(torch.nn.LayerNorm, eps=eps),
    )
    fill(model, meta_from_timm)
    return model, model.forward_features, meta_from_timm


def image(batch, height, width):
    return hash_tensor("input", (batch, 3, height, width))


def record_vit_b_1024(folder):
    _, forward, _ = hf_vit("vit_b")
    golden = Golden(model="vit_b", by="transformers SamVisionEncoder, eager", input=[1, 3, 1024, 1024])
    with torch.no_grad():
        golden.add("embedding", forward(image(1, 1024, 1024)), OUTPUT)
    golden.save(folder, "vit_b_1024")


def record_vit_b_512(folder):
    golden = Golden(model="vit_b", by="timm samvit_base_patch16, eps 1e-6", input=[1, 3, 512, 512])
    with torch.no_grad():
        x = image(1, 512, 512)
        model, forward, _ = timm_vit("vit_b")
        stock = fill(timm.create_model("samvit_base_patch16", pretrained=False, num_classes=0), meta_from_timm)
        assert {n: p.shape for n, p in stock.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
        embedding = forward(x)
        golden.add("embedding", embedding, OUTPUT)
        print(f"  vit_b at 512: timm's eps of 1e-5 moves it by {spread(embedding, stock.forward_features(x)):.1e} rms")
        single = model.float().forward_features(x.float())
        note_rounding("vit_b at 512", {"embedding": embedding}, {"embedding": single})
    golden.save(folder, "vit_b_512")


def record_vit_tiny_256(folder):
    _, forward, _ = hf_vit("vit_tiny")
    golden = Golden(model="vit_tiny", by="transformers SamVisionEncoder, eager", input=[1, 3, 256, 256])
    with torch.no_grad():
        golden.add("embedding", forward(image(1, 256, 256)), OUTPUT)
    golden.save(folder, "vit_tiny_256")


def record_vit_native(folder, arch, native, height, width):
    """An encoder fine-tuned at another size: at its own by transformers, at others by timm."""
    at_own = height == width == native
    _, forward, _ = hf_vit(arch, native) if at_own else timm_vit(arch, native=native)
    by = "transformers SamVisionEncoder, eager" if at_own else "timm VisionTransformerSAM, eps 1e-6"
    golden = Golden(model=arch, by=by, native=native, input=[1, 3, height, width])
    golden.add("embedding", forward(image(1, height, width)), OUTPUT)
    golden.save(folder, f"{arch}_native_{native}" + ("" if at_own else f"_at_{height}x{width}"))


def vit_step(made, x):
    """Embedding, loss and gradients of all parameters under Meta's names."""
    model, forward, meta = made
    model.zero_grad()
    y = forward(x)
    loss = (y * hash_tensor("r", tuple(y.shape)).to(y.dtype)).sum() / y.numel()
    loss.backward()
    found = {"embedding": y.detach(), "loss": loss.detach()}
    for name, p in model.named_parameters():
        found["grad:" + meta(name)] = p.grad.clone()
    return found


def record_vit_micro(folder, height, width, by):
    make = hf_vit if by == "transformers SamVisionEncoder, eager" else timm_vit
    x = image(2, height, width)
    made = make("vit_micro")
    exact = vit_step(made, x)
    if (height, width) == (256, 256):  # both sources agree where both can run
        other = vit_step(timm_vit("vit_micro"), x)
        assert other.keys() == exact.keys()
        assert max(spread(exact[n], other[n]) for n in exact) < 1e-5
    made[0].float()
    note_rounding(f"vit_micro at {height}x{width}", exact, vit_step(made, x.float()))
    golden = Golden(model="vit_micro", by=by, input=list(x.shape))
    for name, value in exact.items():
        golden.add(name, value, OUTPUT if name == "embedding" else PARAMETER)
    size = str(height) if height == width else f"{height}x{width}"
    golden.save(folder, f"vit_micro_{size}")


# RegNet --------------------------------------------------------------------------------------------------------

REGNET_SHAPE = (2, 3, 128, 96)
ADAMW_SHAPE = (2, 3, 64, 64)


def gap_bias(z):
    """Per channel of z [N,C,H,W], the bias that puts 0 into the widest gap between two values, 30 to 70 % of them
    above it; and that gap's half width."""
    v = z.detach().transpose(0, 1).flatten(1).sort(1).values
    low, high = int(0.3 * v.shape[1]), int(0.7 * v.shape[1])
    gap = v[:, low + 1 : high + 1] - v[:, low:high]
    at = gap.argmax(1, keepdim=True) + low
    bias = -(v.gather(1, at) + v.gather(1, at + 1))[:, 0] / 2
    return bias.float().double(), gap.max(1).values / 2


def settle(model, x):
    """Moves the BatchNorm biases in front of each ReLU so that none of its inputs lies near 0 when trained on x.

    A pre-activation that rounds to the other side of 0 changes a gradient by a whole term, and of some hundred thousand
    a few always would: no tolerance could tell that from a mistake. Returns the new biases by name.
    """
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    moved, gaps, hooks = {}, [], []

    def move(name, bn, z):
        """z: the ReLU's input less bn's bias."""
        bias, gap = gap_bias(z)
        bn.bias.data.copy_(bias)
        moved[name + ".bias"] = bias
        gaps.append(float(gap.min()))

    def before_bn(name):
        def hook(bn, inputs):
            move(name, bn, F.batch_norm(inputs[0], None, None, bn.weight, None, True, 0.0, bn.eps))

        return hook

    def before_sum(name, bn):
        def hook(_, inputs):
            z = inputs[0] - bn.bias.detach().reshape(1, -1, 1, 1)
            move(name, bn, z)
            return (z + bn.bias.detach().reshape(1, -1, 1, 1),)

        return hook

    for name, module in model.named_modules():
        if name.endswith(".bn") and isinstance(getattr(module, "act", None), torch.nn.ReLU):
            hooks.append(module.register_forward_pre_hook(before_bn(name)))
        elif name.endswith(".act3"):
            block = name[: -len("act3")]
            hook = before_sum(block + "conv3.bn", model.get_submodule(block + "conv3.bn"))
            hooks.append(module.register_forward_pre_hook(hook))
    model.train()
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    model.load_state_dict(buffers, strict=False)
    print(f"  no input of a ReLU is nearer to 0 than {min(gaps):.1e}")
    return moved


def regnet(arch, x):
    """The model, and the biases that are not of the hash."""
    model = fill(timm.create_model(arch, pretrained=False, features_only=True))
    return model, settle(model, x)


def regnet_loss(maps):
    return sum((f * hash_tensor(f"r{k}", tuple(f.shape)).to(f.dtype)).sum() / f.numel() for k, f in enumerate(maps))


def regnet_step(model, x):
    """Evaluation maps, then training maps, loss, gradients and new running statistics."""
    found = {}
    model.eval()
    with torch.no_grad():
        found.update({f"eval:{k}": f for k, f in enumerate(model(x))})
    model.train()
    maps = model(x)
    found.update({f"train:{k}": f.detach() for k, f in enumerate(maps)})
    loss = regnet_loss(maps)
    loss.backward()
    found["loss"] = loss.detach()
    for name, p in model.named_parameters():
        found["grad:" + name] = p.grad
    for name, b in model.named_buffers():
        if not name.endswith("num_batches_tracked"):
            found["running:" + name] = b
    return found


def record_regnet(folder, arch):
    x = hash_tensor("input", REGNET_SHAPE)
    model, moved = regnet(arch, x)
    single = copy.deepcopy(model).float()
    exact = regnet_step(model, x)
    note_rounding(arch, exact, regnet_step(single, x.float()))
    golden = Golden(model=arch, by="timm features_only", input=list(x.shape))
    for name, value in moved.items():
        golden.add("set:" + name, value, value.numel())
    for name, value in exact.items():
        golden.add(name, value, MAP if name.startswith(("eval:", "train:")) else PARAMETER)
    golden.save(folder, arch)


def record_regnet_shapes(folder):
    """Every name and shape of the full models' state dicts, in timm's order."""
    shapes = {}
    for family in "xy":
        for size in ("002", "004", "006", "008", "016", "032"):
            arch = f"regnet{family}_{size}"
            with torch.device("meta"):
                state = timm.create_model(arch, pretrained=False).state_dict()
            shapes[arch] = {name: list(value.shape) for name, value in state.items()}
    lines = []
    for arch, names in shapes.items():
        rows = ",\n".join(f"{json.dumps(n)}:{json.dumps(s, separators=(',', ':'))}" for n, s in names.items())
        lines.append(f"{json.dumps(arch)}:{{\n{rows}}}")
    path = folder / "regnet_shapes.json"
    path.write_text("{" + ",\n".join(lines) + "}\n")
    print(f"{path.name}: {sum(map(len, shapes.values()))} tensors, {path.stat().st_size} bytes")


# Ten steps of AdamW --------------------------------------------------------------------------------------------
#
# The step of RegNet is small (lr 1e-4) and so is its image: with larger steps inputs of ReLUs wander over 0, and single
# and double precision part. The gradients' root mean squares are between 2e-5 and 1e-2, on both sides of eps.


def train(model, run, lr, steps=10):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-4)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = run()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return before, torch.stack(losses)


def record_adamw(folder, arch, make, lr):
    """make(dtype) -> model, run, name_of, biases that are not of the hash."""

    def once(dtype):
        model, run, name_of, moved = make(dtype)
        before, losses = train(model, run, lr)
        found = {"loss": losses}
        for name, p in model.named_parameters():
            found["weight:" + name_of(name)] = p.detach()
            found["delta:" + name_of(name)] = p.detach() - before[name]
        for name, b in model.named_buffers():
            if not name.endswith("num_batches_tracked"):
                found["running:" + name_of(name)] = b
        return found, moved

    (exact, moved), (single, _) = once(torch.float64), once(torch.float32)
    for part in ("loss", "weight:", "delta:", "running:"):
        names = [n for n in exact if n.startswith(part)]
        if names:
            note_rounding(f"10 steps of {arch}, {part}", {n: exact[n] for n in names}, single)
    about = {"lr": lr, "weight_decay": "0.05 where ndim >= 2", "eps": 1e-4, "steps": 10}
    golden = Golden(model=arch, by="torch.optim.AdamW", **about)
    for name, value in moved.items():
        golden.add("set:" + name, value, value.numel())
    for name, value in exact.items():
        golden.add(name, value, PARAMETER)
    golden.save(folder, f"adamw_{arch}")


def make_regnety_002(dtype):
    x = hash_tensor("input", ADAMW_SHAPE)
    model, moved = regnet("regnety_002", x)
    model.to(dtype).train()
    x = x.to(dtype)
    return model, lambda: regnet_loss(model(x)), lambda name: name, moved


def make_vit_micro(dtype):
    x = image(2, 256, 256).to(dtype)
    model, forward, meta = timm_vit("vit_micro")
    model.to(dtype)
    r = hash_tensor("r", (2, 256, 16, 16)).to(dtype)
    return model, lambda: (forward(x) * r).sum() / r.numel(), meta, {}


# Single operations ---------------------------------------------------------------------------------------------


def add_resize(golden, name, shape, size, **how):
    x = hash_tensor(name + ".x", shape).requires_grad_()
    y = F.interpolate(x, size=size, **how)
    (y * hash_tensor(name + ".r", tuple(y.shape))).sum().backward()
    golden.add(name + ".y", y, OUTPUT)
    golden.add(name + ".dx", x.grad, OUTPUT)


def add_embed_losses(golden):
    """Means over the images of the error summed over valid cells / number of valid cells; no valid cell counts 0."""
    n, c, h, w = 3, 32, 9, 11
    mask = torch.from_numpy(hash_index("mask", n * h * w, 4)).reshape(n, h, w).clamp(max=1).double()
    mask[2] = 0
    for name in ("mse", "huber", "cosine"):
        s = hash_tensor("s", (n, c, h, w)).requires_grad_()
        t = hash_tensor("t", (n, c, h, w))
        if name == "mse":
            e = (s - t).square().mean(1)
        elif name == "huber":
            e = F.huber_loss(s, t, reduction="none", delta=1.0).mean(1)
        else:
            e = 1 - F.cosine_similarity(s, t, dim=1)
        loss = ((e * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)).sum() / n
        loss.backward()
        golden.add(f"embed_{name}.loss", loss, 1)
        golden.add(f"embed_{name}.ds", s.grad, OUTPUT)


def add_cross_entropy(golden):
    n, k, h, w, height, width, ignore = 2, 11, 7, 9, 50, 61, 11
    logits = (4 * hash_tensor("logits", (n, k, h, w))).requires_grad_()
    labels = torch.from_numpy(hash_index("labels", n * height * width, 12)).reshape(n, height, width)
    up = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    loss = F.cross_entropy(up, labels, ignore_index=ignore)
    loss.backward()
    golden.add("cross_entropy.loss", loss, 1)
    golden.add("cross_entropy.dlogits", logits.grad, OUTPUT)


def add_hash(golden):
    """One of each kind of hash weight, to hold the C generator against this one to the bit."""
    for name, shape in (
        ("stem.conv.weight", (32, 3, 3, 3)),
        ("stem.bn.weight", (32,)),
        ("stem.bn.bias", (32,)),
        ("stem.bn.running_mean", (32,)),
        ("stem.bn.running_var", (32,)),
        ("s1.b1.conv3.bn.weight", (24,)),
        ("image_encoder.pos_embed", (1, 4, 4, 8)),
        ("image_encoder.blocks.0.attn.rel_pos_h", (27, 8)),
        ("image_encoder.blocks.0.attn.qkv.weight", (48, 16)),
        ("input", (2, 3, 5, 7)),
        ("r0", (2, 8, 5, 7)),
    ):
        golden.add("hash:" + name, hash_tensor(name, shape), OUTPUT)


def record_ops(folder):
    golden = Golden(by="torch.nn.functional")
    bilinear = {"mode": "bilinear", "align_corners": False}
    bicubic = {"mode": "bicubic", "align_corners": False, "antialias": True}
    for sizes in ((5, 7, 13, 20), (5, 7, 10, 14), (16, 12, 5, 9), (1, 3, 4, 4)):
        add_resize(golden, "bilinear_%dx%d_to_%dx%d" % sizes, (2, 3, *sizes[:2]), sizes[2:], **bilinear)
    for sizes in ((64, 64, 32, 32), (16, 16, 20, 20), (16, 16, 20, 12), (64, 64, 14, 80)):
        add_resize(golden, "bicubic_%dx%d_to_%dx%d" % sizes, (1, 3, *sizes[:2]), sizes[2:], **bicubic)
    for sizes in ((127, 63), (31, 39), (31, 23), (127, 191)):
        add_resize(golden, "linear_%d_to_%d" % sizes, (1, 4, sizes[0]), sizes[1:], mode="linear")
    add_embed_losses(golden)
    add_cross_entropy(golden)
    add_hash(golden)
    golden.save(folder, "ops")


RECORDERS = {
    "regnet_shapes": record_regnet_shapes,
    "ops": record_ops,
    "vit_micro_256": lambda f: record_vit_micro(f, 256, 256, "transformers SamVisionEncoder, eager"),
    "vit_micro_320": lambda f: record_vit_micro(f, 320, 320, "timm VisionTransformerSAM, eps 1e-6"),
    "vit_micro_320x192": lambda f: record_vit_micro(f, 320, 192, "timm VisionTransformerSAM, eps 1e-6"),
    "vit_tiny_256": record_vit_tiny_256,
    "regnetx_004": lambda f: record_regnet(f, "regnetx_004"),
    "regnety_004": lambda f: record_regnet(f, "regnety_004"),
    "regnety_016": lambda f: record_regnet(f, "regnety_016"),
    "adamw_regnety_002": lambda f: record_adamw(f, "regnety_002", make_regnety_002, 1e-4),
    "adamw_vit_micro": lambda f: record_adamw(f, "vit_micro", make_vit_micro, 1e-3),
    "vit_micro_native_512": lambda f: record_vit_native(f, "vit_micro", 512, 512, 512),
    "vit_micro_native_512_at_320x192": lambda f: record_vit_native(f, "vit_micro", 512, 320, 192),
    "vit_b_native_256": lambda f: record_vit_native(f, "vit_b", 256, 256, 256),
    "vit_b_512": record_vit_b_512,
    "vit_b_1024": record_vit_b_1024,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "tests" / "golden")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names: " + ", ".join(RECORDERS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in RECORDERS if name.startswith(tuple(options.only))]
    if not chosen:
        parser.error("--only: no such name")
    np.seterr(over="ignore")  # the hash is arithmetic modulo 2^64
    for name in chosen:
        RECORDERS[name](options.out)


if __name__ == "__main__":
    main()
