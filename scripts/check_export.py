"""Holds what `dram export` wrote against what dram itself computes: the part of scripts/check_export.sh that needs PyTorch.

check_export.py sam DIR                     random weights of a SAM: DIR/hf.safetensors and DIR/meta.pth
check_export.py redraw FOLDER               other weights in student.safetensors and heads.safetensors: after a few steps running
                                            statistics and relative positions are still what they began as
check_export.py student FOLDER NUMBERS...   of FOLDER/timm: taps, or the embedding, of timm.create_model(pretrained=True); of
                                            FOLDER/hf and FOLDER/meta: the embedding, and its masks under their decoders
check_export.py large ARCH FILE             random weights of a network of timm, to be exported
check_export.py limits FILE COMMAND...      whether COMMAND takes no more memory than FILE twice, and how long it takes

NUMBERS is what the program export_numbers wrote of some images.
"""
import os
import resource
import subprocess
import sys
import time

import timm
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

TOLERANCE = 1e-4  # of the range of what is compared


class Student(nn.Module):
    """A trunk of several taps with dram's neck: [N, 3, S, S] -> [N, 256, S / 16, S / 16]."""

    def __init__(self, arch):
        super().__init__()
        self.trunk = timm.create_model(arch, features_only=True, out_indices=(3, 4))
        fine, coarse = self.trunk.feature_info.channels()
        self.neck = nn.ModuleDict({
            "s16": nn.Conv2d(fine, 256, 1, bias=False), "s32": nn.Conv2d(coarse, 256, 1, bias=False),
            "conv": nn.Conv2d(256, 256, 3, padding=1, bias=False),
            "norm1": nn.LayerNorm(256, eps=1e-6), "norm2": nn.LayerNorm(256, eps=1e-6)})

    def norm(self, name, x):
        return self.neck[name](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def forward(self, image):
        fine, coarse = self.trunk(image)
        up = F.interpolate(self.neck["s32"](coarse), fine.shape[-2:], mode="bilinear")
        x = self.norm("norm1", self.neck["s16"](fine) + up)
        return self.norm("norm2", self.neck["conv"](x))


# dram's own sizes of SAM's encoder
VIT = {"vit_micro": dict(width=128, depth=6, heads=4, native=256, globals=[2, 5]),
       "vit_tiny": dict(width=192, depth=12, heads=3, native=256, globals=[2, 5, 8, 11]),
       "vit_b": dict(width=768, depth=12, heads=12, native=1024, globals=[2, 5, 8, 11])}
compared = 0


def same(what, got, want, tolerance=TOLERANCE):
    global compared
    assert got.shape == want.shape, f"{what}: {tuple(got.shape)}, not {tuple(want.shape)}"
    assert want.numel() > 0 and torch.isfinite(want).all() and torch.isfinite(got).all(), what
    span = (want.max() - want.min()).item()
    worst = (got.double() - want.double()).abs().max().item() / span
    assert span > 0 and worst <= tolerance, f"{what}: {worst:.2e} of its range {span:.3g}, more than {tolerance:.0e}"
    compared += want.numel()
    print(f"  {what}: {want.numel()} numbers, at most {worst:.1e} of their range apart")


def hugging_face(size, arch):
    from transformers import SamConfig, SamModel
    v = VIT.get(arch)
    vision = {"image_size": size, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "global_attn_indexes": [0]}
    if v:
        vision = {"image_size": v["native"], "hidden_size": v["width"], "num_hidden_layers": v["depth"],
                  "num_attention_heads": v["heads"], "global_attn_indexes": v["globals"], "mlp_dim": 4 * v["width"]}
    config = SamConfig(vision_config=vision, prompt_encoder_config={"image_size": size, "image_embedding_size": size // 16})
    return SamModel(config).eval()


def meta(size, arch):
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    v = VIT.get(arch) or dict(width=64, depth=1, heads=2, native=size, globals=[0])
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=v["depth"], embed_dim=v["width"], img_size=v["native"], mlp_ratio=4, num_heads=v["heads"], patch_size=16,
            norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True, use_rel_pos=True, global_attn_indexes=v["globals"],
            window_size=14, out_chans=256),
        prompt_encoder=PromptEncoder(embed_dim=256, image_embedding_size=(size // 16, size // 16),
                                     input_image_size=(size, size), mask_in_chans=16),
        mask_decoder=MaskDecoder(num_multimask_outputs=3, transformer=TwoWayTransformer(
            depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8), transformer_dim=256, iou_head_depth=3,
            iou_head_hidden_dim=256)).eval()


def make_sams(folder):
    """Weights so large that masks have both signs."""
    torch.manual_seed(0)
    for name, model in (("hf", hugging_face(256, "")), ("meta", meta(256, ""))):
        for p in list(model.prompt_encoder.parameters()) + list(model.mask_decoder.parameters()):
            if p.dim() > 1:
                nn.init.normal_(p, std=p[0].numel() ** -0.5)
        state = model.state_dict()
        if name == "hf":
            state.pop("prompt_encoder.shared_embedding.positional_embedding")  # as save_pretrained does: it is the other
            save_file(state, f"{folder}/hf.safetensors", metadata={"format": "pt"})
        else:
            torch.save(state, f"{folder}/meta.pth")


def redraw(folder):
    """Of the size that those of a trained network have."""
    torch.manual_seed(1)
    for file in (f"{folder}/student.safetensors", f"{folder}/heads.safetensors"):
        state = load_file(file)
        for name, tensor in state.items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif "rel_pos" in name or name.endswith(("running_mean", "bias")):
                tensor.normal_(std=0.2)
            elif tensor.dim() == 1 and name.endswith("weight"):
                tensor.normal_(1, 0.2)
        save_file(state, file, metadata={"format": "pt"})


def check_timm(folder, numbers):
    want = load_file(numbers)
    taps = [want[f"tap{i}"] for i in range(5) if f"tap{i}" in want]
    whole = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    sure = timm.create_model(f"local-dir:{folder}").eval()  # without pretrained: weights are timm's own random ones
    config = timm.data.resolve_data_config(model=whole)
    assert config["mean"] == [0.485, 0.456, 0.406] and config["std"] == [0.229, 0.224, 0.225], config
    assert whole.num_classes == 0
    stored = load_file(f"{folder}/model.safetensors")
    loaded = whole.state_dict()
    assert stored.keys() == loaded.keys() and len(stored) > 70
    for name, tensor in stored.items():
        assert torch.equal(tensor.to(loaded[name].dtype), loaded[name]), name
    assert any(not torch.equal(a, b) for a, b in zip(loaded.values(), sure.state_dict().values()))
    with torch.no_grad():
        if len(taps) == 1:
            same("forward_features", whole.forward_features(want["image"]), taps[0])
        else:
            features = timm.create_model(f"local-dir:{folder}", pretrained=True, features_only=True).eval()
            for i, (got, tap) in enumerate(zip(features(want["image"]), taps, strict=True)):
                same(f"tap {i}", got, tap)
            same("forward_features", whole.forward_features(want["image"]), taps[-1])


def masks_of(model, embedding, size, source):
    """One point and one box an image: mask logits and predicted qualities."""
    points = torch.tensor([[[size * 0.4, size * 0.3]]])
    with torch.no_grad():
        if source == "hf":
            out = [model(image_embeddings=e[None], input_points=points[None], multimask_output=True) for e in embedding]
            return torch.cat([o.pred_masks for o in out]), torch.cat([o.iou_scores for o in out])
        sparse, dense = model.prompt_encoder(points=(points, torch.ones(1, 1)), boxes=None, masks=None)
        out = [model.mask_decoder(image_embeddings=e[None], image_pe=model.prompt_encoder.get_dense_pe(),
                                  sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True)
               for e in embedding]
        return torch.cat([o[0] for o in out]), torch.cat([o[1] for o in out])


def check_decoder(file, numbers):
    want, state = load_file(numbers), load_file(file)
    with safe_open(file, "pt") as opened:
        arch = opened.metadata()["student"]
    size = want["image"].shape[-1]
    source = "hf" if "shared_image_embedding.positional_embedding" in state else "meta"
    model = (hugging_face if source == "hf" else meta)(size, arch)
    encoder = "vision_encoder" if source == "hf" else "image_encoder"
    if arch not in VIT:
        setattr(model, encoder, Student(arch).eval())
    if source == "hf":
        shared = "shared_image_embedding.positional_embedding"
        state["prompt_encoder.shared_embedding.positional_embedding"] = state[shared]
    model.load_state_dict(state, strict=True)
    embedding = want["embedding"]
    if arch not in VIT or size == VIT[arch]["native"]:  # SAM's own encoders take their native size alone
        with torch.no_grad():
            image = want["image"]
            made = getattr(model, encoder)(image)
            made = made if isinstance(made, torch.Tensor) else made.last_hidden_state
        same(f"{source} embedding", made, embedding)
    else:
        made = embedding + torch.randn_like(embedding) * 1e-6
    got, got_iou = masks_of(model, made, size, source)
    mask, iou = masks_of(model, embedding, size, source)
    same(f"{source} mask logits", got, mask, 1e-3)
    same(f"{source} qualities", got_iou, iou, 1e-3)
    near = mask.abs() < 1e-3 * (mask.max() - mask.min())
    assert torch.equal((got > 0)[~near], (mask > 0)[~near]) and near.float().mean() < 0.01
    share = (mask > 0).float().mean().item()
    assert 0.01 < share < 0.99, f"masks of {share:.3f} tell nothing"
    print(f"  {source} masks: the same, {share:.0%} of the cells in them")
    if source == "meta":
        check_predictor(model, size)


def check_predictor(sam, size):
    """segment-anything's own way from a photograph to masks."""
    import numpy
    from segment_anything import SamPredictor
    sam.image_encoder.img_size = size
    if isinstance(sam.image_encoder, Student) or sam.image_encoder.pos_embed.shape[1] * 16 == size:
        predictor = SamPredictor(sam)
        predictor.set_image(numpy.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=numpy.uint8))
        masks, _, _ = predictor.predict(numpy.array([[40, 50]]), numpy.array([1]))
        assert masks.shape == (3, 120, 90) and 0 < masks.mean() < 1, masks.shape
        print("  meta SamPredictor: runs")


def check_limits(file, *command):
    size, start = os.path.getsize(file), time.monotonic()
    subprocess.run(command, check=True)
    seconds, most = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"  {size / 2**20:.0f} MiB of weights: {seconds:.1f} s, {most / 2**20:.0f} MiB at most ({most / size:.2f} times)")
    assert most <= 2 * size, "more than twice the weights"


def check_student(folder, *numbers):
    for file in numbers:
        print(f" {file}")
        check_timm(f"{folder}/timm", file)
        check_decoder(f"{folder}/hf", file)
        check_decoder(f"{folder}/meta", file)


def make_large(arch, file):
    torch.manual_seed(0)
    save_file(timm.create_model(arch, num_classes=0).state_dict(), file, metadata={"format": "pt"})


if __name__ == "__main__":
    commands = {"sam": make_sams, "redraw": redraw, "student": check_student, "large": make_large,
                "limits": check_limits}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
    assert compared > 0 or sys.argv[1] in ("sam", "redraw", "large", "limits"), "nothing was compared"
