"""The work of `bench/step.yaml` in PyTorch: a RegNetY-400MF step beside a SAM vit_b forward, on the CPU.

Prints one JSON object: seconds a step (median, minimum) and the process's resident memory (after the models are built,
and at its peak). Versions: whatever scripts/bench.sh installed; they are printed too.
"""

import argparse
import json
import statistics
import time

import timm
import torch


def resident(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def product_gflops():
    """The rate of the teacher's largest product, the row "vit qkv 768->2304" of bench_conv."""
    x, w = torch.randn(4 * 32 * 32, 768), torch.randn(2304, 768)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        torch.nn.functional.linear(x, w)
        times.append(time.perf_counter() - begin)
    return 2e-9 * 4 * 32 * 32 * 768 * 2304 / min(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--student", default="regnety_004")
    parser.add_argument("--teacher", default="samvit_base_patch16", help="none: the student alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    imported = resident("VmRSS")

    student = timm.create_model(args.student, features_only=True, out_indices=(3, 4))
    widths = student.feature_info.channels()
    neck = torch.nn.ModuleList([torch.nn.Conv2d(w, 256, 1, bias=False) for w in widths])
    tail = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False)
    student, neck, tail = (m.to(memory_format=torch.channels_last) for m in (student, neck, tail))
    teacher = None
    if args.teacher != "none":
        teacher = timm.create_model(args.teacher, num_classes=0, img_size=args.size).eval()
        teacher.requires_grad_(False)
    parameters = [*student.parameters(), *neck.parameters(), *tail.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    image = torch.randn(args.batch, 3, args.size, args.size).to(memory_format=torch.channels_last)
    target = torch.randn(args.batch, 256, args.size // 16, args.size // 16)
    built = resident("VmRSS")

    def step():
        wanted = target
        if teacher is not None:
            with torch.inference_mode():
                wanted = teacher.forward_features(image)
            wanted = wanted.clone()
        low, high = (n(f) for n, f in zip(neck, student(image)))
        high = torch.nn.functional.interpolate(high, size=low.shape[-2:], mode="bilinear")
        loss = torch.nn.functional.mse_loss(tail(low + high), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    student.train()
    times = []
    for i in range(args.steps + 1):
        begin = time.perf_counter()
        step()
        if i > 0:  # the first one warms up
            times.append(time.perf_counter() - begin)
    print(json.dumps({
        "torch": torch.__version__, "timm": timm.__version__, "threads": args.threads,
        "step_seconds": statistics.median(times), "step_seconds_min": min(times),
        "imported_bytes": imported, "built_bytes": built, "process_peak_rss_bytes": resident("VmHWM"),
        "product_gflops": product_gflops(),
    }))


if __name__ == "__main__":
    main()
