"""The work of `bench/gpu.sh` in PyTorch, in its best setting: bf16 autocast, channels-last, scaled-dot-product attention.

    torch_gpu.py teacher --teacher vit_b --size 1024 --batch 8 [--compile]
    torch_gpu.py step --student regnety_004 --teacher none|vit_b --size 1024 --batch 8 [--compile]

Prints one JSON object: seconds (the median of the runs), images a second, and peak bytes: what tensors took, what the
caching allocator held for them, and what the whole GPU had in use besides what was in use before. Models have random
weights; images are constant tensors on the device. Where torch, timm or a GPU is missing it says so in a line and exits
with 77.
"""

import argparse
import functools
import json
import statistics
import sys
import time

SAM = {"vit_b": "samvit_base_patch16", "vit_l": "samvit_large_patch16", "vit_h": "samvit_huge_patch16"}


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import timm
    import torch
except ImportError as error:
    skip(f"PyTorch: {error}")


def make_teacher(args, device):
    teacher = timm.create_model(SAM[args.teacher], num_classes=0, img_size=args.size).eval().requires_grad_(False)
    return teacher.to(device, torch.bfloat16, memory_format=torch.channels_last)


class Student(torch.nn.Module):
    """A trunk with dram's neck: 1x1 to 256 channels at strides 16 and 32, summed at stride 16, 3x3."""

    def __init__(self, name):
        super().__init__()
        self.trunk = timm.create_model(name, features_only=True, out_indices=(3, 4))
        widths = self.trunk.feature_info.channels()
        self.neck = torch.nn.ModuleList([torch.nn.Conv2d(w, 256, 1, bias=False) for w in widths])
        self.tail = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False)

    def forward(self, image):
        low, high = (n(f) for n, f in zip(self.neck, self.trunk(image)))
        high = torch.nn.functional.interpolate(high, size=low.shape[-2:], mode="bilinear")
        return self.tail(low + high)


def make_work(args, device, autocast):
    """A function that does the work once."""
    wrap = torch.compile if args.compile else (lambda f: f)
    image = torch.randn(args.batch, 3, args.size, args.size, device=device).to(memory_format=torch.channels_last)
    teacher = None if args.teacher == "none" else make_teacher(args, device)
    run_teacher = wrap(teacher.forward_features) if teacher else None
    low_image = image.to(torch.bfloat16)
    if args.what == "teacher":
        def forward():
            with torch.inference_mode():
                run_teacher(low_image)
        return forward

    student = Student(args.student).to(device, memory_format=torch.channels_last).train()
    run_student = wrap(student)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5, fused=True)
    target = torch.randn(args.batch, 256, args.size // 16, args.size // 16, device=device)

    def step():
        wanted = target
        if teacher is not None:
            with torch.no_grad():
                wanted = run_teacher(low_image).float()
        with autocast():
            embedding = run_student(image)
        loss = torch.nn.functional.mse_loss(embedding.float(), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["teacher", "step"])
    parser.add_argument("--student", default="regnety_004")
    parser.add_argument("--teacher", default="none", choices=["none", *SAM])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda", help="cpu: to try the script")
    args = parser.parse_args()
    gpu = args.device == "cuda"
    if gpu and not torch.cuda.is_available():
        skip("PyTorch: it sees no GPU")
    torch.manual_seed(1)
    finish = torch.cuda.synchronize if gpu else (lambda: None)
    used_before = 0
    if gpu:
        torch.backends.cudnn.benchmark = True
        free, total = torch.cuda.mem_get_info()
        used_before = total - free
    autocast = functools.partial(torch.autocast, args.device, torch.bfloat16)
    work = make_work(args, args.device, autocast)
    for _ in range(3 if gpu else 1):  # compilation, cuDNN's search, the allocator
        work()
    finish()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    times = []
    while len(times) < (5 if gpu else 1) or (sum(times) < args.seconds and len(times) < 50 and gpu):
        begin = time.perf_counter()
        work()
        finish()
        times.append(time.perf_counter() - begin)
    seconds = statistics.median(times)
    result = {"torch": torch.__version__, "timm": timm.__version__, "compile": args.compile, "seconds": seconds,
              "images_per_second": args.batch / seconds, "runs": len(times)}
    if gpu:
        free, total = torch.cuda.mem_get_info()
        result |= {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved(),
                   "card_bytes": total - free - used_before}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
